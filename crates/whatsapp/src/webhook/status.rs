//! Status reports about messages the business sent: `statuses[]` of `messages` and `standby`.
//!
//! Reports repeat, come out of order and contradict each other; no order is made here.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Channel, ReportedError,
    contact::Contacts,
    extra::Known,
    read::{self, Missing},
};
use crate::errors::NO_CODE;

/// What became of a message that the business sent.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    /// The message's id (`wamid.…`).
    pub wamid: String,
    /// What happened to it.
    pub status: DeliveryStatus,
    /// `timestamp`: when it happened.
    pub at: Timestamp,
    /// Which field carried the report.
    pub channel: Channel,
    /// The recipient's phone as digits; absent for groups and for customers without a phone.
    pub recipient_phone: Option<String>,
    /// The recipient's business-scoped user id.
    pub recipient_user_id: Option<String>,
    /// The recipient's parent user id.
    pub recipient_parent_user_id: Option<String>,
    /// In a group: the member's phone as digits (Meta spells the key in two ways).
    pub recipient_participant: Option<String>,
    /// In a group: the member's business-scoped user id.
    pub recipient_participant_user_id: Option<String>,
    /// In a group: the member's parent user id.
    pub recipient_participant_parent_user_id: Option<String>,
    /// `recipient_identity_key_hash`: changes with the recipient's device key.
    pub recipient_identity_hash: Option<String>,
    /// True if the message went to a group.
    pub group: bool,
    /// The group's id, if the message went to one.
    pub group_id: Option<String>,
    /// `biz_opaque_callback_data`, which the sender set and the platform echoes.
    pub callback_data: Option<String>,
    /// Why it failed.
    pub errors: Vec<ReportedError>,
    /// What it costs, if this report says so.
    pub pricing: Option<Pricing>,
    /// `conversation.id`: what the message is billed under, by the older way of billing.
    pub conversation_id: Option<String>,
    /// When the (free entry point) conversation ends; on `sent` only.
    pub conversation_expires_at: Option<Timestamp>,
    /// Such as `referral_conversion`.
    pub conversation_origin: Option<String>,
    /// `template_id`, on messages sent with a category and no template of their own.
    pub template_id: Option<String>,
}

/// A step in a sent message's life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Meta took it on.
    Sent,
    /// It reached a device. May be skipped when the customer reads at once.
    Delivered,
    /// The customer saw it.
    Read,
    /// The customer played the voice note for the first time.
    Played,
    /// It was not delivered; [`StatusReport::errors`] says why.
    Failed,
    /// A status that we do not know, by its own name.
    Other(String),
}

impl DeliveryStatus {
    /// Returns the status for its wire name.
    pub fn parse(name: &str) -> Self {
        match name {
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "played" => Self::Played,
            "failed" => Self::Failed,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Returns the wire name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Other(name) => name,
        }
    }
}

/// What a message costs, as the platform reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pricing {
    /// To be removed by Meta; prefer `pricing_type`.
    pub billable: Option<bool>,
    /// `PMP` (per message) or `CBP` (per conversation).
    pub model: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point`, `free_group_customer_service`.
    pub pricing_type: Option<String>,
    /// `service`, `utility`, `marketing`, `authentication`, `referral_conversion`, ….
    pub category: Option<String>,
}

/// Reads one element of `statuses[]`.
pub(super) fn parse(
    raw: &Value,
    channel: Channel,
    contacts: &Contacts,
) -> Result<StatusReport, Missing> {
    let wamid = read::required_text(raw, "id")?;
    let status = DeliveryStatus::parse(&read::required_text(raw, "status")?);
    let at = read::required_time(raw, "timestamp")?;
    let group =
        read::text(raw, "recipient_type").is_some_and(|kind| kind.eq_ignore_ascii_case("group"));
    let phone = if group {
        None
    } else {
        read::phone(raw, "recipient_id")
    };
    let user_id = read::text(raw, "recipient_user_id").or_else(|| {
        if group {
            None
        } else {
            read::user_id(raw, "recipient_id")
        }
    });
    // In a group the contacts are the members; the report's recipient is the group.
    let contact = if group {
        super::contact::Contact::default()
    } else {
        contacts.find(phone.as_deref(), user_id.as_deref())
    };
    let conversation = raw.get("conversation");
    Ok(StatusReport {
        wamid,
        status,
        at,
        channel,
        recipient_phone: phone.or(contact.phone),
        recipient_user_id: user_id.or(contact.user_id),
        recipient_parent_user_id: read::text(raw, "recipient_parent_user_id")
            .or_else(|| read::text(raw, "parent_recipient_user_id"))
            .or(contact.parent_user_id),
        recipient_participant: read::phone(raw, "recipient_participant_id")
            .or_else(|| read::phone(raw, "participant_recipient_id")),
        recipient_participant_user_id: read::any_text(
            raw,
            &[
                "recipient_participant_user_id",
                "participant_recipient_user_id",
            ],
        ),
        recipient_participant_parent_user_id: read::any_text(
            raw,
            &[
                "recipient_participant_parent_user_id",
                "participant_recipient_parent_user_id",
            ],
        ),
        recipient_identity_hash: read::text(raw, "recipient_identity_key_hash"),
        group,
        group_id: if group {
            read::text(raw, "recipient_id")
        } else {
            None
        },
        callback_data: read::text(raw, "biz_opaque_callback_data"),
        errors: errors(raw),
        pricing: raw
            .get("pricing")
            .filter(|pricing| pricing.is_object())
            .map(pricing),
        conversation_id: conversation.and_then(|conversation| read::text(conversation, "id")),
        conversation_expires_at: conversation
            .and_then(|conversation| read::time(conversation, "expiration_timestamp")),
        conversation_origin: conversation
            .and_then(|conversation| conversation.get("origin"))
            .and_then(|origin| read::text(origin, "type")),
        template_id: read::text(raw, "template_id"),
    })
}

/// What is read of an item's `errors`.
pub(super) const KNOWN_ERRORS: Known = Known::Each(&[
    ("code", Known::Whole),
    ("title", Known::Whole),
    ("message", Known::Whole),
    ("error_data", Known::Whole),
    ("href", Known::Whole),
]);

/// Reads `errors[]` of an item; what is no object is left out (the item's JSON keeps it).
pub(super) fn errors(raw: &Value) -> Vec<ReportedError> {
    read::objects(raw, "errors")
        .into_iter()
        .map(error)
        .collect()
}

/// Reads one error object.
pub(super) fn error(raw: &Value) -> ReportedError {
    let data = raw.get("error_data").unwrap_or(&Value::Null);
    let details = match data {
        Value::String(text) => Some(text.clone()),
        data => read::text(data, "details"),
    };
    let says_more = data
        .as_object()
        .is_some_and(|data| data.keys().any(|key| key != "details"));
    ReportedError {
        code: read::integer(raw, "code").unwrap_or(NO_CODE),
        title: read::text(raw, "title"),
        message: read::text(raw, "message"),
        details,
        href: read::text(raw, "href"),
        data: says_more.then(|| data.clone()),
    }
}

fn pricing(raw: &Value) -> Pricing {
    Pricing {
        billable: raw.get("billable").and_then(Value::as_bool),
        model: read::text(raw, "pricing_model"),
        pricing_type: read::text(raw, "type"),
        category: read::text(raw, "category"),
    }
}

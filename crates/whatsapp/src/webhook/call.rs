//! Calls: `calls[]` and `statuses[]` of the `calls` field.
//!
//! Knows which call events refresh Meta's window, because that depends on their wire form alone;
//! media sessions are left untouched in the item's JSON.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    ReportedError,
    contact::Contacts,
    read::{self, Missing},
    status,
};

/// Something happened to a call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallReport {
    /// The call's id (`wacid.…`).
    pub id: String,
    /// `connect`, `call_created` (SIP), `terminate`, ….
    pub event: String,
    /// Who called.
    pub direction: CallDirection,
    /// `timestamp`: when it happened.
    pub at: Timestamp,
    /// `start_time`: when the call was picked up; on `terminate` of an answered call.
    pub start_at: Option<Timestamp>,
    /// `end_time`, on `terminate` of an answered call.
    pub end_at: Option<Timestamp>,
    /// The caller's phone as digits.
    pub from_phone: Option<String>,
    /// The called phone as digits.
    pub to_phone: Option<String>,
    /// The customer's phone: whichever of the two is not the business number.
    pub customer_phone: Option<String>,
    /// The customer's business-scoped user id.
    pub user_id: Option<String>,
    /// The customer's parent user id.
    pub parent_user_id: Option<String>,
    /// The name the customer chose to show.
    pub profile_name: Option<String>,
    /// The customer's username.
    pub username: Option<String>,
    /// `COMPLETED`, `FAILED`, …, on `terminate`.
    pub status: Option<String>,
    /// `duration` in seconds, by the platform's own count.
    pub duration_seconds: Option<i64>,
    /// What the button that was called from carried.
    pub cta_payload: Option<String>,
    /// What the link that was called from carried.
    pub deeplink_payload: Option<String>,
    /// What went wrong, if anything did.
    pub errors: Vec<ReportedError>,
    /// `biz_opaque_callback_data` of a business-initiated call.
    pub callback_data: Option<String>,
}

/// Who started a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallDirection {
    /// The customer.
    UserInitiated,
    /// The business.
    BusinessInitiated,
    /// Not said, or in a word that we do not know.
    Unknown,
}

impl CallReport {
    /// Returns the instant from which this report refreshes the customer service window, if it
    /// does: a customer's call, answered or not, and a call of the business that was picked up.
    ///
    /// WhatsApp Cloud API: a call from the user opens the window whether or not it is answered,
    /// as does the user's acceptance of a call by the business (Meta: calling, pricing).
    pub fn opens_window_at(&self) -> Option<Timestamp> {
        match (self.direction, self.event.as_str()) {
            (CallDirection::UserInitiated, "connect" | "call_created") => Some(self.at),
            (CallDirection::UserInitiated, "terminate") => Some(self.start_at.unwrap_or(self.at)),
            (CallDirection::BusinessInitiated, "terminate") => self.start_at,
            _ => None,
        }
    }
}

/// How a call of the business fares with the customer.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStatus {
    /// The call's id (`wacid.…`).
    pub id: String,
    /// Ringing, accepted or rejected.
    pub state: CallState,
    /// `timestamp`: when it happened.
    pub at: Timestamp,
    /// The customer's phone as digits.
    pub customer_phone: Option<String>,
    /// The customer's business-scoped user id.
    pub user_id: Option<String>,
    /// The customer's parent user id.
    pub parent_user_id: Option<String>,
    /// The name the customer chose to show.
    pub profile_name: Option<String>,
    /// The customer's username.
    pub username: Option<String>,
    /// `biz_opaque_callback_data` of the call.
    pub callback_data: Option<String>,
    /// What went wrong, if anything did.
    pub errors: Vec<ReportedError>,
}

/// The states of [`CallStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CallState {
    /// The customer's phone rings.
    Ringing,
    /// The customer picked up.
    Accepted,
    /// The customer declined.
    Rejected,
    /// A state that we do not know, by its own name.
    Other(String),
}

impl CallState {
    /// Returns the state for its wire name, in any case.
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "RINGING" => Self::Ringing,
            "ACCEPTED" => Self::Accepted,
            "REJECTED" => Self::Rejected,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// Returns the wire name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ringing => "RINGING",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
            Self::Other(name) => name,
        }
    }
}

impl CallStatus {
    /// Returns the instant from which this report refreshes the customer service window, if it
    /// does: when the customer accepted.
    pub fn opens_window_at(&self) -> Option<Timestamp> {
        (self.state == CallState::Accepted).then_some(self.at)
    }
}

/// Reads one element of `calls[]`.
pub(super) fn parse(
    raw: &Value,
    business_phone: Option<&str>,
    contacts: &Contacts,
) -> Result<CallReport, Missing> {
    let id = read::required_text(raw, "id")?;
    let event = read::required_text(raw, "event")?;
    let at = read::required_time(raw, "timestamp")?;
    let direction = match read::text(raw, "direction")
        .map(|name| name.to_ascii_uppercase())
        .as_deref()
    {
        Some("USER_INITIATED") => CallDirection::UserInitiated,
        Some("BUSINESS_INITIATED") => CallDirection::BusinessInitiated,
        _ => CallDirection::Unknown,
    };
    let from_phone = read::phone(raw, "from");
    let to_phone = read::phone(raw, "to");
    let phone = customer_phone(
        direction,
        from_phone.as_deref(),
        to_phone.as_deref(),
        business_phone,
    )
    .map(str::to_owned);
    let user_id = read::text(raw, "from_user_id").or_else(|| read::text(raw, "to_user_id"));
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    Ok(CallReport {
        id,
        event,
        direction,
        at,
        start_at: read::time(raw, "start_time"),
        end_at: read::time(raw, "end_time"),
        from_phone,
        to_phone,
        customer_phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: read::text(raw, "from_parent_user_id")
            .or_else(|| read::text(raw, "to_parent_user_id"))
            .or(contact.parent_user_id),
        profile_name: contact.profile_name,
        username: contact.username,
        status: read::first_text(raw, "status"),
        duration_seconds: read::integer(raw, "duration"),
        cta_payload: read::text(raw, "cta_payload"),
        deeplink_payload: read::text(raw, "deeplink_payload"),
        errors: status::errors(raw),
        callback_data: read::text(raw, "biz_opaque_callback_data"),
    })
}

/// The direction says who is the customer, but Meta's samples contradict it, so the business
/// number decides where it can.
fn customer_phone<'a>(
    direction: CallDirection,
    from: Option<&'a str>,
    to: Option<&'a str>,
    business: Option<&str>,
) -> Option<&'a str> {
    match (
        business.is_some() && from == business,
        business.is_some() && to == business,
    ) {
        (true, false) => to,
        (false, true) => from,
        _ => match direction {
            CallDirection::UserInitiated => from,
            CallDirection::BusinessInitiated => to,
            CallDirection::Unknown => None,
        },
    }
}

/// Reads one element of `statuses[]` of the `calls` field.
pub(super) fn parse_status(raw: &Value, contacts: &Contacts) -> Result<CallStatus, Missing> {
    let id = read::required_text(raw, "id")?;
    let state = read::first_text(raw, "status").ok_or(Missing("status"))?;
    let at = read::required_time(raw, "timestamp")?;
    let phone = read::phone(raw, "recipient_id");
    let user_id = read::text(raw, "recipient_user_id");
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    Ok(CallStatus {
        id,
        state: CallState::parse(&state),
        at,
        customer_phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: read::text(raw, "recipient_parent_user_id").or(contact.parent_user_id),
        profile_name: contact.profile_name,
        username: contact.username,
        callback_data: read::text(raw, "biz_opaque_callback_data"),
        errors: status::errors(raw),
    })
}

//! The other things a webhook tells: echoes, changed ids, preferences, handovers, the phone app's
//! contacts. Only what other code acts on is lifted out; the item's JSON keeps the rest.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Channel, Content, MessageContext, MessageKind, ReportedError,
    contact::Contacts,
    content, context, message,
    read::{self, Missing},
    status,
};

/// The business wrote to a customer from elsewhere: the phone app (`smb_message_echoes`) or
/// another responder on the thread (`standby`). Neither needs nor moves the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Echo {
    /// The message's id (`wamid.…`).
    pub wamid: String,
    /// `timestamp`: when it was sent.
    pub at: Timestamp,
    /// Which field carried it.
    pub channel: Channel,
    /// The customer's phone as digits.
    pub to_phone: Option<String>,
    /// The customer's business-scoped user id.
    pub user_id: Option<String>,
    /// The customer's parent user id.
    pub parent_user_id: Option<String>,
    /// What sort of message.
    pub kind: MessageKind,
    /// What it holds.
    pub content: Option<Content>,
    /// What it answers or passes on.
    pub context: Option<MessageContext>,
    /// Its errors.
    pub errors: Vec<ReportedError>,
}

/// A customer's business-scoped user id changed, as it does with their phone number.
#[derive(Debug, Clone, PartialEq)]
pub struct UserIdUpdate {
    /// The user id before.
    pub previous_user_id: Option<String>,
    /// The user id now.
    pub current_user_id: String,
    /// The parent user id before.
    pub previous_parent_user_id: Option<String>,
    /// The parent user id now.
    pub current_parent_user_id: Option<String>,
    /// The customer's phone as digits.
    pub phone: Option<String>,
    /// Text for people.
    pub detail: Option<String>,
    /// `timestamp`: when it changed.
    pub at: Timestamp,
}

/// A customer chose whether to get marketing messages.
#[derive(Debug, Clone, PartialEq)]
pub struct UserPreference {
    /// The customer's phone as digits.
    pub phone: Option<String>,
    /// The customer's business-scoped user id.
    pub user_id: Option<String>,
    /// The customer's parent user id.
    pub parent_user_id: Option<String>,
    /// `marketing_messages` today.
    pub category: String,
    /// The choice.
    pub preference: Preference,
    /// Text for people.
    pub detail: Option<String>,
    /// `timestamp`: when they chose.
    pub at: Timestamp,
}

/// A customer's choice in [`UserPreference`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Preference {
    /// No more of these.
    Stop,
    /// Again, after a stop.
    Resume,
    /// A word that we do not know, such as `signup`.
    Other(String),
}

impl Preference {
    /// Returns the choice for its wire name.
    pub fn parse(name: &str) -> Self {
        match name {
            "stop" => Self::Stop,
            "resume" => Self::Resume,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Returns the wire name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Resume => "resume",
            Self::Other(name) => name,
        }
    }
}

/// A thread's owner changed. Never names a user id (Meta: conversation routing).
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    /// `control_passed`, `control_taken`, ….
    pub kind: String,
    /// `timestamp`: when it changed.
    pub at: Timestamp,
    /// The customer's phone as digits.
    pub phone: Option<String>,
    /// The role that had the thread, such as `meta_business_agent`.
    pub previous_owner_role: Option<String>,
    /// The role that has it now; absent if the thread went idle.
    pub new_owner_role: Option<String>,
    /// What the passing side wrote for the other.
    pub metadata: Option<String>,
}

/// The phone app's address book gained or lost a contact (`smb_app_state_sync`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppContact {
    /// `add` or `remove`; an edit is an `add`.
    pub action: String,
    /// The contact's phone as digits.
    pub phone: Option<String>,
    /// The contact's business-scoped user id.
    pub user_id: Option<String>,
    /// The contact's parent user id.
    pub parent_user_id: Option<String>,
    /// Name in the address book.
    pub full_name: Option<String>,
    /// Given name in the address book.
    pub first_name: Option<String>,
    /// `metadata.timestamp`: when it changed, if the platform says so.
    pub at: Option<Timestamp>,
}

/// Reads one element of `message_echoes[]`.
pub(super) fn echo(raw: &Value, channel: Channel, contacts: &Contacts) -> Result<Echo, Missing> {
    let wamid = read::required_text(raw, "id")?;
    let at = read::required_time(raw, "timestamp")?;
    let (name, kind) = message::kind_of(raw);
    let phone = read::phone(raw, "to");
    let user_id = read::text(raw, "to_user_id").or_else(|| read::user_id(raw, "to"));
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    Ok(Echo {
        wamid,
        at,
        channel,
        to_phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: read::text(raw, "to_parent_user_id").or(contact.parent_user_id),
        content: content::parse(raw, &kind, content::object_of(raw, &name, &kind)),
        context: context::parse(raw),
        errors: status::errors(raw),
        kind,
    })
}

/// Reads one element of `user_id_update[]`.
pub(super) fn user_id_update(raw: &Value, contacts: &Contacts) -> Result<UserIdUpdate, Missing> {
    let pair = |key: &str, which: &str| raw.get(key).and_then(|ids| read::text(ids, which));
    let current_user_id = pair("user_id", "current").ok_or(Missing("user_id.current"))?;
    let at = read::required_time(raw, "timestamp")?;
    let contact = contacts.find(None, Some(&current_user_id));
    Ok(UserIdUpdate {
        previous_user_id: pair("user_id", "previous"),
        previous_parent_user_id: pair("parent_user_id", "previous"),
        current_parent_user_id: pair("parent_user_id", "current"),
        phone: read::phone(raw, "wa_id").or(contact.phone),
        detail: read::text(raw, "detail"),
        at,
        current_user_id,
    })
}

/// Reads one element of `user_preferences[]`.
pub(super) fn user_preference(raw: &Value, contacts: &Contacts) -> Result<UserPreference, Missing> {
    let category = read::required_text(raw, "category")?;
    let value = read::required_text(raw, "value")?;
    let at = read::required_time(raw, "timestamp")?;
    let phone = read::phone(raw, "wa_id");
    let user_id = read::text(raw, "user_id");
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    Ok(UserPreference {
        phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: read::text(raw, "parent_user_id").or(contact.parent_user_id),
        category,
        preference: Preference::parse(&value),
        detail: read::text(raw, "detail"),
        at,
    })
}

/// Reads a `messaging_handovers` value, which is one handover as a whole.
pub(super) fn handover(value: &Value) -> Result<Handover, Missing> {
    // Early samples have no `type`; the name of the object that is there says the same.
    let kind = read::text(value, "type")
        .or_else(|| {
            value
                .as_object()?
                .keys()
                .find(|key| key.starts_with("control_"))
                .cloned()
        })
        .ok_or(Missing("type"))?;
    let at = read::required_time(value, "timestamp")?;
    let detail = value.get(kind.as_str());
    let role = |short: &str, long: &str| {
        detail.and_then(|detail| read::text(detail, short).or_else(|| read::text(detail, long)))
    };
    Ok(Handover {
        at,
        phone: value
            .get("sender")
            .and_then(|sender| read::phone(sender, "phone_number")),
        previous_owner_role: role("previous_owner_role", "previous_owner_app_role"),
        new_owner_role: role("new_owner_role", "new_owner_app_role"),
        metadata: detail.and_then(|detail| read::text(detail, "metadata")),
        kind,
    })
}

/// Reads one element of `state_sync[]`.
pub(super) fn app_contact(raw: &Value) -> Result<AppContact, Missing> {
    let action = read::required_text(raw, "action")?;
    let contact = read::object(raw, "contact").ok_or(Missing("contact"))?;
    Ok(AppContact {
        action,
        phone: read::phone(contact, "phone_number").or_else(|| read::phone(contact, "wa_id")),
        user_id: read::text(contact, "user_id"),
        parent_user_id: read::text(contact, "parent_user_id"),
        full_name: read::text(contact, "full_name"),
        first_name: read::text(contact, "first_name"),
        at: read::object(raw, "metadata").and_then(|metadata| read::time(metadata, "timestamp")),
    })
}

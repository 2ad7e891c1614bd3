//! The other things a webhook tells: echoes, changed ids, preferences, handovers, history,
//! accounts. Only what other code acts on is lifted out; the item's JSON keeps the rest.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Channel, MessageKind,
    contact::Contacts,
    read::{self, Missing},
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

/// A part of the messages from before a number was onboarded from the phone app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryChunk {
    /// `metadata.phase`: 0 the last day, 1 the last 90 days, 2 the rest.
    pub phase: Option<i64>,
    /// `metadata.chunk_order`: its place among the chunks.
    pub chunk_order: Option<i64>,
    /// `metadata.progress`, in per cent.
    pub progress: Option<i64>,
    /// How many messages it holds.
    pub message_count: usize,
}

/// News about what the business owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The webhook field, such as `message_template_status_update`.
    pub field: String,
    /// What the news is about, from the field's name.
    pub scope: AccountScope,
    /// `event` (or `decision`) of the value, such as `APPROVED`.
    pub event: Option<String>,
    /// The whole value.
    pub value: Value,
}

/// What an [`Account`] update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountScope {
    /// A message template.
    Template,
    /// A business phone number.
    Number,
    /// The WhatsApp business account, the portfolio, or the app.
    Account,
}

/// Reads one element of `message_echoes[]`.
pub(super) fn echo(
    raw: &Value,
    channel: Channel,
    contacts: &Contacts<'_>,
) -> Result<Echo, Missing> {
    let wamid = read::required_text(raw, "id")?;
    let at = read::required_time(raw, "timestamp")?;
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
        kind: MessageKind::parse(&read::text(raw, "type").unwrap_or_default()),
    })
}

/// Reads one element of `user_id_update[]`.
pub(super) fn user_id_update(
    raw: &Value,
    contacts: &Contacts<'_>,
) -> Result<UserIdUpdate, Missing> {
    let pair = |key: &str, which: &str| raw.get(key).and_then(|ids| read::text(ids, which));
    let current_user_id = pair("user_id", "current").ok_or(Missing("user_id.current"))?;
    let at = read::required_time(raw, "timestamp")?;
    let contact = contacts.find(None, Some(&current_user_id));
    Ok(UserIdUpdate {
        previous_user_id: pair("user_id", "previous"),
        previous_parent_user_id: pair("parent_user_id", "previous"),
        current_parent_user_id: pair("parent_user_id", "current"),
        phone: read::phone(raw, "wa_id").or(contact.phone),
        at,
        current_user_id,
    })
}

/// Reads one element of `user_preferences[]`.
pub(super) fn user_preference(
    raw: &Value,
    contacts: &Contacts<'_>,
) -> Result<UserPreference, Missing> {
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

/// Reads one element of `history[]`; everything in it is optional.
pub(super) fn history(raw: &Value) -> HistoryChunk {
    let metadata = raw.get("metadata").unwrap_or(&Value::Null);
    let threads = raw.get("threads").and_then(Value::as_array);
    HistoryChunk {
        phase: read::integer(metadata, "phase"),
        chunk_order: read::integer(metadata, "chunk_order"),
        progress: read::integer(metadata, "progress"),
        message_count: threads.map_or(0, |threads| {
            threads
                .iter()
                .filter_map(|thread| thread.get("messages").and_then(Value::as_array))
                .map(Vec::len)
                .sum()
        }),
    }
}

/// Returns what an account field is about, or `None` if it is no account field.
pub(super) fn account_scope(field: &str) -> Option<AccountScope> {
    if field.starts_with("message_template_") || field.starts_with("template_") {
        return Some(AccountScope::Template);
    }
    if field.starts_with("phone_number_") {
        return Some(AccountScope::Number);
    }
    let account = field.starts_with("account_")
        || field.starts_with("business_")
        || field.starts_with("partner_")
        || matches!(field, "security" | "payment_configuration_update");
    account.then_some(AccountScope::Account)
}

/// Reads an account field's value.
pub(super) fn account(field: &str, scope: AccountScope, value: &Value) -> Account {
    Account {
        field: field.to_owned(),
        scope,
        event: read::text(value, "event").or_else(|| read::text(value, "decision")),
        value: value.clone(),
    }
}

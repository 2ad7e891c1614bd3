//! The parts every item of a post has in common. Holds data only; [`super::parse`] fills it.

use serde_json::Value;

use super::{
    Account, AppContact, CallReport, CallStatus, Echo, GroupChange, Handover, HistoryChunk,
    InboundMessage, StatusReport, UserIdUpdate, UserPreference,
};

/// A webhook post as a flat list of items, in the order they stand in the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// What the post is about; `whatsapp_business_account` today.
    pub object: Option<String>,
    /// Every item of every change of every entry.
    pub items: Vec<Item>,
    /// True if the body was no valid JSON (broken UTF-8, half a surrogate pair) and could be read
    /// only with U+FFFD in place of what was broken. The raw bytes remain the truth.
    pub repaired: bool,
}

/// One update: a message, a status, a call, an account's news.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where in the post it stood.
    pub origin: ItemOrigin,
    /// Meta's id of the business number concerned, from the value's own metadata.
    pub phone_number_id: Option<String>,
    /// The business number as digits, without `+`, from the value's own metadata.
    pub display_phone_number: Option<String>,
    /// The item's own JSON, complete.
    pub raw: Value,
    /// What we understood of it.
    pub kind: ItemKind,
}

/// Where an item stood in its post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemOrigin {
    /// `entry[].id`: the WhatsApp business account (for `PARTNER_*` updates the portfolio).
    pub entry_id: Option<String>,
    /// `entry[].time`, as sent (Unix seconds); absent on the messages field.
    pub entry_time: Option<i64>,
    /// `changes[].field`; empty if there is none.
    pub field: String,
    /// Index in `entry`.
    pub entry_index: usize,
    /// Index in `changes`; 0 if the entry itself could not be read.
    pub change_index: usize,
    /// Index in the item's own array; 0 if the item is a whole value.
    pub item_index: usize,
    /// Such as `entry[0].changes[1].value.messages[2]`.
    pub path: String,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// A customer's message, also those that another responder owns (`standby`), and the
    /// platform's own `system` messages.
    Message(Box<InboundMessage>),
    /// What became of a message that the business sent.
    Status(Box<StatusReport>),
    /// A call began, was picked up or ended.
    Call(Box<CallReport>),
    /// A call of the business rings, was accepted or rejected.
    CallStatus(Box<CallStatus>),
    /// The business wrote from elsewhere: the phone app, or another responder.
    Echo(Box<Echo>),
    /// A customer's business-scoped user id changed.
    UserIdUpdate(UserIdUpdate),
    /// A customer stopped or resumed marketing messages.
    UserPreference(UserPreference),
    /// The thread went to another responder, or came to us.
    Handover(Handover),
    /// Old messages, shared when a number was onboarded from the phone app. Opens nothing.
    History(HistoryChunk),
    /// The phone app's address book gained or lost a contact.
    AppContact(Box<AppContact>),
    /// A group began, ended, was blocked, or changed its members or settings.
    GroupChange(Box<GroupChange>),
    /// News about an account, number or template.
    Account(Box<Account>),
    /// `value.errors[]`: the platform complains about the account or the app, not a message.
    ValueError(ReportedError),
    /// Well-formed JSON of a field or shape that we do not know.
    Unrecognized,
    /// Something in a known place that lacks what its kind must have.
    Malformed {
        /// What is wrong, without content.
        reason: String,
    },
}

impl ItemKind {
    /// Returns a stable name of the variant, for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Status(_) => "status",
            Self::Call(_) => "call",
            Self::CallStatus(_) => "call_status",
            Self::Echo(_) => "echo",
            Self::UserIdUpdate(_) => "user_id_update",
            Self::UserPreference(_) => "user_preference",
            Self::Handover(_) => "handover",
            Self::History(_) => "history",
            Self::AppContact(_) => "app_contact",
            Self::GroupChange(_) => "group_change",
            Self::Account(_) => "account",
            Self::ValueError(_) => "value_error",
            Self::Unrecognized => "unrecognized",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// Which webhook field carried a message, status or echo.
///
/// While another responder owns the thread, the customer's messages come on `standby`; they
/// refresh Meta's window all the same (Meta: conversation routing, August 2026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Our app owns the thread, or nobody does.
    Messages,
    /// Another responder owns the thread; we listen.
    Standby,
    /// The `smb_message_echoes` field: written in the phone app.
    PhoneApp,
}

/// An error as webhooks report it: on a value, an unsupported message or a failed status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportedError {
    /// See [`crate::errors::lookup`]; [`crate::errors::NO_CODE`] if there is none.
    pub code: i64,
    /// Short text; webhooks repeat it in `message`.
    pub title: Option<String>,
    /// Text for people.
    pub message: Option<String>,
    /// `error_data.details`.
    pub details: Option<String>,
    /// Where the platform explains it.
    pub href: Option<String>,
    /// `error_data`, if it says more than its details.
    pub data: Option<Value>,
}

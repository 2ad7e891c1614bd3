//! Messages from before a number was onboarded from the phone app: the `history` field.
//!
//! One post may describe thousands of messages, so one item is one chunk with its chats; a message
//! that cannot be read costs neither its chat nor the chunk. Media comes in posts of its own, as
//! `messages` of the same field; it is as old.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Content, MessageContext, MessageKind, ReportedError,
    contact::Contacts,
    content, context, message,
    read::{self, Missing},
    status,
};

/// A part of the messages from before a number was onboarded from the phone app.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryChunk {
    /// `metadata.phase`: 0 the last day, 1 the last 90 days, 2 the rest.
    pub phase: Option<i64>,
    /// `metadata.chunk_order`: its place among the chunks.
    pub chunk_order: Option<i64>,
    /// `metadata.progress`, in per cent.
    pub progress: Option<i64>,
    /// The chats, each with one customer.
    pub threads: Vec<HistoryThread>,
    /// Why there is no history, when the business did not want to share it.
    pub errors: Vec<ReportedError>,
    /// What is in a known place and cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// What one chunk holds of a chat.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryThread {
    /// Where it stands in the item, such as `threads[2]`; empty if it is the item.
    pub path: String,
    /// The customer's phone as digits.
    pub phone: Option<String>,
    /// The customer's business-scoped user id.
    pub user_id: Option<String>,
    /// The customer's parent user id.
    pub parent_user_id: Option<String>,
    /// What was written, in the order received.
    pub messages: Vec<HistoryMessage>,
}

/// A message out of a chat's history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryMessage {
    /// The message's id (`wamid.…`).
    pub wamid: String,
    /// When it was written.
    pub at: Timestamp,
    /// The business wrote it.
    pub outbound: bool,
    /// Its type.
    pub kind: MessageKind,
    /// What it holds.
    pub content: Option<Content>,
    /// What it answers or passes on.
    pub context: Option<MessageContext>,
    /// `history_context.status`: what had become of it, such as `READ`.
    pub status: Option<String>,
    /// Its errors.
    pub errors: Vec<ReportedError>,
    /// Its own JSON, complete.
    pub raw: Value,
}

/// A part of an item that lacks what it must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Where it stands in the item.
    pub path: String,
    /// What is wrong, without content.
    pub reason: String,
    /// Its own JSON, complete.
    pub raw: Value,
}

impl HistoryChunk {
    /// Returns how many messages it holds.
    pub fn message_count(&self) -> usize {
        self.threads.iter().map(|it| it.messages.len()).sum()
    }
}

/// Reads one element of `history[]`; everything in it is optional.
pub(super) fn chunk(raw: &Value, business: Option<&str>, contacts: &Contacts) -> HistoryChunk {
    let metadata = raw.get("metadata").unwrap_or(&Value::Null);
    let mut chunk = HistoryChunk {
        phase: read::integer(metadata, "phase"),
        chunk_order: read::integer(metadata, "chunk_order"),
        progress: read::integer(metadata, "progress"),
        errors: status::errors(raw),
        ..HistoryChunk::default()
    };
    let threads = match raw.get("threads") {
        None | Some(Value::Null) => return chunk,
        Some(Value::Array(threads)) => threads,
        Some(other) => {
            chunk.give_up("threads", "`threads` is no array", other);
            return chunk;
        }
    };
    for (index, thread) in threads.iter().enumerate() {
        let path = format!("threads[{index}]");
        let Some(messages) = thread.get("messages").and_then(Value::as_array) else {
            chunk.give_up(&path, "chat has no `messages`", thread);
            continue;
        };
        let customer = customer_of(thread, messages, business, contacts);
        let mut found = Vec::new();
        for (index, raw) in messages.iter().enumerate() {
            match read_message(raw, &customer, business) {
                Ok(message) => found.push(message),
                Err(missing) => {
                    let path = format!("{path}.messages[{index}]");
                    chunk.give_up(&path, &missing.to_string(), raw);
                }
            }
        }
        chunk.threads.push(HistoryThread {
            path,
            messages: found,
            ..customer
        });
    }
    chunk
}

/// Reads one element of `messages[]` of the field: a chat of one message.
pub(super) fn single(
    raw: &Value,
    business: Option<&str>,
    contacts: &Contacts,
) -> Result<HistoryChunk, Missing> {
    let from = read::phone(raw, "from");
    let outbound = business.is_some() && from.as_deref() == business;
    let side = if outbound { "to" } else { "from" };
    let user_id_key = if outbound {
        "to_user_id"
    } else {
        "from_user_id"
    };
    let phone = read::phone(raw, side);
    let user_id = read::text(raw, user_id_key).or_else(|| read::user_id(raw, side));
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    let customer = HistoryThread {
        phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: contact.parent_user_id,
        ..HistoryThread::default()
    };
    let message = read_message(raw, &customer, business)?;
    Ok(HistoryChunk {
        threads: vec![HistoryThread {
            messages: vec![message],
            ..customer
        }],
        ..HistoryChunk::default()
    })
}

impl HistoryChunk {
    fn give_up(&mut self, path: &str, reason: &str, raw: &Value) {
        self.unreadable.push(Unreadable {
            path: path.to_owned(),
            reason: reason.to_owned(),
            raw: raw.clone(),
        });
    }
}

/// Whose chat it is. Its id is the customer's phone, or their user id if they hide it; the
/// customer's own messages may say more.
fn customer_of(
    thread: &Value,
    messages: &[Value],
    business: Option<&str>,
    contacts: &Contacts,
) -> HistoryThread {
    let holders = [Some(thread), read::object(thread, "context")];
    let first =
        |read: &dyn Fn(&Value) -> Option<String>| holders.iter().copied().flatten().find_map(read);
    let phone = read::phone(thread, "id").or_else(|| first(&|holder| read::phone(holder, "wa_id")));
    let theirs = messages.iter().find(|message| {
        let from = read::phone(message, "from");
        message.get("to").is_none() && (from.is_none() || from.as_deref() != business)
    });
    let told = |key: &str| theirs.and_then(|message| read::text(message, key));
    let user_id = read::user_id(thread, "id")
        .or_else(|| first(&|holder| read::text(holder, "user_id")))
        .or_else(|| told("from_user_id"));
    let contact = contacts.find(phone.as_deref(), user_id.as_deref());
    HistoryThread {
        phone: phone.or(contact.phone),
        user_id: user_id.or(contact.user_id),
        parent_user_id: first(&|holder| read::text(holder, "parent_user_id"))
            .or_else(|| told("from_parent_user_id"))
            .or(contact.parent_user_id),
        ..HistoryThread::default()
    }
}

fn read_message(
    raw: &Value,
    customer: &HistoryThread,
    business: Option<&str>,
) -> Result<HistoryMessage, Missing> {
    let wamid = read::required_text(raw, "id")?;
    let at = read::required_time(raw, "timestamp")?;
    let (name, kind) = message::kind_of(raw);
    let from = read::phone(raw, "from");
    // A number that we do not know may be the business's under an older name; the customer's is
    // the one that the chat is named by.
    let outbound = match (&from, &customer.phone) {
        (Some(from), _) if business == Some(from) => true,
        (Some(from), Some(phone)) => from != phone,
        _ => raw.get("to").is_some(),
    };
    Ok(HistoryMessage {
        wamid,
        at,
        outbound,
        content: content::parse(raw, &kind, content::object_of(raw, &name, &kind)),
        context: context::parse(raw),
        status: read::object(raw, "history_context")
            .and_then(|context| read::text(context, "status")),
        errors: status::errors(raw),
        raw: raw.clone(),
        kind,
    })
}

//! Answers to interactive messages.
//!
//! The object that is there says what an answer is, not `interactive.type`: the platform has sent
//! addresses with `"type": "interactive"`.

use jiff::Timestamp;
use serde_json::Value;

use super::Content;
use crate::webhook::read;

/// A tap on a button.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ButtonReply {
    /// As the sender gave it.
    pub id: Option<String>,
    /// What stands on the button.
    pub title: Option<String>,
}

/// A row chosen from a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListReply {
    /// As the sender gave it.
    pub id: Option<String>,
    /// The row's text.
    pub title: Option<String>,
    /// The smaller text beneath.
    pub description: Option<String>,
}

/// A form that was filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowReply {
    /// `flow`, or the name of another native form.
    pub name: Option<String>,
    /// What stands in the chat, such as `Sent`.
    pub body: Option<String>,
    /// The answers, JSON.
    pub response_json: Option<String>,
    /// As the sender of the form gave it.
    pub flow_token: Option<String>,
}

/// The answer to the question whether the business may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallPermissionReply {
    /// `accept` or `reject`.
    pub response: Option<String>,
    /// The permission has no end.
    pub permanent: bool,
    /// When the permission ends.
    pub expires_at: Option<Timestamp>,
    /// `user_action`, or `automatic` when the customer's app answered by itself.
    pub response_source: Option<String>,
}

/// An address that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressReply {
    /// What stands in the chat.
    pub body: Option<String>,
    /// Parts by name, in the order of their names.
    pub values: Vec<(String, String)>,
    /// Set if the customer chose an address that the business had offered.
    pub saved_address_id: Option<String>,
    /// The answer, JSON.
    pub response_json: Option<String>,
}

/// Reads an `interactive` object.
pub(super) fn parse(object: &Value) -> Option<Content> {
    if !object.is_object() {
        return None;
    }
    let part = |name: &str| read::object(object, name);
    if let Some(reply) = part("button_reply") {
        return Some(Content::ButtonReply(ButtonReply {
            id: read::text(reply, "id"),
            title: read::text(reply, "title"),
        }));
    }
    if let Some(reply) = part("list_reply") {
        return Some(Content::ListReply(ListReply {
            id: read::text(reply, "id"),
            title: read::text(reply, "title"),
            description: read::text(reply, "description"),
        }));
    }
    if let Some(reply) = part("call_permission_reply") {
        return Some(Content::CallPermissionReply(CallPermissionReply {
            response: read::text(reply, "response"),
            permanent: read::flag(reply, "is_permanent"),
            expires_at: read::time(reply, "expiration_timestamp"),
            response_source: read::text(reply, "response_source"),
        }));
    }
    if let Some(reply) = part("nfm_reply") {
        return Some(native(reply));
    }
    if let Some(reply) = part("address_message").or_else(|| part("address_reply")) {
        return Some(Content::AddressReply(address(reply, Some(reply))));
    }
    Some(Content::OtherReply {
        kind: read::text(object, "type"),
    })
}

/// Forms and addresses come in one shape and differ by name.
fn native(reply: &Value) -> Content {
    let name = read::text(reply, "name");
    let answers = answers(reply);
    if name.as_deref() == Some("address_message") {
        return Content::AddressReply(address(reply, answers.as_ref()));
    }
    Content::FlowReply(FlowReply {
        body: read::text(reply, "body"),
        response_json: response_json(reply),
        flow_token: answers
            .as_ref()
            .and_then(|answers| read::text(answers, "flow_token")),
        name,
    })
}

fn address(reply: &Value, answers: Option<&Value>) -> AddressReply {
    let values = answers.and_then(|answers| read::object(answers, "values"));
    let mut values: Vec<(String, String)> = values
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    values.sort_unstable();
    AddressReply {
        body: read::text(reply, "body"),
        values,
        saved_address_id: answers.and_then(|answers| read::text(answers, "saved_address_id")),
        response_json: response_json(reply),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `response_json` is JSON as text, by the documents; as an object it is taken, too.
fn response_json(reply: &Value) -> Option<String> {
    match reply.get("response_json")? {
        Value::Null => None,
        value => Some(plain(value)),
    }
}

fn answers(reply: &Value) -> Option<Value> {
    match reply.get("response_json")? {
        Value::String(text) => serde_json::from_str(text).ok(),
        value => Some(value.clone()),
    }
}

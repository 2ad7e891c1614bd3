//! Reads the body of a Graph `/messages` call as the platform does: strictly.
//!
//! It says whether the body is well-formed, not whether the message may go out. Written from the
//! platform's own pages and from nothing else in this house.

mod fields;
mod interactive;
#[cfg(test)]
mod tapped_tests;
mod template;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::codes::Refusal;
use fields::{Object, refuse, wrong};
pub(crate) use template::TemplateCall;

/// Longest text (Meta: text messages).
const TEXT_CHARS_MAX: usize = 4096;
/// Longest caption (Meta: image, video and document messages).
const CAPTION_CHARS_MAX: usize = 1024;
/// Most cards (Meta: contacts messages).
const CARDS_MAX: usize = 257;
/// Longest `biz_opaque_callback_data` (Meta: messages reference).
const CALLBACK_DATA_CHARS_MAX: usize = 512;

/// What a well-formed call asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum GraphCall {
    /// Send a message.
    Message(MessageCall),
    /// Mark an inbound message, and those before it, as read.
    MarkRead(MarkCall),
}

/// Which message was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MarkCall {
    pub(crate) message_id: String,
    /// Whether an answer is being typed.
    pub(crate) typing: bool,
}

/// A message to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MessageCall {
    pub(crate) recipient: Recipient,
    pub(crate) content: Content,
    /// Files that it names by the platform's ids.
    pub(crate) media_ids: Vec<String>,
    /// The messaging account that it names.
    pub(crate) messaging_account: Option<String>,
}

/// Who it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Recipient {
    /// `to`, which wins when both are given.
    Phone {
        /// As given.
        input: String,
        /// Its digits.
        digits: String,
    },
    /// `recipient`: a business-scoped user id.
    UserId(String),
}

/// What it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Free-form text.
    Text(String),
    /// A template.
    Template(TemplateCall),
    /// Any other free-form type.
    Other(String),
}

/// Reads a call.
pub(crate) fn read(body: &Value) -> Result<GraphCall, Refusal> {
    if !body.is_object() {
        return Err(Refusal::new(100, "the body is not a JSON object"));
    }
    if body["messaging_product"] != "whatsapp" {
        return Err(Refusal::new(
            100,
            "the parameter messaging_product is required and must be 'whatsapp'",
        ));
    }
    if let Some(status) = body.get("status") {
        return read_mark(status, body).map(GraphCall::MarkRead);
    }
    match body.get("recipient_type").map(Value::as_str) {
        None | Some(Some("individual")) => {}
        Some(Some("group")) => {
            return Err(Refusal::new(
                131_051,
                "the number is in no group the simulator knows",
            ));
        }
        Some(_) => return Err(Refusal::new(131_009, "recipient_type is not valid")),
    }
    let recipient = read_recipient(body)?;
    let whole = Object::new(body, "");
    if let Some(data) = body.get("biz_opaque_callback_data") {
        let data = data
            .as_str()
            .ok_or_else(|| Refusal::new(100, "biz_opaque_callback_data must be a string"))?;
        if data.chars().count() > CALLBACK_DATA_CHARS_MAX {
            return Err(Refusal::new(100, "biz_opaque_callback_data is too long"));
        }
    }
    if body.get("context").is_some() {
        whole.child("context")?.text("message_id", usize::MAX)?;
    }
    let messaging_account = match body.get("messaging_account_id") {
        None => None,
        Some(_) => Some(whole.text("messaging_account_id", 64)?.to_owned()),
    };
    // Without a type the platform takes the message for a text.
    let kind = match body.get("type") {
        None => "text",
        Some(kind) => kind
            .as_str()
            .ok_or_else(|| Refusal::new(100, "type must be a string"))?,
    };
    let Some(object) = body.get(kind) else {
        return Err(Refusal::new(
            131_008,
            format!("the parameter {kind} is required"),
        ));
    };
    let content = read_content(kind, object)?;
    Ok(GraphCall::Message(MessageCall {
        recipient,
        content,
        media_ids: media_ids(object, kind),
        messaging_account,
    }))
}

fn read_content(kind: &str, object: &Value) -> Result<Content, Refusal> {
    let at = Object::new(object, kind);
    match kind {
        "text" => return Ok(Content::Text(read_text(object)?)),
        "template" => return Ok(Content::Template(template::read(&at)?)),
        "image" | "video" | "audio" | "document" | "sticker" => read_media(&at, kind)?,
        "contacts" => read_contacts(object)?,
        "reaction" => read_reaction(&at)?,
        "interactive" => interactive::read(&at)?,
        "location" => read_location(&at)?,
        _ => {
            return Err(Refusal::new(100, format!("{kind} is not a message type")));
        }
    }
    Ok(Content::Other(kind.to_owned()))
}

fn read_mark(status: &Value, body: &Value) -> Result<MarkCall, Refusal> {
    if status != "read" {
        return Err(Refusal::new(131_009, "status must be 'read'"));
    }
    let message_id = Object::new(body, "").text("message_id", usize::MAX)?;
    if !message_id.starts_with("wamid.") {
        return Err(Refusal::new(131_009, "message_id is not a message's id"));
    }
    let typing = match body.get("typing_indicator") {
        None => false,
        Some(indicator) if *indicator == json!({"type": "text"}) => true,
        Some(_) => return Err(wrong("typing_indicator.type")),
    };
    Ok(MarkCall {
        message_id: message_id.to_owned(),
        typing,
    })
}

fn read_recipient(body: &Value) -> Result<Recipient, Refusal> {
    // What does not count has to be right all the same.
    let user_id = match body.get("recipient").map(Value::as_str) {
        None => None,
        Some(Some(user_id)) if is_user_id(user_id) => Some(user_id.to_owned()),
        Some(_) => {
            return Err(Refusal::new(
                131_009,
                "recipient is not a business-scoped user id",
            ));
        }
    };
    if let Some(to) = body.get("to") {
        let input = to
            .as_str()
            .ok_or_else(|| Refusal::new(100, "to must be a string"))?;
        let digits = crate::rules::digits(input);
        let is_phone = (5..=15).contains(&digits.len())
            && input
                .chars()
                .all(|char| char.is_ascii_digit() || "+ -().".contains(char));
        return if is_phone {
            Ok(Recipient::Phone {
                input: input.to_owned(),
                digits,
            })
        } else {
            Err(Refusal::new(131_009, "to is not a phone number"))
        };
    }
    user_id
        .map(Recipient::UserId)
        .ok_or_else(|| Refusal::new(131_008, "the parameter to or recipient is required"))
}

/// Returns true for a country, a dot, perhaps `ENT.`, and up to 128 letters and digits.
pub(crate) fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let id = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn read_text(object: &Value) -> Result<String, Refusal> {
    let body = Object::new(object, "text").text("body", usize::MAX)?;
    if body.chars().count() > TEXT_CHARS_MAX {
        return Err(Refusal::new(
            100,
            "param text['body'] must be at most 4096 characters long",
        ));
    }
    Ok(body.to_owned())
}

/// A file: by an id or by a link, never both.
fn read_media(at: &Object<'_>, kind: &str) -> Result<(), Refusal> {
    match (at.has("id"), at.has("link")) {
        (false, false) => {
            return Err(Refusal::new(
                131_008,
                format!("{kind}.id or {kind}.link is required"),
            ));
        }
        (true, true) => return Err(refuse(kind, "takes an id or a link, not both")),
        (true, false) => {
            at.text("id", usize::MAX)?;
        }
        (false, true) => {
            at.web_address("link")?;
        }
    }
    let (captioned, named, spoken) = match kind {
        "image" | "video" => (true, false, false),
        "document" => (true, true, false),
        "audio" => (false, false, true),
        _ => (false, false, false),
    };
    let allowed = [
        ("id", true),
        ("link", true),
        ("caption", captioned),
        ("filename", named),
        ("voice", spoken),
    ];
    at.only(&allowed)?;
    at.optional("caption", CAPTION_CHARS_MAX)?;
    at.optional("filename", usize::MAX)?;
    if at.value("voice").is_some_and(|voice| !voice.is_boolean()) {
        return Err(wrong("audio.voice"));
    }
    Ok(())
}

fn read_contacts(cards: &Value) -> Result<(), Refusal> {
    let cards = cards.as_array().ok_or_else(|| wrong("contacts"))?;
    if cards.is_empty() || cards.len() > CARDS_MAX {
        return Err(refuse("contacts", "must be 1 to 257 cards"));
    }
    for card in cards {
        let card = Object::new(card, "contacts[]");
        card.child("name")?.text("formatted_name", usize::MAX)?;
        for (list, key) in [("phones", "phone"), ("emails", "email"), ("urls", "url")] {
            for item in card.list(list)? {
                item.text(key, usize::MAX)?;
            }
        }
        card.list("addresses")?;
    }
    Ok(())
}

fn read_reaction(at: &Object<'_>) -> Result<(), Refusal> {
    if !at.text("message_id", usize::MAX)?.starts_with("wamid.") {
        return Err(wrong("reaction.message_id"));
    }
    // An empty one takes the reaction back, so it has to be said.
    match at.value("emoji").map(Value::as_str) {
        None => Err(Refusal::new(
            131_008,
            "the parameter reaction.emoji is required",
        )),
        Some(Some(emoji)) if !emoji.chars().any(|char| char.is_ascii_alphanumeric()) => Ok(()),
        Some(_) => Err(wrong("reaction.emoji")),
    }
}

fn read_location(at: &Object<'_>) -> Result<(), Refusal> {
    for (key, most) in [("latitude", 90.0), ("longitude", 180.0)] {
        let degrees = match at.value(key) {
            None => {
                return Err(Refusal::new(
                    131_008,
                    format!("the parameter {key} is required"),
                ));
            }
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_f64(),
        };
        if !degrees.is_some_and(|degrees: f64| degrees.abs() <= most) {
            return Err(wrong(key));
        }
    }
    at.optional("name", usize::MAX)?;
    at.optional("address", usize::MAX)
}

/// The ids of files anywhere in a message.
fn media_ids(value: &Value, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    if ["image", "video", "audio", "document", "sticker"].contains(&key)
        && let Some(id) = value["id"].as_str()
    {
        found.push(id.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.extend(media_ids(value, key));
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| found.extend(media_ids(item, ""))),
        _ => {}
    }
    found
}

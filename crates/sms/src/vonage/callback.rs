//! What Vonage's Messages API posts to us: statuses of messages we sent, and customers' messages.
//!
//! Fields are an open set; only what is acted on is read. Both kinds may come to one URL. Verify
//! them first ([`super::signature`]).

use serde_json::Value;

use crate::errors::NO_CODE;
use crate::webhook::{Delivery, Failure, Inbound, Media, Report, Webhook, instant};

/// The body is no webhook that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is no JSON object.
    #[error("body is no JSON object")]
    NotAnObject,
    /// It came over another channel than SMS, such as Viber.
    #[error("webhook is of channel `{0}`, which is no SMS")]
    OtherChannel(String),
    /// A field that every webhook has is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

/// Kinds of messages that are files, each under its own name.
const FILES: [&str; 5] = ["image", "video", "audio", "vcard", "file"];

/// Reads the body of a webhook.
pub fn parse(body: &[u8]) -> Result<Webhook, ParseError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| ParseError::NotAnObject)?;
    if !value.is_object() {
        return Err(ParseError::NotAnObject);
    }
    if let Some(channel) = text(&value["channel"])
        && !["sms", "mms"].contains(&channel.to_ascii_lowercase().as_str())
    {
        return Err(ParseError::OtherChannel(channel));
    }
    let id = text(&value["message_uuid"]).ok_or(ParseError::Missing("message_uuid"))?;
    Ok(match text(&value["status"]) {
        Some(word) => Webhook::Report(report(&value, id, word)),
        None => Webhook::Inbound(inbound(&value, id)?),
    })
}

fn report(value: &Value, id: String, word: String) -> Report {
    let delivery = match word.to_ascii_lowercase().as_str() {
        "submitted" => Some(Delivery::Sent),
        "delivered" => Some(Delivery::Delivered),
        "read" => Some(Delivery::Read),
        "rejected" | "undeliverable" => Some(Delivery::Failed),
        _ => None,
    };
    Report {
        id,
        failure: (delivery == Some(Delivery::Failed)).then(|| failure(&value["error"])),
        delivery,
        word,
        to: address(&value["to"]),
        from: address(&value["from"]),
        account: None,
        reference: text(&value["client_ref"]),
        at: text(&value["timestamp"]).as_deref().and_then(instant),
    }
}

/// The code is the error's title, or the end of its address.
pub(super) fn failure(error: &Value) -> Failure {
    let title = text(&error["title"]);
    let in_address =
        text(&error["type"]).and_then(|address| Some(address.rsplit_once('#')?.1.to_owned()));
    let number = |text: Option<&String>| text?.trim().parse().ok();
    Failure {
        code: number(title.as_ref())
            .or_else(|| number(in_address.as_ref()))
            .unwrap_or(NO_CODE),
        detail: text(&error["detail"]).unwrap_or_default(),
    }
}

fn inbound(value: &Value, id: String) -> Result<Inbound, ParseError> {
    let mut media = Vec::new();
    let mut caption = None;
    for kind in FILES {
        let file = &value[kind];
        if let Some(url) = text(&file["url"]) {
            media.push(Media {
                url,
                mime_type: text(&file["mime_type"]),
            });
            caption = caption.or_else(|| text(&file["caption"]));
        }
    }
    let is_message =
        value["text"].is_string() || !media.is_empty() || text(&value["message_type"]).is_some();
    if !is_message {
        return Err(ParseError::Missing("message_type"));
    }
    Ok(Inbound {
        id,
        from: address(&value["from"]).ok_or(ParseError::Missing("from"))?,
        to: address(&value["to"]).ok_or(ParseError::Missing("to"))?,
        text: text(&value["text"]).or(caption).unwrap_or_default(),
        media,
        segments: text(&value["sms"]["num_messages"]).and_then(|count| count.parse().ok()),
        opt_out: None,
        account: None,
        at: text(&value["timestamp"]).as_deref().and_then(instant),
    })
}

/// A phone or sender: its own text, or an object around it in older accounts.
fn address(value: &Value) -> Option<String> {
    text(value).or_else(|| text(&value["number"]))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

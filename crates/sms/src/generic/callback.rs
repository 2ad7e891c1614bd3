//! What such a gateway posts, read by JSON pointers (RFC 6901).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::errors::NO_CODE;
use crate::webhook::{Delivery, Failure, Inbound, Media, Report, Webhook, instant};

/// How many files of one message are taken.
const MEDIA_LEN_MAX: usize = 64;

/// Where a gateway's posts say what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// What tells statuses from messages. Without it, whatever has a sender and a text or a file
    /// is a message.
    pub kinds: Option<Kinds>,
    /// Statuses of messages that we sent; `None` if there are none to read.
    pub report: Option<ReportFields>,
    /// Customers' messages; `None` if there are none to read.
    pub inbound: Option<InboundFields>,
    /// What the gateway's words for a status mean, in lower case.
    pub words: BTreeMap<String, Delivery>,
}

/// What tells statuses from messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Where it stands.
    pub at: String,
    /// What stands there in customers' messages.
    pub inbound: Vec<String>,
}

/// Where a status says what. An empty pointer stands for a field that is never there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportFields {
    /// The gateway's id of the message.
    pub id: String,
    /// The gateway's word for where it is.
    pub status: String,
    /// The customer's phone.
    pub to: String,
    /// The number or sender it went from.
    pub from: String,
    /// What we gave the gateway to be told again.
    pub reference: String,
    /// Why it failed, as a number.
    pub error_code: String,
    /// Why it failed, in words.
    pub error_text: String,
    /// When.
    pub time: String,
}

/// Where a customer's message says what. An empty pointer stands for a field that is never there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundFields {
    /// The gateway's id of the message.
    pub id: String,
    /// The customer's phone.
    pub from: String,
    /// Our number.
    pub to: String,
    /// The text.
    pub text: String,
    /// The list of files.
    pub media: String,
    /// Where a file of that list says its address; empty if the list is of addresses.
    pub media_url: String,
    /// Where a file of that list says its type.
    pub media_type: String,
    /// In how many parts it came.
    pub segments: String,
    /// When.
    pub time: String,
}

/// The body is no post of this layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is no JSON.
    #[error("body is no JSON")]
    NotJson,
    /// It is neither a status nor a message.
    #[error("post is neither a status nor a message by its layout")]
    NeitherStatusNorMessage,
    /// Nothing stands where a field should.
    #[error("nothing stands at `{0}`")]
    Missing(String),
}

/// Reads a post by its layout.
pub fn parse(layout: &Layout, body: &[u8]) -> Result<Webhook, ParseError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| ParseError::NotJson)?;
    let inbound = layout
        .inbound
        .as_ref()
        .filter(|fields| is_inbound(layout, fields, &value));
    if let Some(fields) = inbound {
        return Ok(Webhook::Inbound(read_inbound(fields, &value)?));
    }
    let fields = layout
        .report
        .as_ref()
        .filter(|fields| at(&value, &fields.status).is_some())
        .ok_or(ParseError::NeitherStatusNorMessage)?;
    Ok(Webhook::Report(read_report(layout, fields, &value)?))
}

fn is_inbound(layout: &Layout, fields: &InboundFields, value: &Value) -> bool {
    if let Some(kinds) = &layout.kinds {
        return at(value, &kinds.at).is_some_and(|kind| kinds.inbound.contains(&kind));
    }
    let says_something = at(value, &fields.text).is_some()
        || pointer(value, &fields.media).is_some_and(|media| !media.is_null());
    at(value, &fields.from).is_some() && says_something
}

fn read_report(
    layout: &Layout,
    fields: &ReportFields,
    value: &Value,
) -> Result<Report, ParseError> {
    let word = required(value, &fields.status)?;
    let delivery = layout.words.get(&word.to_lowercase()).copied();
    let failure = Failure {
        code: at(value, &fields.error_code)
            .and_then(|code| code.trim().parse().ok())
            .unwrap_or(NO_CODE),
        detail: at(value, &fields.error_text).unwrap_or_default(),
    };
    Ok(Report {
        id: required(value, &fields.id)?,
        failure: (delivery == Some(Delivery::Failed)).then_some(failure),
        delivery,
        word,
        to: at(value, &fields.to),
        from: at(value, &fields.from),
        account: None,
        reference: at(value, &fields.reference),
        at: at(value, &fields.time).as_deref().and_then(instant),
    })
}

fn read_inbound(fields: &InboundFields, value: &Value) -> Result<Inbound, ParseError> {
    let files = match pointer(value, &fields.media) {
        Some(Value::Array(files)) => files.iter().collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    };
    let media = files.into_iter().take(MEDIA_LEN_MAX).filter_map(|file| {
        Some(Media {
            url: match fields.media_url.as_str() {
                "" => text(file)?,
                inside => at(file, inside)?,
            },
            mime_type: at(file, &fields.media_type),
        })
    });
    Ok(Inbound {
        id: required(value, &fields.id)?,
        from: required(value, &fields.from)?,
        to: required(value, &fields.to)?,
        text: at(value, &fields.text).unwrap_or_default(),
        media: media.collect(),
        segments: at(value, &fields.segments).and_then(|count| count.parse().ok()),
        opt_out: None,
        account: None,
        at: at(value, &fields.time).as_deref().and_then(instant),
    })
}

fn required(value: &Value, place: &str) -> Result<String, ParseError> {
    at(value, place).ok_or_else(|| ParseError::Missing(place.to_owned()))
}

/// What stands at a pointer; nothing at an empty one, which would mean the whole.
fn pointer<'a>(value: &'a Value, place: &str) -> Option<&'a Value> {
    (!place.is_empty()).then(|| value.pointer(place)).flatten()
}

fn at(value: &Value, place: &str) -> Option<String> {
    pointer(value, place).and_then(text)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

//! What Twilio posts to us: statuses of messages we sent, and customers' messages.
//!
//! Parameters are an open set; only what is acted on is read, the rest is ignored. Callbacks come
//! out of order and repeat, and carry no time of their own. Verify them first
//! ([`super::signature`]).

use super::form;
use crate::errors::NO_CODE;
use crate::webhook::{Delivery, Failure, Inbound, Media, OptOut, Report, Webhook};

/// How many files a message is looked at for. Twilio: at most ten.
const MEDIA_LEN_MAX: u32 = 64;

/// A callback, by what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callback {
    /// A message that we sent moved on.
    Status(StatusCallback),
    /// A customer wrote to one of our numbers.
    Inbound(InboundSms),
}

/// The body is no callback that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is neither a form nor a JSON object.
    #[error("body is neither a form nor a JSON object")]
    NotAForm,
    /// It is neither a status nor a message.
    #[error("callback has neither a status nor a text")]
    NeitherStatusNorMessage,
    /// A parameter that every callback has is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

/// A message that we sent moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCallback {
    /// The message's id (`SM…` or `MM…`), as the call's answer names it.
    pub sid: String,
    /// Where it is now.
    pub status: Status,
    /// Why it failed; see [`super::errors::lookup`].
    pub error_code: Option<i64>,
    /// The customer's phone, E.164 with `+`.
    pub to: Option<String>,
    /// The number or sender it went from.
    pub from: Option<String>,
    /// Twilio's account (`AC…`).
    pub account_sid: Option<String>,
}

/// A customer's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundSms {
    /// The message's id (`SM…` or `MM…`).
    pub sid: String,
    /// The customer's phone, E.164 with `+`.
    pub from: String,
    /// Our number.
    pub to: String,
    /// The text; may be empty.
    pub body: String,
    /// Files that came with it (MMS).
    pub media: Vec<Media>,
    /// In how many parts it came. Twilio puts them together.
    pub segments: Option<u32>,
    /// What Twilio itself took the text for, if it keeps opt-outs for the sender.
    pub opt_out: Option<OptOut>,
    /// Twilio's account (`AC…`).
    pub account_sid: Option<String>,
}

/// Where a message is (`MessageStatus`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Status {
    /// Taken on by a messaging service, sender not chosen yet.
    Accepted,
    /// To be sent later.
    Scheduled,
    /// Waiting at Twilio.
    Queued,
    /// On its way to the carrier.
    Sending,
    /// The carrier took it on.
    Sent,
    /// The carrier says it arrived.
    Delivered,
    /// The carrier says it did not arrive.
    Undelivered,
    /// Twilio could not send it.
    Failed,
    /// Taken back before it was sent.
    Canceled,
    /// The recipient saw it (channels other than SMS).
    Read,
    /// Some recipients got it.
    PartiallyDelivered,
    /// A customer's message is arriving.
    Receiving,
    /// A customer's message arrived.
    Received,
    /// A status that we do not know, by its own name.
    Other(String),
}

impl Status {
    /// Returns the status for its wire name, in any case.
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "accepted" => Self::Accepted,
            "scheduled" => Self::Scheduled,
            "queued" => Self::Queued,
            "sending" => Self::Sending,
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "undelivered" => Self::Undelivered,
            "failed" => Self::Failed,
            "canceled" => Self::Canceled,
            "read" => Self::Read,
            "partially_delivered" => Self::PartiallyDelivered,
            "receiving" => Self::Receiving,
            "received" => Self::Received,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// Returns the wire name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Read => "read",
            Self::PartiallyDelivered => "partially_delivered",
            Self::Receiving => "receiving",
            Self::Received => "received",
            Self::Other(name) => name,
        }
    }

    /// Returns whether nothing more is expected: delivered, read, or lost.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Undelivered | Self::Failed | Self::Canceled | Self::Read
        )
    }

    /// Returns what it means; on its way is as good as sent, since Twilio has it.
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Accepted | Self::Scheduled | Self::Queued | Self::Sending | Self::Sent => {
                Some(Delivery::Sent)
            }
            Self::Delivered | Self::PartiallyDelivered => Some(Delivery::Delivered),
            Self::Read => Some(Delivery::Read),
            Self::Undelivered | Self::Failed | Self::Canceled => Some(Delivery::Failed),
            Self::Receiving | Self::Received | Self::Other(_) => None,
        }
    }

    /// Returns whether the message did not and will not arrive.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Undelivered | Self::Failed | Self::Canceled)
    }
}

impl Callback {
    /// Returns it in the form that all gateways share. Twilio tells no times.
    pub fn into_webhook(self) -> Webhook {
        match self {
            Self::Status(callback) => Webhook::Report(Report {
                delivery: callback.status.delivery(),
                failure: callback.status.is_failure().then(|| Failure {
                    code: callback.error_code.unwrap_or(NO_CODE),
                    detail: String::new(),
                }),
                word: callback.status.as_str().to_owned(),
                id: callback.sid,
                to: callback.to,
                from: callback.from,
                account: callback.account_sid,
                reference: None,
                at: None,
            }),
            Self::Inbound(sms) => Webhook::Inbound(Inbound {
                id: sms.sid,
                from: sms.from,
                to: sms.to,
                text: sms.body,
                media: sms.media,
                segments: sms.segments,
                opt_out: sms.opt_out,
                account: sms.account_sid,
                at: None,
            }),
        }
    }
}

/// The files of a message: `MediaUrl0`, `MediaContentType0`, and so on.
fn media<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Vec<Media> {
    let count: u32 = text("NumMedia")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    (0..count.min(MEDIA_LEN_MAX))
        .filter_map(|index| {
            Some(Media {
                url: text(&format!("MediaUrl{index}"))?.to_owned(),
                mime_type: text(&format!("MediaContentType{index}")).map(str::to_owned),
            })
        })
        .collect()
}

/// Reads the body of a callback.
pub fn parse(body: &[u8]) -> Result<Callback, ParseError> {
    let pairs = form::parameters(body).ok_or(ParseError::NotAForm)?;
    let raw = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let text = |name: &str| raw(name).filter(|value| !value.is_empty());
    let owned = |name: &str| text(name).map(str::to_owned);
    let status = text("MessageStatus")
        .or_else(|| text("SmsStatus"))
        .map(Status::parse);
    let inbound = match &status {
        Some(Status::Receiving | Status::Received) | None => true,
        // An inbound message names its state in `SmsStatus` alone.
        Some(_) => text("MessageStatus").is_none() && raw("Body").is_some(),
    };
    if inbound && raw("Body").is_none() && text("NumMedia").is_none() {
        return Err(ParseError::NeitherStatusNorMessage);
    }
    let sid = owned("MessageSid")
        .or_else(|| owned("SmsSid"))
        .ok_or(ParseError::Missing("MessageSid"))?;
    let account_sid = owned("AccountSid");
    if inbound {
        return Ok(Callback::Inbound(InboundSms {
            sid,
            from: owned("From").ok_or(ParseError::Missing("From"))?,
            to: owned("To").ok_or(ParseError::Missing("To"))?,
            body: raw("Body").unwrap_or_default().to_owned(),
            media: media(text),
            segments: text("NumSegments").and_then(|count| count.parse().ok()),
            opt_out: match text("OptOutType").map(str::to_ascii_uppercase).as_deref() {
                Some("STOP") => Some(OptOut::Stop),
                Some("START") => Some(OptOut::Start),
                Some("HELP") => Some(OptOut::Help),
                _ => None,
            },
            account_sid,
        }));
    }
    Ok(Callback::Status(StatusCallback {
        sid,
        status: status.ok_or(ParseError::NeitherStatusNorMessage)?,
        error_code: text("ErrorCode")
            .and_then(|code| code.parse().ok())
            .filter(|code| *code != 0),
        to: owned("To"),
        from: owned("From"),
        account_sid,
    }))
}

//! What a gateway tells us, whichever it is: statuses of messages we sent, and customers'
//! messages.
//!
//! Each gateway's own module reads its wire format into these. What they mean to a message or a
//! customer is decided elsewhere.

use jiff::Timestamp;

/// What one post tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Webhook {
    /// A message that we sent moved on.
    Report(Report),
    /// A customer wrote to one of our numbers.
    Inbound(Inbound),
}

/// A message that we sent moved on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The gateway's id of the message.
    pub id: String,
    /// The gateway's own word for where it is.
    pub word: String,
    /// What the word means; `None` if we do not know it, or if it means nothing to the sender.
    pub delivery: Option<Delivery>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The customer's phone, as the gateway writes it.
    pub to: Option<String>,
    /// The number or sender it went from, as the gateway writes it.
    pub from: Option<String>,
    /// The gateway's account.
    pub account: Option<String>,
    /// What we gave the gateway to be told again.
    pub reference: Option<String>,
    /// When it moved on; `None` if the gateway does not say.
    pub at: Option<Timestamp>,
}

/// How far a message came. Numbers of steps differ between gateways; these are what they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The gateway has it, or passed it on.
    Sent,
    /// It arrived.
    Delivered,
    /// It was seen.
    Read,
    /// It did not and will not arrive.
    Failed,
}

/// Why a message failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// The gateway's code; [`crate::errors::NO_CODE`] if it gave none that is a number.
    pub code: i64,
    /// The gateway's words; may be empty.
    pub detail: String,
}

/// A customer's message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inbound {
    /// The gateway's id of the message.
    pub id: String,
    /// The customer's phone, as the gateway writes it.
    pub from: String,
    /// Our number, as the gateway writes it.
    pub to: String,
    /// The text; may be empty.
    pub text: String,
    /// Files that came with it.
    pub media: Vec<Media>,
    /// In how many parts it came, if the gateway says so. The text is whole all the same.
    pub segments: Option<u32>,
    /// What the gateway itself took the text for, if it keeps opt-outs for the sender.
    pub opt_out: Option<OptOut>,
    /// The gateway's account.
    pub account: Option<String>,
    /// When it was sent; `None` if the gateway does not say.
    pub at: Option<Timestamp>,
}

/// A file that came with a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Media {
    /// Where the gateway keeps it.
    pub url: String,
    /// Its type, if the gateway says so.
    pub mime_type: Option<String>,
}

/// A gateway's own reading of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptOut {
    /// The customer wants no more SMS; the gateway blocks them from now on.
    Stop,
    /// The customer wants SMS again.
    Start,
    /// The customer asked for help; the gateway answered.
    Help,
}

/// Reads a time as gateways write it: RFC 3339, or seconds or milliseconds since 1970.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return if number.unsigned_abs() >= MILLISECONDS_FROM {
            Timestamp::from_millisecond(number).ok()
        } else {
            Timestamp::from_second(number).ok()
        };
    }
    text.parse().ok()
}

/// From here on a number counts milliseconds: in seconds it would be the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_spelling() {
        let at: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for text in [
            "2026-11-22T10:00:00Z",
            "2026-11-22T11:00:00.000+01:00",
            " 1795341600 ",
            "1795341600000",
        ] {
            assert_eq!(instant(text), Some(at), "{text}");
        }
        for text in ["", "yesterday", "2026-11-22", "9223372036854775807"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}

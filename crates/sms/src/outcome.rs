//! What a call to a gateway came to, whichever it is.

use std::time::Duration;

use casement_shell::http::answer;
use reqwest::Url;
use serde_json::Value;

use crate::errors::{Action, ErrorRule, NO_CODE};

/// How long a whole call may take, unless set otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// No answer of a gateway comes near this; a larger one is not read to its end.
pub(crate) const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// E.164: fewest and most digits we take for a phone.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The gateway took the message on; it is not yet delivered.
    Accepted(Accepted),
    /// The gateway refused it; see [`Rejected::rule`].
    Rejected(Rejected),
    /// It is certain that no request reached the gateway: no connection was made, or the request
    /// could not even be built. It may be tried again without risk.
    NotSent {
        /// What happened, without content.
        reason: String,
    },
    /// The message may or may not have been taken on; trying again risks a second SMS.
    Unknown {
        /// What happened, without content.
        reason: String,
    },
}

/// A message that a gateway took on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The gateway's id of the message.
    pub id: String,
    /// The gateway's own word for its state; may be empty.
    pub status: String,
    /// How many segments it takes, if the gateway says so.
    pub segments: Option<u32>,
}

/// A refusal by a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The HTTP status of the answer; 0 if there was no call to answer.
    pub http_status: u16,
    /// The gateway's code; absent if the answer gave none, or was not the gateway's own.
    pub code: Option<i64>,
    /// What a sender should do about it.
    pub rule: ErrorRule,
    /// Text for people. May quote the request: keep it out of logs.
    pub message: String,
    /// The `Retry-After` header, if it was given in seconds; at most a day.
    pub retry_after: Option<Duration>,
}

/// A field of an SMS breaks a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct RequestError {
    /// The field, such as `body`.
    pub field: &'static str,
    /// What is wrong, without content.
    pub reason: String,
}

impl Outcome {
    /// No call was made, and none will be until somebody has seen to the gateway.
    pub(crate) fn not_set_up(message: String) -> Self {
        Self::refused_here(message, "gateway is not set up", Action::Halt)
    }

    /// No call was made, since this gateway does not take such a message; another may.
    pub(crate) fn unfit(error: &RequestError) -> Self {
        let meaning = "message does not fit the gateway";
        Self::refused_here(error.to_string(), meaning, Action::NextGateway)
    }

    fn refused_here(message: String, meaning: &'static str, action: Action) -> Self {
        Self::Rejected(Rejected {
            http_status: 0,
            code: None,
            rule: ErrorRule {
                code: NO_CODE,
                meaning,
                action,
                known: true,
            },
            message,
            retry_after: None,
        })
    }

    pub(crate) fn of_error(error: &reqwest::Error, url: &Url) -> Self {
        let reason = answer::describe(error);
        if answer::never_left(error, url) {
            Self::NotSent { reason }
        } else {
            Self::Unknown { reason }
        }
    }
}

pub(crate) fn check_phone(to: &str) -> Result<(), RequestError> {
    let is_phone = to.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && PHONE_DIGITS.contains(&digits.len())
    });
    if is_phone {
        return Ok(());
    }
    Err(RequestError {
        field: "to",
        reason: "must be `+` and 5 to 15 digits".to_owned(),
    })
}

pub(crate) fn check_text(
    field: &'static str,
    text: &str,
    chars_max: usize,
) -> Result<(), RequestError> {
    let error = |reason| Err(RequestError { field, reason });
    let count = text.chars().count();
    if text.trim().is_empty() {
        return error("must not be empty".to_owned());
    }
    if count > chars_max {
        return error(format!(
            "has {count} characters, at most {chars_max} are allowed"
        ));
    }
    Ok(())
}

/// Numbers come as such or as text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

//! Tolerant readers over JSON values: numbers as text and text as numbers, absent and empty the
//! same. Does not know what any field means.

use jiff::Timestamp;
use serde_json::Value;

/// From here on a Unix time is in milliseconds: as seconds it would lie 30,000 years ahead.
const FIRST_MILLISECOND_TIME: i64 = 1_000_000_000_000;
/// E.164 has at most 15 digits; WhatsApp ids may exceed that a little. Shorter than 5 is no phone.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=20;

/// A field that an item must have is missing or cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub(super) &'static str);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is missing or unreadable", self.0)
    }
}

/// Returns a non-empty string, or a number as text.
pub(super) fn text(object: &Value, key: &str) -> Option<String> {
    as_text(object.get(key)?)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the text itself, or the first text of an array (call statuses come as either).
pub(super) fn first_text(object: &Value, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::Array(values) => values.iter().find_map(as_text),
        value => as_text(value),
    }
}

/// Returns [`text`], or which field is missing.
pub(super) fn required_text(object: &Value, key: &'static str) -> Result<String, Missing> {
    text(object, key).ok_or(Missing(key))
}

/// Returns an integer, also from text.
pub(super) fn integer(object: &Value, key: &str) -> Option<i64> {
    match object.get(key)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Returns a Unix time in seconds or milliseconds, number or text, after 1970.
pub(super) fn time(object: &Value, key: &str) -> Option<Timestamp> {
    let number = integer(object, key).filter(|number| *number > 0)?;
    if number >= FIRST_MILLISECOND_TIME {
        Timestamp::from_millisecond(number).ok()
    } else {
        Timestamp::from_second(number).ok()
    }
}

/// Returns [`time`], or which field is missing.
pub(super) fn required_time(object: &Value, key: &'static str) -> Result<Timestamp, Missing> {
    time(object, key).ok_or(Missing(key))
}

/// Returns a phone number as digits. What holds anything else than digits and the usual
/// separators (a user id, a group id) is no phone.
pub(super) fn phone(object: &Value, key: &str) -> Option<String> {
    let text = text(object, key)?;
    let mut digits = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' => digits.push(character),
            '+' | ' ' | '-' | '(' | ')' | '.' | '\u{a0}' => {}
            _ => return None,
        }
    }
    PHONE_DIGITS.contains(&digits.len()).then_some(digits)
}

/// Returns a business-scoped user id: two capitals of a country, a dot, letters and digits.
///
/// For fields that hold a phone by contract, where a user id would otherwise be dropped.
pub(super) fn user_id(object: &Value, key: &str) -> Option<String> {
    let text = text(object, key)?;
    let (country, rest) = text.split_once('.')?;
    let is_user_id = country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    is_user_id.then_some(text)
}

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

/// Returns an integer, also from text, and from a number that is written as a fraction of one.
pub(super) fn integer(object: &Value, key: &str) -> Option<i64> {
    match object.get(key)? {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Up to here a double counts without gaps.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole, and smaller than any integer's limit"
)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < WHOLE_MAX).then_some(number as i64)
}

/// Returns a finite number, also from text.
pub(super) fn number(object: &Value, key: &str) -> Option<f64> {
    let number = match object.get(key)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Returns whether a field says yes, as a boolean, as text or as a number.
pub(super) fn flag(object: &Value, key: &str) -> bool {
    match object.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true") || text == "1",
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        _ => false,
    }
}

/// Returns the text of the first of these fields that has one: the platform's own documents
/// spell some in several ways.
pub(super) fn any_text(object: &Value, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| text(object, key))
}

/// Returns an object inside.
pub(super) fn object<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|inner| inner.is_object())
}

/// Returns the objects of an array inside; a single object counts as an array of one.
pub(super) fn objects<'a>(object: &'a Value, key: &str) -> Vec<&'a Value> {
    match object.get(key) {
        Some(Value::Array(values)) => values.iter().filter(|value| value.is_object()).collect(),
        Some(value @ Value::Object(_)) => vec![value],
        _ => Vec::new(),
    }
}

/// Returns the texts of an array inside; a single text counts as an array of one.
pub(super) fn texts(object: &Value, key: &str) -> Vec<String> {
    match object.get(key) {
        Some(Value::Array(values)) => values.iter().filter_map(as_text).collect(),
        Some(value) => as_text(value).into_iter().collect(),
        None => Vec::new(),
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

//! Bodies as Twilio posts them: pairs in the order they stand, names may repeat.

use serde_json::Value;

/// Returns the decoded pairs of a form body.
pub(super) fn pairs(body: &[u8]) -> Option<Vec<(String, String)>> {
    serde_urlencoded::from_bytes(body).ok()
}

/// Returns the parameters of a body, which is a form or, where Twilio was told so, a JSON object.
pub(super) fn parameters(body: &[u8]) -> Option<Vec<(String, String)>> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return pairs(body);
    }
    let Value::Object(object) = serde_json::from_slice(body).ok()? else {
        return None;
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Some(
        object
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect(),
    )
}

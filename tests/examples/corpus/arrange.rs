//! The same updates, posted otherwise: taken apart, put together, shuffled, repeated.
//!
//! Works on JSON alone. What an update means is not looked at.

use serde_json::{Map, Value, json};

/// Fields whose values hold updates in arrays; of others the whole value is one update.
const ARRAYS: &[&str] = &[
    "calls",
    "messages",
    "smb_message_echoes",
    "user_preferences",
];

/// Gives each message, status and call an id of its own: payloads of documents share one, and of
/// two messages with one id the first counts.
pub(crate) fn tell_apart(payload: &mut Value, index: usize) {
    let entries = payload["entry"].as_array_mut().into_iter().flatten();
    for change in entries
        .filter_map(|entry| entry["changes"].as_array_mut())
        .flatten()
    {
        for name in ["messages", "statuses", "calls", "message_echoes"] {
            let elements = change["value"].get_mut(name).and_then(Value::as_array_mut);
            for element in elements.into_iter().flatten() {
                if let Some(id) = element["id"].as_str() {
                    element["id"] = json!(format!("{id}-{index}"));
                }
            }
        }
    }
}

/// Takes posts apart: each update alone, with all that belongs to it.
pub(crate) fn split(posts: &[Value]) -> Vec<Value> {
    let mut alone = Vec::new();
    for post in posts {
        for entry in post["entry"].as_array().into_iter().flatten() {
            for change in entry["changes"].as_array().into_iter().flatten() {
                for change in changes(change) {
                    let mut entry = entry.clone();
                    entry["changes"] = json!([change]);
                    alone.push(json!({"object": post["object"], "entry": [entry]}));
                }
            }
        }
    }
    alone
}

fn changes(change: &Value) -> Vec<Value> {
    let field = change["field"].as_str().unwrap_or_default();
    let Some(value) = change["value"]
        .as_object()
        .filter(|_| ARRAYS.contains(&field))
    else {
        return vec![change.clone()];
    };
    let is_update = |name: &str, value: &Value| value.is_array() && name != "contacts";
    let shell: Map<String, Value> = value
        .iter()
        .filter(|(name, value)| !is_update(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let arrays = value.iter().filter(|(name, value)| is_update(name, value));
    arrays
        .flat_map(|(name, elements)| {
            let elements = elements.as_array().into_iter().flatten();
            elements.map(|element| {
                let mut value = shell.clone();
                value.insert(name.clone(), json!([element]));
                json!({"field": field, "value": value})
            })
        })
        .collect()
}

/// Puts all posts into one.
pub(crate) fn merged(posts: &[Value]) -> Value {
    let entries = posts.iter().filter_map(|post| post["entry"].as_array());
    let entries: Vec<&Value> = entries.flatten().collect();
    json!({"object": "whatsapp_business_account", "entry": entries})
}

/// An order that is the same on every machine (xorshift).
pub(crate) fn shuffled(mut posts: Vec<Value>, seed: u64) -> Vec<Value> {
    let mut state = seed;
    for last in (1..posts.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let limit = u64::try_from(last).unwrap_or(u64::MAX) + 1;
        posts.swap(last, usize::try_from(state % limit).unwrap_or_default());
    }
    posts
}

/// A message without an id.
pub(crate) fn poison(like: &Value) -> Value {
    let metadata = &like["entry"][0]["changes"][0]["value"]["metadata"];
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
        {"field": "messages", "value": {"metadata": metadata,
            "messages": [{"timestamp": "1790000000", "type": "text", "text": {"body": "no id"}}]}}]}]})
}

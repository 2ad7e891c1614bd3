//! What is newer than this crate: the caller's own JSON object, with what is ours to write kept
//! out of it. What it says is not looked at.

use serde_json::{Value, json};

use super::limits::RAW_BYTES_MAX;
use crate::send::problem::{Check, object};

/// What we write ourselves, or what would make another call of it.
const RESERVED: [&str; 9] = [
    "biz_opaque_callback_data",
    "context",
    "message_id",
    "messaging_account_id",
    "messaging_product",
    "recipient",
    "recipient_type",
    "status",
    "to",
];

const FIELD: &str = "raw_json";

pub(super) fn check(text: &str, check: &mut Check<'_>) {
    if text.len() > RAW_BYTES_MAX {
        check.problem(FIELD, format!("is larger than {RAW_BYTES_MAX} bytes"));
        return;
    }
    let Some(object) = check.object(FIELD, text) else {
        return;
    };
    match object.get("type").and_then(Value::as_str) {
        None | Some("") => check.problem(FIELD, "must have a `type`"),
        Some("template") => check.problem(FIELD, "must not be a template: they have their place"),
        Some(kind) if !object.contains_key(kind) => {
            check.problem(FIELD, "must have what its `type` names");
        }
        Some(_) => {}
    }
    for key in RESERVED {
        if object.contains_key(key) {
            check.problem(FIELD, format!("must not have `{key}`"));
        }
    }
}

pub(super) fn json(text: &str) -> Value {
    object(text).map_or_else(|| json!({}), Value::Object)
}

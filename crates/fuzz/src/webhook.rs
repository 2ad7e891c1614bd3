//! The webhook parser.

use casement_whatsapp::webhook::{ItemKind, parse, value_hash};
use serde_json::{Value, json};

/// Any bytes are a post or an error, the same each time; each item says where it stood, keeps its
/// own JSON, and is the same item after its JSON was written and read again.
///
/// # Panics
/// When that does not hold.
pub fn webhook(input: &[u8]) {
    let Ok(post) = parse(input) else {
        return;
    };
    assert_eq!(
        Some(&post),
        parse(input).as_ref().ok(),
        "a second reading of the same bytes is another post"
    );
    let whole: Option<Value> = serde_json::from_slice(input).ok();
    for item in &post.items {
        // The name of an array that nobody knows can be anything, and make a path read two ways.
        let is_plain = !post.repaired && item.kind != ItemKind::Unrecognized;
        if let Some(whole) = whole.as_ref().filter(|_| is_plain) {
            let path = &item.origin.path;
            let pointer = path.replace('[', "/").replace(']', "").replace('.', "/");
            assert_eq!(
                whole.pointer(&format!("/{pointer}")),
                Some(&item.raw),
                "an item is not what stands at {path}"
            );
        }
        let written = item.raw.to_string();
        let read: Value = serde_json::from_str(&written).expect("an item's JSON reads back");
        assert_eq!(
            value_hash(&item.raw),
            value_hash(&read),
            "an item's hash does not survive writing and reading"
        );
        if let ItemKind::Malformed { reason } = &item.kind {
            assert!(!reason.is_empty(), "a malformed item gives no reason");
        }
    }
    let wrapped = json!({ "entry": [{ "changes": [{ "field": "messages", "value": whole }] }] });
    assert!(
        parse(wrapped.to_string().as_bytes()).is_ok(),
        "a post with any value is refused as a whole"
    );
}

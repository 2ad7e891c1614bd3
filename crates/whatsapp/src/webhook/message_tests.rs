//! Claims about customers' messages, on payloads of our own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const AT: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

fn post(field: &str, value: &Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [
        {"id": "501", "changes": [{"field": field, "value": value}]}
    ]})
}

fn items(body: &Value) -> Vec<Item> {
    parse(body.to_string().as_bytes()).expect("a post").items
}

fn only(body: &Value) -> Item {
    let items = items(body);
    assert_eq!(items.len(), 1, "{items:#?}");
    items.into_iter().next().expect("one item")
}

fn value(extra: &Value) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "+49 30 5550100", "phone_number_id": "7001"},
        "contacts": [{"profile": {"name": "Ada", "username": "ada.l"}, "wa_id": "4915550001",
            "user_id": "DE.77aa", "parent_user_id": "DE.ENT.88bb"}],
    });
    for (key, field) in extra.as_object().expect("an object") {
        value[key] = field.clone();
    }
    value
}

fn message(extra: &Value) -> InboundMessage {
    let mut raw = json!({"id": "wamid.1", "timestamp": AT.to_string(), "from": "4915550001"});
    for (key, field) in extra.as_object().expect("an object") {
        raw[key] = field.clone();
    }
    match only(&post("messages", &value(&json!({"messages": [raw]})))).kind {
        ItemKind::Message(message) => *message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_carries_its_number_its_customer_and_its_place() {
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": 501, "time": 1_790_000_001, "changes": []},
        {"id": "502", "changes": [
            {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, "statuses": []}},
            {"field": "messages", "value": value(&json!({"messages": [
                {"id": "wamid.0", "timestamp": "1", "type": "text"},
                {"id": "wamid.9", "timestamp": AT.to_string(), "type": "text", "from": "4915550001",
                 "text": {"body": "hello"}, "context": {"id": "wamid.8", "from": "49305550100"},
                 "referral": {"source_type": "ad"}},
            ]}))},
        ]},
    ]});
    let items = items(&body);
    assert_eq!(items.len(), 2);
    let item = &items[1];
    assert_eq!(item.origin.entry_id.as_deref(), Some("502"));
    assert_eq!(item.origin.field, "messages");
    let place = (
        item.origin.entry_index,
        item.origin.change_index,
        item.origin.item_index,
    );
    assert_eq!(place, (1, 1, 1));
    assert_eq!(item.origin.path, "entry[1].changes[1].value.messages[1]");
    assert_eq!(item.phone_number_id.as_deref(), Some("7001"));
    assert_eq!(item.display_phone_number.as_deref(), Some("49305550100"));
    assert_eq!(
        item.raw,
        body["entry"][1]["changes"][1]["value"]["messages"][1]
    );
    let ItemKind::Message(message) = &item.kind else {
        panic!("{item:?}")
    };
    assert_eq!(message.wamid, "wamid.9");
    assert_eq!(message.at, at(AT));
    assert_eq!(message.channel, Channel::Messages);
    assert_eq!(message.from_phone.as_deref(), Some("4915550001"));
    assert_eq!(message.user_id.as_deref(), Some("DE.77aa"));
    assert_eq!(message.parent_user_id.as_deref(), Some("DE.ENT.88bb"));
    assert_eq!(message.profile_name.as_deref(), Some("Ada"));
    assert_eq!(message.username.as_deref(), Some("ada.l"));
    let context = message.context.as_ref().expect("a context");
    assert_eq!(context.wamid.as_deref(), Some("wamid.8"));
    assert_eq!(context.from.as_deref(), Some("49305550100"));
    let referral = message.referral.as_ref().expect("a referral");
    assert_eq!(referral.source_type.as_deref(), Some("ad"));
    assert_eq!(message.text.as_deref(), Some("hello"));
}

#[test]
fn every_type_of_message_keeps_its_content_and_its_human_text() {
    use MessageKind as K;
    for (kind, content, text) in [
        (K::Text, json!({"body": "hi"}), Some("hi")),
        (K::Text, json!({"body": "a\u{0}b"}), Some("a\u{0}b")),
        (K::Text, json!({"body": ""}), None),
        (
            K::Image,
            json!({"id": "1", "caption": "look"}),
            Some("look"),
        ),
        (K::Image, json!({"id": "1"}), None),
        (
            K::Video,
            json!({"id": "1", "caption": "film"}),
            Some("film"),
        ),
        (K::Audio, json!({"id": "1", "voice": true}), None),
        (
            K::Document,
            json!({"id": "1", "filename": "f.pdf", "caption": "bill"}),
            Some("bill"),
        ),
        (K::Sticker, json!({"id": "1", "animated": true}), None),
        (
            K::Location,
            json!({"latitude": 1.25, "longitude": -2, "name": "here"}),
            None,
        ),
        (
            K::Contacts,
            json!([{"name": {"formatted_name": "Bo"}}]),
            None,
        ),
        (
            K::Interactive,
            json!({"type": "button_reply", "button_reply": {"id": "y", "title": "Yes"}}),
            Some("Yes"),
        ),
        (
            K::Interactive,
            json!({"type": "list_reply", "list_reply": {"id": "2", "title": "Two"}}),
            Some("Two"),
        ),
        (
            K::Interactive,
            json!({"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{}"}}),
            Some("Sent"),
        ),
        (
            K::Button,
            json!({"payload": "p", "text": "Stop"}),
            Some("Stop"),
        ),
        (
            K::Reaction,
            json!({"message_id": "wamid.0", "emoji": "😀"}),
            Some("😀"),
        ),
        (K::Reaction, json!({"message_id": "wamid.0"}), None),
        (
            K::Order,
            json!({"catalog_id": "1", "text": "asap", "product_items": []}),
            Some("asap"),
        ),
        (
            K::System,
            json!({"type": "customer_identity_changed", "body": "changed"}),
            Some("changed"),
        ),
        (K::Unsupported, json!({"type": "poll"}), None),
        (
            K::Edit,
            json!({"original_message_id": "wamid.0", "message": {"type": "image", "image": {"caption": "new"}}}),
            Some("new"),
        ),
        (
            K::Edit,
            json!({"message": {"type": "edit", "edit": {"message": {"type": "edit"}}}}),
            None,
        ),
        (K::Revoke, json!({"original_message_id": "wamid.0"}), None),
        (K::MediaPlaceholder, Value::Null, None),
        (K::RequestWelcome, Value::Null, None),
        (K::Other("hologram".to_owned()), json!({"depth": 3}), None),
    ] {
        let name = kind.as_str().to_owned();
        let mut raw = json!({"type": name});
        if !content.is_null() {
            raw[&name] = content.clone();
        }
        let message = message(&raw);
        assert_eq!(message.kind, kind);
        assert_eq!(message.object, content, "{name}");
        assert_eq!(message.extra, None, "{name}");
        let is_known = !matches!(kind, K::Other(_));
        assert_eq!(message.content.is_some(), is_known, "{name}");
        assert_eq!(message.text.as_deref(), text, "{name}");
        assert!(!message.automatic && message.referral.is_none() && message.group_id.is_none());
        assert_eq!(MessageKind::parse(&name), kind);
    }
}

#[test]
fn an_unsupported_message_carries_its_errors() {
    let message = message(&json!({"type": "unsupported", "errors": [
        {"code": 131_051, "title": "t", "message": "m", "error_data": {"details": "d"}}, "noise", {},
    ]}));
    assert_eq!(message.kind, MessageKind::Unsupported);
    assert_eq!(message.errors.len(), 2);
    assert_eq!(message.errors[0].code, 131_051);
    assert_eq!(message.errors[0].details.as_deref(), Some("d"));
    assert_eq!(message.errors[1].code, crate::errors::NO_CODE);
}

#[test]
fn only_a_reply_that_the_app_gave_by_itself_is_automatic() {
    for (source, automatic) in [
        (json!("automatic"), true),
        (json!("user_action"), false),
        (Value::Null, false),
    ] {
        let message = message(&json!({"type": "interactive", "interactive": {
            "type": "call_permission_reply",
            "call_permission_reply": {"response": "accept", "response_source": source},
        }}));
        assert_eq!(message.automatic, automatic, "{source}");
    }
}

#[test]
fn times_are_read_in_seconds_and_milliseconds_as_text_and_number() {
    for (sent, expected) in [
        (json!(AT), Some(at(AT))),
        (json!(AT.to_string()), Some(at(AT))),
        (json!(format!(" {AT} ")), Some(at(AT))),
        (
            json!(AT * 1000 + 7),
            Timestamp::from_millisecond(AT * 1000 + 7).ok(),
        ),
        (
            json!((AT * 1000 + 7).to_string()),
            Timestamp::from_millisecond(AT * 1000 + 7).ok(),
        ),
        (json!(999_999_999_999_i64), None),
        (json!(1_000_000_000_000_i64), Some(at(1_000_000_000))),
        (json!(0), None),
        (json!(-1), None),
        (json!("soon"), None),
        (json!(1.5), None),
        (json!(i64::MAX), None),
        (json!(u64::MAX), None),
        (Value::Null, None),
    ] {
        let body = post(
            "messages",
            &json!({"messages": [{"id": "w", "timestamp": sent}]}),
        );
        match (only(&body).kind, expected) {
            (ItemKind::Message(message), Some(expected)) => assert_eq!(message.at, expected),
            (ItemKind::Malformed { reason }, None) => assert!(reason.contains("timestamp")),
            (other, _) => panic!("{sent}: {other:?}"),
        }
    }
}

#[test]
fn a_contact_is_joined_only_where_nothing_contradicts_it() {
    let ada = json!({"wa_id": "4915550001", "user_id": "DE.a", "profile": {"name": "Ada"}});
    let bo = json!({"wa_id": "4915550002", "user_id": "DE.b", "profile": {"name": "Bo"}});
    let nameless = json!({"user_id": "DE.c", "profile": {"name": "Cy", "username": "cy"}});
    let phone = |phone: &str| json!({"from": phone});
    for (name, contacts, ids, expected) in [
        (
            "by phone",
            json!([ada, bo]),
            phone("4915550002"),
            (Some("4915550002"), Some("DE.b"), Some("Bo")),
        ),
        (
            "by user id",
            json!([ada, bo]),
            json!({"from_user_id": "DE.a"}),
            (Some("4915550001"), Some("DE.a"), Some("Ada")),
        ),
        (
            "the only one, by nothing",
            json!([ada]),
            json!({}),
            (Some("4915550001"), Some("DE.a"), Some("Ada")),
        ),
        (
            "the only one has no phone",
            json!([nameless]),
            phone("4915550009"),
            (Some("4915550009"), Some("DE.c"), Some("Cy")),
        ),
        (
            "the only one is someone else",
            json!([ada]),
            phone("4915550002"),
            (Some("4915550002"), None, None),
        ),
        (
            "same phone, another user id",
            json!([ada]),
            json!({"from": "4915550001", "from_user_id": "DE.z"}),
            (Some("4915550001"), Some("DE.z"), None),
        ),
        (
            "one of two, by nothing",
            json!([ada, bo]),
            json!({}),
            (None, None, None),
        ),
        (
            "no contacts",
            Value::Null,
            phone("4915550002"),
            (Some("4915550002"), None, None),
        ),
        (
            "contacts are noise",
            json!([7, "x", null]),
            phone("4915550002"),
            (Some("4915550002"), None, None),
        ),
        (
            "numbers for texts",
            json!([{"wa_id": 4_915_550_001_i64, "profile": null}]),
            json!({"from": 4_915_550_001_i64}),
            (Some("4915550001"), None, None),
        ),
        (
            "a user id for a phone",
            json!([]),
            phone("DE.q1"),
            (None, Some("DE.q1"), None),
        ),
    ] {
        let mut raw = json!({"id": "w", "timestamp": AT, "type": "text"});
        for (key, id) in ids.as_object().expect("an object") {
            raw[key] = id.clone();
        }
        let body = post(
            "messages",
            &json!({"contacts": contacts, "messages": [raw]}),
        );
        let ItemKind::Message(message) = only(&body).kind else {
            panic!("{name}")
        };
        let found = (
            message.from_phone.as_deref(),
            message.user_id.as_deref(),
            message.profile_name.as_deref(),
        );
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_system_message_says_which_identifier_became_which() {
    let changed = |raw: Value| {
        let mut raw = raw;
        raw["type"] = json!("system");
        raw["id"] = json!("w");
        raw["timestamp"] = json!(AT);
        let body = post("messages", &json!({"messages": [raw]}));
        let ItemKind::Message(message) = only(&body).kind else {
            panic!("no message")
        };
        assert_eq!(message.kind, MessageKind::System);
        message.identity_change
    };
    let phone = changed(json!({"from": "4915550001", "from_user_id": "DE.a",
        "system": {"type": "user_changed_number", "wa_id": "4915550002", "user_id": "DE.b"}}));
    assert_eq!(
        phone,
        Some(IdentityChange {
            cause: "user_changed_number".to_owned(),
            previous_phone: Some("4915550001".to_owned()),
            new_phone: Some("4915550002".to_owned()),
            previous_user_id: Some("DE.a".to_owned()),
            new_user_id: Some("DE.b".to_owned()),
            ..IdentityChange::default()
        })
    );
    let user_id = changed(
        json!({"from_user_id": "DE.a", "from_parent_user_id": "DE.ENT.a",
        "system": {"type": "user_changed_user_id", "user_id": "DE.b", "parent_user_id": "DE.ENT.b"}}),
    );
    let user_id = user_id.expect("a change");
    assert_eq!(user_id.new_user_id.as_deref(), Some("DE.b"));
    assert_eq!(user_id.new_parent_user_id.as_deref(), Some("DE.ENT.b"));
    assert_eq!((user_id.previous_phone, user_id.new_phone), (None, None));
    let device = json!({"from": "4915550001", "system": {"type": "customer_identity_changed"}});
    assert_eq!(changed(device), None);
}

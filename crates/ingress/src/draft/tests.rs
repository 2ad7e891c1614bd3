//! How each kind of item becomes a fact.

use casement_whatsapp::webhook::{self, ItemKind};
use serde_json::{Value, json};

use super::*;

fn items(field: &str, value: &Value) -> Vec<Item> {
    let post = json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "time": 1_700_000_000, "changes": [{"field": field, "value": value}]}]});
    webhook::parse(post.to_string().as_bytes()).unwrap().items
}

fn only_message(message: &Value) -> (Item, InboundMessage) {
    let mut message = message.clone();
    for (key, value) in [
        ("id", "wamid.1"),
        ("timestamp", "1700000000"),
        ("from", "15550009999"),
    ] {
        message[key] = json!(value);
    }
    let value = json!({"metadata": {"phone_number_id": "7"}, "messages": [message]});
    let item = items("messages", &value).remove(0);
    let ItemKind::Message(message) = item.kind.clone() else {
        panic!("no message: {item:?}")
    };
    (item, *message)
}

fn number() -> BusinessNumber {
    BusinessNumber::parse("15550001111").unwrap()
}

#[test]
fn each_type_of_message_is_of_its_kind() {
    let table = [
        (
            json!({"type": "text", "text": {"body": "hi"}}),
            Kind::Content,
        ),
        (json!({"type": "image", "image": {}}), Kind::Content),
        (json!({"type": "video", "video": {}}), Kind::Content),
        (json!({"type": "audio", "audio": {}}), Kind::Content),
        (json!({"type": "document", "document": {}}), Kind::Content),
        (json!({"type": "sticker", "sticker": {}}), Kind::Content),
        (json!({"type": "location", "location": {}}), Kind::Content),
        (json!({"type": "contacts", "contacts": []}), Kind::Content),
        (json!({"type": "button", "button": {}}), Kind::Content),
        (json!({"type": "order", "order": {}}), Kind::Content),
        (
            json!({"type": "interactive", "interactive": {"type": "button_reply"}}),
            Kind::Content,
        ),
        (
            json!({"type": "interactive", "interactive":
                {"call_permission_reply": {"response_source": "user_action"}}}),
            Kind::Content,
        ),
        (
            json!({"type": "interactive", "interactive":
                {"call_permission_reply": {"response_source": "automatic"}}}),
            Kind::Automatic,
        ),
        (json!({"type": "reaction", "reaction": {}}), Kind::Reaction),
        (json!({"type": "edit", "edit": {}}), Kind::Edit),
        (json!({"type": "revoke", "revoke": {}}), Kind::Revoke),
        (
            json!({"type": "unsupported", "errors": [{"code": 131_051}]}),
            Kind::Unsupported,
        ),
        (
            json!({"type": "unsupported", "unsupported": {"type": "poll"}}),
            Kind::Unsupported,
        ),
        (
            json!({"type": "unsupported", "unsupported": {"type": "edit"}}),
            Kind::Edit,
        ),
        (
            json!({"type": "system", "system": {"type": "x"}}),
            Kind::System,
        ),
        (json!({"type": "request_welcome"}), Kind::Automatic),
        (json!({"type": "media_placeholder"}), Kind::History),
        (
            json!({"type": "hologram", "hologram": {}}),
            Kind::Unsupported,
        ),
        (json!({}), Kind::Unsupported),
        (
            json!({"type": "text", "text": {"body": "hi"}, "group_id": "g"}),
            Kind::Group,
        ),
    ];
    for (message, expected) in table {
        let (item, read) = only_message(&message);
        assert_eq!(kind_of(&read), expected, "{message}");
        let Event::InboundMessageReceived(event) = super::message(&number(), &item, &read).event
        else {
            panic!("no message: {message}")
        };
        let rule = inbound::rule(&event.policy_rule).expect("a row of the table");
        assert_eq!(rule.kind, expected, "{message}");
        if let Some(named) = inbound::rule(&event.kind).filter(|named| named.kind == expected) {
            assert_eq!(rule, named, "{message}");
        }
    }
}

#[test]
fn a_message_in_anothers_thread_counts_by_the_row_for_standby_and_a_reaction_by_its_own() {
    for (message, expected) in [
        (json!({"type": "text", "text": {"body": "hi"}}), "standby"),
        (json!({"type": "reaction", "reaction": {}}), "reaction"),
    ] {
        let (item, mut read) = only_message(&message);
        read.channel = Channel::Standby;
        let Event::InboundMessageReceived(event) = super::message(&number(), &item, &read).event
        else {
            panic!("no message")
        };
        assert_eq!(event.policy_rule, expected);
    }
}

#[test]
fn a_message_keeps_its_content_whatever_its_type() {
    let table = [
        (
            json!({"type": "image", "image": {"id": "m1", "caption": "look"}}),
            "look",
            "m1",
        ),
        (
            json!({"type": "hologram", "hologram": {"depth": 3}}),
            "",
            "depth",
        ),
        (
            json!({"type": "unsupported", "errors": [{"code": 131_051}]}),
            "",
            "131051",
        ),
    ];
    for (raw, text, kept) in table {
        let (item, read) = only_message(&raw);
        let Event::InboundMessageReceived(event) = message(&number(), &item, &read).event else {
            panic!("no message")
        };
        assert_eq!(event.text, text);
        assert!(event.content_json.contains(kept), "{}", event.content_json);
    }
}

#[test]
fn a_changed_number_names_both_sets_of_identifiers() {
    let (item, read) = only_message(&json!({"type": "system", "from_user_id": "US.1",
        "system": {"type": "user_changed_number", "wa_id": "15550008888", "user_id": "US.2"}}));
    let draft = message(&number(), &item, &read);
    assert_eq!(
        draft.previous,
        Some(addresses(Some("15550009999"), Some("US.1"), None))
    );
    assert_eq!(
        draft.addresses,
        addresses(Some("15550008888"), Some("US.2"), None)
    );
    assert_eq!(draft.kind, Kind::System);
    assert!(matches!(draft.event, Event::CustomerIdentityChanged(_)));
}

#[test]
fn the_field_says_who_owns_the_thread_but_system_messages_do_not() {
    let (item, mut read) = only_message(&json!({"type": "text", "text": {"body": "hi"}}));
    assert_eq!(
        message(&number(), &item, &read).thread_owner,
        Some(ThreadOwner::Us)
    );
    read.channel = Channel::Standby;
    assert_eq!(
        message(&number(), &item, &read).thread_owner,
        Some(ThreadOwner::Other)
    );
    read.kind = MessageKind::System;
    assert_eq!(message(&number(), &item, &read).thread_owner, None);
}

#[test]
fn a_role_we_do_not_know_says_nothing_about_the_owner() {
    for (role, expected) in [
        (None, Some(ThreadOwner::Idle)),
        (Some("partner"), Some(ThreadOwner::Us)),
        (Some("meta_business_agent"), Some(ThreadOwner::Other)),
        (Some("somebody"), None),
    ] {
        assert_eq!(owner_of(role), expected, "{role:?}");
    }
}

#[test]
fn calls_count_from_when_they_open_the_window() {
    let table = [
        (
            json!({"event": "connect", "direction": "USER_INITIATED"}),
            Kind::Call,
            100,
        ),
        (
            json!({"event": "terminate", "direction": "USER_INITIATED"}),
            Kind::Call,
            100,
        ),
        (
            json!({"event": "terminate", "direction": "USER_INITIATED", "start_time": "90"}),
            Kind::Call,
            90,
        ),
        (
            json!({"event": "connect", "direction": "BUSINESS_INITIATED"}),
            Kind::CallProgress,
            100,
        ),
        (
            json!({"event": "terminate", "direction": "BUSINESS_INITIATED"}),
            Kind::CallProgress,
            100,
        ),
        (
            json!({"event": "terminate", "direction": "BUSINESS_INITIATED", "start_time": "95"}),
            Kind::Call,
            95,
        ),
    ];
    for (mut raw, kind, at) in table {
        raw["id"] = json!("wacid.1");
        raw["timestamp"] = json!("100");
        let value = json!({"metadata": {"phone_number_id": "7"}, "calls": [raw]});
        let item = items("calls", &value).remove(0);
        let ItemKind::Call(report) = &item.kind else {
            panic!("no call: {item:?}")
        };
        let draft = call(&number(), &item, report);
        let Event::InboundCallReceived(event) = &draft.event else {
            panic!("no call: {draft:?}")
        };
        let rule = inbound::rule(&event.policy_rule).expect("a row of the table");
        assert_eq!(rule.kind, kind, "{}", item.raw);
        assert_eq!(
            (draft.kind, draft.at.as_second()),
            (kind, at),
            "{}",
            item.raw
        );
        assert_eq!(
            draft.id,
            id::inbound(&number(), &format!("wacid.1:{}", report.event))
        );
    }
}

#[test]
fn the_same_change_at_two_numbers_is_two_facts_and_a_repeat_is_one() {
    let update = json!({"user_id": {"previous": "US.1", "current": "US.2"}, "timestamp": "100"});
    let at = |phone_number_id: &str| {
        let value = json!({"metadata": {"phone_number_id": phone_number_id},
            "user_id_update": [update]});
        item_id(&items("user_id_update", &value)[0])
    };
    assert_eq!(at("7"), at("7"));
    assert_ne!(at("7"), at("8"));
}

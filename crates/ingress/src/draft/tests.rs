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

fn marks_of_call(raw: &Value) -> Marks {
    let mut raw = raw.clone();
    raw["id"] = json!("wacid.1");
    raw["timestamp"] = json!("100");
    let key = if raw.get("event").is_some() {
        "calls"
    } else {
        "statuses"
    };
    let value = json!({"metadata": {"phone_number_id": "7"}, key: [raw]});
    let item = items("calls", &value).remove(0);
    match &item.kind {
        ItemKind::Call(report) => call(&number(), &item, report).marks,
        ItemKind::CallStatus(report) => call_status(&number(), &item, report).marks,
        other => panic!("no call: {other:?}"),
    }
}

#[test]
fn a_call_that_was_taken_answers_the_customer_until_its_end() {
    let user = "USER_INITIATED";
    let business = "BUSINESS_INITIATED";
    let table = [
        (json!({"event": "connect", "direction": user}), None),
        // Ended, and nobody took it, whatever its status.
        (
            json!({"event": "terminate", "direction": user, "status": "FAILED"}),
            None,
        ),
        (
            json!({"event": "terminate", "direction": user, "status": "COMPLETED"}),
            None,
        ),
        (
            json!({"event": "terminate", "direction": user, "status": "COMPLETED",
                "start_time": "90", "end_time": "99", "duration": 9}),
            Some(99),
        ),
        (
            json!({"event": "terminate", "direction": user, "start_time": "90", "duration": 5}),
            Some(95),
        ),
        (
            json!({"event": "terminate", "direction": user, "start_time": "90"}),
            Some(90),
        ),
        // A report that contradicts itself.
        (
            json!({"event": "terminate", "direction": user, "start_time": "90", "end_time": "80"}),
            Some(90),
        ),
        (
            json!({"event": "terminate", "direction": business, "start_time": "90",
                "end_time": "99"}),
            Some(99),
        ),
        (json!({"event": "terminate", "direction": business}), None),
        (
            json!({"type": "call", "status": "RINGING", "recipient_id": "1555"}),
            None,
        ),
        (
            json!({"type": "call", "status": "REJECTED", "recipient_id": "1555"}),
            None,
        ),
        (
            json!({"type": "call", "status": "ACCEPTED", "recipient_id": "1555"}),
            Some(100),
        ),
    ];
    for (raw, expected) in table {
        let expected = Marks {
            answered_at: expected.map(|second| Timestamp::from_second(second).unwrap()),
            ..Marks::default()
        };
        assert_eq!(marks_of_call(&raw), expected, "{raw}");
    }
}

#[test]
fn what_the_business_wrote_elsewhere_answers_and_a_reaction_does_not() {
    for (kind, is_answer) in [
        ("text", true),
        ("image", true),
        ("unsupported", true),
        ("hologram", true),
        ("reaction", false),
        ("edit", false),
        ("revoke", false),
    ] {
        for field in ["smb_message_echoes", "standby"] {
            let said = json!({"id": "wamid.1", "timestamp": "100", "from": "15550001111",
                "to": "15550009999", "type": kind});
            let mut value = json!({"metadata": {"phone_number_id": "7"}});
            if field == "standby" {
                value["standby"] = json!({"message_echoes": [said]});
            } else {
                value["message_echoes"] = json!([said]);
            }
            let item = items(field, &value).remove(0);
            let ItemKind::Echo(read) = &item.kind else {
                panic!("no echo: {item:?}")
            };
            let draft = echo(&number(), &item, read);
            let at = Timestamp::from_second(100).unwrap();
            let expected = Marks {
                answered_at: is_answer.then_some(at),
                ..Marks::default()
            };
            assert_eq!(draft.marks, expected, "{field} {kind}");
        }
    }
}

#[test]
fn an_answer_from_the_future_is_put_back_like_its_fact() {
    let said = json!({"id": "wamid.1", "timestamp": "5000", "from": "15550001111",
        "to": "15550009999", "type": "text"});
    let value = json!({"metadata": {"phone_number_id": "7"}, "message_echoes": [said]});
    let item = items("smb_message_echoes", &value).remove(0);
    let ItemKind::Echo(read) = &item.kind else {
        panic!("no echo: {item:?}")
    };
    let received = Timestamp::from_second(100).unwrap();
    let draft = echo(&number(), &item, read);
    let placed = draft.placed(received, SignedDuration::from_secs(60));
    assert_eq!(placed.at, received);
    assert_eq!(placed.marks.answered_at, Some(received));
    let summary = placed.summary(received, &QualifyingPolicy::default());
    assert_eq!(summary.answered_at, Some(received));
}

#[test]
fn only_who_wrote_from_an_ad_or_a_post_may_be_in_a_free_entry_point() {
    let ad = json!({"source_type": "ad", "source_id": "1"});
    let table = [
        (json!({"type": "text", "text": {"body": "hi"}}), false),
        (
            json!({"type": "text", "text": {"body": "hi"}, "referral": ad}),
            true,
        ),
        (
            json!({"type": "text", "text": {"body": "hi"},
                "referral": {"source_type": "post", "ctwa_clid": "c"}}),
            true,
        ),
        (
            json!({"type": "text", "text": {"body": "hi"}, "referral": {"source_type": "mural"}}),
            false,
        ),
        (
            json!({"type": "text", "text": {"body": "hi"}, "referral": {"source_id": "1"}}),
            false,
        ),
        // Seen with customers who come from ads: their first message cannot be shown.
        (
            json!({"type": "unsupported", "errors": [{"code": 131_060}], "referral": ad}),
            true,
        ),
        (json!({"type": "request_welcome", "referral": ad}), false),
        (
            json!({"type": "text", "text": {"body": "hi"}, "group_id": "g", "referral": ad}),
            false,
        ),
    ];
    for (raw, is_referral) in table {
        let (item, read) = only_message(&raw);
        let expected = Marks {
            is_referral,
            ..Marks::default()
        };
        assert_eq!(message(&number(), &item, &read).marks, expected, "{raw}");
    }
}

#[test]
fn a_change_gave_another_user_id_unless_it_names_the_same_twice() {
    let system = |kind: &str, from: Option<&str>, now: Option<&str>| {
        let mut raw = json!({"type": "system",
            "system": {"type": kind, "wa_id": "15550008888"}});
        if let Some(from) = from {
            raw["from_user_id"] = json!(from);
        }
        if let Some(now) = now {
            raw["system"]["user_id"] = json!(now);
        }
        let (item, read) = only_message(&raw);
        message(&number(), &item, &read).marks.changes_user_id
    };
    let (one, two) = (Some("US.1"), Some("US.2"));
    for (kind, from, now, expected) in [
        ("user_changed_user_id", one, two, true),
        ("user_changed_user_id", None, two, true),
        ("user_changed_number", one, two, true),
        // A new phone brings a new user id, named or not.
        ("user_changed_number", None, two, true),
        ("user_changed_number", None, None, true),
        ("user_changed_number", one, one, false),
        // No change of identifiers at all.
        ("user_identity_changed", one, None, false),
    ] {
        assert_eq!(system(kind, from, now), expected, "{kind} {from:?} {now:?}");
    }

    let update = |ids: Value, parents: Value| {
        let raw = json!({"user_id": ids, "parent_user_id": parents, "timestamp": "100"});
        let value = json!({"metadata": {"phone_number_id": "7"}, "user_id_update": [raw]});
        let item = items("user_id_update", &value).remove(0);
        let ItemKind::UserIdUpdate(read) = &item.kind else {
            panic!("no update: {item:?}")
        };
        user_id_update(&item, read).marks.changes_user_id
    };
    let ids = json!({"previous": "US.1", "current": "US.2"});
    let same = json!({"previous": "US.1", "current": "US.1"});
    let parents = json!({"previous": "US.ENT.1", "current": "US.ENT.2"});
    assert!(update(ids.clone(), Value::Null));
    assert!(update(json!({"current": "US.2"}), Value::Null));
    assert!(update(ids, parents.clone()));
    assert!(!update(same, parents), "only the parent's");
}

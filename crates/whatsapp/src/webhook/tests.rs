//! Claims about items other than messages, statuses and calls, and about whole posts, on payloads
//! of our own.

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

#[test]
fn messages_owned_by_another_responder_are_messages_too() {
    let body = post(
        "standby",
        &json!({
            "metadata": {"phone_number_id": "7001", "display_phone_number": "49305550100"},
            "standby": {
                "contacts": [{"wa_id": "4915550001", "user_id": "DE.a"}],
                "messages": [{"id": "w1", "timestamp": AT, "from": "4915550001", "type": "text", "text": {"body": "x"}}],
                "message_echoes": [{"id": "w2", "timestamp": AT, "to": "4915550001", "type": "text"}],
                "statuses": [{"id": "w2", "status": "sent", "timestamp": AT, "recipient_id": "4915550001"}],
            },
        }),
    );
    let items = items(&body);
    assert_eq!(items.len(), 3);
    assert!(
        items
            .iter()
            .all(|item| item.phone_number_id.as_deref() == Some("7001"))
    );
    let find = |name: &str| {
        items
            .iter()
            .find(|item| item.kind.as_str() == name)
            .expect("present")
    };
    let ItemKind::Message(message) = &find("message").kind else {
        unreachable!()
    };
    assert_eq!(
        (message.channel, message.user_id.as_deref()),
        (Channel::Standby, Some("DE.a"))
    );
    assert_eq!(
        find("message").origin.path,
        "entry[0].changes[0].value.standby.messages[0]"
    );
    let ItemKind::Status(status) = &find("status").kind else {
        unreachable!()
    };
    assert_eq!(status.channel, Channel::Standby);
    let ItemKind::Echo(echo) = &find("echo").kind else {
        unreachable!()
    };
    assert_eq!(
        (echo.channel, echo.user_id.as_deref()),
        (Channel::Standby, Some("DE.a"))
    );
}

#[test]
fn what_the_phone_app_sent_is_an_echo_and_no_message() {
    let body = post(
        "smb_message_echoes",
        &json!({
            "metadata": {"phone_number_id": "7001"},
            "message_echoes": [{"id": "w", "timestamp": AT.to_string(), "from": "49305550100",
                "to": "4915550001", "to_user_id": "DE.a", "to_parent_user_id": "DE.ENT.a", "type": "revoke"}],
        }),
    );
    let ItemKind::Echo(echo) = only(&body).kind else {
        panic!("no echo")
    };
    assert_eq!(echo.wamid, "w");
    assert_eq!(echo.at, at(AT));
    assert_eq!(echo.channel, Channel::PhoneApp);
    assert_eq!(echo.to_phone.as_deref(), Some("4915550001"));
    assert_eq!(echo.user_id.as_deref(), Some("DE.a"));
    assert_eq!(echo.parent_user_id.as_deref(), Some("DE.ENT.a"));
    assert_eq!(echo.kind, MessageKind::Revoke);
}

#[test]
fn a_new_user_id_names_the_old_one() {
    let body = post(
        "user_id_update",
        &value(&json!({"user_id_update": [
            {"wa_id": "4915550001", "user_id": {"previous": "DE.a", "current": "DE.b"},
             "parent_user_id": {"previous": "DE.ENT.a", "current": "DE.ENT.b"}, "timestamp": AT},
            {"user_id": {"previous": "DE.a"}, "timestamp": AT},
        ]})),
    );
    let items = items(&body);
    assert_eq!(
        items[0].kind,
        ItemKind::UserIdUpdate(UserIdUpdate {
            previous_user_id: Some("DE.a".to_owned()),
            current_user_id: "DE.b".to_owned(),
            previous_parent_user_id: Some("DE.ENT.a".to_owned()),
            current_parent_user_id: Some("DE.ENT.b".to_owned()),
            phone: Some("4915550001".to_owned()),
            detail: None,
            at: at(AT),
        })
    );
    assert!(matches!(items[1].kind, ItemKind::Malformed { .. }));
}

#[test]
fn a_preference_is_the_customers_choice_about_marketing() {
    for (word, preference) in [
        ("stop", Preference::Stop),
        ("resume", Preference::Resume),
        ("signup", Preference::Other("signup".to_owned())),
    ] {
        let body = post(
            "user_preferences",
            &value(&json!({"user_preferences": [{
            "wa_id": "4915550001", "category": "marketing_messages", "value": word,
            "detail": "asked", "timestamp": AT}]})),
        );
        let ItemKind::UserPreference(it) = only(&body).kind else {
            panic!("no preference")
        };
        assert_eq!(it.preference, preference);
        assert_eq!(it.preference.as_str(), word);
        assert_eq!(it.category, "marketing_messages");
        assert_eq!(it.user_id.as_deref(), Some("DE.77aa"));
        assert_eq!((it.phone.as_deref(), it.at), (Some("4915550001"), at(AT)));
    }
}

#[test]
fn a_handover_names_the_roles_and_the_recipients_number() {
    for (value, kind, previous, new) in [
        (
            json!({"type": "control_passed", "control_passed": {"previous_owner_role": "meta_business_agent",
                "new_owner_role": "partner", "metadata": "vip"}}),
            "control_passed",
            Some("meta_business_agent"),
            Some("partner"),
        ),
        (
            json!({"type": "control_taken", "control_taken": {"previous_owner_app_role": "partner"}}),
            "control_taken",
            Some("partner"),
            None,
        ),
        (
            json!({"control_passed": {"metadata": "vip"}}),
            "control_passed",
            None,
            None,
        ),
    ] {
        let mut value = value;
        value["timestamp"] = json!(AT.to_string());
        value["sender"] = json!({"phone_number": "4915550001"});
        value["recipient"] =
            json!({"phone_number_id": "7001", "display_phone_number": "49305550100"});
        let item = only(&post("messaging_handovers", &value));
        assert_eq!(item.phone_number_id.as_deref(), Some("7001"));
        assert_eq!(item.raw, value);
        let ItemKind::Handover(handover) = item.kind else {
            panic!("no handover")
        };
        assert_eq!(handover.kind, kind);
        assert_eq!(handover.phone.as_deref(), Some("4915550001"));
        assert_eq!(handover.previous_owner_role.as_deref(), previous);
        assert_eq!(handover.new_owner_role.as_deref(), new);
        assert_eq!(handover.at, at(AT));
    }
    let bare = only(&post(
        "messaging_handovers",
        &json!({"type": "control_passed"}),
    ));
    assert!(matches!(bare.kind, ItemKind::Malformed { .. }));
}

#[test]
fn history_is_never_a_message() {
    let body = post(
        "history",
        &json!({
            "metadata": {"phone_number_id": "7001", "display_phone_number": "49305550100"},
            "history": [{"metadata": {"phase": 1, "chunk_order": "2", "progress": 55}, "threads": [
                {"id": "4915550001", "messages": [
                    {"id": "w1", "timestamp": AT, "from": "4915550001", "type": "text", "text": {"body": "x"}},
                    {"id": "w2", "timestamp": AT + 1, "from": "49305550100", "to": "4915550001", "type": "text",
                        "history_context": {"status": "READ"}},
                    {"id": "w3"}]},
                {"id": "DE.a", "messages": [{"id": "w4", "timestamp": AT, "type": "media_placeholder"}]},
                {"id": "4915550002"}]}],
            "messages": [{"id": "w5", "timestamp": AT, "type": "image", "from": "4915550001"}],
            "errors": [{"code": 2_593_109, "title": "declined"}],
        }),
    );
    let items = items(&body);
    let kinds: Vec<_> = items.iter().map(|item| item.kind.as_str()).collect();
    assert_eq!(kinds, ["history", "history", "value_error"]);
    let chunk = |index: usize| match &items[index].kind {
        ItemKind::History(chunk) => chunk,
        other => panic!("{other:?}"),
    };
    let first = chunk(0);
    assert_eq!(
        (first.phase, first.chunk_order, first.progress),
        (Some(1), Some(2), Some(55))
    );
    assert_eq!((first.message_count(), chunk(1).message_count()), (3, 1));
    let [chat, hidden] = &first.threads[..] else {
        panic!("{first:?}")
    };
    assert_eq!(chat.phone.as_deref(), Some("4915550001"));
    assert_eq!(hidden.user_id.as_deref(), Some("DE.a"));
    let sides: Vec<_> = chat.messages.iter().map(|it| it.outbound).collect();
    assert_eq!(sides, [false, true]);
    assert_eq!(chat.messages[1].status.as_deref(), Some("READ"));
    let unreadable: Vec<_> = first.unreadable.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(unreadable, ["threads[0].messages[2]", "threads[2]"]);
    assert_eq!(chunk(1).threads[0].phone.as_deref(), Some("4915550001"));
}

#[test]
fn a_history_that_is_not_shared_says_why() {
    let body = post(
        "history",
        &value(&json!({"history": [{"errors": [{"code": 2_593_109, "title": "declined"}]}]})),
    );
    let ItemKind::History(chunk) = only(&body).kind else {
        panic!("no history")
    };
    assert_eq!(chunk.errors[0].code, 2_593_109);
    assert!(chunk.threads.is_empty() && chunk.unreadable.is_empty());
}

#[test]
fn news_about_an_account_is_kept_whole() {
    use AccountScope::{Account as Waba, Number, Template};
    for (field, scope, event) in [
        ("message_template_status_update", Template, "APPROVED"),
        ("message_template_quality_update", Template, ""),
        ("template_category_update", Template, ""),
        ("phone_number_quality_update", Number, "ONBOARDING"),
        ("phone_number_name_update", Number, ""),
        ("account_update", Waba, "PARTNER_ADDED"),
        ("account_review_update", Waba, ""),
        ("business_capability_update", Waba, ""),
        ("security", Waba, "PIN_CHANGED"),
    ] {
        // A template id may be too large for a double; it must come out as it went in.
        let raw = format!(
            r#"{{"entry":[{{"id":"501","time":{AT},"changes":[{{"field":"{field}","value":
            {{"event":"{event}","message_template_id":18446744073709551617}}}}]}}]}}"#
        );
        let item = parse(raw.as_bytes()).expect("a post").items.remove(0);
        assert_eq!(item.origin.entry_time, Some(AT));
        let ItemKind::Account(account) = item.kind else {
            panic!("{field}")
        };
        assert_eq!((account.field.as_str(), account.scope), (field, scope));
        assert_eq!(
            account.event.as_deref(),
            Some(event).filter(|event| !event.is_empty())
        );
        assert_eq!(
            item.raw["message_template_id"].to_string(),
            "18446744073709551617"
        );
        if let Some(AccountFacts::TemplateStatus(status)) = &account.facts {
            let id = status.template.id.as_deref();
            assert_eq!(id, Some("18446744073709551617"));
        }
        let is_read = account.facts.is_some();
        assert_eq!(is_read, field != "account_review_update", "{field}");
    }
}

#[test]
fn an_error_of_the_value_is_an_item_of_its_own() {
    let body = post(
        "messages",
        &value(&json!({"errors": [
        {"code": "131000", "title": "t", "message": "m", "error_data": {"details": "d"}}]})),
    );
    let ItemKind::ValueError(error) = only(&body).kind else {
        panic!("no error")
    };
    assert_eq!(error.code, 131_000);
    assert_eq!(error.title.as_deref(), Some("t"));
}

#[test]
fn what_nobody_knows_is_kept() {
    let whole = [
        post(
            "holograms",
            &value(&json!({"messages": [{"id": "w", "timestamp": AT}]})),
        ),
        post(
            "messages",
            &value(&json!({"conversation_context": {"a": 1}})),
        ),
        post("messages", &json!({})),
        post("standby", &json!({"standby": {"mood": 1}})),
        post("messages", &json!({"moods": []})),
        json!({"entry": [{"changes": [{"value": {"messages": []}}]}]}),
    ];
    for body in whole {
        let item = only(&body);
        assert_eq!(item.kind, ItemKind::Unrecognized, "{body}");
        assert_eq!(item.raw, body["entry"][0]["changes"][0]["value"]);
        assert_eq!(item.origin.path, "entry[0].changes[0].value");
    }
    let item = only(&json!({"entry": [{"id": "1", "messaging": [{"message": {}}]}]}));
    assert_eq!(
        (item.kind, item.origin.path.as_str()),
        (ItemKind::Unrecognized, "entry[0]")
    );
    for value in [
        json!({"messages": [], "user_actions": [{"a": 1}, 2]}),
        json!({"user_actions": [{"a": 1}, 2]}),
    ] {
        let new = items(&post("messages", &value));
        assert_eq!(new.len(), 2);
        assert_eq!(
            new[1].origin.path,
            "entry[0].changes[0].value.user_actions[1]"
        );
        assert!(new.iter().all(|item| item.kind == ItemKind::Unrecognized));
    }
}

#[test]
fn one_bad_item_harms_no_sibling() {
    let good = json!({"id": "w", "timestamp": AT, "type": "text", "text": {"body": "x"}});
    let mut no_id = good.clone();
    no_id["id"] = json!("");
    let body = json!({"entry": [
        "noise",
        {"changes": ["noise", {"field": "messages"}, {"field": "messages", "value": 7},
            {"field": "messages", "value": {"messages": {}, "statuses": [{"id": "w"}]}},
            {"field": "messages", "value": {"messages": [null, no_id, good, {"timestamp": AT}]}}]},
    ]});
    let items = items(&body);
    let kinds: Vec<_> = items.iter().map(|item| item.kind.as_str()).collect();
    let mut expected = vec!["malformed"; 10];
    expected[8] = "message";
    assert_eq!(kinds, expected);
    assert_eq!(
        items[8].origin.path,
        "entry[1].changes[4].value.messages[2]"
    );
}

#[test]
fn only_a_body_without_entries_is_no_post() {
    for body in [
        "",
        "nonsense",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"entry":{}}"#,
        r#"{"entry":null}"#,
    ] {
        assert!(parse(body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(parse(br#"{"entry":[]}"#).expect("a post").items, []);
}

#[test]
fn a_name_cut_inside_an_emoji_does_not_lose_the_post() {
    let raw = post(
        "messages",
        &value(&json!({"messages": [{"id": "w", "timestamp": AT}]})),
    )
    .to_string()
    .replace("\"Ada\"", r#""Ada\ud83d""#);
    let post = parse(raw.as_bytes()).expect("a post");
    assert!(post.repaired);
    let ItemKind::Message(message) = &post.items[0].kind else {
        panic!("no message")
    };
    assert_eq!(message.profile_name.as_deref(), Some("Ada\u{fffd}"));
}

#[test]
fn the_hash_of_a_value_depends_on_its_content_and_not_on_the_order_of_keys() {
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("json");
    let hash = |text: &str| value_hash(&read(text));
    assert_eq!(
        hash(r#"{"b":[1,{"d":1,"c":"x"}],"a":null}"#),
        hash(r#" {"a":null,"b":[1,{"c":"x","d":1}]}"#)
    );
    assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":"1"}"#));
    assert_ne!(hash("[1,2]"), hash("[2,1]"));
    // The SHA-256 of `{"a":1}`: identifiers hang on it, so it must never change.
    assert_eq!(
        hash(r#"{ "a": 1 }"#),
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    );
}

//! What each kind of content is posted as, word for word.

use std::path::Path;

use super::samples;
use super::*;

fn message(content: OutgoingContent) -> OutgoingMessage {
    OutgoingMessage {
        to: Recipient::phone("+15550002222"),
        content,
        context_wamid: None,
        callback_data: "attempt-1".to_owned(),
        messaging_account_id: None,
    }
}

#[test]
fn every_kind_of_content_is_posted_as_the_platform_takes_it() {
    let mut seen = std::collections::BTreeSet::new();
    for (name, content) in samples::all() {
        let body = message(content).to_json();
        let body = body.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let text = serde_json::to_string_pretty(&body).unwrap();
        insta::assert_snapshot!(format!("body_{name}"), text);
        let kind = body["type"].as_str().unwrap();
        let inner = body[kind]["type"].as_str().unwrap_or_default();
        seen.insert(format!("{kind} {inner}").trim().to_owned());
    }
    let kinds: Vec<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "audio",
            "contacts",
            "document",
            "image",
            "interactive address_message",
            "interactive button",
            "interactive call_permission_request",
            "interactive catalog_message",
            "interactive cta_url",
            "interactive flow",
            "interactive list",
            "interactive location_request_message",
            "interactive product",
            "interactive product_list",
            "interactive request_contact_info",
            "interactive voice_call",
            "location",
            "poll",
            "reaction",
            "sticker",
            "template",
            "text",
            "video",
        ]
    );
}

#[test]
fn whom_it_is_for_and_what_it_answers_stand_around_the_content() {
    let text = OutgoingContent::Text {
        body: "hello".to_owned(),
        preview_url: false,
    };
    let both = OutgoingMessage {
        to: Recipient {
            phone: Some("+15550002222".to_owned()),
            user_id: Some("DE.ENT.77aa".to_owned()),
        },
        context_wamid: Some("wamid.1".to_owned()),
        messaging_account_id: Some("800100".to_owned()),
        ..message(text.clone())
    };
    assert_eq!(
        both.to_json().unwrap(),
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual",
            "to": "+15550002222", "recipient": "DE.ENT.77aa",
            "messaging_account_id": "800100",
            "type": "text", "text": {"body": "hello", "preview_url": false},
            "context": {"message_id": "wamid.1"}, "biz_opaque_callback_data": "attempt-1",
        })
    );
    let by_user_id = OutgoingMessage {
        to: Recipient::user_id("DE.77"),
        ..message(text)
    };
    let body = by_user_id.to_json().unwrap();
    assert_eq!(body["recipient"], "DE.77");
    assert_eq!(body.get("to"), None);
}

#[test]
fn whom_it_is_for_has_to_be_somebody() {
    let text = || OutgoingContent::Text {
        body: "hello".to_owned(),
        preview_url: false,
    };
    let to = |to: Recipient| OutgoingMessage {
        to,
        ..message(text())
    };
    let phone = |phone: &str| to(Recipient::phone(phone));
    let user = |id: &str| to(Recipient::user_id(id));
    let data = |data: String| OutgoingMessage {
        callback_data: data,
        ..message(text())
    };
    for (message, field) in [
        (phone("+4915550001"), None),
        (phone("4915550001"), Some("to")),
        (phone("+"), Some("to")),
        (phone("+49 155 50001"), Some("to")),
        (phone("+1234567890123456"), Some("to")),
        (user("DE.7"), None),
        (user("de.7"), Some("recipient")),
        (user("DE."), Some("recipient")),
        (user("+4915550001"), Some("recipient")),
        (to(Recipient::default()), Some("to")),
        (data(String::new()), Some("biz_opaque_callback_data")),
        (data("x".repeat(512)), None),
        (data("x".repeat(513)), Some("biz_opaque_callback_data")),
        (
            OutgoingMessage {
                context_wamid: Some(String::new()),
                ..message(text())
            },
            Some("context.message_id"),
        ),
        (
            OutgoingMessage {
                messaging_account_id: Some(String::new()),
                ..message(text())
            },
            Some("messaging_account_id"),
        ),
    ] {
        let problems = message.to_json().err().unwrap_or_default();
        let fields: Vec<_> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{message:?}");
    }
}

/// The snapshots are also what is checked against Meta's own schema (`tests/examples/openapi`), so
/// none may be left over from a kind that is no more.
#[test]
fn every_sample_has_a_snapshot_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/send/body/snapshots");
    let kept: std::collections::BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| {
            let (_, name) = file.rsplit_once("__body_")?;
            Some(name.strip_suffix(".snap")?.to_owned())
        })
        .collect();
    let made: std::collections::BTreeSet<_> = samples::all()
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(kept, made);
}

#[test]
fn every_sample_is_without_problems() {
    for (name, content) in samples::all() {
        assert_eq!(content.problems(), [], "{name}");
    }
}

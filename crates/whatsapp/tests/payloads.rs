//! Payloads of our own, one at least for each type, status and field that the platform sends, and
//! what is read of them.
//!
//! A snapshot holds what the parser makes of a file of payloads. To accept a change, run with
//! `INSTA_UPDATE=always` and look at the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use casement_whatsapp::webhook::{self, Content, Item, ItemKind};
use serde_json::{Map, Value};

/// The file of payloads that hold something nobody can read.
const POISON: &str = "poison";

/// Files of payloads by name, each with its payloads by name.
fn files() -> BTreeMap<String, Map<String, Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    let entries = fs::read_dir(folder).expect("the folder of payloads");
    let files = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let text = fs::read(&path).expect("a file");
        let payloads = serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (stem.into_owned(), payloads)
    });
    files.collect()
}

fn items(payload: &Value) -> Vec<Item> {
    let body = serde_json::to_vec(payload).expect("JSON");
    webhook::parse(&body).expect("a post").items
}

/// All items of all payloads that are well.
fn well() -> Vec<(String, Item)> {
    let mut all = Vec::new();
    for (file, payloads) in files() {
        if file == POISON {
            continue;
        }
        for (name, payload) in payloads {
            let items = items(&payload).into_iter();
            all.extend(items.map(|item| (format!("{file}/{name}"), item)));
        }
    }
    all
}

/// What was read of a payload, item by item. The item's own JSON stands in the payload.
fn told(payload: &Value) -> String {
    let mut told = String::new();
    for item in items(payload) {
        let origin = &item.origin;
        let number = item.phone_number_id.as_deref().unwrap_or("no number");
        writeln!(
            told,
            "{} of {} ({}) for {number}",
            origin.path,
            origin.field,
            origin.entry_id.as_deref().unwrap_or("no sender"),
        )
        .expect("text");
        writeln!(told, "{:#?}", item.kind).expect("text");
    }
    told
}

#[test]
fn every_payload_is_read_as_it_was_agreed() {
    for (file, payloads) in files() {
        let mut all = String::new();
        for (name, payload) in payloads {
            writeln!(all, "# {name}\n{}", told(&payload)).expect("text");
        }
        insta::assert_snapshot!(file, all);
    }
}

#[test]
fn every_type_of_message_has_a_payload_that_tells_its_content() {
    let mut told = BTreeSet::new();
    for (name, item) in well() {
        let ItemKind::Message(message) = item.kind else {
            continue;
        };
        if let Some(content) = &message.content {
            told.insert(match content {
                Content::Text { .. } => "text".to_owned(),
                Content::Media(media) => format!("{:?}", media.kind).to_lowercase(),
                Content::Location(_) => "location".to_owned(),
                Content::Contacts(cards) => {
                    assert!(!cards.is_empty(), "{name}");
                    "contacts".to_owned()
                }
                Content::ButtonReply(_) => "button_reply".to_owned(),
                Content::ListReply(_) => "list_reply".to_owned(),
                Content::FlowReply(_) => "flow_reply".to_owned(),
                Content::CallPermissionReply(_) => "call_permission_reply".to_owned(),
                Content::AddressReply(reply) => {
                    assert!(!reply.values.is_empty(), "{name}");
                    "address_reply".to_owned()
                }
                Content::OtherReply { .. } => "other_reply".to_owned(),
                Content::TemplateButton { .. } => "template_button".to_owned(),
                Content::Reaction { emoji: Some(_), .. } => "reaction".to_owned(),
                Content::Reaction { emoji: None, .. } => "reaction_removed".to_owned(),
                Content::Order(_) => "order".to_owned(),
                Content::System(_) => "system".to_owned(),
                Content::Unsupported { .. } => "unsupported".to_owned(),
                Content::Edit(_) => "edit".to_owned(),
                Content::Revoke { .. } => "revoke".to_owned(),
                Content::MediaPlaceholder => "media_placeholder".to_owned(),
                Content::RequestWelcome => "request_welcome".to_owned(),
            });
        }
    }
    let all = [
        "text",
        "image",
        "video",
        "audio",
        "document",
        "sticker",
        "location",
        "contacts",
        "button_reply",
        "list_reply",
        "flow_reply",
        "call_permission_reply",
        "address_reply",
        "other_reply",
        "template_button",
        "reaction",
        "reaction_removed",
        "order",
        "system",
        "unsupported",
        "edit",
        "revoke",
        "media_placeholder",
        "request_welcome",
    ];
    assert_eq!(told, all.map(str::to_owned).into());
}

#[test]
fn every_field_has_a_payload_that_is_understood() {
    let mut understood = BTreeSet::new();
    for (name, item) in well() {
        match &item.kind {
            ItemKind::Malformed { reason } => panic!("{name}: {reason}"),
            ItemKind::Unrecognized => {
                let is_meant = name == "batches/an_unknown_field_beside";
                assert!(is_meant, "{name} is not recognized");
            }
            ItemKind::History(chunk) => {
                assert_eq!(chunk.unreadable, [], "{name}");
                understood.insert(item.origin.field);
            }
            _ => {
                understood.insert(item.origin.field);
            }
        }
    }
    let all = [
        "account_alerts",
        "account_review_update",
        "account_settings_update",
        "account_update",
        "automatic_events",
        "business_capability_update",
        "business_username_updates",
        "calls",
        "flows",
        "group_lifecycle_update",
        "group_participants_update",
        "group_settings_update",
        "group_status_update",
        "history",
        "message_echoes",
        "message_template_components_update",
        "message_template_quality_update",
        "message_template_status_update",
        "messages",
        "messaging_handovers",
        "partner_solutions",
        "payment_configuration_update",
        "phone_number_name_update",
        "phone_number_quality_update",
        "security",
        "smb_app_state_sync",
        "smb_message_echoes",
        "standby",
        "template_category_update",
        "template_correct_category_detection",
        "tracking_events",
        "user_id_update",
        "user_preferences",
    ];
    assert_eq!(understood, all.map(str::to_owned).into());
}

#[test]
fn every_status_has_a_payload() {
    let statuses: BTreeSet<String> = well()
        .into_iter()
        .filter_map(|(_, item)| match item.kind {
            ItemKind::Status(report) => Some(report.status.as_str().to_owned()),
            _ => None,
        })
        .collect();
    let all = ["sent", "delivered", "read", "played", "failed", "warning"];
    assert_eq!(statuses, all.map(str::to_owned).into());
}

#[test]
fn each_poisoned_payload_holds_one_thing_that_nobody_can_read() {
    for (name, payload) in &files()[POISON] {
        let unreadable: usize = items(payload)
            .iter()
            .map(|item| match &item.kind {
                ItemKind::Malformed { .. } => 1,
                ItemKind::History(chunk) => chunk.unreadable.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(unreadable, 1, "{name}");
    }
}

#[test]
fn what_nobody_knows_yet_inside_a_known_message_is_kept() {
    let payload = &files()["contexts"]["fields_that_nobody_knows_yet"];
    let item = items(payload).remove(0);
    let ItemKind::Message(message) = item.kind else {
        panic!("no message")
    };
    let extra = Value::Object(message.extra.clone().expect("something"));
    let expected = serde_json::json!({
        "contact": {"mood": "sunny", "profile": {"badge": "gold"}},
        "context": {"thread": "t-1"},
        "referral": {"auction": {"rank": 2}},
        "from_logical_id": "L-1",
        "spam_score": 0.01,
    });
    assert_eq!(extra, expected);
    assert_eq!(message.object["sentiment"].to_string(), "0.7");
    assert_eq!(message.identity_hash.as_deref(), Some("kh-77"));
}

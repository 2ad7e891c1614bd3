//! The page that tells callers what they can send, tried out: each example is read as a request,
//! checked, and made into a body.

use std::collections::BTreeSet;
use std::path::Path;

use casement_proto::message::v1::SendMessageRequest;
use casement_whatsapp::send::{OutgoingMessage, Recipient};
use jiff::SignedDuration;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use super::*;
use crate::policies::Policies;
use crate::request;

/// The examples, each as the request that it is or belongs into.
fn examples() -> Vec<Value> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sending.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let read = |block: &str| -> Value {
        let (json, _) = block.split_once("```").unwrap();
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    };
    let whole = |example: Value| {
        if example.get("number").is_some() {
            return example;
        }
        json!({"number": "+15550001111", "to": "+15550002222", "purpose": "PURPOSE_SERVICE",
            "content": example})
    };
    blocks.map(read).map(whole).collect()
}

fn request(example: &Value) -> SendMessageRequest {
    let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
    let kind = pool
        .get_message_by_name("casement.message.v1.SendMessageRequest")
        .unwrap();
    let message = DynamicMessage::deserialize(kind, example);
    let message = message.unwrap_or_else(|error| panic!("{error}: {example}"));
    SendMessageRequest::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn body(content: OutgoingContent) -> Value {
    let message = OutgoingMessage {
        to: Recipient::phone("+15550002222"),
        content,
        context_wamid: None,
        callback_data: "m.1".to_owned(),
        messaging_account_id: None,
    };
    message.to_json().unwrap()
}

#[test]
fn every_example_of_the_page_can_be_sent_and_every_kind_has_one() {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut kinds = BTreeSet::new();
    let mut parameters = BTreeSet::new();
    for example in examples() {
        let request = request(&example);
        let checked = request::check(
            &request,
            &Policies::default(),
            SignedDuration::from_hours(1),
            now,
        );
        let checked = checked.unwrap_or_else(|problems| panic!("{problems:?}: {example}"));
        if let Some(content) = &checked.content.free_form {
            let body = body(free_form(content));
            let kind = body["type"].as_str().unwrap().to_owned();
            let inner = body[&kind]["type"].as_str().unwrap_or_default();
            kinds.insert(format!("{kind} {inner}").trim().to_owned());
        }
        if let Some(content) = &checked.content.template {
            let body = body(template(content));
            kinds.insert("template".to_owned());
            let components = body["template"]["components"]
                .as_array()
                .into_iter()
                .flatten();
            for component in components {
                let kind = component["type"].as_str().unwrap();
                let sub = component["sub_type"].as_str().unwrap_or_default();
                parameters.insert(format!("{kind} {sub}").trim().to_owned());
            }
        }
    }
    let words = |text: &str| {
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        kinds,
        words(
            "text
            image
            video
            audio
            document
            sticker
            location
            contacts
            reaction
            interactive button
            interactive list
            interactive cta_url
            interactive location_request_message
            interactive flow
            interactive product
            interactive product_list
            interactive catalog_message
            interactive address_message
            interactive call_permission_request
            interactive voice_call
            interactive request_contact_info
            interactive carousel
            template"
        )
    );
    assert_eq!(
        parameters,
        words(
            "header
            body
            carousel
            limited_time_offer
            button quick_reply
            button url
            button copy_code
            button flow
            button catalog
            button mpm"
        )
    );
}

#[test]
fn what_is_carried_over_is_all_that_was_written() {
    let example = json!({"number": "+15550001111", "to": "+15550002222", "content": {
        "freeForm": {"interactive": {
            "header": {"document": {"uploadId": "up-700-1800000000-77", "filename": "a.pdf"}},
            "body": "B", "footer": "F",
            "flow": {"flowName": "booking", "cta": "C", "token": "T", "draft": true,
                "screen": "S", "dataJson": "{\"a\": 1}"},
        }},
        "template": {"name": "n", "language": "l", "components": [
            {"type": "HEADER", "parameters": [{"location": {
                "latitude": 1.5, "longitude": 2.5, "name": "N", "address": "A"}}]},
            {"type": "button", "subType": "voice_call", "index": "0",
                "parameters": [{"ttlMinutes": 5}]},
            {"type": "body", "parameters": [{"name": "x", "json": "{\"type\": \"y\"}"}]},
        ]},
    }});
    let content = request(&example).content.unwrap();
    let said = body(free_form(&content.free_form.unwrap()));
    assert_eq!(
        said["interactive"],
        json!({
            "type": "flow",
            "header": {"type": "document", "document": {"id": "77", "filename": "a.pdf"}},
            "body": {"text": "B"}, "footer": {"text": "F"},
            "action": {"name": "flow", "parameters": {
                "flow_message_version": "3", "flow_name": "booking", "flow_cta": "C",
                "flow_token": "T", "mode": "draft", "flow_action": "navigate",
                "flow_action_payload": {"screen": "S", "data": {"a": 1}},
            }},
        })
    );
    let filled = body(template(&content.template.unwrap()));
    assert_eq!(
        filled["template"]["components"],
        json!([
            {"type": "header", "parameters": [{"type": "location", "location": {
                "latitude": "1.5", "longitude": "2.5", "name": "N", "address": "A"}}]},
            {"type": "button", "sub_type": "voice_call", "index": "0",
                "parameters": [{"type": "ttl_minutes", "ttl_minutes": 5}]},
            {"type": "body", "parameters": [{"type": "y", "parameter_name": "x"}]},
        ])
    );
}

//! What is well-formed, and why the rest is not.

use super::*;

fn text(patch: &Value) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "to": "+15550001111",
        "type": "text",
        "text": {"body": "hello"},
    });
    for (key, value) in patch.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

fn call_components(body: &Value) -> Vec<Value> {
    let components = body.pointer("/template/components").unwrap();
    components.as_array().unwrap().clone()
}

#[test]
fn malformed_bodies_are_refused_for_the_reason_that_applies() {
    let long = "x".repeat(4_097);
    for (patch, code) in [
        (json!({}), None),
        (json!({"to": null, "recipient": "US.134"}), None),
        (json!({"to": null, "recipient": "US.ENT.134"}), None),
        (json!({"messaging_product": null}), Some(100)),
        (json!({"messaging_product": "sms"}), Some(100)),
        (json!({"to": null}), Some(131_008)),
        (json!({"to": 15_550_001_111_u64}), Some(100)),
        (json!({"to": "nobody"}), Some(131_009)),
        (json!({"to": null, "recipient": "134"}), Some(131_009)),
        (json!({"recipient_type": "crowd"}), Some(131_009)),
        (json!({"type": "telegram", "telegram": {}}), Some(100)),
        (json!({"type": "image"}), Some(131_008)),
        (json!({"type": "image", "image": {}}), Some(131_008)),
        (json!({"type": "image", "image": {"id": "1"}}), None),
        (json!({"recipient": "134"}), Some(131_009)),
        (json!({"messaging_account_id": "8001"}), None),
        (json!({"messaging_account_id": 8001}), Some(131_009)),
        (
            json!({"biz_opaque_callback_data": "x".repeat(513)}),
            Some(100),
        ),
        (json!({"text": null}), Some(131_008)),
        (json!({"text": {}}), Some(131_008)),
        (json!({"text": {"body": ""}}), Some(131_009)),
        (json!({"text": {"body": long}}), Some(100)),
        (json!({"context": {}}), Some(131_008)),
        (json!({"biz_opaque_callback_data": 7}), Some(100)),
        (json!({"type": "template", "template": {}}), Some(131_008)),
    ] {
        let refused = read(&text(&patch)).err();
        assert_eq!(refused.map(|refusal| refusal.code), code, "{patch}");
    }
    assert_eq!(read(&json!([])).unwrap_err().code, 100);
}

#[test]
fn a_phone_wins_over_a_user_id() {
    let GraphCall::Message(call) = read(&text(&json!({"recipient": "US.134"}))).unwrap() else {
        panic!("not a message");
    };
    assert_eq!(
        call.recipient,
        Recipient::Phone {
            input: "+15550001111".to_owned(),
            digits: "15550001111".to_owned()
        }
    );
}

#[test]
fn a_templates_body_parameters_are_read_in_order() {
    let body = text(&json!({
        "type": "template",
        "template": {
            "name": "order",
            "language": {"code": "en"},
            "components": [
                {"type": "header", "parameters": [{"type": "text", "text": "no"}]},
                {"type": "body", "parameters": [
                    {"type": "text", "text": "Ana"},
                    {"type": "currency", "currency": {"fallback_value": "7 €"}},
                ]},
            ],
        },
    }));
    let GraphCall::Message(call) = read(&body).unwrap() else {
        panic!("not a message");
    };
    assert_eq!(
        call.content,
        Content::Template(TemplateCall {
            name: "order".to_owned(),
            language: "en".to_owned(),
            body_parameters: vec!["Ana".to_owned(), "7 €".to_owned()],
            components: call_components(&body),
        })
    );
}

#[test]
fn a_parameter_without_text_is_refused() {
    let body = text(&json!({
        "type": "template",
        "template": {
            "name": "order",
            "language": {"code": "en"},
            "components": [{"type": "body", "parameters": [{"type": "text"}]}],
        },
    }));
    assert_eq!(read(&body).unwrap_err().code, 132_012);
}

#[test]
fn a_message_can_be_marked_as_read() {
    let mark = json!({
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": "wamid.x",
        "typing_indicator": {"type": "text"},
    });
    let read_by = |typing| {
        GraphCall::MarkRead(MarkCall {
            message_id: "wamid.x".to_owned(),
            typing,
        })
    };
    assert_eq!(read(&mark), Ok(read_by(true)));
    let mut plain = mark.clone();
    plain.as_object_mut().unwrap().remove("typing_indicator");
    assert_eq!(read(&plain), Ok(read_by(false)));
    for (key, value) in [
        ("message_id", json!("x")),
        ("typing_indicator", json!({"type": "voice"})),
        ("status", json!("delivered")),
    ] {
        let mut wrong = mark.clone();
        wrong[key] = value;
        assert_eq!(read(&wrong).unwrap_err().code, 131_009, "{key}");
    }
}

pub(super) fn code(kind: &str, object: Value) -> Option<i64> {
    let mut patch = json!({"text": null, "type": kind});
    patch[kind] = object;
    read(&text(&patch)).err().map(|refusal| refusal.code)
}

#[test]
fn files_places_cards_and_reactions_are_taken_as_the_pages_say() {
    let link = "https://example.com/a";
    let card = |name: Value| json!([{"name": name, "phones": [{"phone": "1"}]}]);
    for (kind, object, expected) in [
        (
            "image",
            json!({"link": link, "caption": "x".repeat(1024)}),
            None,
        ),
        (
            "image",
            json!({"link": link, "caption": "x".repeat(1025)}),
            Some(131_009),
        ),
        ("image", json!({"link": link, "id": "1"}), Some(131_009)),
        ("image", json!({"link": "example.com"}), Some(131_009)),
        ("image", json!({"id": "1", "filename": "a"}), Some(100)),
        ("audio", json!({"id": "1", "voice": true}), None),
        ("audio", json!({"id": "1", "caption": "a"}), Some(100)),
        (
            "document",
            json!({"id": "1", "filename": "a", "caption": "b"}),
            None,
        ),
        ("sticker", json!({"id": "1", "caption": "b"}), Some(100)),
        (
            "location",
            json!({"latitude": "1.5", "longitude": -180}),
            None,
        ),
        (
            "location",
            json!({"latitude": "91", "longitude": 1}),
            Some(131_009),
        ),
        ("location", json!({"latitude": 1}), Some(131_008)),
        ("contacts", card(json!({"formatted_name": "Ana"})), None),
        (
            "contacts",
            card(json!({"first_name": "Ana"})),
            Some(131_008),
        ),
        ("contacts", json!([]), Some(131_009)),
        ("contacts", json!({}), Some(131_009)),
        (
            "reaction",
            json!({"message_id": "wamid.x", "emoji": ""}),
            None,
        ),
        ("reaction", json!({"message_id": "wamid.x"}), Some(131_008)),
        (
            "reaction",
            json!({"message_id": "x", "emoji": "👍"}),
            Some(131_009),
        ),
        ("poll", json!({}), Some(100)),
    ] {
        assert_eq!(code(kind, object.clone()), expected, "{kind} {object}");
    }
}

#[test]
fn files_are_found_wherever_they_stand() {
    let header = json!({"type": "image", "image": {"id": "7"}});
    let GraphCall::Message(call) = read(&text(
        &json!({"text": null, "type": "template", "template": {
            "name": "t", "language": {"code": "en"}, "components": [
                {"type": "header", "parameters": [header]},
                {"type": "carousel", "cards": [{"card_index": 0, "components": [
                    {"type": "header", "parameters": [{"type": "video", "video": {"id": "8"}}]},
                ]}]},
            ],
        }}),
    ))
    .unwrap() else {
        panic!("not a message");
    };
    assert_eq!(call.media_ids, ["7", "8"]);
}

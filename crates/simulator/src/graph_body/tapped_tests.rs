//! What interactive messages and templates are well-formed.

use serde_json::{Value, json};

use super::tests::code;

#[test]
fn each_interactive_type_is_taken_with_what_it_needs() {
    let of =
        |kind: &str, action: Value| json!({"type": kind, "body": {"text": "b"}, "action": action});
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    let button =
        |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let buttons = |all: Vec<Value>| of("button", json!({"buttons": all}));
    let row = |id: &str| json!({"id": id, "title": "t"});
    let list = |rows: Vec<Value>| of("list", json!({"button": "b", "sections": [{"rows": rows}]}));
    let named = |kind: &str, name: &str| of(kind, json!({"name": name}));
    let flow = |parameters: Value| of("flow", json!({"name": "flow", "parameters": parameters}));
    let text_header = || json!({"type": "text", "text": "h"});
    let image_header = || json!({"type": "image", "image": {"id": "7"}});
    let products = |sections: Value| {
        with(
            of(
                "product_list",
                json!({"catalog_id": "9", "sections": sections}),
            ),
            "header",
            text_header(),
        )
    };
    let items = |count: usize| vec![json!({"product_retailer_id": "a"}); count];
    let table: Vec<(Value, Option<i64>)> = vec![
        (buttons(vec![button("a", "A")]), None),
        (
            buttons(vec![button("a", "A"), button("a", "B")]),
            Some(131_009),
        ),
        (buttons(vec![button("a", &"x".repeat(21))]), Some(131_009)),
        (buttons(vec![button("a", "A"); 4]), Some(131_009)),
        (buttons(vec![]), Some(131_008)),
        (
            with(buttons(vec![button("a", "A")]), "header", image_header()),
            None,
        ),
        (
            with(
                buttons(vec![button("a", "A")]),
                "body",
                json!({"text": "x".repeat(1025)}),
            ),
            Some(131_009),
        ),
        (
            with(
                buttons(vec![button("a", "A")]),
                "footer",
                json!({"text": "x".repeat(61)}),
            ),
            Some(131_009),
        ),
        (list(vec![row("a"), row("b")]), None),
        (list(vec![row("a"), row("a")]), Some(131_009)),
        (
            with(
                list(vec![row("a")]),
                "body",
                json!({"text": "x".repeat(4096)}),
            ),
            None,
        ),
        (
            with(list(vec![row("a")]), "header", image_header()),
            Some(131_009),
        ),
        (
            of(
                "list",
                json!({"button": "b", "sections": [{"rows": [row("a")]}, {"rows": [row("b")]}]}),
            ),
            Some(131_008),
        ),
        (
            of(
                "cta_url",
                json!({"name": "cta_url", "parameters": {"display_text": "x", "url": "https://a"}}),
            ),
            None,
        ),
        (
            of(
                "cta_url",
                json!({"name": "cta_url", "parameters": {"display_text": "x", "url": "a"}}),
            ),
            Some(131_009),
        ),
        (named("location_request_message", "send_location"), None),
        (named("location_request_message", "other"), Some(131_009)),
        (
            with(
                named("location_request_message", "send_location"),
                "header",
                text_header(),
            ),
            Some(131_009),
        ),
        (
            flow(json!({"flow_message_version": "3", "flow_id": "1", "flow_cta": "c"})),
            None,
        ),
        (
            flow(json!({"flow_message_version": "3", "flow_cta": "c"})),
            Some(131_009),
        ),
        (
            flow(
                json!({"flow_message_version": "3", "flow_id": "1", "flow_name": "n", "flow_cta": "c"}),
            ),
            Some(131_009),
        ),
        (
            flow(json!({"flow_message_version": "2", "flow_id": "1", "flow_cta": "c"})),
            Some(131_009),
        ),
        (
            flow(
                json!({"flow_message_version": "3", "flow_id": "1", "flow_cta": "c", "flow_action_payload": {"screen": "S", "data": {}}}),
            ),
            Some(131_009),
        ),
        (
            json!({"type": "product", "action": {"catalog_id": "9", "product_retailer_id": "a"}}),
            None,
        ),
        (
            json!({"type": "product", "action": {"catalog_id": "9"}}),
            Some(131_008),
        ),
        (products(json!([{"product_items": items(30)}])), None),
        (
            products(
                json!([{"title": "a", "product_items": items(30)}, {"title": "b", "product_items": items(1)}]),
            ),
            Some(131_009),
        ),
        (
            of(
                "product_list",
                json!({"catalog_id": "9", "sections": [{"product_items": items(1)}]}),
            ),
            Some(131_008),
        ),
        (named("catalog_message", "catalog_message"), None),
        (
            of(
                "address_message",
                json!({"name": "address_message", "parameters": {"country": "IN"}}),
            ),
            None,
        ),
        (
            of(
                "address_message",
                json!({"name": "address_message", "parameters": {}}),
            ),
            Some(131_008),
        ),
        (
            json!({"type": "call_permission_request", "action": {"name": "call_permission_request"}}),
            None,
        ),
        (named("voice_call", "voice_call"), None),
        (
            of(
                "voice_call",
                json!({"name": "voice_call", "parameters": {"ttl_minutes": 0}}),
            ),
            Some(131_009),
        ),
        (named("request_contact_info", "request_contact_info"), None),
        (
            with(
                named("request_contact_info", "request_contact_info"),
                "footer",
                json!({"text": "f"}),
            ),
            Some(131_009),
        ),
        (named("telepathy", "x"), Some(131_009)),
        (json!({"type": "button", "action": {}}), Some(131_008)),
    ];
    for (object, expected) in table {
        assert_eq!(code("interactive", object.clone()), expected, "{object}");
    }
}

#[test]
fn a_templates_parts_are_taken_as_the_pages_say() {
    let of = |components: Value| json!({"name": "t", "language": {"policy": "deterministic", "code": "en"}, "components": components});
    let part =
        |kind: &str, parameter: Value| of(json!([{"type": kind, "parameters": [parameter]}]));
    let button = |sub_type: &str, index: Value, parameter: Value| {
        of(
            json!([{"type": "button", "sub_type": sub_type, "index": index, "parameters": [parameter]}]),
        )
    };
    let payload = || json!({"type": "payload", "payload": "p"});
    let table: Vec<(Value, Option<i64>)> = vec![
        (
            part(
                "header",
                json!({"type": "image", "image": {"link": "https://a"}}),
            ),
            None,
        ),
        (
            part("header", json!({"type": "image", "image": {}})),
            Some(131_008),
        ),
        (
            part(
                "header",
                json!({"type": "location", "location": {"latitude": 1, "longitude": 2}}),
            ),
            None,
        ),
        (
            part(
                "header",
                json!({"type": "product", "product": {"product_retailer_id": "a", "catalog_id": "9"}}),
            ),
            None,
        ),
        (part("header", payload()), Some(132_012)),
        (part("body", payload()), Some(132_012)),
        (
            part(
                "body",
                json!({"type": "currency", "currency": {"code": "EUR", "fallback_value": "1"}}),
            ),
            Some(132_012),
        ),
        (
            of(json!([{"type": "body", "parameters": [
            {"type": "text", "parameter_name": "a", "text": "x"}, {"type": "text", "text": "y"}]}])),
            Some(132_000),
        ),
        (button("quick_reply", json!("0"), payload()), None),
        (button("quick_reply", json!(0), payload()), None),
        (button("quick_reply", json!("10"), payload()), Some(131_009)),
        (button("url", json!("0"), payload()), Some(132_012)),
        (
            button(
                "copy_code",
                json!("0"),
                json!({"type": "coupon_code", "coupon_code": "C"}),
            ),
            None,
        ),
        (
            button("flow", json!("0"), json!({"type": "action", "action": {}})),
            None,
        ),
        (
            button("mpm", json!("0"), json!({"type": "action", "action": {}})),
            Some(131_008),
        ),
        (
            button(
                "voice_call",
                json!("0"),
                json!({"type": "ttl_minutes", "ttl_minutes": 5}),
            ),
            None,
        ),
        (
            part(
                "limited_time_offer",
                json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1}}),
            ),
            None,
        ),
        (
            part(
                "limited_time_offer",
                json!({"type": "limited_time_offer", "limited_time_offer": {}}),
            ),
            Some(131_009),
        ),
        (
            of(json!([{"type": "carousel", "cards": [{"card_index": 0, "components": []}]}])),
            None,
        ),
        (
            of(json!([{"type": "carousel", "cards": [{"card_index": 1, "components": []}]}])),
            Some(131_009),
        ),
        (part("footer", payload()), Some(131_009)),
        (of(json!({})), Some(100)),
    ];
    for (object, expected) in table {
        assert_eq!(code("template", object.clone()), expected, "{object}");
    }
}

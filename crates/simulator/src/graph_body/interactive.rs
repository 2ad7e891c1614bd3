//! Interactive messages: what each type has to have, and how long it may be.

use std::collections::HashSet;

use super::fields::{Object, refuse, wrong};
use super::read_media;
use crate::codes::Refusal;

/// Reads an interactive object.
pub(super) fn read(at: &Object<'_>) -> Result<(), Refusal> {
    let kind = at.text("type", usize::MAX)?;
    let body_max = if kind == "list" { 4096 } else { 1024 };
    let needs_body = !matches!(kind, "product" | "call_permission_request");
    if needs_body || at.has("body") {
        at.child("body")?.text("text", body_max)?;
    }
    if at.has("footer") {
        let takes_one = !matches!(
            kind,
            "location_request_message"
                | "call_permission_request"
                | "request_contact_info"
                | "voice_call"
        );
        if !takes_one {
            return Err(refuse("interactive.footer", "is not allowed for this type"));
        }
        at.child("footer")?.text("text", 60)?;
    }
    read_header(at, kind)?;
    let action = at.child("action")?;
    match kind {
        "button" => buttons(&action),
        "list" => list(&action),
        "cta_url" => {
            let button = named(&action, "cta_url")?;
            button.text("display_text", 20)?;
            button.web_address("url")
        }
        "location_request_message" => is_named(&action, "send_location"),
        "flow" => flow(&named(&action, "flow")?),
        "product" => {
            action.text("catalog_id", usize::MAX)?;
            action.text("product_retailer_id", usize::MAX).map(drop)
        }
        "product_list" => products(&action),
        "catalog_message" => is_named(&action, "catalog_message"),
        "address_message" => {
            let form = named(&action, "address_message")?;
            form.text("country", 2).map(drop)
        }
        "call_permission_request" => is_named(&action, "call_permission_request"),
        "voice_call" => voice_call(&action),
        "request_contact_info" => is_named(&action, "request_contact_info"),
        // As far as it is known; what is inside a card is not looked at.
        "carousel" => action.list_of("cards", 2, 10).map(drop),
        _ => Err(wrong("interactive.type")),
    }
}

fn read_header(at: &Object<'_>, kind: &str) -> Result<(), Refusal> {
    let needs_one = kind == "product_list";
    if !at.has("header") && !needs_one {
        return Ok(());
    }
    let header = at.child("header")?;
    let of = header.text("type", usize::MAX)?;
    let takes_it = match kind {
        "button" | "cta_url" | "flow" => true,
        "list" | "product_list" | "address_message" | "voice_call" => of == "text",
        _ => false,
    };
    if !takes_it {
        return Err(refuse("interactive.header", "is not allowed for this type"));
    }
    match of {
        "text" => header.text("text", 60).map(drop),
        "image" | "video" | "document" => read_media(&header.child(of)?, of),
        _ => Err(wrong("interactive.header.type")),
    }
}

fn is_named(action: &Object<'_>, name: &str) -> Result<(), Refusal> {
    if action.text("name", usize::MAX)? == name {
        Ok(())
    } else {
        Err(wrong("interactive.action.name"))
    }
}

fn named<'a>(action: &Object<'a>, name: &str) -> Result<Object<'a>, Refusal> {
    is_named(action, name)?;
    action.child("parameters")
}

fn buttons(action: &Object<'_>) -> Result<(), Refusal> {
    let mut ids = HashSet::new();
    for button in action.list_of("buttons", 1, 3)? {
        if button.text("type", usize::MAX)? != "reply" {
            return Err(wrong("interactive.action.buttons[].type"));
        }
        let reply = button.child("reply")?;
        reply.text("title", 20)?;
        if !ids.insert(reply.text("id", 256)?) {
            return Err(refuse(
                "interactive.action.buttons[].reply.id",
                "is not unique",
            ));
        }
    }
    Ok(())
}

/// Several sections need titles.
fn section_title(section: &Object<'_>, sections: usize) -> Result<(), Refusal> {
    if sections > 1 {
        section.text("title", 24).map(drop)
    } else {
        section.optional("title", 24)
    }
}

fn list(action: &Object<'_>) -> Result<(), Refusal> {
    action.text("button", 20)?;
    let sections = action.list_of("sections", 1, 10)?;
    let (mut ids, mut rows) = (HashSet::new(), 0);
    for section in &sections {
        section_title(section, sections.len())?;
        for row in section.list_of("rows", 1, 10)? {
            rows += 1;
            row.text("title", 24)?;
            row.optional("description", 72)?;
            if !ids.insert(row.text("id", 200)?) {
                return Err(refuse(
                    "interactive.action.sections[].rows[].id",
                    "is not unique",
                ));
            }
        }
    }
    if rows > 10 {
        return Err(refuse(
            "interactive.action.sections",
            "have more than 10 rows",
        ));
    }
    Ok(())
}

pub(super) fn products(action: &Object<'_>) -> Result<(), Refusal> {
    action.optional("catalog_id", usize::MAX)?;
    let sections = action.list_of("sections", 1, 10)?;
    let mut products = 0;
    for section in &sections {
        section_title(section, sections.len())?;
        for item in section.list_of("product_items", 1, 30)? {
            products += 1;
            item.text("product_retailer_id", usize::MAX)?;
        }
    }
    if products > 30 {
        return Err(refuse("sections", "have more than 30 products"));
    }
    Ok(())
}

fn flow(parameters: &Object<'_>) -> Result<(), Refusal> {
    if parameters.text("flow_message_version", usize::MAX)? != "3" {
        return Err(wrong("flow_message_version"));
    }
    if parameters.has("flow_id") == parameters.has("flow_name") {
        return Err(refuse("flow", "takes a flow_id or a flow_name"));
    }
    parameters.optional("flow_id", usize::MAX)?;
    parameters.optional("flow_name", usize::MAX)?;
    parameters.text("flow_cta", 30)?;
    parameters.optional("flow_token", usize::MAX)?;
    let one_of = |key: &str, known: [&str; 2]| match parameters.value(key) {
        None => Ok(()),
        Some(value) if known.iter().any(|it| value == it) => Ok(()),
        Some(_) => Err(wrong(key)),
    };
    one_of("mode", ["draft", "published"])?;
    one_of("flow_action", ["navigate", "data_exchange"])?;
    if parameters.has("flow_action_payload") {
        let payload = parameters.child("flow_action_payload")?;
        payload.text("screen", usize::MAX)?;
        let data = payload.value("data").and_then(|data| data.as_object());
        if payload.has("data") && data.is_none_or(serde_json::Map::is_empty) {
            return Err(wrong("flow_action_payload.data"));
        }
    }
    Ok(())
}

fn voice_call(action: &Object<'_>) -> Result<(), Refusal> {
    is_named(action, "voice_call")?;
    if !action.has("parameters") {
        return Ok(());
    }
    let parameters = action.child("parameters")?;
    parameters.optional("display_text", 20)?;
    parameters.optional("payload", 512)?;
    match parameters
        .value("ttl_minutes")
        .map(serde_json::Value::as_u64)
    {
        None | Some(Some(1..=43_200)) => Ok(()),
        Some(_) => Err(wrong("ttl_minutes")),
    }
}

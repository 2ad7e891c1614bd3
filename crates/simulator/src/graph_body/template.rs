//! Templates: the shape of what they are filled in with. Whether the template takes it is
//! `rules`' to say.

use super::fields::{Object, wrong};
use super::{interactive, read_location, read_media};
use crate::codes::Refusal;

/// A template and what is to be filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TemplateCall {
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) body_parameters: Vec<String>,
    /// As they were sent.
    pub(crate) components: Vec<serde_json::Value>,
}

/// Reads a template object.
pub(super) fn read(at: &Object<'_>) -> Result<TemplateCall, Refusal> {
    let name = at.text("name", 512)?;
    let language = at.child("language")?;
    if language
        .value("policy")
        .is_some_and(|it| it != "deterministic")
    {
        return Err(wrong("template.language.policy"));
    }
    let language = language.text("code", usize::MAX)?;
    let mut body_parameters = Vec::new();
    for component in components(at)? {
        let kind = component.text("type", usize::MAX)?.to_lowercase();
        if kind == "body" {
            body_parameters = read_body(&component)?;
        } else if kind == "carousel" {
            read_cards(&component)?;
        } else {
            read_component(&component, &kind)?;
        }
    }
    Ok(TemplateCall {
        name: name.to_owned(),
        language: language.to_owned(),
        body_parameters,
        components: at
            .value("components")
            .and_then(serde_json::Value::as_array)
            .cloned()
            .unwrap_or_default(),
    })
}

fn components<'a>(at: &Object<'a>) -> Result<Vec<Object<'a>>, Refusal> {
    if at.value("components").is_some_and(|it| !it.is_array()) {
        return Err(Refusal::new(100, "template.components must be an array"));
    }
    at.list("components")
}

fn read_cards(carousel: &Object<'_>) -> Result<(), Refusal> {
    for (place, card) in carousel.list_of("cards", 1, 10)?.iter().enumerate() {
        let index = card.value("card_index").and_then(serde_json::Value::as_u64);
        if index != Some(place as u64) {
            return Err(wrong("card_index"));
        }
        for component in components(card)? {
            let kind = component.text("type", usize::MAX)?.to_lowercase();
            if kind == "body" {
                read_body(&component)?;
            } else {
                read_component(&component, &kind)?;
            }
        }
    }
    Ok(())
}

/// Texts in their order. All of them have names, or none has.
fn read_body(body: &Object<'_>) -> Result<Vec<String>, Refusal> {
    let parameters = body.list("parameters")?;
    let named = parameters.iter().filter(|it| it.has("parameter_name"));
    let named = named.count();
    if named != 0 && named != parameters.len() {
        return Err(Refusal::new(132_000, "some body parameters have no name"));
    }
    parameters.iter().map(read_text).collect()
}

fn read_text(parameter: &Object<'_>) -> Result<String, Refusal> {
    let kind = parameter.text("type", usize::MAX).unwrap_or_default();
    let text = match kind {
        "text" => parameter.text("text", usize::MAX).ok(),
        "currency" => {
            let money = parameter.child("currency").ok();
            money
                .filter(|it| {
                    let has_amount = it
                        .value("amount_1000")
                        .is_some_and(serde_json::Value::is_number);
                    // An amount without a code, or a code without an amount, is nothing.
                    it.has("code") == has_amount
                })
                .and_then(|it| it.text("fallback_value", usize::MAX).ok())
        }
        "date_time" => {
            let date = parameter.child("date_time").ok();
            date.and_then(|it| it.text("fallback_value", usize::MAX).ok())
        }
        _ => None,
    };
    text.map(str::to_owned)
        .ok_or_else(|| Refusal::new(132_012, "a body parameter has the wrong form or no text"))
}

fn read_component(component: &Object<'_>, kind: &str) -> Result<(), Refusal> {
    let parameters = component.list("parameters")?;
    match kind {
        "header" => {
            if parameters.len() > 1 {
                return Err(Refusal::new(132_000, "a header takes one parameter"));
            }
            parameters.iter().try_for_each(read_header)
        }
        "button" => {
            let sub_type = component.text("sub_type", usize::MAX)?.to_lowercase();
            let place = component.value("index");
            let place = place.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
            if place.is_none_or(|place| place > 9) {
                return Err(wrong("template.components[].index"));
            }
            parameters
                .iter()
                .try_for_each(|it| read_button(it, &sub_type))
        }
        "limited_time_offer" => parameters.iter().try_for_each(|parameter| {
            let offer = parameter.child("limited_time_offer")?;
            let ends = offer.value("expiration_time_ms");
            if ends.is_some_and(serde_json::Value::is_u64) {
                Ok(())
            } else {
                Err(wrong("limited_time_offer.expiration_time_ms"))
            }
        }),
        "tap_target_configuration" | "order_status" => Ok(()),
        _ => Err(wrong("template.components[].type")),
    }
}

fn read_header(parameter: &Object<'_>) -> Result<(), Refusal> {
    let kind = parameter.text("type", usize::MAX)?;
    match kind {
        "text" => parameter.text("text", usize::MAX).map(drop),
        "image" | "video" | "document" => read_media(&parameter.child(kind)?, kind),
        "location" => read_location(&parameter.child("location")?),
        "product" => {
            let product = parameter.child("product")?;
            product.text("product_retailer_id", usize::MAX)?;
            product.text("catalog_id", usize::MAX).map(drop)
        }
        _ => Err(Refusal::new(
            132_012,
            "a header parameter has the wrong form",
        )),
    }
}

fn read_button(parameter: &Object<'_>, sub_type: &str) -> Result<(), Refusal> {
    let kind = parameter.text("type", usize::MAX)?;
    let expected = match sub_type {
        "quick_reply" => "payload",
        "url" => "text",
        "copy_code" => "coupon_code",
        "flow" | "catalog" | "mpm" => "action",
        "voice_call" => "ttl_minutes",
        _ => return Ok(()),
    };
    if kind != expected {
        return Err(Refusal::new(
            132_012,
            "a button parameter has the wrong form",
        ));
    }
    match expected {
        "action" => {
            let action = parameter.child("action")?;
            if sub_type == "mpm" {
                action.text("thumbnail_product_retailer_id", usize::MAX)?;
                return interactive::products(&action);
            }
            Ok(())
        }
        "ttl_minutes" => match parameter
            .value("ttl_minutes")
            .map(serde_json::Value::as_u64)
        {
            Some(Some(1..=43_200)) => Ok(()),
            _ => Err(wrong("ttl_minutes")),
        },
        text => parameter.text(text, usize::MAX).map(drop),
    }
}

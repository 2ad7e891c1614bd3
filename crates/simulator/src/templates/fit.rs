//! Whether a send fits a template whose components are known (132000, 132012, 131008, 132018).
//!
//! Of a template that was given by its body alone, no more than the body is held against a send.

use serde_json::Value;

use crate::codes::Refusal;

/// Checks what a send fills in against what the template is made of.
pub(crate) fn check(components: &[Value], given: &[Value]) -> Result<(), Refusal> {
    let of = |kind: &str| {
        let mut all = components.iter();
        all.find(|it| word(it, "type") == kind)
    };
    check_header(of("HEADER"), given)?;
    if let Some(body) = of("BODY") {
        let names = placeholders(text(body, "text"));
        check_texts("body", &names, &parameters(given, "BODY", None))?;
    }
    check_buttons(of("BUTTONS"), given)?;
    let cards = |all: Option<&Value>| {
        let cards = all.and_then(|it| it.get("cards")).and_then(Value::as_array);
        cards.cloned().unwrap_or_default()
    };
    let defined = cards(of("CAROUSEL"));
    let filled = cards(given.iter().find(|it| word(it, "type") == "CAROUSEL"));
    if defined.len() != filled.len() {
        let told = format!(
            "carousel: {} cards, expected {}",
            filled.len(),
            defined.len()
        );
        return Err(Refusal::new(132_012, told));
    }
    for (defined, filled) in defined.iter().zip(&filled) {
        check(&list(defined, "components"), &list(filled, "components"))?;
    }
    Ok(())
}

fn check_header(header: Option<&Value>, given: &[Value]) -> Result<(), Refusal> {
    let filled = parameters(given, "HEADER", None);
    let Some(header) = header else {
        return if filled.is_empty() {
            Ok(())
        } else {
            Err(Refusal::new(132_000, "header: the template has none"))
        };
    };
    let format = word(header, "format");
    if format == "TEXT" {
        return check_texts("header", &placeholders(text(header, "text")), &filled);
    }
    let received = filled
        .first()
        .map_or("UNKNOWN".to_owned(), |it| word(it, "type"));
    if filled.len() == 1 && received == format {
        return Ok(());
    }
    let told = format!("header: format mismatch, expected {format}, received {received}");
    Err(Refusal::new(132_012, told))
}

fn check_texts(what: &str, names: &[String], given: &[Value]) -> Result<(), Refusal> {
    if names.len() != given.len() {
        let told = format!(
            "{what}: number of localizable_params ({}) does not match the expected number of \
             params ({})",
            given.len(),
            names.len()
        );
        return Err(Refusal::new(132_000, told));
    }
    let is_named = names.iter().any(|name| name.parse::<u32>().is_err());
    for parameter in given {
        let name = text(parameter, "parameter_name");
        if is_named && !names.iter().any(|known| known == name) {
            let told = format!("{what}: parameter name is missing or unknown");
            return Err(Refusal::new(132_000, told));
        }
    }
    Ok(())
}

fn check_buttons(buttons: Option<&Value>, given: &[Value]) -> Result<(), Refusal> {
    let defined = buttons.map(|it| list(it, "buttons")).unwrap_or_default();
    for component in given.iter().filter(|it| word(it, "type") == "BUTTON") {
        let index = place(component).unwrap_or(usize::MAX);
        let Some(button) = defined.get(index) else {
            return Err(Refusal::new(
                132_018,
                format!("there is no button at {index}"),
            ));
        };
        let takes = match word(button, "type").as_str() {
            "URL" => text(button, "url").contains("{{"),
            "PHONE_NUMBER" | "REQUEST_CONTACT_INFO" => false,
            _ => true,
        };
        if !takes {
            let told = format!("button at index {index} takes no parameter");
            return Err(Refusal::new(132_018, told));
        }
    }
    for (index, button) in defined.iter().enumerate() {
        let kind = word(button, "type");
        let needs = match kind.as_str() {
            "URL" => text(button, "url").contains("{{"),
            "OTP" | "COPY_CODE" | "MPM" => true,
            _ => false,
        };
        if needs && parameters(given, "BUTTON", Some(index)).is_empty() {
            let told = format!("button at index {index} of type {kind} requires a parameter");
            return Err(Refusal::new(131_008, told));
        }
    }
    Ok(())
}

/// Returns the distinct placeholders of a text, in order.
pub(super) fn placeholders(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            break;
        };
        let name = name.trim();
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
        rest = behind;
    }
    found
}

fn parameters(given: &[Value], kind: &str, index: Option<usize>) -> Vec<Value> {
    let is_meant =
        |it: &&Value| word(it, "type") == kind && (index.is_none() || place(it) == index);
    let found = given.iter().find(is_meant);
    found.map(|it| list(it, "parameters")).unwrap_or_default()
}

fn place(component: &Value) -> Option<usize> {
    match component.get("index")? {
        Value::String(text) => text.parse().ok(),
        other => usize::try_from(other.as_u64()?).ok(),
    }
}

fn list(of: &Value, key: &str) -> Vec<Value> {
    let found = of.get(key).and_then(Value::as_array);
    found.cloned().unwrap_or_default()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn word(of: &Value, key: &str) -> String {
    text(of, key).to_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_send_is_refused_for_the_component_that_does_not_fit() {
        let made_of = [
            json!({"type": "HEADER", "format": "IMAGE"}),
            json!({"type": "BODY", "text": "Hi {{1}}"}),
            json!({"type": "BUTTONS", "buttons": [
                {"type": "URL", "text": "Go", "url": "https://x.example/{{1}}"},
                {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+1"}]}),
        ];
        let header =
            json!({"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]});
        let body = json!({"type": "body", "parameters": [{"type": "text", "text": "x"}]});
        let button = |index: &str| {
            json!({"type": "button", "sub_type": "url", "index": index,
                   "parameters": [{"type": "text", "text": "x"}]})
        };
        let code = |given: &[Value]| check(&made_of, given).err().map(|it| it.code);
        let all = [header.clone(), body.clone(), button("0")];
        assert_eq!(code(&all), None);
        assert_eq!(code(&[body.clone(), button("0")]), Some(132_012));
        assert_eq!(code(&[header.clone(), button("0")]), Some(132_000));
        assert_eq!(code(&[header.clone(), body.clone()]), Some(131_008));
        let more = [header.clone(), body.clone(), button("0"), button("1")];
        assert_eq!(code(&more), Some(132_018));
    }
}

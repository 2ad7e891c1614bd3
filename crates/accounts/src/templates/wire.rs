//! What a template is made of, between the platform's JSON and the record (WhatsApp Cloud API:
//! template components).
//!
//! Reading never fails and loses nothing: what is not known here is kept as the platform wrote it.
//! Whether the platform would take what is written is [`super::form`]'s.

use casement_event::v1;
use serde_json::{Map, Value, json};
use v1::{TemplateButtonKind as Kind, TemplateHeaderFormat as Format, TemplateOtpKind as Otp};

/// How the address of a button begins that hands out a one-time code: the platform shows those of
/// authentication templates as buttons that open one.
const OTP_URL: &str = "https://www.whatsapp.com/otp/";

/// Reads what a template is made of.
pub(super) fn read(components: &[Value], parameter_format: &str) -> v1::TemplateDefinition {
    let mut read = v1::TemplateDefinition {
        parameter_format: match parameter_format {
            "POSITIONAL" => v1::TemplateParameterFormat::Positional,
            "NAMED" => v1::TemplateParameterFormat::Named,
            _ => v1::TemplateParameterFormat::Unspecified,
        }
        .into(),
        ..v1::TemplateDefinition::default()
    };
    for component in components {
        match word(component, "type").as_str() {
            "HEADER" => read.header = Some(header(component)),
            "BODY" => read.body = Some(body(component)),
            "FOOTER" => {
                read.footer = Some(v1::TemplateFooter {
                    text: text(component, "text"),
                    code_expiration_minutes: number(component, "code_expiration_minutes"),
                });
            }
            "BUTTONS" => read.buttons = items(component, "buttons").map(button).collect(),
            "CAROUSEL" => read.cards = items(component, "cards").map(card).collect(),
            "LIMITED_TIME_OFFER" => {
                let offer = component.get("limited_time_offer").unwrap_or(component);
                read.offer = Some(v1::TemplateOffer {
                    text: text(offer, "text"),
                    has_expiration: is_true(offer, "has_expiration"),
                });
            }
            "CALL_PERMISSION_REQUEST" => read.call_permission_request = true,
            _ => read.other_json.push(component.to_string()),
        }
    }
    read
}

fn header(of: &Value) -> v1::TemplateHeader {
    let word = word(of, "format");
    let format = match word.as_str() {
        "TEXT" => Format::Text,
        "IMAGE" => Format::Image,
        "VIDEO" => Format::Video,
        "DOCUMENT" => Format::Document,
        "LOCATION" => Format::Location,
        "PRODUCT" => Format::Product,
        _ => Format::Unspecified,
    };
    let example = &of["example"];
    let plain = items(example, "header_text").filter_map(unnamed);
    let handles = items(example, "header_handle").filter_map(Value::as_str);
    v1::TemplateHeader {
        format: format.into(),
        text: text(of, "text"),
        examples: plain
            .chain(items(example, "header_text_named_params").map(named))
            .collect(),
        example_handles: handles.map(str::to_owned).collect(),
        other_format: match format {
            Format::Unspecified => word,
            _ => String::new(),
        },
    }
}

fn body(of: &Value) -> v1::TemplateBody {
    let example = &of["example"];
    // A list of lists, of which the platform reads the first.
    let lists = items(example, "body_text").take(1);
    let plain = lists.filter_map(Value::as_array).flatten();
    v1::TemplateBody {
        text: text(of, "text"),
        examples: plain
            .filter_map(unnamed)
            .chain(items(example, "body_text_named_params").map(named))
            .collect(),
        add_security_recommendation: is_true(of, "add_security_recommendation"),
    }
}

fn unnamed(of: &Value) -> Option<v1::TemplateExample> {
    Some(v1::TemplateExample {
        name: String::new(),
        text: of.as_str()?.to_owned(),
    })
}

fn named(of: &Value) -> v1::TemplateExample {
    v1::TemplateExample {
        name: text(of, "param_name"),
        text: text(of, "example"),
    }
}

fn card(of: &Value) -> v1::TemplateCardDefinition {
    let components: Vec<Value> = items(of, "components").cloned().collect();
    let read = read(&components, "");
    v1::TemplateCardDefinition {
        header: read.header,
        body: read.body,
        buttons: read.buttons,
        other_json: read.other_json,
    }
}

fn button(of: &Value) -> v1::TemplateButton {
    let url = text(of, "url");
    let kind = match word(of, "type").as_str() {
        "URL" if url.starts_with(OTP_URL) => Kind::Otp,
        "QUICK_REPLY" => Kind::QuickReply,
        "URL" => Kind::Url,
        "PHONE_NUMBER" => Kind::PhoneNumber,
        "COPY_CODE" => Kind::CopyCode,
        "OTP" => Kind::Otp,
        "FLOW" => Kind::Flow,
        "CATALOG" => Kind::Catalog,
        "MPM" => Kind::Mpm,
        "SPM" => Kind::Spm,
        "VOICE_CALL" => Kind::VoiceCall,
        "REQUEST_CONTACT_INFO" => Kind::RequestContactInfo,
        _ => Kind::Unspecified,
    };
    let otp = match word(of, "otp_type") {
        word if word.is_empty() => otp_of(&url),
        word => word,
    };
    let apps = items(of, "supported_apps").map(|app| v1::template_button::App {
        package_name: text(app, "package_name"),
        signature_hash: text(app, "signature_hash"),
    });
    v1::TemplateButton {
        kind: kind.into(),
        text: text(of, "text"),
        example: match &of["example"] {
            Value::Array(all) => all.first().and_then(Value::as_str),
            other => other.as_str(),
        }
        .unwrap_or_default()
        .to_owned(),
        phone_number: text(of, "phone_number"),
        otp_kind: match otp.as_str() {
            "COPY_CODE" => Otp::CopyCode,
            "ONE_TAP" => Otp::OneTap,
            "ZERO_TAP" => Otp::ZeroTap,
            _ => Otp::Unspecified,
        }
        .into(),
        autofill_text: text(of, "autofill_text"),
        apps: apps.collect(),
        zero_tap_terms_accepted: is_true(of, "zero_tap_terms_accepted"),
        flow_id: text(of, "flow_id"),
        flow_action: word(of, "flow_action"),
        navigate_screen: text(of, "navigate_screen"),
        ttl_minutes: number(of, "ttl_minutes"),
        json: match kind {
            Kind::Unspecified => of.to_string(),
            _ => String::new(),
        },
        url,
    }
}

/// Returns which kind of code an address of the platform's stands for.
fn otp_of(url: &str) -> String {
    let query = url.strip_prefix(OTP_URL).unwrap_or_default();
    let found = query
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("otp_type="));
    found.unwrap_or_default().to_ascii_uppercase()
}

/// Returns the components as the platform takes them.
pub(super) fn write(of: &v1::TemplateDefinition) -> Vec<Value> {
    let mut all = Vec::new();
    all.extend(of.header.as_ref().map(write_header));
    all.extend(of.body.as_ref().map(write_body));
    if let Some(offer) = &of.offer {
        let mut told = json!({ "has_expiration": offer.has_expiration });
        put(&mut told, "text", &offer.text);
        all.push(json!({ "type": "LIMITED_TIME_OFFER", "limited_time_offer": told }));
    }
    if let Some(footer) = &of.footer {
        let mut told = json!({ "type": "FOOTER" });
        put(&mut told, "text", &footer.text);
        if footer.code_expiration_minutes > 0 {
            told["code_expiration_minutes"] = footer.code_expiration_minutes.into();
        }
        all.push(told);
    }
    all.extend(write_buttons(&of.buttons));
    if !of.cards.is_empty() {
        let cards: Vec<_> = of.cards.iter().map(write_card).collect();
        all.push(json!({ "type": "CAROUSEL", "cards": cards }));
    }
    if of.call_permission_request {
        all.push(json!({ "type": "CALL_PERMISSION_REQUEST" }));
    }
    all.extend(raw(&of.other_json));
    all
}

fn write_card(of: &v1::TemplateCardDefinition) -> Value {
    let mut all = Vec::new();
    all.extend(of.header.as_ref().map(write_header));
    all.extend(of.body.as_ref().map(write_body));
    all.extend(write_buttons(&of.buttons));
    all.extend(raw(&of.other_json));
    json!({ "components": all })
}

fn raw(json: &[String]) -> impl Iterator<Item = Value> {
    json.iter().filter_map(|it| serde_json::from_str(it).ok())
}

fn write_header(of: &v1::TemplateHeader) -> Value {
    let format = match of.format() {
        Format::Text => "TEXT",
        Format::Image => "IMAGE",
        Format::Video => "VIDEO",
        Format::Document => "DOCUMENT",
        Format::Location => "LOCATION",
        Format::Product => "PRODUCT",
        Format::Unspecified => of.other_format.as_str(),
    };
    let mut told = json!({ "type": "HEADER", "format": format });
    put(&mut told, "text", &of.text);
    put_examples(&mut told, "header_text", &of.examples, false);
    if !of.example_handles.is_empty() {
        told["example"] = json!({ "header_handle": of.example_handles });
    }
    told
}

fn write_body(of: &v1::TemplateBody) -> Value {
    let mut told = json!({ "type": "BODY" });
    put(&mut told, "text", &of.text);
    if of.add_security_recommendation {
        told["add_security_recommendation"] = true.into();
    }
    put_examples(&mut told, "body_text", &of.examples, true);
    told
}

fn put_examples(told: &mut Value, key: &str, of: &[v1::TemplateExample], is_nested: bool) {
    if of.is_empty() {
        return;
    }
    let is_named = of.iter().any(|example| !example.name.is_empty());
    told["example"] = if is_named {
        let all = of
            .iter()
            .map(|it| json!({ "param_name": it.name, "example": it.text }));
        json!({ format!("{key}_named_params"): all.collect::<Vec<_>>() })
    } else {
        let all: Vec<_> = of.iter().map(|it| it.text.as_str()).collect();
        let all = if is_nested { json!([all]) } else { json!(all) };
        json!({ key: all })
    };
}

fn write_buttons(of: &[v1::TemplateButton]) -> Option<Value> {
    let all: Vec<_> = of.iter().map(write_button).collect();
    (!all.is_empty()).then(|| json!({ "type": "BUTTONS", "buttons": all }))
}

fn write_button(of: &v1::TemplateButton) -> Value {
    let word = match of.kind() {
        Kind::QuickReply => "QUICK_REPLY",
        Kind::Url => "URL",
        Kind::PhoneNumber => "PHONE_NUMBER",
        Kind::CopyCode => "COPY_CODE",
        Kind::Otp => "OTP",
        Kind::Flow => "FLOW",
        Kind::Catalog => "CATALOG",
        Kind::Mpm => "MPM",
        Kind::Spm => "SPM",
        Kind::VoiceCall => "VOICE_CALL",
        Kind::RequestContactInfo => "REQUEST_CONTACT_INFO",
        Kind::Unspecified => return serde_json::from_str(&of.json).unwrap_or_default(),
    };
    let mut told = json!({ "type": word });
    for (key, text) in [
        ("text", &of.text),
        ("phone_number", &of.phone_number),
        ("autofill_text", &of.autofill_text),
        ("flow_id", &of.flow_id),
        ("flow_action", &of.flow_action),
        ("navigate_screen", &of.navigate_screen),
    ] {
        put(&mut told, key, text);
    }
    // The address of a code's button is the platform's own.
    if of.kind() != Kind::Otp {
        put(&mut told, "url", &of.url);
    }
    match of.kind() {
        Kind::Url if !of.example.is_empty() => told["example"] = json!([of.example]),
        Kind::CopyCode => put(&mut told, "example", &of.example),
        _ => {}
    }
    let otp = match of.otp_kind() {
        Otp::CopyCode => "COPY_CODE",
        Otp::OneTap => "ONE_TAP",
        Otp::ZeroTap => "ZERO_TAP",
        Otp::Unspecified => "",
    };
    put(&mut told, "otp_type", otp);
    if !of.apps.is_empty() {
        let apps = of.apps.iter().map(
            |app| json!({ "package_name": app.package_name, "signature_hash": app.signature_hash }),
        );
        told["supported_apps"] = apps.collect();
    }
    if of.zero_tap_terms_accepted {
        told["zero_tap_terms_accepted"] = true.into();
    }
    if of.ttl_minutes > 0 {
        told["ttl_minutes"] = of.ttl_minutes.into();
    }
    told
}

fn put(told: &mut Value, key: &str, text: &str) {
    if !text.is_empty() {
        told[key] = text.into();
    }
}

fn items<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(of: &Value, key: &str) -> String {
    match of.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn word(of: &Value, key: &str) -> String {
    text(of, key).to_ascii_uppercase()
}

fn number(of: &Value, key: &str) -> u32 {
    text(of, key).parse().unwrap_or_default()
}

fn is_true(of: &Value, key: &str) -> bool {
    of.as_object()
        .is_some_and(|it: &Map<String, Value>| it.get(key) == Some(&Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_platform_wrote_is_written_as_it_was() {
        let all = json!([
            {"type": "HEADER", "format": "TEXT", "text": "Hi {{1}}", "example": {"header_text": ["Ann"]}},
            {"type": "BODY", "text": "Order {{1}} for {{2}}", "example": {"body_text": [["7", "Ann"]]}},
            {"type": "FOOTER", "text": "Bye"},
            {"type": "BUTTONS", "buttons": [
                {"type": "QUICK_REPLY", "text": "Yes"},
                {"type": "URL", "text": "Track", "url": "https://x.example/{{1}}", "example": ["https://x.example/7"]},
                {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+15550001111"},
                {"type": "COPY_CODE", "example": "SAVE"},
                {"type": "FLOW", "text": "Go", "flow_id": "9", "flow_action": "NAVIGATE", "navigate_screen": "S"},
                {"type": "NEWER_THAN_US", "text": "?", "deep": {"er": 1}},
            ]},
            {"type": "NEWER_COMPONENT", "anything": [1, 2]},
        ]);
        let read = read(all.as_array().unwrap(), "POSITIONAL");
        assert_eq!(Value::Array(write(&read)), all);
        assert_eq!(read.other_json.len(), 1);
        assert_eq!(read.buttons[5].kind(), Kind::Unspecified);
        assert!(!read.buttons[5].json.is_empty());
    }

    #[test]
    fn a_carousel_an_offer_and_named_parameters_are_written_as_they_were() {
        let all = json!([
            {"type": "BODY", "text": "Dear {{name}}", "example": {"body_text_named_params": [{"param_name": "name", "example": "Ann"}]}},
            {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Now", "has_expiration": true}},
            {"type": "CAROUSEL", "cards": [{"components": [
                {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::x"]}},
                {"type": "BODY", "text": "Shoe"},
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Buy"}]},
            ]}]},
        ]);
        let read = read(all.as_array().unwrap(), "NAMED");
        assert_eq!(Value::Array(write(&read)), all);
        assert_eq!(read.cards.len(), 1);
    }

    #[test]
    fn a_code_is_known_by_its_button_as_it_was_made_and_as_it_is_shown() {
        let made = json!({"type": "OTP", "otp_type": "ONE_TAP", "text": "Copy", "supported_apps": [
            {"package_name": "com.example", "signature_hash": "K8a"}]});
        let shown = json!({"type": "URL", "text": "Copy code",
            "url": "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp{{1}}"});
        let (made_read, shown) = (button(&made), button(&shown));
        assert_eq!(
            (made_read.kind(), made_read.otp_kind()),
            (Kind::Otp, Otp::OneTap)
        );
        assert_eq!(write_button(&made_read), made);
        assert_eq!((shown.kind(), shown.otp_kind()), (Kind::Otp, Otp::CopyCode));
    }

    #[test]
    fn nonsense_is_kept_and_harms_nobody() {
        for nonsense in [
            json!(1),
            json!("x"),
            json!(null),
            json!({"type": 7}),
            json!([]),
        ] {
            let read = read(std::slice::from_ref(&nonsense), "");
            assert_eq!(read.other_json, [nonsense.to_string()]);
        }
        let odd = json!({"type": "BUTTONS", "buttons": [1, {"type": "URL"}]});
        assert_eq!(read(&[odd], "").buttons.len(), 2);
    }
}

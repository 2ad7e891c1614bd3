//! From what the caller wrote to what a provider is told, and to what routing needs to know.

use casement_domain::inbound::Addresses;
use casement_domain::routing::{KnownTemplate, SmsSize, Template, TemplateCategory};
use casement_event::v1;
use casement_sms::Encoding;
use casement_sms::twilio::BODY_CHARS_MAX;
use casement_whatsapp::send::{OutgoingContent, Recipient};
use serde_json::{Value, json};

/// Returns the text that would go as SMS: the caller's own, or else the free-form text if it
/// fits.
pub(crate) fn sms_text(content: &v1::Content) -> Option<&str> {
    let own = content.sms.as_ref().map(|sms| sms.text.as_str());
    let free_form = content
        .free_form
        .as_ref()
        .map(|free_form| free_form.text.as_str());
    let fits = |text: &&str| text.chars().count() <= BODY_CHARS_MAX;
    own.filter(|text| !text.is_empty())
        .or(free_form)
        .filter(|text| !text.trim().is_empty())
        .filter(fits)
}

/// Returns from whom an SMS goes: the sender that the caller names, or else the number's own.
/// `None` if there is no account to send it by, or no sender.
pub(crate) fn sms_sender<'a>(content: &'a v1::Content, account: &'a v1::Number) -> Option<&'a str> {
    let own = account
        .sms
        .as_ref()
        .filter(|own| !own.account_sid.is_empty())?;
    let named = content.sms.as_ref().map(|sms| sms.sender.as_str());
    let sender = named.filter(|sender| !sender.is_empty());
    Some(sender.unwrap_or(&own.sender)).filter(|sender| !sender.is_empty())
}

/// Returns how large a text is as SMS.
pub(crate) fn sms_size(text: &str) -> SmsSize {
    let measured = casement_sms::segment(text);
    let encoding = match measured.encoding {
        Encoding::Gsm7 => "GSM-7",
        Encoding::Ucs2 => "UCS-2",
    };
    SmsSize {
        encoding,
        segments: u32::try_from(measured.segments).unwrap_or(u32::MAX),
    }
}

/// Returns a template as routing sees it.
pub(crate) fn template(asked: &v1::TemplateContent, known: Option<v1::Template>) -> Template {
    let given_parameters = asked
        .components
        .iter()
        .filter(|component| component.r#type.eq_ignore_ascii_case("body"))
        .map(|component| component.parameters.len())
        .sum();
    let known = known.map(|known| KnownTemplate {
        category: match known.category() {
            v1::TemplateCategory::Utility => Some(TemplateCategory::Utility),
            v1::TemplateCategory::Authentication => Some(TemplateCategory::Authentication),
            v1::TemplateCategory::Marketing => Some(TemplateCategory::Marketing),
            v1::TemplateCategory::Unspecified => None,
        },
        is_usable: known.status() == v1::TemplateStatus::Approved,
        status: known
            .status()
            .as_str_name()
            .trim_start_matches("TEMPLATE_STATUS_")
            .to_owned(),
        parameters: usize::try_from(known.body_parameter_count).unwrap_or(usize::MAX),
    });
    Template {
        name: format!("{} ({})", asked.name, asked.language),
        given_parameters,
        known,
    }
}

/// Returns whom Meta is told to send to: the phone if there is one, else the user id.
pub(crate) fn recipient(addresses: &Addresses) -> Option<Recipient> {
    let phone = addresses
        .phone
        .as_ref()
        .map(|phone| Recipient::Phone(phone.e164()));
    phone.or_else(|| addresses.user_id.clone().map(Recipient::UserId))
}

/// Returns free-form content as Meta is told.
pub(crate) fn free_form(content: &v1::FreeForm) -> OutgoingContent {
    OutgoingContent::Text {
        body: content.text.clone(),
        preview_url: content.preview_url,
    }
}

/// Returns a template as Meta is told.
pub(crate) fn outgoing_template(content: &v1::TemplateContent) -> OutgoingContent {
    let components: Vec<Value> = content.components.iter().map(component).collect();
    let components = if components.is_empty() {
        Value::Null
    } else {
        Value::Array(components)
    };
    OutgoingContent::Template {
        name: content.name.clone(),
        language: content.language.clone(),
        components,
    }
}

fn component(of: &v1::TemplateComponent) -> Value {
    let mut component = json!({
        "type": of.r#type.to_lowercase(),
        "parameters": of.parameters.iter().map(parameter).collect::<Vec<_>>(),
    });
    if !of.sub_type.is_empty() {
        component["sub_type"] = json!(of.sub_type);
    }
    if !of.index.is_empty() {
        component["index"] = json!(of.index);
    }
    component
}

fn parameter(of: &v1::TemplateParameter) -> Value {
    use v1::template_parameter::Value as Given;
    let mut parameter = match &of.value {
        Some(Given::Text(text)) => json!({ "type": "text", "text": text }),
        Some(Given::Payload(payload)) => json!({ "type": "payload", "payload": payload }),
        // Checked to be an object when the message was accepted.
        Some(Given::Json(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        None => json!({ "type": "text", "text": "" }),
    };
    if !of.name.is_empty() && parameter.is_object() {
        parameter["parameter_name"] = json!(of.name);
    }
    parameter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_parameter(name: &str, text: &str) -> v1::TemplateParameter {
        let value = Some(v1::template_parameter::Value::Text(text.to_owned()));
        v1::TemplateParameter {
            name: name.to_owned(),
            value,
        }
    }

    #[test]
    fn a_template_is_told_in_metas_shape() {
        let content = v1::TemplateContent {
            name: "order_update".to_owned(),
            language: "en_US".to_owned(),
            components: vec![
                v1::TemplateComponent {
                    r#type: "body".to_owned(),
                    parameters: vec![text_parameter("", "7"), text_parameter("day", "Monday")],
                    ..Default::default()
                },
                v1::TemplateComponent {
                    r#type: "button".to_owned(),
                    sub_type: "quick_reply".to_owned(),
                    index: "0".to_owned(),
                    parameters: vec![v1::TemplateParameter {
                        value: Some(v1::template_parameter::Value::Payload("yes".to_owned())),
                        ..Default::default()
                    }],
                },
            ],
        };
        let OutgoingContent::Template { components, .. } = outgoing_template(&content) else {
            panic!("not a template")
        };
        assert_eq!(
            components,
            json!([
                { "type": "body", "parameters": [
                    { "type": "text", "text": "7" },
                    { "type": "text", "text": "Monday", "parameter_name": "day" },
                ]},
                { "type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [
                    { "type": "payload", "payload": "yes" },
                ]},
            ])
        );
        assert_eq!(template(&content, None).given_parameters, 2);
    }

    #[test]
    fn free_form_text_stands_in_for_an_sms_that_was_not_written() {
        let free_form = Some(v1::FreeForm {
            text: "Hi".to_owned(),
            preview_url: false,
        });
        let mut content = v1::Content {
            free_form,
            ..Default::default()
        };
        assert_eq!(sms_text(&content), Some("Hi"));
        content.sms = Some(v1::SmsContent {
            text: "Hi by SMS".to_owned(),
            ..Default::default()
        });
        assert_eq!(sms_text(&content), Some("Hi by SMS"));
        let long = v1::Content {
            free_form: Some(v1::FreeForm {
                text: "x".repeat(BODY_CHARS_MAX + 1),
                preview_url: false,
            }),
            ..Default::default()
        };
        assert_eq!(sms_text(&long), None);
    }
}

//! Requests to ask of a dispatcher.

use casement_event::v1;
use casement_proto::message::v1::SendMessageRequest;
use casement_proto::message::v1::send_message_request::Customer;

use super::NUMBER;

/// A free-form text for a phone, or for a user id.
pub(crate) fn text(to: &str, text: &str) -> SendMessageRequest {
    let customer = if to.starts_with('+') {
        Customer::To(to.to_owned())
    } else {
        Customer::Recipient(to.to_owned())
    };
    SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(customer),
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                text: text.to_owned(),
                ..v1::FreeForm::default()
            }),
            ..v1::Content::default()
        }),
        purpose: v1::Purpose::Service.into(),
        ..SendMessageRequest::default()
    }
}

/// The same message, with a template for when the window is closed.
pub(crate) fn in_template(mut request: SendMessageRequest, name: &str) -> SendMessageRequest {
    let content = request.content.get_or_insert_default();
    content.template = Some(v1::TemplateContent {
        name: name.to_owned(),
        language: "en".to_owned(),
        components: vec![v1::TemplateComponent {
            r#type: "body".to_owned(),
            parameters: vec![v1::TemplateParameter {
                name: String::new(),
                value: Some(v1::template_parameter::Value::Text("7".to_owned())),
            }],
            ..v1::TemplateComponent::default()
        }],
        ..v1::TemplateContent::default()
    });
    request
}

/// A text that goes as SMS and no other way.
pub(crate) fn sms(to: &str, body: &str) -> SendMessageRequest {
    SendMessageRequest {
        content: Some(v1::Content {
            sms: Some(v1::SmsContent {
                text: body.to_owned(),
                sender: String::new(),
            }),
            ..v1::Content::default()
        }),
        ..text(to, "")
    }
}

/// The digits of a phone.
pub(crate) fn digits(phone: &str) -> &str {
    phone.trim_start_matches('+')
}

//! Reads the body of a Graph `/messages` call as the platform does: strictly.
//!
//! It says whether the body is well-formed, not whether the message may go out.

use serde_json::Value;

use crate::codes::Refusal;

/// Longest text (Meta: text messages).
const TEXT_CHARS_MAX: usize = 4096;

/// What a well-formed call asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum GraphCall {
    /// Send a message.
    Message(MessageCall),
    /// Mark an inbound message, and those before it, as read.
    MarkRead,
}

/// A message to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MessageCall {
    pub(crate) recipient: Recipient,
    pub(crate) content: Content,
}

/// Who it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Recipient {
    /// `to`, which wins when both are given.
    Phone {
        /// As given.
        input: String,
        /// Its digits.
        digits: String,
    },
    /// `recipient`: a business-scoped user id.
    UserId(String),
}

/// What it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Free-form text.
    Text(String),
    /// A template.
    Template(TemplateCall),
    /// Any other free-form type.
    Other(String),
}

/// A template and what is to be filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TemplateCall {
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) body_parameters: Vec<String>,
}

/// Reads a call.
pub(crate) fn read(body: &Value) -> Result<GraphCall, Refusal> {
    if !body.is_object() {
        return Err(Refusal::new(100, "the body is not a JSON object"));
    }
    if body["messaging_product"] != "whatsapp" {
        return Err(Refusal::new(
            100,
            "the parameter messaging_product is required and must be 'whatsapp'",
        ));
    }
    if let Some(status) = body.get("status") {
        return read_mark(status, body);
    }
    match body.get("recipient_type").map(Value::as_str) {
        None | Some(Some("individual")) => {}
        Some(Some("group")) => {
            return Err(Refusal::new(
                131_051,
                "the number is in no group the simulator knows",
            ));
        }
        Some(_) => return Err(Refusal::new(131_009, "recipient_type is not valid")),
    }
    let recipient = read_recipient(body)?;
    if let Some(data) = body.get("biz_opaque_callback_data")
        && !data.is_string()
    {
        return Err(Refusal::new(
            100,
            "biz_opaque_callback_data must be a string",
        ));
    }
    if let Some(context) = body.get("context") {
        required(context, "message_id", "context.message_id")?;
    }
    // Without a type the platform takes the message for a text.
    let kind = match body.get("type") {
        None => "text",
        Some(kind) => kind
            .as_str()
            .ok_or_else(|| Refusal::new(100, "type must be a string"))?,
    };
    let Some(object) = body.get(kind) else {
        return Err(Refusal::new(
            131_008,
            format!("the parameter {kind} is required"),
        ));
    };
    let content = match kind {
        "text" => Content::Text(read_text(object)?),
        "template" => Content::Template(read_template(object)?),
        "contacts" if object.is_array() => Content::Other(kind.to_owned()),
        "image" | "video" | "audio" | "document" | "sticker" => {
            if object.get("id").is_none() && object.get("link").is_none() {
                return Err(Refusal::new(
                    131_008,
                    format!("{kind}.id or {kind}.link is required"),
                ));
            }
            Content::Other(kind.to_owned())
        }
        "reaction" => {
            required(object, "message_id", "reaction.message_id")?;
            Content::Other(kind.to_owned())
        }
        "interactive" => {
            required(object, "type", "interactive.type")?;
            Content::Other(kind.to_owned())
        }
        "location" if object.is_object() => Content::Other(kind.to_owned()),
        _ => {
            return Err(Refusal::new(
                100,
                format!("{kind} is not a message type, or its value has the wrong form"),
            ));
        }
    };
    Ok(GraphCall::Message(MessageCall { recipient, content }))
}

fn read_mark(status: &Value, body: &Value) -> Result<GraphCall, Refusal> {
    if status != "read" {
        return Err(Refusal::new(131_009, "status must be 'read'"));
    }
    let message_id = required(body, "message_id", "message_id")?;
    if !message_id.starts_with("wamid.") {
        return Err(Refusal::new(131_009, "message_id is not a message's id"));
    }
    Ok(GraphCall::MarkRead)
}

fn read_recipient(body: &Value) -> Result<Recipient, Refusal> {
    if let Some(to) = body.get("to") {
        let input = to
            .as_str()
            .ok_or_else(|| Refusal::new(100, "to must be a string"))?;
        let digits = crate::rules::digits(input);
        let is_phone = (5..=15).contains(&digits.len())
            && input
                .chars()
                .all(|char| char.is_ascii_digit() || "+ -().".contains(char));
        return if is_phone {
            Ok(Recipient::Phone {
                input: input.to_owned(),
                digits,
            })
        } else {
            Err(Refusal::new(131_009, "to is not a phone number"))
        };
    }
    match body.get("recipient").map(Value::as_str) {
        None => Err(Refusal::new(
            131_008,
            "the parameter to or recipient is required",
        )),
        Some(Some(user_id)) if is_user_id(user_id) => Ok(Recipient::UserId(user_id.to_owned())),
        Some(_) => Err(Refusal::new(
            131_009,
            "recipient is not a business-scoped user id",
        )),
    }
}

/// Returns true for a country, a dot, perhaps `ENT.`, and up to 128 letters and digits.
pub(crate) fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let id = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn read_text(object: &Value) -> Result<String, Refusal> {
    let body = required(object, "body", "text.body")?;
    if body.chars().count() > TEXT_CHARS_MAX {
        return Err(Refusal::new(
            100,
            "param text['body'] must be at most 4096 characters long",
        ));
    }
    Ok(body.to_owned())
}

fn read_template(object: &Value) -> Result<TemplateCall, Refusal> {
    let name = required(object, "name", "template.name")?;
    let language = required(&object["language"], "code", "template.language.code")?;
    let mut body_parameters = Vec::new();
    let components = match object.get("components") {
        None => &[],
        Some(components) => components
            .as_array()
            .ok_or_else(|| Refusal::new(100, "template.components must be an array"))?
            .as_slice(),
    };
    for component in components {
        let kind = required(component, "type", "template.components[].type")?;
        if !kind.eq_ignore_ascii_case("body") {
            continue;
        }
        let parameters = component["parameters"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for parameter in parameters {
            body_parameters.push(read_parameter(parameter)?);
        }
    }
    Ok(TemplateCall {
        name: name.to_owned(),
        language: language.to_owned(),
        body_parameters,
    })
}

fn read_parameter(parameter: &Value) -> Result<String, Refusal> {
    let text = match parameter["type"].as_str() {
        Some("text") => parameter["text"].as_str(),
        Some(kind @ ("currency" | "date_time")) => parameter[kind]["fallback_value"].as_str(),
        _ => None,
    };
    match text {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Refusal::new(
            132_012,
            "a body parameter has the wrong form or no text",
        )),
    }
}

fn required<'a>(object: &'a Value, key: &str, name: &str) -> Result<&'a str, Refusal> {
    match object.get(key) {
        None => Err(Refusal::new(
            131_008,
            format!("the parameter {name} is required"),
        )),
        Some(value) => match value.as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Refusal::new(131_009, format!("{name} is not valid"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        assert_eq!(read(&mark), Ok(GraphCall::MarkRead));
        let mut wrong = mark;
        wrong["message_id"] = json!("x");
        assert_eq!(read(&wrong).unwrap_err().code, 131_009);
    }
}

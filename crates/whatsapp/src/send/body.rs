//! The JSON body of an outgoing message, with the platform's limits checked before the call.
//! Does not check whether a template exists or its parameters fit.

use serde_json::{Value, json};

/// WhatsApp Cloud API: longest `text.body`, in characters.
pub const TEXT_CHARS_MAX: usize = 4096;
/// WhatsApp Cloud API: longest `biz_opaque_callback_data`, in characters.
pub const CALLBACK_DATA_CHARS_MAX: usize = 512;
/// WhatsApp Cloud API: longest template name, in characters.
pub const TEMPLATE_NAME_CHARS_MAX: usize = 512;
/// E.164: fewest and most digits we take for a phone.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;
/// Two letters, a dot, `ENT.` for parents, and at most 128 characters.
const USER_ID_CHARS_MAX: usize = 2 + 1 + 4 + 128;

/// A message to be posted to `/{phone_number_id}/messages`.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMessage {
    /// To whom.
    pub to: Recipient,
    /// What.
    pub content: OutgoingContent,
    /// The message this one answers (`context.message_id`).
    pub context_wamid: Option<String>,
    /// `biz_opaque_callback_data`: echoed in every status, so that an attempt whose answer was
    /// lost can be found again. Required for that reason.
    pub callback_data: String,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// E.164 with `+`. Without it Meta would put the business number's country code in front.
    Phone(String),
    /// A business-scoped user id (or a parent one), such as `US.1349…`.
    UserId(String),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum OutgoingContent {
    /// Free-form text; needs an open window.
    Text {
        /// At most [`TEXT_CHARS_MAX`] characters.
        body: String,
        /// Whether a link in it is shown with a preview.
        preview_url: bool,
    },
    /// An approved template.
    Template {
        /// Its name.
        name: String,
        /// Its language code, exactly as approved (`en_US`).
        language: String,
        /// Meta's `components` array, or `Null` for none.
        components: Value,
    },
}

/// A field of an outgoing message breaks a limit of the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BodyError {
    /// The field, as named in the body, such as `text.body`.
    pub field: &'static str,
    /// What is wrong, without content.
    pub reason: String,
}

impl OutgoingMessage {
    /// Returns the body to post, or the first field that breaks a limit.
    pub fn to_json(&self) -> Result<Value, BodyError> {
        let mut body = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
        });
        match &self.to {
            Recipient::Phone(phone) => {
                check_phone(phone)?;
                body["to"] = json!(phone);
            }
            Recipient::UserId(user_id) => {
                check_user_id(user_id)?;
                body["recipient"] = json!(user_id);
            }
        }
        match &self.content {
            OutgoingContent::Text {
                body: text,
                preview_url,
            } => {
                check_chars("text.body", text, TEXT_CHARS_MAX)?;
                body["type"] = json!("text");
                body["text"] = json!({ "body": text, "preview_url": preview_url });
            }
            OutgoingContent::Template {
                name,
                language,
                components,
            } => {
                check_chars("template.name", name, TEMPLATE_NAME_CHARS_MAX)?;
                check_chars("template.language.code", language, 16)?;
                let mut template = json!({ "name": name, "language": { "code": language } });
                match components {
                    Value::Null => {}
                    Value::Array(list) if list.is_empty() => {}
                    Value::Array(_) => template["components"] = components.clone(),
                    _ => return Err(error("template.components", "must be an array")),
                }
                body["type"] = json!("template");
                body["template"] = template;
            }
        }
        if let Some(wamid) = &self.context_wamid {
            if wamid.is_empty() {
                return Err(error("context.message_id", "must not be empty"));
            }
            body["context"] = json!({ "message_id": wamid });
        }
        check_chars(
            "biz_opaque_callback_data",
            &self.callback_data,
            CALLBACK_DATA_CHARS_MAX,
        )?;
        body["biz_opaque_callback_data"] = json!(self.callback_data);
        Ok(body)
    }
}

fn error(field: &'static str, reason: impl Into<String>) -> BodyError {
    BodyError {
        field,
        reason: reason.into(),
    }
}

fn check_chars(field: &'static str, text: &str, max: usize) -> Result<(), BodyError> {
    if text.trim().is_empty() {
        return Err(error(field, "must not be empty"));
    }
    let count = text.chars().count();
    if count > max {
        return Err(error(
            field,
            format!("has {count} characters, at most {max} are allowed"),
        ));
    }
    Ok(())
}

fn check_phone(phone: &str) -> Result<(), BodyError> {
    let digits = phone
        .strip_prefix('+')
        .ok_or_else(|| error("to", "must begin with `+`"))?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !PHONE_DIGITS.contains(&digits.len()) {
        return Err(error("to", "must be `+` and 5 to 15 digits"));
    }
    Ok(())
}

fn check_user_id(user_id: &str) -> Result<(), BodyError> {
    let shaped = user_id.split_once('.').is_some_and(|(country, rest)| {
        country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    });
    if !shaped || user_id.len() > USER_ID_CHARS_MAX {
        return Err(error("recipient", "must be a business-scoped user id"));
    }
    Ok(())
}

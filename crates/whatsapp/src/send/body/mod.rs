//! The JSON body of an outgoing message, with the platform's rules checked before the call.
//!
//! Each kind of content is a type, which knows its problems and its JSON; `limits` holds the
//! numbers. The rules are the platform's wire format and nothing else, which is why they stand
//! here and not in the domain. Whether a template exists, whether the window is open, and whether
//! a link leads anywhere is not looked at.

mod actions;
mod commerce;
mod contacts;
mod interactive;
pub mod limits;
mod media;
mod raw;
mod template;

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod template_tests;

use serde_json::{Value, json};

pub use actions::{
    Action, Address, CallButton, CtaUrl, Flow, FlowRef, ListMenu, ListSection, ReplyButton, Row,
    SavedAddress,
};
pub use commerce::{Catalog, Product, ProductList, ProductSection};
pub use contacts::{Card, CardAddress, Labelled};
pub use interactive::{Header, Interactive};
pub use media::{Attachment, MediaKind, Source};
pub use template::{Component, Parameter, ParameterValue, Template};

use self::limits::{CALLBACK_DATA_CHARS_MAX, EMOJI_CHARS_MAX, TEXT_CHARS_MAX};
use super::problem::{Check, Problem};

/// What every id of a message at the platform begins with.
pub const WAMID_PREFIX: &str = "wamid.";
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
    /// `messaging_account_id`, for a number of several messaging accounts.
    pub messaging_account_id: Option<String>,
}

/// Whom a message is for. Of a customer who is known by both, both are told; the platform goes by
/// the phone (Meta: business-scoped user ids).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipient {
    /// E.164 with `+`. Without it Meta would put the business number's country code in front.
    pub phone: Option<String>,
    /// A business-scoped user id (or a parent one), such as `US.1349…`.
    pub user_id: Option<String>,
}

impl Recipient {
    /// Returns who is known by a phone only.
    pub fn phone(phone: impl Into<String>) -> Self {
        let phone = Some(phone.into());
        Self {
            phone,
            user_id: None,
        }
    }

    /// Returns who is known by a user id only.
    pub fn user_id(user_id: impl Into<String>) -> Self {
        let user_id = Some(user_id.into());
        Self {
            phone: None,
            user_id,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum OutgoingContent {
    /// Text.
    Text {
        /// What it says.
        body: String,
        /// Whether a link in it is shown with a preview.
        preview_url: bool,
    },
    /// A file.
    Media(MediaKind, Attachment),
    /// A place.
    Location(Location),
    /// Cards out of an address book.
    Contacts(Vec<Card>),
    /// An emoji on another message.
    Reaction {
        /// The other message's id (`wamid.…`).
        message_id: String,
        /// Empty takes the reaction back.
        emoji: String,
    },
    /// A message that can be tapped.
    Interactive(Box<Interactive>),
    /// What is newer than this: a JSON object with `type` and what it names.
    Raw(String),
    /// An approved template.
    Template(Template),
}

/// A place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Location {
    /// Degrees; has to be there.
    pub latitude: Option<f64>,
    /// Degrees; has to be there.
    pub longitude: Option<f64>,
    /// What it is called; may be empty.
    pub name: String,
    /// Where it is; may be empty.
    pub address: String,
}

impl OutgoingMessage {
    /// Returns the body to post, or everything that breaks a rule. Fields of the content are
    /// named as in [`OutgoingContent::problems`], the others as in the body.
    pub fn to_json(&self) -> Result<Value, Vec<Problem>> {
        let mut problems = Vec::new();
        self.check_envelope(&mut Check::new(&mut problems));
        problems.extend(self.content.problems());
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut body = self.content.json();
        body["messaging_product"] = json!("whatsapp");
        body["recipient_type"] = json!("individual");
        let texts = [
            ("to", &self.to.phone),
            ("recipient", &self.to.user_id),
            ("messaging_account_id", &self.messaging_account_id),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                body[key] = json!(text);
            }
        }
        if let Some(wamid) = &self.context_wamid {
            body["context"] = json!({ "message_id": wamid });
        }
        body["biz_opaque_callback_data"] = json!(self.callback_data);
        Ok(body)
    }

    fn check_envelope(&self, check: &mut Check<'_>) {
        match (&self.to.phone, &self.to.user_id) {
            (None, None) => check.problem("to", "has neither a phone nor a user id"),
            (phone, user_id) => {
                if phone.as_ref().is_some_and(|phone| !is_phone(phone)) {
                    check.problem("to", "must be `+` and 5 to 15 digits");
                }
                if user_id.as_ref().is_some_and(|id| !is_user_id(id)) {
                    check.problem("recipient", "must be a business-scoped user id");
                }
            }
        }
        if let Some(wamid) = &self.context_wamid {
            check.filled("context.message_id", wamid);
        }
        if let Some(id) = &self.messaging_account_id {
            check.filled("messaging_account_id", id);
        }
        let data = &self.callback_data;
        check.text("biz_opaque_callback_data", data, CALLBACK_DATA_CHARS_MAX);
    }
}

impl OutgoingContent {
    /// Returns everything that breaks a rule of the platform; nothing for content that may go.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = Check::new(&mut problems);
        match self {
            Self::Text { body, .. } => check.text("text", body, TEXT_CHARS_MAX),
            Self::Media(kind, file) => file.check(*kind, &mut check.within(kind.as_str())),
            Self::Location(location) => location.check(&mut check.within("location")),
            Self::Contacts(cards) => contacts::check(cards, &mut check.within("contacts")),
            Self::Reaction { message_id, emoji } => {
                check_reaction(message_id, emoji, &mut check.within("reaction"));
            }
            Self::Interactive(interactive) => interactive.check(&mut check.within("interactive")),
            Self::Raw(text) => raw::check(text, &mut check),
            Self::Template(template) => template.check(&mut check),
        }
        problems
    }

    /// What the body says of it. Only of content without problems.
    fn json(&self) -> Value {
        match self {
            Self::Text { body, preview_url } => {
                typed("text", json!({ "body": body, "preview_url": preview_url }))
            }
            Self::Media(kind, file) => typed(kind.as_str(), file.json()),
            Self::Location(location) => typed("location", location.json()),
            Self::Contacts(cards) => typed("contacts", contacts::json(cards)),
            Self::Reaction { message_id, emoji } => typed(
                "reaction",
                json!({ "message_id": message_id, "emoji": emoji }),
            ),
            Self::Interactive(interactive) => typed("interactive", interactive.json()),
            Self::Raw(text) => raw::json(text),
            Self::Template(template) => typed("template", template.json()),
        }
    }
}

fn typed(kind: &str, object: Value) -> Value {
    let mut body = json!({ "type": kind });
    body[kind] = object;
    body
}

/// Puts texts that are there into an object.
fn put_texts(object: &mut Value, texts: &[(&str, &String)]) {
    for (key, text) in texts {
        if !text.is_empty() {
            object[*key] = json!(text);
        }
    }
}

fn check_reaction(message_id: &str, emoji: &str, check: &mut Check<'_>) {
    if !message_id.starts_with(WAMID_PREFIX) || message_id.len() == WAMID_PREFIX.len() {
        check.problem("message_id", "must be the platform's id of a message");
    }
    let is_emoji = emoji.chars().count() <= EMOJI_CHARS_MAX
        && !emoji
            .chars()
            .any(|char| char.is_alphabetic() || char.is_whitespace());
    if !is_emoji {
        check.problem("emoji", "must be one emoji, or empty");
    }
}

impl Location {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        for (field, degrees, most) in [
            ("latitude", self.latitude, 90.0),
            ("longitude", self.longitude, 180.0),
        ] {
            if !degrees.is_some_and(|degrees| (-most..=most).contains(&degrees)) {
                check.problem(field, format!("must be -{most} to {most} degrees"));
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        // Degrees are texts in Meta's own schema.
        let degrees = |degrees: Option<f64>| degrees.unwrap_or_default().to_string();
        let mut object = json!({
            "latitude": degrees(self.latitude),
            "longitude": degrees(self.longitude),
        });
        put_texts(
            &mut object,
            &[("name", &self.name), ("address", &self.address)],
        );
        object
    }
}

fn is_phone(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && PHONE_DIGITS.contains(&digits.len())
    })
}

fn is_user_id(user_id: &str) -> bool {
    user_id.len() <= USER_ID_CHARS_MAX
        && user_id.split_once('.').is_some_and(|(country, rest)| {
            country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_uppercase())
                && !rest.is_empty()
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        })
}

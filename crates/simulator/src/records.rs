//! The simulator's books as others read them: customers, messages, calls, webhooks.
//!
//! Values only, the same in process and as JSON. The books themselves are in `books`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ads::Device;

/// A customer in the simulator's books.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct CustomerId(String);

impl CustomerId {
    /// Names a customer by its id, phone or BSUID; the books find it by any of them.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A customer to put into the books.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerSpec {
    /// The phone, digits with or without `+`. Without one the customer is known by BSUID only.
    #[serde(default)]
    pub phone: Option<String>,
    /// The business-scoped user id; one is minted when absent.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The profile name in webhooks.
    pub name: String,
    /// Whether WhatsApp reaches the customer (131026 if not).
    #[serde(default = "yes")]
    pub on_whatsapp: bool,
    /// Whether webhooks show the phone; users with a username hide theirs.
    #[serde(default = "yes")]
    pub shares_phone: bool,
}

fn yes() -> bool {
    true
}

impl CustomerSpec {
    /// Returns a customer on WhatsApp with this phone, which webhooks show.
    pub fn with_phone(phone: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            phone: Some(phone.into()),
            user_id: None,
            name: name.into(),
            on_whatsapp: true,
            shares_phone: true,
        }
    }
}

/// A customer as the books hold it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Customer {
    /// Its id in the books.
    pub id: CustomerId,
    /// The phone's digits.
    pub phone: Option<String>,
    /// The business-scoped user id.
    pub user_id: String,
    /// The profile name.
    pub name: String,
    /// Whether WhatsApp reaches it.
    pub on_whatsapp: bool,
    /// Whether webhooks show the phone.
    pub shares_phone: bool,
    /// Whether it has stopped marketing messages (131050).
    pub marketing_stopped: bool,
}

/// The look-alike a message or call went through.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The Graph API.
    Whatsapp,
    /// Twilio.
    Sms,
    /// Vonage's Messages API.
    Vonage,
    /// A gateway of no name: JSON or a form, an API key, callbacks with an HMAC.
    Generic,
}

impl Channel {
    /// Every look-alike.
    pub const ALL: [Self; 4] = [Self::Whatsapp, Self::Sms, Self::Vonage, Self::Generic];
}

/// What kind of message the business sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Free-form text.
    Text,
    /// A template.
    Template {
        /// The name asked for.
        name: String,
        /// The language code asked for.
        language: String,
    },
    /// An SMS.
    Sms,
    /// Any other free-form type (`image`, `interactive`, …), or what could not be read.
    Other {
        /// The `type` of the call.
        kind: String,
    },
}

/// What became of a call that wanted to send.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Accepted: the customer gets it unless a `failed` report says otherwise.
    Accepted,
    /// Refused with this code.
    Refused(i64),
    /// Dropped by a fault before the platform looked at it.
    NotProcessed,
}

/// A report about a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Left the platform.
    Sent,
    /// Reached the device.
    Delivered,
    /// Shown to the customer. WhatsApp only.
    Read,
    /// Voice note played. WhatsApp only.
    Played,
    /// Will not arrive.
    Failed,
}

impl Status {
    /// Returns the word WhatsApp uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }
}

/// A report that was made about a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// What was reported.
    pub status: Status,
    /// When.
    pub at: Timestamp,
    /// Why, if it failed.
    pub code: Option<i64>,
}

/// A message of a customer that was marked as read, and all before it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReadMark {
    /// The number that it came to.
    pub phone_number_id: String,
    /// Its id, as the call named it.
    pub message_id: String,
    /// Whether an answer was shown to be typed.
    pub typing: bool,
}

/// One call that wanted to send a message, whatever became of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SentMessage {
    /// Counts calls from 0, over all channels.
    pub seq: u64,
    /// The provider's message id, if the call was accepted.
    pub id: Option<String>,
    /// Which look-alike was called.
    pub channel: Channel,
    /// The `phone_number_id`, or the SMS sender.
    pub from: String,
    /// The phone's digits the call named (`to`), or the customer's, if known.
    pub to: Option<String>,
    /// The BSUID the call named (`recipient`), or the customer's, if known.
    pub user_id: Option<String>,
    /// The customer in the books, if found.
    pub customer: Option<CustomerId>,
    /// What was sent.
    pub kind: MessageKind,
    /// What the customer reads: text, template with its parameters filled in, or SMS.
    pub text: String,
    /// `biz_opaque_callback_data`, or what an SMS gateway was given to tell again.
    pub callback_data: Option<String>,
    /// When the call came, on the simulator's clock.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the caller got an answer. False while the answer is delayed, and for ever if it
    /// hung up, or was never told.
    pub http_answered: bool,
    /// What was reported about it since, oldest first.
    pub reports: Vec<Report>,
}

impl SentMessage {
    /// Returns true if the platform took the message.
    pub fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// Returns true if this status was reported.
    pub fn was_reported(&self, status: Status) -> bool {
        self.reports.iter().any(|report| report.status == status)
    }
}

/// One HTTP call to a look-alike.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApiCall {
    /// Counts calls from 0.
    pub seq: u64,
    /// Which look-alike.
    pub channel: Channel,
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// When it came.
    pub at: Timestamp,
    /// The status it was answered with; `None` if it was not (yet).
    pub http_status: Option<u16>,
    /// The error code in the answer.
    pub code: Option<i64>,
}

/// One POST to a webhook and every attempt at it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WebhookRecord {
    /// Counts webhooks from 0.
    pub id: u64,
    /// Whose webhook.
    pub channel: Channel,
    /// When it was made.
    pub at: Timestamp,
    /// The body, exactly as signed.
    pub body: String,
    /// How many updates it carries; 0 for raw posts.
    pub updates: usize,
    /// The latest attempts, oldest first; see [`crate::ATTEMPTS_KEPT_MAX`].
    pub attempts: Vec<Attempt>,
    /// How many attempts there were.
    pub attempt_count: u32,
    /// What became of it.
    pub state: WebhookState,
}

/// What became of a webhook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Still to be delivered.
    Pending,
    /// Answered as it should be.
    Delivered,
    /// Given up.
    GivenUp,
}

/// One attempt to deliver a webhook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// The status it got; `None` if nobody answered.
    pub http_status: Option<u16>,
}

/// Something a customer does towards a business number.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InboundSpec {
    /// Who: an id, phone or BSUID from the books.
    pub customer: CustomerId,
    /// Towards which number.
    pub phone_number_id: String,
    /// What.
    pub content: InboundContent,
    /// When the platform says it happened; its own clock without it.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Which webhook field carries it.
    #[serde(default)]
    pub via: InboundVia,
    /// The `wamid` of the business message it answers.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The ad it came from, as in `messages[].referral`.
    #[serde(default)]
    pub referral: Option<serde_json::Value>,
    /// What it was written on.
    #[serde(default)]
    pub device: Device,
}

/// What a customer sends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundContent {
    /// A text.
    Text(String),
    /// A reaction to a message; no emoji takes it back.
    Reaction {
        /// The message reacted to.
        message_id: String,
        /// The emoji.
        #[serde(default)]
        emoji: Option<String>,
    },
    /// Any other type, with its object as it stands in the webhook.
    Other {
        /// The `type`.
        kind: String,
        /// The object under that key.
        object: serde_json::Value,
    },
}

/// The webhook field an inbound message comes on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundVia {
    /// `messages`: the thread is ours.
    #[default]
    Messages,
    /// `standby`: another responder owns the thread. Opens the window all the same.
    Standby,
}

//! What a simulated platform is made of: numbers, templates, senders, limits and timings.
//!
//! Plain values with defaults. Nothing here reads a file or the environment, and nothing changes
//! while the simulator runs: what can change at run time goes through [`crate::Handle`].

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::ads::FREE_ENTRY_POINT;
use crate::assets::{AppConfig, TokenConfig};
use crate::generic::GenericConfig;
use crate::records::Status;
use crate::vonage::VonageConfig;

/// The simulator's own clock. It stamps messages, statuses and records, and decides whether a
/// window is open; delays run on tokio's timers.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How long after a customer's message a business may answer freely (Meta: customer service
/// windows).
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Everything [`crate::Simulator::start`] needs.
#[derive(Clone)]
pub struct Config {
    /// Where all look-alikes and the control surface listen; port 0 picks one.
    pub listen: SocketAddr,
    /// How long a customer's message keeps the window open. Demos and tests shorten it.
    pub window: SignedDuration,
    /// For how long nothing is billed after the reply to a customer who came from an ad.
    pub free_entry_point: SignedDuration,
    /// Where Meta's webhooks go. Without one nothing is subscribed and nothing is sent.
    pub webhook_url: Option<String>,
    /// The app that gets the webhooks.
    pub app: AppConfig,
    /// Its secret: signs webhooks (`X-Hub-Signature-256`) and tells about tokens.
    pub app_secret: SecretString,
    /// Shown to the webhook in the subscription handshake.
    pub verify_token: String,
    /// The business portfolio that owns the business accounts.
    pub portfolio_id: String,
    /// The business's phone numbers.
    pub numbers: Vec<NumberConfig>,
    /// Access tokens that are not as numbers' tokens are by themselves.
    pub tokens: Vec<TokenConfig>,
    /// The business accounts' message templates.
    pub templates: Vec<TemplateConfig>,
    /// The SMS side at Twilio.
    pub twilio: TwilioConfig,
    /// The SMS side at Vonage.
    pub vonage: VonageConfig,
    /// The SMS side at a gateway of no name.
    pub generic: GenericConfig,
    /// How many messages the platform lets through.
    pub limits: Limits,
    /// What the platform reports after it has accepted a message.
    pub auto_status: AutoStatus,
    /// Where a message into a closed window, or to somebody without WhatsApp, is refused.
    pub refusal: RefusalStyle,
    /// Whether a customer's reaction opens the window. Meta's pages do not say; off by default.
    pub reactions_open_window: bool,
    /// Whether open windows go along when a number moves to another account. Meta's pages do not
    /// say; on by default.
    pub migration_keeps_windows: bool,
    /// Whether a phone that no customer was declared for has WhatsApp.
    pub strangers_on_whatsapp: bool,
    /// When webhooks that were not answered with 200 are sent again.
    pub webhook_retry: WebhookRetry,
    /// What decides where faults that happen by chance happen.
    pub seed: u64,
    /// The clock.
    pub clock: Clock,
}

impl Config {
    /// Returns a configuration with the platform's own limits, no numbers and no webhook, on a
    /// free local port.
    pub fn new(clock: Clock) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            window: WINDOW,
            free_entry_point: FREE_ENTRY_POINT,
            webhook_url: None,
            app: AppConfig::default(),
            app_secret: SecretString::from("demo-app-secret"),
            verify_token: "demo-verify-token".to_owned(),
            portfolio_id: "900100200300".to_owned(),
            numbers: Vec::new(),
            tokens: Vec::new(),
            templates: Vec::new(),
            twilio: TwilioConfig::default(),
            vonage: VonageConfig::default(),
            generic: GenericConfig::default(),
            limits: Limits::default(),
            auto_status: AutoStatus::default(),
            refusal: RefusalStyle::default(),
            reactions_open_window: false,
            migration_keeps_windows: true,
            strangers_on_whatsapp: true,
            webhook_retry: WebhookRetry::default(),
            seed: 0,
            clock,
        }
    }
}

/// A business phone number on the platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberConfig {
    /// The id in URLs and in webhook metadata.
    pub phone_number_id: String,
    /// The number itself; digits, other characters are dropped in comparisons.
    pub display_phone_number: String,
    /// The WhatsApp Business Account it belongs to (`entry[].id` of webhooks).
    pub waba_id: String,
    /// The bearer token that may send from it.
    pub token: SecretString,
}

/// A message template of a business account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateConfig {
    /// The owning business account.
    pub waba_id: String,
    /// Its name; unique with the language.
    pub name: String,
    /// Its language code, matched exactly.
    pub language: String,
    /// What it is for, which decides its price.
    pub category: TemplateCategory,
    /// The body, with `{{1}}`, `{{2}}`, … for parameters.
    pub body: String,
    /// How many body parameters a call must bring.
    pub parameter_count: usize,
    /// Its review state.
    #[serde(default)]
    pub status: TemplateStatus,
}

/// What a template is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateCategory {
    /// One-time codes.
    Authentication,
    /// Anything that promotes.
    Marketing,
    /// About something the customer asked for or bought.
    Utility,
}

/// Where a template stands in its review.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateStatus {
    /// Usable.
    #[default]
    Approved,
    /// In review; unusable (132001).
    Pending,
    /// Turned down; unusable (132001).
    Rejected,
    /// Paused for low quality; unusable (132015).
    Paused,
    /// Switched off for good; unusable (132016).
    Disabled,
}

/// The SMS account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwilioConfig {
    /// The account, in URLs and as the basic-auth user.
    pub account_sid: String,
    /// The basic-auth password, and the key of `X-Twilio-Signature`.
    pub auth_token: SecretString,
    /// Where callbacks go for messages that name no `StatusCallback`.
    pub status_callback: Option<String>,
    /// Where SMS that customers send are posted.
    pub inbound_url: Option<String>,
    /// The senders the account owns; with none, any sender is accepted.
    pub senders: Vec<String>,
    /// How often a callback is tried; Twilio gives up early, unlike Meta.
    pub callback_attempts: u32,
}

impl Default for TwilioConfig {
    fn default() -> Self {
        Self {
            account_sid: "AC00000000000000000000000000000000".to_owned(),
            auth_token: SecretString::from("demo-twilio-token"),
            status_callback: None,
            inbound_url: None,
            senders: Vec::new(),
            callback_attempts: 5,
        }
    }
}

/// How many messages the platform lets through.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The limit per (number, customer); `None` switches it off.
    pub pair: Option<PairLimit>,
    /// Messages a number may send and receive a second (130429); `None` switches it off.
    pub messages_per_second: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pair: Some(PairLimit::default()),
            messages_per_second: Some(80),
        }
    }
}

/// The pair rate: one message an interval to the same customer; a burst within one interval
/// borrows from the intervals to come (131056; Meta: about the platform, pair rate limit).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PairLimit {
    /// One message per this long.
    pub interval: SignedDuration,
    /// At most this many within one interval.
    pub burst: u32,
}

impl Default for PairLimit {
    fn default() -> Self {
        Self {
            interval: SignedDuration::from_secs(6),
            burst: 45,
        }
    }
}

/// What the platform reports of its own accord after it has accepted a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AutoStatus {
    /// The reports, in order; delays count from the previous one.
    pub steps: Vec<AutoStatusStep>,
}

/// One report and how long it takes to come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AutoStatusStep {
    /// What is reported.
    pub status: Status,
    /// How long after the step before, or after acceptance.
    pub after: SignedDuration,
}

impl Default for AutoStatus {
    fn default() -> Self {
        Self {
            steps: vec![
                AutoStatusStep {
                    status: Status::Sent,
                    after: SignedDuration::from_millis(15),
                },
                AutoStatusStep {
                    status: Status::Delivered,
                    after: SignedDuration::from_millis(25),
                },
            ],
        }
    }
}

impl AutoStatus {
    /// Reports nothing: statuses come only through [`crate::Handle::report`].
    pub fn none() -> Self {
        Self { steps: Vec::new() }
    }
}

/// Where the platform refuses what only it can know (131047, 131026). Meta does both.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalStyle {
    /// In the answer to the call, with HTTP 400.
    #[default]
    Sync,
    /// Later, as a `failed` status of a message that was accepted.
    Async,
}

/// When webhooks that were not answered with 200 are sent again (Meta: webhooks, retries for up
/// to seven days with decreasing frequency).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookRetry {
    /// The first pause; each one after is twice as long.
    pub first: SignedDuration,
    /// The longest pause.
    pub longest: SignedDuration,
    /// When the platform gives the webhook up.
    pub give_up_after: SignedDuration,
    /// How long it waits for an answer.
    pub answer_within: SignedDuration,
}

impl Default for WebhookRetry {
    fn default() -> Self {
        Self {
            first: SignedDuration::from_millis(500),
            longest: SignedDuration::from_secs(30),
            give_up_after: SignedDuration::from_hours(7 * 24),
            answer_within: SignedDuration::from_secs(10),
        }
    }
}

//! The gateways that SMS go through, by their names, and who sends to which country: the `sms`
//! section. Whoever sends reads it, and whoever hears customers, to know whose senders are whose.
//!
//! How posts of gateways are verified and read is configured where they are taken.

mod check;
mod plan;

use std::collections::BTreeMap;

use casement_domain::sms::{ByPrefix, Senders, Way};
use casement_shell::config::Secret;
use serde::{Deserialize, Serialize};

use crate::errors::{self, ErrorRule};
use crate::{generic, twilio, vonage};

/// Names, among gateways, the account that stands in the number's own record.
pub const OWN: &str = "number";

/// The `sms` section.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Gateways by their names.
    pub gateways: BTreeMap<String, Gateway>,
    /// Who sends, by the digits that the customer's phone begins with, such as a country's calling
    /// code; `*` for any other. The first gateway is tried first.
    pub senders: BTreeMap<String, Vec<Sender>>,
    /// Numbers with senders of their own, by their digits.
    pub numbers: BTreeMap<String, NumberSenders>,
}

/// Senders of one number; what is not there is looked for in those of all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NumberSenders {
    /// As for all numbers.
    pub senders: BTreeMap<String, Vec<Sender>>,
}

/// A gateway and the sender that it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// The gateway's name; [`OWN`] for the account in the number's record.
    pub gateway: String,
    /// A number, a name, or a messaging service of Twilio's. Empty only for [`OWN`]: the record's.
    #[serde(default)]
    pub sender: String,
}

/// One gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Gateway {
    /// An account at Twilio.
    Twilio(TwilioGateway),
    /// An application at Vonage, Messages API.
    Vonage(VonageGateway),
    /// Any other that takes a request by a template.
    Generic(Box<GenericGateway>),
}

/// An account at Twilio.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioGateway {
    /// The account (`AC…`).
    pub account_sid: String,
    /// Its auth token.
    pub auth_token: Secret,
    /// Base address of the API; that of `dispatcher.providers` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where statuses go; that of `dispatcher.providers` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

/// An application at Vonage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VonageGateway {
    /// The application's id.
    pub application_id: String,
    /// Its private key: RSA, as PEM.
    pub private_key: Secret,
    /// Base address of the API.
    #[serde(default = "vonage_url")]
    pub url: String,
    /// Where statuses go; empty for the application's own address.
    #[serde(default)]
    pub callback_url: String,
}

/// A gateway that takes a request by a template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenericGateway {
    /// Where it is called; the path and the query may have places.
    pub url: String,
    /// How it is called.
    #[serde(default = "post")]
    pub method: String,
    /// Headers by their names, such as `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The header in which it wants what tells repeats apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
    /// The body with its places; empty for none.
    #[serde(default)]
    pub body: String,
    /// What the body is.
    #[serde(default)]
    pub format: Format,
    /// The longest text that it takes, in characters.
    #[serde(default = "text_chars_max")]
    pub text_chars_max: usize,
    /// Where statuses go: for the place `{{callback_url}}`.
    #[serde(default)]
    pub callback_url: String,
    /// Where the answer has the gateway's id of the message; empty if it gives none.
    #[serde(default)]
    pub id: String,
    /// Where the answer says whether the message was taken; empty if its status says it all.
    #[serde(default)]
    pub success: String,
    /// What stands there if so.
    #[serde(default)]
    pub success_is: Vec<String>,
    /// Where an answer has the error's code.
    #[serde(default)]
    pub error_code: String,
    /// Where an answer has the error's text.
    #[serde(default)]
    pub error_text: String,
    /// HTTP statuses that refuse for now.
    #[serde(default = "retry_statuses")]
    pub retry_statuses: Vec<u16>,
    /// HTTP statuses that refuse; empty for each 4xx but 408.
    #[serde(default)]
    pub refuse_statuses: Vec<u16>,
    /// What its error codes mean, in answers and in statuses.
    #[serde(default)]
    pub codes: CodeLists,
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON, with places in its strings.
    #[default]
    Json,
    /// A form, with places in its values.
    Form,
}

/// Error codes by what they mean. One that is nowhere says that this gateway cannot, and another
/// may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeLists {
    /// It may work later.
    pub retry: Vec<i64>,
    /// It may work once more.
    pub retry_once: Vec<i64>,
    /// The handset cannot be reached; the second time for good.
    pub absent: Vec<i64>,
    /// No SMS reaches this phone.
    pub unreachable: Vec<i64>,
    /// The customer has stopped SMS.
    pub opt_out: Vec<i64>,
    /// No gateway would take it.
    pub fail: Vec<i64>,
    /// An operator has to see to the account.
    pub halt: Vec<i64>,
}

fn vonage_url() -> String {
    "https://api.nexmo.com".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

fn text_chars_max() -> usize {
    twilio::BODY_CHARS_MAX
}

fn retry_statuses() -> Vec<u16> {
    vec![429]
}

impl Gateway {
    /// Returns the name under which its posts and its error codes are known; `name` is its own.
    pub fn provider<'a>(&self, name: &'a str) -> &'a str {
        match self {
            Self::Twilio(_) => twilio::NAME,
            Self::Vonage(_) => vonage::NAME,
            Self::Generic(_) => name,
        }
    }

    /// Returns its secrets, each with its key in the section.
    pub fn secrets(&self) -> Vec<(String, &Secret)> {
        match self {
            Self::Twilio(gateway) => vec![("auth_token".to_owned(), &gateway.auth_token)],
            Self::Vonage(gateway) => vec![("private_key".to_owned(), &gateway.private_key)],
            Self::Generic(gateway) => {
                let headers = gateway.headers.iter();
                headers
                    .map(|(name, value)| (format!("headers.{name}"), value))
                    .collect()
            }
        }
    }
}

impl Config {
    /// Returns the senders as the rules want them.
    pub fn senders(&self) -> Senders {
        Senders {
            all: by_prefix(&self.senders),
            numbers: self
                .numbers
                .iter()
                .map(|(number, own)| (number.clone(), by_prefix(&own.senders)))
                .collect(),
        }
    }

    /// Returns the rule for an error code that a provider gave: `twilio`, `vonage`, or the name of
    /// another. No name stands for Twilio.
    pub fn rule(&self, provider: &str, code: i64) -> ErrorRule {
        match self.gateways.get(provider) {
            Some(Gateway::Generic(gateway)) => generic::Codes::from(&gateway.codes).lookup(code),
            _ => errors::lookup(provider, code),
        }
    }

    /// Returns whether a sender, as a gateway wrote it, is one of a number's; `account` is the
    /// account that the gateway named.
    pub fn is_sender_of(&self, number: &str, sender: &str, account: Option<&str>) -> bool {
        let digits = |text: &str| text.strip_prefix('+').unwrap_or(text).to_owned();
        let own = self.numbers.get(number).map(|own| &own.senders);
        let rows = own.into_iter().chain([&self.senders]);
        let mut ways = rows.flat_map(BTreeMap::values).flatten();
        ways.any(|way| {
            // A messaging service stands for senders that nobody lists.
            let is_service = way.sender.starts_with("MG")
                && account.is_some()
                && account == self.account_sid(&way.gateway);
            let is_sender = !way.sender.is_empty() && digits(&way.sender) == digits(sender);
            is_sender || is_service
        })
    }

    fn account_sid(&self, gateway: &str) -> Option<&str> {
        match self.gateways.get(gateway)? {
            Gateway::Twilio(gateway) => Some(&gateway.account_sid),
            Gateway::Vonage(_) | Gateway::Generic(_) => None,
        }
    }
}

fn by_prefix(rows: &BTreeMap<String, Vec<Sender>>) -> ByPrefix {
    let way = |sender: &Sender| Way {
        gateway: sender.gateway.clone(),
        sender: sender.sender.clone(),
    };
    rows.iter()
        .map(|(prefix, senders)| (prefix.clone(), senders.iter().map(way).collect()))
        .collect()
}

#[cfg(test)]
mod tests;

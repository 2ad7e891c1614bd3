//! What the role is told about gateways of SMS other than Twilio.

use std::collections::{BTreeMap, HashMap};

use casement_shell::config::{ConfigError, Secret};
use casement_sms::generic::{self, InboundFields, Kinds, Layout, ReportFields, Signing, Stamp};
use casement_sms::webhook::Delivery;
use casement_sms::{twilio, vonage};
use jiff::SignedDuration;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::http::WHATSAPP;

/// Longest name of a gateway: it stands in subjects and labels.
const NAME_LEN_MAX: usize = 32;

/// Vonage's webhooks: the `ingress.vonage` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vonage {
    /// How old a token may be. Vonage repeats a webhook for 24 hours.
    pub tolerance: SignedDuration,
    /// Accounts by the name in the path: `/webhooks/vonage/{name}`.
    pub accounts: BTreeMap<String, VonageAccount>,
}

/// One of Vonage's accounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VonageAccount {
    /// Signature secrets; several while one is replaced by another.
    pub signature_secrets: Vec<Secret>,
    /// The API key that tokens must name, if any will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// The application that tokens must name, if any will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
}

/// A gateway that signs with an HMAC and posts JSON: a section `ingress.generic_sms.<name>`. It
/// posts to `/webhooks/sms/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenericSms {
    /// Keys; several while one is replaced by another.
    pub secrets: Vec<Secret>,
    /// The header that holds the signature.
    pub header: String,
    /// What stands before the signature in the header, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// Which hash.
    #[serde(default)]
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The header with the time of the post, if one is signed: with it, the signature is over the
    /// header's text, `timestamp_separator` and the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What stands between the time and the body.
    #[serde(default = "dot")]
    pub timestamp_separator: String,
    /// How far the time may be off.
    #[serde(default = "five_minutes")]
    pub tolerance: SignedDuration,
    /// Where a post says which sort it is, as a JSON pointer; needed only if statuses repeat the
    /// text of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What stands there in customers' messages.
    #[serde(default)]
    pub inbound_kinds: Vec<String>,
    /// Where statuses say what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusPointers>,
    /// Where customers' messages say what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<InboundPointers>,
    /// What the gateway's words for a status mean. A word that is in none of the lists changes
    /// nothing.
    #[serde(default)]
    pub words: StatusWords,
}

/// Which hash an HMAC is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HmacAlgorithm {
    /// HMAC-SHA-256.
    #[default]
    Sha256,
    /// HMAC-SHA-1.
    Sha1,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// JSON pointers into a status; empty for a field that is never there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusPointers {
    /// The gateway's id of the message.
    pub id: String,
    /// Its word for where the message is.
    pub status: String,
    /// The customer's phone.
    pub to: String,
    /// The number or sender.
    pub from: String,
    /// What the sender gave to be told again: `<message id>.<attempt>`.
    pub reference: String,
    /// Why it failed, as a number.
    pub error_code: String,
    /// Why it failed, in words.
    pub error_text: String,
    /// When.
    pub time: String,
}

/// JSON pointers into a customer's message; empty for a field that is never there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboundPointers {
    /// The gateway's id of the message.
    pub id: String,
    /// The customer's phone.
    pub from: String,
    /// Our number.
    pub to: String,
    /// The text.
    pub text: String,
    /// The list of files.
    pub media: String,
    /// Where a file of it says its address; empty if it is a list of addresses.
    pub media_url: String,
    /// Where a file of it says its type.
    pub media_type: String,
    /// In how many parts it came.
    pub segments: String,
    /// When.
    pub time: String,
}

/// What a gateway's words for a status mean, in any case.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusWords {
    /// The gateway has it, or passed it on.
    pub sent: Vec<String>,
    /// It arrived.
    pub delivered: Vec<String>,
    /// It was seen.
    pub read: Vec<String>,
    /// It did not and will not arrive.
    pub failed: Vec<String>,
}

fn dot() -> String {
    ".".to_owned()
}

fn five_minutes() -> SignedDuration {
    SignedDuration::from_mins(5)
}

impl Default for Vonage {
    fn default() -> Self {
        Self {
            tolerance: vonage::signature::DEFAULT_TOLERANCE,
            accounts: BTreeMap::new(),
        }
    }
}

/// The secrets by which gateways' posts are verified.
#[derive(Debug, Default)]
pub(crate) struct SmsKeys {
    pub(crate) vonage: HashMap<String, vonage::signature::Account>,
    pub(crate) generic: HashMap<String, Signing>,
}

/// Fetches the secrets of gateways; refuses what nobody could pass.
pub(crate) fn keys(
    vonage: &Vonage,
    generic: &BTreeMap<String, GenericSms>,
    fetch: impl Fn(&str, &[Secret]) -> Result<Vec<SecretString>, ConfigError>,
) -> Result<SmsKeys, ConfigError> {
    if vonage.tolerance <= SignedDuration::ZERO {
        return Err(ConfigError::check(
            "`ingress.vonage.tolerance` must be longer than zero",
        ));
    }
    let mut keys = SmsKeys::default();
    for (name, account) in &vonage.accounts {
        let at = format!("ingress.vonage.accounts.{name}.signature_secrets");
        let account = vonage::signature::Account {
            secrets: fetch(&at, &account.signature_secrets)?,
            api_key: account.api_key.clone(),
            application_id: account.application_id.clone(),
            tolerance: vonage.tolerance,
        };
        keys.vonage.insert(name.clone(), account);
    }
    for (name, gateway) in generic {
        let at = format!("ingress.generic_sms.{name}");
        let secrets = fetch(&format!("{at}.secrets"), &gateway.secrets)?;
        keys.generic.insert(name.clone(), gateway.signing(secrets));
    }
    Ok(keys)
}

/// Returns the layouts of gateways' posts; refuses what could never be read.
pub(crate) fn layouts(
    generic: &BTreeMap<String, GenericSms>,
) -> Result<HashMap<String, Layout>, ConfigError> {
    let read = |(name, gateway): (&String, &GenericSms)| {
        let at = format!("ingress.generic_sms.{name}");
        let problem = name_problem(name).or_else(|| gateway.problem());
        match problem {
            Some(problem) => Err(ConfigError::check(format!("`{at}`: {problem}"))),
            None => Ok((name.clone(), gateway.layout())),
        }
    };
    generic.iter().map(read).collect()
}

/// A name stands in subjects and paths, and tells gateways apart.
fn name_problem(name: &str) -> Option<String> {
    let is_fit = !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_fit {
        return Some(format!(
            "a name is 1 to {NAME_LEN_MAX} lower-case letters, digits and hyphens"
        ));
    }
    [WHATSAPP, twilio::NAME, vonage::NAME]
        .contains(&name)
        .then(|| "the name is taken by a gateway that is built in".to_owned())
}

impl GenericSms {
    fn signing(&self, secrets: Vec<SecretString>) -> Signing {
        Signing {
            secrets,
            header: self.header.to_ascii_lowercase(),
            prefix: self.prefix.clone(),
            algorithm: match self.algorithm {
                HmacAlgorithm::Sha256 => generic::Algorithm::Sha256,
                HmacAlgorithm::Sha1 => generic::Algorithm::Sha1,
            },
            encoding: match self.encoding {
                SignatureEncoding::Hex => generic::Encoding::Hex,
                SignatureEncoding::Base64 => generic::Encoding::Base64,
            },
            stamp: self.timestamp_header.as_ref().map(|header| Stamp {
                header: header.to_ascii_lowercase(),
                separator: self.timestamp_separator.clone(),
                tolerance: self.tolerance,
            }),
        }
    }

    fn layout(&self) -> Layout {
        let words = [
            (Delivery::Sent, &self.words.sent),
            (Delivery::Delivered, &self.words.delivered),
            (Delivery::Read, &self.words.read),
            (Delivery::Failed, &self.words.failed),
        ];
        let words = words.into_iter().flat_map(|(delivery, list)| {
            list.iter().map(move |word| (word.to_lowercase(), delivery))
        });
        Layout {
            kinds: self.kind.clone().map(|at| Kinds {
                at,
                inbound: self.inbound_kinds.clone(),
            }),
            report: self.status.clone().map(StatusPointers::fields),
            inbound: self.inbound.clone().map(InboundPointers::fields),
            words: words.collect(),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.header.trim().is_empty() {
            return Some("`header` does not name the header with the signature".to_owned());
        }
        if self.tolerance <= SignedDuration::ZERO {
            return Some("`tolerance` must be longer than zero".to_owned());
        }
        if self.status.is_none() && self.inbound.is_none() {
            return Some("neither `status` nor `inbound` says how to read a post".to_owned());
        }
        let (status, inbound) = (self.status.iter(), self.inbound.iter());
        let pointers = status
            .flat_map(StatusPointers::all)
            .chain(inbound.flat_map(InboundPointers::all));
        for (field, pointer, is_needed) in pointers {
            if pointer.is_empty() && is_needed {
                return Some(format!("`{field}` is needed"));
            }
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Some(format!(
                    "`{field}` is no JSON pointer: begin it with a slash"
                ));
            }
        }
        let mut known = BTreeMap::new();
        for (meaning, words) in [
            ("sent", &self.words.sent),
            ("delivered", &self.words.delivered),
            ("read", &self.words.read),
            ("failed", &self.words.failed),
        ] {
            for word in words {
                let before = known.insert(word.to_lowercase(), meaning);
                if before.is_some_and(|before| before != meaning) {
                    return Some(format!("`words`: `{word}` stands for two things"));
                }
            }
        }
        None
    }
}

impl StatusPointers {
    fn fields(self) -> ReportFields {
        ReportFields {
            id: self.id,
            status: self.status,
            to: self.to,
            from: self.from,
            reference: self.reference,
            error_code: self.error_code,
            error_text: self.error_text,
            time: self.time,
        }
    }

    fn all(&self) -> [(&'static str, &str, bool); 8] {
        [
            ("status.id", &self.id, true),
            ("status.status", &self.status, true),
            ("status.to", &self.to, false),
            ("status.from", &self.from, false),
            ("status.reference", &self.reference, false),
            ("status.error_code", &self.error_code, false),
            ("status.error_text", &self.error_text, false),
            ("status.time", &self.time, false),
        ]
    }
}

impl InboundPointers {
    fn fields(self) -> InboundFields {
        InboundFields {
            id: self.id,
            from: self.from,
            to: self.to,
            text: self.text,
            media: self.media,
            media_url: self.media_url,
            media_type: self.media_type,
            segments: self.segments,
            time: self.time,
        }
    }

    fn all(&self) -> [(&'static str, &str, bool); 9] {
        [
            ("inbound.id", &self.id, true),
            ("inbound.from", &self.from, true),
            ("inbound.to", &self.to, true),
            ("inbound.text", &self.text, false),
            ("inbound.media", &self.media, false),
            ("inbound.media_url", &self.media_url, false),
            ("inbound.media_type", &self.media_type, false),
            ("inbound.segments", &self.segments, false),
            ("inbound.time", &self.time, false),
        ]
    }
}

#[cfg(test)]
mod tests;

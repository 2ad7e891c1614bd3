//! What the role needs to be told, and its secrets once they are fetched.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};

use casement_domain::inbound::QualifyingPolicy;
use casement_shell::config::{ConfigError, Secret};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The name of the application and of the account that the paths without a name mean.
pub const DEFAULT_NAME: &str = "default";

/// Configuration of the role: the `ingress` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where webhooks are taken.
    pub listen: SocketAddr,
    /// Meta's applications by the name in the path: `/webhooks/whatsapp/{name}`.
    pub apps: BTreeMap<String, App>,
    /// Twilio's callbacks.
    pub twilio: Twilio,
    /// Which customer events count that the platform says nothing about.
    pub qualifying: Qualifying,
}

/// One of Meta's applications.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// App secrets; several while one is replaced by another.
    pub secrets: Vec<Secret>,
    /// The word that was entered beside the callback URL.
    pub verify_token: Secret,
}

/// Twilio's callbacks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Twilio {
    /// What stands before `/webhooks/twilio` in the URL that Twilio calls, such as
    /// `https://hooks.example.com`: it is part of what Twilio signs. Without one, the address
    /// that is listened on.
    pub public_url: Option<String>,
    /// Accounts by the name in the path: `/webhooks/twilio/{name}`.
    pub accounts: BTreeMap<String, TwilioAccount>,
}

/// One of Twilio's accounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioAccount {
    /// Auth tokens; several while one is replaced by another.
    pub auth_tokens: Vec<Secret>,
}

/// Which customer events open or refresh the window where Meta's pages do not say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Qualifying {
    /// Reactions.
    pub reaction: bool,
    /// Edits of an earlier message.
    pub edit: bool,
    /// Withdrawals of an earlier message.
    pub revoke: bool,
    /// Messages that the platform does not pass on, or of a type that is not known here.
    pub unsupported: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            apps: BTreeMap::new(),
            twilio: Twilio::default(),
            qualifying: Qualifying::default(),
        }
    }
}

impl Default for Qualifying {
    fn default() -> Self {
        let policy = QualifyingPolicy::default();
        Self {
            reaction: policy.reaction,
            edit: policy.edit,
            revoke: policy.revoke,
            unsupported: policy.unsupported,
        }
    }
}

impl From<Qualifying> for QualifyingPolicy {
    fn from(of: Qualifying) -> Self {
        Self {
            reaction: of.reaction,
            edit: of.edit,
            revoke: of.revoke,
            unsupported: of.unsupported,
        }
    }
}

/// The secrets by which posts are verified.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) apps: HashMap<String, AppKeys>,
    pub(crate) twilio: HashMap<String, Vec<SecretString>>,
}

/// The secrets of one of Meta's applications.
#[derive(Debug)]
pub(crate) struct AppKeys {
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) verify_token: SecretString,
}

impl Config {
    /// Fetches all secrets; refuses an application or account that nobody could pass.
    pub(crate) fn keys(&self) -> Result<Keys, ConfigError> {
        let mut apps = HashMap::new();
        for (name, app) in &self.apps {
            let at = format!("ingress.apps.{name}");
            let keys = AppKeys {
                secrets: all(&format!("{at}.secrets"), &app.secrets)?,
                verify_token: one(&format!("{at}.verify_token"), &app.verify_token)?,
            };
            apps.insert(name.clone(), keys);
        }
        if let Some(url) = &self.twilio.public_url
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            return Err(ConfigError::check(
                "`ingress.twilio.public_url` does not begin with https:// or http://",
            ));
        }
        let mut twilio = HashMap::new();
        for (name, account) in &self.twilio.accounts {
            let at = format!("ingress.twilio.accounts.{name}.auth_tokens");
            twilio.insert(name.clone(), all(&at, &account.auth_tokens)?);
        }
        Ok(Keys { apps, twilio })
    }
}

fn all(at: &str, secrets: &[Secret]) -> Result<Vec<SecretString>, ConfigError> {
    if secrets.is_empty() {
        return Err(ConfigError::check(format!(
            "`{at}` is empty, so that no post could be verified"
        )));
    }
    secrets.iter().map(|secret| one(at, secret)).collect()
}

fn one(at: &str, secret: &Secret) -> Result<SecretString, ConfigError> {
    secret
        .resolve()
        .map_err(|error| ConfigError::check(format!("`{at}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_configuration_reads_and_unknown_keys_are_refused() {
        let config = read(
            r#"{"listen": "127.0.0.1:9000",
                "apps": {"default": {"secrets": ["new", "old"], "verify_token": "sesame"}},
                "twilio": {"public_url": "https://x.example", "accounts": {"default": {"auth_tokens": ["t"]}}},
                "qualifying": {"reaction": true}}"#,
        )
        .unwrap();
        assert_eq!(config.listen.port(), 9000);
        let keys = config.keys().unwrap();
        assert_eq!(keys.apps["default"].secrets.len(), 2);
        assert_eq!(keys.twilio["default"].len(), 1);
        assert!(config.qualifying.reaction && config.qualifying.unsupported);
        for unknown in [
            r#"{"port": 1}"#,
            r#"{"twilio": {"url": "x"}}"#,
            r#"{"qualifying": {"sms": true}}"#,
            r#"{"apps": {"a": {"secrets": ["s"], "verify_token": "t", "x": 1}}}"#,
        ] {
            assert!(read(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn what_nobody_could_pass_is_refused_by_name() {
        for (json, named) in [
            (
                r#"{"apps": {"shop": {"secrets": [], "verify_token": "t"}}}"#,
                "ingress.apps.shop.secrets",
            ),
            (
                r#"{"apps": {"shop": {"secrets": ["s"], "verify_token": ""}}}"#,
                "ingress.apps.shop.verify_token",
            ),
            (
                r#"{"twilio": {"accounts": {"de": {"auth_tokens": []}}}}"#,
                "ingress.twilio.accounts.de.auth_tokens",
            ),
            (
                r#"{"twilio": {"public_url": "hooks.example.com"}}"#,
                "ingress.twilio.public_url",
            ),
        ] {
            let error = read(json).unwrap().keys().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn printing_a_configuration_shows_no_secret() {
        let config =
            read(r#"{"apps": {"a": {"secrets": ["hush"], "verify_token": "whisper"}}}"#).unwrap();
        let printed = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(
            !printed.contains("hush") && !printed.contains("whisper"),
            "{printed}"
        );
    }
}

//! What the role needs to be told, and its secrets once they are fetched.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};

use axum::http::HeaderName;

use casement_domain::inbound::{self, OverrideError, QualifyingPolicy};
use casement_shell::config::{ConfigError, Secret};
use casement_shell::server;
use casement_shell::tls::TlsConfig;
use ipnet::IpNet;
use jiff::SignedDuration;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

use crate::media::MediaConfig;

use crate::http::Trust;
use crate::sms::config::{GenericSms, SmsKeys, Vonage};
use crate::sms::{self, Readers};
use crate::words::{self, BrandKeywords, Lexicon, WhatsappKeywords, Words};

/// The name of the application and of the account that the paths without a name mean.
pub const DEFAULT_NAME: &str = "default";

/// The largest tolerance of times ahead: windows stay open by as much longer than the platform's.
const FUTURE_TOLERANCE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Highest rate that can be told from none.
const RATE_MAX: u32 = 1_000_000;

/// Configuration of the role: the `ingress` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where webhooks are taken.
    pub listen: SocketAddr,
    /// TLS; plain HTTP without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// What stands in front, if anything.
    pub proxy: Proxy,
    /// How much may be asked for.
    pub limits: Limits,
    /// Meta's applications by the name in the path: `/webhooks/whatsapp/{name}`.
    pub apps: BTreeMap<String, App>,
    /// Twilio's callbacks.
    pub twilio: Twilio,
    /// Vonage's webhooks.
    pub vonage: Vonage,
    /// Other gateways of SMS by the name in the path: `/webhooks/sms/{name}`.
    pub generic_sms: BTreeMap<String, GenericSms>,
    /// The words by which customers stop SMS and take them up again, by language.
    pub sms_keywords: BTreeMap<String, Words>,
    /// What words in WhatsApp messages do.
    pub whatsapp_keywords: WhatsappKeywords,
    /// What is different for single brands.
    pub brand_keywords: BTreeMap<String, BrandKeywords>,
    /// Which customer events open or refresh the window.
    pub qualifying: Qualifying,
    /// How far the time of an event may lie ahead of its receipt; beyond, it counts as of then.
    pub future_tolerance: SignedDuration,
    /// Files that come with customers' messages.
    pub media: MediaConfig,
    /// Whose senders are whose: a section of its own, which other roles read, too.
    #[serde(skip)]
    pub sms: casement_sms::config::Config,
}

/// One of Meta's applications.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// App secrets; several while one is replaced by another.
    pub secrets: Vec<Secret>,
    /// The word that was entered beside the callback URL.
    pub verify_token: Secret,
    /// The name that the caller's certificate must have, if it must have one.
    ///
    /// WhatsApp Cloud API: with mutual TLS switched on for an application, Meta presents one whose
    /// common name is `client.webhooks.fbclientcerts.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
}

/// Proxies whose word is taken for who calls.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Their addresses and networks. From anywhere else, the headers below mean nothing.
    pub addresses: Vec<IpNet>,
    /// Where they put the subject of a client certificate that they have verified, such as
    /// `x-client-subject`; they must take out what callers put there. Empty for none.
    pub client_header: String,
    /// Where they put whom they took the request from, such as `x-forwarded-for`. Empty for none:
    /// then refusals are not counted by address.
    pub address_header: String,
}

/// How much may be asked for. What is beyond is refused, and nothing of it is stored.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Posts a second of one application or account, counted once their signature is found right.
    pub posts_per_second: u32,
    /// Posts of one application or account that are being read or stored at once.
    pub concurrency: usize,
    /// Refusals a second that one address may earn at one application before it is not heard.
    pub refusals_per_second: u32,
    /// Connections at once.
    pub connections: usize,
    /// How long the head of a request may take; idle connections are closed after it, too.
    pub header_timeout: SignedDuration,
    /// How long a body may take to arrive.
    pub body_timeout: SignedDuration,
    /// How much of all bodies together is held in memory, in MiB.
    pub held_mib: usize,
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

/// Which customer events open or refresh the window: a row for each kind.
///
/// Rows that the platform documents can only be told what is documented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, bool>")]
pub struct Qualifying(QualifyingPolicy);

impl TryFrom<BTreeMap<String, bool>> for Qualifying {
    type Error = OverrideError;

    fn try_from(rows: BTreeMap<String, bool>) -> Result<Self, Self::Error> {
        let policy = QualifyingPolicy::default();
        let set = rows
            .iter()
            .try_fold(policy, |policy, (name, opens)| policy.with(name, *opens));
        set.map(Self)
    }
}

impl Serialize for Qualifying {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.rows().map(|(rule, opens)| (rule.name, opens)))
    }
}

/// Adds to a printed configuration where each row of `ingress.qualifying` comes from.
pub fn cite(printed: &str) -> String {
    let mut is_inside = false;
    let lines = printed.lines().map(|line| {
        if line.starts_with('[') {
            is_inside = line == "[ingress.qualifying]";
        }
        let row = line.split_once(" = ").filter(|_| is_inside);
        match row.and_then(|(name, _)| inbound::rule(name)) {
            Some(rule) => format!("{line} # {}", rule.source),
            None => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            proxy: Proxy::default(),
            limits: Limits::default(),
            apps: BTreeMap::new(),
            twilio: Twilio::default(),
            vonage: Vonage::default(),
            generic_sms: BTreeMap::new(),
            sms_keywords: words::sms(),
            whatsapp_keywords: WhatsappKeywords::default(),
            brand_keywords: BTreeMap::new(),
            qualifying: Qualifying::default(),
            future_tolerance: SignedDuration::from_secs(60),
            media: MediaConfig::default(),
            sms: casement_sms::config::Config::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            posts_per_second: 20_000,
            concurrency: 4_096,
            refusals_per_second: 100,
            connections: 8_192,
            header_timeout: SignedDuration::from_secs(20),
            body_timeout: SignedDuration::from_secs(10),
            held_mib: 256,
        }
    }
}

impl Limits {
    /// What the server is to allow.
    pub(crate) fn server(&self) -> server::Limits {
        server::Limits {
            connections: self.connections,
            header_timeout: self.header_timeout.unsigned_abs(),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        [
            (
                "posts_per_second",
                (1..=RATE_MAX).contains(&self.posts_per_second),
            ),
            ("concurrency", self.concurrency > 0),
            (
                "refusals_per_second",
                (1..=RATE_MAX).contains(&self.refusals_per_second),
            ),
            ("connections", self.connections > 0),
            ("header_timeout", self.header_timeout.is_positive()),
            ("body_timeout", self.body_timeout.is_positive()),
            // The largest post must fit.
            ("held_mib", self.held_mib >= 4),
        ]
        .into_iter()
        .find_map(|(name, is_enough)| (!is_enough).then_some(name))
    }
}

impl From<Qualifying> for QualifyingPolicy {
    fn from(of: Qualifying) -> Self {
        of.0
    }
}

/// The secrets by which posts are verified.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) apps: HashMap<String, AppKeys>,
    pub(crate) twilio: HashMap<String, Vec<SecretString>>,
    pub(crate) sms: SmsKeys,
}

/// The secrets of one of Meta's applications.
#[derive(Debug)]
pub(crate) struct AppKeys {
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) verify_token: SecretString,
    pub(crate) client_name: Option<String>,
}

impl Config {
    /// Returns whose word is taken for who calls; refuses what nobody could use, and what anybody
    /// could.
    pub(crate) fn trust(&self) -> Result<Trust, ConfigError> {
        if let Some(name) = self.limits.problem() {
            return Err(ConfigError::check(format!(
                "`ingress.limits.{name}` is out of range: nothing, or anything, could be taken"
            )));
        }
        if self.future_tolerance.is_negative() || self.future_tolerance > FUTURE_TOLERANCE_MAX {
            return Err(ConfigError::check(format!(
                "`ingress.future_tolerance` is {:#}: it must be 0 to {FUTURE_TOLERANCE_MAX:#}",
                self.future_tolerance
            )));
        }
        let proxy = &self.proxy;
        let header = |key: &str, name: &str| {
            if name.is_empty() {
                return Ok(None);
            }
            let at = format!("`ingress.proxy.{key}`");
            if proxy.addresses.is_empty() {
                return Err(ConfigError::check(format!(
                    "{at} is set without `ingress.proxy.addresses`: nobody's would be believed"
                )));
            }
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ConfigError::check(format!("{at} is no name of a header")))?;
            Ok(Some(name))
        };
        if let Some(all) = proxy.addresses.iter().find(|net| net.prefix_len() == 0) {
            return Err(ConfigError::check(format!(
                "`ingress.proxy.addresses` holds {all}, which is everybody"
            )));
        }
        Ok(Trust {
            proxies: proxy.addresses.clone(),
            client_header: header("client_header", &proxy.client_header)?,
            address_header: header("address_header", &proxy.address_header)?,
        })
    }

    fn check_client_name(&self, at: &str, app: &App) -> Result<(), ConfigError> {
        let Some(name) = &app.client_name else {
            return Ok(());
        };
        let has_authority = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if name.is_empty() || (!has_authority && self.proxy.client_header.is_empty()) {
            return Err(ConfigError::check(format!(
                "`{at}.client_name` is {name:?}, which no caller could prove: it needs \
                 `ingress.tls.client_ca`, or `ingress.proxy.client_header`"
            )));
        }
        Ok(())
    }

    /// Returns what reading posts of SMS gateways takes; refuses what could never be read.
    pub(crate) fn sms_readers(&self) -> Result<Readers, ConfigError> {
        Ok(Readers {
            layouts: sms::config::layouts(&self.generic_sms)?,
            keywords: Lexicon::new(
                &self.sms_keywords,
                &self.whatsapp_keywords,
                &self.brand_keywords,
            )?,
            senders: self.sms.clone(),
        })
    }

    /// Fetches all secrets; refuses an application or account that nobody could pass.
    pub(crate) fn keys(&self) -> Result<Keys, ConfigError> {
        let mut apps = HashMap::new();
        for (name, app) in &self.apps {
            let at = format!("ingress.apps.{name}");
            let keys = AppKeys {
                secrets: all(&format!("{at}.secrets"), &app.secrets)?,
                verify_token: one(&format!("{at}.verify_token"), &app.verify_token)?,
                client_name: app.client_name.clone(),
            };
            self.check_client_name(&at, app)?;
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
        let sms = sms::config::keys(&self.vonage, &self.generic_sms, all)?;
        Ok(Keys { apps, twilio, sms })
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
    use casement_domain::inbound::Kind;

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
        let policy = QualifyingPolicy::from(config.qualifying);
        assert!(policy.qualifies(Kind::Reaction) && policy.qualifies(Kind::Unsupported));
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
    fn a_row_that_the_platform_documents_cannot_be_overridden() {
        for (row, told) in [
            ("\"text\": false", "Meta: sending messages"),
            ("\"echo\": true", "`echo` cannot be overridden"),
            ("\"history\": true", "it does not open the window"),
            (
                "\"statuses\": true",
                "`statuses` is no kind of customer event",
            ),
        ] {
            let error = read(&format!(r#"{{"qualifying": {{{row}}}}}"#)).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        read(r#"{"qualifying": {"text": true, "echo": false}}"#).unwrap();
    }

    #[test]
    fn the_printed_table_has_each_row_with_its_source_and_reads_back() {
        let config = read(r#"{"qualifying": {"reaction": true}}"#).unwrap();
        let printed = serde_json::to_value(config.qualifying).unwrap();
        let rows = printed.as_object().unwrap();
        assert_eq!(rows.len(), inbound::RULES.len());
        assert_eq!(rows["reaction"], true);
        let again: Qualifying = serde_json::from_value(printed.clone()).unwrap();
        assert_eq!(again, config.qualifying);

        let cited = cite("[a]\ntext = true\n[ingress.qualifying]\ntext = true\nedit = false\n");
        assert!(
            cited.starts_with("[a]\ntext = true\n[ingress.qualifying]\ntext = true # Meta: "),
            "{cited}"
        );
        assert!(cited.contains("edit = false # undocumented: "), "{cited}");
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
    fn who_calls_is_believed_from_named_proxies_only() {
        let trust = |json: &str| read(json).unwrap().trust().map_err(|e| e.to_string());
        let known = trust(
            r#"{"proxy": {"addresses": ["10.0.0.0/8", "::1/128"], "client_header": "X-Client"}}"#,
        )
        .unwrap();
        assert_eq!(known.proxies.len(), 2);
        assert_eq!(known.client_header.unwrap(), "x-client");
        assert!(known.address_header.is_none());
        for (json, named) in [
            (
                r#"{"proxy": {"client_header": "x"}}"#,
                "proxy.client_header",
            ),
            (
                r#"{"proxy": {"addresses": ["10.0.0.0/8"], "address_header": "a b"}}"#,
                "proxy.address_header",
            ),
            (r#"{"proxy": {"addresses": ["0.0.0.0/0"]}}"#, "everybody"),
            (r#"{"limits": {"connections": 0}}"#, "limits.connections"),
            (
                r#"{"limits": {"body_timeout": "0s"}}"#,
                "limits.body_timeout",
            ),
            (r#"{"limits": {"held_mib": 3}}"#, "limits.held_mib"),
            (r#"{"future_tolerance": "61m"}"#, "ingress.future_tolerance"),
        ] {
            let error = trust(json).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_client_name_needs_somebody_who_vouches_for_it() {
        let app =
            r#""apps": {"a": {"secrets": ["s"], "verify_token": "t", "client_name": "c.example"}}"#;
        let keys = |rest: &str| read(&format!("{{{app}{rest}}}")).unwrap().keys();
        let error = keys("").unwrap_err().to_string();
        assert!(error.contains("ingress.apps.a.client_name"), "{error}");
        keys(r#", "tls": {"certificate": "c", "key": "k"}"#).unwrap_err();
        keys(r#", "tls": {"certificate": "c", "key": "k", "client_ca": "a"}"#).unwrap();
        let proxy = r#", "proxy": {"addresses": ["10.0.0.1/32"], "client_header": "x-client"}"#;
        let keys = keys(proxy).unwrap();
        assert_eq!(keys.apps["a"].client_name.as_deref(), Some("c.example"));
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

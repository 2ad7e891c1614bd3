//! The configuration of a process: its sections, where they come from, and what must fit together.
//!
//! What a section means is its role's affair; here are the layers, the demo's own layer, and the
//! checks that no role can make alone.

#[cfg(test)]
mod canaries;
mod check;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use casement_event_log::Sizes;
use casement_shell::auth::{TokenConfig, Tokens};
use casement_shell::config::{ConfigError, Secret, load};
use casement_shell::telemetry::TelemetryConfig;
use casement_shell::tls::TlsConfig;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::process::Which;

/// The defaults, commented: the documentation of the configuration.
const DEFAULTS: &str = include_str!("../config/defaults.toml");

/// What the demo sets on top.
const DEMO: &str = include_str!("../config/demo.toml");

/// Whether secrets that everybody knows are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Real,
    Demo,
}

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) log: LogSection,
    pub(crate) api: ApiSection,
    pub(crate) console: ConsoleSection,
    pub(crate) customers: CustomersSection,
    pub(crate) accounts: casement_accounts::Config,
    #[serde(default)]
    pub(crate) secrets: casement_secrets::Config,
    pub(crate) sms: casement_sms::config::Config,
    pub(crate) money: casement_dispatcher::MoneyConfig,
    pub(crate) ingress: casement_ingress::Config,
    pub(crate) window: casement_window_tracker::Config,
    pub(crate) dispatcher: casement_dispatcher::Config,
    pub(crate) archive: casement_audit_projector::Config,
    pub(crate) gateway: casement_gateway::Config,
    pub(crate) health: HealthSection,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) demo: DemoSection,
}

/// How to reach the broker, and what to ask of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    /// Empty for a broker of our own.
    pub(crate) servers: String,
    monitoring: String,
    accept_unsafe_broker: bool,
    replicas: usize,
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nkey: Option<Secret>,
    inbox_prefix: String,
    #[serde(default, skip_serializing_if = "TlsSection::is_empty")]
    tls: TlsSection,
    ack_timeout: SignedDuration,
    append_deadline: SignedDuration,
    read_timeout: SignedDuration,
    connect_timeout: SignedDuration,
    sizes_mib: SizesSection,
    pub(crate) own_server: OwnServer,
}

/// TLS to the broker, all files in PEM.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

impl TlsSection {
    fn is_empty(&self) -> bool {
        self.ca.is_none() && self.certificate.is_none() && self.key.is_none()
    }
}

/// Size limits of the streams, in MiB.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SizesSection {
    raw: u32,
    customers: u32,
    events: u32,
    messages: u32,
    accounts: u32,
    dead: u32,
    commands: u32,
    keys: u32,
}

/// The broker that `up` runs itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnServer {
    pub(crate) listen: SocketAddr,
    pub(crate) max_file_store_gib: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binary: Option<PathBuf>,
}

impl Default for OwnServer {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4222)),
            max_file_store_gib: 64,
            binary: None,
        }
    }
}

/// Where gRPC is served, and to whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiSection {
    pub(crate) listen: SocketAddr,
    pub(crate) tokens: Vec<TokenConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsConfig>,
}

/// Where people find the console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleSection {
    pub(crate) listen: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsConfig>,
}

/// How customers are named on the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomersSection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_key: Option<Secret>,
}

/// Health pages, and the process's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthSection {
    pub(crate) listen: SocketAddr,
    grace: SignedDuration,
}

/// What only the demo uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DemoSection {
    pub(crate) simulator_listen: SocketAddr,
}

impl Config {
    /// Loads the layers; what must fit together is for [`Config::check`].
    pub(crate) fn load(
        mode: Mode,
        file: Option<&Path>,
        overrides: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let config: Self = load(&defaults(mode), file, overrides)?;
        Ok(config.settled())
    }

    /// Moves along what was left at its default, and hands on what several roles read.
    fn settled(mut self) -> Self {
        let untouched = casement_audit_projector::Config::default().database_path;
        if self.archive.database_path == untouched && self.archive.database_url.is_none() {
            self.archive.database_path = self.data_dir.join("archive.sqlite");
        }
        if self.ingress.media.store.is_empty() {
            self.ingress.media.store = self.data_dir.join("media").display().to_string();
        }
        self.ingress.sms = self.sms.clone();
        self.dispatcher.sms = self.sms.clone();
        self.dispatcher.money = self.money.clone();
        self
    }

    /// Refuses what does not fit together, with every problem.
    pub(crate) fn check(&self, which: Which, mode: Mode) -> Result<(), ConfigError> {
        let problems = check::problems(self, which, mode);
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid { problems })
    }

    /// Returns the secrets that a process uses, each with its key.
    pub(crate) fn secrets(&self, which: Which) -> Vec<(String, &Secret)> {
        let mut secrets = check::all_secrets(self, which);
        for token in &self.api.tokens {
            let secret = token.token.iter();
            secrets.extend(secret.map(|secret| (format!("api.tokens, {}", token.name), secret)));
        }
        secrets
    }

    /// Returns how many bytes all streams together may take.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.sizes_mib.sum() * 1024 * 1024
    }

    /// Returns the tokens that may call.
    pub(crate) fn tokens(&self, mode: Mode) -> Result<Tokens, ConfigError> {
        match mode {
            Mode::Real => Tokens::from_config(&self.api.tokens),
            Mode::Demo => Tokens::for_demo(&self.api.tokens),
        }
        .map_err(|error| ConfigError::check(chain("api.tokens", &error)))
    }

    /// Returns the key that makes subject tokens from identifiers.
    pub(crate) fn token_key(&self) -> Result<SecretString, ConfigError> {
        let secret = self.customers.token_key.as_ref().ok_or_else(|| {
            ConfigError::check(
                "`customers.token_key` is missing: customers are named by it; set it to a secret \
                 of your own, such as `openssl rand -hex 32` prints, or try `casement up --demo`",
            )
        })?;
        secret
            .resolve()
            .map_err(|error| ConfigError::check(chain("`customers.token_key`", &error)))
    }

    /// Returns how to reach the log, through the configured broker or through our own.
    pub(crate) fn log(
        &self,
        own: Option<(String, String)>,
    ) -> Result<casement_event_log::Config, ConfigError> {
        let section = &self.log;
        let (servers, monitoring) =
            own.unwrap_or_else(|| (section.servers.clone(), section.monitoring.clone()));
        let user = match (&section.user, &section.password) {
            (user, Some(password)) if !user.is_empty() => {
                let password = password
                    .resolve()
                    .map_err(|error| ConfigError::check(chain("`log.password`", &error)))?;
                Some((user.clone(), password.expose_secret().to_owned()))
            }
            _ => None,
        };
        let nkey = section.nkey.as_ref().map(Secret::resolve).transpose();
        let nkey = nkey.map_err(|error| ConfigError::check(chain("`log.nkey`", &error)))?;
        Ok(casement_event_log::Config {
            servers,
            name: "casement".to_owned(),
            user,
            credentials_file: section.credentials_file.clone(),
            nkey,
            inbox_prefix: section.inbox_prefix.clone(),
            tls: section.tls.clone().into(),
            monitoring: Some(monitoring).filter(|address| !address.is_empty()),
            accept_unsafe_broker: section.accept_unsafe_broker,
            replicas: section.replicas,
            ack_timeout: duration(section.ack_timeout),
            append_deadline: duration(section.append_deadline),
            read_timeout: duration(section.read_timeout),
            connect_timeout: duration(section.connect_timeout),
            sizes: section.sizes_mib.into(),
        })
    }

    /// How long the process gets to finish what it holds.
    pub(crate) fn grace(&self) -> Duration {
        duration(self.health.grace)
    }
}

impl From<TlsSection> for casement_event_log::Tls {
    fn from(section: TlsSection) -> Self {
        Self {
            ca: section.ca,
            certificate: section.certificate,
            key: section.key,
        }
    }
}

impl From<SizesSection> for Sizes {
    fn from(section: SizesSection) -> Self {
        Self {
            raw_mib: section.raw,
            customers_mib: section.customers,
            events_mib: section.events,
            messages_mib: section.messages,
            accounts_mib: section.accounts,
            dead_mib: section.dead,
            commands_mib: section.commands,
            keys_mib: section.keys,
        }
    }
}

impl SizesSection {
    /// In MiB.
    fn sum(self) -> u64 {
        let sizes = [
            self.raw,
            self.customers,
            self.events,
            self.messages,
            self.accounts,
            self.dead,
            self.commands,
            self.keys,
        ];
        sizes.map(u64::from).iter().sum()
    }
}

/// A negative duration is none; [`Config::check`] refuses it before.
fn duration(of: SignedDuration) -> Duration {
    Duration::try_from(of).unwrap_or_default()
}

/// One line of an error with its causes.
fn chain(what: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns the lowest layer: the defaults, in the demo with what the demo sets.
fn defaults(mode: Mode) -> String {
    if mode == Mode::Real {
        return DEFAULTS.to_owned();
    }
    let parse = |text: &str| text.parse::<Table>().expect("a text that a test parses");
    let mut merged = parse(DEFAULTS);
    merge(&mut merged, parse(DEMO));
    merged.to_string()
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

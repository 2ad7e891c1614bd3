//! What must fit together across sections, and what is refused outside of the demo.
//!
//! Every problem is told at once, each with its key and what to change. Values of secrets never
//! are.

use std::net::SocketAddr;

use casement_shell::config::{ConfigError, Secret};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

use super::{Config, Mode};
use crate::process::Which;

/// Secrets that everybody knows.
pub(crate) const DEMO_SECRETS: [&str; 8] = [
    "demo-app-secret",
    "demo-verify-token",
    "demo-token",
    "demo-twilio-token",
    "demo-token-key-that-is-no-secret",
    "demo-sensitive-key-that-is-no-secret",
    "demo-master-key-that-is-no-secret",
    "demo-archive-key-that-is-no-secret",
];

/// Shorter keys can be guessed.
const TOKEN_KEY_LEN_MIN: usize = 16;

/// How long the broker remembers append ids; an append must be settled well before.
const APPEND_DEADLINE_MAX: SignedDuration = SignedDuration::from_secs(90);

pub(super) fn problems(config: &Config, which: Which, mode: Mode) -> Vec<String> {
    let mut problems = Vec::new();
    if which.has_log() {
        broker(config, which, &mut problems);
    }
    durations(config, &mut problems);
    windows(config, &mut problems);
    problems.extend(config.sms.problems());
    addresses(config, which, mode, &mut problems);
    secrets(config, which, mode, &mut problems);
    problems
}

fn broker(config: &Config, which: Which, problems: &mut Vec<String>) {
    let log = &config.log;
    if log.servers.is_empty() && which != Which::All {
        problems.push(
            "`log.servers` is empty: a role alone needs a broker to share with the others; only \
             `up` runs its own"
                .to_owned(),
        );
    }
    if !log.user.is_empty() && log.password.is_none() {
        problems.push("`log.user` is set without `log.password`".to_owned());
    }
    if log.user.is_empty() && log.password.is_some() {
        problems.push("`log.password` is set without `log.user`".to_owned());
    }
    if log.nkey.is_some() && (log.password.is_some() || log.credentials_file.is_some()) {
        problems.push(
            "`log.nkey` is set beside another way to say who we are: take `log.user` and \
             `log.password`, or `log.credentials_file`, away"
                .to_owned(),
        );
    }
    if let Some(Ok(seed)) = log.nkey.as_ref().map(Secret::resolve)
        && nkeys::KeyPair::from_seed(seed.expose_secret()).is_err()
    {
        problems.push(
            "`log.nkey` is no seed of a key pair, as in `SU…`: `casement broker init` makes them"
                .to_owned(),
        );
    }
    let prefix = &log.inbox_prefix;
    if prefix.is_empty() || prefix.ends_with('.') || prefix.contains(['*', '>', ' ']) {
        problems.push(
            "`log.inbox_prefix` must be a subject such as `_INBOX_ingress`, without wildcards and \
             without a dot at its end"
                .to_owned(),
        );
    }
    if log.tls.certificate.is_some() != log.tls.key.is_some() {
        problems
            .push("`log.tls.certificate` and `log.tls.key` are of use together only".to_owned());
    }
    if log.servers.is_empty() && !log.tls.is_empty() {
        problems.push(
            "`log.tls` is set, but the broker that `up` runs speaks no TLS: name one that does \
             with `log.servers`"
                .to_owned(),
        );
    }
    if ![1, 3, 5].contains(&log.replicas) {
        problems.push(format!(
            "`log.replicas` is {}: it must be 1, 3 or 5",
            log.replicas
        ));
    }
    if log.servers.is_empty() && log.replicas != 1 {
        problems.push(
            "`log.replicas` is more than 1, but the broker that `up` runs is alone: name a cluster \
             with `log.servers`"
                .to_owned(),
        );
    }
    let reserved_mib = log.sizes_mib.sum();
    let limit_mib = u64::from(log.own_server.max_file_store_gib) * 1024;
    if log.servers.is_empty() && reserved_mib >= limit_mib {
        problems.push(format!(
            "`log.sizes_mib` add up to {reserved_mib} MiB, which does not fit into \
             `log.own_server.max_file_store_gib`, {limit_mib} MiB"
        ));
    }
}

fn durations(config: &Config, problems: &mut Vec<String>) {
    let log = &config.log;
    for (key, value) in [
        ("log.ack_timeout", log.ack_timeout),
        ("log.append_deadline", log.append_deadline),
        ("log.read_timeout", log.read_timeout),
        ("log.connect_timeout", log.connect_timeout),
        ("health.grace", config.health.grace),
    ] {
        if !value.is_positive() {
            problems.push(format!("`{key}` must be longer than zero"));
        }
    }
    if log.append_deadline <= log.ack_timeout {
        problems.push(
            "`log.append_deadline` must be longer than `log.ack_timeout`: else nothing is ever \
             repeated"
                .to_owned(),
        );
    }
    if log.append_deadline > APPEND_DEADLINE_MAX {
        problems.push(format!(
            "`log.append_deadline` must not be longer than {APPEND_DEADLINE_MAX:#}: the broker \
             forgets which appends it has"
        ));
    }
    problems.extend(config.dispatcher.problem());
    problems.extend(config.ingress.media.problem());
    let dispatcher = &config.dispatcher;
    let call_ends = dispatcher.call_by.saturating_add(dispatcher.call_timeout);
    if dispatcher.reconcile_after <= call_ends {
        problems.push(format!(
            "`dispatcher.reconcile_after` must be longer than `call_by` and `call_timeout` \
             together, {call_ends:#}: the call may still be under way"
        ));
    }
    if config.health.grace.is_positive() && config.health.grace < SignedDuration::from_secs(1) {
        problems.push("`health.grace` must be at least 1s".to_owned());
    }
}

fn windows(config: &Config, problems: &mut Vec<String>) {
    match config.window.validate() {
        Ok(()) => {}
        Err(ConfigError::Invalid { problems: found }) => {
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("`window`: {problem}")),
            );
        }
        Err(error) => problems.push(format!("`window`: {error}")),
    }
    if config.window.guard < config.dispatcher.call_by {
        problems.push(
            "`window.guard` must not be shorter than `dispatcher.call_by`: a free-form message \
             chosen at the last moment would be sent after the window's end"
                .to_owned(),
        );
    }
    problems.extend(config.archive.problem());
    if config.archive.events_keep <= config.window.length {
        problems.push(
            "`archive.events_keep` must be longer than `window.length`: windows are rebuilt from \
             what the log keeps"
                .to_owned(),
        );
    }
}

fn addresses(config: &Config, which: Which, mode: Mode, problems: &mut Vec<String>) {
    let mut used: Vec<(&str, SocketAddr)> = vec![("health.listen", config.health.listen)];
    if which.has_webhooks() {
        used.push(("ingress.listen", config.ingress.listen));
    }
    used.push(("api.listen", config.api.listen));
    if which.has_console() {
        used.push(("console.listen", config.console.listen));
    }
    if which.has_log() && config.log.servers.is_empty() {
        used.push(("log.own_server.listen", config.log.own_server.listen));
    }
    if mode == Mode::Demo {
        used.push(("demo.simulator_listen", config.demo.simulator_listen));
    }
    for (index, (key, address)) in used.iter().enumerate() {
        let same = used[..index]
            .iter()
            .find(|(_, other)| other.port() == address.port() && address.port() != 0);
        if let Some((other, _)) = same {
            problems.push(format!(
                "`{key}` and `{other}` have the same port, {}",
                address.port()
            ));
        }
    }
    if config.log.servers.is_empty() && !config.log.own_server.listen.ip().is_loopback() {
        problems.push(
            "`log.own_server.listen` must be a local address: that broker asks nobody who they are"
                .to_owned(),
        );
    }
}

fn secrets(config: &Config, which: Which, mode: Mode, problems: &mut Vec<String>) {
    if which.names_customers() {
        match config.token_key() {
            Ok(key) if key.expose_secret().len() < TOKEN_KEY_LEN_MIN => problems.push(format!(
                "`customers.token_key` is shorter than {TOKEN_KEY_LEN_MIN} characters"
            )),
            Ok(_) => {}
            Err(error) => problems.extend(unwrapped(error)),
        }
    }
    if which.runs(Which::AuditProjector) && config.secrets.master_key.is_none() {
        problems.push(
            "`secrets.master_key` is missing: what customers write is archived sealed, and no key \
             is there to seal it with; take what `openssl rand -hex 32` prints"
                .to_owned(),
        );
    }
    if let Err(error) = config.tokens(mode) {
        problems.extend(unwrapped(error));
    }
    for (key, secret) in all_secrets(config, which) {
        match secret.resolve() {
            Ok(value) if mode == Mode::Real && DEMO_SECRETS.contains(&value.expose_secret()) => {
                problems.push(format!(
                    "`{key}` is the demo's, which everybody knows: set one of your own"
                ));
            }
            Ok(_) => {}
            Err(error) => problems.push(super::chain(&format!("`{key}`"), &error)),
        }
    }
}

/// Returns the secrets a process uses, but for those of [`Config::tokens`], which checks its own.
pub(super) fn all_secrets(config: &Config, which: Which) -> Vec<(String, &Secret)> {
    let mut all = Vec::new();
    if which.names_customers() {
        let key = config.customers.token_key.iter();
        all.extend(key.map(|secret| ("customers.token_key".to_owned(), secret)));
    }
    if which.has_log() {
        let password = config.log.password.iter();
        all.extend(password.map(|secret| ("log.password".to_owned(), secret)));
        let seed = config.log.nkey.iter();
        all.extend(seed.map(|secret| ("log.nkey".to_owned(), secret)));
    }
    if which.runs(Which::AuditProjector) {
        let url = config.archive.database_url.iter();
        all.extend(url.map(|url| ("archive.database_url".to_owned(), &url.0)));
        let key = config.archive.signing_key.iter();
        all.extend(key.map(|key| ("archive.signing_key".to_owned(), &key.0)));
    }
    if which.has_secrets() || which.runs(Which::AuditProjector) {
        let key = config.secrets.master_key.iter();
        all.extend(key.map(|secret| ("secrets.master_key".to_owned(), secret)));
    }
    if which.runs(Which::Accounts) {
        let apps = config.accounts.apps.iter();
        all.extend(apps.map(|(name, app)| (format!("accounts.apps.{name}.secret"), &app.secret)));
    }
    if which.runs(Which::Dispatcher) {
        let key = config.dispatcher.sensitive_key.iter();
        all.extend(key.map(|secret| ("dispatcher.sensitive_key".to_owned(), secret)));
        for (name, gateway) in &config.sms.gateways {
            let secrets = gateway.secrets().into_iter();
            all.extend(secrets.map(|(key, secret)| (format!("sms.gateways.{name}.{key}"), secret)));
        }
    }
    if which.has_webhooks() {
        for (name, app) in &config.ingress.apps {
            let at = format!("ingress.apps.{name}");
            all.extend(
                app.secrets
                    .iter()
                    .map(|secret| (format!("{at}.secrets"), secret)),
            );
            all.push((format!("{at}.verify_token"), &app.verify_token));
        }
        for (name, secret) in &config.ingress.media.store_secrets {
            all.push((format!("ingress.media.store_secrets.{name}"), secret));
        }
        for (name, account) in &config.ingress.vonage.accounts {
            let at = format!("ingress.vonage.accounts.{name}.signature_secrets");
            let secrets = account.signature_secrets.iter();
            all.extend(secrets.map(|secret| (at.clone(), secret)));
        }
        for (name, gateway) in &config.ingress.generic_sms {
            let at = format!("ingress.generic_sms.{name}.secrets");
            let secrets = gateway.secrets.iter();
            all.extend(secrets.map(|secret| (at.clone(), secret)));
        }
        for (name, account) in &config.ingress.twilio.accounts {
            let at = format!("ingress.twilio.accounts.{name}.auth_tokens");
            all.extend(
                account
                    .auth_tokens
                    .iter()
                    .map(|secret| (at.clone(), secret)),
            );
        }
    }
    all
}

fn unwrapped(error: ConfigError) -> Vec<String> {
    match error {
        ConfigError::Invalid { problems } => problems,
        other => vec![other.to_string()],
    }
}

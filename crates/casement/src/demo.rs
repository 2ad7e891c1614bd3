//! The demo's surroundings: a simulator in the process, and an account to send from.
//!
//! What happens in it is told by `story`. Its secrets are no secrets, and refused elsewhere.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use casement_shell::SystemClock;
use casement_simulator::{
    Config as Platform, Handle, Limits, NumberConfig, Running, Simulator, TemplateCategory,
    TemplateConfig, TemplateStatus, TwilioConfig,
};
use jiff::SignedDuration;
use secrecy::SecretString;

use crate::config::Config;

/// The business number.
pub(crate) const NUMBER: &str = "+15550001111";

/// Meta's id of the number.
pub(crate) const PHONE_NUMBER_ID: &str = "106540352242922";

/// The sender of SMS.
pub(crate) const SMS_SENDER: &str = "+15550002222";

/// A template that can be used, with one parameter.
pub(crate) const TEMPLATE: &str = "order_update";

/// A template that the platform has paused.
pub(crate) const PAUSED_TEMPLATE: &str = "order_delayed";

/// The language of both.
pub(crate) const LANGUAGE: &str = "en_US";

/// The file of the account, in the folder for data.
const ACCOUNTS: &str = "accounts.toml";

const WABA_ID: &str = "102290129340398";
const PORTFOLIO_ID: &str = "900100200300";
const GRAPH_TOKEN: &str = "demo-graph-token";
const TWILIO_TOKEN: &str = "demo-twilio-token";
const TWILIO_ACCOUNT: &str = "AC00000000000000000000000000000000";
const TEMPLATE_BODY: &str = "Hi, there is news about your order {{1}}. Reply to hear more.";
const PAUSED_TEMPLATE_BODY: &str = "Sorry, your order {{1}} is late.";

/// The demo's surroundings, running. Clones share them.
#[derive(Clone)]
pub(crate) struct Demo {
    pub(crate) handle: Handle,
    pub(crate) simulator: SocketAddr,
    pub(crate) webhooks: SocketAddr,
    /// How long a window is open.
    pub(crate) window: SignedDuration,
    running: std::sync::Arc<std::sync::Mutex<Option<Running>>>,
}

impl Demo {
    /// Starts the simulator and points the configuration at it and at an account of its own.
    pub(crate) async fn start(config: &mut Config) -> anyhow::Result<Self> {
        let webhooks = config.ingress.listen;
        let mut platform = platform(config.window.length);
        platform.listen = config.demo.simulator_listen;
        platform.webhook_url = Some(format!("http://{webhooks}/webhooks/whatsapp"));
        platform.twilio.inbound_url = Some(format!("http://{webhooks}/webhooks/twilio"));
        let running = Simulator::start(platform).await.context("the simulator")?;
        let base_url = running.base_url();
        if config.accounts.file.is_none() {
            write_account(&config.data_dir)?;
        }
        point_at(config, &base_url);
        Ok(Self {
            handle: running.handle(),
            simulator: running.addr(),
            webhooks,
            window: config.window.length,
            running: std::sync::Arc::new(std::sync::Mutex::new(Some(running))),
        })
    }

    /// Stops the simulator.
    pub(crate) async fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            running.stop().await;
        }
    }
}

/// Points a configuration at a simulator, and at the demo's account if that was written.
pub(crate) fn point_at(config: &mut Config, simulator: &str) {
    let webhooks = config.ingress.listen;
    let providers = &mut config.dispatcher.providers;
    simulator.clone_into(&mut providers.graph_url);
    simulator.clone_into(&mut providers.twilio_url);
    providers.twilio_callback_url = format!("http://{webhooks}/webhooks/twilio");
    simulator.clone_into(&mut config.ingress.media.graph_url);
    simulator.clone_into(&mut config.accounts.graph.url);
    config.ingress.twilio.public_url = Some(format!("http://{webhooks}"));
    if config.accounts.file.is_none() {
        config.accounts.file = Some(config.data_dir.join(ACCOUNTS)).filter(|file| file.is_file());
    }
}

/// Returns the platform as the demo has it: one number, two templates, no webhook yet.
pub(crate) fn platform(window: SignedDuration) -> Platform {
    let clock = SystemClock::shared();
    let template = |name: &str, body: &str, status| TemplateConfig {
        waba_id: WABA_ID.to_owned(),
        name: name.to_owned(),
        language: LANGUAGE.to_owned(),
        category: TemplateCategory::Utility,
        body: body.to_owned(),
        parameter_count: 1,
        status,
    };
    Platform {
        window,
        app_secret: SecretString::from("demo-app-secret"),
        verify_token: "demo-verify-token".to_owned(),
        numbers: vec![NumberConfig {
            phone_number_id: PHONE_NUMBER_ID.to_owned(),
            display_phone_number: NUMBER.to_owned(),
            waba_id: WABA_ID.to_owned(),
            token: SecretString::from(GRAPH_TOKEN),
        }],
        templates: vec![
            template(TEMPLATE, TEMPLATE_BODY, TemplateStatus::Approved),
            template(
                PAUSED_TEMPLATE,
                PAUSED_TEMPLATE_BODY,
                TemplateStatus::Paused,
            ),
        ],
        twilio: TwilioConfig {
            account_sid: TWILIO_ACCOUNT.to_owned(),
            auth_token: SecretString::from(TWILIO_TOKEN),
            ..TwilioConfig::default()
        },
        limits: Limits {
            pair: None,
            ..Limits::default()
        },
        ..Platform::new(std::sync::Arc::new(move || clock.now()))
    }
}

/// Writes the account of the demo, with its secrets in files of their own.
fn write_account(data_dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    let graph = data_dir.join("graph-token");
    let twilio = data_dir.join("twilio-token");
    write_private(&graph, GRAPH_TOKEN)?;
    write_private(&twilio, TWILIO_TOKEN)?;
    let file = data_dir.join(ACCOUNTS);
    let text = account(&graph, &twilio);
    std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}

fn account(graph: &Path, twilio: &Path) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let graph = quoted(&graph.display().to_string());
    let twilio = quoted(&twilio.display().to_string());
    format!(
        r#"# Written by `casement up --demo`.
[[brand]]
brand_id = "default"
display_name = "Demo"

[[number]]
number = "{NUMBER}"
brand_id = "default"
portfolio_id = "{PORTFOLIO_ID}"
waba_id = "{WABA_ID}"
phone_number_id = "{PHONE_NUMBER_ID}"
display_name = "Demo"
token_file = {graph}
[number.sms]
sender = "{SMS_SENDER}"
account_sid = "{TWILIO_ACCOUNT}"
auth_token_file = {twilio}

[[template]]
waba_id = "{WABA_ID}"
name = "{TEMPLATE}"
language = "{LANGUAGE}"
category = "utility"
body = "{TEMPLATE_BODY}"

[[template]]
waba_id = "{WABA_ID}"
name = "{PAUSED_TEMPLATE}"
language = "{LANGUAGE}"
category = "utility"
status = "paused"
body = "{PAUSED_TEMPLATE_BODY}"
"#
    )
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, content: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let written = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{content}"));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_account_is_one_that_the_role_takes_and_its_secrets_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = write_account(folder.path()).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let records = casement_accounts::file::parse(&text)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(records.numbers.len(), 1);
        assert_eq!(records.templates.len(), 2);
        assert!(
            records
                .templates
                .iter()
                .all(|template| template.body_parameter_count == 1)
        );
        assert!(!text.contains(GRAPH_TOKEN) && !text.contains(TWILIO_TOKEN));
        let mode = std::fs::metadata(folder.path().join("graph-token"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}

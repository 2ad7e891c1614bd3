//! `casement story`: tells the demo's story at a Casement and a simulator that run elsewhere.
//!
//! It goes through the public surfaces: the API, the broker as a subscriber, the simulator's own
//! pages. The configuration of what runs there has to be the demo's: short windows, its accounts.

use std::path::PathBuf;

use anyhow::Context as _;
use casement_event_log::{Config, Log, Tls};
use casement_shell::SystemClock;
use casement_shell::config::{ConfigError, Secret};
use casement_shell::telemetry::{self, TelemetryConfig};
use clap::Args;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

use crate::story::{self, Platform, Stage};

/// What is told on standard error; whether the broker is fit to be written to does not matter here.
const TROUBLES: &str = "warn,casement_event_log::connect=error";

#[derive(Debug, Args)]
pub(crate) struct StoryArgs {
    /// Address of the API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api: String,
    /// File that holds a token with every scope
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The broker
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// User at the broker
    #[arg(long, value_name = "NAME", default_value = "subscriber")]
    nats_user: String,
    /// File that holds the user's password
    #[arg(long, value_name = "FILE")]
    nats_password_file: PathBuf,
    /// The authority that signed the broker's certificate, PEM
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<PathBuf>,
    /// Address of the simulator
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8083")]
    simulator: String,
    /// How long a window is open there
    #[arg(long, value_name = "DURATION", value_parser = window)]
    window: SignedDuration,
}

pub(crate) async fn run(args: StoryArgs) -> anyhow::Result<()> {
    let troubles = TelemetryConfig {
        filter: TROUBLES.to_owned(),
        ..TelemetryConfig::default()
    };
    let _telemetry = telemetry::init("casement", &troubles)?;
    let password = secret(args.nats_password_file)?;
    let config = Config {
        servers: args.nats.clone(),
        name: "casement story".to_owned(),
        user: Some((args.nats_user, password.expose_secret().to_owned())),
        tls: Tls {
            ca: args.nats_ca,
            ..Tls::default()
        },
        accept_unsafe_broker: true,
        ..Config::default()
    };
    let log = Log::connect(&config)
        .await
        .with_context(|| format!("no log at {}", args.nats))?;
    let stage = Stage {
        platform: Platform::There(args.simulator.trim_end_matches('/').to_owned()),
        window: args.window,
        log,
        clock: SystemClock::shared(),
        api: args.api,
        token: secret(args.token_file)?,
        readiness: None,
        places: None,
        stopping: CancellationToken::new(),
    };
    story::told(&stage).await.context("the story went wrong")
}

/// An empty one is Compose's for a variable that is not set.
fn window(text: &str) -> Result<SignedDuration, String> {
    if text.is_empty() {
        return Err("the roles do not run as the demo's: see deploy/demo/compose.env".to_owned());
    }
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

fn secret(file: PathBuf) -> Result<SecretString, ConfigError> {
    Secret::File(file)
        .resolve()
        .map_err(|error| ConfigError::check(error.to_string()))
}

//! `casement simulate`: the look-alikes of Meta and Twilio alone, for a Casement that runs
//! elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use casement_shell::config::{ConfigError, Secret};
use casement_shell::telemetry::{self, TelemetryConfig};
use casement_simulator::{Played, Script, Simulator, Step, WINDOW};
use clap::Args;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::OutputArgs;
use crate::{demo, output, ports};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Play this script (TOML, or JSON if its name says so), then end
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Where it listens
    #[arg(
        long = "simulator-listen",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8083"
    )]
    listen: SocketAddr,
    /// Where it posts Meta's webhooks
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080/webhooks/whatsapp"
    )]
    webhook_url: String,
    /// Where it posts the SMS that customers send
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080/webhooks/twilio"
    )]
    sms_url: String,
    /// How long a customer's message keeps the window open
    #[arg(long, value_name = "DURATION", default_value_t = WINDOW)]
    window: SignedDuration,
    /// File that holds the app secret it signs with; the demo's if absent
    #[arg(long, value_name = "FILE")]
    app_secret_file: Option<PathBuf>,
    /// File that holds the verify token it shows; the demo's if absent
    #[arg(long, value_name = "FILE")]
    verify_token_file: Option<PathBuf>,
    /// File that holds the Graph API token it takes; the demo's if absent
    #[arg(long, value_name = "FILE")]
    graph_token_file: Option<PathBuf>,
    /// File that holds the auth token of its Twilio; the demo's if absent
    #[arg(long, value_name = "FILE")]
    twilio_token_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let script = args.script.as_deref().map(read).transpose()?;
    ports::require_free(args.listen, "the simulator", "--simulator-listen").await?;
    let telemetry = telemetry::init("casement-simulator", &TelemetryConfig::default())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut platform = demo::platform(args.window);
    platform.listen = args.listen;
    platform.webhook_url = Some(args.webhook_url.clone());
    platform.twilio.inbound_url = Some(args.sms_url.clone());
    let held = |file: &Option<PathBuf>| file.as_deref().map(secret).transpose();
    if let Some(secret) = held(&args.app_secret_file)? {
        platform.app_secret = secret;
    }
    if let Some(token) = held(&args.verify_token_file)? {
        token.expose_secret().clone_into(&mut platform.verify_token);
    }
    if let Some(token) = held(&args.graph_token_file)? {
        for number in &mut platform.numbers {
            number.token = token.clone();
        }
    }
    if let Some(token) = held(&args.twilio_token_file)? {
        platform.twilio.auth_token = token;
    }
    let running = Simulator::start(platform).await?;
    output::talk(format!(
        "Graph API and Twilio look-alikes at {}",
        running.base_url()
    ));
    output::talk(format!(
        "customers are driven at {}/_sim",
        running.base_url()
    ));

    let handle = running.handle();
    let playing = async {
        match &script {
            Some(script) => play(script, &handle, args.output).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        played = playing => played,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    running.stop().await;
    telemetry.shutdown().await;
    outcome
}

fn secret(file: &Path) -> Result<SecretString, ConfigError> {
    Secret::File(file.to_owned())
        .resolve()
        .map_err(|error| ConfigError::check(error.to_string()))
}

async fn play(
    script: &Script,
    handle: &casement_simulator::Handle,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let mut told = Ok(());
    let played = script.run(handle, |played| {
        if told.is_ok() {
            told = tell(&played, output);
        }
    });
    played.await?;
    told
}

fn tell(played: &Played<'_>, output: OutputArgs) -> anyhow::Result<()> {
    if output.json {
        return output::json(&json!({
            "step": played.index,
            "played": played.step,
            "received": played.received,
        }));
    }
    let what = match played.step {
        Step::Wait(time) => format!("waited {time:#}"),
        Step::Say { customer, text, .. } => format!("{customer} wrote: {text}"),
        Step::Expect { customer, .. } => {
            let text = played
                .received
                .as_ref()
                .map_or("", |message| message.text.as_str());
            format!("{customer} received: {text}")
        }
        Step::Inject(_) => "something goes wrong from now on".to_owned(),
        Step::SendMedia(spec) => format!("{} sends a file ({})", spec.customer, spec.kind),
        Step::ClearFaults => "everything goes right again".to_owned(),
    };
    output::line(format!("{:>4}  {what}", played.index))?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let script = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    let wrong = |error| ConfigError::check(format!("script {}: {error}", path.display()));
    Ok(script.map_err(wrong)?)
}

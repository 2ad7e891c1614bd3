//! `casement events tail`: follows the log itself, each event decoded.
//!
//! It reads through the broker and needs its address, not the API's. It acknowledges nothing and
//! leaves no trace on the log.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use casement_event::subject::stream;
use casement_event::{Extension, Stored};
use casement_event_log::{Config, Followed, Log, Position, Start, Tls};
use casement_shell::config::{ConfigError, Secret};
use casement_shell::telemetry::{self, TelemetryConfig};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::cli::OutputArgs;
use crate::{json, output};

/// What is told on standard error: why nothing comes. Whether the broker is fit to be written to
/// does not matter to a reader.
const TROUBLES: &str = "warn,casement_event_log::connect=error";

/// Events that wait to be printed.
const WAITING_MAX: usize = 256;

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print events as they come
    Tail(TailArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// The broker
    #[arg(
        long,
        value_name = "URL",
        env = "CASEMENT_NATS",
        default_value = "nats://127.0.0.1:4222"
    )]
    nats: String,
    /// User at the broker
    #[arg(long, value_name = "NAME", requires = "nats_password_file")]
    nats_user: Option<String>,
    /// File that holds the user's password
    #[arg(long, value_name = "FILE", requires = "nats_user")]
    nats_password_file: Option<PathBuf>,
    /// Credentials file for the broker
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// The authority that signed the broker's certificate, PEM
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<PathBuf>,
    /// Where to begin
    #[arg(long, value_enum, default_value = "new")]
    from: From,
    /// End once all that is stored now was printed
    #[arg(long)]
    no_follow: bool,
    /// Which streams; may be repeated
    #[arg(long = "stream", value_name = "STREAM", default_values = [stream::EVENTS, stream::MESSAGES])]
    streams: Vec<String>,
    /// Only this type, with or without `casement.events.v1.`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of this business number
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// Only of this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// What comes from now on
    New,
    /// The newest event of each subject, then what comes
    Last,
    /// The oldest that the log holds
    Start,
}

pub(crate) async fn run(command: EventsCommand) -> anyhow::Result<()> {
    let EventsCommand::Tail(args) = command;
    let troubles = TelemetryConfig {
        filter: TROUBLES.to_owned(),
        ..TelemetryConfig::default()
    };
    let _telemetry = telemetry::init("casement", &troubles)?;
    let log = connect(&args).await?;
    let wanted = Wanted::new(&args);
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    for stream in &args.streams {
        let filters = filters(stream)?;
        tokio::spawn(follow(
            log.clone(),
            stream.clone(),
            filters,
            args.from,
            sender.clone(),
        ));
    }
    drop(sender);
    let mut left_to_catch_up = args.streams.len();
    while let Some(followed) = receiver.recv().await {
        match followed {
            Followed::Event(stored) if wanted.matches(&stored) => print(&stored, args.output)?,
            Followed::Event(_) => {}
            Followed::CaughtUp { .. } => {
                left_to_catch_up -= 1;
                if args.no_follow && left_to_catch_up == 0 {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn connect(args: &TailArgs) -> anyhow::Result<Log> {
    let user = match (&args.nats_user, &args.nats_password_file) {
        (Some(user), Some(file)) => {
            let password = Secret::File(file.clone())
                .resolve()
                .map_err(|error| ConfigError::check(error.to_string()))?;
            Some((user.clone(), password.expose_secret().to_owned()))
        }
        _ => None,
    };
    let config = Config {
        servers: args.nats.clone(),
        name: "casement events tail".to_owned(),
        user,
        credentials_file: args.nats_creds.clone(),
        tls: Tls {
            ca: args.nats_ca.clone(),
            ..Tls::default()
        },
        // See `TROUBLES`.
        accept_unsafe_broker: true,
        ..Config::default()
    };
    Log::connect(&config)
        .await
        .with_context(|| format!("no log at {}: is `casement up` running?", args.nats))
}

async fn follow(
    log: Log,
    stream: String,
    filters: Vec<String>,
    from: From,
    sender: mpsc::Sender<Followed>,
) {
    let start = match from {
        From::New => Start::New,
        From::Last => Start::LastPerSubject,
        From::Start => Start::Sequence(1),
    };
    let mut follower = log.follow(&stream, filters, start);
    loop {
        let followed = follower.next().await;
        if sender.send(followed).await.is_err() {
            return;
        }
    }
}

fn filters(stream: &str) -> Result<Vec<String>, ConfigError> {
    let all = match stream {
        // The consumer is one of this stream: it sees no more than is stored there.
        stream::EVENTS | stream::MESSAGES => vec!["casement.events.>".to_owned()],
        stream::ACCOUNTS => vec!["casement.accounts.>".to_owned()],
        stream::CUSTOMERS => vec!["casement.customers.>".to_owned()],
        stream::DEAD => vec!["casement.dead.>".to_owned()],
        stream::RAW => vec!["casement.raw.>".to_owned()],
        _ => {
            return Err(ConfigError::check(format!(
                "there is no stream {stream}: choose of EVENTS, MESSAGES, ACCOUNTS, CUSTOMERS, \
                 DEAD, RAW"
            )));
        }
    };
    Ok(all)
}

struct Wanted {
    event_type: Option<String>,
    number: Option<String>,
    customer: Option<String>,
}

impl Wanted {
    fn new(args: &TailArgs) -> Self {
        Self {
            event_type: args.event_type.clone(),
            number: args
                .number
                .as_ref()
                .map(|number| number.trim_start_matches('+').to_owned()),
            customer: args.customer.clone(),
        }
    }

    fn matches(&self, stored: &Stored) -> bool {
        let is_type = self.event_type.as_deref().is_none_or(|wanted| {
            stored.event_type() == wanted || short(stored.event_type()) == wanted
        });
        let has = |wanted: &Option<String>, extension| {
            wanted.as_deref().is_none_or(|wanted| {
                stored.extension(extension) == Some(wanted)
                    || stored.subject.split('.').any(|token| token == wanted)
            })
        };
        is_type && has(&self.number, Extension::Number) && has(&self.customer, Extension::Customer)
    }
}

fn print(stored: &Stored, output: OutputArgs) -> anyhow::Result<()> {
    if output.json {
        return output::json(&as_json(stored));
    }
    let at = stored.time().unwrap_or(stored.stored_at);
    let mut facts = String::new();
    for (name, extension) in [
        ("state", Extension::State),
        ("expires", Extension::ExpireTime),
        ("reference", Extension::ClientReference),
    ] {
        if let Some(value) = stored.extension(extension) {
            // Writing to a string cannot fail.
            let _ = write!(facts, "  {name}={value}");
        }
    }
    output::line(format!(
        "{}  {:<24}  {}{facts}",
        at.strftime("%F %T%.3f"),
        short(stored.event_type()),
        stored.subject
    ))?;
    Ok(())
}

/// Returns a stored event as JSON: all its headers but the broker's own, and the payload as proto3's
/// JSON. What cannot be decoded is told with why.
fn as_json(stored: &Stored) -> Value {
    let headers: Map<String, Value> = stored
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with("Nats-"))
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let mut told = json!({
        "stream": stored.stream,
        "sequence": stored.sequence,
        "position": position(stored),
        "subject": stored.subject,
        "type": stored.event_type(),
        "storedTime": stored.stored_at.to_string(),
        "headers": headers,
    });
    let (key, value) = match json::decode(stored.event_type(), &stored.payload) {
        Ok(event) => ("event", event),
        Err(error) => ("problem", Value::from(format!("{error:#}"))),
    };
    told[key] = value;
    told
}

/// What a read of the API takes as `not_before`, to answer from nothing older than this event.
fn position(stored: &Stored) -> String {
    Position {
        stream: stored.stream.clone(),
        incarnation: stored.incarnation.clone(),
        sequence: stored.sequence,
    }
    .to_string()
}

fn short(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use casement_event::v1;
    use jiff::Timestamp;
    use prost::Message as _;

    use super::*;

    fn stored() -> Stored {
        Stored {
            stream: "EVENTS".to_owned(),
            incarnation: "1".to_owned(),
            sequence: 7,
            subject: "casement.events.window.03.15550001111.c1".to_owned(),
            stored_at: Timestamp::UNIX_EPOCH,
            headers: vec![
                ("Nats-Msg-Id".to_owned(), "x".to_owned()),
                ("casement-append-id".to_owned(), "y".to_owned()),
                ("ce-number".to_owned(), "15550001111".to_owned()),
                (
                    "ce-type".to_owned(),
                    "casement.events.v1.WindowOpened".to_owned(),
                ),
            ],
            payload: v1::WindowOpened {
                reason: 1,
                ..Default::default()
            }
            .encode_to_vec()
            .into(),
        }
    }

    #[test]
    fn an_event_is_told_with_its_payload() {
        let told = as_json(&stored());
        assert_eq!(told["event"]["reason"], "OPEN_REASON_CUSTOMER");
        assert_eq!(told["headers"]["ce-number"], "15550001111");
        assert_eq!(told["headers"]["casement-append-id"], "y");
        assert!(told["headers"].get("Nats-Msg-Id").is_none());
        assert_eq!(told["position"], "EVENTS~1~7");
        let broken = Stored {
            payload: vec![0xff].into(),
            ..stored()
        };
        assert!(as_json(&broken)["problem"].is_string());
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let wanted = |event_type: Option<&str>, number: Option<&str>, customer: Option<&str>| {
            Wanted {
                event_type: event_type.map(str::to_owned),
                number: number.map(str::to_owned),
                customer: customer.map(str::to_owned),
            }
            .matches(&stored())
        };
        assert!(wanted(None, None, None));
        assert!(wanted(
            Some("WindowOpened"),
            Some("15550001111"),
            Some("c1")
        ));
        assert!(wanted(Some("casement.events.v1.WindowOpened"), None, None));
        assert!(!wanted(Some("WindowExpired"), None, None));
        assert!(!wanted(None, Some("15550002222"), None));
        assert!(!wanted(None, None, Some("c2")));
    }

    #[test]
    fn a_stream_nobody_knows_is_refused() {
        assert!(filters("EVENTS").is_ok());
        assert!(filters("events").is_err());
    }
}

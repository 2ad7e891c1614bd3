//! Follows the windows of one business number: each event is handled once and in order, however
//! often this program is killed, and told as one line of JSON.
//!
//! It is made to be copied. What happens here and why is told in `docs/subscribe.md`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, Message};
use async_nats::{ConnectOptions, HeaderMap, HeaderValue};
use casement_proto::events::v1;
use clap::Parser;
use futures::StreamExt as _;
use prost::Message as _;
use serde_json::json;

use seen::Seen;

mod seen;

const STREAM: &str = "EVENTS";

/// A handler that takes longer says so: `message.ack_with(AckKind::Progress)`.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// How long to wait before asking again a broker that had no answer.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Follow the windows of one business number
#[derive(Debug, Parser)]
struct Args {
    /// The broker
    #[arg(long, default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// Credentials file for the broker
    #[arg(long)]
    creds: Option<PathBuf>,
    /// User at the broker
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// File that holds the user's password
    #[arg(long, requires = "user")]
    password_file: Option<PathBuf>,
    /// The business number, as in +15550001111
    #[arg(long)]
    number: String,
    /// Name of the durable consumer: one for each service that listens
    #[arg(long, default_value = "example-rust")]
    durable: String,
    /// Where the ids of handled events are kept
    #[arg(long, default_value = "seen-ids")]
    seen: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut seen = Seen::open(args.seen.clone())?;
    let jetstream = jetstream::new(connect(&args).await?);
    loop {
        // The client reconnects by itself; this is for the rest, such as a broker that restarts.
        let mut messages = match messages(&jetstream, &args).await {
            Ok(messages) => messages,
            Err(error) => {
                again(&*error).await;
                continue;
            }
        };
        while let Some(message) = messages.next().await {
            match message {
                // An error in here ends the program before the acknowledgement: it gets this
                // event again when it is started again.
                Ok(message) => {
                    handle_once(&message, &mut seen)?;
                    // Lost, it is only repeated.
                    let _ = message.ack().await;
                }
                Err(error) => {
                    again(&error).await;
                    break;
                }
            }
        }
    }
}

async fn connect(args: &Args) -> anyhow::Result<async_nats::Client> {
    let mut options = ConnectOptions::new()
        .name(&args.durable)
        .retry_on_initial_connect();
    if let Some(file) = &args.creds {
        options = options.credentials_file(file).await?;
    }
    if let (Some(user), Some(file)) = (&args.user, &args.password_file) {
        let password = std::fs::read_to_string(file)?;
        options = options.user_and_password(user.clone(), password.trim_end().to_owned());
    }
    Ok(options.connect(&args.nats).await?)
}

/// Creates the durable consumer, or goes on with the one that is there.
///
/// It begins with the newest event of each conversation, which holds its whole window, and goes on
/// with everything that was stored after those: the broker notes where the stream ends when it
/// makes the consumer, so there is no gap between the two.
async fn messages(
    jetstream: &jetstream::Context,
    args: &Args,
) -> Result<pull::Stream, async_nats::Error> {
    let config = pull::Config {
        durable_name: Some(args.durable.clone()),
        filter_subject: format!(
            "casement.events.window.*.{}.*",
            args.number.trim_start_matches('+')
        ),
        deliver_policy: DeliverPolicy::LastPerSubject,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        // One after the other: an event that has to be delivered again comes before its successors.
        max_ack_pending: 1,
        ..pull::Config::default()
    };
    let consumer = jetstream.create_consumer_on_stream(config, STREAM).await?;
    Ok(consumer.messages().await?)
}

/// Handles an event unless its id has been seen.
fn handle_once(message: &Message, seen: &mut Seen) -> anyhow::Result<()> {
    let id = header(message.headers.as_ref(), "ce-id").context("an event without ce-id")?;
    if seen.contains(id) {
        return Ok(());
    }
    handle(id, message)?;
    // Where handling means to write to a database, write the id in the same transaction.
    seen.add(id)
}

fn handle(id: &str, message: &Message) -> anyhow::Result<()> {
    let event_type = header(message.headers.as_ref(), "ce-type").unwrap_or_default();
    let name = event_type.trim_start_matches("casement.events.v1.");
    let Some(window) = window(name, &message.payload)? else {
        // New types may appear: leave alone what you do not know.
        return Ok(());
    };
    let conversation = window.conversation.clone().unwrap_or_default();
    let info = message.info().map_err(anyhow::Error::from_boxed)?;
    tell(&json!({
        "id": id,
        "type": name,
        "sequence": info.stream_sequence,
        "customer": conversation.customer_id,
        "window": window.window_id,
        "state": window.state().as_str_name(),
        "openTime": window.open_time.map(|time| time.to_string()),
        "expireTime": window.expire_time.map(|time| time.to_string()),
        // Nothing, if the last word is the business's and nobody waits for an answer.
        "waitingSinceTime": window.waiting_since_time.map(|time| time.to_string()),
    }));
    Ok(())
}

/// Every window event holds the whole window; `None` if this is no window event we know.
fn window(name: &str, payload: &[u8]) -> Result<Option<v1::PublishedWindow>, prost::DecodeError> {
    Ok(match name {
        "WindowOpened" => v1::WindowOpened::decode(payload)?.window,
        "WindowExtended" => v1::WindowExtended::decode(payload)?.window,
        "WindowExpiring" => v1::WindowExpiring::decode(payload)?.window,
        "WindowExpired" => v1::WindowExpired::decode(payload)?.window,
        "WindowCorrected" => v1::WindowCorrected::decode(payload)?.window,
        _ => None,
    })
}

fn header<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(HeaderValue::as_str)
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn tell(line: &serde_json::Value) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a program of its own, without a log")]
async fn again(error: &(dyn std::error::Error + Send + Sync)) {
    eprintln!("{error}; asking again");
    tokio::time::sleep(RETRY_DELAY).await;
}

//! Watches from outside: the log through a plain client of the broker, the platform's books, the
//! archive's answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use casement_event::Event;
use casement_proto::audit::v1::VerifyChainRequest;
use casement_proto::conversation::v1::ListConversationsRequest;
use casement_proto::message::v1::{ListMessagesRequest, MessageFilter};
use casement_simulator::{Channel, Handle, Status, WebhookRecord, WebhookState};
use casement_tests::{Clients, NUMBER};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::history::{Call, Chain, Entry, History, Said, Told};
use crate::system::{FRESH, System, WINDOW_SECONDS};
use crate::traffic::Answers;

/// The streams that hold events.
const STREAMS: [&str; 4] = ["EVENTS", "MESSAGES", "ACCOUNTS", "CUSTOMERS"];

/// How long the next message of a stream may take.
const NEXT_WITHIN: Duration = Duration::from_secs(10);

/// How many rows are asked for at once.
const PAGE: i32 = 500;

/// Reads the log of a broker as any subscriber can.
///
/// # Errors
/// When the broker does not answer.
pub async fn log(url: &str) -> anyhow::Result<Vec<Entry>> {
    let client = async_nats::connect(url).await?;
    let context = jetstream::new(client);
    let mut entries = Vec::new();
    for name in STREAMS {
        let mut stream = context.get_stream(name).await?;
        let last = stream.info().await?.state.last_sequence;
        let is_empty = stream.cached_info().state.messages == 0;
        if is_empty {
            continue;
        }
        let consumer = stream.create_consumer(OrderedConfig::default()).await?;
        let mut messages = consumer.messages().await?;
        loop {
            let message = tokio::time::timeout(NEXT_WITHIN, messages.next())
                .await
                .context("the log does not go on")?
                .context("the log ends early")??;
            let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
            let sequence = info.stream_sequence;
            let stored_at = info.published.unix_timestamp_nanos();
            let header = |name: &str| {
                let headers = message.headers.as_ref()?;
                headers.get(name).map(|value| value.as_str().to_owned())
            };
            let event =
                header("ce-type").and_then(|name| Event::decode(&name, &message.payload).ok());
            if let Some(event) = event {
                entries.push(Entry {
                    stream: name.to_owned(),
                    sequence,
                    stored_at: Timestamp::from_nanosecond(stored_at)?,
                    subject: message.subject.to_string(),
                    id: header("ce-id").unwrap_or_default(),
                    event,
                });
            }
            if sequence >= last {
                break;
            }
        }
    }
    Ok(entries)
}

/// Returns everything that was seen so far.
///
/// # Errors
/// When somebody does not answer.
pub async fn history(system: &System, answers: &Answers) -> anyhow::Result<History> {
    let clients = system.stack.clients();
    let chains = chains(&clients).await?;
    let webhooks = system.stack.simulator.webhooks();
    let (told, said) = platform(&webhooks)?;
    let log = log(&system.stack.nats.url()).await?;
    Ok(History {
        window: SignedDuration::from_secs(i64::from(WINDOW_SECONDS)),
        told,
        said,
        confirmed: answers.confirmed.clone(),
        calls: calls(&system.stack.simulator, &log),
        chains,
        differences: Vec::new(),
        log,
    })
}

/// Returns where read models differ from those of the second archive, which made them anew.
///
/// # Errors
/// When an archive does not answer.
pub async fn differences(system: &System) -> anyhow::Result<Vec<String>> {
    let served = models(&system.stack.clients()).await?;
    let fresh = models(&system.stack.clients_of_archive(FRESH)).await?;
    let mut differences = Vec::new();
    for (name, row) in &served {
        match fresh.get(name) {
            None => differences.push(format!("{name} is not there when made anew")),
            Some(other) if other != row => {
                differences.push(format!("{name} differs: {}", difference(row, other)));
            }
            Some(_) => {}
        }
    }
    for name in fresh.keys().filter(|name| !served.contains_key(*name)) {
        differences.push(format!("{name} is there only when made anew"));
    }
    Ok(differences)
}

/// Shows two texts from where they part.
fn difference(one: &str, other: &str) -> String {
    const BEFORE: usize = 60;
    const AFTER: usize = 160;
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    let from = same.count().saturating_sub(BEFORE);
    let part = |text: &str| text.chars().skip(from).take(AFTER).collect::<String>();
    format!("…{}…, made anew …{}…", part(one), part(other))
}

/// Returns whether the second archive has everything that the first one has.
pub(crate) async fn fresh_is_complete(system: &System) -> anyhow::Result<bool> {
    let served = chains(&system.stack.clients()).await?;
    let fresh = chains(&system.stack.clients_of_archive(FRESH)).await?;
    let reached = |stream: &str| {
        let chain = fresh.iter().find(|chain| chain.stream == stream);
        chain.map_or(0, |chain| chain.last_sequence)
    };
    Ok(served
        .iter()
        .all(|chain| reached(&chain.stream) >= chain.last_sequence))
}

/// Conversations and messages as an archive lists them, by their names.
async fn models(clients: &Clients) -> anyhow::Result<BTreeMap<String, String>> {
    let mut models = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListConversationsRequest {
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let mut conversations = clients.conversations.clone();
        let answer = conversations
            .list_conversations(request)
            .await?
            .into_inner();
        for mut row in answer.conversations {
            // Which of two streams was archived last is no part of what they amount to.
            row.position.clear();
            let name = format!("conversation {}", row.customer_id);
            models.insert(name, format!("{row:?}"));
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    loop {
        let request = ListMessagesRequest {
            filter: Some(MessageFilter {
                number: NUMBER.to_owned(),
                ..Default::default()
            }),
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let mut messages = clients.message_queries.clone();
        let answer = messages.list_messages(request).await?.into_inner();
        for mut row in answer.messages {
            row.position.clear();
            models.insert(format!("message {}", row.message_id), format!("{row:?}"));
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(models);
        }
    }
}

async fn chains(clients: &Clients) -> anyhow::Result<Vec<Chain>> {
    let request = VerifyChainRequest::default();
    let answer = clients.audit.clone().verify_chain(request).await?;
    let reports = answer.into_inner().reports.into_iter();
    Ok(reports
        .map(|report| Chain {
            stream: report.stream,
            is_intact: report.intact,
            last_sequence: report.last_sequence,
            explanation: report.explanation,
        })
        .collect())
}

fn calls(simulator: &Handle, log: &[Entry]) -> Vec<Call> {
    let sent = simulator.sent().into_iter();
    sent.map(|sent| Call {
        is_accepted: sent.is_accepted(),
        is_delivered: sent.was_reported(Status::Delivered),
        is_failed: sent.was_reported(Status::Failed),
        at: sent.at,
        attempt: sent
            .callback_data
            .unwrap_or_else(|| attempt_by_text(log, &sent.text, sent.at)),
    })
    .collect()
}

/// Which attempt an SMS belongs to: its text names the request, and the newest claim before the
/// call is the one that it was made by.
fn attempt_by_text(log: &[Entry], text: &str, at: Timestamp) -> String {
    let requested = log.iter().find_map(|entry| match &entry.event {
        Event::MessageRequested(request) if request.request_id == text => Some(entry.about()),
        _ => None,
    });
    let message = requested.unwrap_or(text);
    let claims = log.iter().filter_map(|entry| match &entry.event {
        Event::AttemptStarted(claim) if claim.message_id == message && entry.stored_at <= at => {
            Some(claim.attempt)
        }
        _ => None,
    });
    format!("{message}.{}", claims.max().unwrap_or_default())
}

/// What webhooks told that were answered 200, and what customers said.
fn platform(webhooks: &[WebhookRecord]) -> anyhow::Result<(Vec<Told>, Vec<Said>)> {
    let (mut told, mut said) = (Vec::new(), Vec::new());
    for webhook in webhooks {
        let mut items = Vec::new();
        match webhook.channel {
            Channel::Whatsapp => {
                let body: Value = serde_json::from_str(&webhook.body)?;
                for value in values(&body) {
                    for message in array(&value["messages"]) {
                        let id = text(&message["id"]);
                        let seconds = text(&message["timestamp"]).parse()?;
                        items.push(Told::Said(id.clone()));
                        let at = Timestamp::from_second(seconds)?;
                        said.push(Said { id, at });
                    }
                    for status in array(&value["statuses"]) {
                        items.push(Told::Report(text(&status["id"]), text(&status["status"])));
                    }
                }
            }
            Channel::Sms => {
                let form: BTreeMap<String, String> = serde_urlencoded::from_str(&webhook.body)?;
                if let (Some(id), Some(status)) =
                    (form.get("MessageSid"), form.get("MessageStatus"))
                {
                    items.push(Told::Report(id.clone(), status.clone()));
                }
            }
            Channel::Vonage | Channel::Generic => {}
        }
        if webhook.state == WebhookState::Delivered {
            told.append(&mut items);
        }
    }
    Ok((told, said))
}

fn values(body: &Value) -> impl Iterator<Item = &Value> {
    let entries = array(&body["entry"]).iter();
    entries
        .flat_map(|entry| array(&entry["changes"]))
        .map(|change| &change["value"])
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

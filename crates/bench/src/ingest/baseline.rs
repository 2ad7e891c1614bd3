//! What the disk and the broker do without us: the same bytes, appended and synced, and the same
//! messages, read and written again.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::time::Instant;

/// How many messages an atomic batch may hold.
const BATCH_LEN: usize = 1_000;

/// What the streams of a baseline are called, and the start of their subjects.
const STREAM: &str = "BASELINE";
const PREFIX: &str = "baseline";

/// A message without its place.
pub(crate) struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Message {
    /// Whether it is of a family of events.
    pub(crate) fn is_of(&self, family: &str) -> bool {
        let prefix = format!("{PREFIX}.casement.events.{family}.");
        self.subject.starts_with(&prefix)
    }
}

/// Appends the packs to a file, each synced before the next; returns how long each took.
pub(super) async fn file(packs: Vec<Bytes>) -> anyhow::Result<Vec<Duration>> {
    tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile().context("a file to append to")?;
        let mut each = Vec::with_capacity(packs.len());
        for pack in packs {
            let begun = Instant::now();
            file.write_all(&pack).context("append")?;
            file.sync_data().context("sync")?;
            each.push(begun.elapsed());
        }
        anyhow::Ok(each)
    })
    .await?
}

/// Publishes the packs to a stream of their own, one after the other; returns how long each took.
pub(super) async fn publish(
    context: &jetstream::Context,
    packs: Vec<Bytes>,
) -> anyhow::Result<Vec<Duration>> {
    let stream = create(context, false).await?;
    let mut each = Vec::with_capacity(packs.len());
    for pack in packs {
        let begun = Instant::now();
        context
            .publish(format!("{PREFIX}.raw"), pack)
            .await
            .context("publish")?
            .await
            .context("publish")?;
        each.push(begun.elapsed());
    }
    drop(stream);
    context.delete_stream(STREAM).await?;
    Ok(each)
}

async fn create(context: &jetstream::Context, is_batched: bool) -> anyhow::Result<stream::Stream> {
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{PREFIX}.>")],
        allow_atomic_publish: is_batched,
        duplicate_window: Duration::from_mins(2),
        ..stream::Config::default()
    };
    context.create_stream(config).await.context("create stream")
}

/// Reads all messages of a stream after a sequence.
pub(crate) async fn read(
    context: &jetstream::Context,
    name: &str,
    after: u64,
) -> anyhow::Result<Vec<Message>> {
    let mut stream = context.get_stream(name).await?;
    let last = stream.info().await?.state.last_sequence;
    let mut all = Vec::new();
    if last <= after {
        return Ok(all);
    }
    let config = consumer::pull::OrderedConfig {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        ..consumer::pull::OrderedConfig::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let sequence = message
            .info()
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .stream_sequence;
        let mut headers = HeaderMap::new();
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let name_text = name.to_string();
            let is_of_append =
                name_text.starts_with("Nats-Expected") || name_text.starts_with("Nats-Batch");
            for value in values.iter().filter(|_| !is_of_append) {
                headers.append(name.clone(), value.clone());
            }
        }
        all.push(Message {
            subject: format!("{PREFIX}.{}", message.subject),
            headers,
            payload: message.payload.clone(),
        });
        if sequence >= last {
            break;
        }
    }
    Ok(all)
}

/// Reads the newest `count` messages of RAW with acknowledgements, and appends `events` in atomic
/// batches meanwhile; returns how long both took.
pub(crate) async fn consume_and_append(
    context: &jetstream::Context,
    after: u64,
    count: usize,
    events: &[Message],
) -> anyhow::Result<Duration> {
    let stream = create(context, true).await?;
    let begun = Instant::now();
    tokio::try_join!(read_raw(context, after, count), append_all(context, events))?;
    let took = begun.elapsed();
    drop(stream);
    context.delete_stream(STREAM).await?;
    Ok(took)
}

/// As [`consume_and_append`], and each event is delivered three times meanwhile: to one who
/// acknowledges it, and to two who do not. Returns how long all took.
pub(crate) async fn relay(
    context: &jetstream::Context,
    packs: usize,
    events: &[Message],
) -> anyhow::Result<Duration> {
    let stream = create(context, true).await?;
    let follow = async |ack_policy| {
        let config = consumer::pull::Config {
            ack_policy,
            ..consumer::pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await?;
        let mut messages = consumer.messages().await?;
        for _ in 0..events.len() {
            let Some(message) = messages.next().await else {
                bail!("the stream of messages ended");
            };
            let message = message?;
            if ack_policy == consumer::AckPolicy::Explicit {
                message
                    .ack()
                    .await
                    .map_err(|error| anyhow::anyhow!("{error}"))?;
            }
        }
        Ok(())
    };
    let begun = Instant::now();
    tokio::try_join!(
        read_raw(context, 0, packs),
        append_all(context, events),
        follow(consumer::AckPolicy::Explicit),
        follow(consumer::AckPolicy::None),
        follow(consumer::AckPolicy::None),
    )?;
    let took = begun.elapsed();
    drop(stream);
    context.delete_stream(STREAM).await?;
    Ok(took)
}

async fn append_all(context: &jetstream::Context, events: &[Message]) -> anyhow::Result<()> {
    for batch in events.chunks(BATCH_LEN) {
        append(context, batch).await?;
    }
    Ok(())
}

/// Reads so many messages of RAW after a sequence, and acknowledges each.
async fn read_raw(context: &jetstream::Context, after: u64, count: usize) -> anyhow::Result<()> {
    let config = consumer::pull::Config {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        ack_policy: consumer::AckPolicy::Explicit,
        ..consumer::pull::Config::default()
    };
    let raw = context.get_stream("RAW").await?;
    let consumer = raw.create_consumer(config).await?;
    let mut messages = consumer.messages().await?;
    for _ in 0..count {
        let Some(message) = messages.next().await else {
            bail!("the stream of messages ended");
        };
        message?
            .ack()
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Ack {
    error: Option<serde_json::Value>,
}

async fn append(context: &jetstream::Context, batch: &[Message]) -> anyhow::Result<()> {
    let client = context.client();
    let id = uuid::Uuid::new_v4().simple().to_string();
    for (index, message) in batch.iter().enumerate() {
        let mut headers = message.headers.clone();
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", (index + 1).to_string().as_str());
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        if index + 1 < batch.len() {
            client
                .publish_with_headers(subject, headers, payload)
                .await?;
            continue;
        }
        headers.insert("Nats-Batch-Commit", "1");
        let answer = client
            .request_with_headers(subject, headers, payload)
            .await?;
        let ack: Ack = serde_json::from_slice(&answer.payload)?;
        if let Some(error) = ack.error {
            bail!("a batch was refused: {error}");
        }
    }
    Ok(())
}

//! The broker alone: the same messages, written, delivered and heard, and nobody looking at them.
//!
//! It writes as the log does: few at once are pipelined, many are a batch.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, Republish};
use async_nats::jetstream::{self, AckKind, consumer};
use bytes::Bytes;
use casement_event::subject::{Family, stream};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How many messages an atomic batch may hold.
const BATCH_LEN_MAX: usize = 1_000;

/// From how many on a batch is cheaper.
const BATCH_LEN_MIN: usize = 24;

/// How many messages may wait to be written.
const QUEUE_LEN_MAX: usize = 65_536;

/// How many messages a consumer has in hand at most.
const IN_HAND_MAX: usize = 256;

/// How long nothing may be heard while something is to come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The streams, and the first tokens of their subjects.
const STREAMS: [(&str, &str); 3] = [
    ("PLAIN_RAW", "plain.raw"),
    ("PLAIN_CUSTOMERS", "plain.customers"),
    ("PLAIN_EVENTS", "plain.events"),
];

/// A message as a role wrote it, without its place and its expectations.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    headers: HeaderMap,
    payload: Bytes,
}

/// One message of each kind that a post leads to.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    raw: Sample,
    link: Sample,
    inbound: Sample,
    window: Sample,
}

/// How far a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// One append, and the subscriber.
    Append,
    /// A post stored and delivered; a link and a fact stored; the fact delivered; a window event
    /// stored, and the subscriber.
    Whole,
}

impl Sample {
    /// Writes a copy to a stream of this module, and waits until it is stored.
    pub(crate) async fn publish(
        &self,
        context: &jetstream::Context,
        token: &str,
    ) -> anyhow::Result<()> {
        let Self { headers, payload } = self.clone();
        let subject = format!("plain.events.{token}");
        let stored = context.publish_with_headers(subject, headers, payload);
        stored.await?.await?;
        Ok(())
    }
}

/// Reads one message of each kind from the streams of a run.
pub(crate) async fn samples(context: &jetstream::Context) -> anyhow::Result<Samples> {
    let last = async |name: &str, filter: &str| sample(context, name, filter).await;
    Ok(Samples {
        raw: last(stream::RAW, "casement.raw.>").await?,
        link: last(stream::CUSTOMERS, "casement.customers.link.>").await?,
        inbound: last(stream::EVENTS, &Family::Inbound.filter()).await?,
        window: last(stream::EVENTS, &Family::Window.filter()).await?,
    })
}

/// Reads the newest message of a filter.
pub(crate) async fn sample(
    context: &jetstream::Context,
    name: &str,
    filter: &str,
) -> anyhow::Result<Sample> {
    let stream = context.get_stream_no_info(name).await?;
    let message = stream
        .raw_message_builder()
        .last_by_subject(filter)
        .send()
        .await?;
    let mut headers = HeaderMap::new();
    for (name, values) in message.headers.iter() {
        // What belongs to the append; ids of appends would make the copies repeats.
        if !name.to_string().starts_with("Nats-") {
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
    }
    Ok(Sample {
        headers,
        payload: message.payload,
    })
}

/// Sends copies of one message at a rate to a subscriber; returns how long after it was due each
/// was heard, in their order.
pub(crate) async fn paced_one(
    context: &jetstream::Context,
    sample: &Sample,
    rate: usize,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let samples = Samples {
        raw: sample.clone(),
        link: sample.clone(),
        inbound: sample.clone(),
        window: sample.clone(),
    };
    paced(context, &samples, Way::Append, rate, count).await
}

/// Sends messages at a rate; returns how long after it was due each was heard, in their order.
pub(crate) async fn paced(
    context: &jetstream::Context,
    samples: &Samples,
    way: Way,
    rate: usize,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    create(context).await?;
    let client = context.client();
    let mut heard = client.subscribe("heard.events.window.*").await?;
    client.flush().await?;
    // Dropped at the end, which ends all of them.
    let mut tasks = JoinSet::new();
    let writer = |tasks: &mut JoinSet<_>| {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        tasks.spawn(write(context.clone(), waiting));
        Writer { queue }
    };
    let events = writer(&mut tasks);
    let first = match way {
        Way::Append => ("plain.events.window", events, samples.window.clone()),
        Way::Whole => {
            let raw = writer(&mut tasks);
            let links = writer(&mut tasks);
            let (after_raw, after_fact) = (samples.clone(), samples.clone());
            let (facts, windows) = (events.clone(), events);
            relay(
                &mut tasks,
                context,
                "PLAIN_RAW",
                "plain.raw.*",
                move |index| {
                    let (links, facts, samples) = (links.clone(), facts.clone(), after_raw.clone());
                    async move {
                        let subject = format!("plain.customers.{index}");
                        links.write(subject, samples.link.clone()).await?;
                        let subject = format!("plain.events.inbound.{index}");
                        facts.write(subject, samples.inbound.clone()).await
                    }
                },
            )
            .await?;
            let filter = "plain.events.inbound.*";
            relay(&mut tasks, context, "PLAIN_EVENTS", filter, move |index| {
                let (windows, sample) = (windows.clone(), after_fact.window.clone());
                async move {
                    let subject = format!("plain.events.window.{index}");
                    windows.write(subject, sample).await
                }
            })
            .await?;
            ("plain.raw", raw, samples.raw.clone())
        }
    };

    let started = Instant::now();
    let due = |index: usize| {
        let seconds = f64::from(u32::try_from(index).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(rate).unwrap_or(u32::MAX));
        started + Duration::from_secs_f64(seconds)
    };
    let (prefix, writer, sample) = first;
    let send = async {
        for index in 0..count {
            sleep_until(due(index)).await;
            writer
                .send(format!("{prefix}.{index}"), sample.clone())
                .await?;
        }
        anyhow::Ok(())
    };
    let hear = async {
        let mut each = vec![None; count];
        for heard_len in 0..count {
            let Ok(message) = timeout(SILENCE_MAX, heard.next()).await else {
                bail!("the broker alone told {heard_len} of {count}");
            };
            let at = Instant::now();
            let message = message.context("the subscription ended")?;
            let index = index_of(&message.subject).context("a subject of ours")?;
            each[index] = Some(at.duration_since(due(index)));
        }
        Ok(each)
    };
    let ((), each) = tokio::try_join!(send, hear)?;
    drop(tasks);
    delete(context).await?;
    each.into_iter()
        .map(|one| one.context("one was told twice, and one not at all"))
        .collect()
}

/// Appends copies of a message, each to a subject of its own, in batches, as fast as they go;
/// returns how long it took.
pub(crate) async fn batches(
    context: &jetstream::Context,
    sample: &Sample,
    count: usize,
) -> anyhow::Result<Duration> {
    create(context).await?;
    let begun = Instant::now();
    let mut done = 0;
    while done < count {
        let until = count.min(done + BATCH_LEN_MAX);
        let batch: Vec<_> = (done..until)
            .map(|index| (format!("plain.events.window.{index}"), sample.clone()))
            .collect();
        append(context, &batch).await?;
        done = until;
    }
    let took = begun.elapsed();
    delete(context).await?;
    Ok(took)
}

/// Makes the streams to write to.
pub(crate) async fn create(context: &jetstream::Context) -> anyhow::Result<()> {
    for (name, prefix) in STREAMS {
        let config = Config {
            name: name.to_owned(),
            subjects: vec![format!("{prefix}.>")],
            allow_atomic_publish: true,
            duplicate_window: Duration::from_mins(2),
            republish: Some(Republish {
                source: "plain.>".to_owned(),
                destination: "heard.>".to_owned(),
                headers_only: false,
            }),
            ..Config::default()
        };
        context.create_stream(config).await.context("stream")?;
    }
    Ok(())
}

/// Removes them again.
pub(crate) async fn delete(context: &jetstream::Context) -> anyhow::Result<()> {
    for (name, _) in STREAMS {
        context.delete_stream(name).await?;
    }
    Ok(())
}

fn index_of(subject: &str) -> Option<usize> {
    subject.rsplit('.').next()?.parse().ok()
}

/// Hands each message of a filter to a handler, and acknowledges it when that is done.
async fn relay<F, Fut>(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    context: &jetstream::Context,
    name: &str,
    filter: &str,
    handle: F,
) -> anyhow::Result<()>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let config = consumer::pull::Config {
        ack_policy: consumer::AckPolicy::Explicit,
        filter_subject: filter.to_owned(),
        ..consumer::pull::Config::default()
    };
    let consumer = context.create_consumer_on_stream(config, name).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(IN_HAND_MAX)
        .messages()
        .await?;
    tasks.spawn(async move {
        messages
            .for_each_concurrent(IN_HAND_MAX, |message| async {
                let Ok(message) = message else { return };
                if let Some(index) = index_of(&message.subject)
                    && handle(index).await.is_ok()
                {
                    // One that is lost means another delivery, which the listener would notice.
                    let _ = message.ack_with(AckKind::Ack).await;
                }
            })
            .await;
        Ok(())
    });
    Ok(())
}

/// Hands messages to a task that writes them.
#[derive(Clone)]
struct Writer {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    subject: String,
    sample: Sample,
    stored: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// Hands one over.
    async fn send(&self, subject: String, sample: Sample) -> anyhow::Result<()> {
        let one = Waiting {
            subject,
            sample,
            stored: None,
        };
        self.queue.send(one).await.context("the writer has ended")
    }

    /// Writes one, and waits until it is stored.
    async fn write(&self, subject: String, sample: Sample) -> anyhow::Result<()> {
        let (stored, done) = oneshot::channel();
        let one = Waiting {
            subject,
            sample,
            stored: Some(stored),
        };
        self.queue.send(one).await.context("the writer has ended")?;
        done.await.context("the writer has ended")
    }
}

async fn write(
    context: jetstream::Context,
    mut waiting: mpsc::Receiver<Waiting>,
) -> anyhow::Result<()> {
    let mut gathered = Vec::new();
    while waiting.recv_many(&mut gathered, BATCH_LEN_MAX).await > 0 {
        let (messages, stored): (Vec<_>, Vec<_>) = gathered
            .drain(..)
            .map(|one| ((one.subject, one.sample), one.stored))
            .unzip();
        if messages.len() < BATCH_LEN_MIN {
            let each = messages.into_iter().map(|(subject, sample)| async {
                let Sample { headers, payload } = sample;
                context
                    .publish_with_headers(subject, headers, payload)
                    .await?
                    .await?;
                anyhow::Ok(())
            });
            futures::future::try_join_all(each).await?;
        } else {
            append(&context, &messages).await?;
        }
        for stored in stored.into_iter().flatten() {
            // Who no longer waits needs no answer.
            let _ = stored.send(());
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Ack {
    error: Option<serde_json::Value>,
}

/// Appends an atomic batch.
async fn append(context: &jetstream::Context, batch: &[(String, Sample)]) -> anyhow::Result<()> {
    let client = context.client();
    let id = uuid::Uuid::new_v4().simple().to_string();
    for (index, (subject, sample)) in batch.iter().enumerate() {
        let Sample {
            mut headers,
            payload,
        } = sample.clone();
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", (index + 1).to_string().as_str());
        if index + 1 < batch.len() {
            client
                .publish_with_headers(subject.clone(), headers, payload)
                .await?;
            continue;
        }
        headers.insert("Nats-Batch-Commit", "1");
        let answer = client
            .request_with_headers(subject.clone(), headers, payload)
            .await?;
        let ack: Ack = serde_json::from_slice(&answer.payload)?;
        ensure!(ack.error.is_none(), "a batch was refused: {:?}", ack.error);
    }
    Ok(())
}

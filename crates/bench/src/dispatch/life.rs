//! What the log says became of each message, read by a plain consumer that is none of the roles'.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use async_nats::jetstream::{self, Message, consumer};
use casement_event::subject::{Family, stream};
use casement_event::v1::MessageOutcome;
use casement_event::{Event, header};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::baseline::last_sequence;

/// All messages, by id.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) of: HashMap<String, Life>,
    /// How many have ended.
    pub(super) ended: usize,
    /// How many events were read.
    pub(super) events: usize,
    /// How many were stored and not read yet, when the newest of these was handed out.
    pub(super) behind: u64,
}

/// One message.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) requests: usize,
    pub(super) attempts: BTreeMap<u32, Attempt>,
    /// How it ended; once, if all is well.
    pub(super) ends: Vec<MessageOutcome>,
    /// How often it was told that the customer got it twice.
    pub(super) exposures: usize,
}

/// One attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) claims: usize,
    pub(super) is_accepted: bool,
    /// A report said so, and not the answer.
    pub(super) is_reported: bool,
    pub(super) is_rejected: bool,
    pub(super) is_unknown: bool,
    /// Given up without an outcome; whether that was told to be a risk.
    pub(super) abandoned: Option<bool>,
}

impl Lives {
    /// Takes note of an event.
    pub(super) fn hear(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::MessageRequested(it) => self.life(it.message_id).requests += 1,
            Event::AttemptStarted(it) => self.attempt(it.message_id, it.attempt).claims += 1,
            Event::AttemptAccepted(it) => {
                let attempt = self.attempt(it.message_id, it.attempt);
                attempt.is_accepted = true;
                attempt.is_reported = it.from_report;
            }
            Event::AttemptRejected(it) => {
                self.attempt(it.message_id, it.attempt).is_rejected = true;
            }
            Event::AttemptUnknown(it) => {
                self.attempt(it.message_id, it.attempt).is_unknown = true;
            }
            Event::AttemptAbandoned(it) => {
                let risk = Some(it.duplicate_risk);
                self.attempt(it.message_id, it.attempt).abandoned = risk;
            }
            Event::DoubleExposure(it) => self.life(it.message_id).exposures += 1,
            Event::MessageEnded(it) => self.end(it.message_id.clone(), it.outcome()),
            Event::MessageExpired(it) => self.end(it.message_id, MessageOutcome::Expired),
            Event::MessageCancelled(it) => self.end(it.message_id, MessageOutcome::Cancelled),
            _ => {}
        }
    }

    fn end(&mut self, message_id: String, outcome: MessageOutcome) {
        let life = self.life(message_id);
        life.ends.push(outcome);
        if life.ends.len() == 1 {
            self.ended += 1;
        }
    }

    fn attempt(&mut self, message_id: String, attempt: u32) -> &mut Attempt {
        self.life(message_id).attempts.entry(attempt).or_default()
    }

    fn life(&mut self, message_id: String) -> &mut Life {
        self.of.entry(message_id).or_default()
    }
}

/// Lives that are followed as they go on.
pub(super) struct Followed {
    lives: Arc<Mutex<Lives>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Follows all messages from the beginning of the log.
    pub(super) async fn start(context: &jetstream::Context) -> anyhow::Result<Self> {
        let messages = read(context, 0).await?;
        let lives = Arc::new(Mutex::new(Lives::default()));
        let heard = Arc::clone(&lives);
        let task = tokio::spawn(async move {
            let mut messages = std::pin::pin!(messages);
            while let Some(message) = messages.next().await {
                let (behind, event) = parse(&message?)?;
                let mut lives = lock(&heard);
                lives.hear(event);
                lives.behind = behind;
            }
            anyhow::bail!("the stream of messages ended")
        });
        Ok(Self { lives, task })
    }

    /// Looks at what is known.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Lives) -> T) -> T {
        look(&lock(&self.lives))
    }

    /// Whether it is still followed.
    pub(super) fn is_followed(&self) -> bool {
        !self.task.is_finished()
    }
}

/// When the broker took each request after a sequence, by message.
pub(super) async fn requested_at(
    context: &jetstream::Context,
    after: u64,
) -> anyhow::Result<HashMap<String, Timestamp>> {
    let last = last_sequence(context).await?;
    let mut at = HashMap::new();
    if last <= after {
        return Ok(at);
    }
    let mut messages = std::pin::pin!(read(context, after).await?);
    while let Some(message) = messages.next().await {
        let message = message?;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let stored_at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())?;
        let (behind, event) = parse(&message)?;
        if let Event::MessageRequested(requested) = event {
            at.insert(requested.message_id, stored_at);
        }
        if behind == 0 {
            break;
        }
    }
    Ok(at)
}

/// Reads events of messages after a sequence, for ever.
async fn read(
    context: &jetstream::Context,
    after: u64,
) -> anyhow::Result<impl Stream<Item = anyhow::Result<Message>> + use<>> {
    let config = consumer::pull::OrderedConfig {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        // Reports stand on the same stream.
        filter_subject: Family::Message.filter(),
        ..consumer::pull::OrderedConfig::default()
    };
    let stream = context.get_stream(stream::MESSAGES).await?;
    let messages = stream.create_consumer(config).await?.messages().await?;
    Ok(messages.map(|message| message.context("the log is read")))
}

/// Returns the event of a message, and how many are still to be handed out.
fn parse(message: &Message) -> anyhow::Result<(u64, Event)> {
    let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
    let headers = message.headers.as_ref().context("an event has headers")?;
    let event_type = headers.get(header::TYPE).context("an event has a type")?;
    let event = Event::decode(event_type.as_str(), &message.payload)?;
    Ok((info.pending, event))
}

fn lock(lives: &Mutex<Lives>) -> MutexGuard<'_, Lives> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

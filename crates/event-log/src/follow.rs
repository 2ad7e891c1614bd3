//! Following a stream: from a point to the end, and then on for ever.
//!
//! A follower acknowledges nothing and never ends. It survives lost connections by asking
//! again from the last message it handed out, and a gap in the broker's delivery counts as a
//! lost connection, so nothing is skipped. It says once when it has caught up.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use casement_event::Stored;
use futures::StreamExt as _;

use crate::connect::Log;
use crate::{ReadError, wire};

/// Longest pause before a follower asks again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

/// How long the broker keeps a follower that has gone.
const INACTIVE_AFTER: Duration = Duration::from_secs(30);

/// How many messages are asked for at once.
const BATCH_LEN: usize = 1_000;

/// Where a follower starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this sequence, or the first after it.
    Sequence(u64),
    /// With the newest message of each subject, then everything after.
    LastPerSubject,
    /// After what the stream holds now.
    New,
}

/// What a follower hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next event.
    Event(Stored),
    /// Everything that the stream held at the start was handed out. Said once.
    CaughtUp {
        /// The newest sequence at the start.
        sequence: u64,
    },
}

/// Follows a stream.
pub struct Follower {
    log: Log,
    stream: String,
    filters: Vec<String>,
    start: Start,
    /// Last sequence handed out.
    last: u64,
    /// The newest sequence at the start; `None` until known.
    target: Option<u64>,
    is_caught_up: bool,
    open: Option<Open>,
    retry_delay: Duration,
}

struct Open {
    messages: pull::Stream,
    last_delivery: u64,
    /// Nothing that matches was stored when it was opened.
    is_empty: bool,
}

impl Log {
    /// Follows a stream's subjects from a point on, for ever.
    pub fn follow(&self, stream: &str, filters: Vec<String>, start: Start) -> Follower {
        Follower {
            log: self.clone(),
            stream: stream.to_owned(),
            filters,
            start,
            last: 0,
            target: None,
            is_caught_up: false,
            open: None,
            retry_delay: Duration::ZERO,
        }
    }
}

impl Follower {
    /// Returns the next event, or once that it has caught up. Waits as long as it takes.
    pub async fn next(&mut self) -> Followed {
        loop {
            match self.step().await {
                Ok(Some(followed)) => {
                    self.retry_delay = Duration::ZERO;
                    return followed;
                }
                Ok(None) => {}
                Err(problem) => {
                    tracing::warn!(stream = self.stream, problem, "follower asks again");
                    self.open = None;
                    self.retry_delay =
                        (self.retry_delay * 2).clamp(Duration::from_millis(50), RETRY_DELAY_MAX);
                    tokio::time::sleep(self.retry_delay).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Followed>, String> {
        if self.open.is_none() {
            self.open = Some(self.reopen().await.map_err(|error| format!("{error}"))?);
        }
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let target = self.target.unwrap_or_default();
        if !self.is_caught_up && (open.is_empty || self.last >= target) {
            self.is_caught_up = true;
            return Ok(Some(Followed::CaughtUp { sequence: target }));
        }
        let message = match open.messages.next().await {
            None => return Err("delivery ended".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(message)) => message,
        };
        let incarnation = self.log.incarnation(&self.stream);
        let (stored, pending) =
            wire::from_consumer(&incarnation, &message).map_err(|error| error.to_string())?;
        if pending.consumer_sequence != open.last_delivery + 1 {
            return Err(format!(
                "delivery {} came after {}",
                pending.consumer_sequence, open.last_delivery
            ));
        }
        open.last_delivery = pending.consumer_sequence;
        if pending.left == 0 {
            open.is_empty = true;
        }
        self.last = self.last.max(stored.sequence);
        Ok(Some(Followed::Event(stored)))
    }

    async fn reopen(&mut self) -> Result<Open, ReadError> {
        let state = self.log.state(&self.stream).await?;
        if state.incarnation != self.log.incarnation(&self.stream) {
            return Err(ReadError::Unreadable {
                what: self.stream.clone(),
                problem: "stream was recreated or restored: restart this process".to_owned(),
            });
        }
        let target = *self.target.get_or_insert(state.last_sequence);
        let deliver_policy = match self.start {
            // A follower that starts at the end, or was cut off, goes on by sequence.
            Start::New => {
                self.last = self.last.max(target);
                DeliverPolicy::ByStartSequence {
                    start_sequence: self.last + 1,
                }
            }
            Start::Sequence(from) if self.last == 0 => DeliverPolicy::ByStartSequence {
                start_sequence: from.max(1),
            },
            // The newest messages come in the order of the stream, so a start that was cut off
            // goes on behind the last one, too: at worst it sees messages that are not the
            // newest of their subject any more.
            Start::LastPerSubject if self.last == 0 => DeliverPolicy::LastPerSubject,
            Start::Sequence(_) | Start::LastPerSubject => DeliverPolicy::ByStartSequence {
                start_sequence: self.last + 1,
            },
        };
        let unavailable = |source| ReadError::Unavailable {
            what: format!("stream {} to follow", self.stream),
            source,
        };
        let mut consumer = self
            .log
            .inner
            .open(&self.stream)?
            .create_consumer(pull::Config {
                deliver_policy,
                ack_policy: AckPolicy::None,
                filter_subjects: self.filters.clone(),
                inactive_threshold: INACTIVE_AFTER,
                memory_storage: true,
                num_replicas: 1,
                ..pull::Config::default()
            })
            .await
            .map_err(|error| unavailable(error.into()))?;
        let is_empty = is_empty(&mut consumer).await.map_err(unavailable)?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH_LEN)
            .heartbeat(Duration::from_secs(2))
            .expires(Duration::from_secs(20))
            .messages()
            .await
            .map_err(|error| unavailable(error.into()))?;
        Ok(Open {
            messages,
            last_delivery: 0,
            is_empty,
        })
    }
}

async fn is_empty(
    consumer: &mut consumer::Consumer<pull::Config>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    Ok(consumer.info().await?.num_pending == 0)
}

//! Following a stream: from a point to the end, and then on for ever.
//!
//! A follower acknowledges nothing and never ends. It survives lost connections by asking
//! again from the last message it handed out, and a gap in the broker's delivery counts as a
//! lost connection, so nothing is skipped. It says once when it has caught up, which is the stream's
//! leader to know: of several servers the one that delivers may not have its copy whole.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use casement_event::Stored;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::ReadError;
use crate::connect::Log;
use crate::error::chain;
use crate::link::{Broken, Link, Message, Messages, Nats, messages};
use crate::memory::Begin;
use crate::wire::{self, Pending};

/// First pause before a follower asks again.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);

/// Longest pause before a follower asks again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

/// How long a broker may take at most to begin a delivery: it may have to look through millions
/// of subjects. A follower starts with less and doubles it, since a request that was lost with
/// a connection is never answered.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_mins(1);

/// How long one of several servers may take before another one is asked for, too.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// How many servers are asked for at most. Of three each choice is wrong once in three times.
const SERVERS_MAX: usize = 5;

/// How long the broker keeps a follower that has gone.
const INACTIVE_AFTER: Duration = Duration::from_secs(30);

/// How soon the leader is asked again whether a delivery that is at its end has handed out all.
const WHOLE_DELAY: Duration = Duration::from_millis(250);

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
pub enum Followed<E = Stored> {
    /// The next event.
    Event(E),
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
    /// Under way; kept, so that a caller who stops waiting does not begin it anew.
    opening: Option<BoxFuture<'static, Result<Open, ReadError>>>,
    /// How long the broker may take to begin a delivery.
    patience: Duration,
    retry_delay: Duration,
    retry_at: Option<Instant>,
}

struct Open {
    /// Which life of the stream it follows.
    incarnation: String,
    /// Moves when the broker may have forgotten this delivery.
    connections: watch::Receiver<u64>,
    /// The newest sequence of the stream before it was opened.
    stream_end: u64,
    messages: Messages,
    last_delivery: u64,
    /// Nothing more that matches was stored where it is delivered from.
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
            opening: None,
            patience: self.inner.config.read_timeout,
            retry_delay: Duration::ZERO,
            retry_at: None,
        }
    }
}

impl Follower {
    /// Returns the next event, or once that it has caught up. Waits as long as it takes.
    ///
    /// Nothing is lost or done twice when a caller stops waiting and asks again.
    pub async fn next(&mut self) -> Followed {
        self.next_as(&mut wire::from_consumer).await
    }

    /// As [`Self::next`], but takes of each message only what `read` takes.
    pub(crate) async fn next_as<E>(
        &mut self,
        read: &mut impl FnMut(&str, &Message) -> Result<(E, Pending), ReadError>,
    ) -> Followed<E> {
        loop {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            match self.step(read).await {
                Ok(followed) => {
                    self.retry_delay = Duration::ZERO;
                    return followed;
                }
                Err(problem) => {
                    tracing::warn!(stream = self.stream, problem, "follower asks again");
                    self.open = None;
                    self.retry_delay =
                        (self.retry_delay * 2).clamp(RETRY_DELAY_MIN, RETRY_DELAY_MAX);
                    self.retry_at = Some(Instant::now() + self.retry_delay);
                }
            }
        }
    }

    async fn step<E>(
        &mut self,
        read: &mut impl FnMut(&str, &Message) -> Result<(E, Pending), ReadError>,
    ) -> Result<Followed<E>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.reopen().await.map_err(|error| chain(&error))?,
        };
        let open = self.open.insert(open);
        let target = *self.target.get_or_insert(open.stream_end);
        let message = loop {
            let is_at_end = !self.is_caught_up && (open.is_empty || self.last >= target);
            let after = self.last.max(match self.start {
                Start::Sequence(from) => from.saturating_sub(1),
                Start::LastPerSubject => 0,
                Start::New => target,
            });
            if is_at_end && is_whole(&self.log, &self.stream, &self.filters, after, target).await? {
                self.is_caught_up = true;
                return Ok(Followed::CaughtUp { sequence: target });
            }
            tokio::select! {
                // What came over the old connection first; the rest is asked for again.
                biased;
                message = open.messages.next() => break message,
                _ = open.connections.changed() => return Err("connection was made anew".to_owned()),
                () = sleep(WHOLE_DELAY), if is_at_end => {}
            }
        };
        let message = match message {
            None => return Err("delivery ended".to_owned()),
            Some(Err(error)) => return Err(chain(error.as_ref())),
            Some(Ok(message)) => message,
        };
        let (event, pending) =
            read(&open.incarnation, &message).map_err(|error| error.to_string())?;
        if pending.consumer_sequence != open.last_delivery + 1 {
            return Err(format!(
                "delivery {} came after {}",
                pending.consumer_sequence, open.last_delivery
            ));
        }
        open.last_delivery = pending.consumer_sequence;
        open.is_empty = pending.left == 0;
        self.last = self.last.max(pending.sequence);
        Ok(Followed::Event(event))
    }

    async fn reopen(&mut self) -> Result<Open, ReadError> {
        let opening = self.opening.get_or_insert_with(|| {
            let from = match self.start {
                // Once something was handed out, it goes on behind it. The newest messages of
                // each subject come in the order of the stream, so this holds for them, too: at
                // worst messages follow that are not the newest of their subject any more.
                _ if self.last > 0 => From::After(self.last),
                Start::Sequence(from) => From::After(from.saturating_sub(1)),
                Start::LastPerSubject => From::LastPerSubject,
                // A start at the end that was cut off stays where the end was.
                Start::New => self.target.map_or(From::End, From::After),
            };
            open(
                self.log.clone(),
                self.stream.clone(),
                self.filters.clone(),
                from,
                self.patience,
            )
            .boxed()
        });
        let opened = opening.await;
        self.opening = None;
        self.patience = match opened {
            Ok(_) => self.log.inner.config.read_timeout,
            Err(_) => (self.patience * 2).min(PATIENCE_MAX),
        };
        opened
    }
}

/// Returns whether nothing on these subjects stands after `after` and up to `target`, as the stream's
/// leader has it.
async fn is_whole(
    log: &Log,
    stream: &str,
    filters: &[String],
    after: u64,
    target: u64,
) -> Result<bool, String> {
    // What is in memory has no copies.
    if after >= target || matches!(log.inner.link, Link::Memory(_)) {
        return Ok(true);
    }
    for filter in filters {
        let next = log.inner.next_on(stream, filter, after + 1).await;
        let next = next.map_err(|error| chain(&error))?;
        if next.is_some_and(|next| next.sequence <= target) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where a delivery is to begin.
enum From {
    After(u64),
    LastPerSubject,
    End,
}

async fn open(
    log: Log,
    stream: String,
    filters: Vec<String>,
    from: From,
    patience: Duration,
) -> Result<Open, ReadError> {
    let mut connections = log.inner.connections.clone();
    connections.mark_unchanged();
    let state = log.state(&stream).await?;
    if state.incarnation != log.incarnation(&stream) {
        return Err(ReadError::Unreadable {
            what: stream,
            problem: "stream was recreated or restored: restart this process".to_owned(),
        });
    }
    let what = format!("stream {stream} to follow");
    let nats = match &log.inner.link {
        Link::Nats(nats) => nats,
        Link::Memory(memory) => {
            let from = match from {
                From::After(sequence) => Begin::At(sequence + 1),
                From::LastPerSubject => Begin::LastPerSubject,
                From::End => Begin::At(state.last_sequence + 1),
            };
            let opened = timeout(patience, memory.follow(&stream, filters, from)).await;
            let opened = opened.map_err(|elapsed| ReadError::unavailable(&what, elapsed))?;
            let (messages, is_empty) = opened?;
            return Ok(Open {
                incarnation: state.incarnation,
                connections,
                stream_end: state.last_sequence,
                messages,
                last_delivery: 0,
                is_empty,
            });
        }
    };
    let after = |sequence| DeliverPolicy::ByStartSequence {
        start_sequence: sequence + 1,
    };
    let deliver_policy = match from {
        From::After(sequence) => after(sequence),
        From::LastPerSubject => DeliverPolicy::LastPerSubject,
        From::End => after(state.last_sequence),
    };
    let config = pull::Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects: filters,
        inactive_threshold: INACTIVE_AFTER,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = create(nats, config, &stream, patience)
        .await
        .map_err(|problem| ReadError::unavailable(&what, problem))?;
    let info = log
        .inner
        .in_time(&stream, &what, consumer.get_info())
        .await?;
    let delivery = consumer
        .stream()
        .max_messages_per_batch(BATCH_LEN)
        .heartbeat(Duration::from_secs(2))
        .expires(Duration::from_secs(20))
        .messages()
        .await
        .map_err(|error| ReadError::unavailable(&what, error))?;
    Ok(Open {
        incarnation: state.incarnation,
        connections,
        stream_end: state.last_sequence,
        messages: messages(delivery),
        last_delivery: 0,
        is_empty: info.num_pending == 0,
    })
}

/// Makes the consumer of a delivery.
///
/// It lives on one server, which the cluster chooses by chance; for minutes also one that is cut off
/// from the others, and then nobody ever answers. So where there are several, another is made when
/// that takes long, and whichever answers first is taken. The others end unused.
async fn create(
    nats: &Nats,
    config: pull::Config,
    stream: &str,
    patience: Duration,
) -> Result<Consumer<pull::Config>, Broken> {
    let is_alone = nats.leave.is_alone();
    let servers_max = if is_alone { 1 } else { SERVERS_MAX };
    let within = if is_alone {
        patience
    } else {
        patience.max(SERVER_PATIENCE * u32::try_from(SERVERS_MAX).unwrap_or(u32::MAX))
    };
    let mut asked = 0;
    let mut answers = FuturesUnordered::new();
    let created = async {
        loop {
            if asked < servers_max {
                asked += 1;
                let create = nats
                    .patient
                    .create_consumer_on_stream(config.clone(), stream);
                answers.push(create);
            }
            tokio::select! {
                Some(answer) = answers.next() => match answer {
                    Err(error) if answers.is_empty() => return Err(Broken::from(error)),
                    Err(_) => {}
                    Ok(consumer) => return Ok(consumer),
                },
                () = tokio::time::sleep(SERVER_PATIENCE), if asked < servers_max => {}
            }
        }
    };
    timeout(within, created).await?
}

#[cfg(test)]
mod tests {
    use casement_event::subject::stream;
    use casement_event::{Record, Uuid, v1};
    use casement_testkit::NatsServer;
    use jiff::Timestamp;

    use super::*;
    use crate::{Config, Expect};

    async fn log(server: &NatsServer) -> Log {
        let monitoring = server.monitoring_url();
        let config = Config {
            servers: server.url(),
            monitoring: Some(monitoring.trim_start_matches("http://").to_owned()),
            ..Config::default()
        };
        Log::connect(&config).await.unwrap()
    }

    fn subject_of(brand: &str) -> String {
        format!("casement.accounts.brand.{brand}")
    }

    async fn write(log: &Log, brand: &str) {
        let event = v1::BrandRecorded::default();
        let time = Timestamp::UNIX_EPOCH;
        let subject = subject_of(brand);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, brand.as_bytes());
        let record = Record::new(subject, id, "casement/test", time, event);
        log.append(record, Expect::Anything).await.unwrap();
    }

    /// As a copy has it that was begun a moment ago.
    async fn of_an_empty_copy(log: &Log, filter: &str) -> Follower {
        let filters = vec![filter.to_owned()];
        let mut follower = log.follow(stream::ACCOUNTS, filters, Start::LastPerSubject);
        let mut open = follower.reopen().await.unwrap();
        open.is_empty = true;
        follower.open = Some(open);
        follower
    }

    #[tokio::test]
    async fn a_copy_that_is_not_whole_yet_is_not_taken_for_the_stream() {
        let server = NatsServer::builder().monitoring(true).start().await;
        let log = log(&server).await;
        for brand in ["one", "two"] {
            write(&log, brand).await;
        }
        let mut follower = of_an_empty_copy(&log, ">").await;
        let mut told = Vec::new();
        let sequence = loop {
            match follower.next().await {
                Followed::Event(stored) => told.push(stored.subject),
                Followed::CaughtUp { sequence } => break sequence,
            }
        };
        assert_eq!(told, ["one", "two"].map(subject_of));
        assert_eq!(sequence, 2);
    }

    #[tokio::test]
    async fn where_the_leader_has_nothing_more_either_all_is_told() {
        let server = NatsServer::builder().monitoring(true).start().await;
        let log = log(&server).await;
        write(&log, "one").await;
        let none = subject_of("another");
        let mut follower = of_an_empty_copy(&log, &none).await;
        assert_eq!(follower.next().await, Followed::CaughtUp { sequence: 1 });
    }
}

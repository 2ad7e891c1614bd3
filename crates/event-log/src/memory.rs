//! A log in memory, for simulation: the same rules as the broker's, on the time of the runtime, with
//! faults that somebody else decides on.
//!
//! It takes the place of the broker alone. Group commit, how an append without an answer is settled,
//! followers, work, mirrors and the deadline index are the log's own, over this as over NATS, and one
//! suite of tests holds for both. Nothing is kept when it is dropped, no setting leads to it, and it
//! publishes nothing to plain subscribers.

mod delivery;
mod shelf;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use self::delivery::{Feed, Hands};
use self::shelf::{Publish, Refused};
use crate::append::Answer;
use crate::connect::{Inner, Log};
use crate::erasure::Graves;
use crate::link::{self, Link, Messages};
use crate::wire::code;
use crate::{Config, ReadError, StreamState, streams};

pub(crate) use self::delivery::Message;
pub(crate) use self::shelf::{Kept, Shelf};

/// The broker's `max_payload`.
const PAYLOAD_MAX: usize = 8 * 1024 * 1024;

/// What a connection does at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Stores something; of a batch, all of it.
    Append,
    /// Reads, or asks how a stream stands.
    Read,
    /// Removes something.
    Remove,
    /// Is sent a message that it follows.
    Deliver,
    /// Is handed a message to work on.
    HandOut,
    /// Says what came of a message that it worked on.
    Acknowledge,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and answered.
    Done,
    /// It is done, and the answer never arrives. A delivery breaks off; what is handed out is handed
    /// out again at once.
    Unanswered,
    /// It never gets to the broker. A delivery breaks off; what is handed out is lost on its way.
    Lost,
    /// An append is answered as if it were stored, and is not. No broker may do so that is fit to keep
    /// the log: it is for those who want to see that it would be noticed.
    Forgotten,
    /// An append is done whatever it expects. As above.
    Unconditional,
    /// What is read lacks so many of the stream's newest messages: a leader that stood still or was
    /// cut off tells what it has until it notices. Else as [`Self::Done`].
    Behind(u64),
}

/// Decides on the fates of a connection's operations, and how long they take.
pub trait Fates: Send + Sync {
    /// On the way there. `what` is the subject, the stream or the worker that it is about.
    fn going<'a>(&'a self, operation: Operation, what: &'a str) -> BoxFuture<'a, Fate>;
    /// On the way back.
    fn coming<'a>(&'a self, operation: Operation, what: &'a str) -> BoxFuture<'a, ()>;
}

/// No faults, no delays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calm;

impl Fates for Calm {
    fn going<'a>(&'a self, _: Operation, _: &'a str) -> BoxFuture<'a, Fate> {
        Box::pin(std::future::ready(Fate::Done))
    }

    fn coming<'a>(&'a self, _: Operation, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A broker in memory. Clones are one broker.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    shelves: Mutex<Vec<Shelf>>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without messages, whose clock `now` is.
    pub fn new(config: &Config, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let wanted = streams::all(&config.sizes, 1);
        let shelves = (0xa_u8..).zip(wanted);
        let shelves = shelves.map(|(life, config)| Shelf::new(config, format!("{life:x}")));
        Self {
            shared: Arc::new(Shared {
                shelves: Mutex::new(shelves.collect()),
                now: Box::new(now),
            }),
        }
    }

    /// Connects, with fates of its own.
    pub fn connect(&self, config: &Config, fates: impl Fates + 'static) -> Log {
        crate::metrics::start();
        let (connected, connections) = watch::channel(1);
        let lives = |shelf: &Shelf| (shelf.config.name.clone(), shelf.incarnation.clone());
        let incarnations = self.shared.shelves().iter().map(lives).collect();
        Log {
            inner: Arc::new(Inner {
                link: Link::Memory(Connection {
                    shared: Arc::clone(&self.shared),
                    fates: Arc::new(fates),
                    _connected: connected,
                }),
                config: config.clone(),
                connections,
                incarnations,
                ancestors: HashMap::new(),
                groups: Mutex::default(),
                mirrors: Mutex::default(),
                graves: Graves::default(),
            }),
        }
    }
}

impl Shared {
    fn shelves(&self) -> MutexGuard<'_, Vec<Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf<T>(&self, stream: &str, look: impl FnOnce(&mut Shelf) -> T) -> Result<T, ReadError> {
        let mut shelves = self.shelves();
        let shelf = shelves.iter_mut().find(|one| one.config.name == stream);
        let shelf = shelf.ok_or_else(|| ReadError::Unreadable {
            what: stream.to_owned(),
            problem: "not a stream of the log".to_owned(),
        })?;
        Ok(look(shelf))
    }

    fn settle(&self, name: &str, stream: &str, sequence: u64, kind: &AckKind) {
        let now = Instant::now();
        let settled = self.shelf(stream, |shelf| match kind {
            AckKind::Nak(delay) => {
                shelf.again(name, sequence, now + delay.unwrap_or(Duration::ZERO));
            }
            AckKind::Progress => {
                let until = now + shelf.ack_wait(name);
                shelf.again(name, sequence, until);
            }
            _ => shelf.done(name, sequence),
        });
        debug_assert!(settled.is_ok(), "a message came of a stream that is there");
    }
}

/// A connection to a broker in memory.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    fates: Arc<dyn Fates>,
    /// It is never made anew.
    _connected: watch::Sender<u64>,
}

impl Connection {
    /// Does something at the broker. What is lost on the way is never answered, and it is for the
    /// caller to lose patience.
    async fn ask<T>(
        &self,
        operation: Operation,
        what: &str,
        answer: impl FnOnce(&Shared, Fate) -> T,
    ) -> T {
        let fate = self.fates.going(operation, what).await;
        if fate == Fate::Lost {
            return std::future::pending().await;
        }
        let answer = answer(&self.shared, fate);
        if fate == Fate::Unanswered {
            return std::future::pending().await;
        }
        self.fates.coming(operation, what).await;
        answer
    }

    /// Publishes one message, or several of which all are stored or none.
    pub(crate) async fn publish(&self, all: Vec<(String, HeaderMap, Bytes)>) -> Answer {
        if all
            .iter()
            .any(|(_, _, payload)| payload.len() > PAYLOAD_MAX)
        {
            return Answer::TooLarge;
        }
        let Some((subject, ..)) = all.first() else {
            return Answer::NotTaken;
        };
        let what = subject.clone();
        self.ask(Operation::Append, &what, |shared, fate| {
            let stored_at = (shared.now)();
            let mut shelves = shared.shelves();
            let shelf = shelves.iter_mut().find(|shelf| {
                let mut subjects = all.iter().map(|(subject, ..)| subject);
                subjects.all(|subject| shelf.stored_as(subject).is_some())
            });
            let Some(shelf) = shelf else {
                return Answer::NotTaken;
            };
            let all = all.into_iter().map(|(subject, headers, payload)| Publish {
                subject,
                headers,
                payload,
                expects: fate != Fate::Unconditional,
            });
            if fate == Fate::Forgotten {
                let sequence = shelf.last_sequence() + 1;
                return Answer::Stored { sequence };
            }
            match shelf.store(all.collect(), stored_at, Instant::now()) {
                Ok(sequence) => Answer::Stored { sequence },
                Err(Refused { code, description }) => match code {
                    code::WRONG_LAST_SEQUENCE | code::BATCH_DUPLICATE => {
                        Answer::Conflict { description }
                    }
                    _ => Answer::Refused { code, description },
                },
            }
        })
        .await
    }

    /// Reads a message.
    pub(crate) async fn read(
        &self,
        stream: &str,
        what: &str,
        find: impl FnOnce(&Shelf) -> Option<Arc<Kept>>,
    ) -> Result<Option<Arc<Kept>>, ReadError> {
        self.ask(Operation::Read, what, |shared, fate| {
            shared.shelf(stream, |shelf| shelf.before(unheard(fate), find))
        })
        .await
    }

    /// Reads the newest message of each subject that a filter matches, and how far whoever answers has
    /// heard of the stream.
    pub(crate) async fn newest_of_each(
        &self,
        stream: &str,
        filters: &[&str],
    ) -> Result<(Vec<Arc<Kept>>, u64), ReadError> {
        let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        let newest = |shelf: &Shelf| {
            let all = shelf.last_per_subject(&filters).into_iter();
            let kept = all.filter_map(|sequence| shelf.at(sequence).cloned());
            (kept.collect(), shelf.last_sequence())
        };
        self.ask(Operation::Read, stream, |shared, fate| {
            shared.shelf(stream, |shelf| shelf.before(unheard(fate), newest))
        })
        .await
    }

    /// How a stream stands.
    pub(crate) async fn state(&self, stream: &str) -> Result<StreamState, ReadError> {
        let state = |shelf: &Shelf| StreamState {
            incarnation: shelf.incarnation.clone(),
            first_sequence: shelf.first_sequence(),
            last_sequence: shelf.last_sequence(),
            messages: shelf.len() as u64,
        };
        self.ask(Operation::Read, stream, |shared, fate| {
            shared.shelf(stream, |shelf| shelf.before(unheard(fate), state))
        })
        .await
    }

    /// Changes a stream by something else than an append, or asks what only a stream knows.
    pub(crate) async fn change<T>(
        &self,
        operation: Operation,
        stream: &str,
        change: impl FnOnce(&mut Shelf) -> T,
    ) -> Result<T, ReadError> {
        self.ask(operation, stream, |shared, _| shared.shelf(stream, change))
            .await
    }

    /// What waits for a worker, and what is in hand. Asked for the figures alone, at no cost.
    pub(crate) fn waiting(&self, stream: &str, name: &str) -> Result<(u64, usize), ReadError> {
        self.shared.shelf(stream, |shelf| shelf.waiting(name))
    }

    /// What time it is at the broker.
    pub(crate) async fn time(&self, stream: &str) -> Timestamp {
        self.ask(Operation::Read, stream, |shared, _| (shared.now)())
            .await
    }

    /// Opens a delivery. Returns it, and whether nothing that matches is stored.
    pub(crate) async fn follow(
        &self,
        stream: &str,
        filters: Vec<String>,
        from: Begin,
    ) -> Result<(Messages, bool), ReadError> {
        let (shared, fates) = (Arc::clone(&self.shared), Arc::clone(&self.fates));
        let feed = self.ask(Operation::Read, stream, |_, _| {
            shared.shelf(stream, |shelf| {
                let (newest, next) = match from {
                    Begin::At(sequence) => (BTreeSet::new(), sequence),
                    Begin::LastPerSubject => {
                        let newest = shelf.last_per_subject(&filters);
                        (newest, shelf.last_sequence() + 1)
                    }
                };
                let is_empty = newest.is_empty() && shelf.next(&filters, next).is_none();
                let feed = Feed {
                    stream: name_of(shelf),
                    changed: shelf.changed.subscribe(),
                    shared: Arc::clone(&shared),
                    fates,
                    filters,
                    newest,
                    next,
                    delivered: 0,
                };
                (feed, is_empty)
            })
        });
        let (feed, is_empty) = feed.await?;
        let messages = futures::stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            Some(match feed.next().await {
                Some(message) => (Ok(link::Message::Memory(message)), Some(feed)),
                None => (Err("delivery was cut off".into()), None),
            })
        });
        Ok((messages.boxed(), is_empty))
    }

    /// Opens work.
    pub(crate) async fn work(
        &self,
        stream: &str,
        name: &'static str,
        filters: Vec<String>,
        ack_wait: Duration,
        pending_max: usize,
    ) -> Result<Messages, ReadError> {
        let (shared, fates) = (Arc::clone(&self.shared), Arc::clone(&self.fates));
        let hands = self.ask(Operation::Read, name, |_, _| {
            shared.shelf(stream, |shelf| {
                shelf.open_queue(name, filters, ack_wait, pending_max);
                Hands {
                    stream: name_of(shelf),
                    changed: shelf.changed.subscribe(),
                    name,
                    shared: Arc::clone(&shared),
                    fates,
                }
            })
        });
        let messages = futures::stream::unfold(hands.await?, |mut hands| async {
            let message = hands.next().await;
            Some((Ok(link::Message::Memory(message)), hands))
        });
        Ok(messages.boxed())
    }
}

/// How many of the newest messages whoever answers has not heard of.
fn unheard(fate: Fate) -> u64 {
    match fate {
        Fate::Behind(messages) => messages,
        _ => 0,
    }
}

/// Where a delivery begins.
pub(crate) enum Begin {
    At(u64),
    LastPerSubject,
}

/// The streams are those of the house, so that a message need not carry the name with it.
fn name_of(shelf: &Shelf) -> &'static str {
    use casement_event::subject::stream;
    let all = [
        stream::RAW,
        stream::CUSTOMERS,
        stream::EVENTS,
        stream::MESSAGES,
        stream::ACCOUNTS,
        stream::DEAD,
        stream::COMMANDS,
        stream::LEASES,
        stream::SENSITIVE_KEYS,
        stream::SECRETS,
    ];
    let name = all.into_iter().find(|name| *name == shelf.config.name);
    name.unwrap_or_default()
}

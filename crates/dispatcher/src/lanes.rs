//! Lanes: one per conversation, in which messages go in the order they were asked for.
//!
//! Fed by the deadline index, which shows every event of every message on its way in. A lane
//! runs when one of its messages is due, or when its customer did something; it drives its
//! messages in order and stops at the first that later ones must wait for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use casement_domain::id::{CustomerId, MessageId};
use casement_event::subject::{self, Family};
use casement_event::{Extension, Stored};
use casement_event_log::conversation::Key;
use casement_event_log::deadline::{Due, Handle};
use jiff::Timestamp;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::task::TaskTracker;

use crate::engine::Engine;

/// How many changed messages a waiting caller may fall behind before it looks for itself.
const CHANGES_LEN_MAX: usize = 1_024;

/// What the lanes know of messages that are under way.
#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<MessageId>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Messages that have not been accepted yet, in order, by conversation.
    waiting: HashMap<Key, BTreeSet<(Timestamp, MessageId)>>,
    /// The conversation of each message that has not ended.
    open: HashMap<MessageId, (Key, Timestamp)>,
    running: HashSet<Key>,
    again: HashSet<Key>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changes: broadcast::channel(CHANGES_LEN_MAX).0,
        }
    }
}

impl Book {
    /// Takes note of an event of a message.
    pub(crate) fn see(&self, stored: &Stored) {
        let Some((Family::Message, id)) = subject::parse_message(&stored.subject) else {
            return;
        };
        let customer = stored
            .extension(Extension::Customer)
            .and_then(|text| CustomerId::parse(text).ok());
        let requested = stored
            .extension(Extension::RequestTime)
            .and_then(|text| text.parse().ok());
        if let (Some(customer), Some(requested)) = (customer, requested) {
            let key = Key {
                number: id.number().clone(),
                customer,
            };
            let mut inner = self.lock();
            match stored.extension(Extension::State).unwrap_or_default() {
                "PENDING" | "HELD" | "ATTEMPTING" => {
                    inner
                        .waiting
                        .entry(key.clone())
                        .or_default()
                        .insert((requested, id.clone()));
                    inner.open.insert(id.clone(), (key, requested));
                }
                state => {
                    if let Some(lane) = inner.waiting.get_mut(&key) {
                        lane.remove(&(requested, id.clone()));
                        if lane.is_empty() {
                            inner.waiting.remove(&key);
                        }
                    }
                    if state == "ENDED" {
                        inner.open.remove(&id);
                    } else {
                        inner.open.insert(id.clone(), (key, requested));
                    }
                }
            }
        }
        // Nobody may be waiting.
        let _ = self.changes.send(id);
    }

    /// Returns the ids of messages as they change.
    pub(crate) fn changes(&self) -> broadcast::Receiver<MessageId> {
        self.changes.subscribe()
    }

    fn lane(&self, key: &Key) -> Vec<MessageId> {
        let inner = self.lock();
        inner
            .waiting
            .get(key)
            .map(|lane| lane.iter().map(|(_, id)| id.clone()).collect())
            .unwrap_or_default()
    }

    /// Where a due message belongs: its lane if it waits in one.
    fn lane_of(&self, id: &MessageId) -> Option<Key> {
        let inner = self.lock();
        let (key, requested) = inner.open.get(id)?;
        let waits = inner
            .waiting
            .get(key)
            .is_some_and(|lane| lane.contains(&(*requested, id.clone())));
        waits.then(|| key.clone())
    }

    fn has_waiting(&self, key: &Key) -> bool {
        self.lock().waiting.contains_key(key)
    }

    /// Returns whether the caller is to run the lane; otherwise whoever runs it goes round again.
    fn enter(&self, key: &Key) -> bool {
        let mut inner = self.lock();
        if inner.running.insert(key.clone()) {
            true
        } else {
            inner.again.insert(key.clone());
            false
        }
    }

    /// Returns whether the lane is to be run again by whoever runs it; else it is left.
    fn goes_round(&self, key: &Key) -> bool {
        let mut inner = self.lock();
        if inner.again.remove(key) {
            true
        } else {
            inner.running.remove(key);
            false
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs lanes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) engine: Arc<Engine>,
    pub(crate) book: Arc<Book>,
    pub(crate) index: Handle,
    /// Whether this replica is the active one.
    pub(crate) is_active: watch::Receiver<bool>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
}

impl Lanes {
    /// Sees to a message that is due.
    pub(crate) fn due(&self, due: &Due) {
        let Some((_, id)) = subject::parse_message(&due.subject) else {
            return;
        };
        // A passive replica is handed it again later.
        if !*self.is_active.borrow() {
            return;
        }
        if let Some(key) = self.book.lane_of(&id) {
            return self.kick(key);
        }
        let lanes = self.clone();
        self.tasks.spawn(async move {
            let Ok(_permit) = lanes.permits.clone().acquire_owned().await else {
                return;
            };
            lanes.drive(&id).await;
        });
    }

    /// Sees to a conversation in which something happened.
    pub(crate) fn wake(&self, key: Key) {
        if *self.is_active.borrow() && self.book.has_waiting(&key) {
            self.kick(key);
        }
    }

    fn kick(&self, key: Key) {
        if !self.book.enter(&key) {
            return;
        }
        let lanes = self.clone();
        self.tasks.spawn(async move {
            let Ok(_permit) = lanes.permits.clone().acquire_owned().await else {
                return;
            };
            loop {
                for id in lanes.book.lane(&key) {
                    if lanes.drive(&id).await {
                        break;
                    }
                }
                if !lanes.book.goes_round(&key) {
                    return;
                }
            }
        });
    }

    /// Drives a message; returns whether later ones of its conversation must wait.
    async fn drive(&self, id: &MessageId) -> bool {
        match self.engine.drive(id).await {
            Ok(Some(driven)) => {
                if let Some(until) = driven.until {
                    self.index
                        .put_back(&subject::message(id), driven.sequence, until)
                        .await;
                }
                driven.blocks
            }
            Ok(None) => false,
            Err(error) => {
                let error = anyhow::Error::new(error);
                // The index hands it out again.
                tracing::warn!(message = %id, error = format!("{error:#}"), "message will be tried again");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::id::BusinessNumber;

    use super::*;

    fn stored(unique: u128, state: &str, requested: &str, sequence: u64) -> Stored {
        let number = BusinessNumber::parse("15550001111").unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Stored {
            stream: "MESSAGES".to_owned(),
            incarnation: "1".to_owned(),
            sequence,
            subject: subject::message(&MessageId::new(&number, unique)),
            stored_at: Timestamp::UNIX_EPOCH,
            headers: vec![
                header("ce-customer", "c1"),
                header("ce-requesttime", requested),
                header("ce-state", state),
            ],
            payload: bytes::Bytes::new(),
        }
    }

    fn key() -> Key {
        Key {
            number: BusinessNumber::parse("15550001111").unwrap(),
            customer: CustomerId::parse("c1").unwrap(),
        }
    }

    #[test]
    fn a_lane_keeps_the_order_of_requests_and_drops_what_was_accepted() {
        let book = Book::default();
        // The newest event of each subject may come in any order after a restart.
        book.see(&stored(2, "HELD", "2026-11-22T10:00:02Z", 1));
        book.see(&stored(3, "PENDING", "2026-11-22T10:00:03Z", 2));
        book.see(&stored(1, "HELD", "2026-11-22T10:00:01Z", 3));
        let order: Vec<_> = book
            .lane(&key())
            .iter()
            .map(|id| id.as_str().chars().last())
            .collect();
        assert_eq!(order, [Some('1'), Some('2'), Some('3')]);
        book.see(&stored(1, "ACCEPTED", "2026-11-22T10:00:01Z", 4));
        assert_eq!(book.lane(&key()).len(), 2);
        for unique in [2, 3] {
            book.see(&stored(unique, "ENDED", "2026-11-22T10:00:02Z", 9));
        }
        book.see(&stored(3, "ENDED", "2026-11-22T10:00:03Z", 9));
        assert!(!book.has_waiting(&key()));
    }

    #[test]
    fn a_lane_runs_once_and_goes_round_for_what_came_meanwhile() {
        let book = Book::default();
        assert!(book.enter(&key()));
        assert!(!book.enter(&key()), "already running");
        assert!(book.goes_round(&key()));
        assert!(!book.goes_round(&key()));
        assert!(book.enter(&key()), "left, so it can be run again");
    }
}

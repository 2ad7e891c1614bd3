//! Lanes: one per conversation, in which messages go in the order they were asked for.
//!
//! Fed by the deadline index, which shows every event of every message on its way in. A lane
//! runs when one of its messages is due, or when its customer did something; it drives its
//! messages in order and stops at the first that later ones must wait for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId, MessageId};
use casement_event::subject::{self, Family};
use casement_event::{Event, Extension, Stored};
use casement_event_log::conversation::Key;
use casement_event_log::deadline::{Due, Handle};
use jiff::Timestamp;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::metrics;

/// How many changed messages a waiting caller may fall behind before it looks for itself.
const CHANGES_LEN_MAX: usize = 1_024;

/// How long somebody waits for events that are on their way in.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// What the lanes know of messages that are under way.
#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<MessageId>,
    /// Sequence of the newest event of a message that was seen.
    seen: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Messages that have not been accepted yet, in order, by conversation.
    waiting: HashMap<Key, BTreeSet<(Timestamp, MessageId)>>,
    /// Where each of them stands.
    places: HashMap<MessageId, (Key, Timestamp)>,
    /// Those of them that wait for their customer.
    held: HashSet<MessageId>,
    /// Those of them that wait for the end of a halt, with its id.
    deferred: HashMap<MessageId, String>,
    /// The same, by halt.
    by_halt: HashMap<String, HashSet<MessageId>>,
    running: HashSet<Key>,
    again: HashSet<Key>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changes: broadcast::channel(CHANGES_LEN_MAX).0,
            seen: watch::Sender::new(0),
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
                state @ ("PENDING" | "HELD" | "ATTEMPTING" | "DEFERRED") => {
                    inner.add(id.clone(), key, requested);
                    inner.defer(&id, halt_of(stored).filter(|_| state == "DEFERRED"));
                    if state == "HELD" {
                        inner.held.insert(id.clone());
                    } else {
                        inner.held.remove(&id);
                    }
                }
                _ => inner.remove(&id),
            }
            metrics::waiting(inner.places.len(), inner.held.len(), inner.deferred.len());
        }
        // Nobody may be waiting.
        let _ = self.changes.send(id);
        self.seen.send_replace(stored.sequence);
    }

    /// Returns the ids of messages that no provider has accepted yet, in no order.
    pub(crate) fn under_way(&self) -> Vec<MessageId> {
        self.lock().places.keys().cloned().collect()
    }

    /// Waits a while until all events of messages up to a sequence were seen. Returns whether.
    pub(crate) async fn has_seen(&self, sequence: u64) -> bool {
        let mut seen = self.seen.subscribe();
        let reached = seen.wait_for(|seen| *seen >= sequence);
        matches!(tokio::time::timeout(SEEN_WITHIN, reached).await, Ok(Ok(_)))
    }

    /// Returns the ids of messages as they change.
    pub(crate) fn changes(&self) -> broadcast::Receiver<MessageId> {
        self.changes.subscribe()
    }

    /// Returns the halts that messages wait for.
    pub(crate) fn halts(&self) -> Vec<String> {
        self.lock().by_halt.keys().cloned().collect()
    }

    /// Returns how many messages wait for a halt.
    pub(crate) fn deferred_for(&self, halt: &str) -> usize {
        self.lock().by_halt.get(halt).map_or(0, HashSet::len)
    }

    /// Returns how many messages wait, whatever for, whose number is one of these.
    pub(crate) fn waiting_of(&self, is_of: impl Fn(&BusinessNumber) -> bool) -> usize {
        let inner = self.lock();
        let lanes = inner.waiting.iter().filter(|(key, _)| is_of(&key.number));
        lanes.map(|(_, lane)| lane.len()).sum()
    }

    /// Returns the lanes in which messages wait for a halt.
    fn lanes_of_halt(&self, halt: &str) -> Vec<Key> {
        let inner = self.lock();
        let waiting = inner.by_halt.get(halt).into_iter().flatten();
        let keys: HashSet<&Key> = waiting
            .filter_map(|id| inner.places.get(id).map(|(key, _)| key))
            .collect();
        keys.into_iter().cloned().collect()
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
        self.lock().places.get(id).map(|(key, _)| key.clone())
    }

    fn has_waiting(&self, key: &Key) -> bool {
        self.lock().waiting.contains_key(key)
    }

    /// Returns the right to run the lane; `None` if it is being run, and then whoever runs it
    /// goes round again.
    fn enter(self: &Arc<Self>, key: &Key) -> Option<Run> {
        let mut inner = self.lock();
        if inner.running.insert(key.clone()) {
            return Some(Run {
                book: Arc::clone(self),
                key: key.clone(),
                has_left: false,
            });
        }
        inner.again.insert(key.clone());
        None
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, id: MessageId, key: Key, requested: Timestamp) {
        let lane = self.waiting.entry(key.clone()).or_default();
        lane.insert((requested, id.clone()));
        self.places.insert(id, (key, requested));
    }

    /// Takes note of the halt that a message waits for, if it waits for one.
    fn defer(&mut self, id: &MessageId, halt: Option<String>) {
        if let Some(before) = self.deferred.remove(id)
            && let Some(waiting) = self.by_halt.get_mut(&before)
        {
            waiting.remove(id);
            if waiting.is_empty() {
                self.by_halt.remove(&before);
            }
        }
        if let Some(halt) = halt {
            self.by_halt
                .entry(halt.clone())
                .or_default()
                .insert(id.clone());
            self.deferred.insert(id.clone(), halt);
        }
    }

    fn remove(&mut self, id: &MessageId) {
        self.held.remove(id);
        self.defer(id, None);
        let Some((key, requested)) = self.places.remove(id) else {
            return;
        };
        if let Some(lane) = self.waiting.get_mut(&key) {
            lane.remove(&(requested, id.clone()));
            if lane.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }
}

/// The halt that an event puts a message off for.
fn halt_of(stored: &Stored) -> Option<String> {
    match stored.event() {
        Ok(Event::MessageDeferred(deferred)) => Some(deferred.halt_id),
        _ => None,
    }
}

/// The right to run a lane. Dropped in the middle, it leaves the lane to others.
struct Run {
    book: Arc<Book>,
    key: Key,
    has_left: bool,
}

impl Run {
    /// Returns whether the lane is to be run again; else it is left.
    fn goes_round(&mut self) -> bool {
        let mut inner = self.book.lock();
        if inner.again.remove(&self.key) {
            return true;
        }
        inner.running.remove(&self.key);
        self.has_left = true;
        false
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.has_left {
            let mut inner = self.book.lock();
            inner.again.remove(&self.key);
            inner.running.remove(&self.key);
        }
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
    pub(crate) stopping: CancellationToken,
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

    /// Sees to all conversations in which messages wait for a halt.
    pub(crate) fn wake_all_of(&self, halt: &str) {
        if *self.is_active.borrow() {
            for key in self.book.lanes_of_halt(halt) {
                self.kick(key);
            }
        }
    }

    /// Sees to one conversation in which a message waits for a halt.
    pub(crate) fn wake_one_of(&self, halt: &str) {
        if *self.is_active.borrow()
            && let Some(key) = self.book.lanes_of_halt(halt).into_iter().next()
        {
            self.kick(key);
        }
    }

    fn kick(&self, key: Key) {
        let Some(mut run) = self.book.enter(&key) else {
            return;
        };
        let lanes = self.clone();
        self.tasks.spawn(async move {
            let Ok(_permit) = lanes.permits.clone().acquire_owned().await else {
                return;
            };
            loop {
                for id in lanes.book.lane(&key) {
                    if lanes.stopping.is_cancelled() || lanes.drive(&id).await {
                        break;
                    }
                }
                if lanes.stopping.is_cancelled() || !run.goes_round() {
                    return;
                }
            }
        });
    }

    /// Drives a message; returns whether later ones of its conversation must wait.
    async fn drive(&self, id: &MessageId) -> bool {
        match Box::pin(self.engine.drive(id)).await {
            Ok(Some(driven)) => {
                if let Some(until) = driven.until {
                    self.index
                        .put_back(&subject::message(id), driven.sequence, until)
                        .await;
                }
                driven.blocks
            }
            Ok(None) => false,
            Err(error) if error.is_hopeless() => {
                let error = anyhow::Error::new(error);
                tracing::error!(message = %id, error = format!("{error:#}"), "message cannot be read");
                false
            }
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
    use casement_event::v1;

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
    fn the_book_knows_who_waits_for_which_halt() {
        let book = Book::default();
        let deferred = |unique, halt: &str| {
            let event = v1::MessageDeferred {
                halt_id: halt.to_owned(),
                ..v1::MessageDeferred::default()
            };
            let mut stored = stored(unique, "DEFERRED", "2026-11-22T10:00:01Z", 1);
            let event = Event::from(event);
            let name = "ce-type".to_owned();
            stored.headers.push((name, event.event_type().to_owned()));
            stored.payload = event.encode();
            stored
        };
        for (unique, halt) in [(1, "a"), (2, "a"), (3, "b")] {
            book.see(&deferred(unique, halt));
        }
        let ours = key().number;
        assert_eq!((book.deferred_for("a"), book.deferred_for("b")), (2, 1));
        assert_eq!(book.waiting_of(|number| *number == ours), 3);
        assert_eq!(book.lanes_of_halt("a"), [key()]);
        // One waits for another halt now, one goes, one is over.
        book.see(&deferred(1, "b"));
        book.see(&stored(2, "ATTEMPTING", "2026-11-22T10:00:01Z", 2));
        book.see(&stored(3, "ENDED", "2026-11-22T10:00:01Z", 3));
        assert_eq!((book.deferred_for("a"), book.deferred_for("b")), (0, 1));
        assert_eq!(book.halts(), ["b"]);
        assert_eq!(book.waiting_of(|number| *number == ours), 2);
    }

    #[test]
    fn a_lane_runs_once_and_goes_round_for_what_came_meanwhile() {
        let book = Arc::new(Book::default());
        let mut run = book.enter(&key()).unwrap();
        assert!(book.enter(&key()).is_none(), "already running");
        assert!(run.goes_round());
        assert!(!run.goes_round());
        let next = book.enter(&key()).unwrap();
        drop(run);
        assert!(book.enter(&key()).is_none(), "the next one still runs");
        drop(next);
        assert!(book.enter(&key()).is_some(), "dropped in the middle");
    }
}

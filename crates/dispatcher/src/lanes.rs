//! Lanes: one per conversation, in which messages go in the order they were asked for.
//!
//! Fed by the deadline index, which shows every event of every message on its way in. A lane
//! runs when one of its messages is due, or when its customer did something; it drives its
//! messages in order and stops at the first that later ones must wait for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId, MessageId};
use casement_domain::turns::Priority;
use casement_event::subject::{self, Family};
use casement_event::{Event, Extension, Stored};
use casement_event_log::conversation::Key;
use casement_event_log::deadline::{Due, Handle};
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aggregate::Loaded;
use crate::engine::Engine;
use crate::metrics;
use crate::workers::Workers;

/// How many changed messages a waiting caller may fall behind before it looks for itself.
const CHANGES_LEN_MAX: usize = 1_024;

/// How many accepted messages may wait to be taken in hand at once; others wait for the index.
const ADMITTED_LEN_MAX: usize = 4_096;

/// How long somebody waits for events that are on their way in.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// What the lanes know of messages that are under way.
#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<MessageId>,
    /// Conversations in which a message was accepted here that may go at once.
    admitted: broadcast::Sender<Key>,
    /// Sequence of the newest event of a message that was seen.
    seen: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Messages that have not been accepted yet, in order, by conversation.
    waiting: HashMap<Key, BTreeSet<(Timestamp, MessageId)>>,
    /// Where each of them stands.
    places: HashMap<MessageId, Place>,
    /// Whose the numbers are.
    brands: HashMap<BusinessNumber, String>,
    /// Those of them that wait for their customer.
    held: HashSet<MessageId>,
    /// Those of them that wait for the end of a halt, with its id, or of quiet hours.
    deferred: HashMap<MessageId, String>,
    /// The same, by halt.
    by_halt: HashMap<String, HashSet<MessageId>>,
    running: HashSet<Key>,
    again: HashSet<Key>,
}

#[derive(Debug)]
struct Place {
    key: Key,
    requested: Timestamp,
    priority: Priority,
}

/// Returns which message an event is of, and whose conversation that belongs to; `None` if it is of
/// none, or does not say.
pub(crate) fn message_of(stored: &Stored) -> Option<(MessageId, Key)> {
    let (Family::Message, id) = subject::parse_message(&stored.subject)? else {
        return None;
    };
    let customer = CustomerId::parse(stored.extension(Extension::Customer)?).ok()?;
    let number = id.number().clone();
    Some((id, Key { number, customer }))
}

impl Default for Book {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changes: broadcast::channel(CHANGES_LEN_MAX).0,
            admitted: broadcast::channel(ADMITTED_LEN_MAX).0,
            seen: watch::Sender::new(0),
        }
    }
}

impl Book {
    /// Takes note of an event of a message.
    pub(crate) fn see(&self, stored: &Stored) {
        let Some((id, key)) = message_of(stored) else {
            return;
        };
        let requested = stored
            .extension(Extension::RequestTime)
            .and_then(|text| text.parse().ok());
        let mut inner = self.lock();
        if let Some(requested) = requested {
            match stored.extension(Extension::State).unwrap_or_default() {
                state @ ("PENDING" | "HELD" | "ATTEMPTING" | "DEFERRED") => {
                    if let Some(brand) = stored.extension(Extension::Brand)
                        && inner
                            .brands
                            .get(id.number())
                            .is_none_or(|known| known != brand)
                    {
                        inner.brands.insert(id.number().clone(), brand.to_owned());
                    }
                    let place = Place {
                        key,
                        requested,
                        priority: priority_of(stored),
                    };
                    inner.add(id.clone(), place);
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
        self.seen.send_replace(stored.sequence);
        drop(inner);
        // Nobody may be waiting.
        let _ = self.changes.send(id);
    }

    /// Takes note of a message that was stored here just now, before it comes in: it has its place,
    /// and whoever runs the lanes need not wait for it.
    pub(crate) fn admit(&self, accepted: &Loaded, now: Timestamp) {
        let (id, key) = (accepted.context.id.clone(), accepted.key());
        {
            let mut inner = self.lock();
            // Unless it came in already, and perhaps more since.
            if *self.seen.borrow() < accepted.sequence {
                let brand = accepted.context.conversation.brand.clone();
                inner.brands.insert(id.number().clone(), brand);
                let place = Place {
                    key: key.clone(),
                    requested: accepted.context.requested_at,
                    priority: accepted.context.priority,
                };
                inner.add(id, place);
            }
        }
        if accepted.message.deadline().is_some_and(|due| due <= now) {
            // Nobody listens before the lanes run.
            let _ = self.admitted.send(key);
        }
    }

    /// Returns the conversations in which messages are accepted that may go at once.
    pub(crate) fn admitted(&self) -> broadcast::Receiver<Key> {
        self.admitted.subscribe()
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

    /// Returns the lanes of a number in which messages wait.
    fn lanes_at(&self, number: &str) -> Vec<Key> {
        let inner = self.lock();
        let keys = inner.waiting.keys();
        keys.filter(|key| key.number.digits() == number)
            .cloned()
            .collect()
    }

    /// Returns the lanes in which messages wait for a halt.
    fn lanes_of_halt(&self, halt: &str) -> Vec<Key> {
        let inner = self.lock();
        let waiting = inner.by_halt.get(halt).into_iter().flatten();
        let keys: HashSet<&Key> = waiting
            .filter_map(|id| inner.places.get(id).map(|place| &place.key))
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
        self.lock().places.get(id).map(|place| place.key.clone())
    }

    /// Returns how urgent a lane is: as urgent as the most urgent message in it that waits for its
    /// turn, since those before it have to go first.
    pub(crate) fn priority(&self, key: &Key) -> Option<Priority> {
        let inner = self.lock();
        let lane = inner.waiting.get(key).into_iter().flatten();
        let own = lane
            .filter(|(_, id)| !inner.held.contains(id) && !inner.deferred.contains_key(id))
            .filter_map(|(_, id)| inner.places.get(id));
        own.map(|place| place.priority).max()
    }

    /// Returns how urgent the work on a lane is, and whose its number is, as its messages say.
    fn standing(&self, key: &Key) -> (Priority, String) {
        let priority = self.priority(key).unwrap_or(Priority::Transactional);
        let brand = self.lock().brands.get(&key.number).cloned();
        (priority, brand.unwrap_or_default())
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
    fn add(&mut self, id: MessageId, place: Place) {
        let lane = self.waiting.entry(place.key.clone()).or_default();
        lane.insert((place.requested, id.clone()));
        self.places.insert(id, place);
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
            // What waits for no halt, but for quiet hours, wakes by its deadline.
            if !halt.is_empty() {
                let waiting = self.by_halt.entry(halt.clone()).or_default();
                waiting.insert(id.clone());
            }
            self.deferred.insert(id.clone(), halt);
        }
    }

    fn remove(&mut self, id: &MessageId) {
        self.held.remove(id);
        self.defer(id, None);
        let Some(Place { key, requested, .. }) = self.places.remove(id) else {
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

/// How urgent a message is; those of before there were priorities are in between.
fn priority_of(stored: &Stored) -> Priority {
    let word = stored.extension(Extension::Priority).unwrap_or_default();
    Priority::parse(word).unwrap_or(Priority::Transactional)
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

/// What became of a pass through a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Done,
    /// It is to be gone through once more.
    Again,
}

/// What a message means for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// They may go.
    Next,
    /// They may go, though it waits for the customer.
    Held,
    /// They wait.
    Stop,
    /// It comes after one that may go by now.
    Out,
}

/// Runs lanes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) engine: Arc<Engine>,
    pub(crate) book: Arc<Book>,
    pub(crate) index: Handle,
    /// Whether this replica is the active one.
    pub(crate) is_active: watch::Receiver<bool>,
    pub(crate) workers: Arc<Workers>,
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
        let (lanes, priority) = (self.clone(), priority_of(&due.stored));
        let brand = due.stored.extension(Extension::Brand).unwrap_or_default();
        let brand = brand.to_owned();
        self.tasks.spawn(async move {
            let Some(_worker) = lanes.workers.enter_alone(priority, &brand).await else {
                return;
            };
            lanes.drive(&id, false).await;
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

    /// Sees to all conversations of a number in which messages wait.
    pub(crate) fn wake_all_at(&self, number: &str) {
        if *self.is_active.borrow() {
            for key in self.book.lanes_at(number) {
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

    /// Sees to a message that got its turn in the number's rate.
    pub(crate) fn granted(&self, id: &MessageId) {
        match self.book.lane_of(id) {
            Some(key) => self.kick(key),
            None => self.engine.rates.give_up(id),
        }
    }

    fn kick(&self, key: Key) {
        let Some(mut run) = self.book.enter(&key) else {
            let (priority, brand) = self.book.standing(&key);
            self.workers.urge(&key, priority, &brand);
            return;
        };
        let lanes = self.clone();
        self.tasks.spawn(async move {
            let (priority, brand) = lanes.book.standing(&key);
            let Some(_worker) = lanes.workers.enter(&key, priority, &brand).await else {
                return;
            };
            loop {
                // A customer who writes while their lane is run is met by all of it: who was looked
                // at before that goes before who comes after.
                if lanes.pass(&key, true).await == Pass::Again {
                    lanes.pass(&key, false).await;
                }
                if lanes.stopping.is_cancelled() || !run.goes_round() {
                    return;
                }
            }
        });
    }

    /// Drives the messages of a lane in their order. In a `first` pass, one that may go behind one
    /// that is held ends it: by now that one may go, too.
    async fn pass(&self, key: &Key, first: bool) -> Pass {
        let mut behind_held = false;
        for id in self.book.lane(key) {
            if self.stopping.is_cancelled() {
                break;
            }
            match self.drive(&id, first && behind_held).await {
                Turn::Held => behind_held = true,
                Turn::Next => {}
                Turn::Out => return Pass::Again,
                Turn::Stop => break,
            }
        }
        Pass::Done
    }

    /// Drives a message, and says what that means for later ones of its conversation.
    async fn drive(&self, id: &MessageId, behind_held: bool) -> Turn {
        let seen = *self.book.seen.borrow();
        match Box::pin(self.engine.drive_known(id, seen, behind_held)).await {
            Ok(Some(driven)) if driven.is_out_of_turn => Turn::Out,
            Ok(Some(driven)) => {
                if let Some(until) = driven.until {
                    self.index
                        .put_back(&subject::message(id), driven.sequence, until)
                        .await;
                }
                match (driven.blocks, driven.is_held) {
                    (true, _) => Turn::Stop,
                    (false, true) => Turn::Held,
                    (false, false) => Turn::Next,
                }
            }
            Ok(None) => Turn::Next,
            Err(error) if error.is_hopeless() => {
                let error = anyhow::Error::new(error);
                tracing::error!(message = %id, error = format!("{error:#}"), "message cannot be read");
                Turn::Next
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                // The index hands it out again.
                tracing::warn!(message = %id, error = format!("{error:#}"), "message will be tried again");
                Turn::Stop
            }
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;

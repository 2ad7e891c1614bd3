//! Queues: how many messages to each customer are held, and a place for the next one.
//!
//! Fed with every event of every message on its way in. A place is taken before the event that
//! needs it is appended, so that of two at once at this process only one gets the last. What
//! another process takes meanwhile is seen when its event comes in: who finds the queue full by
//! then is not held.
//!
//! It decides nothing about a message and keeps no order: lanes do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use casement_domain::id::MessageId;
use casement_domain::message::{Event as MessageEvent, Phase};
use casement_domain::routing::Route;
use casement_domain::routing::hold::{Nudge, Queue};
use casement_event::convert::message::{Details, decision as stored_decision};
use casement_event::{Extension, Stored, v1};
use casement_event_log::conversation::Key;
use jiff::Timestamp;
use tonic::Status;

use crate::aggregate::Loaded;
use crate::answers::unavailable;
use crate::engine::{DriveError, Engine, Step};
use crate::grpc::Messages;
use crate::lanes::message_of;
use crate::routed::Routed;

/// Who is held, and who is about to be, by conversation. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queues {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    places: HashMap<Key, HashMap<MessageId, Place>>,
    keys: HashMap<MessageId, Key>,
}

/// How a message has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is about to be held.
    Taken,
    /// It is held, by the log.
    Held,
}

/// A place that was taken. Given back when dropped, unless it is kept or its message is held.
#[derive(Debug)]
pub(crate) struct Taken {
    queues: Queues,
    id: MessageId,
    is_kept: bool,
}

impl Queues {
    /// Takes note of an event of a message.
    pub(crate) fn see(&self, stored: &Stored) {
        let Some((id, key)) = message_of(stored) else {
            return;
        };
        match stored.extension(Extension::State).unwrap_or_default() {
            "HELD" => self.lock().put(key, id, Place::Held),
            // Not held yet, or on its way out with its place kept until it is claimed.
            "PENDING" => {}
            _ => self.lock().remove(&id),
        }
    }

    /// Returns how many others have a place in the queue of a message, and whether it has one.
    pub(crate) fn queue(&self, of: &Loaded, max: Option<usize>) -> Queue {
        let inner = self.lock();
        let places = inner.places.get(&of.key());
        let is_in = places.is_some_and(|places| places.contains_key(&of.context.id));
        let all = places.map_or(0, HashMap::len);
        Queue {
            held: all - usize::from(is_in),
            max,
            is_in: is_in || matches!(of.message.phase, Phase::Held { .. }),
        }
    }

    /// Returns how many have a place in a queue.
    pub(crate) fn len(&self, key: &Key) -> usize {
        self.lock().places.get(key).map_or(0, HashMap::len)
    }

    /// Takes a place for a message, unless there is none left.
    pub(crate) fn take(&self, key: &Key, id: &MessageId, max: Option<usize>) -> Option<Taken> {
        let mut inner = self.lock();
        let places = inner.places.get(key);
        let is_in = places.is_some_and(|places| places.contains_key(id));
        let held = places.map_or(0, HashMap::len);
        if !is_in {
            if max.is_some_and(|max| held >= max) {
                return None;
            }
            inner.put(key.clone(), id.clone(), Place::Taken);
        }
        Some(Taken {
            queues: self.clone(),
            id: id.clone(),
            // Whoever took it before gives it back.
            is_kept: is_in,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, key: Key, id: MessageId, place: Place) {
        let places = self.places.entry(key.clone()).or_default();
        places.insert(id.clone(), place);
        self.keys.insert(id, key);
    }

    fn remove(&mut self, id: &MessageId) {
        let Some(key) = self.keys.remove(id) else {
            return;
        };
        if let Some(places) = self.places.get_mut(&key) {
            places.remove(id);
            if places.is_empty() {
                self.places.remove(&key);
            }
        }
    }

    fn is_only_taken(&self, id: &MessageId) -> bool {
        let places = self.keys.get(id).and_then(|key| self.places.get(key));
        places.and_then(|places| places.get(id)) == Some(&Place::Taken)
    }
}

impl Taken {
    /// Leaves the place to its message, which is durable.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut inner = self.queues.lock();
        if !self.is_kept && inner.is_only_taken(&self.id) {
            inner.remove(&self.id);
        }
    }
}

impl Engine {
    /// Holds a message, if there is a place for it. Its nudge follows once that is durable.
    pub(crate) async fn hold(
        &self,
        loaded: &mut Loaded,
        event: &MessageEvent,
        account: &v1::Number,
        routed: &Routed,
        now: Timestamp,
    ) -> Result<Step, DriveError> {
        let max = self.rules.hold.max_at(loaded.number());
        let (key, id) = (loaded.key(), loaded.context.id.clone());
        let Some(place) = self.queues.take(&key, &id, max) else {
            // The last one was taken meanwhile, which routing sees.
            return Ok(Step::On);
        };
        let effect = self.hold_effect(loaded, account, routed, now).await?;
        let nudge = effect.nudge.as_ref();
        let details = Details {
            nudge_message_id: nudge.map(|it| it.message_id.clone()).unwrap_or_default(),
            decision: Some(v1::Decision {
                hold: Some(effect),
                ..stored_decision(&routed.decision)
            }),
            ..Details::default()
        };
        let step = self.append(loaded, event, details, now).await?;
        if matches!(step, Step::On) {
            place.keep();
        }
        Ok(step)
    }
}

impl Messages {
    /// Takes a place for a message that is going to be held; `None` if it goes otherwise.
    pub(crate) async fn place(
        &self,
        fresh: &Loaded,
        account: &v1::Number,
        mut chosen: Option<Route>,
        now: Timestamp,
    ) -> Result<Option<Taken>, Status> {
        let (key, engine) = (fresh.key(), &self.engine);
        let max = engine.rules.hold.max_at(fresh.number());
        while chosen == Some(Route::Hold) {
            if let Some(taken) = engine.queues.take(&key, &fresh.context.id, max) {
                return Ok(Some(taken));
            }
            // The last one was taken meanwhile, which routing sees.
            chosen = Box::pin(self.refuse_dead_end(fresh, account, now)).await?;
        }
        Ok(None)
    }

    /// Returns what would come of holding a message; `None` if it would not be held.
    pub(crate) async fn preview_hold(
        &self,
        fresh: &Loaded,
        account: &v1::Number,
        routed: &Routed,
        now: Timestamp,
    ) -> Result<Option<v1::HoldEffect>, Status> {
        if routed.decision.chosen != Some(Route::Hold) {
            return Ok(None);
        }
        let effect = self.engine.hold_effect(fresh, account, routed, now);
        let mut effect = effect.await.map_err(|error| unavailable(&error))?;
        if let Some(nudge) = &mut effect.nudge
            && nudge.reason == Nudge::Sent.reason()
        {
            // There is none yet, and for a stranger not even its name.
            nudge.message_id.clear();
        }
        Ok(Some(effect))
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId};
    use casement_event::{header, subject};
    use jiff::Timestamp;

    use super::*;

    fn number() -> BusinessNumber {
        BusinessNumber::parse("15550001111").unwrap()
    }

    fn key() -> Key {
        Key {
            number: number(),
            customer: CustomerId::parse("c1").unwrap(),
        }
    }

    fn id(unique: u128) -> MessageId {
        MessageId::new(&number(), unique)
    }

    fn stored(unique: u128, state: &str) -> Stored {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Stored {
            stream: "MESSAGES".to_owned(),
            incarnation: "1".to_owned(),
            sequence: 1,
            subject: subject::message(&id(unique)),
            stored_at: Timestamp::UNIX_EPOCH,
            headers: vec![
                header("ce-customer", "c1"),
                header("ce-state", state),
                header(header::CONTENT_TYPE, "application/protobuf"),
            ],
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn the_last_place_is_taken_once_and_can_be_given_back() {
        let queues = Queues::default();
        queues.see(&stored(1, "HELD"));
        let taken = queues.take(&key(), &id(2), Some(2)).expect("a place");
        assert!(queues.take(&key(), &id(3), Some(2)).is_none(), "full");
        assert!(queues.take(&key(), &id(3), None).is_some(), "no limit");
        assert!(
            queues.take(&key(), &id(2), Some(2)).is_some(),
            "whoever has a place has it"
        );
        assert_eq!(queues.len(&key()), 2);
        drop(taken);
        assert_eq!(queues.len(&key()), 1);
        queues.take(&key(), &id(3), Some(2)).expect("free").keep();
        assert_eq!(queues.len(&key()), 2);
    }

    #[test]
    fn a_place_is_the_messages_until_it_is_claimed_or_over() {
        let queues = Queues::default();
        let taken = queues.take(&key(), &id(1), Some(1)).expect("a place");
        queues.see(&stored(1, "PENDING"));
        queues.see(&stored(1, "HELD"));
        drop(taken);
        assert_eq!(queues.len(&key()), 1, "it is held by now");
        // Released, and not claimed yet: should the window close again, it has its place.
        queues.see(&stored(1, "PENDING"));
        assert!(queues.take(&key(), &id(2), Some(1)).is_none());
        queues.see(&stored(1, "ATTEMPTING"));
        assert_eq!(queues.len(&key()), 0);
        for end in ["ENDED", "DEFERRED"] {
            queues.see(&stored(1, "HELD"));
            queues.see(&stored(1, end));
            assert_eq!(queues.len(&key()), 0, "{end}");
        }
        assert!(queues.lock().keys.is_empty());
    }
}

//! Turns: within one process, whoever looks after a conversation does so alone.
//!
//! After a pause its facts and its deadline are handed out together. Without turns each would
//! decide on what the others are about to change, and every append but the first would be refused
//! and tried again. Whether an event may be stored never rests on this: the append's expectation
//! alone says so, since other replicas take no turns here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::present::Key;

/// The conversations that somebody looks after now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    taken: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A turn at a conversation, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
    has_waited: bool,
}

impl Turns {
    /// Waits for a turn at a conversation.
    pub(crate) async fn take(&self, key: &Key) -> Turn {
        // Made first, so that one that is dropped while it waits leaves nothing behind.
        let mut turn = Turn {
            turns: self.clone(),
            key: key.clone(),
            guard: None,
            has_waited: false,
        };
        let lock = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(taken.entry(key.clone()).or_default())
        };
        turn.guard = Some(if let Ok(guard) = Arc::clone(&lock).try_lock_owned() {
            guard
        } else {
            turn.has_waited = true;
            lock.lock_owned().await
        });
        turn
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl Turn {
    /// Whether somebody else was at it: what was known before may have changed.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut taken = self
            .turns
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Who takes a turn does so from the map, so that nobody else can have come meanwhile.
        if taken
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            taken.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId};
    use futures::FutureExt as _;

    use super::*;

    fn key(customer: &str) -> Key {
        Key {
            number: BusinessNumber::parse("15550001111").unwrap(),
            customer: CustomerId::parse(customer).unwrap(),
        }
    }

    #[tokio::test]
    async fn one_conversation_is_looked_after_by_one_at_a_time_and_others_beside_it() {
        let turns = Turns::default();
        let first = turns.take(&key("customer-1")).await;
        assert!(!first.has_waited());
        assert!(
            !turns
                .take(&key("customer-2"))
                .now_or_never()
                .unwrap()
                .has_waited()
        );
        let one = key("customer-1");
        let mut second = Box::pin(turns.take(&one));
        assert!((&mut second).now_or_never().is_none(), "one at a time");
        drop(first);
        let second = second.await;
        assert!(second.has_waited(), "what it knew may have changed");
        assert!(turns.take(&key("customer-1")).now_or_never().is_none());
        drop(second);
        assert_eq!(turns.len(), 0, "nothing is left behind");
    }
}

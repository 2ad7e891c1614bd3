//! Turns: facts of one customer are put on the log one after the other.
//!
//! Each append expects the one before it. Were all of them tried at once, every success would
//! refuse all others, and a burst of n messages would cost n² tries. The turns are this
//! process's own: between replicas, the expectation decides as ever.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// How many queues there are. Two customers who share one only wait for each other.
const QUEUES_COUNT: usize = 1_024;

/// The queues.
#[derive(Debug)]
pub(crate) struct Queues {
    hasher: RandomState,
    queues: Vec<Mutex<()>>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        let queues = (0..QUEUES_COUNT).map(|_| Mutex::new(())).collect();
        Self {
            hasher: RandomState::new(),
            queues,
        }
    }

    /// Waits for the turn of a subject; it lasts until the guard is dropped.
    pub(crate) async fn turn(&self, subject: &str) -> MutexGuard<'_, ()> {
        let count = u64::try_from(self.queues.len()).unwrap_or(1);
        let which = usize::try_from(self.hasher.hash_one(subject) % count).unwrap_or_default();
        self.queues[which].lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_subject_has_one_turn_at_a_time() {
        let queues = Queues::new();
        let first = queues.turn("a").await;
        assert!(futures::FutureExt::now_or_never(queues.turn("a")).is_none());
        drop(first);
        assert!(futures::FutureExt::now_or_never(queues.turn("a")).is_some());
    }
}

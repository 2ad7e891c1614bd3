//! Deliveries of a broker in memory: to whoever follows, and to whoever works.
//!
//! What a delivery finds is the shelf's to say, and what befalls it is for the fates.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::shelf::{Kept, Taken};
use super::{Fate, Fates, Operation, Shared};
use crate::wire::Pending;

/// A message as it is delivered.
pub(crate) struct Message {
    pub(crate) stream: &'static str,
    pub(crate) kept: Arc<Kept>,
    pub(crate) pending: Pending,
    queue: Option<Queue>,
}

/// Who wants to hear what came of a message.
struct Queue {
    pub(super) name: &'static str,
    pub(super) shared: Arc<Shared>,
    pub(super) fates: Arc<dyn Fates>,
}

impl Message {
    pub(crate) async fn acknowledge(&self, kind: &AckKind) {
        let Some(queue) = &self.queue else { return };
        // Whoever says it does not wait for an answer.
        if queue.fates.going(Operation::Acknowledge, queue.name).await != Fate::Lost {
            let sequence = self.kept.sequence;
            queue.shared.settle(queue.name, self.stream, sequence, kind);
        }
    }
}

/// Sends what a follower follows.
pub(crate) struct Feed {
    pub(super) stream: &'static str,
    pub(super) shared: Arc<Shared>,
    pub(super) fates: Arc<dyn Fates>,
    pub(super) changed: watch::Receiver<u64>,
    pub(super) filters: Vec<String>,
    /// The newest messages of each subject that are still to be sent.
    pub(super) newest: BTreeSet<u64>,
    pub(super) next: u64,
    pub(super) delivered: u64,
}

impl Feed {
    /// The next message; `None` if it broke off.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            self.changed.mark_unchanged();
            if let Some((kept, left)) = self.find() {
                if self.fates.going(Operation::Deliver, self.stream).await != Fate::Done {
                    return None;
                }
                self.delivered += 1;
                return Some(Message {
                    stream: self.stream,
                    pending: Pending {
                        sequence: kept.sequence,
                        consumer_sequence: self.delivered,
                        delivered: 1,
                        left,
                    },
                    kept,
                    queue: None,
                });
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn find(&mut self) -> Option<(Arc<Kept>, u64)> {
        let shared = Arc::clone(&self.shared);
        let found = shared.shelf(self.stream, |shelf| {
            let kept = loop {
                let Some(sequence) = self.newest.pop_first() else {
                    let kept = shelf.next(&self.filters, self.next)?;
                    self.next = kept.sequence + 1;
                    break kept;
                };
                // Purged meanwhile.
                if let Some(kept) = shelf.at(sequence) {
                    break kept;
                }
            };
            let kept = Arc::clone(kept);
            let is_more = !self.newest.is_empty() || shelf.next(&self.filters, self.next).is_some();
            Some((kept, u64::from(is_more)))
        });
        found.ok().flatten()
    }
}

/// Hands out work.
pub(crate) struct Hands {
    pub(super) stream: &'static str,
    pub(super) name: &'static str,
    pub(super) shared: Arc<Shared>,
    pub(super) fates: Arc<dyn Fates>,
    pub(super) changed: watch::Receiver<u64>,
}

impl Hands {
    pub(super) async fn next(&mut self) -> Message {
        loop {
            self.changed.mark_unchanged();
            let now = Instant::now();
            let taken = self
                .shared
                .shelf(self.stream, |shelf| shelf.take(self.name, now));
            match taken.unwrap_or(Taken::Nothing(None)) {
                Taken::Message(kept, pending) => {
                    match self.fates.going(Operation::HandOut, self.name).await {
                        Fate::Done | Fate::Forgotten | Fate::Unconditional | Fate::Behind(_) => {}
                        Fate::Unanswered => {
                            let (name, sequence) = (self.name, kept.sequence);
                            let at_once = AckKind::Nak(None);
                            self.shared.settle(name, self.stream, sequence, &at_once);
                        }
                        Fate::Lost => continue,
                    }
                    let queue = Queue {
                        name: self.name,
                        shared: Arc::clone(&self.shared),
                        fates: Arc::clone(&self.fates),
                    };
                    return Message {
                        stream: self.stream,
                        kept,
                        pending,
                        queue: Some(queue),
                    };
                }
                Taken::Nothing(until) => {
                    let until = until.unwrap_or(now + Duration::from_hours(1));
                    tokio::select! {
                        biased;
                        changed = self.changed.changed() => {
                            debug_assert!(changed.is_ok(), "the shelf is held");
                        }
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }
}

//! A lease on the log: which of several replicas is the active one.
//!
//! A convenience, never a safeguard: it keeps queues and rates in one place. What must happen
//! once is guarded by the expectation of the append that claims it, whoever holds the lease.

use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::{Record, Uuid, v1};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::connect::Log;
use crate::{Expect, ReadError};

/// Takes a lease, keeps it while it can, and takes it over from a holder that fell silent.
///
/// The returned watch says whether this replica holds it. It turns false before another can
/// hold it, as long as both clocks run at the same speed. Given up when `stopping` is cancelled.
pub fn hold(
    log: &Log,
    name: &'static str,
    length: Duration,
    stopping: CancellationToken,
) -> watch::Receiver<bool> {
    let (held, is_held) = watch::channel(false);
    let lease = Lease {
        log: log.clone(),
        name,
        subject: subject::lease(name),
        holder: Uuid::new_v4().simple().to_string(),
        length,
    };
    tokio::spawn(async move { lease.run(&held, stopping).await });
    is_held
}

struct Lease {
    log: Log,
    name: &'static str,
    subject: String,
    holder: String,
    length: Duration,
}

/// The newest word on a lease, and since when we know it.
struct Seen {
    sequence: u64,
    holder: String,
    since: Instant,
}

impl Lease {
    async fn run(&self, held: &watch::Sender<bool>, stopping: CancellationToken) {
        let mut seen = Seen {
            sequence: 0,
            holder: String::new(),
            since: Instant::now(),
        };
        let mut held_until = Instant::now();
        loop {
            let asked = Instant::now();
            let round = tokio::select! {
                () = stopping.cancelled() => break,
                round = self.round_in_time(&mut seen, held, held_until) => round,
            };
            match round {
                Ok(true) => {
                    // Counted from before the append: the others count from after it.
                    held_until = asked + self.length * 2 / 3;
                    if Instant::now() < held_until && !held.send_replace(true) {
                        tracing::info!(lease = self.name, "lease taken");
                    }
                }
                Ok(false) => self.drop_it(held),
                Err(error) => {
                    tracing::warn!(lease = self.name, error = %error, "lease not renewed");
                }
            }
            let pause = self.length / 4;
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            if Instant::now() >= held_until {
                self.drop_it(held);
            }
        }
        if held.send_replace(false) {
            // An empty holder lets another replica take over at once.
            let _ = self.write("", seen.sequence).await;
        }
    }

    /// One round, which an absent broker may draw out beyond what is held.
    async fn round_in_time(
        &self,
        seen: &mut Seen,
        held: &watch::Sender<bool>,
        held_until: Instant,
    ) -> Result<bool, ReadError> {
        let mut round = std::pin::pin!(self.round(seen));
        if *held.borrow() {
            if let Ok(done) = timeout_at(held_until, &mut round).await {
                return done;
            }
            self.drop_it(held);
        }
        round.await
    }

    fn drop_it(&self, held: &watch::Sender<bool>) {
        if held.send_replace(false) {
            tracing::warn!(lease = self.name, "lease lost");
        }
    }

    /// Renews, takes over, or waits; returns whether the lease is ours after it.
    async fn round(&self, seen: &mut Seen) -> Result<bool, ReadError> {
        let newest = self.log.last(stream::LEASES, &self.subject).await?;
        let (sequence, holder) = match newest {
            None => (0, String::new()),
            Some(stored) => (
                stored.sequence,
                stored.header("ce-state").unwrap_or_default().to_owned(),
            ),
        };
        if sequence != seen.sequence {
            *seen = Seen {
                sequence,
                holder,
                since: Instant::now(),
            };
        }
        let is_ours = seen.holder == self.holder;
        let is_free = seen.holder.is_empty() || seen.since.elapsed() >= self.length;
        if !is_ours && !is_free {
            return Ok(false);
        }
        match self.write(&self.holder, seen.sequence).await {
            Some(sequence) => {
                *seen = Seen {
                    sequence,
                    holder: self.holder.clone(),
                    since: Instant::now(),
                };
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn write(&self, holder: &str, expected: u64) -> Option<u64> {
        use casement_event::Extension;
        let record = Record::new(
            self.subject.clone(),
            Uuid::new_v4(),
            "casement/lease",
            Timestamp::UNIX_EPOCH,
            v1::LeaseTaken {
                name: self.name.to_owned(),
                holder: holder.to_owned(),
            },
        )
        .with(Extension::State, holder);
        let expect = Expect::last(self.subject.clone(), expected);
        Some(self.log.append(record, expect).await.ok()?.sequence)
    }
}

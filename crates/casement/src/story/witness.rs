//! Sees events on the log as any subscriber would, and keeps them for the story.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use casement_event::subject::{Family, stream};
use casement_event::{Event, Stored};
use casement_event_log::{Followed, Follower, Log, Start};
use casement_shell::SharedClock;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the log may take to say where its end is.
const START_MAX: Duration = Duration::from_secs(10);

/// Sees window events and the lives of messages, from its start on.
pub(super) struct Witness {
    seen: Arc<Mutex<Vec<(Seen, Event)>>>,
    count: watch::Receiver<usize>,
}

/// When an event was stored, and when it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) stored_at: Timestamp,
    pub(super) at: Timestamp,
}

impl Witness {
    /// Returns once nothing that comes from now on is missed.
    pub(super) async fn start(
        log: &Log,
        clock: SharedClock,
        stopping: CancellationToken,
    ) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        for (stream, family) in [
            (stream::EVENTS, Family::Window),
            (stream::MESSAGES, Family::Message),
        ] {
            let mut follower = log.follow(stream, vec![family.filter()], Start::New);
            let at_the_end =
                async { while !matches!(follower.next().await, Followed::CaughtUp { .. }) {} };
            if tokio::time::timeout(START_MAX, at_the_end).await.is_err() {
                bail!("stream {stream} does not say where its end is");
            }
            let memory = Memory {
                seen: Arc::clone(&seen),
                counted: counted.clone(),
            };
            let (clock, stopping) = (clock.clone(), stopping.clone());
            tokio::spawn(async move {
                stopping
                    .run_until_cancelled(memory.fill(follower, clock))
                    .await;
            });
        }
        Ok(Self { seen, count })
    }

    /// How many events were seen so far.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Returns the first event from the `from`-th on that `look` finds something in.
    pub(super) async fn until<T>(
        &self,
        from: usize,
        within: Duration,
        what: &str,
        look: impl Fn(&Event) -> Option<T>,
    ) -> anyhow::Result<(Seen, T)> {
        let mut count = self.count.clone();
        let waiting = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = self.find(from, &look) {
                    return Some(found);
                }
                count.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(within, waiting).await {
            Ok(Some(found)) => Ok(found),
            _ => bail!(
                "nobody saw {what} within {within:?}; seen instead: {}",
                self.names(from)
            ),
        }
    }

    fn find<T>(&self, from: usize, look: impl Fn(&Event) -> Option<T>) -> Option<(Seen, T)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .skip(from)
            .find_map(|(at, event)| Some((*at, look(event)?)))
    }

    fn names(&self, from: usize) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = seen
            .iter()
            .skip(from)
            .map(|(_, event)| event.event_type().rsplit('.').next().unwrap_or_default())
            .collect();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    }
}

struct Memory {
    seen: Arc<Mutex<Vec<(Seen, Event)>>>,
    counted: watch::Sender<usize>,
}

impl Memory {
    async fn fill(self, mut follower: Follower, clock: SharedClock) {
        loop {
            if let Followed::Event(stored) = follower.next().await {
                self.take(&stored, clock.now());
            }
        }
    }

    fn take(&self, stored: &Stored, at: Timestamp) {
        let event = match stored.event() {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(sequence = stored.sequence, %error, "event cannot be read");
                return;
            }
        };
        let count = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((
                Seen {
                    stored_at: stored.stored_at,
                    at,
                },
                event,
            ));
            seen.len()
        };
        self.counted.send_replace(count);
    }
}

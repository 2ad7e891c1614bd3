//! The clock of a run: the runtime's virtual time, and what it jumped ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use casement_shell::SharedClock;
use casement_shell::clock::Clock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// How soon a sleeper notices a jump.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A clock. Clones jump together.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    start: Timestamp,
    begun: Instant,
    jumped_ms: Arc<AtomicI64>,
    /// By how much this one is wrong.
    ahead: SignedDuration,
}

impl Time {
    /// Begins now, at a time of its own.
    pub(crate) fn begin() -> Self {
        Self {
            // 2026-03-01, noon.
            start: Timestamp::constant(1_772_366_400, 0),
            begun: Instant::now(),
            jumped_ms: Arc::default(),
            ahead: SignedDuration::ZERO,
        }
    }

    /// The same, wrong by so much.
    pub(crate) fn ahead(&self, ahead: SignedDuration) -> Self {
        Self {
            ahead,
            ..self.clone()
        }
    }

    pub(crate) fn jump(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.jumped_ms.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let jumped = SignedDuration::from_millis(self.jumped_ms.load(Ordering::Relaxed));
        let past = self.start + self.begun.elapsed() + jumped;
        past + self.ahead
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        async move {
            while clock.now() < at {
                let left = Duration::try_from(at.duration_since(clock.now()));
                tokio::time::sleep(left.unwrap_or_default().min(LOOK_EVERY)).await;
            }
        }
        .boxed()
    }

    fn drift(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    fn broker_drift(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    fn hear(&self, _: Timestamp, _: Duration) {}
}

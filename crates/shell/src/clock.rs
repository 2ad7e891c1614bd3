//! The one clock.
//!
//! Every other crate is handed a [`SharedClock`] and never asks the operating system for the time.
//! The clock does not judge what a moment means: deadlines, windows and guards belong to the domain.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How far two clocks may part before nothing that depends on time may be decided.
pub const DISAGREEMENT_MAX: SignedDuration = SignedDuration::from_secs(2);

/// How long a sleeper of the [`SystemClock`] sleeps before it looks at the clock again, so that a
/// [`SystemClock::realign`] or a suspended machine delays it no longer than this.
const SLEEP_SLICE: Duration = Duration::from_millis(500);

/// Where the present comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] is not before `at`.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// How far the wall clock has moved away from this one: positive if the wall clock is ahead.
    fn drift(&self) -> SignedDuration;

    /// Whether decisions that depend on time may be made now.
    ///
    /// `witness` is a moment somebody else read just now, such as the broker's stored time of a
    /// message appended a moment ago; without one only the wall clock is asked. A clock of virtual
    /// time has no witness but itself: pass `None` with a [`ManualClock`].
    ///
    /// # Errors
    /// When either parts from this clock by more than [`DISAGREEMENT_MAX`]: then nothing may be
    /// fired, and the caller holds its readiness latch until they agree again.
    fn agreement(&self, witness: Option<Timestamp>) -> Result<(), Disagreement> {
        let wall_clock = self.drift();
        if wall_clock.abs() > DISAGREEMENT_MAX {
            return Err(Disagreement::WallClock {
                ahead_by: wall_clock,
            });
        }
        let Some(witness) = witness else {
            return Ok(());
        };
        let broker = witness.duration_since(self.now());
        if broker.abs() > DISAGREEMENT_MAX {
            return Err(Disagreement::Broker { ahead_by: broker });
        }
        Ok(())
    }
}

/// A clock as it is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// Why the clock cannot be trusted at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The wall clock was set, or the machine was suspended.
    #[error("wall clock is {} ours", Distance(*ahead_by))]
    WallClock {
        /// Negative if it is behind.
        ahead_by: SignedDuration,
    },
    /// The broker lives at another time than we do.
    #[error("broker's clock is {} ours", Distance(*ahead_by))]
    Broker {
        /// Negative if it is behind.
        ahead_by: SignedDuration,
    },
}

struct Distance(SignedDuration);

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.0.is_negative() {
            "behind"
        } else {
            "ahead of"
        };
        write!(f, "{:#} {direction}", self.0.abs())
    }
}

/// Real time: the wall clock's reading at the start, moved on by the monotonic clock.
///
/// A wall clock that is set back or forward while the process runs does not move it; it shows in
/// [`Clock::drift`] instead.
#[derive(Debug)]
pub struct SystemClock {
    anchor: Arc<Mutex<Anchor>>,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    wall: Timestamp,
    monotonic: Instant,
}

impl SystemClock {
    /// Reads the wall clock once and goes on from there.
    pub fn new() -> Self {
        Self {
            anchor: Arc::new(Mutex::new(Anchor::read())),
        }
    }

    /// A [`SystemClock`] ready to be passed around.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }

    /// Starts over from the wall clock if `witness`, a moment the broker read just now, confirms it
    /// within [`DISAGREEMENT_MAX`]. Returns whether it did.
    ///
    /// A machine that was suspended, or started before its time was set, would otherwise disagree
    /// for as long as the process lives. The time may jump either way, so call this only while
    /// [`Clock::agreement`] fails and nothing is being fired.
    pub fn realign(&self, witness: Timestamp) -> bool {
        let fresh = Anchor::read();
        if witness.duration_since(fresh.wall).abs() > DISAGREEMENT_MAX {
            return false;
        }
        *lock(&self.anchor) = fresh;
        true
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        lock(&self.anchor).now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let anchor = Arc::clone(&self.anchor);
        async move {
            loop {
                let now = lock(&anchor).now();
                // A negative duration does not convert: the moment has come.
                match Duration::try_from(at.duration_since(now)) {
                    Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(SLEEP_SLICE)).await,
                    _ => return,
                }
            }
        }
        .boxed()
    }

    fn drift(&self) -> SignedDuration {
        wall_now().duration_since(self.now())
    }
}

impl Anchor {
    fn read() -> Self {
        Self {
            wall: wall_now(),
            monotonic: Instant::now(),
        }
    }

    fn now(self) -> Timestamp {
        self.wall
            .saturating_add(self.monotonic.elapsed())
            .unwrap_or(Timestamp::MAX)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
fn wall_now() -> Timestamp {
    Timestamp::now()
}

/// Time that moves when a test says so.
///
/// Clones share one time.
#[derive(Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

struct ManualState {
    now: Timestamp,
    drift: SignedDuration,
    sleepers_count: u64,
    /// By the moment they wait for, then by who came first.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Arc::new(Mutex::new(ManualState {
                now,
                drift: SignedDuration::ZERO,
                sleepers_count: 0,
                sleepers: BTreeMap::new(),
            })),
        }
    }

    /// The same clock as it is passed around.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// Moves to `now`, forward or back, and wakes whoever is due, the earliest deadline first.
    pub fn set(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        state.now = now;
        while let Some(sleeper) = state.sleepers.first_entry() {
            if sleeper.key().0 > now {
                break;
            }
            // A sleeper that was dropped meanwhile has nobody to wake.
            let _ = sleeper.remove().send(());
        }
    }

    /// Moves on by `step`, as [`ManualClock::set`] does.
    pub fn advance(&self, step: SignedDuration) {
        let now = self.now().saturating_add(step).unwrap_or(Timestamp::MAX);
        self.set(now);
    }

    /// Pretends that the wall clock is ahead of this one by `drift`.
    pub fn set_drift(&self, drift: SignedDuration) {
        lock(&self.state).drift = drift;
    }

    /// The earliest moment somebody is waiting for.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut state = lock(&self.state);
        state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        state.sleepers.keys().next().map(|(at, _)| *at)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        lock(&self.state).now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut state = lock(&self.state);
        if state.now >= at {
            return std::future::ready(()).boxed();
        }
        let (wake, woken) = oneshot::channel();
        let number = state.sleepers_count;
        state.sleepers_count += 1;
        state.sleepers.insert((at, number), wake);
        drop(state);
        let clock = self.clone();
        async move {
            // Holding the clock keeps the other end: nobody is woken by a clock that is dropped.
            let _ = woken.await;
            drop(clock);
        }
        .boxed()
    }

    fn drift(&self) -> SignedDuration {
        lock(&self.state).drift
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

/// A clock stays right even if a holder of its lock panicked: every write to it is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_advances_with_the_monotonic_clock() {
        let clock = SystemClock::new();
        let start = clock.now();
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(clock.now().duration_since(start).as_secs(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_left_behind_is_a_disagreement() {
        // Virtual time runs ahead of the wall clock, as if the wall clock had been set back.
        let clock = SystemClock::new();
        assert_eq!(clock.agreement(None), Ok(()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(clock.drift() < -SignedDuration::from_secs(50));
        assert!(matches!(
            clock.agreement(None),
            Err(Disagreement::WallClock { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_confirmed_wall_clock_ends_the_disagreement() {
        let clock = SystemClock::new();
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(
            !clock.realign(clock.now()),
            "the witness contradicts the wall clock"
        );
        assert!(clock.realign(wall_now()));
        assert_eq!(clock.agreement(Some(wall_now())), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_at_its_moment_and_not_before() {
        let clock = SystemClock::new();
        let moment = clock.now() + SignedDuration::from_millis(1_234);
        clock.sleep_until(moment).await;
        assert!(clock.now() >= moment);
        assert!(clock.now().duration_since(moment) < SignedDuration::from_millis(20));
        clock.sleep_until(moment).await;
    }

    #[test]
    fn a_witness_more_than_two_seconds_away_is_a_disagreement() {
        let clock = ManualClock::new(at(1_000));
        for (witness, agrees) in [
            (998, true),
            (1_000, true),
            (1_002, true),
            (1_003, false),
            (997, false),
        ] {
            assert_eq!(
                clock.agreement(Some(at(witness))).is_ok(),
                agrees,
                "{witness}"
            );
        }
        clock.set_drift(SignedDuration::from_millis(-2_001));
        assert_eq!(
            clock.agreement(None).unwrap_err().to_string(),
            "wall clock is 2s 1ms behind ours"
        );
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_the_earliest_deadline_first() {
        let clock = ManualClock::new(at(0));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut sleepers = tokio::task::JoinSet::new();
        for second in [30, 10, 20, 99] {
            let sleep = clock.sleep_until(at(second));
            let woken = Arc::clone(&woken);
            sleepers.spawn(async move {
                sleep.await;
                lock(&woken).push(second);
            });
        }
        tokio::task::yield_now().await;
        assert_eq!(clock.next_wake(), Some(at(10)));
        clock.advance(SignedDuration::from_secs(9));
        clock.set(at(50));
        for _ in 0..3 {
            sleepers.join_next().await.unwrap().unwrap();
        }
        assert_eq!(*lock(&woken), [10, 20, 30]);
        assert_eq!(clock.next_wake(), Some(at(99)));
        sleepers.abort_all();
        while sleepers.join_next().await.is_some() {}
        assert_eq!(clock.next_wake(), None, "whoever gave up is not waited for");
    }
}

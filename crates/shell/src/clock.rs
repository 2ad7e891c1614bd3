//! The one clock.
//!
//! Every other crate is handed a [`SharedClock`] and never asks the operating system for the time.
//! The clock does not judge what a moment means: deadlines, windows and guards belong to the domain.

mod seam;
mod unproven;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp, Unit};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use seam::{ForTests, for_process};
pub use unproven::{NotProven, Unproven};

/// How far two clocks may part before nothing that depends on time may be decided.
pub const DISAGREEMENT_MAX: SignedDuration = SignedDuration::from_secs(2);

/// How long a sleeper of the [`SystemClock`] sleeps before it looks at the clock again, so that a
/// [`SystemClock::realign`] or a suspended machine delays it no longer than this.
const SLEEP_SLICE: Duration = Duration::from_millis(500);

/// For how long wall clock and broker must agree with one another, against the monotonic clock,
/// before it gives in. A clock that is set wrong and put right at once never gets that far.
const REALIGN_AFTER: Duration = Duration::from_secs(5);

/// For how long counts what somebody else said of the time.
const TESTIMONY_MAX: Duration = Duration::from_hours(2);

/// Where the present comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] is not before `at`.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// How far the wall clock has moved away from this one: positive if the wall clock is ahead.
    fn drift(&self) -> SignedDuration;

    /// How far the broker's clock was away from this one when it was last heard: positive if it
    /// was ahead. Zero before it was heard.
    fn broker_drift(&self) -> SignedDuration;

    /// Takes a testimony: at some moment of the last `waited` the broker's clock, with which it
    /// stamps what it stores, stood at `broker`. A clock of virtual time ignores it.
    fn hear(&self, broker: Timestamp, waited: Duration);

    /// Takes the testimony of somebody who decides nothing here, such as the platform: at some
    /// moment of the last `waited` their clock stood at `at`. It shows in [`Clock::distances`] and
    /// nowhere else. A clock of virtual time ignores it.
    fn hear_of(&self, _whose: &'static str, _at: Timestamp, _waited: Duration) {}

    /// How far others are away from this clock, by whose clock it is: positive if they are ahead.
    fn distances(&self) -> Vec<(&'static str, SignedDuration)> {
        vec![("wall", self.drift()), ("broker", self.broker_drift())]
    }

    /// Whether decisions that depend on time may be made now.
    ///
    /// `witness` is a moment somebody else read just now; without one the wall clock is asked, and
    /// what the broker last said ([`Clock::hear`]). A clock of virtual time has no witness but
    /// itself: pass `None` with a [`ManualClock`].
    ///
    /// # Errors
    /// When any of them parts from this clock by more than [`DISAGREEMENT_MAX`]: then nothing may
    /// be fired, and the caller holds its readiness latch until they agree again.
    fn agreement(&self, witness: Option<Timestamp>) -> Result<(), Disagreement> {
        let wall_clock = self.drift();
        if wall_clock.abs() > DISAGREEMENT_MAX {
            return Err(Disagreement::WallClock {
                ahead_by: wall_clock,
            });
        }
        let broker = match witness {
            Some(witness) => witness.duration_since(self.now()),
            None => self.broker_drift(),
        };
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
        let distance = self.0.abs();
        // Finer than this nobody wants to know it.
        let distance = distance.round(Unit::Millisecond).unwrap_or(distance);
        write!(f, "{distance:#} {direction}")
    }
}

/// Real time: the wall clock's reading at the start, moved on by the monotonic clock.
///
/// A wall clock that is set back or forward while the process runs does not move it; it shows in
/// [`Clock::drift`] instead. A broker that lives at another time shows in [`Clock::broker_drift`].
///
/// Only when wall clock and broker say the same for some seconds, and this clock another thing,
/// does it give in and start over from the wall clock: the machine was suspended. Until then nobody
/// may rest on it, and it says so. That the process started while its time was wrong is kept out
/// before: it is given this clock by an [`Unproven`] one. Where broker
/// and process share one wall clock their agreement proves less: whoever sets such a machine's
/// clock wrong, and leaves it so, moves this clock, too, as a restart would.
pub struct SystemClock {
    anchor: Arc<Mutex<Anchor>>,
    wall: WallClock,
    heard: Mutex<Heard>,
    /// What others said last, by whose clock it is, and when.
    others: Mutex<BTreeMap<&'static str, (SignedDuration, Instant)>>,
}

/// Reads the wall clock.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the broker said last, and since when wall clock and broker stand together against us.
#[derive(Debug, Default)]
struct Heard {
    ahead_by: SignedDuration,
    outvoted_since: Option<Instant>,
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
        Self::with_wall(Arc::new(wall_now))
    }

    /// The same over another wall clock, which a test can set.
    pub fn with_wall(wall: WallClock) -> Self {
        Self {
            anchor: Arc::new(Mutex::new(Anchor::at(wall()))),
            wall,
            heard: Mutex::default(),
            others: Mutex::default(),
        }
    }

    /// A [`SystemClock`] ready to be passed around.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }

    /// Starts over from the wall clock. The time may jump either way.
    fn realign(&self, wall: Timestamp) {
        let before = self.now();
        *lock(&self.anchor) = Anchor::at(wall);
        let moved = wall.duration_since(before);
        tracing::warn!(
            moved = %format_args!("{moved:#}"),
            "clock starts over: wall clock and broker agree with one another and not with it"
        );
    }
}

/// How far a moment of the last `waited` before `now` was away from the clock that shows `now`,
/// beyond what the wait explains.
fn distance(heard: Timestamp, waited: Duration, now: Timestamp) -> SignedDuration {
    let earliest = now.saturating_sub(waited).unwrap_or(Timestamp::MIN);
    if heard < earliest {
        heard.duration_since(earliest)
    } else {
        heard.duration_since(now).max(SignedDuration::ZERO)
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
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
        (self.wall)().duration_since(self.now())
    }

    fn broker_drift(&self) -> SignedDuration {
        lock(&self.heard).ahead_by
    }

    fn hear_of(&self, whose: &'static str, at: Timestamp, waited: Duration) {
        let ahead_by = distance(at, waited, self.now());
        lock(&self.others).insert(whose, (ahead_by, Instant::now()));
    }

    fn distances(&self) -> Vec<(&'static str, SignedDuration)> {
        let mut others = lock(&self.others);
        others.retain(|_, (_, heard_at)| heard_at.elapsed() < TESTIMONY_MAX);
        let others = others.iter().map(|(whose, (by, _))| (*whose, *by));
        let own = [("wall", self.drift()), ("broker", self.broker_drift())];
        own.into_iter().chain(others).collect()
    }

    fn hear(&self, broker: Timestamp, waited: Duration) {
        let mut heard = lock(&self.heard);
        let (now, wall) = (self.now(), (self.wall)());
        heard.ahead_by = distance(broker, waited, now);
        let is_disputed = heard.ahead_by.abs() > DISAGREEMENT_MAX
            || wall.duration_since(now).abs() > DISAGREEMENT_MAX;
        let is_outvoted = is_disputed && distance(broker, waited, wall).abs() <= DISAGREEMENT_MAX;
        if !is_outvoted {
            heard.outvoted_since = None;
            return;
        }
        let since = *heard.outvoted_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= REALIGN_AFTER {
            self.realign(wall);
            *heard = Heard::default();
        }
    }
}

impl Anchor {
    fn at(wall: Timestamp) -> Self {
        Self {
            wall,
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
    broker_drift: SignedDuration,
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
                broker_drift: SignedDuration::ZERO,
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

    /// Pretends that the broker's clock is ahead of this one by `drift`.
    pub fn set_broker_drift(&self, drift: SignedDuration) {
        lock(&self.state).broker_drift = drift;
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

    fn broker_drift(&self) -> SignedDuration {
        lock(&self.state).broker_drift
    }

    fn hear(&self, _: Timestamp, _: Duration) {}
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
mod tests;

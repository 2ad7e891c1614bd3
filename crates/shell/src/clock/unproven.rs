//! A clock before anybody may ask it.
//!
//! Nobody contradicts the wall clock of a process that has just started. What would be decided by it
//! meanwhile stays on the log for good, so a process that works with a broker is given its clock only
//! once the broker has said the same time. Neither is taken for the one that is right: while they
//! differ, this waits. What happens to a clock that was handed out is for [`SystemClock`] to say.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{
    Anchor, DISAGREEMENT_MAX, Disagreement, SharedClock, SystemClock, WallClock, distance, lock,
    wall_now,
};

/// The clock of a process that nobody may ask yet.
#[derive(Debug)]
pub struct Unproven {
    clock: Arc<SystemClock>,
}

/// Why a clock cannot be handed out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The wall clock and the broker's differ. Which of them is wrong, nobody knows.
    #[error("{0}; this process begins once both agree")]
    Disagreement(Disagreement),
    /// The answer took so long that it tells no time.
    #[error("broker's answer took {0:?}, which is too long to tell the time")]
    Slow(Duration),
}

impl Unproven {
    /// A clock over the machine's wall clock.
    pub fn new() -> Self {
        Self::with_wall(Arc::new(wall_now))
    }

    /// The same over another wall clock, which a test can set.
    pub fn with_wall(wall: WallClock) -> Self {
        Self {
            clock: Arc::new(SystemClock::with_wall(wall)),
        }
    }

    /// Takes a testimony: at some moment of the last `waited` the broker's clock stood at `broker`.
    /// Returns the clock, which starts from what the wall clock shows now.
    ///
    /// # Errors
    /// When both may be further apart than [`DISAGREEMENT_MAX`], whenever in that time it was.
    pub fn hear(&self, broker: Timestamp, waited: Duration) -> Result<SharedClock, NotProven> {
        let wall = (self.clock.wall)();
        let ahead_by = distance(broker, waited, wall);
        if ahead_by.abs() > DISAGREEMENT_MAX {
            let disagreement = Disagreement::Broker { ahead_by };
            return Err(NotProven::Disagreement(disagreement));
        }
        let asked_at = wall.saturating_sub(waited).unwrap_or(Timestamp::MIN);
        let furthest = wall
            .duration_since(broker)
            .max(broker.duration_since(asked_at));
        if furthest > DISAGREEMENT_MAX {
            return Err(NotProven::Slow(waited));
        }
        *lock(&self.clock.anchor) = Anchor::at(wall);
        Ok(Arc::clone(&self.clock) as SharedClock)
    }

    /// Returns the clock of a process that meets no broker, and so stores nothing by it.
    pub fn without_broker(self) -> SharedClock {
        self.clock
    }
}

impl Default for Unproven {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::SignedDuration;
    use tokio::time::Instant;

    use super::*;

    const PROMPT: Duration = Duration::from_millis(10);

    /// A process that starts on a machine whose wall clock is wrong by so much.
    struct Scene {
        clock: Unproven,
        started: Instant,
        wrong_by: Arc<Mutex<SignedDuration>>,
    }

    impl Scene {
        fn new(wrong_by: SignedDuration) -> Self {
            let started = Instant::now();
            let wrong_by = Arc::new(Mutex::new(wrong_by));
            let ahead_by = Arc::clone(&wrong_by);
            let wall = move || start() + started.elapsed() + *lock(&ahead_by);
            Self {
                clock: Unproven::with_wall(Arc::new(wall)),
                started,
                wrong_by,
            }
        }

        fn truth(&self) -> Timestamp {
            start() + self.started.elapsed()
        }
    }

    fn start() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_started_wrong_is_handed_out_once_it_is_right_and_then_shows_the_truth() {
        for wrong_by in [
            SignedDuration::from_hours(1),
            SignedDuration::from_hours(-1),
            SignedDuration::from_hours(24),
            SignedDuration::from_hours(-24),
            SignedDuration::from_secs(3),
            SignedDuration::from_secs(-3),
        ] {
            let scene = Scene::new(wrong_by);
            for _ in 0..30 {
                tokio::time::advance(Duration::from_secs(1)).await;
                let refused = scene.clock.hear(scene.truth(), PROMPT).unwrap_err();
                let NotProven::Disagreement(Disagreement::Broker { ahead_by }) = refused else {
                    panic!("{refused}");
                };
                assert!((ahead_by + wrong_by).abs() <= SignedDuration::from_millis(10));
            }
            // However long it was wrong: at the first word that agrees nobody has rested on it yet.
            *lock(&scene.wrong_by) = SignedDuration::ZERO;
            let clock = scene.clock.hear(scene.truth(), PROMPT).unwrap();
            assert_eq!(clock.now(), scene.truth());
            assert_eq!(clock.agreement(None), Ok(()));
            // From now on it goes its own way.
            *lock(&scene.wrong_by) = wrong_by;
            tokio::time::advance(Duration::from_mins(1)).await;
            assert_eq!(clock.now(), scene.truth());
            assert!(clock.agreement(None).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_took_long_hides_no_difference() {
        let ahead = Scene::new(SignedDuration::from_secs(7));
        // The question took five seconds on its way, and that could explain most of it.
        let waited = Duration::from_secs(5);
        tokio::time::advance(waited).await;
        let refused = ahead.clock.hear(ahead.truth(), waited).unwrap_err();
        assert_eq!(refused, NotProven::Slow(waited));
        let right = Scene::new(SignedDuration::ZERO);
        tokio::time::advance(waited).await;
        let refused = right.clock.hear(right.truth(), waited).unwrap_err();
        assert_eq!(refused, NotProven::Slow(waited));
        assert!(right.clock.hear(right.truth(), PROMPT).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_apart_is_agreement_and_the_clock_is_the_wall_clocks() {
        for by in [SignedDuration::from_secs(1), SignedDuration::from_secs(-1)] {
            let scene = Scene::new(by);
            let clock = scene.clock.hear(scene.truth(), PROMPT).unwrap();
            assert_eq!(clock.now(), scene.truth() + by);
        }
    }

    #[test]
    fn what_is_waited_for_is_told_in_words() {
        let ahead_by = SignedDuration::from_hours(-1);
        let disagreement = Disagreement::Broker { ahead_by };
        assert_eq!(
            NotProven::Disagreement(disagreement).to_string(),
            "broker's clock is 1h behind ours; this process begins once both agree"
        );
    }
}

//! An endless back-off as data.
//!
//! It only says how long to wait; it does not wait, count attempts or decide what is worth another.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// How the waits between attempts grow: from `min` by `factor` up to `max`, each shortened at
/// random by up to `jitter` of itself, so that many who failed together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Schedule {
    min: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

/// As it stands in a configuration: `{ min_ms = 100, max_ms = 30000, factor = 2.0, jitter = 0.5 }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    min_ms: u64,
    max_ms: u64,
    #[serde(default = "default_factor")]
    factor: f64,
    #[serde(default = "default_jitter")]
    jitter: f64,
}

/// Why a schedule was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A wait of zero would spin.
    #[error("shortest wait is zero")]
    MinIsZero,
    /// The waits could not grow.
    #[error("shortest wait exceeds the longest")]
    MinExceedsMax,
    /// A factor below 1 would shrink the waits.
    #[error("factor is not a number of at least 1")]
    Factor,
    /// Jitter is a share of the wait.
    #[error("jitter is not between 0 and 1")]
    Jitter,
}

impl Schedule {
    /// What to use where nothing else is configured: 100 ms doubling to 30 s, half of it random.
    pub const DEFAULT: Self = Self {
        min: Duration::from_millis(100),
        max: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.5,
    };

    /// Refuses what could spin, shrink or wait for less than nothing.
    pub fn try_new(
        min: Duration,
        max: Duration,
        factor: f64,
        jitter: f64,
    ) -> Result<Self, ScheduleError> {
        if min.is_zero() {
            return Err(ScheduleError::MinIsZero);
        }
        if min > max {
            return Err(ScheduleError::MinExceedsMax);
        }
        if !factor.is_finite() || factor < 1.0 {
            return Err(ScheduleError::Factor);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(ScheduleError::Jitter);
        }
        Ok(Self {
            min,
            max,
            factor,
            jitter,
        })
    }

    /// The waits, from the first.
    pub fn waits(&self) -> Waits {
        Waits {
            schedule: *self,
            next: self.min,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The waits of a [`Schedule`], without end.
#[derive(Debug, Clone)]
pub struct Waits {
    schedule: Schedule,
    next: Duration,
}

impl Waits {
    /// The next wait. There always is one.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = if wait >= self.schedule.max.div_f64(self.schedule.factor) {
            self.schedule.max
        } else {
            wait.mul_f64(self.schedule.factor)
        };
        wait.mul_f64(1.0 - self.schedule.jitter * rand::rng().random::<f64>())
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.schedule.min;
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_wait())
    }
}

impl TryFrom<Unchecked> for Schedule {
    type Error = ScheduleError;

    fn try_from(raw: Unchecked) -> Result<Self, ScheduleError> {
        let (min, max) = (
            Duration::from_millis(raw.min_ms),
            Duration::from_millis(raw.max_ms),
        );
        Self::try_new(min, max, raw.factor, raw.jitter)
    }
}

impl From<Schedule> for Unchecked {
    fn from(schedule: Schedule) -> Self {
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            min_ms: millis(schedule.min),
            max_ms: millis(schedule.max),
            factor: schedule.factor,
            jitter: schedule.jitter,
        }
    }
}

fn default_factor() -> f64 {
    Schedule::DEFAULT.factor
}

fn default_jitter() -> f64 {
    Schedule::DEFAULT.jitter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn waits_grow_to_the_longest_and_stay_there() {
        let schedule = Schedule::try_new(millis(100), millis(1_000), 2.0, 0.0).unwrap();
        let mut waits = schedule.waits();
        let first: Vec<_> = waits.by_ref().take(6).collect();
        assert_eq!(first, [100, 200, 400, 800, 1_000, 1_000].map(millis));
        assert_eq!(waits.nth(10_000), Some(millis(1_000)));
        waits.reset();
        assert_eq!(waits.next_wait(), millis(100));
    }

    #[test]
    fn jitter_only_shortens_and_by_no_more_than_its_share() {
        let schedule = Schedule::try_new(millis(1_000), millis(1_000), 1.0, 0.25).unwrap();
        for wait in schedule.waits().take(1_000) {
            assert!((millis(750)..=millis(1_000)).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn what_could_spin_or_shrink_is_refused() {
        for (min, max, factor, jitter, error) in [
            (0, 10, 2.0, 0.0, ScheduleError::MinIsZero),
            (11, 10, 2.0, 0.0, ScheduleError::MinExceedsMax),
            (1, 10, 0.9, 0.0, ScheduleError::Factor),
            (1, 10, f64::NAN, 0.0, ScheduleError::Factor),
            (1, 10, f64::INFINITY, 0.0, ScheduleError::Factor),
            (1, 10, 2.0, 1.1, ScheduleError::Jitter),
            (1, 10, 2.0, f64::NAN, ScheduleError::Jitter),
        ] {
            assert_eq!(
                Schedule::try_new(millis(min), millis(max), factor, jitter),
                Err(error)
            );
        }
    }

    #[test]
    fn a_schedule_is_checked_when_it_is_read() {
        let good: Schedule = toml::from_str("min_ms = 5\nmax_ms = 50").unwrap();
        assert_eq!(
            good,
            Schedule::try_new(millis(5), millis(50), 2.0, 0.5).unwrap()
        );
        assert!(toml::from_str::<Schedule>("min_ms = 50\nmax_ms = 5").is_err());
        assert!(toml::from_str::<Schedule>("min_ms = 5\nmax_ms = 50\nmaxx = 1").is_err());
    }
}

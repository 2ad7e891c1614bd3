//! Whether a number is silent for longer than is usual at these hours.
//!
//! Learned are no rates but habits: of each quarter of an hour of the week, in how many of the last
//! weeks anything came at all. Customers who write ten lines at once count once, nights and Sundays
//! are as quiet as they were, and a small number is not alarming each evening. How likely a silence
//! is by chance is the product over its quarters of the chance that nothing comes in each.
//!
//! Quarters are not independent of one another: holidays are silent as a whole. So the thresholds
//! lie far out, where only a number that is never silent gets to soon, and a public holiday may
//! still be told of. What was learned is no older than the silence: that teaches nothing itself.

use jiff::{SignedDuration, Timestamp};

use super::{Level, Reading};

/// Seconds of a quarter of an hour.
const QUARTER: i64 = 15 * 60;

/// Quarters of a week.
const WEEK: i64 = 7 * 24 * 4;

/// How many weeks are learned from.
pub const WEEKS_MAX: i64 = 4;

/// With fewer there are no habits yet, and nothing is told.
pub const WEEKS_MIN: i64 = 2;

/// Quarters to either side that count as the same hour of the week: an hour, which clocks move by
/// twice a year.
const BESIDE: i64 = 4;

/// A silence that is less likely than this is warned of.
pub const CHANCE_WARNED: f64 = 1e-4;

/// Than this, alarming.
pub const CHANCE_ALARMING: f64 = 1e-6;

/// A longer silence is not looked at any further back; by then it has been told of, or the number
/// has no habits.
const LOOK_BACK: i64 = 2 * WEEK;

/// Returns the quarter of an hour that a moment is in, counted from 1970.
pub fn quarter(at: Timestamp) -> i64 {
    at.as_second().div_euclid(QUARTER)
}

/// What is usual of a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Habits {
    /// By the quarter of the week: the chance that something comes.
    chances: Vec<f64>,
    weeks: i64,
}

impl Habits {
    /// Learns from the quarters in which anything came, in no order and as often as one likes.
    /// `first` is the first quarter that anything was ever known of the number, `last` the last one
    /// in which something came; later ones are left aside.
    pub fn learn(heard: impl IntoIterator<Item = i64>, first: i64, last: i64) -> Self {
        let weeks = (last + 1 - first).div_euclid(WEEK).clamp(0, WEEKS_MAX);
        let since = last + 1 - weeks * WEEK;
        let mut seen = vec![0_u64; index(WEEK)];
        let mut all: Vec<i64> = heard.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        for one in all.into_iter().filter(|one| (since..=last).contains(one)) {
            seen[index(one.rem_euclid(WEEK))] += 1;
        }
        let beside = BESIDE * 2 + 1;
        let known = f64::from(u32::try_from(weeks * beside).unwrap_or(u32::MAX));
        let chance = |of: i64| {
            let near = (of - BESIDE..=of + BESIDE).map(|one| seen[index(one.rem_euclid(WEEK))]);
            let heard = u32::try_from(near.sum::<u64>()).unwrap_or(u32::MAX);
            // One more than were seen: nothing is so sure as that it never fails.
            f64::from(heard) / (known + 1.0)
        };
        Self {
            chances: (0..WEEK).map(chance).collect(),
            weeks,
        }
    }

    /// Returns how likely it is that nothing comes after the quarter `last` and before the quarter
    /// `now`, which is not over and does not count; `None` before there are habits.
    pub fn chance_of_silence(&self, last: i64, now: i64) -> Option<f64> {
        if self.weeks < WEEKS_MIN {
            return None;
        }
        let since = (last + 1).max(now - LOOK_BACK);
        let quarters = since..now;
        let chances = quarters.map(|one| self.chances[index(one.rem_euclid(WEEK))]);
        Some(chances.fold(1.0, |all, comes| all * (1.0 - comes)))
    }
}

fn index(quarter: i64) -> usize {
    usize::try_from(quarter).unwrap_or_default()
}

/// Judges the silence since the last webhook.
pub fn judge(habits: &Habits, last: Timestamp, now: Timestamp) -> Reading {
    let age = now.duration_since(last).max(SignedDuration::ZERO);
    let Some(chance) = habits.chance_of_silence(quarter(last), quarter(now)) else {
        return Reading::fine("too little is known of the number's habits");
    };
    let level = if chance <= CHANCE_ALARMING {
        Level::Alarming
    } else if chance <= CHANCE_WARNED {
        Level::Warned
    } else {
        Level::Fine
    };
    let text = format!(
        "no webhook for {} minutes, since {last}; by chance so at one such time in {:.0}",
        age.as_secs() / 60,
        (1.0 / chance.max(f64::MIN_POSITIVE)).min(1e12)
    );
    Reading::of(level, text)
        .with("last_time", last)
        .with("age_seconds", age.as_secs())
        .with("chance", format!("{chance:.1e}"))
}

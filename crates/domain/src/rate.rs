//! Rates: how many messages a number, or a pair of number and customer, may send.
//!
//! The generic cell rate algorithm over the caller's clock: one instant of state, no timer,
//! no thread. Whoever asks waits until the time that it names.

use jiff::{SignedDuration, Timestamp};

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time that one message uses up.
    pub interval: SignedDuration,
    /// How many messages may go at once after a rest. At least 1.
    pub burst: u32,
}

impl Rate {
    /// Meta: 1 message to the same customer every 6 seconds, bursts up to 45 that borrow
    /// from the future.
    pub const PAIR: Self = Self { interval: SignedDuration::from_secs(6), burst: 45 };

    /// Returns a rate of so many messages a second, with a burst of one second's worth.
    ///
    /// Meta: 80 a second for a number, 20 on coexistence, 1,000 when upgraded.
    pub fn per_second(count: u32) -> Self {
        let count = count.max(1);
        Self { interval: SignedDuration::from_secs(1) / i32::try_from(count).unwrap_or(i32::MAX), burst: count }
    }
}

/// How much of a rate is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// When everything sent so far will have been paid for.
    paid_at: Option<Timestamp>,
}

impl Usage {
    /// Returns when the next message may go; `now`, if it may go at once.
    pub fn ready_at(&self, rate: Rate, now: Timestamp) -> Timestamp {
        let burst = rate.interval * i32::try_from(rate.burst.saturating_sub(1)).unwrap_or(i32::MAX);
        self.paid_at.and_then(|paid| paid.checked_sub(burst).ok()).map_or(now, |ready| ready.max(now))
    }

    /// Counts one message.
    #[must_use]
    pub fn after_one(&self, rate: Rate, now: Timestamp) -> Self {
        let from = self.paid_at.map_or(now, |paid| paid.max(now));
        Self { paid_at: Some(from.checked_add(rate.interval).unwrap_or(Timestamp::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).unwrap()
    }

    #[test]
    fn a_pair_may_burst_and_then_pays_six_seconds_each() {
        let mut usage = Usage::default();
        for sent in 0..45 {
            assert_eq!(usage.ready_at(Rate::PAIR, at(0)), at(0), "message {sent}");
            usage = usage.after_one(Rate::PAIR, at(0));
        }
        assert_eq!(usage.ready_at(Rate::PAIR, at(0)), at(6_000));
        assert_eq!(usage.ready_at(Rate::PAIR, at(7_000)), at(7_000));
    }

    proptest! {
        #[test]
        fn no_second_holds_more_than_burst_and_rate(gaps in prop::collection::vec(0..300_i64, 1..200)) {
            let rate = Rate::per_second(10);
            let mut usage = Usage::default();
            let mut now = at(0);
            let mut sent = Vec::new();
            for gap in gaps {
                now = usage.ready_at(rate, now + SignedDuration::from_millis(gap));
                usage = usage.after_one(rate, now);
                sent.push(now);
            }
            for first in &sent {
                let end = *first + SignedDuration::from_secs(1);
                let count = sent.iter().filter(|one| **one >= *first && **one < end).count();
                prop_assert!(count <= 20, "{count} in a second");
            }
        }
    }
}

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
    pub const PAIR: Self = Self {
        interval: SignedDuration::from_secs(6),
        burst: 45,
    };

    /// Returns a rate of so many messages a second, with a burst of one second's worth.
    ///
    /// Meta: 80 a second for a number, 20 on coexistence, 1,000 when upgraded.
    pub fn per_second(count: u32) -> Self {
        let count = count.max(1);
        Self {
            interval: SignedDuration::from_secs(1) / i32::try_from(count).unwrap_or(i32::MAX),
            burst: count,
        }
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
        self.paid_at
            .and_then(|paid| paid.checked_sub(burst).ok())
            .map_or(now, |ready| ready.max(now))
    }

    /// Counts one message.
    #[must_use]
    pub fn after_one(&self, rate: Rate, now: Timestamp) -> Self {
        let from = self.paid_at.map_or(now, |paid| paid.max(now));
        Self {
            paid_at: Some(from.checked_add(rate.interval).unwrap_or(Timestamp::MAX)),
        }
    }
}

/// How much of a pair's rate is used up: one number writing to one customer.
///
/// Meta: one message every 6 seconds; up to 45 may go within 6 seconds, and each of them is
/// paid for with 6 seconds before the next burst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairUsage {
    burst: Option<Burst>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Burst {
    began_at: Timestamp,
    count: i32,
}

impl PairUsage {
    /// Time that one message uses up, and length of a burst.
    pub const INTERVAL: SignedDuration = SignedDuration::from_secs(6);
    /// How many messages a burst may hold.
    pub const BURST_MAX: i32 = 45;

    /// Returns when the next message may go; `now`, if it may go at once.
    pub fn ready_at(&self, now: Timestamp) -> Timestamp {
        match self.burst {
            Some(burst) if !burst.takes_one_more(now) => burst.paid_at().max(now),
            _ => now,
        }
    }

    /// Counts one message.
    #[must_use]
    pub fn after_one(&self, now: Timestamp) -> Self {
        let burst = match self.burst {
            Some(burst) if burst.takes_one_more(now) && now < burst.paid_at() => Burst {
                count: burst.count + 1,
                ..burst
            },
            _ => Burst {
                began_at: now,
                count: 1,
            },
        };
        Self { burst: Some(burst) }
    }
}

impl Burst {
    fn takes_one_more(self, now: Timestamp) -> bool {
        let ends_at = self
            .began_at
            .checked_add(PairUsage::INTERVAL)
            .unwrap_or(Timestamp::MAX);
        now >= self.paid_at() || (now < ends_at && self.count < PairUsage::BURST_MAX)
    }

    fn paid_at(self) -> Timestamp {
        self.began_at
            .checked_add(PairUsage::INTERVAL * self.count)
            .unwrap_or(Timestamp::MAX)
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
    fn a_pair_may_burst_and_then_pays_six_seconds_for_each() {
        let mut usage = PairUsage::default();
        for sent in 0..45 {
            assert_eq!(usage.ready_at(at(0)), at(0), "message {sent}");
            usage = usage.after_one(at(0));
        }
        assert_eq!(usage.ready_at(at(1)), at(45 * 6_000));
        let mut usage = PairUsage::default().after_one(at(0)).after_one(at(100));
        assert_eq!(usage.ready_at(at(7_000)), at(12_000));
        usage = usage.after_one(at(12_000));
        assert_eq!(usage.ready_at(at(12_001)), at(12_001));
    }

    #[test]
    fn a_pair_at_one_in_six_seconds_never_waits() {
        let mut usage = PairUsage::default();
        for step in 0..100 {
            let now = at(step * 6_000);
            assert_eq!(usage.ready_at(now), now);
            usage = usage.after_one(now);
        }
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

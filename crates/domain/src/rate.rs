//! Rates: how many messages a number, or a pair of number and customer, may send.
//!
//! The generic cell rate algorithm over the caller's clock: one instant of state, no timer,
//! no thread. Whoever asks waits until the time that it names.

use jiff::{SignedDuration, Timestamp};

/// Which part of a number's rate may go at once.
const BURST_PART: u32 = 10;

/// The time in which a platform counts.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

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

    /// Returns a rate that stays within so many messages in any second, whatever went before: a
    /// tenth of them may go at once, and what flows then makes up the rest.
    pub fn within(allowed: u32) -> Self {
        let burst = (allowed / BURST_PART).max(1);
        let flow = allowed.saturating_sub(burst).max(1);
        Self {
            burst,
            ..Self::per_second(flow)
        }
    }

    /// Time that so many messages use up.
    pub fn takes(self, count: u32) -> SignedDuration {
        self.interval * i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// How much of a rate is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// When everything sent so far will have been paid for.
    paid_at: Option<Timestamp>,
}

impl Usage {
    /// Returns the usage of a rate of which everything may be used up: what somebody starts with
    /// who takes over and cannot know what went before. Theirs and what went before keep the rate
    /// together, whatever the clock of the other was.
    pub fn used_up(rate: Rate, now: Timestamp) -> Self {
        Self {
            paid_at: now.checked_add(rate.takes(rate.burst)).ok(),
        }
    }

    /// Returns when the next message may go; `now`, if it may go at once.
    pub fn ready_at(&self, rate: Rate, now: Timestamp) -> Timestamp {
        let burst = rate.takes(rate.burst.saturating_sub(1));
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

    /// Counts one message that nobody could keep back, such as a customer's. However many they
    /// were, they are forgotten a second later, as by the platform.
    #[must_use]
    pub fn after_forced(&self, rate: Rate, now: Timestamp) -> Self {
        let longest = rate.takes(rate.burst).checked_add(SECOND);
        let latest = longest.and_then(|longest| now.checked_add(longest).ok());
        let after = self.after_one(rate, now);
        Self {
            paid_at: after.paid_at.min(latest.or(Some(Timestamp::MAX))),
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
    /// Of somebody else's: how it went on nobody knows, so it takes no more.
    is_closed: bool,
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
                is_closed: false,
            },
        };
        Self { burst: Some(burst) }
    }

    /// Counts one message that somebody else sent, at a time that may be wrong by so much. Until
    /// all of theirs are paid for, nothing goes.
    #[must_use]
    pub fn after_other(&self, at: Timestamp, error: SignedDuration) -> Self {
        let burst = match self.burst {
            Some(burst) if at < burst.paid_at() => Burst {
                count: burst.count.saturating_add(1),
                is_closed: true,
                ..burst
            },
            _ => Burst {
                began_at: at.checked_add(error).unwrap_or(Timestamp::MAX),
                count: 1,
                is_closed: true,
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
        let is_within = !self.is_closed && now < ends_at && self.count < PairUsage::BURST_MAX;
        now >= self.paid_at() || is_within
    }

    fn paid_at(self) -> Timestamp {
        self.began_at
            .checked_add(PairUsage::INTERVAL.saturating_mul(self.count))
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
    fn what_somebody_else_sent_to_a_customer_is_paid_for_before_anything_goes() {
        let error = SignedDuration::from_secs(2);
        let mut usage = PairUsage::default();
        for sent in 0..3 {
            usage = usage.after_other(at(sent * 100), error);
        }
        assert_eq!(usage.ready_at(at(1_000)), at(2_000 + 3 * 6_000));
        assert_eq!(usage.ready_at(at(20_000)), at(20_000));
        usage = usage.after_one(at(20_000));
        assert_eq!(usage.ready_at(at(20_001)), at(20_001), "a burst of our own");
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

    #[test]
    fn after_six_seconds_a_burst_takes_no_more_until_it_is_paid_for() {
        let usage = PairUsage::default().after_one(at(0)).after_one(at(0));
        for (now, ready) in [
            (5_999, 5_999),
            (6_000, 12_000),
            (11_999, 12_000),
            (12_000, 12_000),
        ] {
            assert_eq!(usage.ready_at(at(now)), at(ready), "at {now}");
        }
    }

    #[test]
    fn after_a_message_of_somebody_elses_our_own_burst_goes_on_no_more() {
        let ours = PairUsage::default().after_one(at(0));
        assert_eq!(ours.ready_at(at(1_000)), at(1_000));
        let usage = ours.after_other(at(1_000), SignedDuration::from_secs(2));
        assert_eq!(usage.ready_at(at(1_000)), at(2 * 6_000));
    }

    #[test]
    fn what_somebody_else_sent_is_counted_from_its_latest_time_once_ours_is_paid_for() {
        let usage = PairUsage::default().after_one(at(0));
        for (sent, ready) in [
            (5_999, 2 * 6_000),
            (6_000, 6_000 + 2_000 + 6_000),
            (60_000, 60_000 + 2_000 + 6_000),
        ] {
            let usage = usage.after_other(at(sent), SignedDuration::from_secs(2));
            assert_eq!(usage.ready_at(at(sent)), at(ready), "sent at {sent}");
        }
    }

    #[test]
    fn a_number_sends_so_many_a_second_without_a_wait_and_no_faster() {
        for (count, gap) in [(0, 1_000_000), (1, 1_000_000), (20, 50_000), (80, 12_500)] {
            let rate = Rate::per_second(count);
            let gap = SignedDuration::from_micros(gap);
            assert_eq!(rate.burst, count.max(1));
            let mut usage = Usage::used_up(rate, at(0));
            let mut now = at(0);
            for sent in 0..200 {
                now += gap;
                assert_eq!(usage.ready_at(rate, now - gap), now, "{sent} of {count}");
                usage = usage.after_one(rate, now);
            }
        }
    }

    #[test]
    fn a_tenth_of_what_is_allowed_may_go_at_once() {
        for (allowed, burst) in [(1, 1), (2, 1), (19, 1), (20, 2), (80, 8), (1_000, 100)] {
            let rate = Rate::within(allowed);
            let mut usage = Usage::default();
            let mut sent = 0;
            while usage.ready_at(rate, at(0)) == at(0) {
                usage = usage.after_one(rate, at(0));
                sent += 1;
            }
            assert_eq!(sent, burst, "of {allowed}");
        }
    }

    /// The most events of a list, in their order, in any second that ends with one that counts.
    fn highest(events: &[(Timestamp, bool)]) -> usize {
        let counted = (1..=events.len()).map(|len| &events[..len]);
        let ends = counted.filter_map(|all| {
            all.last()
                .filter(|(_, counts)| *counts)
                .map(|last| (all, last.0))
        });
        ends.map(|(all, last)| all.iter().filter(|(at, _)| *at > last - SECOND).count())
            .max()
            .unwrap_or_default()
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
                sent.push((now, true));
            }
            prop_assert!(highest(&sent) <= 20);
        }

        /// Messages as fast as they may go, customers who write meanwhile, and others who take
        /// over with clocks that are wrong by any amount.
        #[test]
        fn never_more_than_the_platform_allows_whoever_takes_over(
            allowed in prop::sample::select(vec![2_u32, 5, 20, 80, 250]),
            steps in prop::collection::vec((0..40_u32, 0..30_i64, -5_000_000..5_000_000_i64), 1..600),
        ) {
            let rate = Rate::within(allowed);
            // The true time, and how wrong the clock is of whoever sends.
            let (mut now, mut wrong) = (at(0), SignedDuration::ZERO);
            let mut usage = Usage::used_up(rate, now);
            let mut events = Vec::new();
            for (kind, gap, error) in steps {
                now += SignedDuration::from_millis(gap);
                match kind {
                    0 => {
                        wrong = SignedDuration::from_millis(error);
                        usage = Usage::used_up(rate, now + wrong);
                    }
                    1..=4 => {
                        usage = usage.after_forced(rate, now + wrong);
                        events.push((now, false));
                    }
                    _ => {
                        now = now.max(usage.ready_at(rate, now + wrong) - wrong);
                        usage = usage.after_one(rate, now + wrong);
                        events.push((now, true));
                    }
                }
            }
            // What customers write is not given back to them who take over: it is not known.
            let own: Vec<_> = events.iter().copied().filter(|(_, counts)| *counts).collect();
            prop_assert!(highest(&own) <= allowed as usize, "{} of {allowed}", highest(&own));
        }

        #[test]
        fn what_customers_write_counts_and_is_forgotten_a_second_later(
            allowed in prop::sample::select(vec![2_u32, 20, 80]),
            steps in prop::collection::vec((any::<bool>(), 0..20_i64), 1..600),
        ) {
            let rate = Rate::within(allowed);
            let (mut now, mut usage) = (at(0), Usage::default());
            let mut events = Vec::new();
            let mut written_at = None;
            for (is_ours, gap) in steps {
                now += SignedDuration::from_millis(gap);
                if is_ours {
                    let ready = usage.ready_at(rate, now);
                    let longest = written_at.map_or(now, |at: Timestamp| (at + SECOND).max(now));
                    prop_assert!(ready <= longest + rate.interval, "waits longer than it must");
                    now = ready;
                    usage = usage.after_one(rate, now);
                } else {
                    usage = usage.after_forced(rate, now);
                    written_at = Some(now);
                }
                events.push((now, is_ours));
            }
            prop_assert!(highest(&events) <= allowed as usize, "{} of {allowed}", highest(&events));
        }
    }
}

//! How many management calls the platform takes.
//!
//! They are counted for each app and business account in any hour (Meta: Graph API rate limits,
//! business management): 200 calls, and 5,000 once the account has a number that is registered.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Calls an hour for an account without a registered number.
pub const CALLS_HOURLY: usize = 200;

/// For one that has a registered number.
pub const CALLS_HOURLY_REGISTERED: usize = 5_000;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The calls of one app and account in the hour before now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    calls: VecDeque<Timestamp>,
}

impl Allowance {
    /// Counts a call, if one more may be made; else returns when.
    pub fn take(&mut self, hourly: usize, now: Timestamp) -> Result<(), Timestamp> {
        while let Some(first) = self.calls.front() {
            if add_hour(*first) > now {
                break;
            }
            self.calls.pop_front();
        }
        if self.calls.len() >= hourly {
            // The one whose end leaves room for one more.
            let index = self.calls.len().saturating_sub(hourly.max(1));
            let first = self.calls.get(index).copied().unwrap_or(now);
            return Err(add_hour(first));
        }
        self.calls.push_back(now);
        Ok(())
    }
}

fn add_hour(at: Timestamp) -> Timestamp {
    at.checked_add(HOUR).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_over_the_allowance_is_told_when_there_is_room() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(2, at(0)), Ok(()));
        assert_eq!(allowance.take(2, at(10)), Ok(()));
        assert_eq!(allowance.take(2, at(20)), Err(at(3_600)));
        assert_eq!(allowance.take(2, at(3_600)), Ok(()));
        assert_eq!(allowance.take(2, at(3_601)), Err(at(3_610)));
        assert_eq!(allowance.take(0, at(3_700)), Err(at(7_200)), "not even one");
    }

    proptest! {
        #[test]
        fn no_hour_ever_has_more_calls_than_are_allowed(
            steps in prop::collection::vec(0_i64..2_000, 1..60),
            hourly in 1_usize..5,
        ) {
            let mut allowance = Allowance::default();
            let mut made: Vec<Timestamp> = Vec::new();
            let mut second = 0;
            for step in steps {
                second += step;
                match allowance.take(hourly, at(second)) {
                    Ok(()) => made.push(at(second)),
                    Err(again) => prop_assert!(again > at(second)),
                }
            }
            for (index, call) in made.iter().enumerate() {
                let end = add_hour(*call);
                let within = made[index..].iter().filter(|other| **other < end).count();
                prop_assert!(within <= hourly);
            }
        }
    }
}

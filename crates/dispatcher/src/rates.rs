//! Rates in use: numbers and pairs, in memory.
//!
//! They belong to the active replica, which starts with empty buckets. Safety never rests on
//! them: what they let through too early, the platform refuses, and it is tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::rate::{PairUsage, Rate, Usage};
use casement_event_log::conversation::Key;
use jiff::Timestamp;

/// Messages a second of a number whose account says nothing else. Meta: 80 by default.
const NUMBER_RATE_DEFAULT: u32 = 80;

/// How many pairs are remembered before those that are paid for are forgotten.
const PAIRS_LEN_MAX: usize = 100_000;

/// How much of each rate is used up.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    numbers: HashMap<String, Usage>,
    pairs: HashMap<Key, PairUsage>,
}

impl Rates {
    /// Returns when the number may next write to the customer; `now`, if at once.
    pub(crate) fn ready_at(&self, key: &Key, throughput: u32, now: Timestamp) -> Timestamp {
        let used = self.lock();
        let number = used
            .numbers
            .get(key.number.digits())
            .copied()
            .unwrap_or_default();
        let pair = used.pairs.get(key).copied().unwrap_or_default();
        number
            .ready_at(rate(throughput), now)
            .max(pair.ready_at(now))
    }

    /// Counts one message.
    pub(crate) fn count(&self, key: &Key, throughput: u32, now: Timestamp) {
        let mut used = self.lock();
        if used.pairs.len() >= PAIRS_LEN_MAX {
            used.pairs.retain(|_, pair| pair.ready_at(now) > now);
        }
        let number = used
            .numbers
            .entry(key.number.digits().to_owned())
            .or_default();
        *number = number.after_one(rate(throughput), now);
        let pair = used.pairs.entry(key.clone()).or_default();
        *pair = pair.after_one(now);
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(throughput: u32) -> Rate {
    Rate::per_second(if throughput == 0 {
        NUMBER_RATE_DEFAULT
    } else {
        throughput
    })
}

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId};

    use super::*;

    #[test]
    fn one_customer_in_a_burst_does_not_hold_up_another() {
        let rates = Rates::default();
        let now = Timestamp::UNIX_EPOCH;
        let key = |customer: &str| Key {
            number: BusinessNumber::parse("15550001111").unwrap(),
            customer: CustomerId::parse(customer).unwrap(),
        };
        for _ in 0..45 {
            assert_eq!(rates.ready_at(&key("a"), 0, now), now);
            rates.count(&key("a"), 0, now);
        }
        assert!(rates.ready_at(&key("a"), 0, now) > now);
        assert_eq!(rates.ready_at(&key("b"), 0, now), now);
    }
}

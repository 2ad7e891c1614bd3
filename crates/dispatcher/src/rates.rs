//! Rates in use: numbers and pairs, in memory.
//!
//! They belong to the active replica, which starts with empty buckets. Safety never rests on
//! them: what they let through too early, the platform refuses, and it is tried again. A message
//! that has to wait for its number gets a turn, so that many who wait do not all come back for
//! every place that becomes free.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::id::MessageId;
use casement_domain::rate::{PairUsage, Rate, Usage};
use casement_event_log::conversation::Key;
use jiff::{SignedDuration, Timestamp};

/// Messages a second of a number whose account says nothing else. Meta: 80 by default.
const NUMBER_RATE_DEFAULT: u32 = 80;

/// Which part of a number's rate may go at once; what goes at once and what flows then stay
/// below the platform's rate together, in any second.
const BURST_PART: u32 = 10;

/// How many pairs are remembered before those that are paid for are forgotten.
const PAIRS_LEN_MAX: usize = 100_000;

/// How many turns are remembered before those that nobody took are forgotten.
const TURNS_LEN_MAX: usize = 100_000;

/// For how long a turn that nobody took is remembered then.
const TURN_KEPT: SignedDuration = SignedDuration::from_mins(1);

/// How much of each rate is used up.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    numbers: HashMap<String, Usage>,
    pairs: HashMap<Key, PairUsage>,
    /// When each message that asked for a turn may go; counted for its number already.
    turns: HashMap<MessageId, Timestamp>,
}

impl Rates {
    /// Returns when the message may go by the rates; `now`, if at once. Changes nothing.
    pub(crate) fn ready_at(
        &self,
        id: &MessageId,
        key: &Key,
        throughput: u32,
        now: Timestamp,
    ) -> Timestamp {
        let used = self.lock();
        let number = used.turns.get(id).copied().unwrap_or_else(|| {
            let number = used.numbers.get(key.number.digits());
            number
                .copied()
                .unwrap_or_default()
                .ready_at(rate(throughput), now)
        });
        let pair = used.pairs.get(key).copied().unwrap_or_default();
        number.max(pair.ready_at(now)).max(now)
    }

    /// Gives the message its turn, if it has none yet, and returns when that is.
    pub(crate) fn turn(
        &self,
        id: &MessageId,
        key: &Key,
        throughput: u32,
        now: Timestamp,
    ) -> Timestamp {
        let mut used = self.lock();
        let pair = used.pairs.get(key).copied().unwrap_or_default();
        let pair_ready_at = pair.ready_at(now);
        if let Some(turn) = used.turns.get(id) {
            return pair_ready_at.max(*turn);
        }
        // Who waits for the customer anyway leaves the number's places to others.
        if pair_ready_at > now {
            return pair_ready_at;
        }
        if used.turns.len() >= TURNS_LEN_MAX {
            let oldest = now.checked_sub(TURN_KEPT).unwrap_or(Timestamp::MIN);
            used.turns.retain(|_, turn| *turn >= oldest);
        }
        let rate = rate(throughput);
        let number = used
            .numbers
            .entry(key.number.digits().to_owned())
            .or_default();
        let turn = number.ready_at(rate, now);
        *number = number.after_one(rate, turn);
        used.turns.insert(id.clone(), turn);
        turn
    }

    /// Takes note that the message went, in its turn.
    pub(crate) fn spend(&self, id: &MessageId, key: &Key, now: Timestamp) {
        let mut used = self.lock();
        if used.pairs.len() >= PAIRS_LEN_MAX {
            used.pairs.retain(|_, pair| pair.ready_at(now) > now);
        }
        used.turns.remove(id);
        let pair = used.pairs.entry(key.clone()).or_default();
        *pair = pair.after_one(now);
    }

    /// Takes note that the message does not go now.
    pub(crate) fn give_up(&self, id: &MessageId) {
        self.lock().turns.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(throughput: u32) -> Rate {
    let allowed = if throughput == 0 {
        NUMBER_RATE_DEFAULT
    } else {
        throughput
    };
    let burst = (allowed / BURST_PART).max(1);
    let flow = allowed.saturating_sub(burst).max(1);
    Rate {
        burst,
        ..Rate::per_second(flow)
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId};

    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).unwrap()
    }

    fn number() -> BusinessNumber {
        BusinessNumber::parse("15550001111").unwrap()
    }

    fn id(unique: u128) -> MessageId {
        MessageId::new(&number(), unique)
    }

    fn key(customer: &str) -> Key {
        Key {
            number: number(),
            customer: CustomerId::parse(customer).unwrap(),
        }
    }

    #[test]
    fn one_customer_in_a_burst_does_not_hold_up_another() {
        let rates = Rates::default();
        // Apart enough for the number, together enough to be one burst for the pair.
        for sent in 0..45 {
            let now = at(100 * i64::try_from(sent).unwrap());
            assert_eq!(rates.turn(&id(sent), &key("a"), 0, now), now);
            rates.spend(&id(sent), &key("a"), now);
        }
        let now = at(4_600);
        assert!(rates.turn(&id(99), &key("a"), 0, now) > now);
        assert_eq!(rates.turn(&id(100), &key("b"), 0, now), now);
    }

    #[test]
    fn no_second_holds_more_than_the_platform_allows() {
        for allowed in [1, 5, 20, 80, 1_000] {
            let rates = Rates::default();
            let turns: Vec<Timestamp> = (0..3 * u128::from(allowed))
                .map(|unique| rates.turn(&id(unique), &key(&format!("c{unique}")), allowed, at(0)))
                .collect();
            for first in &turns {
                let end = *first + SignedDuration::from_secs(1);
                let count = turns.iter().filter(|one| **one >= *first && **one < end);
                assert!(
                    count.count() <= usize::try_from(allowed).unwrap(),
                    "{allowed}"
                );
            }
        }
    }

    #[test]
    fn who_waits_keeps_the_turn_that_was_given() {
        let rates = Rates::default();
        assert_eq!(rates.turn(&id(1), &key("a"), 1, at(0)), at(0));
        assert_eq!(rates.turn(&id(2), &key("b"), 1, at(0)), at(1_000));
        assert_eq!(rates.turn(&id(3), &key("c"), 1, at(0)), at(2_000));
        assert_eq!(rates.turn(&id(2), &key("b"), 1, at(500)), at(1_000));
        assert_eq!(rates.ready_at(&id(3), &key("c"), 1, at(500)), at(2_000));
        assert_eq!(rates.ready_at(&id(4), &key("d"), 1, at(500)), at(3_000));
        rates.spend(&id(2), &key("b"), at(1_000));
        rates.give_up(&id(3));
        assert_eq!(rates.turn(&id(3), &key("c"), 1, at(1_000)), at(3_000));
    }
}

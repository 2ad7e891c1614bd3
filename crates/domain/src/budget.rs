//! The budget of a portfolio: how many customers it may write to first in a day.
//!
//! Meta counts unique customers to whom a business wrote outside their window, in any 24 hours,
//! for all numbers of a portfolio together. Who was written to already costs nothing more. Who
//! finds no place is promised the next one that becomes free, so that many who wait do not all
//! come back for the same one.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};

/// Over which time the platform counts. Meta: messaging limits.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How long a place is kept for somebody to whom it was promised.
const PROMISE_KEPT: SignedDuration = SignedDuration::from_mins(1);

/// How many promises are kept; who comes then is told the time of the last one.
const PROMISES_LEN_MAX: usize = 100_000;

/// Who was written to first, and who waits for it.
#[derive(Debug, Clone)]
pub struct Budget<K> {
    /// When each was last written to outside their window.
    last: HashMap<K, Timestamp>,
    by_time: BTreeSet<(Timestamp, K)>,
    promised: HashMap<K, Timestamp>,
    promises: BTreeSet<(Timestamp, K)>,
    /// Whose place was promised last, and how many days later than it becomes free.
    cursor: Option<(Timestamp, K, i32)>,
}

impl<K> Default for Budget<K> {
    fn default() -> Self {
        Self {
            last: HashMap::new(),
            by_time: BTreeSet::new(),
            promised: HashMap::new(),
            promises: BTreeSet::new(),
            cursor: None,
        }
    }
}

impl<K: Clone + Eq + Ord + Hash> Budget<K> {
    /// Takes note that somebody was written to outside their window.
    pub fn note(&mut self, who: K, at: Timestamp) {
        if self.last.get(&who).is_some_and(|last| *last >= at) {
            return;
        }
        if let Some(last) = self.last.insert(who.clone(), at) {
            self.by_time.remove(&(last, who.clone()));
        }
        self.drop_promise(&who);
        self.by_time.insert((at, who));
    }

    /// Takes a place, if there is one; else says when there is.
    pub fn take(&mut self, who: &K, limit: u32, now: Timestamp) -> Result<(), Timestamp> {
        let free_at = self.free_at(who, limit, now);
        if free_at > now {
            return Err(free_at);
        }
        self.note(who.clone(), now);
        Ok(())
    }

    /// Returns when somebody may be written to; `now`, if at once.
    pub fn free_at(&mut self, who: &K, limit: u32, now: Timestamp) -> Timestamp {
        self.forget(now);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let used = self.last.len();
        if self.last.contains_key(who) {
            return now;
        }
        // Where the limit was raised, there may be room for all who wait.
        let has_room_for_all = used + self.promises.len() <= limit;
        match self.promised.get(who) {
            Some(at) if *at > now && !has_room_for_all => return *at,
            Some(_) if used < limit => return now,
            _ => {}
        }
        if used + self.promises.len() < limit {
            return now;
        }
        // Somebody else's place, which was promised, or nobody's.
        let next = self.next_place(limit).map(|(free_at, ..)| free_at);
        let last = self.promises.last().map(|(at, _)| *at);
        let soon = add(now, PROMISE_KEPT);
        next.or(last)
            .map_or(soon, |at| if at > now { at } else { soon })
    }

    /// Promises somebody the place that [`Self::free_at`] told of.
    pub fn promise(&mut self, who: K, limit: u32, now: Timestamp) {
        let has_one = self.promised.get(&who).is_some_and(|at| *at > now);
        if has_one || self.promises.len() >= PROMISES_LEN_MAX {
            return;
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some((free_at, place, days)) = self.next_place(limit) else {
            return;
        };
        self.drop_promise(&who);
        self.cursor = Some((place.0, place.1, days));
        self.promised.insert(who.clone(), free_at);
        self.promises.insert((free_at, who));
    }

    /// Returns how many were written to first in the last day.
    pub fn used(&mut self, now: Timestamp) -> usize {
        self.forget(now);
        self.last.len()
    }

    /// The next place that nobody was promised: when it is free, whose it is, and how many days
    /// after it becomes free for the first time.
    fn next_place(&self, limit: usize) -> Option<(Timestamp, (Timestamp, K), i32)> {
        let next = match &self.cursor {
            Some((at, who, days)) if !self.promises.is_empty() => {
                let after = (Bound::Excluded((*at, who.clone())), Bound::Unbounded);
                let following = self.by_time.range(after).next();
                match following {
                    Some(place) => (place, *days),
                    // All of today's are promised: they become free again a day later.
                    None => (self.by_time.first()?, days.saturating_add(1)),
                }
            }
            // More than the limit are used up after it was lowered.
            _ => {
                let over = self.by_time.len().saturating_sub(limit);
                (self.by_time.iter().nth(over)?, 0)
            }
        };
        let (place, days) = next;
        let wait = DAY.saturating_mul(days.saturating_add(1));
        Some((add(place.0, wait), place.clone(), days))
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.by_time.first()
            && add(*at, DAY) <= now
        {
            if let Some((_, who)) = self.by_time.pop_first() {
                self.last.remove(&who);
            }
        }
        while let Some((at, _)) = self.promises.first()
            && add(*at, PROMISE_KEPT) <= now
        {
            if let Some((_, who)) = self.promises.pop_first() {
                self.promised.remove(&who);
            }
        }
    }

    fn drop_promise(&mut self, who: &K) {
        if let Some(at) = self.promised.remove(who) {
            self.promises.remove(&(at, who.clone()));
        }
    }
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    const A_DAY: i64 = 24 * 60;

    #[test]
    fn who_was_written_to_today_costs_nothing_more() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(&1, 2, at(0)), Ok(()));
        assert_eq!(budget.take(&2, 2, at(1)), Ok(()));
        assert_eq!(budget.take(&1, 2, at(2)), Ok(()));
        assert_eq!(budget.used(at(2)), 2);
        assert_eq!(budget.take(&3, 2, at(3)), Err(at(1 + A_DAY)), "1 was again");
        assert_eq!(budget.take(&3, 2, at(1 + A_DAY)), Ok(()));
        assert_eq!(budget.used(at(2 + A_DAY)), 1);
    }

    #[test]
    fn each_who_waits_is_promised_a_place_of_their_own() {
        let mut budget = Budget::default();
        for who in 0..3 {
            assert_eq!(budget.take(&who, 3, at(i64::from(who))), Ok(()));
        }
        let mut told = Vec::new();
        for who in 10..17 {
            told.push(budget.free_at(&who, 3, at(10)));
            budget.promise(who, 3, at(10));
        }
        let days = |days, minute| at(minute + days * A_DAY);
        assert_eq!(
            told,
            [
                days(1, 0),
                days(1, 1),
                days(1, 2),
                days(2, 0),
                days(2, 1),
                days(2, 2),
                days(3, 0)
            ]
        );
        assert_eq!(budget.free_at(&12, 3, at(11)), days(1, 2), "as promised");
        // A stranger does not take what was promised.
        assert_eq!(budget.take(&10, 3, days(1, 0)), Ok(()));
        assert!(budget.take(&50, 3, days(1, 1)).is_err());
        assert_eq!(budget.take(&11, 3, days(1, 1)), Ok(()));
    }

    #[test]
    fn a_place_that_was_promised_and_not_taken_goes_to_others() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(&1, 1, at(0)), Ok(()));
        budget.promise(2, 1, at(1));
        assert!(budget.take(&3, 1, at(A_DAY)).is_err());
        assert_eq!(budget.take(&3, 1, at(A_DAY + 2)), Ok(()));
    }

    #[test]
    fn a_limit_that_was_raised_has_room_for_those_who_wait() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(&1, 1, at(0)), Ok(()));
        for who in 2..5 {
            budget.promise(who, 1, at(1));
        }
        assert_eq!(budget.free_at(&4, 1, at(2)), at(3 * A_DAY));
        assert_eq!(budget.free_at(&4, 3, at(2)), at(3 * A_DAY), "one too few");
        for who in 2..5 {
            assert_eq!(budget.take(&who, 4, at(3)), Ok(()), "{who}");
        }
        assert!(budget.take(&9, 4, at(4)).is_err());
    }

    #[test]
    fn a_limit_that_was_lowered_waits_until_enough_are_forgotten() {
        let mut budget = Budget::default();
        for who in 0..5 {
            assert_eq!(budget.take(&who, 10, at(i64::from(who))), Ok(()));
        }
        assert_eq!(budget.take(&9, 2, at(6)), Err(at(3 + A_DAY)));
    }

    #[test]
    fn a_promise_is_kept_however_often_it_is_asked_for() {
        let mut budget = Budget::default();
        for who in 0..2 {
            assert_eq!(budget.take(&who, 2, at(i64::from(who))), Ok(()));
        }
        for minute in 10..13 {
            assert_eq!(budget.free_at(&10, 2, at(minute)), at(A_DAY));
            budget.promise(10, 2, at(minute));
        }
        assert_eq!(budget.free_at(&11, 2, at(13)), at(1 + A_DAY), "the next");
    }

    #[test]
    fn who_comes_for_a_place_that_is_gone_is_promised_another_of_their_own() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(&1, 1, at(0)), Ok(()));
        budget.promise(2, 1, at(1));
        // Written to by somebody who did not ask.
        budget.note(9, at(A_DAY));
        assert_eq!(budget.take(&2, 1, at(A_DAY)), Err(at(2 * A_DAY)));
        budget.promise(2, 1, at(A_DAY));
        assert_eq!(budget.take(&3, 1, at(A_DAY)), Err(at(3 * A_DAY)));
        assert_eq!(budget.take(&2, 1, at(2 * A_DAY)), Ok(()));
    }

    #[test]
    fn who_has_taken_their_place_keeps_no_other() {
        let mut budget = Budget::default();
        for who in 0..2 {
            assert_eq!(budget.take(&who, 2, at(i64::from(who))), Ok(()));
        }
        budget.promise(10, 2, at(2));
        assert_eq!(budget.take(&10, 2, at(A_DAY)), Ok(()));
        assert!(budget.take(&11, 2, at(A_DAY)).is_err());
        assert_eq!(
            budget.take(&11, 3, at(A_DAY)),
            Ok(()),
            "one more is allowed"
        );
    }

    #[test]
    fn once_all_who_waited_have_come_the_next_waits_for_a_day_and_no_longer() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(&1, 1, at(0)), Ok(()));
        for who in 10..12 {
            budget.promise(who, 1, at(1));
        }
        assert_eq!(budget.take(&10, 1, at(A_DAY)), Ok(()));
        assert_eq!(budget.take(&11, 1, at(2 * A_DAY)), Ok(()));
        assert_eq!(budget.take(&12, 1, at(1 + 2 * A_DAY)), Err(at(3 * A_DAY)));
    }

    proptest! {
        #[test]
        fn never_more_customers_in_any_day_than_the_limit(
            limit in 1..6_u32,
            steps in prop::collection::vec((0..12_u8, 0..400_i64, any::<bool>()), 1..200),
        ) {
            let mut budget = Budget::default();
            let (mut minute, mut written) = (0, Vec::new());
            for (who, gap, waits) in steps {
                minute += gap;
                let now = at(minute);
                match budget.take(&who, limit, now) {
                    Ok(()) => written.push((now, who)),
                    Err(free_at) => {
                        prop_assert!(free_at > now);
                        if waits {
                            budget.promise(who, limit, now);
                        }
                    }
                }
            }
            for (end, _) in &written {
                let within = written.iter().filter(|(at, _)| at <= end && add(*at, DAY) > *end);
                let customers: BTreeSet<_> = within.map(|(_, who)| *who).collect();
                prop_assert!(customers.len() <= limit as usize);
            }
        }
    }
}

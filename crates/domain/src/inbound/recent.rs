//! The times of a customer's newest qualifying facts: how many windows they make, and since when
//! the customer waits, cannot be told from the newest one alone.

use jiff::{SignedDuration, Timestamp};

use crate::window::later;

/// How many times are kept. More would make every stored fact longer for the few customers who
/// write nine messages before anything is told about them.
pub const RECENT_MAX: usize = 8;

/// All qualifying facts later than a time, at most [`RECENT_MAX`].
///
/// Joining is commutative, associative and idempotent: what is pushed out by newer ones raises
/// the time from which on all are known, and nothing at or before that time is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    times: Vec<Timestamp>,
    since: Option<Timestamp>,
}

impl Recent {
    /// Returns what these times, and nothing known at or before `since`, amount to.
    pub fn new(times: impl IntoIterator<Item = Timestamp>, since: Option<Timestamp>) -> Self {
        let mut times: Vec<_> = times.into_iter().filter(|at| Some(*at) > since).collect();
        times.sort_unstable();
        times.dedup();
        let surplus = times.len().saturating_sub(RECENT_MAX);
        let pushed_out = times.drain(..surplus).next_back();
        Self {
            times,
            since: since.max(pushed_out),
        }
    }

    /// Returns these with others from which none is missing, however many they are. Good for one
    /// decision; to be stored or joined it is cut again.
    #[must_use]
    pub fn filled(self, all: impl IntoIterator<Item = Timestamp>) -> Self {
        let mut times: Vec<_> = self
            .times
            .into_iter()
            .chain(self.since)
            .chain(all)
            .collect();
        times.sort_unstable();
        times.dedup();
        Self { times, since: None }
    }

    /// Returns what both amount to together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let since = self.since.max(other.since);
        Self::new(self.times.into_iter().chain(other.times), since)
    }

    /// The times, oldest first.
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// All later than this are known, and it is the newest of those that are not kept; all there
    /// ever were are known, if `None`.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Returns the newest of all.
    pub fn newest(&self) -> Option<Timestamp> {
        self.times.last().copied().or(self.since)
    }

    /// Returns the first of them that is later than a time. There may be an earlier one if `after`
    /// lies before [`Recent::since`].
    pub fn first_after(&self, after: Option<Timestamp>) -> Option<Timestamp> {
        let mut known = self.since.into_iter().chain(self.times.iter().copied());
        known.find(|at| Some(*at) > after)
    }

    /// Returns the last facts of all windows but the newest that were refreshed only after `after`.
    pub fn last_of_earlier(
        &self,
        after: Option<Timestamp>,
        length: SignedDuration,
    ) -> Vec<Timestamp> {
        let known = self.since.into_iter().chain(self.times.iter().copied());
        let known: Vec<_> = known.filter(|at| Some(*at) > after).collect();
        let pairs = known.windows(2);
        pairs
            .filter(|pair| pair[1] >= later(pair[0], length))
            .map(|pair| pair[0])
            .collect()
    }

    /// Follows a window that was refreshed at `from` through what came later, until a fact came
    /// only after the end that the one before it gave.
    pub fn end_before_gap(&self, from: Timestamp, length: SignedDuration) -> Gap {
        let mut end = later(from, length);
        let not_kept = self.since.filter(|since| *since > from);
        if not_kept >= Some(end) {
            // Whether there were others in time before that one, nobody knows.
            return Gap::Unknown;
        }
        let kept = self.times.iter().copied().filter(|at| *at > from);
        for at in not_kept.into_iter().chain(kept) {
            if at >= end {
                return Gap::After(end);
            }
            end = later(at, length);
        }
        Gap::None
    }
}

/// Whether a customer's facts make one window or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// One: each came before the end that the one before it gave.
    None,
    /// The window ended at this time, and a fact came only then or later.
    After(Timestamp),
    /// More facts came in between than are kept.
    Unknown,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn recent(seconds: &[i64]) -> Recent {
        Recent::new(seconds.iter().copied().map(at), None)
    }

    #[test]
    fn the_newest_are_kept_and_it_is_known_from_when_on_they_are_all() {
        let all: Vec<i64> = (0..10).collect();
        let kept = recent(&all);
        let newest: Vec<_> = (2..10).map(at).collect();
        assert_eq!(kept.times(), newest);
        assert_eq!(kept.since(), Some(at(1)));
        assert_eq!(recent(&all[..8]).since(), None);
        assert_eq!(kept.first_after(Some(at(4))), Some(at(5)));
        assert_eq!(kept.first_after(None), Some(at(1)));
        assert_eq!(kept.first_after(Some(at(1))), Some(at(2)));
        assert_eq!(kept.first_after(Some(at(9))), None);
    }

    #[test]
    fn a_window_ends_before_the_first_fact_that_came_too_late_for_it() {
        let length = SignedDuration::from_secs(10);
        for (times, expected) in [
            (&[0][..], Gap::None),
            (&[0, 9, 18], Gap::None),
            (&[0, 10], Gap::After(at(10))),
            (&[0, 9, 19], Gap::After(at(19))),
            (&[0, 9, 20, 40], Gap::After(at(19))),
        ] {
            let gap = recent(times).end_before_gap(at(0), length);
            assert_eq!(gap, expected, "{times:?}");
        }
        let many: Vec<i64> = (0..9).map(|n| 12 + n).collect();
        let gap = recent(&many).end_before_gap(at(0), length);
        assert_eq!(gap, Gap::Unknown);
        let filled = recent(&many).filled([at(5)]);
        assert_eq!(filled.end_before_gap(at(0), length), Gap::None);
        let filled = recent(&many).filled([at(1)]);
        assert_eq!(filled.end_before_gap(at(0), length), Gap::After(at(11)));
        // The newest that is not kept came in time, so all before it did.
        for first in [2, 5, 9] {
            let many: Vec<i64> = (0..9).map(|n| first + n).collect();
            let gap = recent(&many).end_before_gap(at(0), length);
            assert_eq!(gap, Gap::None, "{first}");
            let gap = recent(&many).end_before_gap(at(0), SignedDuration::from_secs(1));
            assert_eq!(gap, Gap::Unknown, "{first}");
        }
        let then_late: Vec<i64> = (0..8).map(|n| 9 + n).chain([26]).collect();
        let gap = recent(&then_late).end_before_gap(at(0), length);
        assert_eq!(gap, Gap::After(at(26)));
    }

    #[test]
    fn each_window_but_the_newest_is_known_by_its_last_fact() {
        let length = SignedDuration::from_secs(10);
        for (times, after, expected) in [
            (&[][..], None, &[][..]),
            (&[0], None, &[]),
            (&[0, 9, 18], None, &[]),
            (&[0, 10], None, &[0]),
            (&[0, 9, 19, 25, 40], None, &[9, 25]),
            (&[0, 9, 19, 25, 40], Some(0), &[9, 25]),
            (&[0, 9, 19, 25, 40], Some(9), &[25]),
            (&[0, 9, 19, 25, 40], Some(25), &[]),
        ] {
            let last = recent(times).last_of_earlier(after.map(at), length);
            let expected: Vec<_> = expected.iter().copied().map(at).collect();
            assert_eq!(last, expected, "{times:?} {after:?}");
        }
    }

    fn any() -> impl Strategy<Value = Recent> {
        let times = prop::collection::vec(0..40_i64, 0..12);
        let since = prop::option::of(0..20_i64);
        (times, since)
            .prop_map(|(times, since)| Recent::new(times.into_iter().map(at), since.map(at)))
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_and_idempotent(
            one in any(), two in any(), three in any(),
        ) {
            let (a, b, c) = (|| one.clone(), || two.clone(), || three.clone());
            prop_assert_eq!(a().join(b()), b().join(a()));
            prop_assert_eq!(a().join(b()).join(c()), a().join(b().join(c())));
            prop_assert_eq!(a().join(a()), a());
        }

        /// What is told of gaps is what all facts together would tell.
        #[test]
        fn a_gap_that_is_known_is_one_of_all_facts(
            seconds in prop::collection::vec(0..80_i64, 0..30), from in 0..40_i64,
        ) {
            let length = SignedDuration::from_secs(6);
            let kept = recent(&seconds);
            let told = kept.end_before_gap(at(from), length);
            let all = kept.filled(seconds.iter().copied().map(at));
            let truth = all.end_before_gap(at(from), length);
            prop_assert_ne!(&truth, &Gap::Unknown);
            prop_assert!(told == truth || told == Gap::Unknown, "{:?} {:?}", told, truth);
            if let Gap::After(end) = truth {
                // Nothing came between the last in time and the end, and something after it.
                let last = end - length;
                let after: Vec<_> = seconds.iter().map(|second| at(*second))
                    .filter(|at| *at > last).collect();
                prop_assert!(!after.is_empty());
                prop_assert!(after.iter().all(|at| *at >= end));
            }
        }

        #[test]
        fn what_is_known_to_be_all_is_all(seconds in prop::collection::vec(0..60_i64, 0..30)) {
            let kept = seconds.iter().fold(Recent::default(), |kept, second| {
                kept.join(recent(&[*second]))
            });
            let mut expected: Vec<_> = seconds.iter().copied().map(at)
                .filter(|at| Some(*at) > kept.since()).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(kept.times(), expected);
        }
    }
}

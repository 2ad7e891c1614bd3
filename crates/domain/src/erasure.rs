//! Erasure: until when copies of a customer remain that nobody can single out.
//!
//! Posts as received are packed many to a message, and dead letters hold what nobody could read: of
//! neither is known whose they are, so they leave by their age and not by their customer. Everything
//! else is singled out and gone when an erasure says so.

use jiff::{SignedDuration, Timestamp};

/// How long what nobody can single out is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Posts as received.
    pub posts: SignedDuration,
    /// Dead letters, and posts that are parked.
    pub dead: SignedDuration,
    /// How long after it a post may be repeated, as [`crate::inbound::REPEATS_FOR`].
    pub repeated_for: SignedDuration,
}

/// Returns when the last copy of what happened until `erased_at` will have left: a post may be
/// repeated once more, and be kept as long as any from then on.
pub fn last_copy_at(erased_at: Timestamp, ages: Ages) -> Timestamp {
    let kept = ages.posts.max(ages.dead).max(SignedDuration::ZERO);
    let repeated_for = ages.repeated_for.max(SignedDuration::ZERO);
    let last_stored = erased_at.checked_add(repeated_for);
    let gone = last_stored.and_then(|at| at.checked_add(kept));
    gone.unwrap_or(Timestamp::MAX)
}

/// Returns whether a fact of a time is one that an erasure took away.
pub fn is_erased(fact_at: Timestamp, erased_at: Option<Timestamp>) -> bool {
    erased_at.is_some_and(|erased_at| fact_at <= erased_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_last_copy_goes_when_the_last_repeat_has_left() {
        let hours = SignedDuration::from_hours;
        for (posts, dead, repeated, expected_hours) in [
            (14 * 24, 30 * 24, 7 * 24, 37 * 24),
            (14 * 24, 1, 0, 14 * 24),
            (0, 0, 0, 0),
            (-5, -5, -5, 0),
        ] {
            let ages = Ages {
                posts: hours(posts),
                dead: hours(dead),
                repeated_for: hours(repeated),
            };
            let gone = last_copy_at(at(0), ages);
            assert_eq!(gone, at(expected_hours * 3_600), "{ages:?}");
        }
    }

    #[test]
    fn what_happens_after_the_tombstone_is_new() {
        for (fact, erased, expected) in [
            (at(5), None, false),
            (at(5), Some(at(5)), true),
            (at(4), Some(at(5)), true),
            (at(6), Some(at(5)), false),
        ] {
            assert_eq!(is_erased(fact, erased), expected, "{fact} {erased:?}");
        }
    }
}

//! The joint of log and archive: where an archive goes on, whatever became of either.
//!
//! A stream has lives; a restore begins a new one that has everything up to some sequence in
//! common with the one before. Within what they have in common a sequence means the same event, so
//! the archive of an earlier life counts for a later one up to there. Pure: who reads positions,
//! and who tells people, is elsewhere.

use std::ops::RangeInclusive;

/// A life of a stream that the present one continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life<'a> {
    /// Which one.
    pub incarnation: &'a str,
    /// Up to this sequence both are the same.
    pub common_through: u64,
}

/// A stream as it is on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnLog<'a> {
    /// Its present life.
    pub incarnation: &'a str,
    /// Those that it continues, newest first.
    pub ancestors: &'a [Life<'a>],
    /// Sequence of the oldest message; one more than `last` if there is none.
    pub first: u64,
    /// Sequence of the newest message ever.
    pub last: u64,
}

/// How a stream and its archive fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joint {
    /// All up to here is archived, as far as it ever will be; what follows is read from the log.
    pub archived_through: u64,
    /// What the log has and the archive lacks.
    pub to_archive: Option<RangeInclusive<u64>>,
    /// What the archive has of an earlier life and the log lacks, sequences of that life.
    pub only_archived: Option<RangeInclusive<u64>>,
    /// What neither has: it left the log, and the archive had it once.
    pub lost: Option<RangeInclusive<u64>>,
}

/// Returns the sequence after which the archive of a stream goes on. `archived` tells how far the
/// archive of a life has come, `None` if it has nothing of it.
pub fn archived_through(
    incarnation: &str,
    ancestors: &[Life<'_>],
    archived: impl Fn(&str) -> Option<u64>,
) -> u64 {
    let of_ancestor = || {
        ancestors.iter().find_map(|life| {
            archived(life.incarnation).map(|archived| archived.min(life.common_through))
        })
    };
    archived(incarnation).or_else(of_ancestor).unwrap_or(0)
}

/// Returns how a stream and its archive fit together.
pub fn join(log: &OnLog<'_>, archived: impl Fn(&str) -> Option<u64>) -> Joint {
    let through = archived_through(log.incarnation, log.ancestors, &archived);
    let range = |from: u64, to: u64| (from <= to).then_some(from..=to);
    let next = through + 1;
    let only_archived = log.ancestors.iter().find_map(|life| {
        let archived = archived(life.incarnation)?;
        Some(range(life.common_through + 1, archived))
    });
    Joint {
        archived_through: through,
        to_archive: range(next.max(log.first), log.last),
        only_archived: only_archived.flatten(),
        lost: range(next, log.first.saturating_sub(1).min(log.last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life(incarnation: &str, common_through: u64) -> Life<'_> {
        Life {
            incarnation,
            common_through,
        }
    }

    type Heads = &'static [(&'static str, u64)];

    type Expected = (
        u64,
        Option<RangeInclusive<u64>>,
        Option<RangeInclusive<u64>>,
        Option<RangeInclusive<u64>>,
    );

    /// The log's life, those it continues, what it holds, the archive's heads, and what comes of it.
    type Case<'a> = (&'a str, &'a [Life<'a>], (u64, u64), Heads, Expected);

    #[test]
    fn halves_of_any_age_join_by_position() {
        let restored = [life("a", 90)];
        let twice = [life("b", 70), life("a", 70)];
        let table: [Case<'_>; 9] = [
            // Never restored.
            ("a", &[], (1, 90), &[], (0, Some(1..=90), None, None)),
            (
                "a",
                &[],
                (40, 90),
                &[("a", 80)],
                (80, Some(81..=90), None, None),
            ),
            // Only the archive was restored, from before the log was purged.
            (
                "a",
                &[],
                (40, 90),
                &[("a", 20)],
                (20, Some(40..=90), None, Some(21..=39)),
            ),
            // Archive older than the log.
            (
                "b",
                &restored,
                (1, 90),
                &[("a", 80)],
                (80, Some(81..=90), None, None),
            ),
            (
                "b",
                &restored,
                (1, 90),
                &[("a", 90)],
                (90, None, None, None),
            ),
            // Log older than the archive: it has given out 91 and 92 again.
            (
                "b",
                &restored,
                (1, 92),
                &[("a", 110)],
                (90, Some(91..=92), Some(91..=110), None),
            ),
            (
                "b",
                &restored,
                (1, 92),
                &[("a", 110), ("b", 91)],
                (91, Some(92..=92), Some(91..=110), None),
            ),
            // Restored twice; the archive never saw the life in between.
            (
                "c",
                &twice,
                (1, 70),
                &[("a", 80)],
                (70, None, Some(71..=80), None),
            ),
            // Emptied by purges.
            (
                "b",
                &restored,
                (91, 90),
                &[("a", 90)],
                (90, None, None, None),
            ),
        ];
        for (incarnation, ancestors, (first, last), heads, expected) in table {
            let log = OnLog {
                incarnation,
                ancestors,
                first,
                last,
            };
            let found = join(&log, |life| {
                heads.iter().find(|head| head.0 == life).map(|head| head.1)
            });
            let (archived_through, to_archive, only_archived, lost) = expected;
            let expected = Joint {
                archived_through,
                to_archive,
                only_archived,
                lost,
            };
            assert_eq!(found, expected, "{log:?} {heads:?}");
        }
    }

    proptest! {
        /// Nothing is archived twice, nothing that can be had is left out: below the joint or
        /// named by one of the ranges.
        #[test]
        fn each_event_of_the_log_has_its_place(
            last in 0_u64..60,
            purged in 0_u64..60,
            common in 0_u64..60,
            old in proptest::option::of(0_u64..80),
            new in proptest::option::of(0_u64..60),
        ) {
            let first = purged.min(last) + 1;
            let ancestors = [life("a", common.min(last))];
            let log = OnLog { incarnation: "b", ancestors: &ancestors, first, last };
            let new = new.map(|new| new.min(last).max(common.min(last)));
            let joint = join(&log, |life| if life == "a" { old } else { new });
            for sequence in 1..=last {
                let places = u32::from(sequence <= joint.archived_through)
                    + u32::from(joint.to_archive.as_ref().is_some_and(|range| range.contains(&sequence)))
                    + u32::from(joint.lost.as_ref().is_some_and(|range| range.contains(&sequence)));
                prop_assert_eq!(places, 1, "{} {:?}", sequence, &joint);
            }
            prop_assert!(joint.archived_through <= last);
        }
    }
}

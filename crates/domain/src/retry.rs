//! Retry schedules: how long to wait before the same route is tried again.
//!
//! Data and arithmetic. Which errors are worth a retry is said by the providers' error tables.

use jiff::{SignedDuration, Timestamp};

/// By how much a pause may be longer than the schedule says, in hundredths of it, so that many
/// that failed together do not come back together.
pub const JITTER_PERCENT: i32 = 25;

/// Returns the pause before the next try; `None` if the schedule is used up.
///
/// `tries` counts those made by this route, `asked` is what the provider asked for. Never shorter
/// than either; longer by at most [`JITTER_PERCENT`]. `salt` spreads: the same gives the same.
pub fn pause(
    schedule: &[SignedDuration],
    tries: usize,
    asked: Option<SignedDuration>,
    salt: u64,
) -> Option<SignedDuration> {
    let scheduled = *schedule.get(tries.saturating_sub(1))?;
    let least = scheduled.max(asked.unwrap_or(SignedDuration::ZERO));
    Some(spread(least, salt))
}

/// Makes a wait longer by up to [`JITTER_PERCENT`].
pub fn spread(least: SignedDuration, salt: u64) -> SignedDuration {
    // Thousandths keep short waits apart, too.
    let part = i32::try_from(mix(salt) % 1_000).unwrap_or_default();
    let most = least.as_millis().saturating_mul(i128::from(JITTER_PERCENT)) / 100;
    let extra = most.saturating_mul(i128::from(part)) / 1_000;
    let extra = SignedDuration::from_millis(i64::try_from(extra).unwrap_or(i64::MAX));
    least.checked_add(extra).unwrap_or(least)
}

/// Returns a salt of an attempt: no two begin in the same nanosecond, or next to none.
pub fn salt(started_at: Timestamp, attempt: u32) -> u64 {
    let nanos = started_at.as_nanosecond().rem_euclid(i128::from(u64::MAX));
    u64::try_from(nanos).unwrap_or_default() ^ u64::from(attempt)
}

/// The finalizer of `SplitMix64`: neighbours come out far apart.
fn mix(salt: u64) -> u64 {
    let mut mixed = salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_schedule_ends() {
        let schedule = [1, 4, 16].map(secs);
        for tries in 1..=3 {
            assert!(pause(&schedule, tries, None, 7).is_some());
        }
        assert_eq!(pause(&schedule, 4, None, 7), None);
        assert_eq!(pause(&[], 1, Some(secs(1)), 7), None);
    }

    #[test]
    fn those_that_failed_together_come_back_apart() {
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        let pauses: std::collections::BTreeSet<_> = (0..1_000_i64)
            .map(|nanos| {
                let at = start + SignedDuration::from_nanos(nanos);
                pause(&[secs(64)], 1, None, salt(at, 1)).unwrap()
            })
            .collect();
        assert!(pauses.len() > 500, "{} different pauses", pauses.len());
    }

    /// The first outputs of the reference implementation for the seed 0, whose state grows by the
    /// same step: a restart, and another version, find the same pause.
    #[test]
    fn a_salt_makes_a_wait_longer_by_what_split_mix_64_says() {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let outputs: [u64; 5] = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
            0xf88b_b8a8_724c_81ec,
            0x1b39_896a_51a8_749b,
        ];
        for (salt, output) in (0..).map(|nth: u64| nth.wrapping_mul(STEP)).zip(outputs) {
            // Of these up to 1,000 seconds are added.
            let extra = spread(secs(4_000), salt) - secs(4_000);
            assert_eq!(extra, secs(i64::try_from(output % 1_000).unwrap()));
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_never_before_the_schedule_or_what_was_asked_and_has_a_bound(
            schedule in prop::collection::vec(0..100_000_i64, 1..8),
            tries in 0..10_usize,
            asked in prop::option::of(0..100_000_i64),
            salt in any::<u64>(),
        ) {
            let schedule: Vec<_> = schedule.into_iter().map(secs).collect();
            let asked = asked.map(secs);
            match pause(&schedule, tries, asked, salt) {
                None => prop_assert!(tries > schedule.len()),
                Some(pause) => {
                    let least = schedule[tries.saturating_sub(1)].max(asked.unwrap_or_default());
                    prop_assert!(pause >= least);
                    prop_assert!(pause <= least * (100 + JITTER_PERCENT) / 100);
                }
            }
        }
    }
}

//! Retention: whether what must not leave the log unarchived is in danger of it.
//!
//! Nothing is purged that is not archived. That holds as long as the archive is what it says it
//! is; so the further it falls behind, the less is trusted: from a quarter of a stream's retention
//! on somebody is called, and from half of it on nothing leaves the log at all, until the archive
//! has caught up. What is purged, and when, is for whoever purges.

use jiff::{SignedDuration, Timestamp};

/// The part of a retention after which somebody is called.
const ALARM_PART: i32 = 4;

/// The part of a retention after which nothing is purged.
const STOP_PART: i32 = 2;

/// How a log stands towards its archive, the better first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The archive keeps up.
    #[default]
    Sound,
    /// The oldest unarchived event has passed a quarter of its retention: call somebody.
    AtRisk,
    /// It has passed half of its retention: purge nothing.
    Stopped,
}

impl Standing {
    /// Returns whether anything may be purged.
    pub fn permits_purging(self) -> bool {
        self != Self::Stopped
    }

    /// Returns the word for it in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::AtRisk => "at_risk",
            Self::Stopped => "stopped",
        }
    }
}

/// Returns the age from which on somebody is called.
pub fn alarm_after(keep: SignedDuration) -> SignedDuration {
    keep / ALARM_PART
}

/// Returns the age from which on nothing is purged.
pub fn stop_after(keep: SignedDuration) -> SignedDuration {
    keep / STOP_PART
}

/// Returns how a stream stands that keeps events for `keep`, whose oldest unarchived event was
/// stored at `oldest_unarchived`; `None` if all are archived.
///
/// An event from the future is a young one. Without a retention, which is none or less, nothing may
/// wait at all.
pub fn standing(
    oldest_unarchived: Option<Timestamp>,
    keep: SignedDuration,
    now: Timestamp,
) -> Standing {
    let Some(stored_at) = oldest_unarchived else {
        return Standing::Sound;
    };
    let age = now.duration_since(stored_at).max(SignedDuration::ZERO);
    if age >= stop_after(keep) {
        Standing::Stopped
    } else if age >= alarm_after(keep) {
        Standing::AtRisk
    } else {
        Standing::Sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEEP: SignedDuration = SignedDuration::from_hours(240);

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_quarter_calls_somebody_and_half_stops_purging() {
        for (age_hours, expected) in [
            (-1, Standing::Sound),
            (0, Standing::Sound),
            (59, Standing::Sound),
            (60, Standing::AtRisk),
            (119, Standing::AtRisk),
            (120, Standing::Stopped),
            (1_000, Standing::Stopped),
        ] {
            let found = standing(Some(at(10_000 - age_hours)), KEEP, at(10_000));
            assert_eq!(found, expected, "{age_hours} h");
        }
        assert_eq!(standing(None, KEEP, at(10_000)), Standing::Sound);
        assert_eq!(
            standing(Some(at(0)), SignedDuration::ZERO, at(0)),
            Standing::Stopped
        );
    }

    #[test]
    fn a_standing_has_a_word_for_logs() {
        let all = [Standing::Sound, Standing::AtRisk, Standing::Stopped];
        assert_eq!(all.map(Standing::as_str), ["sound", "at_risk", "stopped"]);
    }

    #[test]
    fn only_a_stop_keeps_everything_on_the_log() {
        for (standing, permits) in [
            (Standing::Sound, true),
            (Standing::AtRisk, true),
            (Standing::Stopped, false),
        ] {
            assert_eq!(standing.permits_purging(), permits, "{}", standing.as_str());
        }
    }

    proptest! {
        #[test]
        fn waiting_longer_never_looks_better(
            stored in 0_i64..1_000_000,
            earlier in 0_i64..2_000_000,
            later in 0_i64..2_000_000,
            keep in 1_i64..5_000_000,
        ) {
            let (earlier, later) = (earlier.min(later), earlier.max(later));
            let second = |seconds| Timestamp::from_second(seconds).unwrap();
            let keep = SignedDuration::from_secs(keep);
            let seen = |now| standing(Some(second(stored)), keep, second(now));
            prop_assert!(seen(earlier) <= seen(later));
        }

        /// Between the alarm and the loss of anything there is time to act: whatever is about to be
        /// purged by its age was called about for half of its retention and more.
        #[test]
        fn nothing_reaches_its_retention_unarchived_while_purging_goes_on(
            stored in 0_i64..1_000_000,
            keep in 2_i64..5_000_000,
            over in 0_i64..1_000_000,
        ) {
            let second = |seconds| Timestamp::from_second(seconds).unwrap();
            let now = second(stored + keep + over);
            let found = standing(Some(second(stored)), SignedDuration::from_secs(keep), now);
            prop_assert!(!found.permits_purging());
        }

        #[test]
        fn what_is_archived_is_never_a_reason(keep in 0_i64..5_000_000, now in 0_i64..5_000_000) {
            let now = Timestamp::from_second(now).unwrap();
            prop_assert_eq!(standing(None, SignedDuration::from_secs(keep), now), Standing::Sound);
        }
    }
}

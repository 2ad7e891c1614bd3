//! How many templates there may be, and how often they may be made and changed.

use jiff::{SignedDuration, Timestamp};

/// How many templates an account may create in [`CREATIONS_WITHIN`] (WhatsApp Cloud API: template
/// management, rate limit).
pub const CREATIONS_MAX: usize = 100;

/// See [`CREATIONS_MAX`].
pub const CREATIONS_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// How many templates an account may have, each language counted (WhatsApp Cloud API: template
/// management): those of a verified portfolio with an approved display name.
pub const TEMPLATES_MAX: usize = 6_000;

/// How many they may be as long as the portfolio is not verified. Casement does not know of every
/// portfolio whether it is, so the platform has the last word above this.
pub const TEMPLATES_OF_UNVERIFIED_MAX: usize = 250;

/// How often an approved template may be edited in 24 hours (WhatsApp Cloud API: edit templates).
pub const EDITS_A_DAY_MAX: usize = 1;

/// How often it may be edited in 30 days.
pub const EDITS_A_MONTH_MAX: usize = 10;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why a template is not created or edited now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// So many were created lately.
    #[error("{CREATIONS_MAX} templates were created within an hour; the next may be at {again_at}")]
    Creations {
        /// When the next may be.
        again_at: Timestamp,
    },
    /// There are as many as there may be.
    #[error("the account has {count} templates, and may have {most}")]
    Templates {
        /// As many as there are.
        count: usize,
        /// As many as there may be.
        most: usize,
    },
    /// It was edited lately.
    #[error("the template was edited {count} times within {within}; the next may be at {again_at}")]
    Edits {
        /// So often.
        count: usize,
        /// Within this time.
        within: &'static str,
        /// When the next may be.
        again_at: Timestamp,
    },
}

/// Checks that one more template may be created. `created` is when others of the account were, in
/// any order; `count` is how many it has.
pub fn creation(
    created: impl IntoIterator<Item = Timestamp>,
    count: usize,
    is_verified: Option<bool>,
    now: Timestamp,
) -> Result<(), OverBudget> {
    let most = match is_verified {
        Some(false) => TEMPLATES_OF_UNVERIFIED_MAX,
        Some(true) | None => TEMPLATES_MAX,
    };
    if count >= most {
        return Err(OverBudget::Templates { count, most });
    }
    match again_at(created, CREATIONS_MAX, CREATIONS_WITHIN, now) {
        Some(again_at) => Err(OverBudget::Creations { again_at }),
        None => Ok(()),
    }
}

/// Checks that an approved template may be edited once more. `edited` is when it was, in any order.
pub fn edit(edited: &[Timestamp], now: Timestamp) -> Result<(), OverBudget> {
    let limits = [
        (EDITS_A_DAY_MAX, DAY, "24 hours"),
        (EDITS_A_MONTH_MAX, MONTH, "30 days"),
    ];
    for (count, length, within) in limits {
        if let Some(again_at) = again_at(edited.iter().copied(), count, length, now) {
            return Err(OverBudget::Edits {
                count,
                within,
                again_at,
            });
        }
    }
    Ok(())
}

/// Returns when one more is allowed, if none is now: when the first of the last `most` is `within`
/// old.
fn again_at(
    times: impl IntoIterator<Item = Timestamp>,
    most: usize,
    within: SignedDuration,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_recent = |at: &Timestamp| now.duration_since(*at) < within;
    let mut recent: Vec<_> = times.into_iter().filter(is_recent).collect();
    recent.sort_unstable();
    let first = *recent.get(recent.len().checked_sub(most)?)?;
    first.checked_add(within).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn an_approved_template_is_edited_once_a_day_and_ten_times_a_month() {
        let hours = |hours: i64| hours * 3_600;
        assert_eq!(edit(&[], at(0)), Ok(()));
        assert_eq!(
            edit(&[at(0)], at(hours(23))),
            Err(OverBudget::Edits {
                count: 1,
                within: "24 hours",
                again_at: at(hours(24)),
            })
        );
        assert_eq!(edit(&[at(0)], at(hours(24))), Ok(()));
        let ten: Vec<_> = (0..10).map(|day| at(hours(24 * day))).collect();
        assert_eq!(
            edit(&ten, at(hours(24 * 12))),
            Err(OverBudget::Edits {
                count: 10,
                within: "30 days",
                again_at: at(hours(24 * 30)),
            })
        );
        assert_eq!(edit(&ten, at(hours(24 * 30))), Ok(()));
    }

    #[test]
    fn an_account_has_so_many_templates_and_creates_so_many_an_hour() {
        let many = |count: i64| (0..count).map(at).collect::<Vec<_>>();
        assert_eq!(creation(many(99), 99, None, at(100)), Ok(()));
        assert_eq!(
            creation(many(100), 100, None, at(100)),
            Err(OverBudget::Creations {
                again_at: at(3_600)
            })
        );
        let full = |most, is_verified| {
            let refused = creation(many(0), most, is_verified, at(0));
            assert_eq!(refused, Err(OverBudget::Templates { count: most, most }));
            assert_eq!(creation(many(0), most - 1, is_verified, at(0)), Ok(()));
        };
        full(250, Some(false));
        full(6_000, Some(true));
        full(6_000, None);
    }

    proptest! {
        #[test]
        fn who_keeps_to_the_told_time_is_never_over_a_limit(waits in prop::collection::vec(0_i64..400_000, 1..40)) {
            let (mut now, mut edited) = (at(0), Vec::new());
            for wait in waits {
                now += SignedDuration::from_secs(wait);
                while let Err(OverBudget::Edits { again_at, .. }) = edit(&edited, now) {
                    prop_assert!(again_at > now);
                    now = again_at;
                }
                edited.push(now);
                for (most, within) in [(EDITS_A_DAY_MAX, DAY), (EDITS_A_MONTH_MAX, MONTH)] {
                    let recent = edited.iter().filter(|at| now.duration_since(**at) < within);
                    prop_assert!(recent.count() <= most);
                }
            }
        }
    }
}

//! Verdicts of what is watched, to and from what is stored.

use casement_domain::watch::{Check, Level, Reading, Standing};
use jiff::Timestamp;

use super::{instant, timestamp};
use crate::{Event, v1};

/// What a verdict is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// The number's digits, an app, a stream, a role, …; see `casement.events.v1.Watch.of`.
    pub of: String,
    /// The business number's digits, if it is about one.
    pub number: String,
    /// The number's brand.
    pub brand: String,
}

impl About {
    /// Something that is no number of ours.
    pub fn thing(of: impl Into<String>) -> Self {
        Self {
            of: of.into(),
            ..Self::default()
        }
    }

    /// A number on record.
    pub fn number(number: &v1::Number) -> Self {
        Self {
            of: number.number.clone(),
            number: number.number.clone(),
            brand: number.brand_id.clone(),
        }
    }
}

/// Returns a verdict, as stored.
pub fn stored(
    check: Check,
    about: &About,
    level: Level,
    since: Timestamp,
    reading: &Reading,
) -> v1::Watch {
    let fact = |(name, value): &(&str, String)| v1::WatchFact {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    v1::Watch {
        check: check_of(check).into(),
        of: about.of.clone(),
        number: about.number.clone(),
        brand_id: about.brand.clone(),
        level: level_of(level).into(),
        since_time: Some(timestamp(since)),
        text: reading.text.clone(),
        facts: reading.facts.iter().map(fact).collect(),
    }
}

/// Returns the verdict that an event tells, and when it was told; `None` of other events.
pub fn told(event: Event) -> Option<(v1::Watch, Option<prost_types::Timestamp>)> {
    match event {
        Event::WatchRaised(event) => Some((event.watch?, event.time)),
        Event::WatchCleared(event) => Some((event.watch?, event.time)),
        _ => None,
    }
}

/// Reads which check it is, and how it stands; `None` of a check that a newer version has.
pub fn read(
    watch: &v1::Watch,
    told_at: Option<&prost_types::Timestamp>,
) -> Option<(Check, Standing)> {
    let check = read_check(watch.check())?;
    let standing = Standing {
        level: read_level(watch.level()),
        since: instant("since_time", watch.since_time.as_ref()).ok()?,
        told_at: instant("time", told_at).ok()?,
        calm_since: None,
    };
    Some((check, standing))
}

/// Returns a check as stored.
pub fn check_of(check: Check) -> v1::WatchCheck {
    match check {
        Check::WebhookSilence => v1::WatchCheck::WebhookSilence,
        Check::TokenExpiry => v1::WatchCheck::TokenExpiry,
        Check::WebhookSubscription => v1::WatchCheck::WebhookSubscription,
        Check::BadSignatures => v1::WatchCheck::BadSignatures,
        Check::UnreportedSends => v1::WatchCheck::UnreportedSends,
        Check::UnknownNumber => v1::WatchCheck::UnknownNumber,
        Check::ArchiveLag => v1::WatchCheck::ArchiveLag,
        Check::Clock => v1::WatchCheck::Clock,
    }
}

/// Reads a check.
pub fn read_check(stored: v1::WatchCheck) -> Option<Check> {
    Check::ALL
        .into_iter()
        .find(|check| check_of(*check) == stored)
}

/// Returns a level as stored.
pub fn level_of(level: Level) -> v1::WatchLevel {
    match level {
        Level::Fine => v1::WatchLevel::Fine,
        Level::Warned => v1::WatchLevel::Warned,
        Level::Alarming => v1::WatchLevel::Alarming,
    }
}

/// Reads a level; one that a newer version has is the worst.
pub fn read_level(stored: v1::WatchLevel) -> Level {
    match stored {
        v1::WatchLevel::Fine => Level::Fine,
        v1::WatchLevel::Warned => Level::Warned,
        v1::WatchLevel::Alarming | v1::WatchLevel::Unspecified => Level::Alarming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_reads_back_as_it_was_written() {
        let at = Timestamp::from_second(7).unwrap();
        for check in Check::ALL {
            for level in Level::ALL {
                let about = About::thing("EVENTS");
                let reading = Reading::fine("well").with("lag_seconds", 3);
                let watch = stored(check, &about, level, at, &reading);
                let (read_check, standing) = read(&watch, Some(&timestamp(at))).unwrap();
                assert_eq!((read_check, standing.level), (check, level));
                assert_eq!(standing.since, Some(at));
                assert_eq!(standing.told_at, Some(at));
            }
        }
    }
}

//! What is watched all the time: numbers, apps, streams and clocks, and when somebody is told.
//!
//! A [`Check`] has a rule that turns what is known now into a [`Reading`] ([`rules`], [`silence`]).
//! [`judge`] makes a verdict that stands out of readings: it rises at once, and falls only once the
//! readings have stayed better for the check's calm, so that nothing flaps. Rules have a second,
//! lower threshold for that: a reading says what it would raise, and what it would keep.
//!
//! It reads no clock, asks nobody and counts nothing by itself.

pub mod rules;
pub mod silence;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// A number hears nothing for longer than is usual at these hours.
    WebhookSilence,
    /// A number's access token ends, or has ended.
    TokenExpiry,
    /// The app gets no webhooks of a number's business account.
    WebhookSubscription,
    /// An app's webhooks come with signatures that are not good.
    BadSignatures,
    /// The platform takes a number's messages and reports nothing about them.
    UnreportedSends,
    /// Webhooks come for a number that no account knows.
    UnknownNumber,
    /// The archive of a stream is behind.
    ArchiveLag,
    /// A process lives at another time than others do.
    Clock,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 8] = [
        Self::WebhookSilence,
        Self::TokenExpiry,
        Self::WebhookSubscription,
        Self::BadSignatures,
        Self::UnreportedSends,
        Self::UnknownNumber,
        Self::ArchiveLag,
        Self::Clock,
    ];

    /// Returns its name, as it stands in subjects, metrics and the names of pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebhookSilence => "webhook-silence",
            Self::TokenExpiry => "token-expiry",
            Self::WebhookSubscription => "webhook-subscription",
            Self::BadSignatures => "bad-signatures",
            Self::UnreportedSends => "unreported-sends",
            Self::UnknownNumber => "unknown-number",
            Self::ArchiveLag => "archive-lag",
            Self::Clock => "clock",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == name)
    }

    /// Returns for how long readings must have been better before the verdict is. None for what is
    /// asked for and not measured: a new token is good at once.
    pub fn calm(self) -> SignedDuration {
        match self {
            Self::TokenExpiry | Self::WebhookSubscription | Self::UnknownNumber => {
                SignedDuration::ZERO
            }
            Self::ArchiveLag | Self::Clock => SignedDuration::from_mins(2),
            Self::WebhookSilence => SignedDuration::from_mins(10),
            Self::UnreportedSends => SignedDuration::from_mins(15),
            Self::BadSignatures => SignedDuration::from_mins(30),
        }
    }

    /// Whether each process sees a part only, so that none of them knows that all is well. Who sees
    /// the trouble says so again now and then, and nobody clears what was said lately.
    pub fn is_seen_in_part(self) -> bool {
        matches!(self, Self::BadSignatures | Self::Clock)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As it should be.
    #[default]
    Fine,
    /// Somebody should see to it in the next days.
    Warned,
    /// Somebody should see to it now.
    Alarming,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Fine, Self::Warned, Self::Alarming];

    /// Returns its name, as it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warned => "warned",
            Self::Alarming => "alarming",
        }
    }
}

/// What a rule makes of what is known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it raises.
    pub level: Level,
    /// What it would keep, if that was raised before. Never less than `level`.
    pub keeps: Level,
    /// What it rests on, for people: one sentence.
    pub text: String,
    /// The same for machines, by name.
    pub facts: Vec<(&'static str, String)>,
}

impl Reading {
    /// All is well.
    pub fn fine(text: impl Into<String>) -> Self {
        Self::of(Level::Fine, text)
    }

    /// A reading without a second threshold.
    pub fn of(level: Level, text: impl Into<String>) -> Self {
        Self {
            level,
            keeps: level,
            text: text.into(),
            facts: Vec::new(),
        }
    }

    /// Says what would be kept.
    #[must_use]
    pub fn keeping(mut self, keeps: Level) -> Self {
        self.keeps = self.keeps.max(keeps);
        self
    }

    /// Adds a fact.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and times are passed"
    )]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }
}

/// A verdict that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it is.
    pub level: Level,
    /// Since when; `None` if nobody was ever told anything.
    pub since: Option<Timestamp>,
    /// When it was last told.
    pub told_at: Option<Timestamp>,
    /// Since when readings have been better, as far as this process saw.
    pub calm_since: Option<Timestamp>,
}

impl Standing {
    /// Nothing was ever told.
    pub const NONE: Self = Self {
        level: Level::Fine,
        since: None,
        told_at: None,
        calm_since: None,
    };
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// It is warned or alarming: newly, another one than before, or still so.
    Raised,
    /// It is fine again.
    Cleared,
}

/// Returns the verdict after a reading, and what is to be told of it.
pub fn judge(
    check: Check,
    standing: Standing,
    reading: &Reading,
    now: Timestamp,
) -> (Standing, Option<Telling>) {
    let told = |level, since| Standing {
        level,
        since: Some(since),
        told_at: Some(now),
        calm_since: None,
    };
    if reading.level > standing.level {
        return (told(reading.level, now), Some(Telling::Raised));
    }
    let unsaid_for = standing
        .told_at
        .map_or(SignedDuration::MAX, |at| now.duration_since(at));
    if reading.keeps >= standing.level {
        let after = Standing {
            calm_since: None,
            ..standing
        };
        let is_seen = standing.level > Level::Fine && reading.level == standing.level;
        let is_to_repeat = check.is_seen_in_part() && unsaid_for >= check.calm() / 2;
        if is_seen && is_to_repeat {
            let since = standing.since.unwrap_or(now);
            return (told(standing.level, since), Some(Telling::Raised));
        }
        return (after, None);
    }
    let calm_since = standing.calm_since.unwrap_or(now);
    let is_calm = now.duration_since(calm_since) >= check.calm();
    let is_said_lately = check.is_seen_in_part() && unsaid_for < check.calm();
    if !is_calm || is_said_lately {
        let after = Standing {
            calm_since: Some(calm_since),
            ..standing
        };
        return (after, None);
    }
    let telling = match reading.keeps {
        Level::Fine => Telling::Cleared,
        Level::Warned | Level::Alarming => Telling::Raised,
    };
    (told(reading.keeps, now), Some(telling))
}

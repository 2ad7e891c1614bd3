//! What must hold of any history, by a model of its own.
//!
//! It shares no rule with what it checks: a window is a list of times and a length, a message a
//! list of names of events. Each claim returns what breaks it, with the shortest part of the
//! history that shows it.

mod archive;
mod log;
mod messages;
mod order;
mod windows;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::history::{Entry, History};

/// How many lines of history are shown with a violation.
const SHOWN_MAX: usize = 40;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// What was answered 200, or confirmed to a caller, is on the log.
    EveryOkIsOnTheLog,
    /// No fact is there twice, and each has the platform's own time.
    EachFactOnce,
    /// No window ends before its time, judged by the facts stored before.
    NoExpiryEarly,
    /// The end of a window is told at most once.
    EachExpiryOnce,
    /// Every window that was told to be open, and every customer's message that came in time, has
    /// an end.
    NoExpiryMissing,
    /// What is told of a window fits what was told before, and promises no more than the facts.
    WindowsFit,
    /// The platform is called at most once for an attempt, and never without a claim.
    OneCallPerAttempt,
    /// Every message that was accepted ended, for a reason, and each attempt has an outcome.
    EveryMessageEnds,
    /// The end of a message is what the platform's books say, and what may have reached a customer
    /// twice is recorded as a risk.
    EveryRiskRecorded,
    /// Messages of a conversation go in the order they were asked for.
    OrderKept,
    /// The archive's chains hold, and reach the log's end.
    ChainsHold,
    /// Read models are what they are when made anew.
    ReadModelsEqual,
    /// What was broken works again in time.
    Recovers,
}

impl Claim {
    /// Every claim that is checked, in the order of a report.
    pub const ALL: [Self; 13] = [
        Self::EveryOkIsOnTheLog,
        Self::EachFactOnce,
        Self::NoExpiryEarly,
        Self::EachExpiryOnce,
        Self::NoExpiryMissing,
        Self::WindowsFit,
        Self::OneCallPerAttempt,
        Self::EveryMessageEnds,
        Self::EveryRiskRecorded,
        Self::OrderKept,
        Self::ChainsHold,
        Self::ReadModelsEqual,
        Self::Recovers,
    ];

    /// Returns the claim as a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::EveryOkIsOnTheLog => "every 200 and every confirmed send is on the log",
            Self::EachFactOnce => "each fact is on the log once, with the platform's own time",
            Self::NoExpiryEarly => {
                "no window expires early, judged by the facts stored before the event"
            }
            Self::EachExpiryOnce => "each (window, expiry) is told at most once",
            Self::NoExpiryMissing => "no expiry is missing",
            Self::WindowsFit => {
                "what is told of a window fits what was told before, and never promises too much"
            }
            Self::OneCallPerAttempt => "at most one call per attempt, and none without a claim",
            Self::EveryMessageEnds => {
                "every message ends with a reason, every attempt has an outcome"
            }
            Self::EveryRiskRecorded => {
                "ends agree with the platform's books, and every risk of a duplicate is recorded"
            }
            Self::OrderKept => "the order of each conversation is kept",
            Self::ChainsHold => "the archive's chains verify, up to the log's end",
            Self::ReadModelsEqual => "read models equal a fresh rebuild",
            Self::Recovers => "what was broken works again in time",
        }
    }
}

/// A claim that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The claim.
    pub claim: Claim,
    /// How it is broken.
    pub what: String,
    /// The shortest history that shows it.
    pub history: Vec<String>,
}

impl Violation {
    fn new<'a>(
        claim: Claim,
        what: impl Into<String>,
        history: impl IntoIterator<Item = &'a Entry>,
    ) -> Self {
        let mut history: Vec<_> = history.into_iter().map(line).collect();
        let len = history.len();
        if len > SHOWN_MAX {
            history.drain(..len - SHOWN_MAX);
        }
        Self {
            claim,
            what: what.into(),
            history,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "violated: {}", self.claim.text())?;
        writeln!(f, "  {}", self.what)?;
        for line in &self.history {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// Returns everything that breaks a claim; nothing, if all hold.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    log::check(history, &mut found);
    windows::check(history, &mut found);
    messages::check(history, &mut found);
    order::check(history, &mut found);
    archive::check(history, &mut found);
    found
}

/// Shows an event in one line, without anything that a customer wrote.
pub(crate) fn line(entry: &Entry) -> String {
    let Entry {
        stream,
        sequence,
        stored_at,
        ..
    } = entry;
    let name = entry.name();
    let about = entry.about();
    let more = windows::detail(&entry.event)
        .or_else(|| messages::detail(&entry.event))
        .unwrap_or_default();
    format!("{stream} {sequence} {stored_at} {name} {about} {more}")
}

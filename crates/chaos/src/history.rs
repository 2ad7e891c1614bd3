//! What happened in a run, as others saw it: the log as a plain subscriber reads it, the platform's
//! books, and what callers were answered.
//!
//! Values only. Who watched is `observe`; what must hold is `check`.

use casement_event::Event;
use jiff::{SignedDuration, Timestamp};

/// Everything that was seen of a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// How long a window lasts.
    pub window: SignedDuration,
    /// The log, each stream in its order.
    pub log: Vec<Entry>,
    /// What webhooks brought that were answered 200.
    pub told: Vec<Told>,
    /// What customers said, by the platform's books.
    pub said: Vec<Said>,
    /// Messages whose sending was confirmed to the caller.
    pub confirmed: Vec<String>,
    /// Calls for a message, as the platform's books have them, oldest first.
    pub calls: Vec<Call>,
    /// What the archive says about its chains.
    pub chains: Vec<Chain>,
    /// Where read models differ from ones made anew.
    pub differences: Vec<String>,
}

/// One event of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its stream.
    pub stream: String,
    /// Its place there.
    pub sequence: u64,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// Its id.
    pub id: String,
    /// What it says.
    pub event: Event,
}

impl Entry {
    /// Returns the last token of the subject: a customer or a message.
    pub fn about(&self) -> &str {
        self.subject.rsplit('.').next().unwrap_or_default()
    }

    /// Returns its type without the package.
    pub fn name(&self) -> &'static str {
        let full = self.event.event_type();
        full.rsplit('.').next().unwrap_or(full)
    }
}

/// Something that a webhook told and that was answered 200.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// A customer's message, by the platform's id.
    Said(String),
    /// A report: the provider's id of the message, and its own word.
    Report(String, String),
}

/// A customer's message in the platform's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The platform's id.
    pub id: String,
    /// When, by the platform's clock.
    pub at: Timestamp,
}

/// A call for a message in the platform's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Message and attempt, as the call named them.
    pub attempt: String,
    /// When it came.
    pub at: Timestamp,
    /// Whether the platform took it.
    pub is_accepted: bool,
    /// Whether it was reported to have reached the customer.
    pub is_delivered: bool,
    /// Whether it was reported to have failed.
    pub is_failed: bool,
}

impl Call {
    /// Returns the message that it was for.
    pub fn message(&self) -> &str {
        match self.attempt.rsplit_once('.') {
            Some((message, _)) => message,
            None => &self.attempt,
        }
    }

    /// Returns which attempt of the message it was for.
    pub fn number(&self) -> u32 {
        self.attempt
            .rsplit_once('.')
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or_default()
    }
}

/// A chain of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The stream.
    pub stream: String,
    /// Whether every link fits.
    pub is_intact: bool,
    /// Up to which sequence.
    pub last_sequence: u64,
    /// What is wrong.
    pub explanation: String,
}

/// Reads a time as it is stored.
pub(crate) fn time(stored: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    stored.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

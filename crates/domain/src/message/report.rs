//! Provider reports: a lattice that only climbs, and what contradicts it.

use jiff::Timestamp;

use super::decide::{proven, rejected};
use super::{Attempt, AttemptState, Event, Message, Policy, Refusal};

/// How far a message has come, by the provider's reports. Ordered: later is further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryStatus {
    /// It left the provider.
    Sent,
    /// It reached the customer.
    Delivered,
    /// The customer opened it. Implies delivered, which may never be reported by itself.
    Read,
    /// The customer listened to it.
    Played,
}

impl DeliveryStatus {
    /// Returns whether the customer has it.
    pub fn has_arrived(self) -> bool {
        self >= Self::Delivered
    }
}

/// A report about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The attempt that it names.
    pub attempt: u32,
    /// The provider's id of the message.
    pub provider_id: String,
    /// When it happened, by the provider's clock.
    pub at: Timestamp,
    /// What it says.
    pub status: Result<DeliveryStatus, ReportedFailure>,
}

/// A report that the message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedFailure {
    /// The provider's code; 0 if it gave none.
    pub code: i64,
    /// What the error table says about it.
    pub refusal: Refusal,
}

/// Returns the next event that follows from a report; `None` if it says nothing new.
///
/// Ask again after each append: a report about an unknown attempt first proves that the
/// provider took it. A late `sent` never undoes `delivered`; a failure after an arrival is
/// recorded and changes nothing.
pub fn on_report(
    message: &Message,
    report: &Report,
    policy: &Policy,
    now: Timestamp,
) -> Option<Event> {
    let attempt = message.attempt(report.attempt)?;
    let number = attempt.number;
    match report.status {
        Ok(status) => match &attempt.state {
            AttemptState::Started | AttemptState::Unknown | AttemptState::Abandoned => {
                Some(proven(message, number, &report.provider_id, policy, now))
            }
            AttemptState::Accepted { .. } | AttemptState::Rejected => {
                if Some(status) > attempt.delivery {
                    Some(Event::DeliveryAdvanced {
                        attempt: number,
                        status,
                        at: report.at,
                    })
                } else {
                    double_exposure(message, number, report.at)
                }
            }
        },
        Err(failure) => match (&attempt.state, attempt.delivery) {
            // Already known to have failed.
            (AttemptState::Rejected, _) => None,
            (_, Some(known)) if known.has_arrived() => {
                (!attempt.is_contradicted).then_some(Event::DeliveryContradicted {
                    attempt: number,
                    code: failure.code,
                    known,
                    at: report.at,
                })
            }
            _ => Some(rejected(
                message,
                number,
                failure.code,
                failure.refusal,
                true,
                policy,
                now,
            )),
        },
    }
}

/// Returns what there is to record if the customer has it by this attempt and by another: once in
/// a message's life, whichever report comes last.
fn double_exposure(message: &Message, attempt: u32, at: Timestamp) -> Option<Event> {
    let has_arrived = |one: &&Attempt| one.delivery.is_some_and(DeliveryStatus::has_arrived);
    let mut arrived = message.attempts.iter().filter(has_arrived);
    let (first, second) = (arrived.next()?, arrived.next()?);
    let is_about_it = [first.number, second.number].contains(&attempt);
    (is_about_it && !message.is_doubly_exposed).then_some(Event::DoubleExposure {
        attempts: [first.number, second.number],
        at,
    })
}

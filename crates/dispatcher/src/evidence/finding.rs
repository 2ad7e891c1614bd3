//! What the outcome of an attempt tells about its conversation, and what of it is news.
//!
//! Pure. Nothing here reads or appends.

use casement_domain::id::MessageId;
use casement_domain::inbound::AsOf;
use casement_domain::message::{Answers, Attempt, DeliveryStatus, Report, Stakes};
use casement_domain::routing::Route;
use casement_domain::window::{EntryPoint, EntryPointAtStake, Evidence, Policy};
use casement_event::convert::window::{Conversation, evidence as stored_evidence};
use casement_event::convert::{self, timestamp};
use casement_event::{Event, v1};
use jiff::{SignedDuration, Timestamp};

/// Meta: the message was sent outside the window.
pub(crate) const OUTSIDE_WINDOW: i64 = 131_047;

/// How much newer a proof must be to be worth an append, unless a refusal hangs on it.
const PROOF_GRANULARITY: SignedDuration = SignedDuration::from_secs(60);

/// One thing that the outcome of an attempt tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finding<'a> {
    /// Meta refused it as outside the window.
    Refused(&'a v1::ProviderError),
    /// As free-form it arrived, so the window was open when it was sent.
    Proven,
    /// It left, and answered a customer who waited.
    Answered(Answers),
    /// It left, and was the first reply to a customer who came from an ad at this time.
    EntryPointStarted(Timestamp),
    /// It was billed as in a free entry point, or was not although one should be open.
    Billed(Bill<'a>),
}

/// What a report says about a free entry point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bill<'a> {
    /// The entry point that the attempt was to tell about, if there was one.
    stake: Option<EntryPointAtStake>,
    is_free: bool,
    told_at: Timestamp,
    ends_at: Option<Timestamp>,
    reported: &'a v1::StatusReported,
}

/// Returns what a report about an attempt tells, given what the claim says is at stake.
pub(crate) fn of_report<'a>(
    attempt: &Attempt,
    stakes: Stakes,
    report: &Report,
    reported: &'a v1::StatusReported,
) -> Vec<Finding<'a>> {
    let Ok(status) = report.status else {
        // What has arrived was not refused, whatever is said later.
        let has_arrived = attempt.delivery.is_some_and(DeliveryStatus::has_arrived);
        let error = reported.errors.first();
        let refused = error.filter(|error| error.code == OUTSIDE_WINDOW && !has_arrived);
        return refused.map(Finding::Refused).into_iter().collect();
    };
    let proven =
        (attempt.route == Route::FreeForm && status.has_arrived()).then_some(Finding::Proven);
    let answered = stakes.answers.map(Finding::Answered);
    let started = stakes.entry_point.and_then(|stake| match stake {
        EntryPointAtStake {
            referred_at: Some(referred_at),
            replied_at: None,
        } => Some(Finding::EntryPointStarted(referred_at)),
        EntryPointAtStake { .. } => None,
    });
    let billed = bill(attempt, stakes.entry_point, report.at, reported).map(Finding::Billed);
    let all = [proven, answered, started, billed];
    all.into_iter().flatten().collect()
}

fn bill<'a>(
    attempt: &Attempt,
    stake: Option<EntryPointAtStake>,
    told_at: Timestamp,
    reported: &'a v1::StatusReported,
) -> Option<Bill<'a>> {
    let is_free = is_free(reported.pricing.as_ref()?)?;
    let is_whatsapp = Route::WHATSAPP.contains(&attempt.route);
    // That it is billed as any other is news only if it could have been free.
    let tells = is_whatsapp && (is_free || stake.is_some());
    let conversation = reported.conversation.as_ref().filter(|_| is_free);
    let end = conversation.and_then(|conversation| conversation.expire_time.as_ref());
    tells.then(|| Bill {
        stake,
        is_free,
        told_at,
        // What cannot be read is not told.
        ends_at: convert::instant("expire_time", end).ok().flatten(),
        reported,
    })
}

/// Returns whether a message was billed as in a free entry point; `None` if that does not follow
/// from its pricing. Meta: statuses webhook, pricing.
fn is_free(pricing: &v1::Pricing) -> Option<bool> {
    match (pricing.r#type.as_str(), pricing.category.as_str()) {
        ("free_entry_point", _) | (_, "referral_conversion") => Some(true),
        ("regular" | "free_customer_service", _) => Some(false),
        _ => None,
    }
}

impl Bill<'_> {
    /// Returns what it says about an entry point: the one at stake, or the known one that the call
    /// fell into, or one of whose beginning nobody heard.
    fn entry_point(
        &self,
        known: Option<EntryPoint>,
        started_at: Timestamp,
        policy: &Policy,
    ) -> EntryPoint {
        let known = known.filter(|known| known.covers(policy, started_at));
        let (referred_at, replied_at) = match (self.stake, known) {
            (Some(stake), _) => (stake.referred_at, stake.replied_at.unwrap_or(started_at)),
            (None, Some(known)) => (known.referred_at, known.replied_at),
            (None, None) => (None, started_at),
        };
        EntryPoint {
            referred_at,
            replied_at,
            told_end: self.ends_at,
            is_confirmed: Some(AsOf {
                at: self.told_at,
                value: self.is_free,
            }),
        }
    }
}

impl Finding<'_> {
    /// Returns what is known with this finding of a call that was started at a time; `None` if that
    /// is not worth telling.
    pub(crate) fn news(
        &self,
        known: &Evidence,
        started_at: Timestamp,
        policy: &Policy,
    ) -> Option<Evidence> {
        let none = Evidence::default();
        let entry_point = |entry_point| Evidence {
            entry_point: Some(entry_point),
            ..none
        };
        let added = match self {
            Self::Refused(_) => Evidence {
                refused_at: Some(started_at),
                ..none
            },
            Self::Proven => Evidence {
                proven_at: Some(started_at),
                ..none
            },
            Self::Answered(answers) => Evidence {
                answered_at: Some(answers.answered_at(started_at)),
                ..none
            },
            Self::EntryPointStarted(referred_at) => entry_point(EntryPoint {
                referred_at: Some(*referred_at),
                replied_at: started_at,
                told_end: None,
                is_confirmed: None,
            }),
            Self::Billed(bill) => {
                entry_point(bill.entry_point(known.entry_point, started_at, policy))
            }
        };
        let joined = known.join(added);
        let is_news = match self {
            Self::Refused(_) => true,
            Self::Proven => is_proof_due(known, started_at),
            // Once for what the customer said, not for each message that follows.
            Self::Answered(answers) => known.answered_at < Some(answers.last_inbound_at),
            // That the same is said again, later, is none.
            Self::EntryPointStarted(_) | Self::Billed(_) => {
                gist(known.entry_point) != gist(joined.entry_point)
            }
        };
        (is_news && joined != *known).then_some(joined)
    }

    /// Tells an event from another of the same type about the same attempt.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Billed(bill) => {
                let end = bill.ends_at.map(|end| end.to_string());
                format!("{} {}", bill.is_free, end.unwrap_or_default())
            }
            _ => String::new(),
        }
    }

    /// Returns the event that tells it.
    pub(crate) fn event(
        &self,
        conversation: &Conversation,
        message: &MessageId,
        attempt: &Attempt,
        known: &Evidence,
        joined: &Evidence,
    ) -> Event {
        let conversation = Some(conversation.stored());
        let (message_id, number) = (message.to_string(), attempt.number);
        let started = Some(timestamp(attempt.started_at));
        let summary = Some(stored_evidence(*joined));
        match self {
            Self::Refused(error) => v1::WindowRefused {
                conversation,
                message_id,
                attempt: number,
                refused_time: started,
                error: Some((*error).clone()),
                summary,
            }
            .into(),
            Self::Proven => v1::WindowProven {
                conversation,
                message_id,
                attempt: number,
                proven_time: started,
                summary,
            }
            .into(),
            Self::Answered(answers) => v1::CustomerAnswered {
                conversation,
                message_id,
                attempt: number,
                answered_time: Some(timestamp(answers.answered_at(attempt.started_at))),
                waiting_since_time: Some(timestamp(waited_since(*answers, known))),
                summary,
            }
            .into(),
            Self::EntryPointStarted(referred_at) => v1::FreeEntryPointStarted {
                conversation,
                message_id,
                attempt: number,
                referred_time: Some(timestamp(*referred_at)),
                reply_time: started,
                summary,
            }
            .into(),
            Self::Billed(bill) => v1::FreeEntryPointReported {
                conversation,
                message_id,
                attempt: number,
                report_time: Some(timestamp(bill.told_at)),
                confirmed: bill.is_free,
                pricing: bill.reported.pricing.clone(),
                billed_conversation: bill.reported.conversation.clone(),
                summary,
            }
            .into(),
        }
    }
}

/// Proofs count when a refusal stands, and otherwise once in a while.
fn is_proof_due(known: &Evidence, proven_at: Timestamp) -> bool {
    let refusal_stands = known.refused_at.is_some() && known.refused_at >= known.proven_at;
    let since = |before| proven_at.duration_since(before) > PROOF_GRANULARITY;
    refusal_stands || known.proven_at.is_none_or(since)
}

/// Since when the customer waited, if another answer has come since the claim noted it.
fn waited_since(answers: Answers, known: &Evidence) -> Timestamp {
    if known.answered_at < Some(answers.waiting_since) {
        answers.waiting_since
    } else {
        answers.last_inbound_at
    }
}

/// What matters of an entry point.
fn gist(of: Option<EntryPoint>) -> impl PartialEq {
    of.map(|entry| {
        let verdict = entry.is_confirmed.map(|told| told.value);
        (entry.referred_at, entry.replied_at, entry.told_end, verdict)
    })
}

#[cfg(test)]
mod tests;

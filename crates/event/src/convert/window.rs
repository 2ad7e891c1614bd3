//! Windows and the evidence about them, to and from what is stored.

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_domain::inbound::{AsOf, POLICY_VERSION, Qualifying};
use casement_domain::window::{
    Circumstances, Closed, ClosedReason, EntryPoint, EntryPointState, Event as WindowEvent,
    Evidence, FreeEntryPoint, OpenReason, Policy, Published,
};
use casement_proto::events::v1;
use jiff::Timestamp;

use super::inbound::{read_fact, read_thread_owner, thread_owner};
use super::{ConvertError, duration, instant, required_instant, signed_duration, timestamp};
use crate::record::Extension;
use crate::subject::{Family, conversation};
use crate::{Event, Record, id};

/// The conversation that a window belongs to, as every event carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The business number.
    pub number: BusinessNumber,
    /// The customer.
    pub customer: CustomerId,
    /// The brand; empty if unknown.
    pub brand: String,
    /// The portfolio; empty if unknown.
    pub portfolio: String,
}

impl Conversation {
    /// Returns it as stored.
    pub fn stored(&self) -> v1::Conversation {
        v1::Conversation {
            number: self.number.digits().to_owned(),
            customer_id: self.customer.as_str().to_owned(),
            brand_id: self.brand.clone(),
            portfolio_id: self.portfolio.clone(),
        }
    }

    /// Reads it.
    pub fn read(stored: Option<&v1::Conversation>) -> Result<Self, ConvertError> {
        let stored = stored.ok_or(ConvertError::Absent("conversation"))?;
        Ok(Self {
            number: BusinessNumber::parse(&stored.number)?,
            customer: CustomerId::parse(&stored.customer_id)?,
            brand: stored.brand_id.clone(),
            portfolio: stored.portfolio_id.clone(),
        })
    }
}

/// Returns why a window is closed, as stored.
pub fn closed_reason(of: ClosedReason) -> v1::ClosedReason {
    match of {
        ClosedReason::NeverWrote => v1::ClosedReason::NeverWrote,
        ClosedReason::Expired => v1::ClosedReason::Expired,
        ClosedReason::Corrected => v1::ClosedReason::Corrected,
        ClosedReason::Merged => v1::ClosedReason::Merged,
        ClosedReason::NumberMigrated => v1::ClosedReason::NumberMigrated,
        ClosedReason::UserIdChanged => v1::ClosedReason::UserIdChanged,
        ClosedReason::Erased => v1::ClosedReason::Erased,
    }
}

fn open_reason(of: OpenReason) -> v1::OpenReason {
    match of {
        OpenReason::Customer => v1::OpenReason::Customer,
        OpenReason::LateEvidence => v1::OpenReason::LateEvidence,
        OpenReason::Proven => v1::OpenReason::Proven,
    }
}

/// Returns a window as every window event carries it.
pub fn published(of: &Published, conversation: &Conversation) -> v1::PublishedWindow {
    let Conversation {
        number, customer, ..
    } = conversation;
    let state = match of.closed {
        None => v1::WindowState::Open,
        Some(_) => v1::WindowState::Closed,
    };
    let reason = of.closed.map_or(v1::ClosedReason::Unspecified, |closed| {
        closed_reason(closed.reason)
    });
    v1::PublishedWindow {
        window_id: id::window(number, customer, of.opening_fact).to_string(),
        conversation: Some(conversation.stored()),
        state: state.into(),
        closed_reason: reason.into(),
        open_time: Some(timestamp(of.opened_at)),
        expire_time: Some(timestamp(of.expires_at)),
        close_time: of.closed.map(|closed| timestamp(closed.at)),
        opening_fact_id: of.opening_fact.to_string(),
        last_inbound_time: Some(timestamp(of.last_inbound.at)),
        last_inbound_fact_id: of.last_inbound.fact.to_string(),
        last_inbound_provider_id: of.last_inbound.provider_id.clone(),
        last_inbound_received_time: Some(timestamp(of.last_inbound.received_at)),
        announced_leads: of.announced.iter().copied().map(duration).collect(),
        previous_window_id: of
            .previous
            .map(|opening| id::window(number, customer, opening).to_string())
            .unwrap_or_default(),
        previous_opening_fact_id: of.previous.map(|fact| fact.to_string()).unwrap_or_default(),
        refused_time: of.evidence.refused_at.map(timestamp),
        proven_time: of.evidence.proven_at.map(timestamp),
        policy_version: POLICY_VERSION,
        waiting_since_time: of.circumstances.waiting_since.map(timestamp),
        thread_owner: thread_owner(of.circumstances.thread_owner).into(),
        free_entry_point: of.circumstances.free_entry_point.map(free_entry_point),
    }
}

/// Returns a free entry point as answers and events state it.
pub fn free_entry_point(of: FreeEntryPoint) -> v1::FreeEntryPoint {
    let state = match of.state {
        EntryPointState::AwaitingReply => v1::FreeEntryPointState::AwaitingReply,
        EntryPointState::Open => v1::FreeEntryPointState::Open,
        EntryPointState::Ended => v1::FreeEntryPointState::Ended,
        EntryPointState::Denied => v1::FreeEntryPointState::Denied,
    };
    v1::FreeEntryPoint {
        state: state.into(),
        referred_time: of.referred_at.map(timestamp),
        start_time: of.from.map(timestamp),
        until_time: Some(timestamp(of.until)),
        confirmed: of.is_confirmed,
    }
}

fn read_free_entry_point(
    stored: &v1::FreeEntryPoint,
) -> Result<Option<FreeEntryPoint>, ConvertError> {
    let state = match stored.state() {
        v1::FreeEntryPointState::Unspecified => return Ok(None),
        v1::FreeEntryPointState::AwaitingReply => EntryPointState::AwaitingReply,
        v1::FreeEntryPointState::Open => EntryPointState::Open,
        v1::FreeEntryPointState::Ended => EntryPointState::Ended,
        v1::FreeEntryPointState::Denied => EntryPointState::Denied,
    };
    Ok(Some(FreeEntryPoint {
        state,
        referred_at: instant("referred_time", stored.referred_time.as_ref())?,
        from: instant("start_time", stored.start_time.as_ref())?,
        until: required_instant("until_time", stored.until_time.as_ref())?,
        is_confirmed: stored.confirmed,
    }))
}

/// Reads a window from any window event; `None` if the event is of another family.
pub fn read(event: &Event) -> Result<Option<Published>, ConvertError> {
    let window = match event {
        Event::WindowOpened(event) => &event.window,
        Event::WindowExtended(event) => &event.window,
        Event::WindowExpiring(event) => &event.window,
        Event::WindowExpired(event) => &event.window,
        Event::WindowCorrected(event) => &event.window,
        _ => return Ok(None),
    };
    read_published(window.as_ref().ok_or(ConvertError::Absent("window"))?).map(Some)
}

/// Reads a window as every window event carries it.
pub fn read_published(stored: &v1::PublishedWindow) -> Result<Published, ConvertError> {
    let closed = match stored.state() {
        v1::WindowState::Open => None,
        v1::WindowState::Closed => Some(Closed {
            reason: match stored.closed_reason() {
                v1::ClosedReason::Expired => ClosedReason::Expired,
                v1::ClosedReason::Corrected => ClosedReason::Corrected,
                v1::ClosedReason::Merged => ClosedReason::Merged,
                v1::ClosedReason::NumberMigrated => ClosedReason::NumberMigrated,
                v1::ClosedReason::UserIdChanged => ClosedReason::UserIdChanged,
                v1::ClosedReason::Erased => ClosedReason::Erased,
                v1::ClosedReason::NeverWrote => ClosedReason::NeverWrote,
                v1::ClosedReason::Unspecified => return Err(ConvertError::Absent("closed_reason")),
            },
            at: required_instant("close_time", stored.close_time.as_ref())?,
        }),
        v1::WindowState::Unspecified => return Err(ConvertError::Absent("state")),
    };
    let previous = match stored.previous_opening_fact_id.as_str() {
        "" => None,
        text => Some(read_fact("previous_opening_fact_id", text)?),
    };
    Ok(Published {
        opening_fact: read_fact("opening_fact_id", &stored.opening_fact_id)?,
        opened_at: required_instant("open_time", stored.open_time.as_ref())?,
        expires_at: required_instant("expire_time", stored.expire_time.as_ref())?,
        closed,
        last_inbound: Qualifying {
            at: required_instant("last_inbound_time", stored.last_inbound_time.as_ref())?,
            fact: read_fact("last_inbound_fact_id", &stored.last_inbound_fact_id)?,
            received_at: required_instant(
                "last_inbound_received_time",
                stored.last_inbound_received_time.as_ref(),
            )?,
            provider_id: stored.last_inbound_provider_id.clone(),
        },
        announced: stored.announced_leads.iter().map(signed_duration).collect(),
        previous,
        evidence: Evidence {
            refused_at: instant("refused_time", stored.refused_time.as_ref())?,
            proven_at: instant("proven_time", stored.proven_time.as_ref())?,
            ..Evidence::default()
        },
        circumstances: Circumstances {
            waiting_since: instant("waiting_since_time", stored.waiting_since_time.as_ref())?,
            thread_owner: read_thread_owner(stored.thread_owner()),
            free_entry_point: match &stored.free_entry_point {
                Some(stored) => read_free_entry_point(stored)?,
                None => None,
            },
        },
    })
}

/// Reads the evidence so far from an evidence event; `None` if the event is of another family.
pub fn read_evidence(event: &Event) -> Result<Option<Evidence>, ConvertError> {
    let summary = match event {
        Event::WindowRefused(event) => &event.summary,
        Event::WindowProven(event) => &event.summary,
        Event::CustomerAnswered(event) => &event.summary,
        Event::FreeEntryPointStarted(event) => &event.summary,
        Event::FreeEntryPointReported(event) => &event.summary,
        _ => return Ok(None),
    };
    read_evidence_summary(&summary.unwrap_or_default()).map(Some)
}

/// Reads evidence as its events, and summaries that carry it on, hold it.
pub fn read_evidence_summary(stored: &v1::EvidenceSummary) -> Result<Evidence, ConvertError> {
    Ok(Evidence {
        refused_at: instant("refused_time", stored.refused_time.as_ref())?,
        proven_at: instant("proven_time", stored.proven_time.as_ref())?,
        answered_at: instant("answered_time", stored.answered_time.as_ref())?,
        entry_point: match &stored.entry_point {
            Some(stored) => Some(read_entry_point(stored)?),
            None => None,
        },
    })
}

fn read_entry_point(stored: &v1::EntryPointEvidence) -> Result<EntryPoint, ConvertError> {
    let is_confirmed = match stored.confirmed {
        None => None,
        Some(value) => Some(AsOf {
            at: required_instant("confirmed_time", stored.confirmed_time.as_ref())?,
            value,
        }),
    };
    Ok(EntryPoint {
        referred_at: instant("referred_time", stored.referred_time.as_ref())?,
        replied_at: required_instant("reply_time", stored.reply_time.as_ref())?,
        told_end: instant("told_end_time", stored.told_end_time.as_ref())?,
        is_confirmed,
    })
}

fn entry_point(of: &EntryPoint) -> v1::EntryPointEvidence {
    v1::EntryPointEvidence {
        referred_time: of.referred_at.map(timestamp),
        reply_time: Some(timestamp(of.replied_at)),
        told_end_time: of.told_end.map(timestamp),
        confirmed: of.is_confirmed.map(|told| told.value),
        confirmed_time: of.is_confirmed.map(|told| timestamp(told.at)),
    }
}

/// Returns evidence as its events carry it.
pub fn evidence(of: Evidence) -> v1::EvidenceSummary {
    v1::EvidenceSummary {
        refused_time: of.refused_at.map(timestamp),
        proven_time: of.proven_at.map(timestamp),
        answered_time: of.answered_at.map(timestamp),
        entry_point: of.entry_point.as_ref().map(entry_point),
    }
}

/// Returns the record that tells a window event.
pub fn record(
    event: &WindowEvent,
    conversation_: &Conversation,
    policy: &Policy,
    now: Timestamp,
) -> Record {
    let Conversation {
        number,
        customer,
        brand,
        ..
    } = conversation_;
    let window = event.window();
    let stored = published(window, conversation_);
    let window_id = id::window(number, customer, window.opening_fact);
    let subject = conversation(Family::Window, number, customer);

    let (payload, lead, cause): (Event, _, String) = match event {
        WindowEvent::Opened { reason, .. } => {
            let reason = open_reason(*reason);
            let proof = window
                .evidence
                .proven_at
                .map(|at| at.to_string())
                .unwrap_or_default();
            let cause = format!("{} {proof}", reason.as_str_name());
            let event = v1::WindowOpened {
                window: Some(stored),
                reason: reason.into(),
            };
            (event.into(), None, cause)
        }
        WindowEvent::Extended { .. } => (
            v1::WindowExtended {
                window: Some(stored),
            }
            .into(),
            None,
            String::new(),
        ),
        WindowEvent::Expiring { lead, .. } => {
            let event = v1::WindowExpiring {
                window: Some(stored),
                lead: Some(duration(*lead)),
            };
            (event.into(), Some(*lead), String::new())
        }
        WindowEvent::Expired { .. } => (
            v1::WindowExpired {
                window: Some(stored),
            }
            .into(),
            None,
            String::new(),
        ),
        WindowEvent::Corrected { .. } => {
            let cause = window
                .closed
                .map(|closed| {
                    format!(
                        "{} {}",
                        closed_reason(closed.reason).as_str_name(),
                        closed.at
                    )
                })
                .unwrap_or_default();
            let event = v1::WindowCorrected {
                window: Some(stored),
                cause: cause.clone(),
            };
            (event.into(), None, cause)
        }
    };
    let event_id = id::window_event(
        window_id,
        payload.event_type(),
        lead,
        window.expires_at,
        &cause,
    );
    let facts = casement_domain::window::Facts {
        last_qualifying: Some(window.last_inbound.clone()),
        ..Default::default()
    };
    let deadline = casement_domain::window::next_deadline(Some(window), &facts, policy);
    let record = Record::new(subject, event_id, "casement/window-tracker", now, payload)
        .about(customer.as_str())
        .with(Extension::Number, number.digits())
        .with(Extension::Brand, brand)
        .with(Extension::Customer, customer.as_str())
        .with(Extension::WindowId, window_id.to_string())
        .with(
            Extension::State,
            if window.closed.is_none() {
                "OPEN"
            } else {
                "CLOSED"
            },
        )
        .with(Extension::ExpireTime, window.expires_at.to_string())
        .with_deadline(deadline);
    match window.circumstances.waiting_since {
        Some(since) => record.with(Extension::WaitingSince, since.to_string()),
        None => record,
    }
}

#[cfg(test)]
mod tests;

//! A message as the API shows it: every attempt, and the reason for each.

use casement_domain::message::{AttemptState, KeptBack, OnUnknown, Outcome, Phase};
use casement_event::convert::message::{delivery, outcome, route};
use casement_event::convert::{reason, timestamp};
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;

use crate::aggregate::Loaded;
use crate::money;
use crate::nudge;

/// Returns the message as the API shows it.
pub(crate) fn message(of: &Loaded, position: String) -> api::Message {
    let ended = match of.message.phase {
        Phase::Ended { outcome } | Phase::Ending { outcome, .. } => Some(outcome),
        _ => None,
    };
    api::Message {
        message_id: of.context.id.to_string(),
        number: of.number().e164(),
        customer_id: of.context.conversation.customer.to_string(),
        state: state(&of.message.phase).into(),
        outcome: ended
            .map_or(v1::MessageOutcome::Unspecified, outcome)
            .into(),
        outcome_reason: outcome_reason(of),
        delivery_status: of
            .message
            .delivery
            .map_or(v1::DeliveryStatus::Unspecified, delivery)
            .into(),
        attempts: attempts(of),
        decision: of.events.iter().rev().find_map(decision),
        request_time: of.request.request_time,
        expire_time: Some(timestamp(of.message.expires_at)),
        end_time: of.events.iter().find_map(end_time),
        client_reference: of.request.client_reference.clone(),
        labels: of.request.labels.clone(),
        sensitive: of.request.sensitive,
        position,
        // Late words about attempts change nothing any more once it is over.
        reason: match ended {
            Some(_) => outcome_reason(of),
            None => of
                .events
                .iter()
                .rev()
                .find_map(reason::of_state)
                .unwrap_or_default(),
        },
        deferral: deferral(&of.message.phase),
        cost: money::total(of),
        nudge_message_id: nudge::of_hold(&of.events).unwrap_or_default().to_owned(),
        held_message_id: of.request.held_message_id.clone(),
        send_time: of.request.send_time,
        overdue_time: match of.message.phase {
            Phase::Accepted { overdue_at, .. } => overdue_at.map(timestamp),
            _ => None,
        },
        double_exposure: of
            .events
            .iter()
            .find_map(|event| match event {
                Event::DoubleExposure(exposure) => Some(exposure.attempts.clone()),
                _ => None,
            })
            .unwrap_or_default(),
    }
}

fn deferral(of: &Phase) -> Option<api::Deferral> {
    match of {
        Phase::Pending {
            due_at,
            deferral: Some(deferral),
        } => Some(api::Deferral {
            cause: deferral.cause.clone(),
            halt_id: deferral.halt.clone(),
            until_time: Some(timestamp(*due_at)),
        }),
        _ => None,
    }
}

fn state(of: &Phase) -> api::MessageState {
    match of {
        Phase::Pending { deferral: None, .. } => api::MessageState::Pending,
        Phase::Pending {
            deferral: Some(_), ..
        } => api::MessageState::Deferred,
        Phase::Held { .. } => api::MessageState::Held,
        Phase::Attempting { .. } => api::MessageState::Attempting,
        Phase::Unknown { .. } => api::MessageState::Unknown,
        Phase::Accepted { kept_back, .. } => match kept_back {
            None => api::MessageState::Accepted,
            Some(KeptBack::QualityAssessment) => api::MessageState::HeldForQualityAssessment,
            Some(KeptBack::Paused) => api::MessageState::Paused,
        },
        Phase::Ending { .. } | Phase::Ended { .. } => api::MessageState::Ended,
    }
}

fn outcome_reason(of: &Loaded) -> String {
    let recorded = of.events.iter().find_map(|event| match event {
        Event::MessageEnded(ended) => Some(ended.reason.clone()),
        _ => None,
    });
    recorded.unwrap_or_else(|| match &of.message.phase {
        Phase::Ending { reason, .. } => reason.clone(),
        Phase::Ended {
            outcome: Outcome::Expired,
        } => "TTL_PASSED".to_owned(),
        Phase::Ended {
            outcome: Outcome::Cancelled,
        } => "CANCELLED".to_owned(),
        _ => String::new(),
    })
}

fn attempts(of: &Loaded) -> Vec<api::Attempt> {
    of.message
        .attempts
        .iter()
        .map(|attempt| {
            let number = attempt.number;
            let (state, provider_message_id) = match &attempt.state {
                AttemptState::Started => ("STARTED", ""),
                AttemptState::Accepted {
                    provider_id,
                    kept_back,
                } => (
                    kept_back.map_or("ACCEPTED", KeptBack::as_str),
                    provider_id.as_str(),
                ),
                AttemptState::Rejected => ("REJECTED", ""),
                AttemptState::Unknown => ("UNKNOWN", ""),
                AttemptState::Abandoned => ("ABANDONED", ""),
            };
            api::Attempt {
                number,
                route: route(attempt.route).into(),
                state: state.to_owned(),
                provider_message_id: provider_message_id.to_owned(),
                error: of.events.iter().find_map(|event| error(event, number)),
                start_time: Some(timestamp(attempt.started_at)),
                delivery_status: attempt
                    .delivery
                    .map_or(v1::DeliveryStatus::Unspecified, delivery)
                    .into(),
                decision: of.events.iter().find_map(|event| match event {
                    Event::AttemptStarted(started) if started.attempt == number => {
                        started.decision.clone()
                    }
                    _ => None,
                }),
                sms_gateway: attempt.gateway.clone(),
                duplicate_risk: of.events.iter().any(|event| is_risky(event, number)),
                cost: money::shown(&of.events, number),
                may_still_arrive: of.events.iter().any(|event| {
                    matches!(event, Event::DeliveryOverdue(overdue)
                        if overdue.attempt == number && overdue.duplicate_risk)
                }),
            }
        })
        .collect()
}

/// An attempt carries a risk when one before it was abandoned and repeated, or is overdue and may
/// still arrive.
fn is_risky(event: &Event, attempt: u32) -> bool {
    match event {
        Event::AttemptAbandoned(abandoned) => {
            abandoned.attempt < attempt && abandoned.policy != OnUnknown::GiveUp.as_str()
        }
        Event::DeliveryOverdue(overdue) => overdue.attempt < attempt && overdue.duplicate_risk,
        _ => false,
    }
}

fn error(event: &Event, attempt: u32) -> Option<v1::ProviderError> {
    match event {
        Event::AttemptRejected(rejected) if rejected.attempt == attempt => rejected.error.clone(),
        _ => None,
    }
}

fn decision(event: &Event) -> Option<v1::Decision> {
    match event {
        Event::AttemptStarted(event) => event.decision.clone(),
        Event::MessageHeld(event) => event.decision.clone(),
        Event::MessageDeferred(event) => event.decision.clone(),
        Event::DeliveryOverdue(event) => event.decision.clone(),
        Event::MessageEnded(event) => event.decision.clone(),
        _ => None,
    }
}

fn end_time(event: &Event) -> Option<prost_types::Timestamp> {
    match event {
        Event::MessageEnded(event) => event.end_time,
        Event::MessageExpired(event) => event.expire_time,
        Event::MessageCancelled(event) => event.cancel_time,
        _ => None,
    }
}

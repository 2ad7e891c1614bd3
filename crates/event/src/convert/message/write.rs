//! Writing what happens to messages: payloads, ids, headers. Reading is next door.

use casement_domain::message::{Event as MessageEvent, Message, OnUnknown};
use casement_domain::routing::Route;
use casement_proto::events::v1;
use jiff::Timestamp;

use super::{Context, Details, answered_customer, delivery, entry_point_at_stake, outcome, route};
use crate::convert::timestamp;
use crate::convert::window::Conversation;
use crate::record::Extension;
use crate::{Event, Record, id, subject};

const SOURCE: &str = "casement/dispatcher";

fn routes(of: &[Route]) -> Vec<i32> {
    of.iter().map(|one| route(*one).into()).collect()
}

/// Returns the stored form of what happened; `None` for a request, which carries more than the
/// rules know and is made by whoever accepts it.
fn payload(event: &MessageEvent, context: &Context, details: Details) -> Option<Event> {
    let message_id = context.id.to_string();
    let conversation = Some(context.conversation.stored());
    let time = |at: &Timestamp| Some(timestamp(*at));
    Some(match event {
        MessageEvent::Requested { .. } => return None,
        MessageEvent::Held {
            at,
            recheck_at,
            expires_at,
        } => v1::MessageHeld {
            message_id,
            conversation,
            decision: details.decision,
            hold_time: time(at),
            expire_time: time(expires_at),
            recheck_time: time(recheck_at),
            nudge_message_id: details.nudge_message_id,
        }
        .into(),
        MessageEvent::Released { at, cause } => {
            let (release_time, cause) = (time(at), cause.clone());
            v1::MessageReleased {
                message_id,
                conversation,
                release_time,
                cause,
            }
            .into()
        }
        MessageEvent::Deferred {
            at,
            until,
            cause,
            halt,
        } => v1::MessageDeferred {
            message_id,
            conversation,
            until_time: time(until),
            cause: cause.clone(),
            halt_id: halt.clone(),
            decision: details.decision,
            defer_time: time(at),
        }
        .into(),
        MessageEvent::AttemptStarted {
            attempt,
            route: by,
            gateway,
            other_gateways,
            at,
            call_by,
            outcome_by,
        } => v1::AttemptStarted {
            message_id,
            conversation,
            attempt: *attempt,
            route: route(*by).into(),
            decision: details.decision,
            start_time: time(at),
            call_by_time: time(call_by),
            outcome_by_time: time(outcome_by),
            claimant: details.claimant,
            sms_gateway: gateway.clone(),
            other_sms_gateways: other_gateways.clone(),
            answers: details.stakes.answers.map(answered_customer),
            entry_point: details.stakes.entry_point.map(entry_point_at_stake),
            cost: details.cost,
            consent_sequence: details.consent_sequence,
        }
        .into(),
        MessageEvent::AttemptAccepted {
            attempt,
            provider_id,
            at,
            from_report,
            reports_until,
            kept_back,
            overdue_at,
        } => v1::AttemptAccepted {
            message_id,
            conversation,
            attempt: *attempt,
            provider_message_id: provider_id.clone(),
            accept_time: time(at),
            provider_status: match kept_back {
                Some(kept_back) => kept_back.as_str().to_ascii_lowercase(),
                None => details.provider_status,
            },
            from_report: *from_report,
            reports_until_time: time(reports_until),
            overdue_time: overdue_at.map(timestamp),
        }
        .into(),
        MessageEvent::AttemptRejected {
            attempt,
            at,
            rejection,
            from_report,
        } => {
            let error = details.error.unwrap_or_default();
            v1::AttemptRejected {
                message_id,
                conversation,
                attempt: *attempt,
                error: Some(v1::ProviderError {
                    code: rejection.code,
                    ..error
                }),
                reject_time: time(at),
                action: rejection.action.clone(),
                from_report: *from_report,
                exhausted_routes: routes(&rejection.exhausted),
                retry_time: rejection.retry_at.map(timestamp),
                exhausted_sms_gateways: rejection.exhausted_gateways.clone(),
                cost: details.cost,
            }
            .into()
        }
        MessageEvent::AttemptUnknown {
            attempt,
            at,
            reason,
            reconcile_until,
        } => v1::AttemptUnknown {
            message_id,
            conversation,
            attempt: *attempt,
            reason: reason.clone(),
            unknown_time: time(at),
            reconcile_until_time: time(reconcile_until),
        }
        .into(),
        MessageEvent::AttemptAbandoned {
            attempt,
            at,
            policy,
            exhausted,
        } => v1::AttemptAbandoned {
            message_id,
            conversation,
            attempt: *attempt,
            policy: policy.as_str().to_owned(),
            duplicate_risk: *policy != OnUnknown::GiveUp,
            abandon_time: time(at),
            exhausted_routes: routes(exhausted),
        }
        .into(),
        MessageEvent::DeliveryOverdue {
            attempt,
            at,
            moves_on,
            is_risky,
            exhausted,
            reports_until,
        } => v1::DeliveryOverdue {
            message_id,
            conversation,
            attempt: *attempt,
            overdue_time: time(at),
            moves_on: *moves_on,
            duplicate_risk: *is_risky,
            exhausted_routes: routes(exhausted),
            reports_until_time: time(reports_until),
            decision: details.decision,
        }
        .into(),
        MessageEvent::DeliveryAdvanced {
            attempt,
            status,
            at,
        } => v1::DeliveryAdvanced {
            message_id,
            conversation,
            attempt: *attempt,
            status: delivery(*status).into(),
            event_time: time(at),
            pricing: details.pricing,
            cost: details.cost,
        }
        .into(),
        MessageEvent::DeliveryContradicted {
            attempt,
            code,
            known,
            at,
        } => {
            let error = details.error.unwrap_or_default();
            v1::DeliveryContradicted {
                message_id,
                conversation,
                attempt: *attempt,
                status: v1::DeliveryStatus::Failed.into(),
                known_status: delivery(*known).into(),
                event_time: time(at),
                error: Some(v1::ProviderError {
                    code: *code,
                    ..error
                }),
            }
            .into()
        }
        MessageEvent::Billed { attempt, at } => v1::MessageBilled {
            message_id,
            conversation,
            attempt: *attempt,
            event_time: time(at),
            pricing: details.pricing,
            cost: details.cost,
        }
        .into(),
        MessageEvent::DoubleExposure { attempts, at } => v1::DoubleExposure {
            message_id,
            conversation,
            attempts: attempts.to_vec(),
            event_time: time(at),
        }
        .into(),
        MessageEvent::Ended {
            outcome: how,
            reason,
            at,
        } => v1::MessageEnded {
            message_id,
            conversation,
            outcome: outcome(*how).into(),
            reason: reason.clone(),
            end_time: time(at),
            decision: details.decision,
        }
        .into(),
        MessageEvent::Expired { at } => v1::MessageExpired {
            message_id,
            conversation,
            expire_time: time(at),
        }
        .into(),
        MessageEvent::Cancelled { at } => {
            let (cancel_time, caller) = (time(at), details.caller);
            v1::MessageCancelled {
                message_id,
                conversation,
                cancel_time,
                caller,
            }
            .into()
        }
    })
}

/// Returns the record of what happened to a message; `None` for a request.
///
/// `after` is the message with the event folded in: its state and deadline stand in the
/// headers. `expected` is the sequence that the append expects: with it, an event that may
/// happen more than once in a life is told from its like.
pub fn record(
    event: &MessageEvent,
    after: &Message,
    context: &Context,
    details: Details,
    expected: u64,
    now: Timestamp,
) -> Option<Record> {
    let payload = payload(event, context, details)?;
    let (attempt, cause) = match event {
        MessageEvent::AttemptStarted { attempt, .. }
        | MessageEvent::AttemptAccepted { attempt, .. }
        | MessageEvent::AttemptRejected { attempt, .. }
        | MessageEvent::AttemptUnknown { attempt, .. }
        | MessageEvent::AttemptAbandoned { attempt, .. }
        | MessageEvent::DeliveryContradicted { attempt, .. } => (*attempt, String::new()),
        MessageEvent::DeliveryAdvanced {
            attempt, status, ..
        } => (*attempt, delivery(*status).as_str_name().to_owned()),
        MessageEvent::Requested { .. }
        | MessageEvent::Held { .. }
        | MessageEvent::Released { .. }
        | MessageEvent::Deferred { .. }
        | MessageEvent::Billed { .. }
        | MessageEvent::DeliveryOverdue { .. }
        | MessageEvent::DoubleExposure { .. }
        | MessageEvent::Ended { .. }
        | MessageEvent::Expired { .. }
        | MessageEvent::Cancelled { .. } => (0, expected.to_string()),
    };
    let id = id::message_event(&context.id, payload.event_type(), attempt, &cause);
    Some(finish(
        Record::new(subject::message(&context.id), id, SOURCE, now, payload),
        after,
        context,
    ))
}

/// Returns the record of a request.
pub fn requested(
    request: v1::MessageRequested,
    after: &Message,
    context: &Context,
    now: Timestamp,
) -> Record {
    let event = Event::from(request);
    let id = id::message_event(&context.id, event.event_type(), 0, "");
    finish(
        Record::new(subject::message(&context.id), id, SOURCE, now, event),
        after,
        context,
    )
}

fn finish(record: Record, after: &Message, context: &Context) -> Record {
    let Conversation {
        number,
        customer,
        brand,
        ..
    } = &context.conversation;
    record
        .about(context.id.as_str())
        .with(Extension::Number, number.digits())
        .with(Extension::Brand, brand)
        .with(Extension::Customer, customer.as_str())
        .with(Extension::State, after.state())
        .with(Extension::RequestTime, context.requested_at.to_string())
        .with(Extension::Priority, context.priority.as_str())
        .with(
            Extension::ClientReference,
            printable(&context.client_reference),
        )
        .with(
            Extension::QuotaTime,
            context
                .quota_at
                .map(|at| at.to_string())
                .unwrap_or_default(),
        )
        .with_deadline(after.deadline())
}

/// A caller's reference as a header may carry it: what is not printable ASCII is left out.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|letter| letter.is_ascii_graphic() || *letter == ' ')
        .take(128)
        .collect()
}

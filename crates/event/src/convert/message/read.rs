//! Reading what happened to messages. Writing is next door.

use casement_domain::message::{Event as MessageEvent, KeptBack, OnUnknown, Rejection};
use casement_domain::routing::Route;
use casement_proto::events::v1;

use super::{read_delivery, read_failover, read_outcome, read_route};
use crate::Event;
use crate::convert::{ConvertError, instant, required_instant};

fn read_routes(stored: impl Iterator<Item = v1::Route>) -> Vec<Route> {
    stored.filter_map(read_route).collect()
}

/// Reads what happened; `None` if the event is of another family.
pub fn read(event: &Event) -> Result<Option<MessageEvent>, ConvertError> {
    let time = required_instant;
    Ok(Some(match event {
        Event::MessageRequested(event) => MessageEvent::Requested {
            requested_at: time("request_time", event.request_time.as_ref())?,
            // The later of both, if there are any.
            send_at: instant("send_time", event.send_time.as_ref())?
                .max(instant("quota_time", event.quota_time.as_ref())?),
            expires_at: time("expire_time", event.expire_time.as_ref())?,
            failover: read_failover(event.failover.as_ref()),
        },
        Event::MessageHeld(event) => MessageEvent::Held {
            at: time("hold_time", event.hold_time.as_ref())?,
            recheck_at: time("recheck_time", event.recheck_time.as_ref())?,
            expires_at: time("expire_time", event.expire_time.as_ref())?,
        },
        Event::MessageReleased(event) => MessageEvent::Released {
            at: time("release_time", event.release_time.as_ref())?,
            cause: event.cause.clone(),
        },
        Event::MessageDeferred(event) => MessageEvent::Deferred {
            // Early ones did not say when.
            at: time("until_time", event.defer_time.or(event.until_time).as_ref())?,
            until: time("until_time", event.until_time.as_ref())?,
            cause: event.cause.clone(),
            halt: event.halt_id.clone(),
        },
        Event::AttemptStarted(event) => MessageEvent::AttemptStarted {
            attempt: event.attempt,
            route: read_route(event.route()).ok_or(ConvertError::Absent("route"))?,
            gateway: event.sms_gateway.clone(),
            other_gateways: event.other_sms_gateways.clone(),
            at: time("start_time", event.start_time.as_ref())?,
            call_by: time("call_by_time", event.call_by_time.as_ref())?,
            outcome_by: time("outcome_by_time", event.outcome_by_time.as_ref())?,
        },
        Event::AttemptAccepted(event) => MessageEvent::AttemptAccepted {
            attempt: event.attempt,
            provider_id: event.provider_message_id.clone(),
            at: time("accept_time", event.accept_time.as_ref())?,
            from_report: event.from_report,
            reports_until: time("reports_until_time", event.reports_until_time.as_ref())?,
            kept_back: KeptBack::parse(&event.provider_status).filter(|_| !event.from_report),
            overdue_at: instant("overdue_time", event.overdue_time.as_ref())?,
        },
        Event::AttemptRejected(event) => MessageEvent::AttemptRejected {
            attempt: event.attempt,
            at: time("reject_time", event.reject_time.as_ref())?,
            rejection: Rejection {
                code: event
                    .error
                    .as_ref()
                    .map(|error| error.code)
                    .unwrap_or_default(),
                action: event.action.clone(),
                exhausted: read_routes(event.exhausted_routes()),
                exhausted_gateways: event.exhausted_sms_gateways.clone(),
                retry_at: instant("retry_time", event.retry_time.as_ref())?,
            },
            from_report: event.from_report,
        },
        Event::AttemptUnknown(event) => MessageEvent::AttemptUnknown {
            attempt: event.attempt,
            at: time("unknown_time", event.unknown_time.as_ref())?,
            reason: event.reason.clone(),
            reconcile_until: time("reconcile_until_time", event.reconcile_until_time.as_ref())?,
        },
        Event::AttemptAbandoned(event) => MessageEvent::AttemptAbandoned {
            attempt: event.attempt,
            at: time("abandon_time", event.abandon_time.as_ref())?,
            policy: match event.policy.as_str() {
                "NEXT_ROUTE" => OnUnknown::NextRoute,
                "RETRY" => OnUnknown::Retry,
                // What is not understood must not send again.
                _ => OnUnknown::GiveUp,
            },
            exhausted: read_routes(event.exhausted_routes()),
        },
        Event::DeliveryOverdue(event) => MessageEvent::DeliveryOverdue {
            attempt: event.attempt,
            at: time("overdue_time", event.overdue_time.as_ref())?,
            moves_on: event.moves_on,
            is_risky: event.duplicate_risk,
            exhausted: read_routes(event.exhausted_routes()),
            reports_until: time("reports_until_time", event.reports_until_time.as_ref())?,
        },
        Event::DeliveryAdvanced(event) => MessageEvent::DeliveryAdvanced {
            attempt: event.attempt,
            status: read_delivery(event.status()).ok_or(ConvertError::Absent("status"))?,
            at: time("event_time", event.event_time.as_ref())?,
        },
        Event::DeliveryContradicted(event) => MessageEvent::DeliveryContradicted {
            attempt: event.attempt,
            code: event
                .error
                .as_ref()
                .map(|error| error.code)
                .unwrap_or_default(),
            known: read_delivery(event.known_status())
                .ok_or(ConvertError::Absent("known_status"))?,
            at: time("event_time", event.event_time.as_ref())?,
        },
        Event::MessageBilled(event) => MessageEvent::Billed {
            attempt: event.attempt,
            at: time("event_time", event.event_time.as_ref())?,
        },
        Event::DoubleExposure(event) => {
            let [first, second] = event.attempts[..] else {
                return Err(ConvertError::Absent("attempts"));
            };
            MessageEvent::DoubleExposure {
                attempts: [first, second],
                at: time("event_time", event.event_time.as_ref())?,
            }
        }
        Event::MessageEnded(event) => MessageEvent::Ended {
            outcome: read_outcome(event.outcome()).ok_or(ConvertError::Absent("outcome"))?,
            reason: event.reason.clone(),
            at: time("end_time", event.end_time.as_ref())?,
        },
        Event::MessageExpired(event) => MessageEvent::Expired {
            at: time("expire_time", event.expire_time.as_ref())?,
        },
        Event::MessageCancelled(event) => MessageEvent::Cancelled {
            at: time("cancel_time", event.cancel_time.as_ref())?,
        },
        _ => return Ok(None),
    }))
}

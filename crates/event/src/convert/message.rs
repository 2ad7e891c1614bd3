//! Outbound messages, to and from what is stored.

use casement_domain::id::MessageId;
use casement_domain::message::{
    DeliveryStatus, Event as MessageEvent, Message, OnUnknown, Outcome, Rejection,
};
use casement_domain::routing::{Decision, Purpose, Route, Verdict};
use casement_proto::events::v1;
use jiff::Timestamp;

use super::window::Conversation;
use super::{ConvertError, instant, required_instant, timestamp};
use crate::record::Extension;
use crate::{Event, Record, id, subject};

/// What every event of one message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: Conversation,
    /// The caller's own reference; empty if none.
    pub client_reference: String,
    /// When it was requested.
    pub requested_at: Timestamp,
}

/// What an event carries besides what the rules need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Why it went this way.
    pub decision: Option<v1::Decision>,
    /// What the provider said.
    pub error: Option<v1::ProviderError>,
    /// The provider's own word for the state of an accepted message.
    pub provider_status: String,
    /// What it costs, if a report said so.
    pub pricing: Option<v1::Pricing>,
    /// The process that claimed.
    pub claimant: String,
    /// The name of the token that asked.
    pub caller: String,
}

/// Returns a route as stored.
pub fn route(of: Route) -> v1::Route {
    match of {
        Route::FreeForm => v1::Route::FreeForm,
        Route::Template => v1::Route::Template,
        Route::Sms => v1::Route::Sms,
        Route::Hold => v1::Route::Hold,
    }
}

/// Reads a route; `None` if none was stored.
pub fn read_route(stored: v1::Route) -> Option<Route> {
    match stored {
        v1::Route::FreeForm => Some(Route::FreeForm),
        v1::Route::Template => Some(Route::Template),
        v1::Route::Sms => Some(Route::Sms),
        v1::Route::Hold => Some(Route::Hold),
        v1::Route::Unspecified => None,
    }
}

/// Reads a purpose; `None` if none was stored.
pub fn read_purpose(stored: v1::Purpose) -> Option<Purpose> {
    match stored {
        v1::Purpose::Service => Some(Purpose::Service),
        v1::Purpose::Utility => Some(Purpose::Utility),
        v1::Purpose::Authentication => Some(Purpose::Authentication),
        v1::Purpose::Marketing => Some(Purpose::Marketing),
        v1::Purpose::Unspecified => None,
    }
}

/// Returns a decision as stored, and as the API shows it.
pub fn decision(of: &Decision) -> v1::Decision {
    let candidates = of.candidates.iter().map(|candidate| v1::Candidate {
        route: route(candidate.route).into(),
        verdict: match candidate.verdict {
            Verdict::Chosen => v1::Verdict::Chosen,
            Verdict::Eligible => v1::Verdict::Eligible,
            Verdict::RuledOut => v1::Verdict::RuledOut,
        }
        .into(),
        reason: candidate.reason.to_owned(),
        facts: candidate.facts.clone(),
        text: candidate.text.clone(),
    });
    let sms = of.sms.as_ref();
    v1::Decision {
        chosen_route: of.chosen.map_or(v1::Route::Unspecified, route).into(),
        candidates: candidates.collect(),
        policy: of.policy.clone(),
        decide_time: Some(timestamp(of.decided_at)),
        next_change_time: of.next_change_at.map(timestamp),
        earliest_send_time: Some(timestamp(of.earliest_send_at)),
        window_open: of.window_open,
        window_expire_time: of.window_expires_at.map(timestamp),
        template_category: of
            .template_category
            .map(|one| one.as_str().to_owned())
            .unwrap_or_default(),
        sms_encoding: sms.map(|size| size.encoding.to_owned()).unwrap_or_default(),
        sms_segments: sms.map(|size| size.segments).unwrap_or_default(),
        hold_until_time: Some(timestamp(of.hold_until)),
    }
}

/// Returns a delivery status as stored.
pub fn delivery(of: DeliveryStatus) -> v1::DeliveryStatus {
    match of {
        DeliveryStatus::Sent => v1::DeliveryStatus::Sent,
        DeliveryStatus::Delivered => v1::DeliveryStatus::Delivered,
        DeliveryStatus::Read => v1::DeliveryStatus::Read,
        DeliveryStatus::Played => v1::DeliveryStatus::Played,
    }
}

/// Reads a delivery status; `None` for failed and for what was not stored.
pub fn read_delivery(stored: v1::DeliveryStatus) -> Option<DeliveryStatus> {
    match stored {
        v1::DeliveryStatus::Sent => Some(DeliveryStatus::Sent),
        v1::DeliveryStatus::Delivered => Some(DeliveryStatus::Delivered),
        v1::DeliveryStatus::Read => Some(DeliveryStatus::Read),
        v1::DeliveryStatus::Played => Some(DeliveryStatus::Played),
        v1::DeliveryStatus::Failed | v1::DeliveryStatus::Unspecified => None,
    }
}

/// Returns an outcome as stored.
pub fn outcome(of: Outcome) -> v1::MessageOutcome {
    match of {
        Outcome::Delivered => v1::MessageOutcome::Delivered,
        Outcome::Unconfirmed => v1::MessageOutcome::Unconfirmed,
        Outcome::Failed => v1::MessageOutcome::Failed,
        Outcome::Expired => v1::MessageOutcome::Expired,
        Outcome::Cancelled => v1::MessageOutcome::Cancelled,
        Outcome::Unknown => v1::MessageOutcome::Unknown,
        Outcome::UnreachableBySms => v1::MessageOutcome::UnreachableBySms,
    }
}

fn read_outcome(stored: v1::MessageOutcome) -> Option<Outcome> {
    match stored {
        v1::MessageOutcome::Delivered => Some(Outcome::Delivered),
        v1::MessageOutcome::Unconfirmed => Some(Outcome::Unconfirmed),
        v1::MessageOutcome::Failed => Some(Outcome::Failed),
        v1::MessageOutcome::Expired => Some(Outcome::Expired),
        v1::MessageOutcome::Cancelled => Some(Outcome::Cancelled),
        v1::MessageOutcome::Unknown => Some(Outcome::Unknown),
        v1::MessageOutcome::UnreachableBySms => Some(Outcome::UnreachableBySms),
        v1::MessageOutcome::Unspecified => None,
    }
}

fn routes(of: &[Route]) -> Vec<i32> {
    of.iter().map(|one| route(*one).into()).collect()
}

fn read_routes(stored: impl Iterator<Item = v1::Route>) -> Vec<Route> {
    stored.filter_map(read_route).collect()
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
        MessageEvent::Deferred { until, cause } => {
            let (until_time, cause) = (time(until), cause.clone());
            v1::MessageDeferred {
                message_id,
                conversation,
                until_time,
                cause,
            }
            .into()
        }
        MessageEvent::AttemptStarted {
            attempt,
            route: by,
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
        }
        .into(),
        MessageEvent::AttemptAccepted {
            attempt,
            provider_id,
            at,
            from_report,
            reports_until,
        } => v1::AttemptAccepted {
            message_id,
            conversation,
            attempt: *attempt,
            provider_message_id: provider_id.clone(),
            accept_time: time(at),
            provider_status: details.provider_status,
            from_report: *from_report,
            reports_until_time: time(reports_until),
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

/// Reads what happened; `None` if the event is of another family.
pub fn read(event: &Event) -> Result<Option<MessageEvent>, ConvertError> {
    let time = required_instant;
    Ok(Some(match event {
        Event::MessageRequested(event) => MessageEvent::Requested {
            requested_at: time("request_time", event.request_time.as_ref())?,
            send_at: instant("send_time", event.send_time.as_ref())?,
            expires_at: time("expire_time", event.expire_time.as_ref())?,
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
            until: time("until_time", event.until_time.as_ref())?,
            cause: event.cause.clone(),
        },
        Event::AttemptStarted(event) => MessageEvent::AttemptStarted {
            attempt: event.attempt,
            route: read_route(event.route()).ok_or(ConvertError::Absent("route"))?,
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

const SOURCE: &str = "casement/dispatcher";

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
        .with(
            Extension::ClientReference,
            printable(&context.client_reference),
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

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId};
    use casement_domain::message::evolve;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn every_event() -> Vec<MessageEvent> {
        let rejection = Rejection {
            code: 131_026,
            action: "NEXT_CHANNEL".to_owned(),
            exhausted: vec![Route::FreeForm, Route::Template],
            retry_at: Some(at(9)),
        };
        vec![
            MessageEvent::Held {
                at: at(1),
                recheck_at: at(2),
                expires_at: at(3),
            },
            MessageEvent::Released {
                at: at(1),
                cause: "WINDOW_OPENED".to_owned(),
            },
            MessageEvent::Deferred {
                until: at(2),
                cause: "NUMBER_PAUSED".to_owned(),
            },
            MessageEvent::AttemptStarted {
                attempt: 1,
                route: Route::Sms,
                at: at(1),
                call_by: at(2),
                outcome_by: at(3),
            },
            MessageEvent::AttemptAccepted {
                attempt: 1,
                provider_id: "wamid.1".to_owned(),
                at: at(1),
                from_report: true,
                reports_until: at(2),
            },
            MessageEvent::AttemptRejected {
                attempt: 1,
                at: at(1),
                rejection,
                from_report: true,
            },
            MessageEvent::AttemptUnknown {
                attempt: 1,
                at: at(1),
                reason: "TIMED_OUT".to_owned(),
                reconcile_until: at(2),
            },
            MessageEvent::AttemptAbandoned {
                attempt: 1,
                at: at(1),
                policy: OnUnknown::NextRoute,
                exhausted: vec![Route::FreeForm],
            },
            MessageEvent::DeliveryAdvanced {
                attempt: 1,
                status: DeliveryStatus::Read,
                at: at(1),
            },
            MessageEvent::DeliveryContradicted {
                attempt: 1,
                code: 131_026,
                known: DeliveryStatus::Delivered,
                at: at(1),
            },
            MessageEvent::Ended {
                outcome: Outcome::Failed,
                reason: "NO_ROUTE".to_owned(),
                at: at(1),
            },
            MessageEvent::Expired { at: at(1) },
            MessageEvent::Cancelled { at: at(1) },
        ]
    }

    #[test]
    fn every_event_of_a_message_reads_back_as_it_was_written() {
        let number = BusinessNumber::parse("15550001111").unwrap();
        let context = Context {
            id: MessageId::new(&number, 7),
            conversation: Conversation {
                number,
                customer: CustomerId::parse("c1").unwrap(),
                brand: "default".to_owned(),
                portfolio: "p".to_owned(),
            },
            client_reference: "order 7\r\n".to_owned(),
            requested_at: at(0),
        };
        let requested = MessageEvent::Requested {
            requested_at: at(0),
            send_at: None,
            expires_at: at(99),
        };
        let fresh = evolve(None, &requested).unwrap();
        for event in every_event() {
            let after = evolve(Some(fresh.clone()), &event).unwrap();
            let record = record(&event, &after, &context, Details::default(), 5, at(1)).unwrap();
            assert_eq!(read(&record.event).unwrap().as_ref(), Some(&event));
            let reference = record
                .extensions
                .iter()
                .find(|(name, _)| *name == Extension::ClientReference);
            assert_eq!(
                reference.unwrap().1,
                "order 7",
                "a header carries no line breaks"
            );
        }
    }
}

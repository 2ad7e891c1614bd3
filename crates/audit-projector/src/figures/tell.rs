//! What an event tells: facts about things that count, and what else numbers are shown by.
//!
//! Pure, and total: what an event does not say counts nothing.

use casement_domain::failover::ErrorClass;
use casement_event::v1::{self, CostBasis, DeliveryStatus, MessageOutcome, Route};
use casement_event::{Event, Stored, convert};
use prost::Message as _;

use super::histogram;
use super::thing::{Attempt, Ended, Failed, Measure, Once, Price, Requested, Started, Thing};
use crate::index;
use crate::model::KEY_LEN_MAX;
use crate::store::RecordKind;

/// The thing that a message is.
pub(super) fn message(message_id: &str) -> String {
    format!("m/{message_id}")
}

/// Returns what an event tells, by thing.
pub(super) fn facts(stored: &Stored, event: &Event) -> Vec<(String, Thing)> {
    let found = match event {
        Event::LateFact(late) => match Event::decode(&late.fact_type, &late.fact) {
            Ok(fact) => once(stored, &fact, &late.fact_id),
            Err(_) => None,
        },
        _ => once(stored, event, index::event_id(stored)).or_else(|| of_message(stored, event)),
    };
    found
        .filter(|(name, _)| name.len() <= KEY_LEN_MAX)
        .into_iter()
        .collect()
}

fn seconds(stored: &Stored, time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or_else(
        || index::event_time(stored).as_second(),
        |time| time.seconds,
    )
}

fn once(stored: &Stored, event: &Event, fact_id: &str) -> Option<(String, Thing)> {
    let of = index::conversation(event)?;
    let at = |times: Option<&v1::Times>| {
        seconds(stored, times.and_then(|times| times.event_time.as_ref()))
    };
    let counted = |name: String, at: i64, items: Vec<(Measure, String, i64)>| {
        let once = Once {
            at,
            brand_id: of.brand_id.clone(),
            number: of.number.clone(),
            items,
        };
        let thing = Thing {
            once: Some(once),
            ..Thing::default()
        };
        Some((name, thing))
    };
    let received = |channel: &str| vec![(Measure::Received, channel.to_owned(), 1)];
    let is_nobody = of.number.is_empty() || fact_id.is_empty();
    if is_nobody || of.brand_id.len() > KEY_LEN_MAX || of.number.len() > KEY_LEN_MAX {
        return None;
    }
    match event {
        Event::InboundMessageReceived(event) => counted(
            format!("f/{fact_id}"),
            at(event.times.as_ref()),
            received("WHATSAPP"),
        ),
        Event::InboundSmsReceived(event) => counted(
            format!("f/{fact_id}"),
            at(event.times.as_ref()),
            received("SMS"),
        ),
        // One call brings several events.
        Event::InboundCallReceived(event) if event.qualifies => {
            let name = format!("c/{}/{}", of.number, event.provider_call_id);
            counted(
                name,
                at(event.times.as_ref()),
                vec![(Measure::Calls, String::new(), 1)],
            )
        }
        Event::WindowExpired(event) => {
            let window = event.window.as_ref()?;
            window.waiting_since_time.as_ref()?;
            let ended = seconds(stored, window.expire_time.as_ref());
            let items = vec![(Measure::ExpiredUnanswered, String::new(), 1)];
            counted(format!("w/{}", window.window_id), ended, items)
        }
        Event::CustomerAnswered(event) => {
            let instant = |time| convert::instant("time", time).ok().flatten();
            let answered = instant(event.answered_time.as_ref())?;
            let since = instant(event.waiting_since_time.as_ref())?;
            let millis = answered.as_millisecond() - since.as_millisecond();
            let millis = u64::try_from(millis).unwrap_or_default();
            let name = format!("r/{}/{}/{since}", of.number, of.customer_id);
            let items = vec![
                (Measure::Responses, String::new(), 1),
                (
                    Measure::ResponseMillis,
                    String::new(),
                    i64::try_from(millis).unwrap_or(i64::MAX),
                ),
                (
                    Measure::ResponsesByClass,
                    histogram::class(millis).to_string(),
                    1,
                ),
            ];
            counted(name, answered.as_second(), items)
        }
        _ => None,
    }
}

fn of_message(stored: &Stored, event: &Event) -> Option<(String, Thing)> {
    let now = |time: Option<&prost_types::Timestamp>| seconds(stored, time);
    let ended = |rank, at, outcome: MessageOutcome| Thing {
        ended: Some(Ended {
            rank,
            at,
            outcome: word(outcome.as_str_name(), "MESSAGE_OUTCOME_"),
        }),
        ..Thing::default()
    };
    let (message_id, mut thing) = match event {
        Event::MessageRequested(event) => (&event.message_id, requested(stored, event)?),
        Event::MessageHeld(event) => {
            let held = Some(now(event.hold_time.as_ref()));
            let thing = Thing {
                held,
                ..Thing::default()
            };
            (&event.message_id, thing)
        }
        Event::AttemptStarted(event) => {
            let decision = event.decision.as_ref();
            let started = Started {
                at: now(event.start_time.as_ref()),
                route: word(event.route().as_str_name(), "ROUTE_"),
                gateway: event.sms_gateway.clone(),
                in_window: decision.is_some_and(|decision| decision.window_open),
            };
            if event.route() == Route::Unspecified {
                return None;
            }
            let attempt = Attempt {
                started: Some(started),
                ..Attempt::default()
            };
            (&event.message_id, tried(event.attempt, attempt))
        }
        Event::AttemptAccepted(event) => {
            let attempt = Attempt {
                accepted: Some(now(event.accept_time.as_ref())),
                ..Attempt::default()
            };
            (&event.message_id, tried(event.attempt, attempt))
        }
        Event::AttemptRejected(event) => {
            let failed = class(&event.action).map(|class| Failed {
                is_unknown: class == UNKNOWN,
                at: now(event.reject_time.as_ref()),
                class: class.to_owned(),
            });
            let attempt = Attempt {
                failed,
                ..Attempt::default()
            };
            (&event.message_id, tried(event.attempt, attempt))
        }
        Event::AttemptUnknown(event) => {
            let attempt = Attempt {
                unknown: Some(now(event.unknown_time.as_ref())),
                ..Attempt::default()
            };
            (&event.message_id, tried(event.attempt, attempt))
        }
        Event::DeliveryAdvanced(event) => {
            let at = Some(now(event.event_time.as_ref()));
            let mut attempt = Attempt::default();
            match event.status() {
                DeliveryStatus::Delivered => attempt.delivered = at,
                DeliveryStatus::Read | DeliveryStatus::Played => attempt.read = at,
                DeliveryStatus::Failed => {
                    attempt.failed = at.map(|at| Failed {
                        is_unknown: true,
                        at,
                        class: UNKNOWN.to_owned(),
                    });
                }
                DeliveryStatus::Sent | DeliveryStatus::Unspecified => {}
            }
            (&event.message_id, tried(event.attempt, attempt))
        }
        Event::MessageBilled(event) => {
            (&event.message_id, tried(event.attempt, Attempt::default()))
        }
        Event::MessageEnded(event) => {
            let at = now(event.end_time.as_ref());
            (&event.message_id, ended(0, at, event.outcome()))
        }
        Event::MessageExpired(event) => {
            let at = now(event.expire_time.as_ref());
            (&event.message_id, ended(1, at, MessageOutcome::Expired))
        }
        Event::MessageCancelled(event) => {
            let at = now(event.cancel_time.as_ref());
            (&event.message_id, ended(1, at, MessageOutcome::Cancelled))
        }
        _ => return None,
    };
    if let Some((number, cost)) = convert::message::money::cost_of(event) {
        thing.attempts.entry(number).or_default().cost = price(cost);
    }
    Some((message(message_id), thing))
}

fn tried(number: u32, attempt: Attempt) -> Thing {
    Thing {
        attempts: [(number, attempt)].into(),
        ..Thing::default()
    }
}

fn requested(stored: &Stored, event: &v1::MessageRequested) -> Option<Thing> {
    let of = event.conversation.as_ref()?;
    if [&of.brand_id, &of.number]
        .iter()
        .any(|key| key.len() > KEY_LEN_MAX)
    {
        return None;
    }
    let template = event
        .content
        .as_ref()
        .and_then(|content| content.template.as_ref());
    let template = template.map(|template| format!("{}/{}", template.name, template.language));
    let mut labels: Vec<String> = event
        .labels
        .iter()
        .map(|label| format!("{}={}", label.key, label.value))
        .filter(|label| label.len() <= 2 * KEY_LEN_MAX)
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let requested = Requested {
        at: seconds(stored, event.request_time.as_ref()),
        brand_id: of.brand_id.clone(),
        number: of.number.clone(),
        labels,
        template: template.unwrap_or_default(),
    };
    Some(Thing {
        requested: Some(requested),
        ..Thing::default()
    })
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

/// What no table knows.
const UNKNOWN: &str = "unknown";

/// The class of error that led to an action of the error table; `None` if nobody was called.
fn class(action: &str) -> Option<&'static str> {
    Some(match action {
        "STOPPED" => return None,
        "RETRY" | "RETRY_AFTER" => "temporary",
        "CAPPED" => "capped",
        "HALTED" => "halted",
        "FAIL" => "refused",
        "THREAD_CONTROL" => ErrorClass::ThreadOwned.as_str(),
        "SWITCH_TO_TEMPLATE" => ErrorClass::WindowClosed.as_str(),
        "TEMPLATE_UNUSABLE" => ErrorClass::TemplateUnusable.as_str(),
        "NEXT_GATEWAY" => ErrorClass::GatewaysFailed.as_str(),
        "UNREACHABLE_BY_SMS" => ErrorClass::UnreachableBySms.as_str(),
        "NEXT_CHANNEL" => ErrorClass::Undeliverable.as_str(),
        _ => UNKNOWN,
    })
}

fn price(cost: &v1::Cost) -> Option<Price> {
    let rank = match cost.basis() {
        CostBasis::Estimated => 1,
        CostBasis::Reported => 2,
        CostBasis::NotDelivered => 3,
        CostBasis::Unspecified => return None,
    };
    let amount = cost.amount.clone().unwrap_or_default();
    Some(Price {
        rank,
        category: cost.category.clone(),
        currency: amount.currency,
        micros: i64::try_from(amount.micros).unwrap_or(i64::MAX),
    })
}

/// Returns of which number the platform told something, and when that was received, in nanoseconds.
pub(super) fn webhook(event: &Event) -> Option<(String, i64)> {
    let of =
        |conversation: &Option<v1::Conversation>| conversation.as_ref().map(|of| of.number.clone());
    let (number, times) = match event {
        Event::InboundMessageReceived(event) => (of(&event.conversation)?, &event.times),
        Event::InboundCallReceived(event) => (of(&event.conversation)?, &event.times),
        Event::CustomerIdentityChanged(event) => (of(&event.conversation)?, &event.times),
        Event::CustomerPreferenceReported(event) => (of(&event.conversation)?, &event.times),
        Event::ThreadOwnerChanged(event) => (of(&event.conversation)?, &event.times),
        Event::EchoReceived(event) => (of(&event.conversation)?, &event.times),
        Event::HistoryImported(event) => (of(&event.conversation)?, &event.times),
        Event::StatusReported(event) if event.channel() == v1::Channel::Whatsapp => {
            (event.number.clone(), &event.times)
        }
        Event::ForeignStatusReported(event) => (event.number.clone(), &event.times),
        Event::GroupEventReceived(event) => (event.number.clone(), &event.times),
        Event::WebhookUnrecognized(event) => (event.number.clone(), &event.times),
        Event::AccountReported(event) => (event.number.clone(), &event.times),
        Event::AppContactReported(event) => (event.number.clone(), &event.times),
        _ => return None,
    };
    let received = times.as_ref()?.received_time.as_ref();
    let at = convert::instant("received_time", received).ok().flatten()?;
    let is_one = (1..=KEY_LEN_MAX).contains(&number.len());
    is_one.then(|| (number, crate::model::nanoseconds(at)))
}

/// Returns which message was sent to whom: portfolio and customer.
pub(super) fn written_to(event: &Event) -> Option<(String, String, String)> {
    let (message_id, of) = match event {
        Event::AttemptStarted(event) => (&event.message_id, event.conversation.as_ref()?),
        Event::AttemptAccepted(event) => (&event.message_id, event.conversation.as_ref()?),
        _ => return None,
    };
    let is_known = [&of.portfolio_id, &of.customer_id]
        .iter()
        .all(|key| (1..=KEY_LEN_MAX).contains(&key.len()));
    is_known.then(|| {
        (
            message_id.clone(),
            of.portfolio_id.clone(),
            of.customer_id.clone(),
        )
    })
}

/// Returns the record that an event carries: what of, its name, itself; empty if it is no longer so.
pub(super) fn record(event: &Event) -> Option<(RecordKind, String, Vec<u8>)> {
    let number = |number: &Option<v1::Number>| {
        let number = number.as_ref()?;
        Some((
            RecordKind::Number,
            number.number.clone(),
            number.encode_to_vec(),
        ))
    };
    let found = match event {
        Event::BrandRecorded(event) => {
            let brand = event.brand.as_ref()?;
            (
                RecordKind::Brand,
                brand.brand_id.clone(),
                brand.encode_to_vec(),
            )
        }
        Event::NumberRecorded(event) => number(&event.number)?,
        Event::NumberPaused(event) => number(&event.number)?,
        Event::NumberResumed(event) => number(&event.number)?,
        Event::NumberMigratedAway(event) => number(&event.number)?,
        Event::NumberReturned(event) => number(&event.number)?,
        Event::NumberHealthChanged(event) => {
            let health = event.health.as_ref()?;
            (
                RecordKind::Health,
                health.number.clone(),
                health.encode_to_vec(),
            )
        }
        Event::TemplateRecorded(event) => {
            let template = event.template.as_ref()?;
            let name = format!(
                "{}/{}/{}",
                template.waba_id, template.name, template.language
            );
            // What it is made of is the accounts role's to tell, and large.
            let kept = v1::Template {
                definition: None,
                body: String::new(),
                body_parameter_names: Vec::new(),
                ..template.clone()
            };
            (RecordKind::Template, name, kept.encode_to_vec())
        }
        Event::SendsHalted(event) => {
            let halt = event.halt.as_ref()?;
            (RecordKind::Halt, halt.halt_id.clone(), halt.encode_to_vec())
        }
        Event::SendsResumed(event) => {
            let halt = event.halt.as_ref()?;
            (RecordKind::Halt, halt.halt_id.clone(), Vec::new())
        }
        _ => return None,
    };
    (1..=4 * KEY_LEN_MAX)
        .contains(&found.1.len())
        .then_some(found)
}

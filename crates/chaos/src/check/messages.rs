//! Messages: every call has its claim, every message its end, every risk its record.

use std::collections::BTreeMap;

use casement_event::Event;
use casement_event::v1::MessageOutcome as Outcome;
use jiff::SignedDuration;

use super::{Claim, Violation};
use crate::history::{Call, Entry, History};

/// By how much the broker's clock and the platform's may part on one machine.
const CLOCKS_PART_MAX: SignedDuration = SignedDuration::from_millis(50);

pub(super) fn detail(event: &Event) -> Option<String> {
    Some(match event {
        Event::MessageRequested(event) => {
            let until = crate::history::time(event.expire_time.as_ref());
            let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
            format!("until {until}")
        }
        Event::MessageDeferred(event) => format!("for {}", event.halt_id),
        Event::AttemptStarted(event) => format!("{} {:?}", event.attempt, event.route()),
        Event::AttemptAccepted(event) => format!("{} {}", event.attempt, event.provider_status),
        Event::AttemptRejected(event) => format!("{} {}", event.attempt, event.action),
        Event::AttemptUnknown(event) => format!("{} {}", event.attempt, event.reason),
        Event::AttemptAbandoned(event) => {
            format!(
                "{} {} risk {}",
                event.attempt, event.policy, event.duplicate_risk
            )
        }
        Event::DeliveryAdvanced(event) => format!("{} {:?}", event.attempt, event.status()),
        Event::MessageEnded(event) => format!("{:?} {}", event.outcome(), event.reason),
        _ => return None,
    })
}

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut messages: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in lives(history) {
        messages.entry(entry.about()).or_default().push(entry);
    }
    let mut calls: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in &history.calls {
        calls.entry(call.message()).or_default().push(call);
    }
    for (id, calls) in &calls {
        let life = messages.get(id).map(Vec::as_slice).unwrap_or_default();
        one_call_per_attempt(id, life, calls, found);
    }
    for (id, life) in &messages {
        let calls = calls.get(id).map(Vec::as_slice).unwrap_or_default();
        ends(id, life, found);
        books_agree(id, life, calls, found);
    }
}

/// Returns what belongs to the lives of messages.
pub(super) fn lives(history: &History) -> impl Iterator<Item = &Entry> {
    history.log.iter().filter(|entry| {
        entry.stream == "MESSAGES" && entry.subject.starts_with("casement.events.message.")
    })
}

fn one_call_per_attempt(id: &str, life: &[&Entry], calls: &[&Call], found: &mut Vec<Violation>) {
    let mut broken = |what: String| {
        found.push(Violation::new(
            Claim::OneCallPerAttempt,
            what,
            life.iter().copied(),
        ));
    };
    let mut seen = BTreeMap::new();
    for call in calls {
        if seen.insert(call.number(), call).is_some() {
            broken(format!("attempt {} was called twice", call.attempt));
        }
        let claim = life.iter().find(|entry| {
            matches!(&entry.event, Event::AttemptStarted(claim) if claim.attempt == call.number())
        });
        match claim {
            None => broken(format!(
                "{id} was called for {} without a claim",
                call.attempt
            )),
            Some(claim) if call.at + CLOCKS_PART_MAX < claim.stored_at => {
                broken(format!(
                    "{} was called at {} before its claim",
                    call.attempt, call.at
                ));
            }
            Some(_) => {}
        }
    }
}

fn ends(id: &str, life: &[&Entry], found: &mut Vec<Violation>) {
    let mut broken = |what: String| {
        found.push(Violation::new(
            Claim::EveryMessageEnds,
            what,
            life.iter().copied(),
        ));
    };
    let is_end = |entry: &&&Entry| {
        matches!(
            &entry.event,
            Event::MessageEnded(_) | Event::MessageExpired(_) | Event::MessageCancelled(_)
        )
    };
    let ends: Vec<_> = life.iter().filter(is_end).collect();
    if ends.len() != 1 {
        broken(format!("message {id} has {} ends", ends.len()));
    }
    for entry in ends {
        // To expire and to be cancelled are reasons of their own.
        if let Event::MessageEnded(end) = &entry.event
            && (end.outcome() == Outcome::Unspecified
                || (end.outcome() != Outcome::Delivered && end.reason.is_empty()))
        {
            broken(format!("message {id} ended without an outcome or a reason"));
        }
    }
    for entry in life {
        let Event::AttemptStarted(claim) = &entry.event else {
            continue;
        };
        if claim
            .decision
            .as_ref()
            .is_none_or(|decision| decision.candidates.is_empty())
        {
            broken(format!("attempt {} of {id} has no decision", claim.attempt));
        }
        let has_outcome = life.iter().any(|entry| match &entry.event {
            Event::AttemptAccepted(outcome) => outcome.attempt == claim.attempt,
            Event::AttemptRejected(outcome) => outcome.attempt == claim.attempt,
            Event::AttemptUnknown(outcome) => outcome.attempt == claim.attempt,
            _ => false,
        });
        if !has_outcome {
            broken(format!("attempt {} of {id} has no outcome", claim.attempt));
        }
    }
}

fn books_agree(id: &str, life: &[&Entry], calls: &[&Call], found: &mut Vec<Violation>) {
    let mut broken = |what: String| {
        found.push(Violation::new(
            Claim::EveryRiskRecorded,
            what,
            life.iter().copied(),
        ));
    };
    let taken: Vec<_> = calls.iter().filter(|call| call.is_accepted).collect();
    let is_recorded = life.iter().any(|entry| match &entry.event {
        Event::AttemptAbandoned(event) => event.duplicate_risk,
        Event::DeliveryOverdue(event) => event.duplicate_risk,
        _ => false,
    });
    let open = taken.iter().filter(|call| !call.is_failed).count();
    if open > 1 && !is_recorded {
        broken(format!(
            "message {id} was taken {open} times, and no risk is recorded"
        ));
    }
    let is_unknown = life
        .iter()
        .any(|entry| matches!(&entry.event, Event::AttemptUnknown(_)));
    for entry in life {
        let outcome = match &entry.event {
            Event::MessageEnded(end) => end.outcome(),
            Event::MessageExpired(_) => Outcome::Expired,
            Event::MessageCancelled(_) => Outcome::Cancelled,
            _ => continue,
        };
        let agrees = match outcome {
            Outcome::Delivered => taken.iter().any(|call| call.is_delivered),
            Outcome::Unconfirmed => !taken.is_empty(),
            Outcome::Unknown => is_unknown,
            // Nothing of it may be on its way.
            Outcome::Failed | Outcome::Expired | Outcome::Cancelled | Outcome::UnreachableBySms => {
                open == 0
            }
            Outcome::Unspecified => true,
        };
        if !agrees {
            broken(format!(
                "message {id} ended {outcome:?}; the books have {calls:?}"
            ));
        }
    }
}

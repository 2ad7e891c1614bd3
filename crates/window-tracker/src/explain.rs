//! Why a window is what it is: the rule, the facts it rests on, and those that do not count.
//!
//! The rule follows from the same facts as every answer. Their events are looked up only to name
//! them: what the log no longer holds is told from the summary.

use casement_domain::inbound::{Source as PolicySource, ThreadOwner};
use casement_domain::window::{ClosedReason, Facts, Policy};
use casement_event::convert::{duration, inbound, timestamp};
use casement_event::subject::{Family, conversation, stream};
use casement_event::{Event, Stored, v1};
use casement_event_log::{Log, Position, ReadError};
use casement_proto::window::v1 as api;
use jiff::Timestamp;

use crate::present::{Key, Present, PresentError};
use crate::tracker::Tracker;

/// How many facts that do not count are told.
const DISREGARDED_MAX: usize = 20;

/// How many recent events of a family are looked for: more than are told, since some of them count.
const RECENT_MAX: usize = 50;

/// Most events of a family that are read to find those.
const READ_MAX: usize = 2_048;

/// Which record of the account says that its number moved.
const EVENT_OF_MOVES: &str = "casement.events.v1.NumberRecorded";

/// First step back from the newest event, in sequences of the stream; each is larger by the factor.
const STEP_BACK: (u64, u64) = (1_024, 16);

/// Why a window ends with a move of the number or another user id: no page says that it does not.
const CARRY_OVER: PolicySource = PolicySource::Undocumented(
    "a template that was not needed costs less than a reply that is refused",
);

/// Returns the rule and the facts of a window; the last of `conversations` is the one it is of.
pub(crate) async fn explain(
    tracker: &Tracker,
    conversations: &[Key],
    present: &Present,
) -> Result<api::ExplainWindowResponse, PresentError> {
    let facts = &present.facts;
    let policy = match conversations.last() {
        Some(key) => tracker.policies.of(&key.number),
        None => tracker.policies.all(),
    };
    let mut customers = Vec::new();
    let mut evidence = Vec::new();
    for key in conversations {
        let read = async |family| recent(&tracker.log, family, key).await;
        customers.extend(read(Family::Inbound).await?);
        evidence.extend(read(Family::Evidence).await?);
    }
    let customers = heard(&tracker.log, customers)?;
    let evidence = heard(&tracker.log, evidence)?;
    let mut counting = counting(facts, &customers, &evidence);
    counting.extend(changes(facts, policy, &customers));
    let disregarded = disregarded(&counting, customers);
    Ok(api::ExplainWindowResponse {
        window: None,
        rule: rule(facts, policy, tracker.clock.now()).into(),
        length: Some(duration(policy.length)),
        facts: counting,
        disregarded,
    })
}

/// Returns the rule by which a window is open or closed.
fn rule(facts: &Facts, policy: &Policy, now: Timestamp) -> api::WindowRule {
    match facts.closed_reason(policy, now) {
        None => api::WindowRule::WithinLength,
        Some(ClosedReason::NeverWrote) => api::WindowRule::NoQualifyingFact,
        Some(ClosedReason::Expired) => api::WindowRule::LengthPassed,
        Some(ClosedReason::Corrected) => api::WindowRule::Refused,
        Some(ClosedReason::Merged) => api::WindowRule::Merged,
        Some(ClosedReason::NumberMigrated) => api::WindowRule::NumberMigrated,
        Some(ClosedReason::UserIdChanged) => api::WindowRule::UserIdChanged,
        Some(ClosedReason::Erased) => api::WindowRule::Erased,
    }
}

/// Returns the newest events of a family, oldest first.
async fn recent(log: &Log, family: Family, key: &Key) -> Result<Vec<Stored>, ReadError> {
    let subject = conversation(family, &key.number, &key.customer);
    let Some(newest) = log.last(stream::EVENTS, &subject).await? else {
        return Ok(Vec::new());
    };
    let to = newest.sequence;
    let mut found = vec![newest];
    let (mut step, factor) = STEP_BACK;
    loop {
        let from = to.saturating_sub(step).max(1);
        let range = log
            .read_range(stream::EVENTS, &subject, from, to, READ_MAX)
            .await?;
        // The oldest come first: of too many, the newest would be missing.
        if range.len() == READ_MAX {
            return Ok(found);
        }
        found = range;
        if found.len() >= RECENT_MAX || from == 1 {
            let older = found.len().saturating_sub(RECENT_MAX);
            return Ok(found.split_off(older));
        }
        step = step.saturating_mul(factor);
    }
}

/// An event of the conversation, and how it is told.
struct Heard {
    sequence: u64,
    event: Event,
    told: api::ExplainedFact,
}

fn heard(log: &Log, stored: Vec<Stored>) -> Result<Vec<Heard>, PresentError> {
    let read = |stored: Stored| {
        let event = stored.event().map_err(|source| PresentError::Decode {
            sequence: stored.sequence,
            source,
        })?;
        let position = Position {
            stream: stream::EVENTS.to_owned(),
            incarnation: log.incarnation(stream::EVENTS),
            sequence: stored.sequence,
        };
        let rule = inbound::policy_rule(&event);
        let source = source(&event);
        let told = api::ExplainedFact {
            part: api::FactPart::Unspecified.into(),
            event_id: stored.id().map(|id| id.to_string()).unwrap_or_default(),
            event_type: stored.event_type().to_owned(),
            event_time: source.times.event_time.or(stored.time().map(timestamp)),
            received_time: source.times.received_time,
            stated_time: source.times.stated_time,
            source_id: source.id,
            policy_rule: rule.map(|rule| rule.name.to_owned()).unwrap_or_default(),
            qualifies: source.qualifies,
            policy_source: rule.map(|rule| rule.source.to_string()).unwrap_or_default(),
            position: position.to_string(),
        };
        Ok(Heard {
            sequence: stored.sequence,
            event,
            told,
        })
    };
    stored.into_iter().map(read).collect()
}

/// What an event says about itself.
#[derive(Default)]
struct Source {
    times: v1::Times,
    id: String,
    qualifies: bool,
}

fn source(event: &Event) -> Source {
    let of = |times: &Option<v1::Times>, id: &str, qualifies| Source {
        times: times.unwrap_or_default(),
        id: id.to_owned(),
        qualifies,
    };
    match event {
        Event::InboundMessageReceived(event) => {
            of(&event.times, &event.provider_message_id, event.qualifies)
        }
        Event::InboundCallReceived(event) => {
            of(&event.times, &event.provider_call_id, event.qualifies)
        }
        Event::InboundSmsReceived(event) => of(&event.times, &event.provider_message_id, false),
        Event::CustomerIdentityChanged(event) => of(&event.times, "", false),
        Event::CustomerPreferenceReported(event) => of(&event.times, "", false),
        Event::ThreadOwnerChanged(event) => of(&event.times, "", false),
        Event::EchoReceived(event) => of(&event.times, &event.provider_message_id, false),
        Event::HistoryImported(event) => of(&event.times, "", false),
        Event::LateFact(event) => of(&event.times, "", false),
        Event::MovedTo(event) => of(&event.times, "", false),
        Event::CustomerMerged(event) => of(&event.times, "", false),
        Event::WindowRefused(event) => Source {
            id: event.message_id.clone(),
            times: v1::Times {
                event_time: event.refused_time,
                ..v1::Times::default()
            },
            qualifies: false,
        },
        Event::WindowProven(event) => Source {
            id: event.message_id.clone(),
            times: v1::Times {
                event_time: event.proven_time,
                ..v1::Times::default()
            },
            qualifies: false,
        },
        _ => Source::default(),
    }
}

/// Returns the facts that the state rests on.
fn counting(facts: &Facts, customers: &[Heard], evidence: &[Heard]) -> Vec<api::ExplainedFact> {
    let told = |part: api::FactPart, heard: Option<&Heard>, else_told: api::ExplainedFact| {
        let found = heard.map(|heard| heard.told.clone());
        api::ExplainedFact {
            part: part.into(),
            ..found.unwrap_or(else_told)
        }
    };
    let mut all = Vec::new();
    if let Some(last) = &facts.last_qualifying {
        let id = last.fact.to_string();
        let found = customers.iter().find(|heard| heard.told.event_id == id);
        let else_told = api::ExplainedFact {
            event_id: id,
            event_time: Some(timestamp(last.at)),
            received_time: Some(timestamp(last.received_at)),
            source_id: last.provider_id.clone(),
            qualifies: true,
            ..api::ExplainedFact::default()
        };
        all.push(told(api::FactPart::LastQualifying, found, else_told));
    }
    let proofs = [
        (api::FactPart::Refusal, facts.evidence.refused_at),
        (api::FactPart::Proof, facts.evidence.proven_at),
    ];
    for (part, at) in proofs {
        let Some(at) = at else { continue };
        let at = Some(timestamp(at));
        let found = evidence.iter().find(|heard| {
            let is_of = match heard.event {
                Event::WindowRefused(_) => part == api::FactPart::Refusal,
                Event::WindowProven(_) => part == api::FactPart::Proof,
                _ => false,
            };
            is_of && heard.told.event_time == at
        });
        let else_told = api::ExplainedFact {
            event_time: at,
            ..api::ExplainedFact::default()
        };
        all.push(told(part, found, else_told));
    }
    if facts
        .thread_owner
        .is_some_and(|known| known.value == ThreadOwner::Other)
    {
        let says_so = customers.iter().filter(|heard| says_others(&heard.event));
        let latest =
            says_so.max_by_key(|heard| heard.told.event_time.map(|at| (at.seconds, at.nanos)));
        all.push(told(
            api::FactPart::ThreadOwner,
            latest,
            api::ExplainedFact::default(),
        ));
    }
    let merges = customers
        .iter()
        .filter(|heard| matches!(heard.event, Event::MovedTo(_)));
    let merged = |heard| {
        told(
            api::FactPart::Merge,
            Some(heard),
            api::ExplainedFact::default(),
        )
    };
    all.extend(merges.map(merged));
    all
}

/// Returns the changes since the customer last wrote that a window does not outlive here.
fn changes(facts: &Facts, policy: &Policy, customers: &[Heard]) -> Vec<api::ExplainedFact> {
    let written = facts.last_qualifying.as_ref().map(|last| last.at);
    let counts = |at: Option<Timestamp>, is_outlived: bool| {
        at.filter(|at| written.is_some() && !is_outlived && Some(*at) >= written)
    };
    let mut all = Vec::new();
    if let Some(at) = counts(facts.number_migrated_at, policy.carry_over.migration) {
        all.push(api::ExplainedFact {
            part: api::FactPart::Migration.into(),
            event_type: EVENT_OF_MOVES.to_owned(),
            event_time: Some(timestamp(at)),
            ..api::ExplainedFact::default()
        });
    }
    if let Some(at) = counts(facts.user_id_changed_at, policy.carry_over.user_id) {
        let at = Some(timestamp(at));
        let changed = customers.iter().find(|heard| {
            matches!(heard.event, Event::CustomerIdentityChanged(_)) && heard.told.event_time == at
        });
        all.push(api::ExplainedFact {
            part: api::FactPart::UserIdChange.into(),
            event_time: at,
            policy_rule: String::new(),
            ..changed.map(|heard| heard.told.clone()).unwrap_or_default()
        });
    }
    for fact in &mut all {
        fact.policy_source = CARRY_OVER.to_string();
    }
    all
}

/// Returns whether an event says that another responder owns the thread.
fn says_others(event: &Event) -> bool {
    match event {
        Event::ThreadOwnerChanged(_) => true,
        Event::InboundMessageReceived(event) => event.field() == v1::InboundField::Standby,
        Event::EchoReceived(event) => event.field() == v1::InboundField::Standby,
        _ => false,
    }
}

/// Returns recent facts that do not count, newest first.
fn disregarded(
    counting: &[api::ExplainedFact],
    mut customers: Vec<Heard>,
) -> Vec<api::ExplainedFact> {
    let is_counting = |id: &str| {
        let mut ends = counting.iter().filter(|fact| match fact.part() {
            api::FactPart::LastQualifying | api::FactPart::UserIdChange => true,
            // Who owns the thread may have been said by a message that does not count itself.
            _ => false,
        });
        ends.any(|fact| fact.event_id == id)
    };
    customers.sort_by_key(|heard| std::cmp::Reverse(heard.sequence));
    let others = customers.into_iter().filter_map(|heard| {
        let part = match heard.event {
            Event::MovedTo(_) | Event::CustomerMerged(_) => return None,
            Event::LateFact(_) => api::FactPart::TooLate,
            _ if is_counting(&heard.told.event_id) => return None,
            _ if heard.told.qualifies => api::FactPart::Outdone,
            _ => api::FactPart::NotQualifying,
        };
        Some(api::ExplainedFact {
            part: part.into(),
            ..heard.told
        })
    });
    others.take(DISREGARDED_MAX).collect()
}

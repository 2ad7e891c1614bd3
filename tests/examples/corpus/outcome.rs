//! What posts amount to: the facts on the log, each once, and what is known at last of each
//! customer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use casement_event::Event;
use casement_event::convert::inbound::known;

/// That two customers are one is told or not, depending on what came first; an item is parked or
/// not, depending on whether the account was heard of before.
const OF_ORDER: [&str; 3] = ["MovedTo", "CustomerMerged", "WebhookParked"];

/// What stands on the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Id and type of each fact.
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) states: BTreeSet<String>,
    pub(crate) dead: usize,
    /// Facts about customers that stand there more than once.
    pub(crate) repeated: usize,
}

impl Outcome {
    /// Returns how many facts there are of each type.
    pub(crate) fn types(&self) -> BTreeMap<&str, usize> {
        let mut types = BTreeMap::new();
        for event_type in self.facts.values() {
            *types.entry(event_type.as_str()).or_default() += 1;
        }
        types
    }

    /// Returns what differs, for people; `None` if nothing does.
    pub(crate) fn differs(&self, expected: &Self, dead: usize) -> Option<String> {
        let missing = expected
            .facts
            .keys()
            .filter(|id| !self.facts.contains_key(*id));
        let (missing, extra) = (
            missing.count(),
            self.facts
                .keys()
                .filter(|id| !expected.facts.contains_key(*id))
                .count(),
        );
        let states = self.states.symmetric_difference(&expected.states).count();
        let is_same = (missing, extra, states, self.repeated) == (0, 0, 0, 0) && self.dead == dead;
        (!is_same).then(|| {
            format!(
                "{missing} facts missing, {extra} too many, {} twice, {states} states differ, {} dead letters",
                self.repeated, self.dead
            )
        })
    }
}

/// Reads what stands on the log.
pub(crate) async fn outcome(client: &async_nats::Client) -> anyhow::Result<Outcome> {
    let context = async_nats::jetstream::new(client.clone());
    let mut outcome = Outcome::default();
    let mut newest: BTreeMap<String, Event> = BTreeMap::new();
    let mut dead = BTreeSet::new();
    for name in ["EVENTS", "MESSAGES", "ACCOUNTS", "DEAD"] {
        let stream = context.get_stream(name).await?;
        let state = stream.cached_info().state.clone();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let Ok(stored) = stream.get_raw_message(sequence).await else {
                continue;
            };
            let header = |name: &str| stored.headers.get(name).map(ToString::to_string);
            let id = header("ce-id").context("an event without id")?;
            let full = header("ce-type").context("an event without type")?;
            let short = full.trim_start_matches("casement.events.v1.").to_owned();
            let family = stored
                .subject
                .split('.')
                .nth(2)
                .unwrap_or_default()
                .to_owned();
            if short == "DeadLetter" {
                dead.insert(id);
                continue;
            }
            if !["inbound", "foreign", "group", "report", "reported"].contains(&family.as_str()) {
                continue;
            }
            if family == "inbound" {
                newest.insert(
                    stored.subject.to_string(),
                    Event::decode(&full, &stored.payload)?,
                );
            }
            if OF_ORDER.contains(&short.as_str()) {
                continue;
            }
            let is_repeat = outcome.facts.insert(id, short).is_some();
            if is_repeat && matches!(family.as_str(), "inbound" | "report") {
                outcome.repeated += 1;
            }
        }
    }
    outcome.dead = dead.len();
    for (subject, event) in newest {
        let Some(known) = known(&event)? else {
            continue;
        };
        if known.moved_to.is_some() {
            continue;
        }
        let summary = known.summary;
        let qualifying = summary
            .last_qualifying
            .map(|last| (last.at, last.provider_id));
        outcome.states.insert(format!(
            "{:?} {qualifying:?} {:?} {:?} {:?} {:?}",
            subject.split('.').nth(4),
            summary.last_event_at,
            summary.phone,
            summary.user_id,
            summary.parent_user_id,
        ));
    }
    Ok(outcome)
}

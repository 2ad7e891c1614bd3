//! What was acknowledged is there, once, with the time that its source gave.

use std::collections::{BTreeMap, BTreeSet};

use casement_event::Event;

use super::{Claim, Violation};
use crate::history::{Entry, History, Told, time};

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut facts: BTreeMap<Told, Vec<&Entry>> = BTreeMap::new();
    let mut requested = BTreeSet::new();
    for entry in &history.log {
        match &entry.event {
            Event::InboundMessageReceived(fact) => facts
                .entry(Told::Said(fact.provider_message_id.clone()))
                .or_default()
                .push(entry),
            Event::StatusReported(report) => facts
                .entry(Told::Report(
                    report.provider_message_id.clone(),
                    report.provider_status.clone(),
                ))
                .or_default()
                .push(entry),
            Event::MessageRequested(request) => {
                requested.insert(request.message_id.as_str());
            }
            _ => {}
        }
    }
    for told in &history.told {
        if !facts.contains_key(told) {
            let what = format!("{told:?} was answered 200 and is not on the log");
            found.push(Violation::new(Claim::EveryOkIsOnTheLog, what, []));
        }
    }
    for id in &history.confirmed {
        if !requested.contains(id.as_str()) {
            let what = format!("message {id} was confirmed to its caller and is not on the log");
            found.push(Violation::new(Claim::EveryOkIsOnTheLog, what, []));
        }
    }
    let times: BTreeMap<_, _> = history
        .said
        .iter()
        .map(|said| (said.id.as_str(), said.at))
        .collect();
    for (told, entries) in &facts {
        if entries.len() > 1 {
            let what = format!("{told:?} is on the log {} times", entries.len());
            let entries = entries.iter().copied();
            found.push(Violation::new(Claim::EachFactOnce, what, entries));
        }
        let Told::Said(id) = told else { continue };
        for entry in entries {
            let Event::InboundMessageReceived(fact) = &entry.event else {
                continue;
            };
            let taken = fact
                .times
                .as_ref()
                .and_then(|at| time(at.event_time.as_ref()));
            let said = times.get(id.as_str()).copied();
            if said.is_none() || taken != said {
                let what = format!("{id} was said at {said:?} and is taken to be of {taken:?}");
                found.push(Violation::new(Claim::EachFactOnce, what, [*entry]));
            }
        }
    }
}

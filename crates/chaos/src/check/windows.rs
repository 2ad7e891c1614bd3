//! Windows: a customer's messages are times, a window ends one length after the last of them.

use std::collections::{BTreeMap, BTreeSet};

use casement_event::{Event, v1};
use jiff::{SignedDuration, Timestamp};

use super::{Claim, Violation};
use crate::history::{Entry, History, time};

/// By how much the broker's clock and a role's may part on one machine.
const CLOCKS_PART_MAX: SignedDuration = SignedDuration::from_millis(50);

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut conversations: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in history.log.iter().filter(|entry| entry.stream == "EVENTS") {
        if told(&entry.event).is_some() || fact(&entry.event).is_some() || is_refusal(&entry.event)
        {
            conversations.entry(entry.about()).or_default().push(entry);
        }
    }
    for entries in conversations.values() {
        conversation(history, entries, found);
    }
}

/// What one event tells of a window.
struct Telling<'a> {
    window: &'a v1::PublishedWindow,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Opened,
    Extended,
    Expiring,
    Expired,
    Corrected,
}

fn told(event: &Event) -> Option<Telling<'_>> {
    let (window, kind) = match event {
        Event::WindowOpened(event) => (&event.window, Kind::Opened),
        Event::WindowExtended(event) => (&event.window, Kind::Extended),
        Event::WindowExpiring(event) => (&event.window, Kind::Expiring),
        Event::WindowExpired(event) => (&event.window, Kind::Expired),
        Event::WindowCorrected(event) => (&event.window, Kind::Corrected),
        _ => return None,
    };
    window.as_ref().map(|window| Telling { window, kind })
}

/// When a customer wrote, and when that came in.
fn fact(event: &Event) -> Option<(Timestamp, Timestamp)> {
    let Event::InboundMessageReceived(fact) = event else {
        return None;
    };
    let times = fact.times.as_ref()?;
    Some((
        time(times.event_time.as_ref())?,
        time(times.received_time.as_ref())?,
    ))
}

fn is_refusal(event: &Event) -> bool {
    matches!(event, Event::WindowRefused(_) | Event::WindowProven(_))
}

pub(super) fn detail(event: &Event) -> Option<String> {
    if let Some((at, received)) = fact(event) {
        return Some(format!("written at {at}, received at {received}"));
    }
    let window = told(event)?.window;
    let shown = |at: Option<&prost_types::Timestamp>| {
        time(at).map_or_else(|| "-".to_owned(), |at| at.to_string())
    };
    Some(format!(
        "{} from {} until {}",
        window.window_id,
        shown(window.open_time.as_ref()),
        shown(window.expire_time.as_ref()),
    ))
}

fn conversation(history: &History, entries: &[&Entry], found: &mut Vec<Violation>) {
    let length = history.window;
    // All that the model knows: when the customer wrote, so far; and what is open.
    let mut facts: BTreeSet<Timestamp> = BTreeSet::new();
    let mut refusals: BTreeSet<Timestamp> = BTreeSet::new();
    let mut open: Option<(&str, usize)> = None;
    let mut ended: BTreeSet<(&str, Timestamp)> = BTreeSet::new();
    let mut announced: BTreeSet<(&str, Timestamp, i64)> = BTreeSet::new();
    let mut ends: Vec<Timestamp> = Vec::new();
    let mut from = 0;
    for (place, &entry) in entries.iter().enumerate() {
        let shown = || entries[from..=place].iter().copied();
        let mut broken = |claim, what: String| found.push(Violation::new(claim, what, shown()));
        if let Some((at, _)) = fact(&entry.event) {
            facts.insert(at);
        }
        if let Event::WindowRefused(refused) = &entry.event {
            refusals.extend(time(refused.refused_time.as_ref()));
        }
        let Some(Telling { window, kind }) = told(&entry.event) else {
            continue;
        };
        let id = window.window_id.as_str();
        let Some(until) = time(window.expire_time.as_ref()) else {
            broken(Claim::WindowsFit, format!("window {id} tells no end"));
            continue;
        };
        let is_promised = facts.iter().any(|at| *at + length == until);
        if !is_promised && kind != Kind::Corrected {
            let what = format!("window {id} is to end at {until}, which no fact before it gives");
            broken(Claim::WindowsFit, what);
        }
        match kind {
            Kind::Opened => {
                if let Some((other, _)) = open {
                    broken(
                        Claim::WindowsFit,
                        format!("{id} opens while {other} is open"),
                    );
                }
                from = first_fact(entries, place, until - length);
                open = Some((id, place));
            }
            Kind::Extended | Kind::Expiring => {
                if open.is_none_or(|(other, _)| other != id) {
                    broken(
                        Claim::WindowsFit,
                        format!("{id} is told of and is not open"),
                    );
                }
                if let Event::WindowExpiring(event) = &entry.event {
                    let lead = event.lead.as_ref().map_or(0, |lead| lead.seconds);
                    let due = until - SignedDuration::from_secs(lead);
                    if entry.stored_at + CLOCKS_PART_MAX < due {
                        let what = format!("{id} is told to be expiring before {due}");
                        broken(Claim::NoExpiryEarly, what);
                    }
                    if !announced.insert((id, until, lead)) {
                        let what = format!("{id}, {until}: a lead is told twice");
                        broken(Claim::EachExpiryOnce, what);
                    }
                }
            }
            Kind::Expired => {
                if !ended.insert((id, until)) {
                    broken(
                        Claim::EachExpiryOnce,
                        format!("{id}, {until} is told again"),
                    );
                }
                if entry.stored_at + CLOCKS_PART_MAX < until {
                    broken(Claim::NoExpiryEarly, format!("{id} ends before {until}"));
                }
                // A fact that was known, and kept the window open beyond that.
                let later = facts.range(..until).next_back().map(|at| *at + length);
                if later.is_some_and(|later| later > until) {
                    let what = format!("{id} ends at {until}; a fact keeps it until {later:?}");
                    broken(Claim::NoExpiryEarly, what);
                }
                if open.is_some_and(|(other, _)| other != id) {
                    broken(
                        Claim::WindowsFit,
                        format!("{id} ends while another is open"),
                    );
                }
                open = None;
                ends.push(until);
                from = place + 1;
            }
            Kind::Corrected => {
                let closed = time(window.close_time.as_ref());
                if !closed.is_some_and(|at| refusals.contains(&at)) {
                    broken(
                        Claim::WindowsFit,
                        format!("{id} is corrected without a refusal"),
                    );
                }
                open = None;
                ends.push(until);
                from = place + 1;
            }
        }
    }
    if let Some((id, place)) = open {
        let what = format!("window {id} was opened and never ended");
        let shown = entries[place..].iter().copied();
        found.push(Violation::new(Claim::NoExpiryMissing, what, shown));
    }
    for entry in entries {
        let Some((at, received)) = fact(&entry.event) else {
            continue;
        };
        let until = at + length;
        // What came in after its own window had ended opened nothing.
        let came_in_time = received < until;
        if came_in_time && !ends.iter().any(|end| *end >= until) {
            let what = format!("a customer wrote at {at}, and no window ends at {until} or later");
            found.push(Violation::new(Claim::NoExpiryMissing, what, [*entry]));
        }
    }
}

/// Where the fact stands that opened a window.
fn first_fact(entries: &[&Entry], opened: usize, at: Timestamp) -> usize {
    entries[..opened]
        .iter()
        .position(|entry| fact(&entry.event).is_some_and(|(written, _)| written == at))
        .unwrap_or(opened)
}

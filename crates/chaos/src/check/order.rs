//! Order: a message is not called while an earlier one of its conversation has still to go.

use std::collections::BTreeMap;

use casement_event::Event;
use jiff::Timestamp;

use super::messages::lives;
use super::{Claim, Violation};
use crate::history::{Entry, History, time};

/// Whether later messages may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It is about to go: they wait.
    Waits,
    /// It went, or waits for something that is not theirs.
    Aside,
}

/// A message in its conversation.
struct Message<'a> {
    id: &'a str,
    requested_at: Option<Timestamp>,
    stand: Stand,
    has_been_called: bool,
    is_confirmed: bool,
    life: Vec<&'a Entry>,
}

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    // Those of each conversation, in the order in which they were asked for.
    let mut conversations: BTreeMap<&str, Vec<Message<'_>>> = BTreeMap::new();
    let mut places: BTreeMap<&str, &str> = BTreeMap::new();
    let confirmed: std::collections::BTreeSet<_> =
        history.confirmed.iter().map(String::as_str).collect();
    for entry in lives(history) {
        let id = entry.about();
        if let Event::MessageRequested(request) = &entry.event
            && let Some(conversation) = &request.conversation
        {
            let customer = conversation.customer_id.as_str();
            places.insert(id, customer);
            conversations.entry(customer).or_default().push(Message {
                id,
                requested_at: time(request.request_time.as_ref()),
                stand: Stand::Waits,
                has_been_called: false,
                is_confirmed: confirmed.contains(id),
                life: vec![entry],
            });
            continue;
        }
        let Some(lane) = places.get(id).and_then(|key| conversations.get_mut(key)) else {
            continue;
        };
        let Some(place) = lane.iter().position(|message| message.id == id) else {
            continue;
        };
        lane[place].life.push(entry);
        if let Event::AttemptStarted(_) = &entry.event {
            let requested_at = lane[place].requested_at;
            let earlier = lane[..place].iter().find(|other| {
                other.stand == Stand::Waits
                    && other.is_confirmed
                    && other.requested_at < requested_at
            });
            if let Some(other) = earlier
                && !lane[place].has_been_called
            {
                let what = format!("{id} was claimed while {} was still to go", other.id);
                let mut shown: Vec<_> = [&other.life[..], &lane[place].life[..]].concat();
                shown.sort_by_key(|entry| entry.sequence);
                found.push(Violation::new(Claim::OrderKept, what, shown));
            }
            lane[place].has_been_called = true;
        }
        if let Some(stand) = stand_after(&entry.event) {
            lane[place].stand = stand;
        }
    }
}

fn stand_after(event: &Event) -> Option<Stand> {
    Some(match event {
        Event::MessageReleased(_) | Event::AttemptStarted(_) => Stand::Waits,
        Event::AttemptRejected(rejected) => {
            // From a report: what had gone came back, and others may have gone since.
            if rejected.from_report {
                Stand::Aside
            } else {
                Stand::Waits
            }
        }
        Event::MessageHeld(_)
        | Event::MessageDeferred(_)
        | Event::AttemptAccepted(_)
        | Event::AttemptUnknown(_)
        | Event::AttemptAbandoned(_)
        | Event::MessageExpired(_)
        | Event::MessageCancelled(_)
        | Event::MessageEnded(_) => Stand::Aside,
        _ => return None,
    })
}

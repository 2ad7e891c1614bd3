//! What must be true in the end, by a model of a few lines: from what customers did, what providers were
//! asked, and what stands on the log. Nothing here asks the rules of the domain.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::id::{CustomerId, MessageId};
use casement_event::convert::instant;
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Stored, v1};
use casement_event_log::Log;
use casement_shell::clock::Clock as _;
use jiff::{SignedDuration, Timestamp};

use crate::facts::{Wrote, number};
use crate::world::Books;

/// Meta: customer service windows.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// All that stands on a stream.
pub(crate) async fn all(log: &Log, stream: &str) -> Vec<Stored> {
    let state = log.state(stream).await.expect("a log without faults");
    let mut all = Vec::new();
    for sequence in 1..=state.last_sequence {
        let stored = log.get(stream, sequence).await;
        all.extend(stored.expect("a log without faults"));
    }
    all
}

fn name(stored: &Stored) -> &str {
    let full = stored.event_type();
    full.rsplit('.').next().unwrap_or(full)
}

pub(crate) fn event(stored: &Stored) -> Event {
    stored.event().expect("an event of ours")
}

/// Events of each message, oldest first.
pub(crate) fn lives(stored: &[Stored]) -> BTreeMap<MessageId, Vec<&Stored>> {
    let mut lives: BTreeMap<MessageId, Vec<&Stored>> = BTreeMap::new();
    for one in stored {
        if let Some((Family::Message, id)) = subject::parse_message(&one.subject) {
            lives.entry(id).or_default().push(one);
        }
    }
    lives
}

/// What is not over yet, as far as the streams were read.
#[derive(Debug, Default)]
pub(crate) struct Open {
    subjects: BTreeSet<String>,
    read: BTreeMap<&'static str, u64>,
}

impl Open {
    /// Whether every message has ended and every window that was told is told as closed.
    pub(crate) async fn is_over(&mut self, log: &Log) -> bool {
        for stream in [stream::MESSAGES, stream::EVENTS] {
            let state = log.state(stream).await.expect("a log without faults");
            let read = self.read.insert(stream, state.last_sequence).unwrap_or(0);
            for sequence in read + 1..=state.last_sequence {
                let stored = log.get(stream, sequence).await;
                if let Some(stored) = stored.expect("a log without faults") {
                    self.note(&stored);
                }
            }
        }
        self.subjects.is_empty()
    }

    fn note(&mut self, stored: &Stored) {
        let families = ["window", "message"].map(|family| format!("casement.events.{family}."));
        if !families
            .iter()
            .any(|family| stored.subject.starts_with(family))
        {
            return;
        }
        match name(stored) {
            "WindowExpired" | "WindowCorrected" | "MessageEnded" | "MessageExpired"
            | "MessageCancelled" => {
                self.subjects.remove(&stored.subject);
            }
            // Reports may still be noted of what has ended.
            "WindowOpened" | "MessageRequested" => {
                self.subjects.insert(stored.subject.clone());
            }
            _ => {}
        }
    }
}

/// A line for each thing that happened, in the order of time.
pub(crate) async fn history(books: &Books) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in [stream::EVENTS, stream::MESSAGES, stream::DEAD] {
        for stored in all(&books.log, stream).await {
            let about = match subject::parse_conversation(&stored.subject) {
                Some((_, _, customer)) => match books.customers.get(&customer) {
                    Some(number) => format!("customer {number}"),
                    None => "somebody else".to_owned(),
                },
                None => subject::parse_message(&stored.subject)
                    .map_or_else(|| stored.subject.clone(), |(_, id)| title(books, &id)),
            };
            let line = format!("{stream} {}: {} {about}", stored.sequence, name(&stored));
            lines.push((stored.stored_at, lines.len(), line));
        }
    }
    for (nth, call) in books.calls.iter().enumerate() {
        let id = MessageId::parse(&call.message);
        let message = id.map_or_else(|_| call.message.clone(), |id| title(books, &id));
        let taken = if call.is_taken { "taken" } else { "not taken" };
        let line = format!(
            "call {nth} by {}: {} for {message}, attempt {}: {taken}",
            call.process, call.kind, call.attempt
        );
        lines.push((call.at, lines.len(), line));
    }
    lines.sort();
    let lines = lines.into_iter();
    lines
        .map(|(at, _, line)| format!("{at:.3} {line}"))
        .collect()
}

fn title(books: &Books, id: &MessageId) -> String {
    let id = id.to_string();
    let known = books
        .sent
        .iter()
        .find(|sent| sent.answered.as_deref() == Some(&id));
    known.map_or_else(|| "a message".to_owned(), |sent| sent.request_id.clone())
}

/// Returns what does not hold.
pub(crate) async fn check(books: &Books) -> Vec<String> {
    let mut problems = Vec::new();
    let events = all(&books.log, stream::EVENTS).await;
    let messages = all(&books.log, stream::MESSAGES).await;
    for (customer, number) in &books.customers {
        let mut found = Vec::new();
        windows(&mut found, books, customer, &events);
        problems.extend(
            found
                .into_iter()
                .map(|it| format!("customer {number}: {it}")),
        );
    }
    let lives = lives(&messages);
    for (id, life) in &lives {
        let mut found = Vec::new();
        message(&mut found, books, id, life, &events);
        let title = title(books, id);
        problems.extend(found.into_iter().map(|it| format!("{title}: {it}")));
    }
    for sent in &books.sent {
        let id = sent
            .answered
            .as_deref()
            .and_then(|id| MessageId::parse(id).ok());
        match (id, &sent.refused) {
            (Some(id), _) if !lives.contains_key(&id) => {
                problems.push(format!("{}: accepted and lost", sent.request_id));
            }
            (None, None) => problems.push(format!("{}: never answered", sent.request_id)),
            _ => {}
        }
    }
    order(&mut problems, books, &lives);
    for letter in all(&books.log, stream::DEAD).await {
        let Event::DeadLetter(letter) = event(&letter) else {
            continue;
        };
        problems.push(format!("dead letter of {}: {}", letter.role, letter.reason));
    }
    problems
}

/// Each (window, expiry) at most once, none early, none missing, each by the facts stored before it.
fn windows(problems: &mut Vec<String>, books: &Books, customer: &CustomerId, events: &[Stored]) {
    let now = books.time.now();
    let facts: Vec<&Wrote> = books
        .wrote
        .iter()
        .filter(|fact| fact.customer == *customer)
        .collect();
    let subject = subject::conversation(Family::Window, &number(), customer);
    let mut told = BTreeSet::new();
    let mut is_open = false;
    let mut ends = BTreeSet::new();
    for stored in events.iter().filter(|stored| stored.subject == subject) {
        let known = || facts.iter().filter(|fact| fact.sequence < stored.sequence);
        let newest = known().max_by_key(|fact| fact.at);
        let Some(window) = window_of(&event(stored)) else {
            continue;
        };
        let Some(end) = time(window.expire_time.as_ref()) else {
            problems.push("a window without an end".to_owned());
            continue;
        };
        let (was_open, at) = (is_open, stored.stored_at);
        match name(stored) {
            "WindowOpened" => {
                is_open = true;
                if was_open {
                    problems.push(format!("opened at {at} although it was open"));
                }
                // What came in time is told, be it late.
                if newest.is_none_or(|newest| newest.received_at >= newest.at + WINDOW) {
                    problems.push(format!("opened at {at} without a fact"));
                }
            }
            "WindowExpired" => {
                is_open = false;
                ends.insert(end);
                if at < end {
                    problems.push(format!("told at {at} to have expired, early for {end}"));
                }
                if !told.insert((window.window_id.clone(), end)) {
                    problems.push(format!("the end at {end} was told twice"));
                }
                let last = end - WINDOW;
                if !known().any(|fact| fact.at == last) {
                    problems.push(format!("the end at {end} is nobody's"));
                }
                if known().any(|fact| fact.at > last && fact.at < end) {
                    problems.push(format!(
                        "the end at {end} was told although the customer wrote"
                    ));
                }
            }
            "WindowCorrected" => is_open = false,
            _ => {}
        }
    }
    if is_open {
        problems.push("the last window is told as open for ever".to_owned());
    }
    // A fact that was the newest when it came, and came in time, opened or prolonged a window. That
    // ended, unless the customer wrote again before; a refusal may have ended it, too.
    let was_refused = events.iter().any(|stored| {
        let parsed = subject::parse_conversation(&stored.subject);
        name(stored) == "WindowRefused" && parsed.is_some_and(|(_, _, of)| of == *customer)
    });
    for fact in &facts {
        let end = fact.at + WINDOW;
        let is_newest = facts
            .iter()
            .all(|other| other.sequence >= fact.sequence || other.at <= fact.at);
        let goes_on = facts
            .iter()
            .any(|other| other.at > fact.at && other.at < end);
        let is_due = fact.received_at < end && end <= now;
        if is_newest && is_due && !goes_on && !was_refused && !ends.contains(&end) {
            problems.push(format!("the end at {end} was never told"));
        }
    }
}

fn window_of(event: &Event) -> Option<v1::PublishedWindow> {
    match event {
        Event::WindowOpened(event) => event.window.clone(),
        Event::WindowExtended(event) => event.window.clone(),
        Event::WindowExpiring(event) => event.window.clone(),
        Event::WindowExpired(event) => event.window.clone(),
        Event::WindowCorrected(event) => event.window.clone(),
        _ => None,
    }
}

fn time(of: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    instant("time", of).ok().flatten()
}

/// At most one call for an attempt, none without its claim, one acceptance at most, and an end with
/// reasons.
fn message(
    problems: &mut Vec<String>,
    books: &Books,
    id: &MessageId,
    life: &[&Stored],
    events: &[Stored],
) {
    let claims: BTreeMap<u32, (&Stored, v1::AttemptStarted)> = life
        .iter()
        .filter_map(|stored| match event(stored) {
            Event::AttemptStarted(started) => Some((started.attempt, (*stored, started))),
            _ => None,
        })
        .collect();
    let own = id.to_string();
    let calls: Vec<_> = books
        .calls
        .iter()
        .filter(|call| call.message == own)
        .collect();
    let mut called = BTreeSet::new();
    for call in &calls {
        let attempt = call.attempt;
        if !called.insert(attempt) {
            problems.push(format!("attempt {attempt} was called twice"));
        }
        match claims.get(&attempt) {
            None => problems.push(format!("attempt {attempt} was called without a claim")),
            Some((claim, _)) if claim.stored_at > call.at => {
                problems.push(format!("attempt {attempt} was called before its claim"));
            }
            Some(_) => {}
        }
    }
    let taken = calls.iter().filter(|call| call.is_taken && !call.fails);
    if taken.count() > 1 {
        problems.push("the customer got it twice".to_owned());
    }
    for (claim, started) in claims.values() {
        let decision = started.decision.clone().unwrap_or_default();
        let attempt = started.attempt;
        if decision.candidates.is_empty() {
            problems.push(format!("attempt {attempt} has no reasons"));
        }
        if started.route() != v1::Route::FreeForm {
            continue;
        }
        let to = started.conversation.clone().unwrap_or_default().customer_id;
        // Two streams have no order between them: what was stored by then counts.
        let wrote = books
            .wrote
            .iter()
            .filter(|fact| fact.customer.to_string() == to);
        let wrote = wrote.filter(|fact| {
            let mut stored = events.iter().filter(|one| one.sequence == fact.sequence);
            stored.any(|stored| stored.stored_at <= claim.stored_at)
        });
        let end = wrote.map(|fact| fact.at + WINDOW).max();
        let decided_at = time(started.start_time.as_ref());
        if end.is_none() || decided_at >= end {
            problems.push(format!(
                "attempt {attempt} went free-form in a closed window"
            ));
        }
    }
    let ended: Vec<_> = life
        .iter()
        .filter_map(|stored| match event(stored) {
            Event::MessageEnded(ended) => Some((ended.outcome(), ended.reason)),
            Event::MessageExpired(_) => {
                Some((v1::MessageOutcome::Expired, "its time was over".to_owned()))
            }
            Event::MessageCancelled(_) => {
                Some((v1::MessageOutcome::Cancelled, "cancelled".to_owned()))
            }
            _ => None,
        })
        .collect();
    match ended.as_slice() {
        [] => problems.push("never ended".to_owned()),
        [(outcome, reason)] => {
            let is_delivered = *outcome == v1::MessageOutcome::Delivered;
            if *outcome == v1::MessageOutcome::Unspecified || (reason.is_empty() && !is_delivered) {
                problems.push(format!("ended as {outcome:?} without a reason"));
            }
            if is_delivered && !calls.iter().any(|call| call.is_taken) {
                problems.push("delivered, and no provider took it".to_owned());
            }
        }
        _ => problems.push("ended more than once".to_owned()),
    }
}

/// Messages that wait for nothing go out in the order in which they were asked for: one whose service
/// was answered before another was asked for goes before it.
fn order(problems: &mut Vec<String>, books: &Books, lives: &BTreeMap<MessageId, Vec<&Stored>>) {
    // Who asked, when they were answered, whom it goes to, and which call was its first.
    let gone: Vec<_> = books
        .sent
        .iter()
        .filter_map(|sent| {
            let own = sent.answered.as_deref()?;
            let life = lives.get(&MessageId::parse(own).ok()?)?;
            let waits = ["MessageHeld", "MessageDeferred"];
            let has_waited = life.iter().any(|stored| waits.contains(&name(stored)));
            let first = books.calls.iter().position(|call| call.message == own)?;
            (!has_waited).then_some((sent, &books.calls[first].phone, first))
        })
        .collect();
    for (earlier, phone, first) in &gone {
        for (later, to, other) in &gone {
            let is_behind = earlier.answered_at.is_some_and(|at| at < later.asked_at);
            if is_behind && phone == to && other < first {
                let (earlier, later) = (&earlier.request_id, &later.request_id);
                problems.push(format!("{later} went before {earlier}"));
            }
        }
    }
}

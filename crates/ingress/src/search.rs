//! Looking for a fact among the stored ones, and how far back they reach.
//!
//! Summaries only grow along a subject, so the first message whose summary is not older than
//! a fact is found by halving; the fact itself can only stand there or behind it. No clock is
//! asked, so virtual time does no harm. What was read is kept, so that a burst of facts in one
//! second, or of repeats, reads nothing twice.
//!
//! The facts of a customer who was merged into another stay on a subject of their own: they are
//! looked for there, too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use casement_domain::id::CustomerId;
use casement_domain::window::Evidence;
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Stored, Uuid, convert};
use casement_event_log::Log;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::error::Setback;
use crate::place::Desk;
use crate::recent::{Line, Page};

/// How many messages of a subject are looked at for one fact.
const SEARCH_LEN_MAX: usize = 10_000;

/// On the subjects of how many customers who were merged into one its facts are looked for.
const MERGED_LEN_MAX: usize = 64;

/// First step back from the newest message, in sequences of the stream; each step quadruples.
const STEP_BACK: u64 = 256;

/// How long the reach of the log is taken for granted when a fresh fact asks for it. For an old
/// one, which are few, it is looked up.
const HORIZON_KEPT: Duration = Duration::from_mins(1);

/// Up to this age a fact is fresh.
const FRESH_AGE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How far the platform's clock may be ahead of the broker's.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// Whether a fact is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is.
    Yes,
    /// It is not among what the subject holds.
    No,
    /// More messages would have to be looked at than is reasonable.
    TooFar,
}

/// Looks for a fact that happened not before `since` on a customer's inbound subject, whose
/// newest message is at `newest`, and on those of customers who were merged into it.
pub(crate) async fn find(
    desk: &Desk,
    subject: &str,
    newest: u64,
    since: Timestamp,
    id: Uuid,
) -> Result<Found, Setback> {
    let mut seen: Vec<CustomerId> = Vec::new();
    let mut next = vec![(subject.to_owned(), newest)];
    while let Some((subject, newest)) = next.pop() {
        let Some(page) = page(desk, &subject, newest, since).await? else {
            return Ok(Found::TooFar);
        };
        let is_there = page.has(id);
        let merged = page.merged().to_vec();
        desk.recent.put(&subject, page);
        if is_there {
            return Ok(Found::Yes);
        }
        // Whose facts they are is told not before the newest of them, so none is overlooked.
        for customer in merged {
            if seen.contains(&customer) {
                continue;
            }
            if seen.len() >= MERGED_LEN_MAX {
                return Ok(Found::TooFar);
            }
            if let Some((_, number, _)) = subject::parse_conversation(&subject) {
                let subject = subject::conversation(Family::Inbound, &number, &customer);
                let last = desk.log.last(stream::EVENTS, &subject).await?;
                next.extend(last.map(|last| (subject, last.sequence)));
            }
            seen.push(customer);
        }
    }
    Ok(Found::No)
}

/// Returns what stands on a subject from a time on; `None` if that is more than is reasonable.
async fn page(
    desk: &Desk,
    subject: &str,
    newest: u64,
    since: Timestamp,
) -> Result<Option<Page>, Setback> {
    let kept = desk.recent.take(subject);
    let kept = kept.filter(|page| page.newest() <= newest && page.covers(since));
    let (mut page, from) = if let Some(page) = kept {
        let from = page.newest() + 1;
        (page, from)
    } else {
        let from = first_since(&desk.log, subject, newest, since).await?;
        (Page::since(since), from)
    };
    let range = desk
        .log
        .read_range(stream::EVENTS, subject, from, newest, SEARCH_LEN_MAX + 1)
        .await?;
    if range.len() > SEARCH_LEN_MAX {
        return Ok(None);
    }
    for stored in &range {
        page.push(line(stored)?);
    }
    Ok(Some(page))
}

fn line(stored: &Stored) -> Result<Line, Setback> {
    let event = decoded(stored)?;
    let merged = match &event {
        Event::CustomerMerged(event) => Some(CustomerId::parse(&event.merged_customer_id)?),
        _ => None,
    };
    Ok(Line {
        sequence: stored.sequence,
        id: stored.id(),
        last_event_at: known(stored, &event)?.summary.last_event_at,
        merged,
    })
}

/// Returns a sequence at which, or after which, the first message stands whose summary is not
/// older than `since`.
async fn first_since(
    log: &Log,
    subject: &str,
    newest: u64,
    since: Timestamp,
) -> Result<u64, Setback> {
    // What stands below `low` is too old; what stands at or after `high` is not.
    let (mut low, mut high) = (1, newest);
    let mut step = STEP_BACK;
    while low < high {
        let probe = if step == 0 {
            low + (high - low) / 2
        } else {
            high.saturating_sub(step).max(low)
        };
        let is_before = match log.next(stream::EVENTS, subject, probe).await? {
            Some(stored) => {
                let is_before = last_event_at(&stored)? < Some(since);
                if is_before {
                    low = stored.sequence + 1;
                }
                is_before
            }
            // Purged meanwhile.
            None => false,
        };
        if is_before {
            step = 0;
        } else {
            high = probe;
            step = step.saturating_mul(4);
        }
    }
    Ok(low.min(high))
}

fn last_event_at(stored: &Stored) -> Result<Option<Timestamp>, Setback> {
    let known = read(stored)?;
    Ok(known.summary.last_event_at)
}

/// Reads what a message of an inbound subject says about its customer.
pub(crate) fn read(stored: &Stored) -> Result<convert::inbound::Known, Setback> {
    known(stored, &decoded(stored)?)
}

/// Reads what a message of an evidence subject says.
pub(crate) fn evidence(stored: &Stored) -> Result<Evidence, Setback> {
    let event = decoded(stored)?;
    convert::window::read_evidence(&event)
        .map_err(|error| unreadable(stored, error.to_string()))?
        .ok_or_else(|| {
            let event_type = event.event_type();
            unreadable(stored, format!("{event_type} is no evidence"))
        })
}

fn decoded(stored: &Stored) -> Result<Event, Setback> {
    stored
        .event()
        .map_err(|error| unreadable(stored, error.to_string()))
}

fn known(stored: &Stored, event: &Event) -> Result<convert::inbound::Known, Setback> {
    convert::inbound::known(event)
        .map_err(|error| unreadable(stored, error.to_string()))?
        .ok_or_else(|| {
            let event_type = event.event_type();
            unreadable(stored, format!("{event_type} is no fact about a customer"))
        })
}

fn unreadable(stored: &Stored, problem: String) -> Setback {
    Setback::Unreadable {
        subject: stored.subject.clone(),
        sequence: stored.sequence,
        problem,
    }
}

/// How far back the stream of events reaches.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    kept: Mutex<Option<(Instant, Option<Timestamp>)>>,
}

impl Horizon {
    /// Returns whether a fact of this time may have been stored and purged since.
    pub(crate) async fn is_behind(
        &self,
        log: &Log,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Setback> {
        let is_fresh = now.duration_since(at) <= FRESH_AGE_MAX;
        let kept = *self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = match kept {
            Some((since, oldest)) if is_fresh && since.elapsed() < HORIZON_KEPT => oldest,
            _ => {
                let oldest = oldest(log, now).await?;
                *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), oldest));
                oldest
            }
        };
        Ok(
            oldest
                .is_some_and(|oldest| at.saturating_sub(CLOCK_MARGIN).is_ok_and(|at| at < oldest)),
        )
    }
}

/// Returns when the oldest message was stored; `None` if nothing was ever purged.
async fn oldest(log: &Log, now: Timestamp) -> Result<Option<Timestamp>, Setback> {
    let state = log.state(stream::EVENTS).await?;
    if state.first_sequence <= 1 {
        return Ok(None);
    }
    let first = log.get(stream::EVENTS, state.first_sequence).await?;
    // Without a first message everything up to now was purged.
    Ok(Some(first.map_or(now, |stored| stored.stored_at)))
}

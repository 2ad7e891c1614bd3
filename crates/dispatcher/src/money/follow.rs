//! Adds up what was spent from the log: from what was last written down, and on for ever.
//!
//! Messages leave the log days after their end, a month is longer. So the active replica writes
//! the sum down now and then, with the sequence that it goes up to; a start goes on behind it.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::money::{Month, Owner};
use casement_event::convert::message::money::{read_spend, spend};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, convert, id, v1};
use casement_event_log::{AppendError, Expect, Followed, Log, ReadError, Start};
use casement_shell::backoff::Schedule;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Money, Plan};
use crate::engine::Engine;

/// How often it is looked whether the sum is to be written down.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Which sum: one for all numbers.
const SUM: &str = "all";

/// Where the sum was last written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    /// Of the record; 0 if there is none.
    sequence: u64,
    /// Up to where the log is in it.
    through: u64,
}

/// Adds up what is spent until stopped. Nothing to do without a rate card.
pub(crate) async fn run(
    engine: Arc<Engine>,
    is_active: watch::Receiver<bool>,
    count_every: SignedDuration,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let Some(plan) = &engine.money.plan else {
        return Ok(());
    };
    let every = Duration::try_from(count_every).unwrap_or(LOOK_EVERY);
    let mut waits = Schedule::DEFAULT.waits();
    let mut written = loop {
        match take_up(&engine.money, plan, &engine.log, engine.clock.now()).await {
            Ok(written) => break written,
            Err(error) => {
                tracing::warn!(error = %error, "what was spent could not be read yet");
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    () = tokio::time::sleep(waits.next_wait()) => {}
                }
            }
        }
    };
    let start = Start::Sequence(written.through + 1);
    let mut follower = engine
        .log
        .follow(stream::MESSAGES, vec![Family::Message.filter()], start);
    let mut look = interval(every.min(LOOK_EVERY));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written_at = Instant::now();
    let (mut through, mut is_caught_up, mut has_changed) = (written.through, false, false);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            followed = follower.next() => {
                match followed {
                    Followed::CaughtUp { sequence } => {
                        is_caught_up = true;
                        through = through.max(sequence);
                    }
                    Followed::Event(stored) => {
                        has_changed |= take(&engine.money, &stored);
                        through = stored.sequence;
                    }
                }
                if is_caught_up {
                    engine.money.through.send_replace(Some(through));
                }
            }
            _ = look.tick() => {
                let is_due = is_caught_up && has_changed && written_at.elapsed() >= every;
                if !is_due || !*is_active.borrow() {
                    continue;
                }
                let now = engine.clock.now();
                match write_down(&engine, plan, written.sequence, through, now).await {
                    Ok(sequence) => {
                        written = Written { sequence, through };
                        (written_at, has_changed) = (Instant::now(), false);
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "what was spent is not written down yet");
                        // Another replica may have written.
                        let last = last_sequence(&engine.log).await;
                        written.sequence = last.unwrap_or(written.sequence);
                    }
                }
            }
        }
    }
}

/// Takes an event of the log into the sum; returns whether it changes something.
fn take(money: &Money, stored: &casement_event::Stored) -> bool {
    // Most events of a message have no cost, and reading their type is enough.
    let has_cost = [
        "AttemptStarted",
        "AttemptRejected",
        "DeliveryAdvanced",
        "MessageBilled",
    ]
    .iter()
    .any(|name| stored.event_type().ends_with(name));
    let Some((_, id)) = subject::parse_message(&stored.subject).filter(|_| has_cost) else {
        return false;
    };
    match stored.event() {
        Ok(event) => {
            money.hear(&id, &event);
            true
        }
        Err(error) => {
            let sequence = stored.sequence;
            tracing::warn!(sequence, error = %error, "event is not in what was spent");
            false
        }
    }
}

async fn last_sequence(log: &Log) -> Result<u64, ReadError> {
    let last = log.last(stream::ACCOUNTS, &subject::spend(SUM)).await?;
    Ok(last.map_or(0, |stored| stored.sequence))
}

/// Takes up what was last written down.
async fn take_up(
    money: &Money,
    plan: &Plan,
    log: &Log,
    now: Timestamp,
) -> Result<Written, ReadError> {
    let Some(stored) = log.last(stream::ACCOUNTS, &subject::spend(SUM)).await? else {
        return Ok(Written::default());
    };
    let sequence = stored.sequence;
    let Ok(Event::SpendCounted(counted)) = stored.event() else {
        tracing::error!(
            sequence,
            "what was spent cannot be read: it is added up anew"
        );
        return Ok(Written {
            sequence,
            through: 0,
        });
    };
    if counted.currency != plan.card.currency.as_str() {
        let (was, is) = (&counted.currency, plan.card.currency);
        tracing::warn!(%was, %is, "rate card has another currency: what was spent begins anew");
        return Ok(Written {
            sequence,
            through: counted.through_sequence,
        });
    }
    money.begin_with(&counted, plan.month(now).before());
    // A log that is shorter than what was counted was made anew: what it holds is not in it.
    let state = log.state(stream::MESSAGES).await?;
    let is_shorter = state.last_sequence < counted.through_sequence;
    let through = if is_shorter {
        0
    } else {
        counted.through_sequence
    };
    Ok(Written { sequence, through })
}

impl Money {
    /// Begins with what was written down, from a month on.
    fn begin_with(&self, counted: &v1::SpendCounted, first: Month) {
        let mut book = self.book();
        for of_number in &counted.numbers {
            let part = of_number.spend.as_ref().and_then(read_spend);
            if let Some((month, spend)) = part.filter(|(month, _)| *month >= first) {
                let owner = Owner {
                    number: of_number.number.clone(),
                    brand: of_number.brand_id.clone(),
                };
                book.ledger.add(&owner, month, spend);
            }
        }
    }
}

/// Writes the sum down; returns the sequence of the record.
async fn write_down(
    engine: &Engine,
    plan: &Plan,
    expected: u64,
    through: u64,
    now: Timestamp,
) -> Result<u64, AppendError> {
    let first: Month = plan.month(now).before();
    let ledger = {
        let mut book = engine.money.book();
        book.ledger.forget_before(first);
        book.on_record()
    };
    let numbers = ledger.all().map(|(month, owner, part)| v1::SpendOfNumber {
        number: owner.number.clone(),
        brand_id: owner.brand.clone(),
        spend: Some(spend(&(month, part))),
    });
    let counted = v1::SpendCounted {
        through_sequence: through,
        currency: plan.card.currency.to_string(),
        count_time: Some(convert::timestamp(now)),
        numbers: numbers.collect(),
    };
    let subject = subject::spend(SUM);
    let id = id::spend(&subject, through, now);
    let record = Record::new(subject.clone(), id, "casement/dispatcher", now, counted);
    let position = engine
        .log
        .append(record, Expect::last(subject, expected))
        .await?;
    Ok(position.sequence)
}

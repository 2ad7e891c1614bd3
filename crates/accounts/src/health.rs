//! What the platform says of numbers, kept beside their records: told by webhooks, and asked for.
//!
//! Only the platform's facts change it, and only what is another than before is written. That the
//! platform said the same again is kept in memory, so that a late report is known to be late.

mod asked;
mod told;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use casement_domain::number_health::{Fact, Health, Kind, Source};
use casement_event::convert::number_health::{changes, read, stored};
use casement_event::convert::timestamp;
use casement_event::v1;
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::book::{Book, BookError};
use crate::ledger::Ledger;
use crate::platform::Platform;

pub(crate) use asked::{CheckError, has_registered};
pub(crate) use told::{take_up, work};

/// Stands on changes that the platform told of.
const TELLER: &str = "platform";

/// Keeps the health of all numbers.
pub(crate) struct Keeper {
    book: Arc<Book>,
    clock: SharedClock,
    platform: Arc<Platform>,
    /// How often a number is asked about; zero for never.
    every: SignedDuration,
    /// What was last known of each number, with what changed nothing.
    known: Mutex<HashMap<String, Health>>,
    /// When each number is asked about next.
    due: Mutex<HashMap<String, Timestamp>>,
    /// A number is to be asked about at once.
    soon: Notify,
}

/// What is told of a number under one of the platform's ids.
pub(crate) struct News {
    pub(crate) number: String,
    /// The id that it was told under; empty for whichever the number has.
    pub(crate) phone_number_id: String,
    pub(crate) facts: Vec<(Kind, Fact)>,
}

impl Keeper {
    pub(crate) fn new(
        book: Arc<Book>,
        clock: SharedClock,
        platform: Arc<Platform>,
        every: SignedDuration,
    ) -> Self {
        Self {
            book,
            clock,
            platform,
            every,
            known: Mutex::default(),
            due: Mutex::default(),
            soon: Notify::new(),
        }
    }

    /// Takes up what is told of a number; returns whether that changed anything. `caller` is who
    /// had it done, if it is about something that was done here.
    pub(crate) async fn hear(&self, news: News, caller: &str) -> Result<bool, BookError> {
        let caller = if caller.is_empty() { TELLER } else { caller };
        let cause = self.book.cause(caller);
        let mut desk = self.book.desk().await?;
        let heard = self.known().get(&news.number).cloned().unwrap_or_default();
        let is_written = desk
            .settle(&cause, |ledger| {
                let event = change(ledger, &news, &heard, cause.time, caller);
                Ok(event.map(Into::into))
            })
            .await?;
        let after = told_of(desk.ledger(), &news, &heard);
        if let Some((_, after)) = after {
            self.known().insert(news.number, after);
        }
        Ok(is_written)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Health>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what is on record of a number's health, as far as it is about the id that it has now.
pub(crate) fn on_record(ledger: &Ledger, number: &v1::Number) -> Health {
    let Some(entry) = ledger.health.get(&number.number) else {
        return Health::default();
    };
    let health = read(&entry.record);
    if entry.record.phone_number_id == number.phone_number_id {
        health
    } else {
        health.moved()
    }
}

/// Returns what is known of a number before and after the news; `None` if they are not about it.
fn told_of(ledger: &Ledger, news: &News, heard: &Health) -> Option<(Health, Health)> {
    let number = ledger.number(&news.number)?;
    let is_about_it =
        news.phone_number_id.is_empty() || news.phone_number_id == number.phone_number_id;
    if !is_about_it {
        return None;
    }
    let before = on_record(ledger, number);
    let about = ledger.health.get(&news.number);
    let is_moved =
        about.is_some_and(|entry| entry.record.phone_number_id != number.phone_number_id);
    let heard = if is_moved {
        heard.clone().moved()
    } else {
        heard.clone()
    };
    let mut after = before.clone().join(heard);
    for (kind, fact) in &news.facts {
        after.take(*kind, following(&after, *kind, fact.clone()));
    }
    Some((before, after))
}

/// What is done here is done one after the other, also within one tick of the clock.
fn following(known: &Health, kind: Kind, mut fact: Fact) -> Fact {
    if fact.source == Source::Act
        && let Some(before) = known.fact(kind)
        && before.at >= fact.at
    {
        let tick = SignedDuration::from_nanos(1);
        fact.at = before.at.checked_add(tick).unwrap_or(before.at);
    }
    fact
}

fn change(
    ledger: &Ledger,
    news: &News,
    heard: &Health,
    now: Timestamp,
    caller: &str,
) -> Option<v1::NumberHealthChanged> {
    let (before, after) = told_of(ledger, news, heard)?;
    let changed = after.changes_since(&before);
    if changed.is_empty() {
        return None;
    }
    let number = ledger.number(&news.number)?;
    Some(v1::NumberHealthChanged {
        health: Some(stored(&number.number, &number.phone_number_id, &after)),
        changes: changes(&changed),
        time: Some(timestamp(now)),
        caller: caller.to_owned(),
    })
}

//! What happened, in figures that are exact however often and in whatever order it is told.
//!
//! Every event tells facts about a thing: a message, a customer's message, an expiry. What is known
//! of a thing is the join of its facts, whose order and repetition change nothing. What a thing
//! counts is a function of what is known of it; when that becomes more, sums change by the
//! difference. So sums are a function of the set of facts: what is archived twice, late, or counted
//! again counts once, and on its own day.
//!
//! Counting follows the archive and is in nobody's way: it reads rows that are archived, and notes
//! how far it came in the transaction of what it writes. It keeps no text of anybody.

mod calendar;
mod counter;
mod histogram;
mod tell;
mod thing;

#[cfg(test)]
mod tests;

pub(crate) use calendar::{Calendar, CalendarError};
pub(crate) use counter::Counter;
pub(crate) use histogram::Histogram;
pub(crate) use thing::{Item, Measure, Thing};

use std::collections::{BTreeMap, BTreeSet};

use casement_event::Event;

use crate::model::Row;
use crate::store::{Acted, Contact, Figured, RecordKind, Recorded, SumKey};

/// Which version of counting this is. A higher one than a database knows makes it count everything
/// again, beside what is served until then.
pub(crate) const VERSION: i64 = 1;

/// How long minutes are kept for plots and rates.
pub(crate) const MINUTES_KEPT: i64 = 26 * 60;

/// What is read from some rows of the archive, before it is joined with what was known.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// What the rows tell of each thing.
    pub(crate) things: BTreeMap<String, Thing>,
    webhooks: BTreeMap<String, i64>,
    records: BTreeMap<(RecordKind, String), Recorded>,
    acts: BTreeMap<String, Acted>,
    /// Who was written to by which message: decided once it is known whether it left.
    written_to: BTreeMap<String, (String, String)>,
    newest_minute: i64,
}

impl Read {
    /// Reads rows; what is not understood counts nothing, until a version does.
    pub(crate) fn rows(rows: &[Row]) -> Self {
        let mut read = Self::default();
        for row in rows {
            let minute = row.stored.stored_at.as_second().div_euclid(60);
            read.newest_minute = read.newest_minute.max(minute);
            if let Ok(event) = row.stored.event() {
                read.event(row, &event);
            }
        }
        read
    }

    fn event(&mut self, row: &Row, event: &Event) {
        for (name, told) in tell::facts(&row.stored, event) {
            self.things.entry(name).or_default().join(told);
        }
        if let Some((number, at)) = tell::webhook(event) {
            let newest = self.webhooks.entry(number).or_insert(at);
            *newest = (*newest).max(at);
        }
        if let Some((message_id, portfolio_id, customer_id)) = tell::written_to(event) {
            self.written_to
                .insert(tell::message(&message_id), (portfolio_id, customer_id));
        }
        if let Some((kind, name, record)) = tell::record(event) {
            let stored_ns = crate::model::nanoseconds(row.stored.stored_at);
            let recorded = Recorded {
                kind,
                name: name.clone(),
                stored_ns,
                record,
            };
            let held = self
                .records
                .entry((kind, name))
                .or_insert_with(|| recorded.clone());
            if held.stored_ns <= stored_ns {
                *held = recorded;
            }
        }
        if let Some(act) = crate::acts::act(row, event) {
            self.acts.entry(act.act.clone()).or_insert(act);
        }
    }

    /// Joins what was read with what was known, and says what of sums and tables that changes.
    pub(crate) fn figured(self, known: &BTreeMap<String, Thing>) -> Figured {
        let mut figured = Figured::default();
        let mut sums: BTreeMap<SumKey, i64> = BTreeMap::new();
        let mut minutes: BTreeMap<(String, i64, &'static str), i64> = BTreeMap::new();
        let mut contacts: BTreeMap<(String, String), i64> = BTreeMap::new();
        for (name, told) in self.things {
            let before = known.get(&name);
            let mut after = before.cloned().unwrap_or_default();
            after.join(told);
            if let Some((portfolio_id, customer_id)) = self.written_to.get(&name)
                && let Some(at) = after.written_outside_window()
            {
                let key = (portfolio_id.clone(), customer_id.clone());
                let newest = contacts.entry(key).or_insert(at);
                *newest = (*newest).max(at);
            }
            if before == Some(&after) {
                continue;
            }
            for (item, sign) in signed(before, &after) {
                if item.label.is_empty() && item.measure.is_plotted() {
                    let key = (item.number.clone(), item.minute, item.measure.as_str());
                    *minutes.entry(key).or_default() += sign * item.value;
                }
                let (key, value) = item.key();
                *sums.entry(key).or_default() += sign * value;
            }
            figured.things.push((name, after.to_json()));
        }
        let oldest_minute = self.newest_minute - MINUTES_KEPT;
        figured.sums = sums.into_iter().filter(|(_, value)| *value != 0).collect();
        figured.minutes = minutes
            .into_iter()
            .filter(|((_, minute, _), value)| *value != 0 && *minute >= oldest_minute)
            .collect();
        figured.webhooks = self.webhooks.into_iter().collect();
        figured.contacts = contacts
            .into_iter()
            .map(|((portfolio_id, customer_id), at)| Contact {
                portfolio_id,
                customer_id,
                at_ns: at.saturating_mul(1_000_000_000),
            })
            .collect();
        figured.records = self.records.into_values().collect();
        figured.acts = self.acts.into_values().collect();
        figured
    }

    /// Has something else stand for each label.
    pub(crate) fn seal_labels<E>(
        &mut self,
        mut seal: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        for thing in self.things.values_mut() {
            for label in thing.requested.iter_mut().flat_map(|one| &mut one.labels) {
                *label = seal(label)?;
            }
        }
        Ok(())
    }

    /// Names of the things that have to be known.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.things.keys().cloned().collect()
    }
}

/// What a thing no longer counts, and what it counts by now.
fn signed(before: Option<&Thing>, after: &Thing) -> impl Iterator<Item = (Item, i64)> {
    let before = before.map(Thing::items).unwrap_or_default();
    let gone = before.into_iter().map(|item| (item, -1));
    gone.chain(after.items().into_iter().map(|item| (item, 1)))
}

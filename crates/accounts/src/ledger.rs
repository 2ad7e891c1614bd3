//! What is on record, folded from the log. Pure.
//!
//! It holds the last record of each subject with its place, so that a writer can expect it.

use std::collections::BTreeMap;

use casement_event::subject::{account, template_token};
use casement_event::{Event, Stored, v1};
use casement_event_log::{Expect, Position};
use jiff::Timestamp;

/// Matches every migration's subject.
const ALL_MIGRATIONS: &str = "casement.accounts.migration.*";

/// Matches every number's subject.
const ALL_NUMBERS: &str = "casement.accounts.number.*";

/// The kinds of records that the ledger keeps. What else stands beside them has keepers of its own.
const KINDS: &[&str] = &[
    "brand",
    "number",
    "template",
    "sync",
    crate::application::KIND,
    "migration",
    "health",
    "downgrade",
    "deregistration",
    "registration",
    crate::onboarding::KIND,
];

/// Whether the ledger keeps what stands on a subject.
pub(crate) fn is_kept(subject: &str) -> bool {
    let kind = subject.split('.').nth(2);
    kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// A record, and the event that left it so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<T> {
    pub(crate) record: T,
    pub(crate) position: Position,
    pub(crate) caller: String,
    pub(crate) time: Option<Timestamp>,
}

/// All brands, numbers and templates. The keys are the last tokens of their subjects.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) brands: BTreeMap<String, Entry<v1::Brand>>,
    pub(crate) numbers: BTreeMap<String, Entry<v1::Number>>,
    pub(crate) templates: BTreeMap<String, Entry<v1::Template>>,
    /// How the templates of each WABA were last read.
    pub(crate) syncs: BTreeMap<String, Entry<v1::TemplatesSynced>>,
    pub(crate) applications: BTreeMap<String, Entry<crate::application::Kept>>,
    pub(crate) migrations: BTreeMap<String, Entry<v1::Migration>>,
    pub(crate) health: BTreeMap<String, Entry<v1::NumberHealth>>,
    pub(crate) downgrades: BTreeMap<String, Entry<v1::DowngradeRequested>>,
    pub(crate) deregistrations: BTreeMap<String, Entry<v1::Deregistration>>,
    pub(crate) registrations: BTreeMap<String, Entry<v1::RegistrationTally>>,
    pub(crate) onboardings: BTreeMap<String, Entry<v1::Onboarding>>,
}

/// An event of ours, as far as the log needs to know it.
pub(crate) struct Place {
    pub(crate) kind: &'static str,
    pub(crate) key: String,
}

impl Place {
    pub(crate) fn subject(&self) -> String {
        account(self.kind, &self.key)
    }
}

impl Ledger {
    pub(crate) fn brand(&self, brand_id: &str) -> Option<&v1::Brand> {
        self.brands.get(brand_id).map(|entry| &entry.record)
    }

    /// By its digits.
    pub(crate) fn number(&self, digits: &str) -> Option<&v1::Number> {
        self.numbers.get(digits).map(|entry| &entry.record)
    }

    pub(crate) fn holder_of(&self, phone_number_id: &str) -> Option<&v1::Number> {
        self.records()
            .find(|number| has_id(number, phone_number_id))
    }

    pub(crate) fn migration(&self, migration_id: &str) -> Option<&v1::Migration> {
        self.migrations.get(migration_id).map(|entry| &entry.record)
    }

    pub(crate) fn template(&self, of: &v1::Template) -> Option<&Entry<v1::Template>> {
        self.templates.get(&template_key(of))
    }

    /// Whether one of the WABA's numbers satisfies `is_wanted`.
    pub(crate) fn has_number_of(
        &self,
        waba_id: &str,
        is_wanted: impl Fn(&v1::Number) -> bool,
    ) -> bool {
        self.records()
            .any(|number| number.waba_id == waba_id && is_wanted(number))
    }

    fn records(&self) -> impl Iterator<Item = &v1::Number> {
        self.numbers.values().map(|entry| &entry.record)
    }

    /// Takes up an event from the log. Returns whether it is one of ours with its record in it.
    pub(crate) fn apply(&mut self, stored: &Stored, event: Event) -> bool {
        let position = Position {
            stream: stored.stream.clone(),
            incarnation: stored.incarnation.clone(),
            sequence: stored.sequence,
        };
        self.take(position, event)
    }

    /// Takes up an event that stands at `position`, unless a newer one was taken up already.
    pub(crate) fn take(&mut self, position: Position, event: Event) -> bool {
        let Some(Place { key, .. }) = place(&event) else {
            return false;
        };
        if let Some((kept, time, caller)) = crate::application::kept(&event) {
            put(&mut self.applications, key, kept, position, time, caller);
            return true;
        }
        if let Some((migration, time, caller)) = crate::migration::record_of(&event) {
            put(&mut self.migrations, key, migration, position, time, caller);
            return true;
        }
        match event {
            Event::BrandRecorded(v1::BrandRecorded {
                brand: Some(brand),
                time,
                caller,
            }) => put(&mut self.brands, key, brand, position, time, caller),
            Event::NumberRecorded(v1::NumberRecorded {
                number: Some(number),
                time,
                caller,
            })
            | Event::NumberPaused(v1::NumberPaused {
                number: Some(number),
                time,
                caller,
            })
            | Event::NumberResumed(v1::NumberResumed {
                number: Some(number),
                time,
                caller,
            })
            | Event::NumberMigratedAway(v1::NumberMigratedAway {
                number: Some(number),
                time,
                caller,
                ..
            })
            | Event::NumberReturned(v1::NumberReturned {
                number: Some(number),
                time,
                caller,
            }) => put(&mut self.numbers, key, number, position, time, caller),
            Event::NumberHealthChanged(v1::NumberHealthChanged {
                health: Some(health),
                time,
                caller,
                ..
            }) => put(&mut self.health, key, health, position, time, caller),
            Event::DowngradeRequested(event) => {
                let (time, caller) = (event.time, event.caller.clone());
                put(&mut self.downgrades, key, event, position, time, caller);
            }
            Event::DeregistrationAdvanced(v1::DeregistrationAdvanced {
                deregistration: Some(record),
                time,
            }) => {
                let caller = record.caller.clone();
                put(
                    &mut self.deregistrations,
                    key,
                    record,
                    position,
                    time,
                    caller,
                );
            }
            Event::RegistrationCounted(v1::RegistrationCounted {
                tally: Some(tally),
                time,
                caller,
            }) => put(&mut self.registrations, key, tally, position, time, caller),
            Event::OnboardingAdvanced(v1::OnboardingAdvanced {
                onboarding: Some(onboarding),
                time,
                caller,
            }) => put(
                &mut self.onboardings,
                key,
                onboarding,
                position,
                time,
                caller,
            ),
            Event::TemplateRecorded(v1::TemplateRecorded {
                template: Some(template),
                time,
                caller,
            }) => put(&mut self.templates, key, template, position, time, caller),
            Event::TemplatesSynced(synced) => {
                let (time, caller) = (synced.time, synced.caller.clone());
                put(&mut self.syncs, key, synced, position, time, caller);
            }
            _ => return false,
        }
        true
    }

    /// What must still be so for an event that was decided on this ledger to be stored.
    ///
    /// A number expects that no number changed: that its `phone_number_id` is nobody else's is a
    /// claim about all of them. A migration expects that none did: a number has one at a time.
    pub(crate) fn expectation(&self, place: &Place) -> Expect {
        fn newest<T>(entry: Option<&Entry<T>>) -> u64 {
            entry.map_or(0, |entry| entry.position.sequence)
        }
        match place.kind {
            "number" => {
                let sequences = self.numbers.values().map(|entry| entry.position.sequence);
                Expect::last(ALL_NUMBERS, sequences.max().unwrap_or_default())
            }
            "migration" => {
                let all = self.migrations.values();
                let sequences = all.map(|entry| entry.position.sequence);
                Expect::last(ALL_MIGRATIONS, sequences.max().unwrap_or_default())
            }
            crate::application::KIND => {
                let all = self.applications.values();
                let sequences = all.map(|entry| entry.position.sequence);
                let newest = sequences.max().unwrap_or_default();
                Expect::last(crate::application::ALL, newest)
            }
            "health" => Expect::last(place.subject(), newest(self.health.get(&place.key))),
            "downgrade" => Expect::last(place.subject(), newest(self.downgrades.get(&place.key))),
            "deregistration" => {
                let entry = self.deregistrations.get(&place.key);
                Expect::last(place.subject(), newest(entry))
            }
            crate::onboarding::KIND => {
                let entry = self.onboardings.get(&place.key);
                Expect::last(place.subject(), newest(entry))
            }
            "registration" => {
                let entry = self.registrations.get(&place.key);
                Expect::last(place.subject(), newest(entry))
            }
            "brand" => Expect::last(place.subject(), newest(self.brands.get(&place.key))),
            "sync" => Expect::last(place.subject(), newest(self.syncs.get(&place.key))),
            _ => Expect::last(place.subject(), newest(self.templates.get(&place.key))),
        }
    }
}

/// Returns where an event of ours is stored.
pub(crate) fn place(event: &Event) -> Option<Place> {
    if let Some((migration, ..)) = crate::migration::record_of(event) {
        let (kind, key) = ("migration", migration.migration_id);
        return Some(Place { kind, key });
    }
    if let Some(told) = casement_event::convert::application::told(event) {
        let (kind, key) = (
            crate::application::KIND,
            told.application.application_id.clone(),
        );
        return Some(Place { kind, key });
    }
    let (kind, key) = match event {
        Event::BrandRecorded(event) => ("brand", event.brand.as_ref()?.brand_id.clone()),
        Event::NumberRecorded(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberPaused(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberResumed(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberMigratedAway(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberReturned(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberHealthChanged(event) => ("health", event.health.as_ref()?.number.clone()),
        Event::DowngradeRequested(event) => ("downgrade", event.number.clone()),
        Event::DeregistrationAdvanced(event) => {
            let record = event.deregistration.as_ref()?;
            ("deregistration", record.number.clone())
        }
        Event::OnboardingAdvanced(event) => {
            let id = event.onboarding.as_ref()?.onboarding_id.clone();
            (crate::onboarding::KIND, id)
        }
        Event::RegistrationCounted(event) => ("registration", event.tally.as_ref()?.number.clone()),
        Event::TemplateRecorded(event) => ("template", template_key(event.template.as_ref()?)),
        Event::TemplatesSynced(event) => (crate::templates::KIND, event.waba_id.clone()),
        _ => return None,
    };
    Some(Place { kind, key })
}

/// Whether an id is a number's: now, before it moved, or once it has.
fn has_id(number: &v1::Number, phone_number_id: &str) -> bool {
    let mut before = number.previous_phone_number_ids.iter();
    let next = number.moving.as_ref().map(|moving| &moving.phone_number_id);
    number.phone_number_id == phone_number_id
        || before.any(|id| id == phone_number_id)
        || next.is_some_and(|id| id == phone_number_id)
}

pub(crate) fn template_key(of: &v1::Template) -> String {
    template_token(&of.waba_id, &of.name, &of.language)
}

fn put<T>(
    entries: &mut BTreeMap<String, Entry<T>>,
    key: String,
    record: T,
    position: Position,
    time: Option<prost_types::Timestamp>,
    caller: String,
) {
    let is_newer = entries
        .get(&key)
        .is_none_or(|known| known.position.sequence < position.sequence);
    if is_newer {
        let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        entries.insert(
            key,
            Entry {
                record,
                position,
                caller,
                time,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(sequence: u64) -> Position {
        Position {
            stream: "ACCOUNTS".to_owned(),
            incarnation: "1".to_owned(),
            sequence,
        }
    }

    fn recorded(digits: &str, display_name: &str) -> Event {
        v1::NumberRecorded {
            number: Some(v1::Number {
                number: digits.to_owned(),
                display_name: display_name.to_owned(),
                ..v1::Number::default()
            }),
            ..v1::NumberRecorded::default()
        }
        .into()
    }

    #[test]
    fn an_older_event_never_replaces_a_newer_one() {
        let mut ledger = Ledger::default();
        assert!(ledger.take(position(7), recorded("1", "new")));
        assert!(ledger.take(position(5), recorded("1", "old")));
        assert_eq!(ledger.number("1").unwrap().display_name, "new");
    }

    #[test]
    fn a_number_expects_that_no_number_changed() {
        let mut ledger = Ledger::default();
        let place = place(&recorded("1", "")).unwrap();
        assert_eq!(ledger.expectation(&place), Expect::last(ALL_NUMBERS, 0));
        ledger.take(position(4), recorded("1", ""));
        ledger.take(position(9), recorded("2", ""));
        assert_eq!(ledger.expectation(&place), Expect::last(ALL_NUMBERS, 9));
    }

    #[test]
    fn an_event_without_its_record_is_none_of_ours() {
        let mut ledger = Ledger::default();
        assert!(!ledger.take(position(1), v1::NumberRecorded::default().into()));
        assert!(!ledger.take(position(1), v1::MessageCancelled::default().into()));
    }
}

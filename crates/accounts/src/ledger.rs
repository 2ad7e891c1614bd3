//! What is on record, folded from the log. Pure.
//!
//! It holds the last record of each subject with its place, so that a writer can expect it.

use std::collections::BTreeMap;

use casement_event::subject::{account, template_token};
use casement_event::{Event, Stored, v1};
use casement_event_log::{Expect, Position};
use jiff::Timestamp;

/// Matches every number's subject.
const ALL_NUMBERS: &str = "casement.accounts.number.*";

/// The kinds of records that the ledger keeps. What else stands beside them has keepers of its own.
const KINDS: [&str; 3] = ["brand", "number", "template"];

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
            .find(|number| number.phone_number_id == phone_number_id)
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
            }) => put(&mut self.numbers, key, number, position, time, caller),
            Event::TemplateRecorded(v1::TemplateRecorded {
                template: Some(template),
                time,
                caller,
            }) => put(&mut self.templates, key, template, position, time, caller),
            _ => return false,
        }
        true
    }

    /// What must still be so for an event that was decided on this ledger to be stored.
    ///
    /// A number expects that no number changed: that its `phone_number_id` is nobody else's is a
    /// claim about all of them.
    pub(crate) fn expectation(&self, place: &Place) -> Expect {
        fn newest<T>(entry: Option<&Entry<T>>) -> u64 {
            entry.map_or(0, |entry| entry.position.sequence)
        }
        match place.kind {
            "number" => {
                let sequences = self.numbers.values().map(|entry| entry.position.sequence);
                Expect::last(ALL_NUMBERS, sequences.max().unwrap_or_default())
            }
            "brand" => Expect::last(place.subject(), newest(self.brands.get(&place.key))),
            _ => Expect::last(place.subject(), newest(self.templates.get(&place.key))),
        }
    }
}

/// Returns where an event of ours is stored.
pub(crate) fn place(event: &Event) -> Option<Place> {
    let (kind, key) = match event {
        Event::BrandRecorded(event) => ("brand", event.brand.as_ref()?.brand_id.clone()),
        Event::NumberRecorded(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberPaused(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::NumberResumed(event) => ("number", event.number.as_ref()?.number.clone()),
        Event::TemplateRecorded(event) => ("template", template_key(event.template.as_ref()?)),
        _ => return None,
    };
    Some(Place { kind, key })
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

//! The public description of the events names all that is stored, and nothing else.
//!
//! Looks for names, line by line; whether the page is good AsyncAPI is for its readers' tools.

use std::collections::BTreeSet;

use casement_event::subject::Family;
use casement_event::{Event, Extension, header};

const PAGE: &str = include_str!("../../../docs/asyncapi.yaml");

/// Leases, keys and stored secrets are no part of the record: nobody is to subscribe to them.
const NOT_PUBLISHED: [&str; 4] = [
    "casement.events.v1.LeaseTaken",
    "casement.events.v1.ContentKeyStored",
    "casement.events.v1.SecretStored",
    "casement.events.v1.SecretDeleted",
];

/// What stands behind `key:` in the lines of the page.
fn values(key: &str) -> BTreeSet<&'static str> {
    let values = PAGE.lines().filter_map(|line| {
        let (found, value) = line.trim().split_once(": ")?;
        (found == key).then(|| value.trim_matches('\''))
    });
    values.collect()
}

#[test]
fn every_event_that_is_stored_stands_in_the_description_and_no_other() {
    let described: BTreeSet<&str> = values("name")
        .into_iter()
        .filter(|name| name.starts_with("casement.events."))
        .collect();
    let stored: BTreeSet<&str> = Event::TYPES
        .iter()
        .copied()
        .filter(|name| !NOT_PUBLISHED.contains(name))
        .collect();
    assert_eq!(described, stored);
}

#[test]
fn every_described_event_belongs_to_a_channel() {
    let references = values("$ref");
    for name in values("name") {
        let Some(short) = name.strip_prefix("casement.events.v1.") else {
            continue;
        };
        let reference = format!("#/components/messages/{short}");
        assert!(
            references.contains(reference.as_str()),
            "{short} is in no channel"
        );
    }
}

#[test]
fn every_header_is_described() {
    let headers = [
        header::SPEC_VERSION,
        header::ID,
        header::TYPE,
        header::SOURCE,
        header::TIME,
        header::SUBJECT,
        header::CONTENT_TYPE,
        header::TRACEPARENT,
        header::APPEND_ID,
        Extension::Number.header(),
        Extension::Brand.header(),
        Extension::Customer.header(),
        Extension::WindowId.header(),
        Extension::State.header(),
        Extension::ExpireTime.header(),
        Extension::WaitingSince.header(),
        Extension::Deadline.header(),
        Extension::ClientReference.header(),
        Extension::RequestTime.header(),
        Extension::Priority.header(),
        Extension::InitiateTime.header(),
    ];
    let lines: BTreeSet<&str> = PAGE.lines().map(str::trim).collect();
    for header in headers {
        assert!(
            lines.contains(format!("{header}:").as_str()),
            "{header} is not described"
        );
    }
}

#[test]
fn every_family_has_a_channel() {
    let addresses = values("address");
    let families = [
        Family::Inbound,
        Family::Window,
        Family::Evidence,
        Family::Note,
        Family::Message,
        Family::Report,
        Family::Media,
    ];
    for family in families {
        let prefix = family.filter().replace('>', "{partition}.{number}.");
        assert!(
            addresses.iter().any(|address| address.starts_with(&prefix)),
            "{prefix} has no channel"
        );
    }
}

//! Events and chains for tests of this crate.

use std::sync::Arc;

use casement_event::{Event, Record, Stored, Uuid, id, v1};
use casement_secrets::keys::MasterKeys;
use casement_shell::config::Secret;
use jiff::{SignedDuration, Timestamp};

use crate::batch::Batch;
use crate::chain::Head;
use crate::model::Row;

/// The master key of tests.
pub(crate) const MASTER: &str = "a key that nobody but these tests knows";

/// One that may take its place.
pub(crate) const NEW_MASTER: &str = "a new key that nobody but these tests knows";

/// The master keys of tests.
pub(crate) fn masters() -> Arc<MasterKeys> {
    masters_of(MASTER)
}

pub(crate) fn masters_of(lines: &str) -> Arc<MasterKeys> {
    let text = Secret::from_value(lines);
    let keys = MasterKeys::read("secrets.master_key", Some(&text), "customers");
    Arc::new(keys.unwrap())
}

/// When the first event of a test was stored.
pub(crate) fn start() -> Timestamp {
    "2026-11-22T10:00:00.123456789Z".parse().unwrap()
}

pub(crate) fn conversation() -> v1::Conversation {
    v1::Conversation {
        number: "15550001111".to_owned(),
        customer_id: "c1".to_owned(),
        brand_id: "default".to_owned(),
        portfolio_id: "p1".to_owned(),
    }
}

/// An event as stored, one second after another by its sequence.
pub(crate) fn record(stream: &str, sequence: u64, event: &Event) -> Stored {
    let subject = "casement.events.inbound.03.15550001111.c1".to_owned();
    record_on(&subject, stream, sequence, event)
}

pub(crate) fn record_on(subject: &str, stream: &str, sequence: u64, event: &Event) -> Stored {
    let seconds = i64::try_from(sequence).unwrap();
    let stored_at = start() + SignedDuration::from_secs(seconds);
    let number = casement_domain::id::BusinessNumber::parse("15550001111").unwrap();
    let fact: Uuid = id::inbound(&number, &format!("{stream}.{sequence}"));
    let record = Record::new(
        subject.to_owned(),
        fact,
        "casement/test",
        stored_at,
        event.clone(),
    );
    Stored {
        stream: stream.to_owned(),
        incarnation: "1a".to_owned(),
        sequence,
        subject: subject.to_owned(),
        stored_at,
        headers: record
            .headers()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        payload: event.encode(),
    }
}

/// A customer's message as stored.
pub(crate) fn stored(stream: &str, sequence: u64) -> Stored {
    let message = v1::InboundMessageReceived {
        conversation: Some(conversation()),
        text: format!("message {sequence}"),
        kind: "text".to_owned(),
        ..Default::default()
    };
    record(stream, sequence, &message.into())
}

/// A whole chain with these sequences, and its head.
pub(crate) fn rows(stream: &str, sequences: &[u64]) -> (Vec<Row>, Head) {
    let events = sequences
        .iter()
        .map(|sequence| stored(stream, *sequence))
        .collect();
    let batch = Batch::seal(Head::start(stream, "1a"), events, || [7; 16]);
    (
        batch.entries.into_iter().map(|entry| entry.row).collect(),
        batch.after,
    )
}

//! Numbers as the API shows them: a record with its etag, and where it stands at the platform. What
//! writes take from a request, a file or a plan stands next door.

pub(crate) mod deregister;
pub(crate) mod drain;
pub(crate) mod filed;
pub(crate) mod leaving;
pub(crate) mod mask;
pub(crate) mod service;

use casement_domain::number_health::{Connection, Health, Limit, THROUGHPUT_STANDARD, stop};
use casement_event::convert::number_health::stored;
use casement_event::v1;
use casement_proto::account::v1 as api;

use crate::api::{etag, shown};
use crate::ledger::{Entry, Ledger};
use crate::{capabilities, health};

/// Returns whether a record is still the one that a write brings the etag of. Without an etag it
/// may be any.
pub(crate) fn is_current<T>(entry: Option<&Entry<T>>, wanted: &str) -> bool {
    wanted.is_empty() || entry.is_some_and(|entry| etag(&entry.position) == wanted)
}

/// Returns a number as the API shows it: with its plus, and its etag.
pub(crate) fn shown_with_etag(entry: &Entry<v1::Number>) -> v1::Number {
    v1::Number {
        etag: etag(&entry.position),
        ..shown(&entry.record)
    }
}

/// Returns where a number stands at the platform, and what follows.
pub(crate) fn standing(ledger: &Ledger, number: &v1::Number) -> api::NumberStanding {
    let digits = &number.number;
    let health = health::on_record(ledger, number);
    let (connection, text) = connection(&health);
    let record = ledger.deregistrations.get(digits);
    let downgrade = ledger.downgrades.get(digits);
    api::NumberStanding {
        health: Some(stored(digits, &number.phone_number_id, &health)),
        connection: connection.into(),
        text,
        throughput: throughput(number, &health),
        messaging_limit: messaging_limit(number, &health),
        capabilities: capabilities::all(digits, &health),
        deregistration: record.map(|entry| entry.record.clone()),
        downgrade: downgrade.map(|entry| entry.record.clone()),
    }
}

fn connection(health: &Health) -> (api::Connection, String) {
    match health.connection() {
        Connection::Connected => (api::Connection::Connected, String::new()),
        Connection::Unknown => (api::Connection::Unknown, String::new()),
        Connection::NotConnected { .. } => {
            let text = stop(health, "").map(|stop| stop.text);
            (api::Connection::NotConnected, text.unwrap_or_default())
        }
        Connection::Deregistered { at } => {
            let text = format!("The number was deregistered at {at}.");
            (api::Connection::Deregistered, text)
        }
    }
}

fn throughput(number: &v1::Number, health: &Health) -> u32 {
    match number.throughput {
        0 => health.throughput().unwrap_or(THROUGHPUT_STANDARD),
        wanted => wanted,
    }
}

fn messaging_limit(number: &v1::Number, health: &Health) -> u32 {
    match (number.messaging_limit, health.messaging_limit()) {
        (0, Limit::Customers(limit)) => limit,
        (wanted, _) => wanted,
    }
}

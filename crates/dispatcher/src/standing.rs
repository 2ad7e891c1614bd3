//! What a number's standing at the platform does to its messages: stops them while it may pass,
//! and ends them once it cannot.
//!
//! What the platform says is read from the directory, what follows from it is the domain's.

use casement_domain::halt::{Stop, Stops};
use casement_domain::number_health::{self, Connection};
use casement_domain::routing::Gone;
use casement_event::convert::instant;
use casement_event::v1;
use casement_event_log::directory::Directory;
use jiff::Timestamp;

/// Names what stops a number by its status, among halts.
fn by_status(number: &str) -> String {
    format!("status.{number}")
}

/// Names what stops its templates.
fn by_restriction(number: &str) -> String {
    format!("restriction.{number}")
}

/// Returns why a number sends nothing on WhatsApp any more.
pub(crate) fn gone(directory: &Directory, account: &v1::Number) -> Option<Gone> {
    if account.migrate_away_time.is_some() {
        return Some(Gone::MigratedAway);
    }
    match directory.health(&account.number).connection() {
        Connection::Deregistered { .. } => Some(Gone::Deregistered),
        Connection::Connected | Connection::Unknown | Connection::NotConnected { .. } => None,
    }
}

/// Returns what stops a number's WhatsApp messages in the moment in which the platform hands it
/// over to another business account. It ends with the record that brings the new id, and by itself.
fn by_move(account: &v1::Number, now: Timestamp) -> Option<Stop> {
    let until = instant(
        "pause_until_time",
        account.moving.as_ref()?.pause_until_time.as_ref(),
    );
    let until = until.ok().flatten().filter(|until| now < *until)?;
    Some(Stop {
        halt: format!("moving.{}", account.number),
        cause: "NUMBER_MOVES".to_owned(),
        text: "The number is being handed over to another business account.".to_owned(),
        facts: vec![format!("until={until}")],
        until: Some(until),
        probe_at: None,
        may_go_elsewhere: false,
        is_waited_for: true,
    })
}

/// Returns whether a number has left, since an attempt began, the place that the platform was called
/// for, or is leaving it: what it said there halts nothing here.
pub(crate) fn has_left(account: &v1::Number, attempted_at: Timestamp, now: Timestamp) -> bool {
    let moved_at = instant("migrate_time", account.migrate_time.as_ref());
    let moved_at = moved_at.ok().flatten();
    by_move(account, now).is_some() || moved_at.is_some_and(|moved_at| attempted_at <= moved_at)
}

/// Adds to what stops a message what the platform says of its number.
pub(crate) fn stops(
    directory: &Directory,
    account: &v1::Number,
    stops: Stops,
    now: Timestamp,
) -> Stops {
    let number = &account.number;
    let stops = match by_move(account, now) {
        Some(stop) => stops.with_whatsapp(stop),
        None => stops,
    };
    let health = directory.health(number);
    let stops = match number_health::stop(&health, &by_status(number)) {
        Some(stop) => stops.with_whatsapp(stop),
        None => stops,
    };
    match number_health::template_stop(&health, &by_restriction(number), now) {
        Some(stop) => stops.with_template(stop),
        None => stops,
    }
}

/// Returns what of this is in force for any number, each with when time ends it.
pub(crate) fn in_force(directory: &Directory, now: Timestamp) -> Vec<(String, Option<Timestamp>)> {
    let mut all = Vec::new();
    for account in directory.numbers() {
        let health = directory.health(&account.number);
        let by_status = number_health::stop(&health, &by_status(&account.number));
        let by_restriction =
            number_health::template_stop(&health, &by_restriction(&account.number), now);
        let by_move = by_move(&account, now);
        let every = [by_status, by_restriction, by_move].into_iter().flatten();
        all.extend(every.map(|stop| (stop.halt, stop.until)));
    }
    all
}

/// Returns the numbers that send nothing on WhatsApp any more.
pub(crate) fn all_gone(directory: &Directory) -> Vec<String> {
    let numbers = directory.numbers().into_iter();
    let gone = numbers.filter(|account| gone(directory, account).is_some());
    gone.map(|account| account.number).collect()
}

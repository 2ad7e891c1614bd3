//! What a migration, or a number that has gone, makes of the number's record. Pure.

use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use jiff::Timestamp;

use super::decide::{Refused, open_of};
use crate::decide::{Authority, Cause, Decision, Refusal};
use crate::ledger::Ledger;

/// What becomes of a number's record on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// What comes under its next id is the number's already.
    Bind,
    /// Its WhatsApp messages wait, until then at the latest.
    Pause {
        /// When they go on by themselves.
        until: Timestamp,
    },
    /// They go on, and it stays where it is.
    Resume,
    /// It is there: it has its new id, and what waits goes on under it.
    Switch,
    /// It stays where it is for good.
    Release,
}

/// Turns a number's record. Of a number that is not on record only the last turn makes one.
pub(super) fn turn(
    present: Option<&v1::Number>,
    migration: &v1::Migration,
    turn: Turn,
    cause: &Cause,
) -> Option<Event> {
    let to = migration.destination.clone().unwrap_or_default();
    let Some(present) = present else {
        let number = v1::Number {
            number: migration.number.clone(),
            brand_id: migration.brand_id.clone(),
            ..v1::Number::default()
        };
        return (turn == Turn::Switch)
            .then(|| recorded(switched(&number, &to, migration, cause), cause));
    };
    let is_its_own = present
        .moving
        .as_ref()
        .is_some_and(|moving| moving.migration_id == migration.migration_id);
    let moving = |pause_until_time| {
        Some(v1::NumberMove {
            migration_id: migration.migration_id.clone(),
            waba_id: to.waba_id.clone(),
            phone_number_id: to.phone_number_id.clone(),
            pause_until_time,
        })
    };
    let wanted = match turn {
        Turn::Bind | Turn::Resume => v1::Number {
            moving: moving(None),
            ..present.clone()
        },
        Turn::Pause { until } => v1::Number {
            moving: moving(Some(timestamp(until))),
            ..present.clone()
        },
        Turn::Release if is_its_own => v1::Number {
            moving: None,
            ..present.clone()
        },
        Turn::Release => present.clone(),
        Turn::Switch if present.phone_number_id == to.phone_number_id => v1::Number {
            moving: None,
            ..present.clone()
        },
        Turn::Switch => switched(present, &to, migration, cause),
    };
    (wanted != *present).then(|| recorded(wanted, cause))
}

/// The number as it is at its destination.
fn switched(
    present: &v1::Number,
    to: &v1::MigrationPlace,
    migration: &v1::Migration,
    cause: &Cause,
) -> v1::Number {
    let mut previous = present.previous_phone_number_ids.clone();
    previous.push(present.phone_number_id.clone());
    previous.retain(|id| !id.is_empty() && *id != to.phone_number_id);
    let told = migration.before.clone().unwrap_or_default();
    // Customers are known by it, and a number moves within one business.
    let portfolio = [&present.portfolio_id, &to.portfolio_id];
    v1::Number {
        waba_id: to.waba_id.clone(),
        phone_number_id: to.phone_number_id.clone(),
        portfolio_id: portfolio
            .into_iter()
            .find(|id| !id.is_empty())
            .cloned()
            .unwrap_or_default(),
        token: to.token.clone(),
        app: to.app.clone(),
        // One of the account that it has left.
        messaging_account_id: String::new(),
        display_name: if present.display_name.is_empty() {
            told.display_name
        } else {
            present.display_name.clone()
        },
        previous_phone_number_ids: previous,
        moving: None,
        migrate_time: Some(timestamp(cause.time)),
        migrate_away_time: None,
        migrate_away_reason: String::new(),
        ..present.clone()
    }
}

fn recorded(number: v1::Number, cause: &Cause) -> Event {
    v1::NumberRecorded {
        number: Some(number),
        time: Some(timestamp(cause.time)),
        caller: cause.caller.clone(),
    }
    .into()
}

/// The number is somebody else's.
pub(super) fn away(
    ledger: &Ledger,
    digits: &str,
    reason: &str,
    evidence: &str,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let present = ledger
        .number(digits)
        .filter(|present| authority.covers(&present.brand_id))
        .ok_or(Refusal::NumberUnknown)?;
    // It goes away from where it was, and we are why.
    if let Some(open) = open_of(ledger, digits) {
        return Err(Refused::AnotherOpen(open.migration_id.clone()).into());
    }
    if present.migrate_away_time.is_some() {
        return Ok(None);
    }
    Ok(Some(
        v1::NumberMigratedAway {
            number: Some(v1::Number {
                migrate_away_time: Some(timestamp(cause.time)),
                migrate_away_reason: reason.to_owned(),
                moving: None,
                ..present.clone()
            }),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
            evidence: evidence.to_owned(),
        }
        .into(),
    ))
}

/// The number is ours after all.
pub(super) fn returned(
    ledger: &Ledger,
    digits: &str,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let present = ledger
        .number(digits)
        .filter(|present| authority.covers(&present.brand_id))
        .ok_or(Refusal::NumberUnknown)?;
    if present.migrate_away_time.is_none() {
        return Ok(None);
    }
    Ok(Some(
        v1::NumberReturned {
            number: Some(v1::Number {
                migrate_away_time: None,
                migrate_away_reason: String::new(),
                ..present.clone()
            }),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

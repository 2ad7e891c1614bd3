//! What the platform reports of templates: taken up at once, so that no send leaves meanwhile that
//! it would refuse.
//!
//! The template is read from the platform, too, after each report; that is
//! [`crate::templates`]'. Other reports about accounts have keepers of their own.

use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Stored, id, v1};
use casement_event_log::{Delivery, Expect, Failure, Log, WorkSpec};

use crate::book::{Book, SOURCE};
use crate::decide::{self, Cause};
use crate::templates::{self, SYNC};

/// Stands on events that a report caused.
pub(crate) const REPORTER: &str = "platform";

/// Reports in hand at once. They are applied one by one anyway.
const IN_HAND_MAX: usize = 16;

/// How long one may take before another process gets it.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// Whose dead letters they are.
pub(crate) const ROLE: &str = "accounts";

/// The durable queue of reports.
pub(crate) fn work() -> WorkSpec {
    WorkSpec {
        name: "accounts-reports",
        stream: stream::ACCOUNTS,
        filters: vec!["casement.accounts.reported.template.>".to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    }
}

/// Takes up one report. It is done with, too, if there is nothing in it for us.
pub(crate) async fn take_up(log: &Log, book: &Book, delivery: Delivery) -> Result<(), Failure> {
    let stored = delivery.stored;
    let reported = match stored.event() {
        Ok(Event::AccountReported(reported)) => reported,
        Ok(_) => return Ok(()),
        Err(error) => return bury(log, book, &stored, error.to_string()).await,
    };
    let Some(told) = templates::read_report(&reported, stored.stored_at) else {
        return Ok(());
    };
    let cause = Cause {
        time: told.time,
        caller: REPORTER.to_owned(),
    };
    let named = told.template();
    let mut desk = book.desk().await?;
    desk.settle(&cause, |ledger| {
        let entry = ledger.template(&named);
        // What was told or read later counts.
        let known_at = entry
            .filter(|entry| entry.caller == REPORTER || entry.caller == SYNC)
            .and_then(|entry| entry.time);
        let present = entry.map(|entry| &entry.record);
        Ok(decide::template_told(present, known_at, &told, &cause))
    })
    .await?;
    Ok(())
}

/// Puts what can never be read aside, so that the next report gets its turn.
pub(crate) async fn bury(
    log: &Log,
    book: &Book,
    stored: &Stored,
    reason: String,
) -> Result<(), Failure> {
    let time = book.cause(ROLE).time;
    let letter = v1::DeadLetter {
        role: ROLE.to_owned(),
        reason,
        time: Some(timestamp(time)),
        stream: stored.stream.clone(),
        sequence: stored.sequence,
        item: stored.payload.to_vec(),
        ..v1::DeadLetter::default()
    };
    let id = id::dead(ROLE, &stored.stream, stored.sequence, "");
    let record = Record::new(subject::dead(ROLE), id, SOURCE, time, letter);
    log.append(record, Expect::Anything).await?;
    Ok(())
}

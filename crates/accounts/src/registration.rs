//! Calls that put numbers on the platform or take them off, counted on the log before they are
//! made: whoever makes one claims it here first, whatever it is part of.

use casement_domain::registration::{Act, Refusal, Tally};
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use jiff::Timestamp;

use crate::book::{BookError, Desk};
use crate::ledger::Ledger;

/// Why a call may not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// The platform would lock the number, or has.
    #[error(transparent)]
    Spent(#[from] Refusal),
    /// It could not be counted.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Returns what was done to a number lately.
pub(crate) fn tally(ledger: &Ledger, number: &str) -> Tally {
    let Some(entry) = ledger.registrations.get(number) else {
        return Tally::default();
    };
    let times = |times: &[prost_types::Timestamp]| -> Vec<Timestamp> {
        times.iter().filter_map(|time| read(Some(time))).collect()
    };
    Tally {
        registers: times(&entry.record.register_times),
        deregisters: times(&entry.record.deregister_times),
        locked_until: read(entry.record.locked_until_time.as_ref()),
    }
}

/// Counts a call that is about to be made.
pub(crate) async fn claim(
    desk: &mut Desk<'_>,
    number: &str,
    act: Act,
    caller: &str,
    now: Timestamp,
) -> Result<(), ClaimError> {
    let count = |tally: &Tally| tally.claim(act, now).ok();
    if record(desk, number, caller, now, count).await? {
        return Ok(());
    }
    tally(desk.ledger(), number).claim(act, now)?;
    Ok(())
}

/// Keeps that the platform refused a call since the number is locked.
pub(crate) async fn locked(
    desk: &mut Desk<'_>,
    number: &str,
    caller: &str,
    now: Timestamp,
) -> Result<(), BookError> {
    record(desk, number, caller, now, |tally| Some(tally.locked(now))).await?;
    Ok(())
}

async fn record(
    desk: &mut Desk<'_>,
    number: &str,
    caller: &str,
    now: Timestamp,
    change: impl Fn(&Tally) -> Option<Tally> + Send + Sync,
) -> Result<bool, BookError> {
    let cause = crate::decide::Cause {
        time: now,
        caller: caller.to_owned(),
    };
    desk.settle(&cause, |ledger| {
        let Some(tally) = change(&tally(ledger, number)) else {
            return Ok(None);
        };
        let times = |times: &[Timestamp]| times.iter().copied().map(timestamp).collect();
        let event = v1::RegistrationCounted {
            tally: Some(v1::RegistrationTally {
                number: number.to_owned(),
                register_times: times(&tally.registers),
                deregister_times: times(&tally.deregisters),
                locked_until_time: tally.locked_until.map(timestamp),
            }),
            time: Some(timestamp(now)),
            caller: caller.to_owned(),
        };
        Ok(Some(event.into()))
    })
    .await
}

fn read(stored: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    instant("time", stored).ok().flatten()
}

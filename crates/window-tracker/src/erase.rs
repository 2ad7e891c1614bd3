//! Windows of customers who are erased: closed, and told as such.
//!
//! Which numbers have conversations with them, the erasure says; it goes on once their windows are
//! closed. That nothing is told of them afterwards is the domain's rule.

use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_domain::window;
use casement_event::subject::{self, stream};
use casement_event::v1::{self, ErasureState};
use casement_event::{Event, Stored, convert};
use casement_event_log::{AppendError, Failure, WorkSpec};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::present::{self, Key};
use crate::tracker::Tracker;
use crate::turns::Turns;

/// How long a replica may be silent about an erasure before another gets it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How many erasures are in hand at once.
const IN_HAND_MAX: usize = 4;

/// How often a window is closed anew because another replica was faster.
const ROUNDS_MAX: usize = 64;

/// Closes windows until the stop.
pub(crate) async fn run(tracker: &Tracker, turns: &Turns, stopping: CancellationToken) {
    let spec = WorkSpec {
        name: "window-tracker-erasures",
        stream: stream::CUSTOMERS,
        filters: vec![subject::ALL_ERASURES.to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    };
    let work = |delivery: casement_event_log::Delivery| async move {
        take(tracker, turns, &delivery.stored).await
    };
    tracker.log.work(spec, stopping, work).await;
}

async fn take(tracker: &Tracker, turns: &Turns, stored: &Stored) -> Result<(), Failure> {
    let Ok(Event::ErasureAdvanced(event)) = stored.event() else {
        return Ok(());
    };
    let erasure = event.erasure.unwrap_or_default();
    if erasure.state() != ErasureState::Stopping {
        return Ok(());
    }
    let at = convert::required_instant("erase_time", erasure.erase_time.as_ref())?;
    for key in keys(&erasure) {
        close(tracker, turns, &key, at).await?;
    }
    Ok(())
}

/// Returns the conversations of an erasure.
fn keys(erasure: &v1::Erasure) -> Vec<Key> {
    let numbers = erasure.numbers.iter();
    let numbers = numbers.filter_map(|number| BusinessNumber::parse(number).ok());
    let customers = || {
        erasure
            .customer_ids
            .iter()
            .filter_map(|id| CustomerId::parse(id).ok())
    };
    numbers
        .flat_map(|number| {
            customers().map(move |customer| Key {
                number: number.clone(),
                customer,
            })
        })
        .collect()
}

/// Tells that a window has ended, unless that was told.
async fn close(tracker: &Tracker, turns: &Turns, key: &Key, at: Timestamp) -> Result<(), Failure> {
    let _turn = turns.take(key).await;
    for _ in 0..ROUNDS_MAX {
        let present = present::read(&tracker.log, &tracker.directory, key).await?;
        let Some(event) = window::erase(present.published.as_ref(), at) else {
            return Ok(());
        };
        let now = tracker.clock.now();
        match tracker.tell(key, &present, &event, now, None).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure("window kept changing".into()))
}

//! Messages of customers who are erased: ended, whatever they wait for.
//!
//! Which messages are not over, the erasure says; it goes on once they are. One that was accepted
//! meanwhile ends when it is taken in hand, and no call begins after the tombstone was stored: it is
//! read between each claim and its call.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{CustomerId, MessageId};
use casement_domain::message;
use casement_event::convert::message::Details;
use casement_event::subject::{self, stream};
use casement_event::v1::ErasureState;
use casement_event::{Event, Stored};
use casement_event_log::{AppendError, Delivery, Failure, WorkSpec};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::aggregate::{self, Loaded};
use crate::engine::{DriveError, Engine, Step};

/// How long a replica may be silent about an erasure before another gets it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How many erasures are in hand at once.
const IN_HAND_MAX: usize = 4;

/// Who takes messages of erased customers back.
const CALLER: &str = "erasure";

/// A message is not over, and cannot be ended yet.
#[derive(Debug, thiserror::Error)]
#[error("a call for a message of an erased customer is under way")]
struct Calling;

/// Ends messages until stopped.
pub(crate) async fn run(engine: Arc<Engine>, stopping: CancellationToken) -> anyhow::Result<()> {
    let spec = WorkSpec {
        name: "dispatcher-erasures",
        stream: stream::CUSTOMERS,
        filters: vec![subject::ALL_ERASURES.to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    };
    let log = engine.log.clone();
    let work = |delivery: Delivery| {
        let engine = Arc::clone(&engine);
        async move { take(&engine, &delivery.stored).await }
    };
    log.work(spec, stopping, work).await;
    Ok(())
}

async fn take(engine: &Engine, stored: &Stored) -> Result<(), Failure> {
    let Ok(Event::ErasureAdvanced(event)) = stored.event() else {
        return Ok(());
    };
    let erasure = event.erasure.unwrap_or_default();
    let customers = erasure.customer_ids.iter();
    let customers: Vec<_> = customers
        .filter_map(|id| CustomerId::parse(id).ok())
        .collect();
    let mut outcome = Ok(());
    if erasure.state() == ErasureState::Stopping {
        let ids = erasure.open_message_ids.iter();
        for id in ids.filter_map(|id| MessageId::parse(id).ok()) {
            let ended = Box::pin(end(engine, &id)).await;
            if outcome.is_ok() {
                outcome = ended;
            }
        }
    }
    engine.recent.forget(&customers);
    outcome
}

async fn end(engine: &Engine, id: &MessageId) -> Result<(), Failure> {
    loop {
        let Some(mut loaded) = aggregate::load(&engine.log, id).await? else {
            return Ok(());
        };
        let now = engine.clock.now();
        let Some(event) = message::erase(&loaded.message, now) else {
            Box::pin(engine.conclude(&mut loaded)).await?;
            // Its outcome comes, or is missing after a time.
            return if loaded.message.is_over() {
                Ok(())
            } else {
                Err(Calling.into())
            };
        };
        engine.rates.give_up(id);
        match loaded.append(&engine.log, &event, details(), now).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn details() -> Details {
    Details {
        caller: CALLER.to_owned(),
        ..Details::default()
    }
}

impl Engine {
    /// Ends a message that was about to go to a customer who was erased.
    pub(crate) async fn end_erased(
        &self,
        loaded: &mut Loaded,
        now: Timestamp,
    ) -> Result<Step, DriveError> {
        self.rates.give_up(&loaded.context.id);
        match message::erase(&loaded.message, now) {
            Some(event) => self.append(loaded, &event, details(), now).await,
            None => Ok(Step::Overtaken),
        }
    }
}

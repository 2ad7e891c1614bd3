//! Wakes conversations whose customer did something, so that what is held can go, and counts what
//! customers write towards their number's rate.
//!
//! A notice and no more: a held message is also looked at again on its own, so one that is
//! missed costs time and nothing else.

use casement_domain::id::BusinessNumber;
use casement_event::Stored;
use casement_event::subject::{self, Family, stream};
use casement_event_log::conversation::Key;
use casement_event_log::{Followed, Log, Start};
use tokio_util::sync::CancellationToken;

use crate::lanes::Lanes;

/// Follows customers and windows until stopped.
pub(crate) async fn run(log: Log, lanes: Lanes, stopping: CancellationToken) -> anyhow::Result<()> {
    let filters = vec![Family::Inbound.filter(), Family::Window.filter()];
    let mut follower = log.follow(stream::EVENTS, filters, Start::New);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            followed = follower.next() => {
                if let Followed::Event(stored) = followed
                    && let Some((_, number, customer)) = subject::parse_conversation(&stored.subject)
                {
                    count(&stored, &number, &lanes);
                    lanes.wake(Key { number, customer });
                }
            }
        }
    }
}

/// Counts what a customer wrote towards the number's rate.
fn count(stored: &Stored, number: &BusinessNumber, lanes: &Lanes) {
    if !stored.event_type().ends_with(".InboundMessageReceived") {
        return;
    }
    let engine = &lanes.engine;
    if let Some(account) = engine.directory.number(number) {
        let now = engine.clock.now();
        engine.rates.written(number, account.throughput, now);
    }
}

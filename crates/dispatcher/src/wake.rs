//! Wakes conversations whose customer did something, so that what is held can go.
//!
//! A notice and no more: a held message is also looked at again on its own, so one that is
//! missed costs time and nothing else.

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
                    lanes.wake(Key { number, customer });
                }
            }
        }
    }
}

//! Projects messages from the archive once more, after a version that keeps more of them.
//!
//! Derived tables can be dropped and made again, and this is how: rows of the archive, in order,
//! changed into what they change in messages. It archives nothing and writes no conversation. What
//! is archived meanwhile is projected as ever; whatever it finds half made, this comes by it again,
//! and both end at the same.

use std::time::Duration;

use casement_event::subject::stream;
use casement_shell::backoff::Schedule;
use casement_shell::health::Latch;
use tokio_util::sync::CancellationToken;

use crate::batch;
use crate::store::{Error, EventFilter, EventKey, Limit, SharedStore};

/// Which version of projecting messages this is. A higher one than a database knows makes it
/// project all of them again; so does a database that lost its mark.
pub(crate) const VERSION: i64 = 2;

/// How much of the archive is projected in one transaction.
const LIMIT: Limit = Limit {
    rows_max: 256,
    bytes_max: 8 * 1024 * 1024,
};

/// Projects messages again, if that is due.
#[derive(Debug)]
pub(crate) struct Rebuilder {
    pub(crate) store: SharedStore,
    /// Held until it is done: until then messages are missing from lists.
    pub(crate) latch: Latch,
}

impl Rebuilder {
    /// Goes on where it was left, until it is done or the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        self.latch.hold("messages are being projected again");
        let mut waits =
            Schedule::try_new(Duration::from_millis(50), Duration::from_secs(5), 2.0, 0.5)
                .expect("the schedule of constants grows")
                .waits();
        loop {
            let step = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                step = step(&self.store) => step,
            };
            match step {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "messages are not projected again yet");
                    tokio::select! {
                        () = stopping.cancelled() => return Ok(()),
                        () = tokio::time::sleep(waits.next_wait()) => {}
                    }
                }
            }
        }
        self.latch.release();
        Ok(())
    }
}

/// Projects the next rows. Returns whether there are none left.
pub(crate) async fn step(store: &SharedStore) -> Result<bool, Error> {
    let from = store.rebuild(VERSION).await?;
    if from.is_done {
        return Ok(true);
    }
    let filter = EventFilter {
        stream: Some(stream::MESSAGES.to_owned()),
        ..EventFilter::default()
    };
    let after = EventKey {
        stream: stream::MESSAGES.to_owned(),
        incarnation: from.incarnation.clone(),
        sequence: from.sequence,
    };
    let page = store.events(&filter, Some(&after), LIMIT).await?;
    let entries = batch::again(page.rows);
    match store.project_again(VERSION, &from, &entries).await {
        // Another process does the same.
        Err(Error::Moved) => Ok(false),
        other => other.map(|()| entries.is_empty()),
    }
}

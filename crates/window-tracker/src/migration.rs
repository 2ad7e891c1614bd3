//! A number that moved to another business account or provider: what was told of its open windows
//! is put right.
//!
//! Nothing of a move stands on the conversations' own subjects, so no fact sets the tracker to
//! work, and no deadline before the window's end. The account's record does: each open window of
//! the number is looked at again, once for each move that this process hears of. What a process
//! had not finished, another does, or the same one after its restart, as long as a window that was
//! open then could still be; whatever is left after that is told when its deadline comes. It does
//! not say what a move does to a window; that is the domain's.

use std::collections::HashMap;
use std::time::Duration;

use casement_domain::id::BusinessNumber;
use casement_event::subject::{self, Family, stream};
use casement_event::{Extension, Stored};
use casement_event_log::{Followed, Start};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;

use crate::present::Key;
use crate::tracker::{AdvanceError, Tracker};

/// How long after a failure the windows of a number are gone through again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Tells of the windows of every number that moved or moves, for ever. May be dropped at any time.
pub(crate) async fn follow(tracker: &Tracker, in_hand_max: usize) {
    if tracker.policies.all().carry_over.migration {
        return std::future::pending().await;
    }
    let mut changed = tracker.directory.changed();
    let mut seen_to = HashMap::new();
    loop {
        changed.mark_unchanged();
        let mut is_done = true;
        for (number, at) in tracker.directory.migrated() {
            if seen_to.get(&number) == Some(&at) {
                continue;
            }
            if !may_matter(tracker, at) || close(tracker, &number, in_hand_max).await {
                seen_to.insert(number, at);
            } else {
                is_done = false;
            }
        }
        if !is_done {
            tokio::time::sleep(RETRY_AFTER).await;
        } else if changed.changed().await.is_err() {
            // The directory has stopped, and so will whoever waits for this.
            return std::future::pending().await;
        }
    }
}

/// Returns whether a window that was open at a time may still be told as open.
fn may_matter(tracker: &Tracker, at: Timestamp) -> bool {
    let end = at.saturating_add(tracker.policies.all().length);
    end.is_ok_and(|end| tracker.clock.now() < end)
}

/// Looks at each window of a number that is told as open; returns whether all could be.
async fn close(tracker: &Tracker, number: &BusinessNumber, in_hand_max: usize) -> bool {
    let looks = open(tracker, number)
        .map(|key| async move { tracker.advance(&key, None).await })
        .buffer_unordered(in_hand_max);
    let mut looks = std::pin::pin!(looks);
    let (mut windows_count, mut is_done) = (0_u64, true);
    while let Some(looked) = looks.next().await {
        windows_count += 1;
        match looked {
            // What only time gives to tell comes with its deadline.
            Ok(_) | Err(AdvanceError::Clock(_)) => {}
            Err(error) => {
                is_done &= error.is_hopeless();
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(error, "window of a number that moved was not looked at");
            }
        }
    }
    tracing::info!(
        windows_count,
        "windows of a number that moved were looked at"
    );
    is_done
}

/// Returns the windows of a number that are told as open.
fn open(tracker: &Tracker, number: &BusinessNumber) -> impl Stream<Item = Key> {
    let filters = vec![subject::number_filter(Family::Window, number)];
    let follower = tracker
        .log
        .follow(stream::EVENTS, filters, Start::LastPerSubject);
    futures::stream::unfold(follower, |mut follower| async move {
        loop {
            match follower.next().await {
                Followed::CaughtUp { .. } => return None,
                Followed::Event(stored) => {
                    if let Some(key) = open_key(&stored) {
                        return Some((key, follower));
                    }
                }
            }
        }
    })
}

fn open_key(stored: &Stored) -> Option<Key> {
    let is_open = stored.extension(Extension::State) == Some("OPEN");
    Key::parse(&stored.subject).filter(|_| is_open)
}

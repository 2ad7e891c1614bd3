//! Purging the log, behind the archive and never ahead of it.
//!
//! It asks the store, not anybody's memory, what is archived. What it removes has been committed
//! to disk before; what it fails to remove it finds again the next time.

use std::time::Duration;

use anyhow::Context as _;
use casement_domain::id::MessageId;
use casement_event::subject::{self, stream};
use casement_event_log::{Log, StreamState};
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::chain::Head;
use crate::store::{EndKey, SharedStore};

/// Ended messages looked at between two looks at the archive.
const MESSAGES_PAGE_LEN: usize = 200;

/// What webhooks say about accounts. Their owner has heard it; other subjects of that stream are
/// what accounts are, and stay for good.
const REPORTS: &str = "casement.accounts.reported.>";

/// Removes from the log what is archived and old enough.
#[derive(Debug)]
pub(crate) struct Purger {
    pub(crate) log: Log,
    pub(crate) store: SharedStore,
    pub(crate) clock: SharedClock,
    pub(crate) events_keep: SignedDuration,
    pub(crate) messages_keep: SignedDuration,
    pub(crate) reports_keep: SignedDuration,
    pub(crate) interval: Duration,
}

/// How much was removed.
#[expect(
    clippy::struct_field_names,
    reason = "each is a count of something else"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Purged {
    pub(crate) events_count: u64,
    pub(crate) messages_count: u64,
    /// Of stream `ACCOUNTS`, which loses nothing else.
    pub(crate) reports_count: u64,
}

/// Returns the sequence below which a stream may be purged: everything below it is archived, and
/// older than it has to be kept. `first_young` is the oldest archived event that is not.
fn purge_below(archived: &Head, first_young: Option<u64>) -> u64 {
    let archived_below = archived.last_sequence + 1;
    first_young.map_or(archived_below, |young| young.min(archived_below))
}

/// Returns whether a purge below a sequence would remove anything, given the oldest candidate.
fn is_due(oldest: Option<u64>, below: u64) -> bool {
    oldest.is_some_and(|oldest| oldest < below)
}

/// Returns whether all that stands on the log under a subject is archived. `newest` is the
/// incarnation and sequence of the newest message there.
fn is_archived(archived: &Head, newest: (&str, u64)) -> bool {
    newest.0 == archived.incarnation && newest.1 <= archived.last_sequence
}

impl Purger {
    /// Purges time and again until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.interval) => {}
            }
            let purged = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                purged = self.purge() => purged,
            };
            match purged {
                Ok(purged) if purged == Purged::default() => {}
                Ok(Purged {
                    events_count,
                    messages_count,
                    reports_count,
                }) => {
                    tracing::info!(
                        events_count,
                        messages_count,
                        reports_count,
                        "archived events left the log"
                    );
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "log is not purged this time");
                }
            }
        }
    }

    /// Purges once.
    pub(crate) async fn purge(&self) -> anyhow::Result<Purged> {
        // A clock that was set forward would make everything look old.
        self.clock.agreement(None)?;
        let now = self.clock.now();
        let purged = Purged {
            events_count: self.purge_events(now).await?,
            messages_count: self.purge_messages(now).await?,
            reports_count: self.purge_reports(now).await?,
        };
        for (stream, count) in [
            (stream::EVENTS, purged.events_count),
            (stream::MESSAGES, purged.messages_count),
            (stream::ACCOUNTS, purged.reports_count),
        ] {
            crate::metrics::purged(stream, count);
        }
        Ok(purged)
    }

    /// Loads where a stream stands, and its archive; `None` if nothing of it is archived.
    async fn archived(&self, stream: &str) -> anyhow::Result<Option<(StreamState, Head)>> {
        let state = self.log.state(stream).await?;
        let head = self.store.head(stream, &state.incarnation).await?;
        // A stream that was set back holds other events under the sequences of archived ones.
        let head = head.filter(|head| head.last_sequence <= state.last_sequence);
        Ok(head.map(|head| (state, head)))
    }

    async fn purge_events(&self, now: Timestamp) -> anyhow::Result<u64> {
        let Some((state, head)) = self.archived(stream::EVENTS).await? else {
            return Ok(0);
        };
        let young_since = now
            .saturating_sub(self.events_keep)
            .context("events_keep")?;
        let first_young = self
            .store
            .first_since(&head.stream, &head.incarnation, young_since)
            .await?;
        let below = purge_below(&head, first_young);
        if below <= state.first_sequence {
            return Ok(0);
        }
        Ok(self.log.purge_up_to(stream::EVENTS, below).await?)
    }

    /// Removes what webhooks said about accounts; what accounts are stays.
    async fn purge_reports(&self, now: Timestamp) -> anyhow::Result<u64> {
        let Some((_, head)) = self.archived(stream::ACCOUNTS).await? else {
            return Ok(0);
        };
        let young_since = now
            .saturating_sub(self.reports_keep)
            .context("reports_keep")?;
        let first_young = self
            .store
            .first_since(&head.stream, &head.incarnation, young_since)
            .await?;
        let below = purge_below(&head, first_young);
        let oldest = self.log.next(stream::ACCOUNTS, REPORTS, 1).await?;
        if !is_due(oldest.map(|oldest| oldest.sequence), below) {
            return Ok(0);
        }
        let purge = self.log.purge_subject(stream::ACCOUNTS, REPORTS, below);
        Ok(purge.await?)
    }

    async fn purge_messages(&self, now: Timestamp) -> anyhow::Result<u64> {
        let ended_before = now
            .saturating_sub(self.messages_keep)
            .context("messages_keep")?;
        let mut after: Option<EndKey> = None;
        let mut purged_count = 0;
        loop {
            let Some((_, head)) = self.archived(stream::MESSAGES).await? else {
                return Ok(purged_count);
            };
            let page = self
                .store
                .ended_messages(ended_before, after.as_ref(), MESSAGES_PAGE_LEN)
                .await?;
            for ended in &page {
                purged_count += self.purge_message(&ended.message_id, &head).await?;
            }
            after = page.last().cloned();
            if after.is_none() {
                return Ok(purged_count);
            }
        }
    }

    /// Removes one message's life and the reports about it, or leaves both for the next time.
    async fn purge_message(&self, message_id: &str, head: &Head) -> anyhow::Result<u64> {
        let id = MessageId::parse(message_id)?;
        let subjects = [subject::message(&id), subject::report(&id)];
        for subject in &subjects {
            let newest = self.log.last(stream::MESSAGES, subject).await?;
            if newest
                .is_some_and(|newest| !is_archived(head, (&newest.incarnation, newest.sequence)))
            {
                return Ok(0);
            }
        }
        let mut purged_count = 0;
        for subject in &subjects {
            purged_count += self
                .log
                .purge_subject(stream::MESSAGES, subject, head.last_sequence + 1)
                .await?;
        }
        self.store
            .mark_purged(message_id, head.last_sequence)
            .await?;
        Ok(purged_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_archived_and_old_may_be_purged() {
        let archived = Head {
            last_sequence: 50,
            ..Head::start("EVENTS", "1a")
        };
        for (first_young, below) in [
            (None, 51),
            (Some(51), 51),
            (Some(80), 51),
            (Some(20), 20),
            (Some(1), 1),
        ] {
            assert_eq!(
                purge_below(&archived, first_young),
                below,
                "{first_young:?}"
            );
        }
        assert_eq!(
            purge_below(&Head::start("EVENTS", "1a"), None),
            1,
            "an empty archive purges nothing"
        );
    }

    #[test]
    fn a_purge_that_would_remove_nothing_is_not_made() {
        for (oldest, below, expected) in [
            (None, 51, false),
            (Some(50), 51, true),
            (Some(51), 51, false),
            (Some(1), 1, false),
        ] {
            assert_eq!(is_due(oldest, below), expected, "{oldest:?} {below}");
        }
    }

    #[test]
    fn a_subject_with_an_unarchived_message_is_left() {
        let archived = Head {
            last_sequence: 50,
            ..Head::start("MESSAGES", "1a")
        };
        for (newest, expected) in [(("1a", 50), true), (("1a", 51), false), (("1b", 1), false)] {
            assert_eq!(is_archived(&archived, newest), expected, "{newest:?}");
        }
    }
}

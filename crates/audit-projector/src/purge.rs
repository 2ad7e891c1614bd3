//! Purging the log, behind the archive and never ahead of it.
//!
//! It asks the store, not anybody's memory, what is archived. What it removes has been committed
//! to disk before; what it fails to remove it finds again the next time. Posts are archived as the
//! facts they became, and leave once everybody who works on them is done. While the archive is
//! further behind than [`casement_domain::retention`] permits, nothing leaves at all: what is on
//! the log may be needed to make sense of what is still to be archived.
//!
//! Links of customers, consent and accounts never leave this way, and the broker forgets nothing
//! by itself that somebody may still need.

use std::time::Duration;

use anyhow::Context as _;
use casement_domain::id::MessageId;
use casement_domain::retention::{self, Standing};
use casement_event::subject::{self, stream};
use casement_event_log::{Log, StreamState};
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::chain::Head;
use crate::progress::Progress;
use crate::store::{EndKey, SharedStore};
use crate::{lineage, metrics};

/// Ended messages looked at between two looks at the archive.
const MESSAGES_PAGE_LEN: usize = 200;

/// What webhooks say about accounts. Their owner has heard it; other subjects of that stream are
/// what accounts are, and stay for good.
const REPORTS: &str = "casement.accounts.reported.>";

/// Calls that were refused: somebody who tries for long must not fill what stays for good.
const REFUSALS: &str = "casement.accounts.refused.>";

/// Everything on a stream.
const ALL: &str = ">";

/// Removes from the log what is archived and old enough.
#[derive(Debug)]
pub(crate) struct Purger {
    pub(crate) log: Log,
    pub(crate) store: SharedStore,
    /// How far the archive had come when its database was last asked.
    pub(crate) progress: Progress,
    pub(crate) clock: SharedClock,
    pub(crate) keep: Keep,
    pub(crate) interval: Duration,
}

/// How long things stay on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) events: SignedDuration,
    /// After their end.
    pub(crate) messages: SignedDuration,
    pub(crate) reports: SignedDuration,
    pub(crate) dead: SignedDuration,
    pub(crate) posts: SignedDuration,
}

impl Keep {
    /// Returns how long each stream keeps what leaves it.
    fn streams(self) -> [(&'static str, SignedDuration); 5] {
        [
            (stream::EVENTS, self.events),
            (stream::MESSAGES, self.messages),
            (stream::ACCOUNTS, self.reports),
            (stream::DEAD, self.dead),
            (stream::RAW, self.posts),
        ]
    }
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
    pub(crate) dead_count: u64,
    pub(crate) posts_count: u64,
}

/// Returns the sequence below which a stream may be purged: everything below it is done with, and
/// older than it has to be kept. `first_young` is the oldest message that is not.
fn purge_below(done_through: u64, first_young: Option<u64>) -> u64 {
    let done_below = done_through + 1;
    first_young.map_or(done_below, |young| young.min(done_below))
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
        for (stream, keep) in self.keep.streams() {
            metrics::retention(stream, keep);
        }
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
                    dead_count,
                    posts_count,
                }) => {
                    tracing::info!(
                        events_count,
                        messages_count,
                        reports_count,
                        dead_count,
                        posts_count,
                        "archived events left the log"
                    );
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "log is not purged this time");
                }
            }
        }
    }

    /// Purges once, unless the archive is too far behind.
    pub(crate) async fn purge(&self) -> anyhow::Result<Purged> {
        // A clock that was set forward would make everything look old.
        self.clock.agreement(None)?;
        let now = self.clock.now();
        if !self.standing(now).await?.permits_purging() {
            return Ok(Purged::default());
        }
        let purged = Purged {
            events_count: self
                .purge_archived(stream::EVENTS, self.keep.events, now)
                .await?,
            messages_count: self.purge_messages(now).await?,
            reports_count: self.purge_reports(now).await?,
            dead_count: self
                .purge_archived(stream::DEAD, self.keep.dead, now)
                .await?,
            posts_count: self.purge_posts(now).await?,
        };
        for (stream, count) in [
            (stream::EVENTS, purged.events_count),
            (stream::MESSAGES, purged.messages_count),
            (stream::ACCOUNTS, purged.reports_count),
            (stream::DEAD, purged.dead_count),
            (stream::RAW, purged.posts_count),
        ] {
            metrics::purged(stream, count);
        }
        Ok(purged)
    }

    /// Returns how the log stands towards its archive, and tells who has to know: as the worst of
    /// its streams.
    pub(crate) async fn standing(&self, now: Timestamp) -> anyhow::Result<Standing> {
        let mut worst = Standing::Sound;
        for (stream, keep) in self.keep.streams() {
            let done_through = self.done_through(stream).await?;
            let oldest = self.log.next(stream, ALL, done_through + 1).await?;
            let oldest = oldest.map(|oldest| oldest.stored_at);
            let standing = retention::standing(oldest, keep, now);
            let age = oldest.map_or(SignedDuration::ZERO, |oldest| now.duration_since(oldest));
            metrics::unarchived(stream, age);
            if standing != Standing::Sound {
                tracing::error!(
                    stream,
                    standing = standing.as_str(),
                    age_hours = age.as_hours(),
                    keep_hours = keep.as_hours(),
                    "events stay unarchived for too long: see docs/operate/backup.md, retention"
                );
            }
            worst = worst.max(standing);
        }
        metrics::purging_stopped(!worst.permits_purging());
        Ok(worst)
    }

    /// Returns up to which sequence a stream's messages are archived, or done with. While the
    /// database is away, what it had when it was last heard of counts.
    async fn done_through(&self, stream: &str) -> anyhow::Result<u64> {
        if stream == stream::RAW {
            return Ok(self.log.worked_through(stream).await?.unwrap_or(0));
        }
        let incarnation = self.log.incarnation(stream);
        let ancestors = self.log.ancestors(stream);
        match lineage::head(&*self.store, stream, &incarnation, ancestors).await {
            Ok(head) => Ok(head.last_sequence),
            Err(error) => {
                let told = self.progress.watch(stream);
                let reached = told.and_then(|told| told.borrow().clone());
                tracing::warn!(stream, %error, "database is away, retention goes by memory");
                Ok(reached.map_or(0, |reached| reached.sequence))
            }
        }
    }

    /// Loads where a stream stands, and its archive; `None` if nothing of it is archived.
    async fn archived(&self, stream: &str) -> anyhow::Result<Option<(StreamState, Head)>> {
        let state = self.log.state(stream).await?;
        let ancestors = self.log.ancestors(stream);
        let head = lineage::head(&*self.store, stream, &state.incarnation, ancestors).await?;
        // A stream that was set back holds other events under the sequences of archived ones.
        let holds = (1..=state.last_sequence).contains(&head.last_sequence);
        Ok(holds.then_some((state, head)))
    }

    /// Removes what is archived of a stream whose events have all the same age to reach.
    async fn purge_archived(
        &self,
        stream: &str,
        keep: SignedDuration,
        now: Timestamp,
    ) -> anyhow::Result<u64> {
        let Some((state, head)) = self.archived(stream).await? else {
            return Ok(0);
        };
        let first_young = self.first_young(stream, keep, now).await?;
        self.purge_by_sequence(&state, stream, purge_below(head.last_sequence, first_young))
            .await
    }

    /// Removes posts that everybody is done with who works on them.
    async fn purge_posts(&self, now: Timestamp) -> anyhow::Result<u64> {
        let Some(done_through) = self.log.worked_through(stream::RAW).await? else {
            return Ok(0);
        };
        let state = self.log.state(stream::RAW).await?;
        let first_young = self.first_young(stream::RAW, self.keep.posts, now).await?;
        let below = purge_below(done_through, first_young);
        self.purge_by_sequence(&state, stream::RAW, below).await
    }

    async fn first_young(
        &self,
        stream: &str,
        keep: SignedDuration,
        now: Timestamp,
    ) -> anyhow::Result<Option<u64>> {
        let young_since = now.saturating_sub(keep).context("retention")?;
        Ok(self.log.first_stored_since(stream, young_since).await?)
    }

    async fn purge_by_sequence(
        &self,
        state: &StreamState,
        stream: &str,
        below: u64,
    ) -> anyhow::Result<u64> {
        if below <= state.first_sequence {
            return Ok(0);
        }
        Ok(self.log.purge_up_to(stream, below).await?)
    }

    /// Removes what webhooks said about accounts; what accounts are stays.
    async fn purge_reports(&self, now: Timestamp) -> anyhow::Result<u64> {
        let Some((_, head)) = self.archived(stream::ACCOUNTS).await? else {
            return Ok(0);
        };
        let first_young = self.first_young(stream::ACCOUNTS, self.keep.reports, now);
        let below = purge_below(head.last_sequence, first_young.await?);
        let mut purged_count = 0;
        for subjects in [REPORTS, REFUSALS] {
            let oldest = self.log.next(stream::ACCOUNTS, subjects, 1).await?;
            if is_due(oldest.map(|oldest| oldest.sequence), below) {
                let purge = self.log.purge_subject(stream::ACCOUNTS, subjects, below);
                purged_count += purge.await?;
            }
        }
        Ok(purged_count)
    }

    async fn purge_messages(&self, now: Timestamp) -> anyhow::Result<u64> {
        let ended_before = now
            .saturating_sub(self.keep.messages)
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
        for (first_young, below) in [
            (None, 51),
            (Some(51), 51),
            (Some(80), 51),
            (Some(20), 20),
            (Some(1), 1),
        ] {
            assert_eq!(purge_below(50, first_young), below, "{first_young:?}");
        }
        assert_eq!(purge_below(0, None), 1, "an empty archive purges nothing");
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

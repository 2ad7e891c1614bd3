//! The loop that counts what is archived.
//!
//! It goes from chain to chain, reads what was not counted yet, and writes what that changes. A
//! database that is away is waited for. A newer version, or somebody's wish to have read models
//! made anew, begins a generation of its own, which is counted beside the one that is served.

use std::time::Duration;

use casement_shell::SharedClock;
use casement_shell::backoff::Schedule;
use futures::FutureExt as _;
use futures::future::select_all;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{MINUTES_KEPT, Read, VERSION};
use crate::chain::Head;
use crate::metrics;
use crate::model::Content;
use crate::progress::{Progress, Reached, Teller};
use crate::store::{Error, EventFilter, EventKey, Generation, Limit, SharedStore};

/// How much of a chain is counted in one transaction.
const LIMIT: Limit = Limit {
    rows_max: 512,
    bytes_max: 8 * 1024 * 1024,
};

/// How long it waits for more once there is some: fewer transactions, which the archive waits for
/// where there is one writer.
const GATHER: Duration = Duration::from_millis(100);

/// How often it looks without having been told.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How often old minutes are dropped.
const DROP_INTERVAL: Duration = Duration::from_mins(10);

/// Counts what is archived.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) store: SharedStore,
    pub(crate) clock: SharedClock,
    /// How far the archive has come.
    pub(crate) archived: Progress,
    /// Tells how far what is served has come.
    pub(crate) tellers: Vec<(&'static str, Teller)>,
}

impl Counter {
    /// Counts until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            never = self.count() => match never {},
        }
    }

    async fn count(&self) -> std::convert::Infallible {
        let mut waits =
            Schedule::try_new(Duration::from_millis(50), Duration::from_secs(5), 2.0, 0.5)
                .expect("the schedule of constants grows")
                .waits();
        let mut dropped = None;
        loop {
            // Before looking, so that what comes meanwhile is not slept through.
            let mut told: Vec<_> = self.archived.all().collect();
            for one in &mut told {
                one.mark_unchanged();
            }
            match self.round().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "figures wait for their database");
                    metrics::figures_refused();
                    tokio::time::sleep(waits.next_wait()).await;
                    continue;
                }
            }
            if dropped.is_none_or(|at: Instant| at.elapsed() > DROP_INTERVAL) {
                let minute = self.clock.now().as_second().div_euclid(60);
                if self.store.drop_minutes(minute - MINUTES_KEPT).await.is_ok() {
                    dropped = Some(Instant::now());
                }
            }
            let changed = told.iter_mut().map(|one| one.changed().boxed());
            let changed = select_all(changed);
            if tokio::time::timeout(LOOK_INTERVAL, changed).await.is_ok() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Counts some of each chain in each generation. Returns whether there was anything to count.
    pub(crate) async fn round(&self) -> Result<bool, Error> {
        let generations = self.generations().await?;
        let chains = self.store.chains(None).await?;
        let heads: Vec<Head> = chains.into_iter().filter_map(|chain| chain.head).collect();
        let mut has_counted = false;
        for generation in &generations {
            let (counted, of) = self.generation(*generation, &heads).await?;
            has_counted |= counted;
            if !counted && !of.is_served {
                self.store.serve_generation(of).await?;
                tracing::info!(generation = of.id, "figures are served as counted anew");
                has_counted = true;
            }
        }
        Ok(has_counted)
    }

    /// Returns what is to be counted: what is served, and what is to take its place.
    async fn generations(&self) -> Result<Vec<Generation>, Error> {
        let ask = self.store.rebuild().await?.ask_count;
        let found = self.store.generations().await?;
        let is_due = found
            .last()
            .is_none_or(|newest| newest.version < VERSION || newest.ask < ask);
        if !is_due {
            return Ok(found);
        }
        let begun = Generation {
            id: found.last().map_or(1, |newest| newest.id + 1),
            version: VERSION,
            ask,
            revision: 0,
            is_served: false,
        };
        self.store.begin_generation(begun).await?;
        self.store.generations().await
    }

    async fn generation(
        &self,
        mut of: Generation,
        heads: &[Head],
    ) -> Result<(bool, Generation), Error> {
        let cursors = self.store.figure_cursors(of.id).await?;
        let mut has_counted = false;
        let mut oldest_behind: Option<Timestamp> = None;
        for head in heads {
            let counted = cursors
                .iter()
                .find(|one| one.stream == head.stream && one.incarnation == head.incarnation)
                .map_or(0, |cursor| cursor.sequence);
            if counted >= head.last_sequence {
                if of.is_served {
                    self.tell(&head.stream, &head.incarnation, counted);
                }
                continue;
            }
            has_counted = true;
            let after = EventKey {
                stream: head.stream.clone(),
                incarnation: head.incarnation.clone(),
                sequence: counted,
            };
            let (through, stored_at) = self.step(of, after, head.last_sequence).await?;
            of.revision += 1;
            oldest_behind = oldest_behind.into_iter().chain(stored_at).min();
            if of.is_served {
                self.tell(&head.stream, &head.incarnation, through);
            }
        }
        if of.is_served {
            let behind = oldest_behind.map_or(0.0, |at| {
                self.clock.now().duration_since(at).as_secs_f64().max(0.0)
            });
            metrics::figures_lag(behind);
        }
        Ok((has_counted, of))
    }

    /// Counts the next rows of a chain. Returns how far that came, and when the last was stored.
    async fn step(
        &self,
        of: Generation,
        after: EventKey,
        last_sequence: u64,
    ) -> Result<(u64, Option<Timestamp>), Error> {
        let filter = EventFilter {
            stream: Some(after.stream.clone()),
            incarnation: Some(after.incarnation.clone()),
            sequence_max: Some(last_sequence),
            ..EventFilter::default()
        };
        let page = self.store.events(&filter, Some(&after), LIMIT).await?;
        let mut rows = page.rows;
        // What no key here opens is counted once one does.
        let sealed = rows.iter().position(|row| row.content == Content::Sealed);
        if let Some(first) = sealed {
            if first == 0 {
                return Err(Error::Inconsistent {
                    table: "archive",
                    column: "payload",
                    problem: "is sealed under a master key that is not here".to_owned(),
                });
            }
            rows.truncate(first);
        }
        let through = EventKey {
            // Rows may be missing at the end of a chain that was cut.
            sequence: rows.last().map_or(last_sequence, |row| row.stored.sequence),
            ..after
        };
        let stored_at = rows.last().map(|row| row.stored.stored_at);
        let row_count = rows.len() as u64;
        let mut read = Read::rows(&rows);
        read.seal_labels(|label| self.store.label_digest(label))?;
        drop(rows);
        let names: Vec<String> = read.names().into_iter().collect();
        let known = self.store.figure_things(of.id, &names).await?;
        let figured = read.figured(&known);
        self.store.write_figures(of, &figured, &through).await?;
        metrics::figures_counted(row_count);
        Ok((through.sequence, stored_at))
    }

    fn tell(&self, stream: &str, incarnation: &str, sequence: u64) {
        // A stream that was restored has two; the archive says which one lives.
        let lives = self.archived.watch(stream).is_some_and(|archived| {
            let archived = archived.borrow();
            archived
                .as_ref()
                .is_some_and(|reached| reached.incarnation == incarnation)
        });
        let teller = self.tellers.iter().find(|(known, _)| *known == stream);
        if let (true, Some((_, teller))) = (lives, teller) {
            let reached = Some(Reached {
                incarnation: incarnation.to_owned(),
                sequence,
            });
            teller.send_if_modified(|known| {
                let is_new = *known != reached;
                if is_new {
                    known.clone_from(&reached);
                }
                is_new
            });
        }
    }
}

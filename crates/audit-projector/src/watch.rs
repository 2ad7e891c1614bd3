//! Watching what only the archive knows: what is usual of numbers, which messages nothing was
//! reported of, how far the archive itself is behind, and what time it is at the database.
//!
//! What the archive does not have yet is not missing: while figures are behind, numbers are left as
//! they stand.

use std::collections::{BTreeMap, HashMap};

use casement_domain::number_health::Connection;
use casement_domain::watch::silence::{self, Habits, WEEKS_MAX, quarter};
use casement_domain::watch::{Check, rules};
use casement_event::convert::watch::About;
use casement_event::subject::stream;
use casement_event::{convert, v1};
use casement_event_log::Log;
use casement_event_log::watch::{LOOK_INTERVAL, Look, WatchError, Watches};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::erasure::SOURCE;
use crate::grpc::Backend;
use crate::model::{instant, nanoseconds};
use crate::progress::STREAMS;
use crate::store::{Error, RecordKind};

/// What this role watches.
const CHECKS: &[Check] = &[
    Check::WebhookSilence,
    Check::UnreportedSends,
    Check::ArchiveLag,
    Check::Clock,
];

/// A silence shorter than this is none, and habits are not looked at.
const SILENCE_MIN: SignedDuration = SignedDuration::from_mins(30);

/// For how long habits that were learned are good.
const HABITS_GOOD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How much longer than a message may be under way before the platform takes it, as it is looked
/// for.
const UNDER_WAY_MAX: SignedDuration = SignedDuration::from_hours(26);

/// A week, in quarters of an hour.
const WEEK: i64 = 7 * 24 * 4;

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("archive was not asked")]
    Store(#[from] Error),
}

/// Watches the archive, and numbers by it.
#[derive(Debug)]
pub(crate) struct Watcher {
    log: Log,
    backend: Backend,
    /// How far each stream had come at this look, and at the one before.
    latest: BTreeMap<&'static str, u64>,
    before: BTreeMap<&'static str, u64>,
    habits: HashMap<String, Learned>,
}

/// What is usual of a number, by what was known at a time.
#[derive(Debug)]
struct Learned {
    habits: Habits,
    /// The last webhook by then.
    last: Timestamp,
    at: Timestamp,
}

impl Watcher {
    pub(crate) fn new(log: Log, backend: Backend) -> Self {
        Self {
            log,
            backend,
            latest: BTreeMap::new(),
            before: BTreeMap::new(),
            habits: HashMap::new(),
        }
    }

    /// Looks time and again until the stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) -> anyhow::Result<()> {
        let mut watches = Watches::new(self.log.clone(), SOURCE, CHECKS);
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                _ = look.tick() => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                looked = self.look(&mut watches) => if let Err(error) = looked {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "verdicts of what is watched are late");
                },
            }
        }
    }

    /// Judges everything once.
    async fn look(&mut self, watches: &mut Watches) -> Result<(), Trouble> {
        let now = self.backend.clock.now();
        let mut look = watches.look(now).await?;
        // First what needs no database: its being away is what is to be told.
        self.judge_archive(&mut look, now).await?;
        let asked_at = Instant::now();
        let there = self.backend.store.time().await;
        let clock = &self.backend.clock;
        if let Ok(Some(millis)) = there
            && let Ok(there) = Timestamp::from_millisecond(millis)
        {
            clock.hear_of("database", there, asked_at.elapsed());
        }
        let reading = rules::clock(&clock.distances());
        let about = About::thing("audit-projector");
        look.judge(Check::Clock, &about, &reading).await?;
        self.judge_numbers(&mut look, now).await
    }

    async fn judge_archive(&mut self, look: &mut Look<'_>, now: Timestamp) -> Result<(), Trouble> {
        for name in STREAMS {
            let state = self.log.state(name).await.map_err(WatchError::from)?;
            let before = self.latest.insert(name, state.last_sequence);
            self.before.extend(before.map(|before| (name, before)));
            let progress = self.backend.progress.watch(name);
            let reached = progress.and_then(|reached| reached.borrow().clone());
            let about = About::thing(name);
            let (Some(before), Some(reached)) = (before, reached) else {
                look.pass(Check::ArchiveLag, &about);
                continue;
            };
            // What came since the last look may be on its way.
            let oldest = if reached.sequence < before {
                let oldest = self.log.next(name, ">", reached.sequence + 1).await;
                oldest.map_err(WatchError::from)?
            } else {
                None
            };
            let oldest = oldest.filter(|oldest| oldest.sequence <= before);
            let lag = oldest.map(|oldest| now.duration_since(oldest.stored_at));
            let reading = rules::archive_lag(lag);
            look.judge(Check::ArchiveLag, &about, &reading).await?;
        }
        Ok(())
    }

    /// Whether all is counted in figures that was on the log at the look before this one.
    fn is_counted(&self, name: &'static str) -> bool {
        let counted = self.backend.counted.watch(name);
        let counted = counted.and_then(|counted| counted.borrow().clone());
        let counted = counted.map_or(0, |counted| counted.sequence);
        let before = self.before.get(name);
        before.is_some_and(|before| counted >= *before)
    }

    async fn judge_numbers(&mut self, look: &mut Look<'_>, now: Timestamp) -> Result<(), Trouble> {
        let store = &self.backend.store;
        let generations = store.generations().await?;
        let Some(served) = generations.iter().rev().find(|one| one.is_served) else {
            return Ok(());
        };
        if !self.is_counted(stream::EVENTS) || !self.is_counted(stream::MESSAGES) {
            return Ok(());
        }
        let numbers = numbers(&self.backend, served.id).await?;
        let names: Vec<String> = numbers.iter().map(|one| one.of.clone()).collect();
        let webhooks = store.webhooks(served.id, &names).await?;
        self.habits
            .retain(|number, _| webhooks.contains_key(number));
        for about in &numbers {
            let Some(last) = webhooks.get(&about.of).copied().map(instant) else {
                continue;
            };
            let reading = if now.duration_since(last) < SILENCE_MIN {
                casement_domain::watch::Reading::fine("webhooks come")
            } else {
                let habits = self.habits(served.id, &about.of, last, now).await?;
                silence::judge(habits, last, now)
            };
            look.judge(Check::WebhookSilence, about, &reading).await?;
        }
        look.retire(Check::WebhookSilence).await?;
        self.judge_sends(look, &numbers, now).await
    }

    async fn judge_sends(
        &self,
        look: &mut Look<'_>,
        numbers: &[About],
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let store = &self.backend.store;
        let ago =
            |by: SignedDuration| nanoseconds(now.saturating_sub(by).unwrap_or(Timestamp::MIN));
        let taken = (ago(rules::REPORTS_OVER), ago(rules::REPORT_DUE));
        let requested = ago(UNDER_WAY_MAX);
        let unreported = store.unreported(taken, requested).await?;
        for about in numbers {
            let count = |count: i64| u64::try_from(count).unwrap_or_default();
            let without = unreported.get(&about.of).copied().map_or(0, count);
            let with = if without > 0 {
                count(store.reported(&about.of, taken.0, requested).await?)
            } else {
                0
            };
            let reading = rules::unreported(without, with);
            look.judge(Check::UnreportedSends, about, &reading).await?;
        }
        look.retire(Check::UnreportedSends).await?;
        Ok(())
    }

    /// Returns what is usual of a number, learned anew now and then.
    async fn habits(
        &mut self,
        generation: i64,
        number: &str,
        last: Timestamp,
        now: Timestamp,
    ) -> Result<&Habits, Error> {
        let is_good = self.habits.get(number).is_some_and(|learned| {
            learned.last == last && now.duration_since(learned.at).abs() < HABITS_GOOD_FOR
        });
        if !is_good {
            // One week more than is learned from, so that weeks are whole.
            let since = quarter(last) - (WEEKS_MAX + 1) * WEEK;
            let store = &self.backend.store;
            let heard = store.heard_quarters(generation, number, since).await?;
            let first = heard.iter().copied().min().unwrap_or(quarter(last));
            let habits = Habits::learn(heard, first, quarter(last));
            let learned = Learned {
                habits,
                last,
                at: now,
            };
            self.habits.insert(number.to_owned(), learned);
        }
        Ok(&self.habits[number].habits)
    }
}

/// Returns the numbers that ought to hear something: on record here and at the platform.
async fn numbers(backend: &Backend, generation: i64) -> Result<Vec<About>, Error> {
    let records = backend.store.records(generation, RecordKind::Number);
    let records = records.await?;
    let health = backend
        .store
        .records(generation, RecordKind::Health)
        .await?;
    let health = health.into_iter().filter_map(|(number, record)| {
        let record = v1::NumberHealth::decode(record.as_slice()).ok()?;
        Some((number, convert::number_health::read(&record)))
    });
    let health: HashMap<_, _> = health.collect();
    let of = records.into_iter().filter_map(|(_, record)| {
        let number = v1::Number::decode(record.as_slice()).ok()?;
        let health = health.get(&number.number);
        let is_off = health
            .is_some_and(|health| matches!(health.connection(), Connection::Deregistered { .. }));
        let is_gone = is_off || number.migrate_away_time.is_some();
        (!is_gone).then(|| About::number(&number))
    });
    Ok(of.collect())
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;

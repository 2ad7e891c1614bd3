//! The verdicts of what is watched: kept up with, decided, appended and counted.
//!
//! Which check there is and when its verdict changes is the domain's; what is known is the role's
//! that looks. Several processes may look at the same: each decides on what stands on the log and
//! expects its sequence, so that one of them tells, and the others find it told.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::watch::{Check, Level, Reading, Standing, Telling, judge};
use casement_event::convert::timestamp;
use casement_event::convert::watch::{About, level_of, read, stored, told};
use casement_event::subject::{self, stream};
use casement_event::{Event, Extension, Record, Stored, id, v1};
use casement_shell::telemetry::{Metric, describe};
use jiff::Timestamp;

use crate::{AppendError, Expect, Followed, Log, ReadError, Start};

/// How often it is looked.
pub const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// Most things of one check that are watched; what is beyond is left aside. Ids of unknown numbers
/// come from outside.
pub const THINGS_MAX: usize = 10_000;

const RAISED: &str = "casement_watch_raised_checks";
const CHANGES: &str = "casement_watch_changes_total";

const METRICS: &[Metric] = &[
    Metric::gauge(
        RAISED,
        "How many verdicts of a check stand raised, by check and level: warned or alarming. \
         `casement watch` tells which.",
    )
    .with(&[]),
    Metric::counter(
        CHANGES,
        "Verdicts that were told, by check and event: raised or cleared.",
    )
    .with(&[]),
];

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// What stands on the log could not be read.
    #[error("verdicts were not read")]
    Read(#[from] ReadError),
    /// A verdict could not be stored, or nobody knows whether it was.
    #[error("verdict was not appended")]
    Append(#[from] AppendError),
}

/// The verdicts of some checks, in the hands of the role whose they are.
#[derive(Debug)]
pub struct Watches {
    log: Log,
    source: &'static str,
    checks: &'static [Check],
    known: BTreeMap<(Check, String), Known>,
    /// Everything up to this sequence was taken up; `None` before the first reading.
    seen: Option<u64>,
}

/// A verdict as it stands.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    about: About,
    standing: Standing,
    sequence: u64,
}

/// One look at everything.
#[derive(Debug)]
pub struct Look<'a> {
    watches: &'a mut Watches,
    now: Timestamp,
    judged: BTreeSet<(Check, String)>,
}

impl Watches {
    /// The verdicts of a role's own checks. `source` is the role as it stands on its events.
    pub fn new(log: Log, source: &'static str, checks: &'static [Check]) -> Self {
        describe(METRICS);
        let watches = Self {
            log,
            source,
            checks,
            known: BTreeMap::new(),
            seen: None,
        };
        for check in checks {
            for event in ["raised", "cleared"] {
                count(*check, event, 0);
            }
        }
        watches.show();
        watches
    }

    /// Takes up what others told, and begins a look.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn look(&mut self, now: Timestamp) -> Result<Look<'_>, WatchError> {
        self.refresh().await?;
        Ok(Look {
            watches: self,
            now,
            judged: BTreeSet::new(),
        })
    }

    async fn refresh(&mut self) -> Result<(), ReadError> {
        let all = subject::ALL_WATCHES;
        let Some(mut seen) = self.seen else {
            let from = Start::LastPerSubject;
            let mut verdicts = self
                .log
                .follow(stream::ACCOUNTS, vec![all.to_owned()], from);
            loop {
                match verdicts.next().await {
                    Followed::Event(stored) => self.take(&stored),
                    Followed::CaughtUp { sequence } => {
                        self.seen = Some(sequence);
                        return Ok(());
                    }
                }
            }
        };
        let log = self.log.clone();
        while let Some(stored) = log.next(stream::ACCOUNTS, all, seen + 1).await? {
            self.take(&stored);
            seen = stored.sequence;
            self.seen = Some(seen);
        }
        Ok(())
    }

    /// Takes up what stands on the log. What a newer version told of is not ours.
    fn take(&mut self, stored: &Stored) {
        let Ok(event) = stored.event() else { return };
        let Some((watch, at)) = told(event) else {
            return;
        };
        let Some((check, standing)) = read(&watch, at.as_ref()) else {
            return;
        };
        let key = (check, watch.of.clone());
        if !self.checks.contains(&check) {
            return;
        }
        let is_known = self.known.get(&key);
        if is_known.is_some_and(|known| known.sequence >= stored.sequence) {
            return;
        }
        let known = Known {
            about: About {
                of: watch.of,
                number: watch.number,
                brand: watch.brand_id,
            },
            standing,
            sequence: stored.sequence,
        };
        self.known.insert(key, known);
    }

    async fn judge(
        &mut self,
        check: Check,
        about: &About,
        reading: &Reading,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let key = (check, about.of.clone());
        let known = self.known.get(&key);
        let (before, sequence) = known.map_or((Standing::NONE, 0), |known| {
            (known.standing, known.sequence)
        });
        let (after, telling) = judge(check, before, reading, now);
        let Some(telling) = telling else {
            if let Some(known) = self.known.get_mut(&key) {
                known.standing = after;
            }
            return Ok(());
        };
        let watch = stored(
            check,
            about,
            after.level,
            after.since.unwrap_or(now),
            reading,
        );
        let (before, time) = (level_of(before.level).into(), Some(timestamp(now)));
        let event: Event = match telling {
            Telling::Raised => v1::WatchRaised {
                watch: Some(watch),
                before,
                time,
            }
            .into(),
            Telling::Cleared => v1::WatchCleared {
                watch: Some(watch),
                before,
                time,
            }
            .into(),
        };
        let subject = subject::watch(check.as_str(), &about.of);
        let level = after.level.as_str();
        let record = Record::new(
            subject.clone(),
            id::watch(&subject, level, now),
            self.source,
            now,
            event,
        )
        .about(about.of.clone())
        .with(Extension::Brand, about.brand.clone())
        .with(Extension::Number, about.number.clone())
        .with(Extension::State, level.to_ascii_uppercase());
        match self
            .log
            .append(record, Expect::last(&subject, sequence))
            .await
        {
            Ok(position) => {
                let known = Known {
                    about: about.clone(),
                    standing: after,
                    sequence: position.sequence,
                };
                self.known.insert(key, known);
                tell(check, about, telling, reading, after.level);
                Ok(())
            }
            // Somebody else told something; the next look knows what.
            Err(AppendError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Brings the gauges up to date.
    fn show(&self) {
        for check in self.checks {
            for level in [Level::Warned, Level::Alarming] {
                let standing = self.known.iter().filter(|((known, _), verdict)| {
                    known == check && verdict.standing.level == level
                });
                let labels = [("check", check.as_str()), ("level", level.as_str())];
                #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
                metrics::gauge!(RAISED, &labels).set(standing.count() as f64);
            }
        }
    }
}

impl Look<'_> {
    /// Judges one thing.
    ///
    /// # Errors
    /// The verdict changed and cannot be stored; it is judged anew at the next look.
    pub async fn judge(
        &mut self,
        check: Check,
        about: &About,
        reading: &Reading,
    ) -> Result<(), WatchError> {
        if self.judged.len() >= THINGS_MAX {
            return Ok(());
        }
        self.judged.insert((check, about.of.clone()));
        let judged = self.watches.judge(check, about, reading, self.now).await;
        self.watches.show();
        Ok(judged?)
    }

    /// Returns what verdicts of a check stand raised about.
    pub fn raised(&self, check: Check) -> Vec<String> {
        let known = self.watches.known.iter();
        let raised = known.filter(|((of_check, _), known)| {
            *of_check == check && known.standing.level > Level::Fine
        });
        raised.map(|((_, of), _)| of.clone()).collect()
    }

    /// Leaves a thing as it stands: nothing is known of it now.
    pub fn pass(&mut self, check: Check, about: &About) {
        self.judged.insert((check, about.of.clone()));
    }

    /// Clears the verdicts of a check about things that this look did not meet: they are gone.
    ///
    /// # Errors
    /// As [`Look::judge`].
    pub async fn retire(&mut self, check: Check) -> Result<(), WatchError> {
        let gone = self.watches.known.iter().filter(|(key, known)| {
            key.0 == check && known.standing.level > Level::Fine && !self.judged.contains(key)
        });
        let gone: Vec<About> = gone.map(|(_, known)| known.about.clone()).collect();
        let reading = Reading::fine("it is no longer watched");
        for about in gone {
            self.judge(check, &about, &reading).await?;
        }
        Ok(())
    }
}

fn count(check: Check, event: &'static str, by: u64) {
    let labels = [("check", check.as_str()), ("event", event)];
    metrics::counter!(CHANGES, &labels).increment(by);
}

impl Log {
    /// Returns the last verdict of every check about everything, as told; in no order.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn verdicts(&self) -> Result<Vec<v1::Watch>, ReadError> {
        let all = subject::ALL_WATCHES;
        if self.next(stream::ACCOUNTS, all, 1).await?.is_none() {
            return Ok(Vec::new());
        }
        let from = Start::LastPerSubject;
        let mut follower = self.follow(stream::ACCOUNTS, vec![all.to_owned()], from);
        let mut verdicts = BTreeMap::new();
        while let Followed::Event(stored) = follower.next().await {
            if let Some((watch, _)) = stored.event().ok().and_then(told) {
                verdicts.insert(stored.subject, watch);
            }
        }
        Ok(verdicts.into_values().collect())
    }
}

fn tell(check: Check, about: &About, telling: Telling, reading: &Reading, level: Level) {
    let (name, level) = (check.as_str(), level.as_str());
    // A number is no thing for a log line; `casement watch` tells it.
    let of = if about.number.is_empty() && check != Check::UnknownNumber {
        about.of.as_str()
    } else {
        "a number"
    };
    match telling {
        Telling::Raised => {
            count(check, "raised", 1);
            tracing::warn!(check = name, level, of, "watch raised: {}", reading.text);
        }
        Telling::Cleared => {
            count(check, "cleared", 1);
            tracing::info!(check = name, of, "watch cleared: {}", reading.text);
        }
    }
}

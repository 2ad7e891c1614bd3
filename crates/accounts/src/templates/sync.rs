//! Reads templates from the platform, and records what changed.
//!
//! A reading is a management call with a number's token for every hundred templates, within the
//! account's allowance. One that fails changes nothing and is tried again, ever later.

use std::collections::BTreeSet;
use std::sync::Arc;

use casement_event::convert::{instant, timestamp};
use casement_event::{Event, v1};
use casement_shell::SharedClock;
use casement_whatsapp::manage::{CallError, FullTemplate};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::read;
use crate::book::{Book, BookError};
use crate::decide::{Cause, template_recorded};
use crate::health::has_registered;
use crate::ledger::Ledger;
use crate::platform::{Leave, Platform, PlatformError};
use crate::runner::{Next, Ripe};

/// Stands on events that a reading caused.
pub(crate) const SYNC: &str = "template-sync";

/// The first wait after a reading that failed; each next is twice as long.
const RETRY_FIRST: SignedDuration = SignedDuration::from_mins(1);

/// How long after the expected end of a pause the template is looked at again, if it still is
/// paused.
const PAUSE_LOOK_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// How often the platform is asked if records change meanwhile. What it is then is told by a
/// webhook, or by the next reading.
const TRIES_MAX: usize = 3;

/// Why templates are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is time.
    Schedule,
    /// Somebody asked.
    Demand,
    /// The platform told of one.
    Webhook,
    /// The platform refused a send of one.
    Refusal,
    /// A pause should be over.
    PauseEnded,
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "SCHEDULE",
            Self::Demand => "DEMAND",
            Self::Webhook => "WEBHOOK",
            Self::Refusal => "REFUSAL",
            Self::PauseEnded => "PAUSE_ENDED",
        }
    }
}

/// Reads templates. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Syncer {
    pub(super) book: Arc<Book>,
    pub(super) platform: Arc<Platform>,
    pub(super) clock: SharedClock,
    every: SignedDuration,
    /// Tells this process apart.
    reader: String,
    /// One reading at a time in a process: several would find the same changes.
    turn: Arc<Mutex<()>>,
}

/// What became of the records.
#[derive(Debug, Default)]
struct Counts {
    found: usize,
    changed: usize,
    deleted: usize,
    /// Written by others while the platform was asked.
    overtaken: usize,
}

impl Syncer {
    pub(crate) fn new(
        book: Arc<Book>,
        platform: Arc<Platform>,
        clock: SharedClock,
        every: SignedDuration,
    ) -> Self {
        Self {
            book,
            platform,
            clock,
            every,
            reader: casement_event::Uuid::new_v4().simple().to_string(),
            turn: Arc::default(),
        }
    }

    /// Reads every template of an account, or those of one name, and records what changed. How it
    /// went is in what is returned; of every template it is recorded, too.
    pub(crate) async fn read(
        &self,
        waba_id: &str,
        name: Option<&str>,
        why: Why,
        caller: &str,
    ) -> Result<v1::TemplatesSynced, BookError> {
        let _turn = self.turn.lock().await;
        let began = tokio::time::Instant::now();
        let (outcome, before) = {
            let leave = self.leave(waba_id).await?;
            let before = {
                let desk = self.book.desk().await?;
                desk.ledger().syncs.get(waba_id).map(|it| it.record.clone())
            };
            (self.carry_out(waba_id, name, why, leave).await?, before)
        };
        let before = before.unwrap_or_default();
        let now = self.clock.now();
        let (counts, error) = match outcome {
            Ok(counts) => (counts, String::new()),
            Err(error) => (Counts::default(), error),
        };
        let has_failed = !error.is_empty();
        let failure_count = if has_failed {
            before.failure_count.saturating_add(1)
        } else {
            0
        };
        let whole = name.is_none();
        let success_time = if whole && !has_failed {
            Some(timestamp(now))
        } else {
            before.success_time
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let synced = v1::TemplatesSynced {
            waba_id: waba_id.to_owned(),
            time: Some(timestamp(now)),
            cause: why.as_str().to_owned(),
            caller: caller.to_owned(),
            name: name.unwrap_or_default().to_owned(),
            found_count: count(counts.found),
            changed_count: count(counts.changed),
            deleted_count: count(counts.deleted),
            next_time: if whole {
                self.next(waba_id, failure_count, now).map(timestamp)
            } else {
                before.next_time
            },
            failure_count,
            success_time,
            reader: self.reader.clone(),
            took: prost_types::Duration::try_from(began.elapsed()).ok(),
            error,
        };
        crate::metrics::templates_read(why.as_str(), has_failed);
        if has_failed {
            let (error, name) = (&synced.error, &synced.name);
            tracing::warn!(
                waba_id,
                name,
                cause = why.as_str(),
                error,
                "templates were not read"
            );
        }
        if whole {
            self.record(&synced, caller).await?;
        }
        Ok(synced)
    }

    /// Appends how it went, in the place of what stood there.
    async fn record(&self, synced: &v1::TemplatesSynced, caller: &str) -> Result<(), BookError> {
        let cause = self.book.cause(caller);
        let mut desk = self.book.desk().await?;
        let event = Event::from(synced.clone());
        desk.settle(&cause, |_| Ok(Some(event.clone()))).await?;
        Ok(())
    }

    /// Takes one call with the token of one of the account's numbers. The inner error is for
    /// people.
    pub(super) async fn leave(&self, waba_id: &str) -> Result<Result<Leave, String>, BookError> {
        let numbers: Vec<(v1::Number, bool)> = {
            let desk = self.book.desk().await?;
            let ledger = desk.ledger();
            let numbers = ledger.numbers.values().map(|entry| &entry.record);
            numbers
                .filter(|number| number.waba_id == waba_id && can_call(number))
                .map(|number| (number.clone(), has_registered(ledger, number)))
                .collect()
        };
        let mut why = "the account has no number with a token on record".to_owned();
        for (number, is_registered) in numbers {
            let leave = self
                .platform
                .leave(&number, is_registered, self.clock.now());
            match leave {
                Ok(leave) => return Ok(Ok(leave)),
                Err(error) => why = told(&error),
            }
        }
        Ok(Err(why))
    }

    async fn carry_out(
        &self,
        waba_id: &str,
        name: Option<&str>,
        why: Why,
        leave: Result<Leave, String>,
    ) -> Result<Result<Counts, String>, BookError> {
        let leave = match leave {
            Ok(leave) => leave,
            Err(why) => return Ok(Err(why)),
        };
        let asked = self.platform.manager();
        let mut tries = 1;
        let mut all = Counts::default();
        loop {
            let before = Before {
                seen: self.book.desk().await?.seen(),
                cause: self.book.cause(SYNC),
            };
            let found = match asked.full_templates(leave.token(), waba_id, name).await {
                Ok(found) => found,
                Err(error) => return Ok(Err(refusal(&error))),
            };
            let counts = self.take_over(waba_id, name, why, &found, &before).await?;
            all.found = counts.found;
            all.changed += counts.changed;
            all.deleted += counts.deleted;
            if counts.overtaken == 0 || tries == TRIES_MAX {
                return Ok(Ok(all));
            }
            tries += 1;
        }
    }

    /// Records what was found, and that what was not is no longer there. What was written since the
    /// platform was asked is newer than its answer, and stands.
    async fn take_over(
        &self,
        waba_id: &str,
        name: Option<&str>,
        why: Why,
        found: &[FullTemplate],
        Before { seen, cause }: &Before,
    ) -> Result<Counts, BookError> {
        let mut counts = Counts {
            found: found.len(),
            ..Counts::default()
        };
        let mut there = BTreeSet::new();
        let mut desk = self.book.desk().await?;
        for told in found {
            let Some(named) = read::record(waba_id, told, None, cause.time) else {
                tracing::warn!(
                    waba_id,
                    name = told.name,
                    "template has a language of no form"
                );
                continue;
            };
            there.insert((named.name.clone(), named.language.clone()));
            let is_newer = |ledger: &Ledger| {
                let entry = ledger.template(&named);
                entry.is_some_and(|entry| entry.position.sequence > *seen)
            };
            let is_written = desk
                .settle(cause, |ledger| {
                    if is_newer(ledger) {
                        return Ok(None);
                    }
                    let present = ledger.template(&named).map(|entry| &entry.record);
                    let record = read::record(waba_id, told, present, cause.time);
                    Ok(record.and_then(|record| changed(present, record, cause)))
                })
                .await?;
            counts.changed += usize::from(is_written);
            counts.overtaken += usize::from(!is_written && is_newer(desk.ledger()));
        }
        for gone in gone(desk.ledger(), waba_id, name, why, &there) {
            let is_written = desk
                .settle(cause, |ledger| {
                    let entry = ledger.template(&gone);
                    let known = entry.filter(|entry| entry.position.sequence <= *seen);
                    let known = known.map(|entry| &entry.record);
                    Ok(known.and_then(|known| changed(Some(known), deleted(known), cause)))
                })
                .await?;
            counts.deleted += usize::from(is_written);
        }
        Ok(counts)
    }

    /// When all are read next. Readings of many accounts are spread over a tenth of the interval.
    fn next(&self, waba_id: &str, failure_count: u32, now: Timestamp) -> Option<Timestamp> {
        if self.every <= SignedDuration::ZERO {
            return None;
        }
        let wait = if failure_count == 0 {
            self.every
        } else {
            let doublings = failure_count.saturating_sub(1).min(10);
            (RETRY_FIRST * 2_i32.pow(doublings)).min(self.every)
        };
        let digest = Sha256::digest(format!("{waba_id} {now} {}", self.reader));
        let share = f64::from(digest[0]) / 255.0;
        let spread = SignedDuration::try_from_secs_f64(wait.as_secs_f64() * (0.9 + share / 5.0));
        now.checked_add(spread.unwrap_or(wait)).ok()
    }

    /// Reads an account's templates whose time has come, unless somebody did meanwhile.
    pub(crate) async fn on_time(&self, waba_id: &str) -> anyhow::Result<Next> {
        let desk = self.book.desk().await?;
        let known = desk.ledger().syncs.get(waba_id).map(|it| &it.record);
        let next = known.and_then(|it| instant("next_time", it.next_time.as_ref()).ok().flatten());
        drop(desk);
        match next {
            Some(next) if next > self.clock.now() => return Ok(Next::Later(next)),
            None => return Ok(Next::Done),
            Some(_) => {}
        }
        self.read(waba_id, None, Why::Schedule, SYNC).await?;
        Ok(Next::Done)
    }

    /// Looks at a template whose pause should be over.
    pub(crate) async fn after_pause(&self, ripe: &Ripe) -> anyhow::Result<Next> {
        let present = {
            let desk = self.book.desk().await?;
            let entry = desk.ledger().templates.get(&ripe.key);
            entry.map(|entry| entry.record.clone())
        };
        let Some(present) = present else {
            return Ok(Next::Done);
        };
        let Some(end) = read::pause_ends_at(&present) else {
            return Ok(Next::Done);
        };
        let now = self.clock.now();
        if end > now {
            return Ok(Next::Later(end));
        }
        self.read(&present.waba_id, Some(&present.name), Why::PauseEnded, SYNC)
            .await?;
        let desk = self.book.desk().await?;
        let entry = desk.ledger().templates.get(&ripe.key);
        let is_paused = entry.is_some_and(|it| read::pause_ends_at(&it.record).is_some());
        if is_paused {
            let again = now.checked_add(PAUSE_LOOK_EVERY);
            return Ok(Next::Later(again.unwrap_or(Timestamp::MAX)));
        }
        Ok(Next::Done)
    }

    /// Returns the accounts that can be read and never were.
    pub(crate) async fn unread(&self) -> Result<Vec<String>, BookError> {
        if self.every <= SignedDuration::ZERO {
            return Ok(Vec::new());
        }
        let desk = self.book.desk().await?;
        let ledger = desk.ledger();
        let numbers = ledger.numbers.values().map(|entry| &entry.record);
        let wabas: BTreeSet<_> = numbers
            .filter(|number| can_call(number) && !number.waba_id.is_empty())
            .map(|number| number.waba_id.clone())
            .collect();
        let is_unread = |waba: &String| !ledger.syncs.contains_key(waba);
        Ok(wabas.into_iter().filter(is_unread).collect())
    }
}

fn can_call(number: &v1::Number) -> bool {
    !number.phone_number_id.is_empty() && number.token.is_some()
}

/// Returns the event that makes a record so, unless it is so.
/// How things stood when the platform was asked.
struct Before {
    /// The newest record of before.
    seen: u64,
    cause: Cause,
}

fn changed(present: Option<&v1::Template>, record: v1::Template, cause: &Cause) -> Option<Event> {
    (present != Some(&record)).then(|| template_recorded(record, cause))
}

fn deleted(known: &v1::Template) -> v1::Template {
    v1::Template {
        status: v1::TemplateStatus::Deleted.into(),
        platform_status: "DELETED".to_owned(),
        pause: None,
        ..known.clone()
    }
}

/// Returns what is on record and was not found. What was never read from the platform is somebody's
/// word, which stands until a send proves it wrong.
fn gone(
    ledger: &Ledger,
    waba_id: &str,
    name: Option<&str>,
    why: Why,
    there: &BTreeSet<(String, String)>,
) -> Vec<v1::Template> {
    let is_disproved = matches!(why, Why::Refusal);
    let records = ledger.templates.values().map(|entry| &entry.record);
    records
        .filter(|known| known.waba_id == waba_id && name.is_none_or(|name| known.name == name))
        .filter(|known| known.status() != v1::TemplateStatus::Deleted)
        .filter(|known| !known.template_id.is_empty() || is_disproved)
        .filter(|known| !there.contains(&(known.name.clone(), known.language.clone())))
        .cloned()
        .collect()
}

fn told(error: &PlatformError) -> String {
    match error {
        PlatformError::Call(error) => refusal(error),
        other => other.to_string(),
    }
}

/// Returns what the platform refused, for people. Its texts hold no token.
pub(super) fn refusal(error: &CallError) -> String {
    match error {
        CallError::Refused(graph) => {
            let details = graph.details.as_deref().unwrap_or(&graph.message);
            format!("the platform refused with code {}: {details}", graph.code)
        }
        other => other.to_string(),
    }
}

//! Carries migrations out: records that a step is begun, takes it, records what became of it.
//!
//! Whoever appended that a step is begun takes it, and nobody else. A step without an outcome is
//! looked for at the platform first.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::migration::{self, Happened, Next, Precondition, Step, Template as Compared};
use casement_domain::registration::Act;
use casement_event::convert::timestamp;
use casement_event::v1;
use casement_secrets::Secrets;
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};

use super::decide::{self, Told};
use super::number::{self, Turn};
use super::steps::{self, Means, Outcome, There, missing, refused};
use super::{report, stored};
use crate::book::{Book, BookError};
use crate::decide::{Refusal, template_recorded};
use crate::platform::Platform;
use crate::registration::{self, ClaimError};
use crate::runner;

/// Stands on what the saga does.
const CALLER: &str = "migration";

/// How long the number's messages wait at most around its registration, should nobody end the
/// wait.
const PAUSE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// How long after the wait was recorded the number is registered: by then every dispatcher has
/// heard of it, and calls that were under way are mostly over. Those that are not, and are refused,
/// are made again.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// How long copied templates are waited for before they count as left behind.
const COMPARE_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// A time that is never looked at.
const NEVER: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Carries migrations out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Saga {
    pub(super) book: Arc<Book>,
    pub(super) means: Means,
    pub(super) clock: SharedClock,
    heard_within: Duration,
}

impl Saga {
    pub(crate) fn new(
        book: Arc<Book>,
        platform: Arc<Platform>,
        secrets: Secrets,
        clock: SharedClock,
    ) -> Self {
        Self {
            book,
            means: Means { platform, secrets },
            clock,
            heard_within: HEARD_WITHIN,
        }
    }

    /// How long dispatchers are given to hear that messages wait.
    #[cfg(test)]
    pub(super) fn heard_within(mut self, length: Duration) -> Self {
        self.heard_within = length;
        self
    }

    /// Takes care of a migration whose time has come, as far as it goes now.
    pub(crate) async fn run(&self, id: &str) -> anyhow::Result<runner::Next> {
        loop {
            let Some(migration) = self.read(id).await? else {
                return Ok(runner::Next::Done);
            };
            let now = self.clock.now();
            let course = stored::course(&migration);
            match course.next(now) {
                Next::Rest => {
                    if course.ended.is_some() {
                        self.turn(&migration, Turn::Release).await?;
                    }
                    return Ok(runner::Next::Later(add(now, NEVER)));
                }
                Next::Wait(until) => return Ok(runner::Next::Later(until)),
                Next::TellOverdue => {
                    let told = Told::default();
                    self.record(&migration, Happened::Overdue, &told).await?;
                }
                Next::Begin(step) => {
                    if self
                        .record(&migration, Happened::Begun, &Told::default())
                        .await?
                    {
                        self.go(id, step).await?;
                    }
                }
                Next::LookUp(step) => {
                    let looked = self.look_up(&migration, step).await?;
                    let Some(outcome) = looked else {
                        let later = add(now, migration::LOOK_EVERY);
                        let at = course.due_at().filter(|at| *at > now);
                        return Ok(runner::Next::Later(at.map_or(later, |at| at.min(later))));
                    };
                    self.settle(&migration, outcome).await?;
                }
            }
        }
    }

    /// Takes a step that is begun, and records what became of it.
    async fn go(&self, id: &str, step: Step) -> anyhow::Result<()> {
        let Some(migration) = self.read(id).await? else {
            return Ok(());
        };
        let outcome = self.take(&migration, step).await?;
        self.settle(&migration, outcome).await
    }

    pub(super) async fn take(
        &self,
        migration: &v1::Migration,
        step: Step,
    ) -> anyhow::Result<Outcome> {
        if step == Step::Check {
            return self.check(migration).await;
        }
        let there = match There::of(&self.means, migration) {
            Ok(there) => there,
            Err(outcome) => return Ok(*outcome),
        };
        Ok(match step {
            Step::Check | Step::VerifyCode => Outcome::of(Happened::Passing),
            Step::Add => there.add(migration).await,
            Step::RequestCode => {
                self.turn(migration, Turn::Bind).await?;
                there.request_code(migration).await
            }
            Step::Register => self.register(migration, &there).await?,
            Step::Switch => {
                self.turn(migration, Turn::Switch).await?;
                Outcome::done()
            }
            Step::CompareTemplates => self.compare(migration, &there).await?,
        })
    }

    /// Asks what became of a step; `None` if there is nothing new to tell.
    pub(super) async fn look_up(
        &self,
        migration: &v1::Migration,
        step: Step,
    ) -> anyhow::Result<Option<Outcome>> {
        let awaits = migration.standing() == v1::MigrationStanding::AwaitsCode;
        // Reading again, and writing the same record again, change nothing.
        if matches!(step, Step::Check | Step::Switch | Step::CompareTemplates) {
            return Ok(Some(self.take(migration, step).await?));
        }
        let there = match There::of(&self.means, migration) {
            Ok(there) => there,
            Err(_) if awaits => return Ok(None),
            // The number may be there: who cannot ask does not know.
            Err(outcome) if step == Step::Register => {
                return Ok(Some(Outcome {
                    happened: Happened::Unclear,
                    ..*outcome
                }));
            }
            Err(outcome) => return Ok(Some(*outcome)),
        };
        let outcome = match step {
            Step::Add => there.look_up_added(&migration.number).await,
            Step::RequestCode => There::code_perhaps_sent(),
            Step::VerifyCode => match there.look_up_verified().await {
                Some(outcome) => outcome,
                None if awaits => return Ok(None),
                None => Outcome::with_problem(
                    Happened::CodeRefused,
                    "CODE_PERHAPS_LOST",
                    "What became of the code is not known, and the number is not verified: give it \
                     again, or have another sent.",
                ),
            },
            _ => there.look_up_register().await,
        };
        Ok(Some(outcome))
    }

    /// Looks for the preconditions, having seen to the one that we can see to.
    async fn check(&self, migration: &v1::Migration) -> anyhow::Result<Outcome> {
        if let Ok(there) = There::of(&self.means, migration) {
            steps::subscribe(&there).await;
        }
        let (preconditions, before, portfolio_id) = match self.preconditions(migration).await? {
            Ok(found) => found,
            Err(outcome) => return Ok(outcome),
        };
        let unmet: Vec<&Precondition> = migration::unmet(&preconditions).collect();
        let mut outcome = if unmet.is_empty() {
            Outcome::done()
        } else {
            let texts = unmet
                .iter()
                .map(|one| format!("{}: {}", one.found, one.fix));
            let text = texts.collect::<Vec<_>>().join(". ");
            let happened = Happened::Stuck { tries_again: true };
            Outcome::with_problem(happened, "PRECONDITIONS_UNMET", text)
        };
        let stored = preconditions.iter().map(stored::precondition);
        outcome.told.preconditions = Some(stored.collect());
        outcome.told.before = Some(stored::facts(&before));
        outcome.told.portfolio_id = Some(portfolio_id).filter(|id| !id.is_empty());
        Ok(outcome)
    }

    /// Judges what the platform tells; an outcome if it cannot be asked now.
    pub(super) async fn preconditions(
        &self,
        migration: &v1::Migration,
    ) -> Result<Result<(Vec<Precondition>, migration::NumberFacts, String), Outcome>, BookError>
    {
        let now = self.clock.now();
        let tally = {
            let desk = self.book.desk().await?;
            registration::tally(desk.ledger(), &migration.number)
        };
        let trouble = tally.claim(Act::Register, now).err();
        let trouble = trouble.map(|refusal| refusal.to_string());
        Ok(steps::find(&self.means, migration, trouble)
            .await
            .map(|(found, before)| {
                let judged = steps::preconditions(&found, &migration.vouched);
                (judged, before, found.destination.portfolio_id)
            })
            .map_err(|outcome| *outcome))
    }

    /// Registers the number at its destination, with its messages waiting meanwhile.
    async fn register(
        &self,
        migration: &v1::Migration,
        there: &There<'_>,
    ) -> anyhow::Result<Outcome> {
        let pin = match self.means.secrets.resolve(migration.pin.as_ref()) {
            Ok(pin) => pin,
            Err(error) => return Ok(missing("The PIN", &error)),
        };
        self.prepare_templates(migration).await?;
        let now = self.clock.now();
        let claimed = {
            let mut desk = self.book.desk().await?;
            let number = &migration.number;
            registration::claim(&mut desk, number, Act::Register, CALLER, now).await
        };
        match claimed {
            Ok(()) => {}
            Err(ClaimError::Spent(refusal)) => {
                let happened = Happened::Stuck { tries_again: true };
                let text = format!("{refusal}.");
                return Ok(Outcome::with_problem(happened, "REGISTRATIONS_SPENT", text));
            }
            Err(ClaimError::Book(error)) => return Err(error.into()),
        }
        let until = add(now, PAUSE_MAX);
        self.turn(migration, Turn::Pause { until }).await?;
        tokio::time::sleep(self.heard_within).await;
        let outcome = there
            .register(&pin, &migration.data_localization_region)
            .await;
        match outcome.happened {
            // The record that brings the new id ends the wait; and if the old id is dead perhaps,
            // the wait has its end.
            Happened::Done | Happened::Unclear => {}
            _ => {
                let mut desk = self.book.desk().await?;
                let reason = outcome.told.problem.as_ref().map(|it| it.reason.as_str());
                if reason == Some("REGISTRATION_LOCKED") {
                    let (number, now) = (&migration.number, self.clock.now());
                    registration::locked(&mut desk, number, CALLER, now).await?;
                }
                drop(desk);
                self.turn(migration, Turn::Resume).await?;
            }
        }
        Ok(outcome)
    }

    /// Records at the destination what should come along, so that messages by template go on at
    /// once. What is on record there stays.
    async fn prepare_templates(&self, migration: &v1::Migration) -> Result<(), BookError> {
        let from = migration.source.clone().unwrap_or_default().waba_id;
        let to = migration.destination.clone().unwrap_or_default().waba_id;
        let mut desk = self.book.desk().await?;
        let templates = desk.ledger().templates.values().map(|entry| &entry.record);
        let of_source = templates.filter(|one| one.waba_id == from && !from.is_empty());
        let coming = of_source.filter(|one| report::known(one).should_come());
        let wanted: Vec<v1::Template> = coming
            .map(|one| v1::Template {
                waba_id: to.clone(),
                template_id: String::new(),
                quality: v1::TemplateQuality::Unknown.into(),
                ..one.clone()
            })
            .collect();
        let cause = self.book.cause(CALLER);
        for template in wanted {
            desk.settle(&cause, |ledger| {
                if ledger.template(&template).is_some() {
                    return Ok(None);
                }
                Ok(Some(template_recorded(template.clone(), &cause)))
            })
            .await?;
        }
        Ok(())
    }

    /// Tells what came along, once it is there or has been waited for long enough.
    async fn compare(
        &self,
        migration: &v1::Migration,
        there: &There<'_>,
    ) -> anyhow::Result<Outcome> {
        let step = Step::CompareTemplates;
        let templates = match there.manager.templates(&there.token, &there.waba_id).await {
            Ok(templates) => report::told(&templates),
            Err(error) => return Ok(refused(step, &error)),
        };
        let after = match there.number().await {
            Ok(number) => steps::facts(&number),
            Err(error) if error.is_passing() => return Ok(refused(step, &error)),
            Err(_) => migration::NumberFacts::default(),
        };
        let from = migration.source.clone().unwrap_or_default().waba_id;
        let source = {
            let desk = self.book.desk().await?;
            let all = desk.ledger().templates.values().map(|entry| &entry.record);
            report::on_record(all, &from)
        };
        let carried = migration::compare(&source, &templates);
        let since = stored::at(migration.step_time.as_ref());
        let is_waited_for = self.clock.now() < add(since, COMPARE_WITHIN);
        if carried.missing > 0 && is_waited_for {
            let text = format!(
                "{} template(s) that should be copied are not at the destination yet.",
                carried.missing
            );
            return Ok(Outcome::with_problem(
                Happened::Passing,
                "TEMPLATES_MISSING",
                text,
            ));
        }
        self.put_templates(&source, &templates, &there.waba_id)
            .await?;
        let mut outcome = Outcome::done();
        outcome.told.report = Some(report::report(migration, carried, &after));
        Ok(outcome)
    }

    /// Records what is so at the destination of the source's templates.
    async fn put_templates(
        &self,
        source: &[Compared],
        there: &[Compared],
        waba_id: &str,
    ) -> Result<(), BookError> {
        let cause = self.book.cause(CALLER);
        let mut desk = self.book.desk().await?;
        for template in source {
            let found = there
                .iter()
                .find(|one| one.name == template.name && one.language == template.language);
            let status = match found.map(|found| found.status.as_str()) {
                None => v1::TemplateStatus::Deleted,
                Some(word) => {
                    let name = format!("TEMPLATE_STATUS_{word}");
                    match v1::TemplateStatus::from_str_name(&name) {
                        Some(status) => status,
                        // A word of the platform's that says nothing about sending here.
                        None => continue,
                    }
                }
            };
            let of = v1::Template {
                waba_id: waba_id.to_owned(),
                name: template.name.clone(),
                language: template.language.clone(),
                ..v1::Template::default()
            };
            desk.settle(&cause, |ledger| {
                let present = ledger.template(&of).map(|entry| &entry.record);
                let changed = present.filter(|present| present.status() != status);
                Ok(changed.map(|present| {
                    let wanted = v1::Template {
                        status: status.into(),
                        ..present.clone()
                    };
                    template_recorded(wanted, &cause)
                }))
            })
            .await?;
        }
        Ok(())
    }

    /// Records what became of a step.
    pub(super) async fn settle(
        &self,
        migration: &v1::Migration,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let Outcome { happened, mut told } = outcome;
        let now = timestamp(self.clock.now());
        if let Some(problem) = &mut told.problem {
            problem.time = Some(now);
        }
        told.claim = migration.begin_time;
        self.record(migration, happened, &told).await?;
        Ok(())
    }

    /// Records what happened to a migration; returns whether that was still to be said.
    pub(super) async fn record(
        &self,
        migration: &v1::Migration,
        happened: Happened,
        told: &Told,
    ) -> Result<bool, BookError> {
        let id = &migration.migration_id;
        let step = stored::course(migration).step;
        let cause = self.book.cause(CALLER);
        let mut desk = self.book.desk().await?;
        let recorded = desk
            .settle(&cause, |ledger| {
                let present = ledger.migration(id).ok_or(decide::Refused::Unknown)?;
                decide::happened(present, step, happened, told, &cause)
            })
            .await;
        match recorded {
            Ok(is_written) => Ok(is_written),
            // It has gone on meanwhile: what is so now is looked at next.
            Err(BookError::Refused(Refusal::Migration(decide::Refused::Course(_)))) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Turns the number's record.
    pub(super) async fn turn(
        &self,
        migration: &v1::Migration,
        turn: Turn,
    ) -> Result<bool, BookError> {
        let cause = self.book.cause(CALLER);
        let mut desk = self.book.desk().await?;
        desk.settle(&cause, |ledger| {
            let present = ledger.number(&migration.number);
            Ok(number::turn(present, migration, turn, &cause))
        })
        .await
    }

    pub(super) async fn read(&self, id: &str) -> Result<Option<v1::Migration>, BookError> {
        let desk = self.book.desk().await?;
        Ok(desk.ledger().migration(id).cloned())
    }
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

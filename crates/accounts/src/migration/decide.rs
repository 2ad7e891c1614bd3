//! What a wish about a migration, or a step of it, adds to the log. Pure.
//!
//! Whether something can happen is the domain's to say; here it becomes a record with what the
//! platform told.

use casement_domain::migration::{Course, End, Happened, Refusal as CourseRefusal, Step};
use casement_event::convert::timestamp;
use casement_event::{Event, v1};

use super::stored;
use crate::decide::{Authority, Cause, Decision, Refusal};
use crate::ledger::Ledger;

/// Why a wish about a migration is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none by that id, or it is another brand's.
    #[error("migration is not on record")]
    Unknown,
    /// The number has one that is open.
    #[error("number has an open migration, {0}: go on with it or cancel it")]
    AnotherOpen(String),
    /// It is there already.
    #[error("number is in business account {0} already")]
    AlreadyThere(String),
    /// It does not follow from how it stands.
    #[error(transparent)]
    Course(#[from] CourseRefusal),
}

impl From<CourseRefusal> for Refusal {
    fn from(refusal: CourseRefusal) -> Self {
        Refused::from(refusal).into()
    }
}

/// What comes with something that happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// When whoever says so began the step. What another has begun since, and did not come off, is
    /// theirs to say.
    pub(super) claim: Option<prost_types::Timestamp>,
    /// Why the step does not go on.
    pub(super) problem: Option<v1::MigrationProblem>,
    /// Preconditions, as they were found.
    pub(super) preconditions: Option<Vec<v1::MigrationPrecondition>>,
    /// What the source tells of the number.
    pub(super) before: Option<v1::MigrationNumberFacts>,
    /// The portfolio of the destination.
    pub(super) portfolio_id: Option<String>,
    /// The id that the number has at the destination.
    pub(super) phone_number_id: Option<String>,
    /// It had been done, and the answer was lost.
    pub(super) found_done: bool,
    /// What came along.
    pub(super) report: Option<v1::MigrationReport>,
    /// Why somebody gives it up.
    pub(super) cancel_reason: Option<String>,
}

/// Starts a migration, or takes up what is new in the wish for the open one.
pub(super) fn start(
    ledger: &Ledger,
    wanted: &v1::Migration,
    authority: &Authority,
    cause: &Cause,
) -> Decision {
    let number = ledger.number(&wanted.number);
    let brand = match number {
        Some(number) => number.brand_id.as_str(),
        None if wanted.brand_id.is_empty() => return Err(Refusal::NumberUnknown),
        None => wanted.brand_id.as_str(),
    };
    if !authority.covers(brand) {
        return Err(Refusal::NumberUnknown);
    }
    if ledger.brand(brand).is_none() {
        return Err(Refusal::BrandUnknown);
    }
    let to = wanted.destination.clone().unwrap_or_default();
    if let Some(open) = open_of(ledger, &wanted.number) {
        let there = open.destination.clone().unwrap_or_default();
        if there.waba_id != to.waba_id {
            return Err(Refused::AnotherOpen(open.migration_id.clone()).into());
        }
        return resume(open, wanted, cause);
    }
    let is_ours = number.filter(|number| number.migrate_away_time.is_none());
    if is_ours.is_some_and(|number| number.waba_id == to.waba_id) {
        return Err(Refused::AlreadyThere(to.waba_id).into());
    }
    let source = is_ours.map(place_of);
    let mut migration = v1::Migration {
        brand_id: brand.to_owned(),
        source,
        destination: Some(v1::MigrationPlace {
            phone_number_id: String::new(),
            ..to
        }),
        start_time: Some(timestamp(cause.time)),
        ..wanted.clone()
    };
    stored::put(&Course::start(cause.time), &mut migration, cause.time);
    Ok(Some(
        v1::MigrationStarted {
            migration: Some(migration),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// Returns where a number is.
pub(super) fn place_of(number: &v1::Number) -> v1::MigrationPlace {
    v1::MigrationPlace {
        waba_id: number.waba_id.clone(),
        phone_number_id: number.phone_number_id.clone(),
        portfolio_id: number.portfolio_id.clone(),
        token: number.token.clone(),
        app: number.app.clone(),
    }
}

/// Returns the migration that the same request started.
pub(super) fn requested<'a>(
    ledger: &'a Ledger,
    wanted: &v1::Migration,
) -> Option<&'a v1::Migration> {
    let all = ledger.migrations.values().map(|entry| &entry.record);
    let mut same = all.filter(|one| {
        !wanted.request_id.is_empty()
            && one.request_id == wanted.request_id
            && one.caller_brand == wanted.caller_brand
            && one.number == wanted.number
    });
    same.next()
}

/// Returns a migration that a caller may change.
pub(super) fn of_caller<'a>(
    ledger: &'a Ledger,
    id: &str,
    authority: &Authority,
) -> Result<&'a v1::Migration, Refusal> {
    let migration = ledger.migration(id);
    let seen = migration.filter(|migration| authority.covers(&migration.brand_id));
    seen.ok_or_else(|| Refused::Unknown.into())
}

/// Returns a number's open migration.
pub(super) fn open_of<'a>(ledger: &'a Ledger, number: &str) -> Option<&'a v1::Migration> {
    let all = ledger.migrations.values().map(|entry| &entry.record);
    all.into_iter()
        .find(|one| one.number == number && stored::course(one).ended.is_none())
}

/// Takes up what the wish says otherwise, and goes on at once with what is stuck.
fn resume(open: &v1::Migration, wanted: &v1::Migration, cause: &Cause) -> Decision {
    let mut migration = open.clone();
    let to = wanted.destination.clone().unwrap_or_default();
    let place = migration.destination.get_or_insert_default();
    place.token = to.token;
    place.app = to.app;
    migration.pin.clone_from(&wanted.pin);
    migration.vouched.clone_from(&wanted.vouched);
    migration
        .data_localization_region
        .clone_from(&wanted.data_localization_region);
    if wanted.code_method() != v1::MigrationCodeMethod::Unspecified {
        migration.code_method = wanted.code_method;
    }
    migration.code_language.clone_from(&wanted.code_language);
    let course = stored::course(open);
    let is_changed = migration != *open;
    match course.after(Happened::Resumed, cause.time) {
        Ok(after) if is_changed || after != course => {
            stored::put(&after, &mut migration, cause.time);
        }
        // Somebody is at it: what is new counts for the next go.
        Err(CourseRefusal::UnderWay) if is_changed => {}
        Ok(_) | Err(CourseRefusal::UnderWay) => return Ok(None),
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(Some(
        v1::MigrationResumed {
            migration: Some(migration),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// Another code is wanted.
pub(super) fn resend(
    present: &v1::Migration,
    method: v1::MigrationCodeMethod,
    language: &str,
    cause: &Cause,
) -> Decision {
    let mut migration = present.clone();
    let after = stored::course(present).after(Happened::CodeAsked, cause.time)?;
    if method != v1::MigrationCodeMethod::Unspecified {
        migration.set_code_method(method);
    }
    if !language.is_empty() {
        language.clone_into(&mut migration.code_language);
    }
    migration.problem = None;
    stored::put(&after, &mut migration, cause.time);
    Ok(Some(
        v1::MigrationResumed {
            migration: Some(migration),
            time: Some(timestamp(cause.time)),
            caller: cause.caller.clone(),
        }
        .into(),
    ))
}

/// Something happened to a migration. `step` is the one that whoever says so was at: if the
/// migration has gone on since, nothing is written.
pub(super) fn happened(
    present: &v1::Migration,
    step: Step,
    happened: Happened,
    told: &Told,
    cause: &Cause,
) -> Decision {
    let course = stored::course(present);
    let is_anothers = told.claim.is_some() && told.claim != present.begin_time;
    if course.step != step || is_anothers && happened != Happened::Done {
        return Err(CourseRefusal::Elsewhere.into());
    }
    let after = course.after(happened, cause.time)?;
    let mut migration = present.clone();
    take(&mut migration, told);
    let time = Some(timestamp(cause.time));
    let caller = cause.caller.clone();
    match happened {
        Happened::Begun | Happened::CodeGiven => migration.begin_time = time,
        Happened::Done => {
            migration.problem.clone_from(&told.problem);
            migration.steps.push(v1::MigrationStepDone {
                step: stored::step(course.step).into(),
                begin_time: migration.begin_time,
                end_time: time,
                calls: course.calls,
                found_done: told.found_done,
            });
            migration.begin_time = None;
        }
        _ => {}
    }
    stored::put(&after, &mut migration, cause.time);
    let step = stored::step(course.step).into();
    let migration = Some(migration);
    let event: Event = match happened {
        Happened::Begun | Happened::CodeGiven => v1::MigrationStepBegun {
            migration,
            time,
            caller,
        }
        .into(),
        Happened::Done if after.ended == Some(End::Completed) => v1::MigrationCompleted {
            migration,
            time,
            caller,
        }
        .into(),
        Happened::Done => v1::MigrationStepCompleted {
            migration,
            time,
            caller,
            step,
        }
        .into(),
        Happened::Overdue => v1::MigrationStepOverdue {
            migration,
            time,
            caller,
            step,
        }
        .into(),
        Happened::Cancelled => v1::MigrationCancelled {
            migration,
            time,
            caller,
        }
        .into(),
        Happened::Unclear
        | Happened::Passing
        | Happened::Stuck { .. }
        | Happened::VerifyAgain
        | Happened::Resumed
        | Happened::CodeAsked
        | Happened::CodeRefused => v1::MigrationStepFailed {
            migration,
            time,
            caller,
            step,
        }
        .into(),
    };
    Ok(Some(event))
}

fn take(migration: &mut v1::Migration, told: &Told) {
    if let Some(problem) = &told.problem {
        migration.problem = Some(problem.clone());
    }
    if let Some(preconditions) = &told.preconditions {
        migration.preconditions.clone_from(preconditions);
        migration.check_time = told
            .problem
            .as_ref()
            .and_then(|problem| problem.time)
            .or(migration.begin_time);
    }
    if let Some(before) = &told.before {
        migration.before = Some(before.clone());
    }
    let destination = migration.destination.get_or_insert_default();
    if let Some(portfolio_id) = &told.portfolio_id {
        destination.portfolio_id.clone_from(portfolio_id);
    }
    if let Some(phone_number_id) = &told.phone_number_id {
        destination.phone_number_id.clone_from(phone_number_id);
    }
    if let Some(report) = &told.report {
        migration.report = Some(report.clone());
    }
    if let Some(reason) = &told.cancel_reason {
        migration.cancel_reason.clone_from(reason);
    }
}

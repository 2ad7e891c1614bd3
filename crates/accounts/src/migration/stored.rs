//! Between a migration as the domain runs it and as it stands on the log.

use casement_domain::migration::{
    Course, End, Item, Kind, NumberFacts, Precondition, Standing, Step, Verdict,
};
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use jiff::Timestamp;

/// Reads where a migration stands. What a newer version wrote that this one does not know stands as
/// stuck: nothing is called for it.
pub(crate) fn course(of: &v1::Migration) -> Course {
    let since = at(of.step_time.as_ref());
    let wakes = of.standing_time.as_ref().map(|time| at(Some(time)));
    let standing_at = wakes.unwrap_or(since);
    let standing = match of.standing() {
        v1::MigrationStanding::Due => Standing::Due { at: standing_at },
        v1::MigrationStanding::Begun => Standing::Begun {
            look_at: standing_at,
        },
        v1::MigrationStanding::AwaitsCode => Standing::AwaitsCode {
            look_at: standing_at,
        },
        v1::MigrationStanding::Stuck => Standing::Stuck { again_at: wakes },
        v1::MigrationStanding::Unspecified => Standing::Stuck { again_at: None },
    };
    Course {
        step: read_step(of.step()),
        standing,
        since,
        expected_by: at(of.expected_by_time.as_ref()),
        is_overdue: of.overdue_time.is_some(),
        calls: of.calls,
        is_handed_over: of.register_time.is_some(),
        ended: match of.state() {
            v1::MigrationState::Completed => Some(End::Completed),
            v1::MigrationState::Cancelled => Some(End::Cancelled),
            v1::MigrationState::Open | v1::MigrationState::Unspecified => None,
        },
    }
}

/// Writes where a migration stands now into its record.
pub(crate) fn put(course: &Course, of: &mut v1::Migration, now: Timestamp) {
    let (standing, wakes) = match course.standing {
        Standing::Due { at } => (v1::MigrationStanding::Due, Some(at)),
        Standing::Begun { look_at } => (v1::MigrationStanding::Begun, Some(look_at)),
        Standing::AwaitsCode { look_at } => (v1::MigrationStanding::AwaitsCode, Some(look_at)),
        Standing::Stuck { again_at } => (v1::MigrationStanding::Stuck, again_at),
    };
    let (state, standing, wakes) = match course.ended {
        None => (v1::MigrationState::Open, standing, wakes),
        Some(End::Completed) => (
            v1::MigrationState::Completed,
            v1::MigrationStanding::Unspecified,
            None,
        ),
        Some(End::Cancelled) => (
            v1::MigrationState::Cancelled,
            v1::MigrationStanding::Unspecified,
            None,
        ),
    };
    of.set_state(state);
    of.set_step(step(course.step));
    of.set_standing(standing);
    of.standing_time = wakes.map(timestamp);
    of.step_time = Some(timestamp(course.since));
    of.expected_by_time = Some(timestamp(course.expected_by));
    of.calls = course.calls;
    of.overdue_time = match (course.is_overdue, of.overdue_time) {
        (true, Some(told)) => Some(told),
        (true, None) => Some(timestamp(now)),
        (false, _) => None,
    };
    if course.is_handed_over && of.register_time.is_none() {
        of.register_time = Some(timestamp(now));
    }
    if course.ended.is_some() && of.end_time.is_none() {
        of.end_time = Some(timestamp(now));
    }
    of.due_time = course.due_at().map(timestamp);
}

pub(crate) fn step(of: Step) -> v1::MigrationStep {
    match of {
        Step::Check => v1::MigrationStep::Check,
        Step::Add => v1::MigrationStep::Add,
        Step::RequestCode => v1::MigrationStep::RequestCode,
        Step::VerifyCode => v1::MigrationStep::VerifyCode,
        Step::Register => v1::MigrationStep::Register,
        Step::Switch => v1::MigrationStep::Switch,
        Step::CompareTemplates => v1::MigrationStep::CompareTemplates,
    }
}

fn read_step(of: v1::MigrationStep) -> Step {
    match of {
        v1::MigrationStep::Unspecified | v1::MigrationStep::Check => Step::Check,
        v1::MigrationStep::Add => Step::Add,
        v1::MigrationStep::RequestCode => Step::RequestCode,
        v1::MigrationStep::VerifyCode => Step::VerifyCode,
        v1::MigrationStep::Register => Step::Register,
        v1::MigrationStep::Switch => Step::Switch,
        v1::MigrationStep::CompareTemplates => Step::CompareTemplates,
    }
}

/// The kinds of preconditions, here and there.
const KINDS: [(Kind, v1::MigrationPreconditionKind); 12] = {
    use v1::MigrationPreconditionKind as Stored;
    [
        (Kind::DestinationToken, Stored::DestinationToken),
        (Kind::RegisteredAtSource, Stored::RegisteredAtSource),
        (Kind::TwoStepDisabled, Stored::TwoStepDisabled),
        (Kind::NameApproved, Stored::NameApproved),
        (Kind::NoPendingRename, Stored::NoPendingRename),
        (Kind::SameBusiness, Stored::SameBusiness),
        (Kind::SourceVerified, Stored::SourceVerified),
        (Kind::DestinationVerified, Stored::DestinationVerified),
        (Kind::DestinationApproved, Stored::DestinationApproved),
        (Kind::PaymentMethod, Stored::PaymentMethod),
        (Kind::WebhooksSubscribed, Stored::WebhooksSubscribed),
        (Kind::RegistrationsLeft, Stored::RegistrationsLeft),
    ]
};

/// Reads what somebody vouches for; what this version does not know is left out.
pub(crate) fn kinds(stored: &[i32]) -> Vec<Kind> {
    let of = |word: &i32| KINDS.iter().find(|(_, stored)| i32::from(*stored) == *word);
    stored.iter().filter_map(|word| Some(of(word)?.0)).collect()
}

pub(crate) fn precondition(of: &Precondition) -> v1::MigrationPrecondition {
    let kind = KINDS.iter().find(|(kind, _)| *kind == of.kind);
    let verdict = match of.verdict {
        Verdict::Passed => v1::MigrationVerdict::Passed,
        Verdict::Failed => v1::MigrationVerdict::Failed,
        Verdict::Unknown => v1::MigrationVerdict::Unknown,
    };
    v1::MigrationPrecondition {
        kind: kind.map(|(_, stored)| *stored).unwrap_or_default().into(),
        verdict: verdict.into(),
        found: of.found.clone(),
        fix: of.fix.clone(),
        vouched: of.is_vouched,
    }
}

pub(crate) fn item(of: Item) -> v1::MigrationItem {
    v1::MigrationItem {
        name: of.name,
        reason: of.reason.to_owned(),
        text: of.text,
    }
}

pub(crate) fn facts(of: &NumberFacts) -> v1::MigrationNumberFacts {
    v1::MigrationNumberFacts {
        display_name: of.display_name.clone(),
        quality_rating: of.quality_rating.clone(),
        messaging_limit: of.messaging_limit.clone(),
        official: of.official.clone(),
        throughput: of.throughput.clone(),
    }
}

pub(crate) fn read_facts(of: Option<&v1::MigrationNumberFacts>) -> NumberFacts {
    let of = of.cloned().unwrap_or_default();
    NumberFacts {
        display_name: of.display_name,
        quality_rating: of.quality_rating,
        messaging_limit: of.messaging_limit,
        official: of.official,
        throughput: of.throughput,
    }
}

/// Reads a time that we wrote; one that cannot be has long passed.
pub(crate) fn at(stored: Option<&prost_types::Timestamp>) -> Timestamp {
    let read = instant("time", stored).ok().flatten();
    read.unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use casement_domain::migration::Happened;

    use super::*;

    #[test]
    fn a_course_reads_back_as_it_was_written_wherever_it_stands() {
        let second = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        let all = [
            Happened::Begun,
            Happened::Unclear,
            Happened::Stuck { tries_again: true },
            Happened::Resumed,
            Happened::Begun,
            Happened::Stuck { tries_again: false },
            Happened::Overdue,
            Happened::Resumed,
            Happened::Begun,
            Happened::Done,
            Happened::Begun,
            Happened::Passing,
            Happened::Begun,
            Happened::Done,
            Happened::Begun,
            Happened::Done,
            Happened::CodeGiven,
            Happened::CodeRefused,
            Happened::CodeGiven,
            Happened::Done,
            Happened::Begun,
            Happened::Done,
            Happened::Begun,
            Happened::Done,
            Happened::Begun,
            Happened::Done,
        ];
        let mut course = Course::start(second(0));
        let mut record = v1::Migration::default();
        for (passed, happened) in (1..).zip(all) {
            put(&course, &mut record, second(passed));
            assert_eq!(super::course(&record), course);
            assert_eq!(
                record.due_time.as_ref().map(|time| at(Some(time))),
                course.due_at()
            );
            course = course.after(happened, second(passed)).unwrap();
        }
        put(&course, &mut record, second(100));
        let read = super::course(&record);
        assert_eq!(read.ended, Some(End::Completed));
        assert_eq!(read.due_at(), None);
    }
}

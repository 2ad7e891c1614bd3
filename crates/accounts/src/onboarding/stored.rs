//! Between an onboarding's record and its course, as the domain has it.

use casement_domain::onboarding::{Course, Party, State, Step, Trouble};
use casement_event::convert::{instant, timestamp};
use casement_event::v1;
use jiff::Timestamp;

/// What a record says afterwards of what keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Problem {
    /// As before.
    Keep,
    /// Nothing.
    Clear,
    /// This, with the platform's code.
    Set(Trouble, i64),
}

/// Reads a record's course. What keeps it is told in words there, and not read back.
pub(super) fn course(stored: &v1::Onboarding) -> Course {
    let time = |of: Option<&prost_types::Timestamp>| instant("time", of).ok().flatten();
    Course {
        is_coexistence: stored.coexistence,
        state: state(stored.state()),
        step: step(stored.step()),
        begun_at: time(stored.step_start_time.as_ref()),
        tries: stored.step_tries,
        next_at: time(stored.next_time.as_ref()),
        trouble: None,
    }
}

/// Returns a record with another course.
pub(super) fn with(
    stored: &v1::Onboarding,
    course: &Course,
    problem: Problem,
    now: Timestamp,
) -> v1::Onboarding {
    let (waits_for, problem) = match problem {
        Problem::Keep => (stored.waits_for(), stored.problem.clone()),
        Problem::Clear => (v1::OnboardingParty::Unspecified, None),
        Problem::Set(trouble, code) => {
            let problem = v1::OnboardingProblem {
                reason: trouble.reason().to_owned(),
                code,
                text: trouble.advice().to_owned(),
            };
            (party(trouble.party()), Some(problem))
        }
    };
    let ended = course.state.is_over().then(|| timestamp(now));
    v1::Onboarding {
        state: written_state(course.state).into(),
        step: written_step(course.step).into(),
        step_start_time: course.begun_at.map(timestamp),
        step_tries: course.tries,
        next_time: course.next_at.map(timestamp),
        waits_for: waits_for.into(),
        problem,
        end_time: stored.end_time.or(ended),
        ..stored.clone()
    }
}

fn state(stored: v1::OnboardingState) -> State {
    match stored {
        v1::OnboardingState::Running => State::Running,
        v1::OnboardingState::Waiting => State::Waiting,
        // A state of a newer version is left alone.
        v1::OnboardingState::Stopped | v1::OnboardingState::Unspecified => State::Stopped,
        v1::OnboardingState::Done => State::Done,
        v1::OnboardingState::Cancelled => State::Cancelled,
    }
}

fn written_state(state: State) -> v1::OnboardingState {
    match state {
        State::Running => v1::OnboardingState::Running,
        State::Waiting => v1::OnboardingState::Waiting,
        State::Stopped => v1::OnboardingState::Stopped,
        State::Done => v1::OnboardingState::Done,
        State::Cancelled => v1::OnboardingState::Cancelled,
    }
}

fn step(stored: v1::OnboardingStep) -> Step {
    match stored {
        v1::OnboardingStep::Inspect | v1::OnboardingStep::Unspecified => Step::Inspect,
        v1::OnboardingStep::Subscribe => Step::Subscribe,
        v1::OnboardingStep::Register => Step::Register,
        v1::OnboardingStep::Record => Step::Record,
        v1::OnboardingStep::Templates => Step::Templates,
    }
}

fn written_step(step: Step) -> v1::OnboardingStep {
    match step {
        Step::Inspect => v1::OnboardingStep::Inspect,
        Step::Subscribe => v1::OnboardingStep::Subscribe,
        Step::Register => v1::OnboardingStep::Register,
        Step::Record => v1::OnboardingStep::Record,
        Step::Templates => v1::OnboardingStep::Templates,
    }
}

fn party(party: Party) -> v1::OnboardingParty {
    match party {
        Party::Casement => v1::OnboardingParty::Casement,
        Party::Platform => v1::OnboardingParty::Platform,
        Party::Business => v1::OnboardingParty::Business,
        Party::Operator => v1::OnboardingParty::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_reads_back_as_it_was_written() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut known = Course::start(false, now);
        let mut stored = v1::Onboarding::default();
        while let Some(begun) = known.begin(now) {
            let waiting = begun.failed(Trouble::Maintenance, now);
            let stopped = begun.failed(Trouble::PinWrong, now);
            for course in [&begun, &waiting, &stopped, &begun.done(now)] {
                stored = with(&stored, course, Problem::Clear, now);
                let plain = Course {
                    trouble: None,
                    ..course.clone()
                };
                assert_eq!(super::course(&stored), plain);
            }
            known = begun.done(now);
        }
        assert_eq!(stored.state(), v1::OnboardingState::Done);
        assert!(stored.end_time.is_some());
    }

    #[test]
    fn a_problem_says_whom_it_waits_for_and_a_step_that_begins_keeps_it() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let begun = Course::start(false, now).begin(now).unwrap();
        let failed = begun.failed(Trouble::PinWrong, now);
        let set = Problem::Set(Trouble::PinWrong, 133_005);
        let stored = with(&v1::Onboarding::default(), &failed, set, now);
        assert_eq!(stored.waits_for(), v1::OnboardingParty::Business);
        let kept = with(&stored, &begun, Problem::Keep, now);
        assert_eq!(kept.problem.as_ref().unwrap().code, 133_005);
        assert_eq!(with(&kept, &begun, Problem::Clear, now).problem, None);
    }
}

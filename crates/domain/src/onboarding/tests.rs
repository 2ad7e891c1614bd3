//! The course of an onboarding: its order, its waits and its ends, in tables and as a law.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

#[test]
fn each_number_goes_all_steps_and_one_on_the_phone_app_is_not_registered() {
    for (is_coexistence, steps) in [
        (false, &Step::ALL[..]),
        (
            true,
            &[
                Step::Inspect,
                Step::Subscribe,
                Step::Record,
                Step::Templates,
            ][..],
        ),
    ] {
        let mut course = Course::start(is_coexistence, at(0));
        let mut made = Vec::new();
        while let Some(begun) = course.begin(at(0)) {
            made.push(begun.step);
            course = begun.done(at(0));
        }
        assert_eq!(made, steps);
        assert_eq!(course.state, State::Done);
        assert_eq!(course.next_at, None);
    }
}

#[test]
fn a_step_that_was_begun_is_left_alone_until_its_lease_ends() {
    let begun = Course::start(false, at(0)).begin(at(0)).unwrap();
    assert_eq!(begun.begin(at(89)), None);
    assert_eq!(begun.begin(at(90)).unwrap().tries, 2);
    assert_eq!(begun.retry(at(1)), Err(Refusal::Busy));
}

#[test]
fn a_stop_waits_for_somebody_and_a_retry_begins_the_same_step() {
    let begun = Course::start(false, at(0)).begin(at(0)).unwrap();
    let stopped = begun.failed(Trouble::PinWrong, at(1));
    assert_eq!((stopped.state, stopped.next_at), (State::Stopped, None));
    assert_eq!(stopped.begin(at(1_000_000)), None);
    let again = stopped.retry(at(5)).unwrap();
    assert_eq!(again.begin(at(5)).unwrap().step, begun.step);
}

#[test]
fn locks_and_budgets_wait_for_their_end() {
    let begun = Course::start(false, at(0)).begin(at(0)).unwrap();
    let until = at(777);
    let spent = begun.failed(Trouble::BudgetSpent { until }, at(1));
    assert_eq!(spent.next_at, Some(until));
    let locked = begun.failed(Trouble::RegistrationLocked, at(1));
    assert_eq!(locked.next_at, Some(at(1 + 72 * 3_600)));
}

#[test]
fn what_passes_is_tried_ever_more_rarely_and_never_given_up() {
    let wait = |tries| match Trouble::Away.verdict(tries, at(0)) {
        Verdict::Again(then) => then.duration_since(at(0)).as_secs(),
        Verdict::Stop => panic!("given up"),
    };
    assert_eq!([wait(1), wait(2), wait(3)], [2, 4, 8]);
    assert_eq!([wait(20), wait(u32::MAX)], [600, 600]);
}

#[test]
fn an_onboarding_that_is_over_takes_no_wish() {
    let mut done = Course::start(false, at(0));
    while let Some(begun) = done.begin(at(0)) {
        done = begun.done(at(0));
    }
    assert_eq!(done.retry(at(1)), Err(Refusal::Over));
    assert_eq!(done.cancel(), Err(Refusal::Over));
    let cancelled = Course::start(false, at(0)).cancel().unwrap().unwrap();
    assert_eq!(cancelled.cancel(), Ok(None));
    assert_eq!(cancelled.begin(at(9)), None);
}

proptest! {
    #[test]
    fn whatever_happens_a_step_is_never_skipped_and_something_is_always_to_come(
        happenings in prop::collection::vec((0_u8..6, 0_i64..200), 1..60),
        is_coexistence in any::<bool>(),
    ) {
        let (mut course, mut now, mut done) = (Course::start(is_coexistence, at(0)), 0, Vec::new());
        for (happening, passed) in happenings {
            now += passed;
            let under_way = course.begun_at.is_some();
            course = match happening {
                0 | 1 => course.begin(at(now)).unwrap_or(course),
                2 if under_way => {
                    done.push(course.step);
                    course.done(at(now))
                }
                3 if under_way => course.failed(Trouble::Away, at(now)),
                4 if under_way => course.failed(Trouble::PinWrong, at(now)),
                _ => course.retry(at(now)).unwrap_or(course),
            };
            let waits_for_nobody = matches!(course.state, State::Running | State::Waiting);
            prop_assert_eq!(waits_for_nobody, course.next_at.is_some());
        }
        let all: Vec<Step> = std::iter::successors(Some(Step::Inspect), |step| step.next(is_coexistence)).collect();
        prop_assert_eq!(&done[..], &all[..done.len()]);
    }
}

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
fn a_retry_begins_anew_and_an_end_leaves_nothing_under_way() {
    let begun = Course::start(false, at(0)).begin(at(0)).unwrap();
    assert_eq!((begun.state, begun.begun_at), (State::Running, Some(at(0))));
    let waiting = begun.failed(Trouble::Away, at(1));
    assert_eq!((waiting.state, waiting.begun_at), (State::Waiting, None));
    assert_eq!(waiting.trouble, Some(Trouble::Away));
    let anew = waiting.begin(waiting.next_at.unwrap()).unwrap();
    assert_eq!((anew.state, anew.tries), (State::Running, 2));

    let stopped = anew.failed(Trouble::PinWrong, at(9));
    let again = stopped.retry(at(10)).unwrap();
    assert_eq!(
        (again.state, again.tries, again.trouble),
        (State::Running, 0, None)
    );
    // Who retries what is due already does no harm.
    assert_eq!(
        again.retry(at(11)).map(|course| course.next_at),
        Ok(Some(at(11)))
    );

    let cancelled = begun.cancel().unwrap().unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!((cancelled.begun_at, cancelled.next_at), (None, None));
    assert_eq!(cancelled.begin(at(1_000_000)), None);
    assert_eq!(cancelled.cancel(), Ok(None));
}

#[test]
fn only_what_is_done_or_cancelled_is_over() {
    for (state, is_over) in [
        (State::Running, false),
        (State::Waiting, false),
        (State::Stopped, false),
        (State::Done, true),
        (State::Cancelled, true),
    ] {
        assert_eq!(state.is_over(), is_over, "{state:?}");
    }
}

#[test]
fn each_trouble_has_a_word_of_its_own_and_advice_that_says_what_comes_next() {
    let until = at(0);
    let table = [
        (Trouble::Away, "PLATFORM_AWAY", "by itself"),
        (Trouble::TooManyCalls, "TOO_MANY_CALLS", "by itself"),
        (Trouble::Maintenance, "NUMBER_IN_MAINTENANCE", "by itself"),
        (Trouble::TokenInvalid, "TOKEN_INVALID", "signs up again"),
        (
            Trouble::TokenOfAnotherApp,
            "TOKEN_OF_ANOTHER_APP",
            "that app's name",
        ),
        (Trouble::TokenMissing, "TOKEN_MISSING", "retry"),
        (Trouble::AppWrong, "APP_WRONG", "accounts.apps"),
        (
            Trouble::PermissionMissing,
            "PERMISSION_MISSING",
            "whatsapp_business_management",
        ),
        (
            Trouble::NumberNotInAccount,
            "NUMBER_NOT_IN_ACCOUNT",
            "phone_number_id",
        ),
        (Trouble::NumberTaken, "NUMBER_TAKEN", "another brand"),
        (Trouble::PinMissing, "PIN_MISSING", "retry with the PIN"),
        (Trouble::PinWrong, "PIN_WRONG", "another two-step PIN"),
        (Trouble::PinGuessedTooOften, "PIN_GUESSED_TOO_OFTEN", "wait"),
        (Trouble::PinTooFast, "PIN_TOO_FAST", "by itself"),
        (Trouble::VerifyFirst, "VERIFY_FIRST", "with a code"),
        (
            Trouble::DeletedMomentsAgo,
            "DELETED_MOMENTS_AGO",
            "by itself",
        ),
        (Trouble::HalfDeregistered, "HALF_DEREGISTERED", "by itself"),
        (
            Trouble::BudgetSpent { until },
            "REGISTRATION_BUDGET_SPENT",
            "72 hours",
        ),
        (
            Trouble::RegistrationLocked,
            "REGISTRATION_LOCKED",
            "72 hours",
        ),
        (Trouble::Blocked, "ACCOUNT_BLOCKED", "WhatsApp Manager"),
        (Trouble::NotConnected, "NOT_CONNECTED", "looked at again"),
        (Trouble::Refused, "REFUSED", "see its code"),
    ];
    for (trouble, word, says) in table {
        assert_eq!(trouble.reason(), word);
        assert!(
            trouble.advice().contains(says),
            "{word}: {}",
            trouble.advice()
        );
        // What goes on by itself does.
        let goes_on = matches!(trouble.verdict(1, at(0)), Verdict::Again(_));
        assert_eq!(
            goes_on,
            !matches!(trouble.party(), Party::Business | Party::Operator),
            "{word}"
        );
    }
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

//! What may happen to a step, as it stands, and what it comes to: the whole table.

use super::*;

/// How a course stands, in a word.
fn word(course: &Course) -> String {
    let standing = match course.standing {
        _ if course.ended.is_some() => "ended",
        Standing::Due { .. } => "due",
        Standing::Begun { .. } => "begun",
        Standing::AwaitsCode { .. } => "awaited",
        Standing::Stuck { .. } => "stuck",
    };
    format!("{} {standing}", course.step.as_str())
}

fn after(course: Course, happened: &[Happened]) -> Course {
    let go_on = |course: Course, happened: &Happened| course.after(*happened, at(3)).unwrap();
    happened.iter().fold(course, go_on)
}

#[test]
fn a_step_goes_on_by_what_can_happen_to_it_and_by_nothing_else() {
    use Happened::{
        Begun, Cancelled, CodeAsked, CodeGiven, CodeRefused, Done, Overdue, Passing, Resumed,
        Stuck, Unclear, VerifyAgain,
    };
    use Refusal::{Elsewhere, NoCodeAwaited, RegisterUnderWay, UnderWay};
    let stuck = Stuck { tries_again: false };
    let add = brought_to(Step::Add);
    let code = brought_to(Step::VerifyCode);
    let register = brought_to(Step::Register);
    let all = [
        Begun,
        Done,
        Unclear,
        Passing,
        stuck,
        VerifyAgain,
        Overdue,
        Resumed,
        CodeAsked,
        CodeGiven,
        CodeRefused,
        Cancelled,
    ];
    let no = |refusal: Refusal| Err(refusal);
    let unfit = no(Elsewhere);
    let none = no(NoCodeAwaited);
    for (course, outcomes) in [
        (
            add,
            [
                Ok("ADD begun"),
                unfit,
                unfit,
                unfit,
                unfit,
                unfit,
                Ok("ADD due"),
                Ok("ADD due"),
                none,
                none,
                unfit,
                Ok("ADD ended"),
            ],
        ),
        (
            after(add, &[Begun]),
            [
                no(UnderWay),
                Ok("REQUEST_CODE due"),
                Ok("ADD begun"),
                Ok("ADD due"),
                Ok("ADD stuck"),
                unfit,
                Ok("ADD begun"),
                no(UnderWay),
                none,
                none,
                unfit,
                Ok("ADD ended"),
            ],
        ),
        (
            after(add, &[Begun, stuck]),
            [
                Ok("ADD begun"),
                unfit,
                unfit,
                unfit,
                unfit,
                unfit,
                Ok("ADD stuck"),
                Ok("ADD due"),
                none,
                none,
                unfit,
                Ok("ADD ended"),
            ],
        ),
        (
            code,
            [
                unfit,
                Ok("REGISTER due"),
                unfit,
                unfit,
                unfit,
                unfit,
                Ok("VERIFY_CODE awaited"),
                Ok("VERIFY_CODE awaited"),
                Ok("REQUEST_CODE due"),
                Ok("VERIFY_CODE begun"),
                Ok("VERIFY_CODE awaited"),
                Ok("VERIFY_CODE ended"),
            ],
        ),
        (
            after(code, &[CodeGiven]),
            [
                no(UnderWay),
                Ok("REGISTER due"),
                Ok("VERIFY_CODE begun"),
                Ok("VERIFY_CODE awaited"),
                Ok("VERIFY_CODE awaited"),
                unfit,
                Ok("VERIFY_CODE begun"),
                no(UnderWay),
                no(UnderWay),
                no(UnderWay),
                Ok("VERIFY_CODE awaited"),
                Ok("VERIFY_CODE ended"),
            ],
        ),
        (
            register,
            [
                Ok("REGISTER begun"),
                unfit,
                unfit,
                unfit,
                unfit,
                unfit,
                Ok("REGISTER due"),
                Ok("REGISTER due"),
                none,
                none,
                unfit,
                Ok("REGISTER ended"),
            ],
        ),
        (
            after(register, &[Begun]),
            [
                no(UnderWay),
                Ok("SWITCH due"),
                Ok("REGISTER begun"),
                Ok("REGISTER due"),
                Ok("REGISTER stuck"),
                Ok("REQUEST_CODE due"),
                Ok("REGISTER begun"),
                no(UnderWay),
                none,
                none,
                unfit,
                no(RegisterUnderWay),
            ],
        ),
    ] {
        for (happened, outcome) in all.into_iter().zip(outcomes) {
            let found = course.after(happened, at(9)).map(|course| word(&course));
            let outcome = outcome.map(str::to_owned);
            assert_eq!(found, outcome, "{} after {happened:?}", word(&course));
        }
    }
}

#[test]
fn steps_have_words_that_never_change() {
    assert_eq!(
        Step::ALL.map(Step::as_str),
        [
            "CHECK",
            "ADD",
            "REQUEST_CODE",
            "VERIFY_CODE",
            "REGISTER",
            "SWITCH",
            "COMPARE_TEMPLATES",
        ]
    );
}

#[test]
fn what_the_platform_cannot_take_is_tried_again_after_longer_and_longer_waits() {
    let mut course = brought_to(Step::Add);
    for wait in [1, 5, 20, 60, 300, 300, 300] {
        let begun = course.after(Happened::Begun, at(10)).unwrap();
        course = begun.after(Happened::Passing, at(10)).unwrap();
        assert_eq!(course.standing, Standing::Due { at: at(10 + wait) });
        assert_eq!(course.next(at(10 + wait - 1)), Next::Wait(at(10 + wait)));
        assert_eq!(course.next(at(10 + wait)), Next::Begin(Step::Add));
    }
    // Another step begins with short waits.
    let begun = course.after(Happened::Begun, at(11)).unwrap();
    let next = begun.after(Happened::Done, at(12)).unwrap();
    let begun = next.after(Happened::Begun, at(20)).unwrap();
    let passing = begun.after(Happened::Passing, at(20)).unwrap();
    assert_eq!(passing.standing, Standing::Due { at: at(21) });
}

#[test]
fn nothing_is_begun_before_its_time() {
    let begun = after(brought_to(Step::Add), &[Happened::Begun]);
    let stuck = begun
        .after(Happened::Stuck { tries_again: true }, at(10))
        .unwrap();
    let stuck = stuck.after(Happened::Overdue, at(10)).unwrap();
    let again_at = at(10) + TRY_AGAIN_AFTER;
    assert_eq!(
        stuck.next(again_at - SignedDuration::from_secs(1)),
        Next::Wait(again_at)
    );
    assert_eq!(stuck.next(again_at), Next::Begin(Step::Add));
}

#[test]
fn who_resumes_what_waits_for_a_code_changes_nothing() {
    let awaited = brought_to(Step::VerifyCode);
    let look_at = at(2) + LOOK_EVERY;
    assert_eq!(awaited.standing, Standing::AwaitsCode { look_at });
    assert_eq!(awaited.after(Happened::Resumed, at(100)), Ok(awaited));
    assert_eq!(awaited.next(look_at), Next::LookUp(Step::VerifyCode));
}

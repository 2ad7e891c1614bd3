//! Which step may follow which, and what is refused.

use proptest::prelude::*;

use super::*;

mod again;

/// What was wished, and on which day.
type History = Vec<(i64, Command)>;

const DAY: i64 = 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn applicant(number: &str) -> Applicant {
    Applicant {
        brand: BrandId::parse("shop").unwrap(),
        business: PortfolioId::parse("900").unwrap(),
        number: BusinessNumber::parse(number).unwrap(),
    }
}

fn start(number: &str) -> Command {
    Command::Start {
        applicant: applicant(number),
        display_name: "The Shop".to_owned(),
        is_number_taken: false,
    }
}

fn report(status: Status, source: Source, second: i64) -> Command {
    Command::Report(Report {
        status,
        source,
        at: at(second),
        caller: String::new(),
        evidence: "ticket 12".to_owned(),
        platform_status: String::new(),
        reasons: Vec::new(),
    })
}

fn verified(second: i64) -> Command {
    report(Status::Verified, Source::Platform, second)
}

fn hand_over() -> Command {
    Command::HandOver {
        onboarding: "o1".to_owned(),
    }
}

fn connected() -> Command {
    Command::Connected {
        onboarding: "o1".to_owned(),
    }
}

fn cancel() -> Command {
    Command::Cancel {
        reason: "no longer wanted".to_owned(),
        wants_refund: false,
    }
}

/// Carries out commands, each at its second, and returns what became of the last one.
fn run(commands: Vec<(i64, Command)>) -> (Option<Application>, Result<Option<Kind>, Refusal>) {
    let mut state = None;
    let mut last = Ok(None);
    for (second, command) in commands {
        last = decide(state.as_ref(), command, &Durations::default(), at(second)).map(|event| {
            let event = event?;
            state = evolve(state.clone(), &event);
            Some(event.kind)
        });
    }
    (state, last)
}

fn application(commands: Vec<(i64, Command)>) -> Application {
    run(commands).0.unwrap()
}

#[test]
fn the_way_to_a_connected_number() {
    let done = application(vec![
        (0, start("15550001111")),
        (DAY, Command::AcceptInvite),
        (2 * DAY, Command::SignTerms),
        (3 * DAY, verified(3 * DAY)),
        (4 * DAY, hand_over()),
        (5 * DAY, connected()),
    ]);
    assert_eq!(done.end, Some(End::Activated { at: at(5 * DAY) }));
    assert_eq!(done.hand_over.unwrap().onboarding, "o1");
    let done_at = done.steps.map(|step| step.done_at.unwrap());
    assert_eq!(
        done_at,
        [at(DAY), at(3 * DAY), at(2 * DAY), at(5 * DAY)],
        "invite, verification, terms, activation"
    );
}

#[test]
fn all_steps_but_verification_are_expected_within_one_to_two_weeks() {
    let started = application(vec![(0, start("15550001111"))]);
    let expected = |step| started.step(step).expected_by;
    assert_eq!(expected(Step::Invite), Some(at(3 * DAY)));
    assert_eq!(expected(Step::Terms), Some(at(7 * DAY)));
    assert_eq!(expected(Step::Activation), Some(at(10 * DAY)));
    assert_eq!(expected(Step::Verification), None, "nothing was handed in");
    let all = expected(Step::Activation).unwrap();
    assert!(all >= at(7 * DAY) && all <= at(14 * DAY));
}

#[test]
fn a_step_that_is_done_late_moves_those_after_it() {
    let late = application(vec![
        (0, start("15550001111")),
        (5 * DAY, Command::AcceptInvite),
    ]);
    let expected = |step| late.step(step).expected_by;
    assert_eq!(expected(Step::Invite), Some(at(3 * DAY)), "as it was");
    assert_eq!(expected(Step::Verification), Some(at(19 * DAY)));
    assert_eq!(expected(Step::Terms), Some(at(9 * DAY)));
    assert_eq!(expected(Step::Activation), Some(at(12 * DAY)));

    let verified_late = application(vec![
        (0, start("15550001111")),
        (DAY, Command::AcceptInvite),
        (2 * DAY, Command::SignTerms),
        (20 * DAY, verified(20 * DAY)),
    ]);
    let activation = verified_late.step(Step::Activation).expected_by;
    assert_eq!(activation, Some(at(23 * DAY)), "three days from then");
}

#[test]
fn what_is_refused_and_why() {
    let fixed = |business: Option<&str>, number: Option<&str>| Command::Update {
        business: business.map(|id| PortfolioId::parse(id).unwrap()),
        number: number.map(|digits| BusinessNumber::parse(digits).unwrap()),
        display_name: None,
    };
    let taken = Command::Start {
        applicant: applicant("15550001111"),
        display_name: String::new(),
        is_number_taken: true,
    };
    let refunded = Command::Cancel {
        reason: "too slow".to_owned(),
        wants_refund: true,
    };
    let invited = || vec![(0, start("15550001111")), (1, Command::AcceptInvite)];
    let signed = || [invited(), vec![(2, Command::SignTerms)]].concat();
    let checked = || [invited(), vec![(2, verified(2))]].concat();
    let handed = || [signed(), vec![(3, verified(3)), (4, hand_over())]].concat();
    let ended = || [handed(), vec![(5, connected())]].concat();
    let other = Command::Connected {
        onboarding: "o2".to_owned(),
    };
    let table: Vec<(History, Command, Refusal)> = vec![
        (vec![], Command::AcceptInvite, Refusal::Unknown),
        (vec![], taken, Refusal::NumberHasOpenApplication),
        (
            invited(),
            fixed(Some("901"), None),
            Refusal::BusinessIdFixed,
        ),
        (
            invited(),
            fixed(None, Some("15550002222")),
            Refusal::NumberFixed,
        ),
        (invited(), start("15550002222"), Refusal::NumberFixed),
        (
            vec![(0, start("15550001111"))],
            Command::SignTerms,
            Refusal::InviteNotAccepted,
        ),
        (
            vec![(0, start("15550001111"))],
            hand_over(),
            Refusal::InviteNotAccepted,
        ),
        (signed(), hand_over(), Refusal::BusinessNotVerified),
        (checked(), hand_over(), Refusal::TermsNotSigned),
        (invited(), refunded.clone(), Refusal::FeeNotRefundable),
        (
            invited(),
            report(Status::Verified, Source::Caller, 100),
            Refusal::ReportAhead,
        ),
        (handed(), other, Refusal::AnotherOnboarding),
        (ended(), cancel(), Refusal::Ended),
        (ended(), refunded, Refusal::FeeNotRefundable),
        (ended(), Command::SignTerms, Refusal::Ended),
    ];
    for (mut before, command, refusal) in table {
        before.push((50, command.clone()));
        assert_eq!(run(before).1, Err(refusal), "{command:?}");
    }
}

#[test]
fn a_verification_that_is_taken_back_stops_the_activation() {
    let steps = vec![
        (0, start("15550001111")),
        (1, Command::AcceptInvite),
        (2, Command::SignTerms),
        (3, verified(3)),
        (4, report(Status::Rejected, Source::Platform, 4)),
    ];
    let rejected = application(steps.clone());
    assert_eq!(rejected.step(Step::Verification).done_at, None);
    let refused = run([steps.clone(), vec![(5, hand_over())]].concat());
    assert_eq!(refused.1, Err(Refusal::BusinessNotVerified));
    let again = run([steps, vec![(6, verified(6)), (7, hand_over())]].concat());
    assert!(matches!(again.1, Ok(Some(Kind::HandedOver { .. }))));
}

#[test]
fn each_refusal_has_a_word_for_programs() {
    for (refusal, word) in [
        (Refusal::Unknown, "APPLICATION_UNKNOWN"),
        (
            Refusal::NumberHasOpenApplication,
            "NUMBER_HAS_OPEN_APPLICATION",
        ),
        (Refusal::BusinessIdFixed, "BUSINESS_ID_FIXED"),
        (Refusal::NumberFixed, "NUMBER_FIXED"),
        (Refusal::Ended, "APPLICATION_ENDED"),
        (Refusal::InviteNotAccepted, "INVITE_NOT_ACCEPTED"),
        (Refusal::TermsNotSigned, "TERMS_NOT_SIGNED"),
        (Refusal::BusinessNotVerified, "BUSINESS_NOT_VERIFIED"),
        (Refusal::FeeNotRefundable, "FEE_NOT_REFUNDABLE"),
        (Refusal::ReportAhead, "REPORT_AHEAD"),
        (Refusal::AnotherOnboarding, "ANOTHER_ONBOARDING"),
        (Refusal::OnboardingUnknown, "ONBOARDING_UNKNOWN"),
        (
            Refusal::OnboardingOfAnotherNumber,
            "ONBOARDING_OF_ANOTHER_NUMBER",
        ),
    ] {
        assert_eq!(refusal.reason(), word);
    }
}

#[test]
fn the_newer_word_on_a_verification_counts_whoever_says_it() {
    let before = vec![
        (0, start("15550001111")),
        (10, Command::AcceptInvite),
        (20, report(Status::Verified, Source::Caller, 20)),
    ];
    let late = run([
        before.clone(),
        vec![(30, report(Status::Rejected, Source::Platform, 15))],
    ]
    .concat());
    assert_eq!(late.1, Ok(None), "from before what is known");
    let newer = run([
        before.clone(),
        vec![(30, report(Status::Rejected, Source::Platform, 25))],
    ]
    .concat());
    assert_eq!(newer.0.unwrap().verification.status, Status::Rejected);
    let at_once = run([
        before,
        vec![(30, report(Status::Rejected, Source::Platform, 20))],
    ]
    .concat());
    assert_eq!(
        at_once.0.unwrap().verification.status,
        Status::Rejected,
        "it is not older"
    );
}

#[test]
fn a_business_that_was_verified_long_ago_stays_so_when_it_accepts_the_invite() {
    let steps = vec![
        (100, start("15550001111")),
        (101, verified(7)),
        (102, Command::AcceptInvite),
    ];
    let known = application(steps);
    assert_eq!(known.verification.status, Status::Verified);
    assert_eq!(known.step(Step::Verification).done_at, Some(at(7)));
}

#[test]
fn words_of_the_platform_are_read_in_whatever_case() {
    for (word, status) in [
        ("APPROVED", Some(Status::Verified)),
        ("verified", Some(Status::Verified)),
        ("PENDING", Some(Status::Pending)),
        ("pending_need_more_info", Some(Status::Pending)),
        ("FAILED", Some(Status::Rejected)),
        ("DISCARDED", Some(Status::Rejected)),
        ("revoked", Some(Status::Rejected)),
        ("not_verified", None),
        ("SOMETHING_NEW", None),
    ] {
        assert_eq!(Status::of_platform(word), status, "{word}");
    }
}

#[test]
fn a_late_step_is_told_once_and_what_waits_for_it_is_not() {
    let steps = vec![(0, start("15550001111")), (3 * DAY - 1, Command::Look)];
    assert_eq!(run(steps.clone()).1, Ok(None), "a second early");
    let told = [steps, vec![(3 * DAY, Command::Look)]].concat();
    assert_eq!(run(told.clone()).1, Ok(Some(Kind::Overdue(Step::Invite))));
    let again = [told, vec![(60 * DAY, Command::Look)]].concat();
    let (state, last) = run(again);
    assert_eq!(last, Ok(None), "terms wait for the invite");
    assert_eq!(state.unwrap().next_overdue(), None);
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Invite,
    Verify(Status, bool, i64),
    Sign,
    HandOver,
    Connect,
    Cancel,
    Look,
    Rename,
}

fn any_move() -> impl Strategy<Value = (i64, Move)> {
    let status = prop_oneof![
        Just(Status::Pending),
        Just(Status::Verified),
        Just(Status::Verified),
        Just(Status::Rejected),
    ];
    let verify = (status, any::<bool>(), 0..3 * DAY)
        .prop_map(|(s, by_hand, ago)| Move::Verify(s, by_hand, ago));
    let one = prop_oneof![
        3 => Just(Move::Invite),
        4 => verify,
        3 => Just(Move::Sign),
        3 => Just(Move::HandOver),
        2 => Just(Move::Connect),
        1 => Just(Move::Cancel),
        3 => Just(Move::Look),
        1 => Just(Move::Rename),
    ];
    (0..6 * DAY, one)
}

fn command(of: Move, now: i64) -> Command {
    match of {
        Move::Invite => Command::AcceptInvite,
        Move::Verify(status, by_hand, ago) => {
            let source = if by_hand {
                Source::Caller
            } else {
                Source::Platform
            };
            report(status, source, now - ago)
        }
        Move::Sign => Command::SignTerms,
        Move::HandOver => hand_over(),
        Move::Connect => connected(),
        Move::Cancel => cancel(),
        Move::Look => Command::Look,
        Move::Rename => Command::Update {
            business: None,
            number: None,
            display_name: Some("Another".to_owned()),
        },
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_prohibitions_hold(moves in prop::collection::vec(any_move(), 0..40)) {
        let durations = Durations::default();
        let mut now = 4 * DAY;
        let first = decide(None, start("15550001111"), &durations, at(now)).unwrap().unwrap();
        let mut state = evolve(None, &first).unwrap();
        let mut overdue = Vec::new();
        for (pause, one) in moves {
            now += pause;
            let wished = command(one, now);
            let decided = decide(Some(&state), wished.clone(), &durations, at(now));
            let Ok(Some(event)) = decided else {
                continue;
            };
            prop_assert!(state.is_open(), "nothing follows the end");
            match &event.kind {
                Kind::HandedOver { .. } | Kind::Activated => {
                    prop_assert_eq!(state.verification.status, Status::Verified);
                    prop_assert!(state.is_done(Step::Terms) && state.is_done(Step::Invite));
                }
                Kind::Overdue(step) => {
                    prop_assert!(!overdue.contains(step), "told twice");
                    prop_assert!(state.step(*step).expected_by <= Some(at(now)));
                    prop_assert!(!state.is_done(*step));
                    overdue.push(*step);
                }
                _ => {}
            }
            let after = evolve(Some(state.clone()), &event).unwrap();
            prop_assert_eq!(&after.applicant, &state.applicant);
            prop_assert!(after.step(Step::Invite).expected_by.is_some());
            if !matches!(wished, Command::Look) {
                let again = decide(Some(&after), wished, &durations, at(now));
                prop_assert!(!matches!(again, Ok(Some(_))), "a repeat writes nothing");
            }
            state = after;
        }
    }

    #[test]
    fn a_look_finds_something_exactly_when_a_step_is_overdue(
        moves in prop::collection::vec(any_move(), 0..30),
        wait in 0..20 * DAY,
    ) {
        let mut now = 4 * DAY;
        let mut commands = vec![(now, start("15550001111"))];
        for (pause, one) in moves {
            now += pause;
            commands.push((now, command(one, now)));
        }
        let state = application(commands);
        let looked = decide(Some(&state), Command::Look, &Durations::default(), at(now + wait));
        let is_due = state.next_overdue().is_some_and(|(by, _)| by <= at(now + wait));
        prop_assert_eq!(looked.unwrap().is_some(), is_due);
    }
}

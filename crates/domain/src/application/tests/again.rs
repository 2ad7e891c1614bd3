//! What is said again, or after the end, and what is waited for: found by breaking the rules.

use super::*;

fn update(display_name: &str) -> Command {
    Command::Update {
        business: None,
        number: None,
        display_name: Some(display_name.to_owned()),
    }
}

#[test]
fn the_same_request_again_changes_nothing_and_another_one_is_refused() {
    let mut elsewhere = applicant("15550001111");
    elsewhere.business = PortfolioId::parse("901").unwrap();
    let of_another_business = Command::Start {
        applicant: elsewhere,
        display_name: "The Shop".to_owned(),
        is_number_taken: false,
    };
    let table = [
        (start("15550001111"), Ok(None)),
        (start("15550002222"), Err(Refusal::NumberFixed)),
        (of_another_business, Err(Refusal::BusinessIdFixed)),
        (update("The Shop"), Ok(None)),
        (
            update("The Other Shop"),
            Ok(Some(Kind::Updated {
                display_name: "The Other Shop".to_owned(),
            })),
        ),
    ];
    for (command, expected) in table {
        let last = run(vec![(0, start("15550001111")), (1, command.clone())]).1;
        assert_eq!(last, expected, "{command:?}");
    }
}

#[test]
fn whoever_wants_no_refund_may_cancel() {
    let cancelled = Kind::Cancelled {
        reason: "no longer wanted".to_owned(),
    };
    let last = run(vec![(0, start("15550001111")), (1, cancel())]).1;
    assert_eq!(last, Ok(Some(cancelled)));
}

#[test]
fn after_the_end_only_what_ended_it_may_be_said_again() {
    let to = |onboarding: &str| Command::HandOver {
        onboarding: onboarding.to_owned(),
    };
    let table = [
        (hand_over(), Ok(None)),
        (connected(), Ok(None)),
        (to("o2"), Err(Refusal::Ended)),
        (
            report(Status::Rejected, Source::Platform, 6),
            Ok(None), // comes too late
        ),
        (
            report(Status::Rejected, Source::Caller, 6),
            Err(Refusal::Ended),
        ),
    ];
    for (command, expected) in table {
        let last = run(vec![
            (0, start("15550001111")),
            (1, Command::AcceptInvite),
            (2, Command::SignTerms),
            (3, verified(3)),
            (4, hand_over()),
            (5, connected()),
            (6, command.clone()),
        ])
        .1;
        assert_eq!(last, expected, "{command:?}");
    }
}

#[test]
fn nobody_waits_for_a_check_that_ended_in_a_no_nor_for_what_needs_it() {
    let mut history = vec![
        (0, start("15550001111")),
        (DAY, Command::AcceptInvite),
        (2 * DAY, Command::SignTerms),
    ];
    let signed = application(history.clone());
    assert!(signed.step(Step::Activation).expected_by.is_some());
    let asked = signed.next_overdue();
    assert_eq!(asked, Some((at(15 * DAY), Step::Verification)));
    let no = report(Status::Rejected, Source::Platform, 3 * DAY);
    history.push((3 * DAY, no));
    assert_eq!(application(history).next_overdue(), None);
}

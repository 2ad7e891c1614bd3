//! How a migration goes from step to step, whatever happens.

use proptest::prelude::*;

use super::*;

mod course;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// Takes a course on to a step by its shortest way.
fn brought_to(step: Step) -> Course {
    let mut course = Course::start(at(0));
    while course.step < step {
        course = course.after(Happened::Begun, at(1)).unwrap_or(course);
        course = course.after(Happened::Done, at(2)).unwrap();
    }
    course
}

#[test]
fn the_steps_come_in_the_platforms_order() {
    let mut course = Course::start(at(0));
    let mut steps = Vec::new();
    while course.ended.is_none() {
        steps.push(course.step);
        assert_eq!(
            course.is_handed_over,
            course.step > Step::Register,
            "{course:?}"
        );
        if course.step == Step::VerifyCode {
            course = course.after(Happened::CodeGiven, at(1)).unwrap();
        } else {
            assert_eq!(course.next(at(1)), Next::Begin(course.step));
            course = course.after(Happened::Begun, at(1)).unwrap();
        }
        course = course.after(Happened::Done, at(1)).unwrap();
    }
    assert_eq!(steps, Step::ALL);
    assert_eq!(course.ended, Some(End::Completed));
    assert_eq!(course.next(at(1_000_000)), Next::Rest);
}

#[test]
fn a_step_without_an_outcome_is_looked_for_and_not_begun_again() {
    let begun = brought_to(Step::Add)
        .after(Happened::Begun, at(10))
        .unwrap();
    assert!(matches!(begun.next(at(11)), Next::Wait(_)));
    assert_eq!(begun.next(at(35)), Next::LookUp(Step::Add));
    assert_eq!(begun.after(Happened::Begun, at(35)), Err(Refusal::UnderWay));
    // It was not done: then it is begun again.
    let again = begun.after(Happened::Passing, at(35)).unwrap();
    assert_eq!(again.next(at(40)), Next::Begin(Step::Add));
}

#[test]
fn it_can_be_given_up_until_the_number_is_registered() {
    for step in Step::ALL {
        let course = brought_to(step);
        let expected = if step > Step::Register {
            Err(Refusal::HandedOver)
        } else {
            Ok(Some(End::Cancelled))
        };
        let cancelled = course.after(Happened::Cancelled, at(5));
        assert_eq!(cancelled.map(|course| course.ended), expected, "{step:?}");
    }
    let registering = brought_to(Step::Register)
        .after(Happened::Begun, at(5))
        .unwrap();
    assert_eq!(
        registering.after(Happened::Cancelled, at(6)),
        Err(Refusal::RegisterUnderWay)
    );
    // A wrong PIN handed nothing over.
    let stuck = registering
        .after(Happened::Stuck { tries_again: false }, at(6))
        .unwrap();
    assert!(stuck.after(Happened::Cancelled, at(7)).is_ok());
}

#[test]
fn a_code_is_taken_where_one_is_awaited_and_another_one_can_be_asked_for() {
    for step in Step::ALL {
        let course = brought_to(step);
        let is_awaited = step == Step::VerifyCode;
        for happened in [Happened::CodeGiven, Happened::CodeAsked] {
            assert_eq!(
                course.after(happened, at(5)).is_ok(),
                is_awaited,
                "{step:?} {happened:?}"
            );
        }
    }
    let given = brought_to(Step::VerifyCode)
        .after(Happened::CodeGiven, at(5))
        .unwrap();
    assert_eq!(
        given.after(Happened::CodeGiven, at(6)),
        Err(Refusal::UnderWay)
    );
    let refused = given.after(Happened::CodeRefused, at(6)).unwrap();
    assert!(matches!(refused.standing, Standing::AwaitsCode { .. }));
    let asked = refused.after(Happened::CodeAsked, at(7)).unwrap();
    assert_eq!(asked.next(at(7)), Next::Begin(Step::RequestCode));
}

#[test]
fn what_a_person_must_do_is_tried_again_only_where_that_costs_nothing() {
    let begun = brought_to(Step::Check)
        .after(Happened::Begun, at(5))
        .unwrap();
    let free = begun
        .after(Happened::Stuck { tries_again: true }, at(6))
        .unwrap();
    assert_eq!(
        free.next(at(6 + TRY_AGAIN_AFTER.as_secs())),
        Next::Begin(Step::Check)
    );
    let dear = begun
        .after(Happened::Stuck { tries_again: false }, at(6))
        .unwrap();
    let overdue = dear.after(Happened::Overdue, at(700)).unwrap();
    assert_eq!(overdue.next(at(1_000_000)), Next::Rest);
    let resumed = overdue.after(Happened::Resumed, at(1_000_000)).unwrap();
    assert_eq!(resumed.next(at(1_000_000)), Next::Begin(Step::Check));
}

#[test]
fn that_a_step_is_overdue_is_told_once() {
    let course = brought_to(Step::VerifyCode);
    let late = course.expected_by;
    assert_eq!(
        course
            .after(Happened::CodeRefused, late)
            .unwrap()
            .next(late),
        Next::TellOverdue
    );
    let told = course.after(Happened::Overdue, late).unwrap();
    assert_eq!(told.after(Happened::Overdue, late), Err(Refusal::Elsewhere));
    assert_ne!(told.next(late), Next::TellOverdue);
}

fn happenings() -> impl Strategy<Value = Vec<Happened>> {
    let one = prop_oneof![
        3 => Just(Happened::Begun),
        3 => Just(Happened::Done),
        1 => Just(Happened::Unclear),
        1 => Just(Happened::Passing),
        1 => any::<bool>().prop_map(|tries_again| Happened::Stuck { tries_again }),
        1 => Just(Happened::VerifyAgain),
        1 => Just(Happened::Overdue),
        1 => Just(Happened::Resumed),
        1 => Just(Happened::CodeAsked),
        2 => Just(Happened::CodeGiven),
        1 => Just(Happened::CodeRefused),
        1 => Just(Happened::Cancelled),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_there_is_no_way_back_from_the_destination(all in happenings()) {
        let mut course = Course::start(at(0));
        for (second, happened) in (1..).zip(all) {
            let Ok(after) = course.after(happened, at(second)) else { continue };
            prop_assert!(course.ended.is_none(), "something happened after the end");
            if course.is_handed_over {
                prop_assert!(after.is_handed_over);
                prop_assert!(after.step >= course.step);
                prop_assert_ne!(after.ended, Some(End::Cancelled));
            }
            if after.is_handed_over && !course.is_handed_over {
                prop_assert_eq!((course.step, happened), (Step::Register, Happened::Done));
            }
            if after.step < course.step {
                prop_assert_eq!(after.step, Step::RequestCode);
            }
            course = after;
        }
    }

    #[test]
    fn an_open_migration_needs_something_or_somebody(all in happenings(), later in 0_i64..100_000) {
        let mut course = Course::start(at(0));
        for (second, happened) in (1..).zip(all) {
            course = course.after(happened, at(second)).unwrap_or(course);
        }
        let now = at(100 + later);
        match course.next(now) {
            Next::Rest => {
                let needs_somebody = course.standing == Standing::Stuck { again_at: None };
                prop_assert!(course.ended.is_some() || needs_somebody);
            }
            Next::Wait(until) => prop_assert!(until > now && course.due_at() == Some(until)),
            Next::TellOverdue => prop_assert!(course.after(Happened::Overdue, now).is_ok()),
            Next::Begin(step) => {
                prop_assert_eq!(step, course.step);
                prop_assert_ne!(step, Step::VerifyCode, "no code is at hand");
                prop_assert!(course.after(Happened::Begun, now).is_ok());
            }
            Next::LookUp(step) => {
                prop_assert_eq!(step, course.step);
                prop_assert!(course.after(Happened::Done, now).is_ok());
            }
        }
    }
}

fn ready() -> Found {
    Found {
        source: Source {
            status: "CONNECTED".to_owned(),
            is_pin_enabled: Some(false),
            name_status: "APPROVED".to_owned(),
            new_name_status: String::new(),
            portfolio_id: "1".to_owned(),
            business_verification: "VERIFIED".to_owned(),
        },
        destination: Destination {
            trouble: None,
            portfolio_id: "1".to_owned(),
            business_verification: "VERIFIED".to_owned(),
            review_status: "APPROVED".to_owned(),
            has_payment_method: Some(true),
            is_subscribed: Some(true),
        },
        registration_trouble: None,
    }
}

#[test]
fn each_thing_that_the_platform_asks_for_can_be_what_is_missing() {
    type Breaks = fn(&mut Found);
    let table: [(Kind, Breaks); 12] = [
        (Kind::DestinationToken, |found| {
            found.destination.trouble = Some("no token".to_owned());
        }),
        (Kind::RegisteredAtSource, |found| {
            found.source.status = "PENDING".to_owned();
        }),
        (Kind::TwoStepDisabled, |found| {
            found.source.is_pin_enabled = Some(true);
        }),
        (Kind::NameApproved, |found| {
            found.source.name_status = "DECLINED".to_owned();
        }),
        (Kind::NoPendingRename, |found| {
            found.source.new_name_status = "PENDING_REVIEW".to_owned();
        }),
        (Kind::SameBusiness, |found| {
            found.destination.portfolio_id = "2".to_owned();
        }),
        (Kind::SourceVerified, |found| {
            found.source.business_verification = "PENDING".to_owned();
        }),
        (Kind::DestinationVerified, |found| {
            found.destination.business_verification = "NOT_VERIFIED".to_owned();
        }),
        (Kind::DestinationApproved, |found| {
            found.destination.review_status = "PENDING".to_owned();
        }),
        (Kind::PaymentMethod, |found| {
            found.destination.has_payment_method = Some(false);
        }),
        (Kind::WebhooksSubscribed, |found| {
            found.destination.is_subscribed = Some(false);
        }),
        (Kind::RegistrationsLeft, |found| {
            found.registration_trouble = Some("locked".to_owned());
        }),
    ];
    assert_eq!(unmet(&check(&ready(), &[])).count(), 0);
    for (kind, breaks) in table {
        let mut found = ready();
        breaks(&mut found);
        // Nobody can vouch for what is seen to be otherwise.
        let checked = check(&found, &Kind::ALL);
        let unmet: Vec<_> = unmet(&checked).collect();
        assert_eq!(unmet.len(), 1, "{kind:?}: {unmet:?}");
        assert_eq!((unmet[0].kind, unmet[0].verdict), (kind, Verdict::Failed));
        assert!(!unmet[0].is_vouched);
        assert!(unmet[0].fix.contains(' '), "{kind:?}: what helps is said");
    }
}

#[test]
fn what_the_platform_does_not_tell_waits_for_somebody_to_vouch_for_it() {
    let nothing = Found::default();
    let checked = check(&nothing, &[]);
    let unknown: Vec<Kind> = unmet(&checked).map(|one| one.kind).collect();
    let told_by_us = [Kind::DestinationToken, Kind::RegistrationsLeft];
    let expected: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| !told_by_us.contains(kind))
        .collect();
    assert_eq!(unknown, expected);
    let vouched = check(&nothing, &expected);
    assert_eq!(unmet(&vouched).count(), 0);
    assert!(vouched.iter().any(|one| one.is_vouched));
}

fn template(name: &str, status: &str, quality: Quality) -> Template {
    Template {
        name: name.to_owned(),
        language: "en_US".to_owned(),
        status: status.to_owned(),
        quality,
    }
}

#[test]
fn templates_are_told_apart_by_what_is_found_at_the_destination() {
    let source = [
        template("good", "APPROVED", Quality::High),
        template("quiet", "APPROVED", Quality::Unknown),
        template("bad", "APPROVED", Quality::Low),
        template("new", "PENDING", Quality::Unknown),
        template("lost", "APPROVED", Quality::High),
        template("judged", "APPROVED", Quality::High),
    ];
    let destination = [
        template("good", "APPROVED", Quality::Unknown),
        template("quiet", "APPROVED", Quality::Unknown),
        template("judged", "REJECTED", Quality::Unknown),
        template("theirs", "APPROVED", Quality::High),
    ];
    let compared = compare(&source, &destination);
    let names = |items: &[Item]| -> Vec<(String, &'static str)> {
        let name = |item: &Item| (item.name.clone(), item.reason);
        items.iter().map(name).collect()
    };
    let named = |all: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        let one = |(name, reason): &(&str, &'static str)| (format!("{name}/en_US"), *reason);
        all.iter().map(one).collect()
    };
    assert_eq!(
        names(&compared.carried),
        named(&[("good", "COPIED"), ("quiet", "COPIED")])
    );
    assert_eq!(
        names(&compared.not_carried),
        named(&[
            ("bad", "LOW_QUALITY"),
            ("new", "NOT_APPROVED"),
            ("lost", "NOT_COPIED"),
            ("judged", "NOT_USABLE_THERE"),
        ])
    );
    assert_eq!(compared.missing, 1);
    let should_come: Vec<_> = source.iter().filter(|one| one.should_come()).collect();
    let names: Vec<_> = should_come.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["good", "quiet", "lost", "judged"]);
}

#[test]
fn of_which_business_an_account_is_has_to_be_known_of_both() {
    for (from, to, verdict) in [
        ("1", "1", Verdict::Passed),
        ("1", "2", Verdict::Failed),
        ("", "1", Verdict::Unknown),
        ("1", "", Verdict::Unknown),
        ("", "", Verdict::Unknown),
    ] {
        let mut found = ready();
        from.clone_into(&mut found.source.portfolio_id);
        to.clone_into(&mut found.destination.portfolio_id);
        let checked = check(&found, &[]);
        let same = checked.iter().find(|one| one.kind == Kind::SameBusiness);
        assert_eq!(same.unwrap().verdict, verdict, "{from:?} {to:?}");
    }
}

#[test]
fn what_the_number_keeps_is_what_is_the_same_afterwards() {
    let before = NumberFacts {
        display_name: "The Shop".to_owned(),
        quality_rating: "GREEN".to_owned(),
        messaging_limit: "TIER_2K".to_owned(),
        official: String::new(),
        throughput: "HIGH".to_owned(),
    };
    let after = NumberFacts {
        messaging_limit: "TIER_250".to_owned(),
        official: "FALSE".to_owned(),
        ..before.clone()
    };
    let report = kept(&before, &after);
    let names =
        |items: &[Item]| -> Vec<String> { items.iter().map(|item| item.name.clone()).collect() };
    assert_eq!(
        names(&report.carried),
        ["display name", "quality", "throughput"]
    );
    assert_eq!(names(&report.not_carried), ["messaging limit"]);
    assert_eq!(names(&report.unknown), ["official account"]);
}

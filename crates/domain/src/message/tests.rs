//! Boundaries and laws of a message's life.

use proptest::prelude::*;

use super::*;
use crate::money::Costs;
use crate::routing::{Decision, Verdict};

mod earlier;
mod gateways;
mod outcomes;
mod overdue;
mod quiet;
mod repeats;
mod turns;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn requested() -> Message {
    let event = Event::Requested {
        requested_at: at(0),
        send_at: None,
        expires_at: at(86_400),
        failover: Failover::default(),
    };
    evolve(None, &event).unwrap()
}

fn decision(chosen: Option<Route>, now: i64) -> Decision {
    Decision {
        chosen,
        candidates: Vec::new(),
        policy: "default".to_owned(),
        decided_at: at(now),
        next_change_at: None,
        earliest_send_at: at(now),
        window_open: true,
        window_expires_at: None,
        template_category: None,
        sms: None,
        sms_calling_code: None,
        sms_gateways: Vec::new(),
        hold_until: at(86_400),
        halted_by: None,
        quiet_until: None,
        costs: Costs::default(),
    }
}

fn apply(message: Message, event: &Event) -> Message {
    evolve(Some(message), event).unwrap()
}

/// Claims an attempt by a route.
fn claim(message: Message, route: Route, now: i64) -> Message {
    let policy = Policy::default();
    assert_eq!(next(&message, &policy, at(now)), Next::Route);
    match on_decision(&message, &decision(Some(route), now), &policy, at(now)) {
        Next::Claim(event) => apply(message, &event),
        other => panic!("not claimed: {other:?}"),
    }
}

fn refuse(message: Message, attempt: u32, refusal: Refusal, now: i64) -> Message {
    let policy = Policy::default();
    let event = on_rejected(&message, attempt, 1, refusal, &policy, at(now)).unwrap();
    apply(message, &event)
}

fn accept(message: Message, attempt: u32, now: i64) -> Message {
    let event = on_accepted(
        &message,
        attempt,
        "wamid.1",
        None,
        &Policy::default(),
        at(now),
    )
    .unwrap();
    apply(message, &event)
}

/// Tells a report until it says nothing new; returns the names of what was recorded.
fn report(message: &mut Message, report: &Report, now: i64) -> Vec<&'static str> {
    let mut recorded = Vec::new();
    while let Some(event) = on_report(message, report, &Policy::default(), at(now)) {
        recorded.push(match &event {
            Event::AttemptAccepted { .. } => "accepted",
            Event::AttemptRejected { .. } => "rejected",
            Event::DeliveryAdvanced { .. } => "advanced",
            Event::DeliveryContradicted { .. } => "contradicted",
            Event::DoubleExposure { .. } => "exposed twice",
            other => panic!("a report never makes {other:?}"),
        });
        *message = apply(message.clone(), &event);
        assert!(recorded.len() < 9, "a report never ends: {recorded:?}");
    }
    recorded
}

fn says(attempt: u32, status: DeliveryStatus) -> Report {
    Report {
        attempt,
        provider_id: "wamid.1".to_owned(),
        at: at(50),
        status: Ok(status),
    }
}

fn says_failed(attempt: u32, refusal: Refusal) -> Report {
    let status = Err(ReportedFailure {
        code: 131_026,
        refusal,
    });
    Report {
        attempt,
        provider_id: "wamid.1".to_owned(),
        at: at(50),
        status,
    }
}

#[test]
fn a_claim_names_the_time_by_which_it_is_called_and_known() {
    let message = requested();
    let policy = Policy::default();
    let claim = on_decision(
        &message,
        &decision(Some(Route::FreeForm), 10),
        &policy,
        at(10),
    );
    assert_eq!(
        claim,
        Next::Claim(Event::AttemptStarted {
            attempt: 1,
            route: Route::FreeForm,
            gateway: String::new(),
            other_gateways: Vec::new(),
            at: at(10),
            call_by: at(15),
            outcome_by: at(35),
        })
    );
}

#[test]
fn an_accepted_message_ends_as_delivered_by_its_report() {
    let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    assert_eq!(message.state(), "ACCEPTED");
    assert_eq!(
        report(&mut message, &says(1, DeliveryStatus::Sent), 3),
        ["advanced"]
    );
    assert_eq!(
        report(&mut message, &says(1, DeliveryStatus::Delivered), 4),
        ["advanced"]
    );
    let Next::Record(end) = next(&message, &Policy::default(), at(5)) else {
        panic!("goes on")
    };
    let message = apply(message, &end);
    assert_eq!(
        message.phase,
        Phase::Ended {
            outcome: Outcome::Delivered
        }
    );
    assert_eq!(message.deadline(), None);
}

#[test]
fn a_route_is_exhausted_once_its_retries_are_used_up() {
    let mut message = requested();
    let mut now = 1;
    for attempt in 1..=5 {
        message = refuse(
            claim(message, Route::FreeForm, now),
            attempt,
            Refusal::Retry,
            now,
        );
        now += 1_000;
    }
    assert_eq!(message.exhausted, [Route::FreeForm]);
    assert_eq!(message.attempts.len(), 5);
}

#[test]
fn an_attempt_without_outcome_is_unknown_then_reconciled_or_given_up() {
    let policy = Policy::default();
    let message = claim(requested(), Route::FreeForm, 0);
    assert_eq!(next(&message, &policy, at(24)), Next::Wait(Some(at(25))));
    let Next::Record(event) = next(&message, &policy, at(25)) else {
        panic!("waits")
    };
    let message = apply(message, &event);
    assert_eq!(message.state(), "UNKNOWN");
    assert_eq!(
        next(&message, &policy, at(26)),
        Next::Wait(Some(at(25 + 900)))
    );

    let mut reported = message.clone();
    let recorded = report(&mut reported, &says(1, DeliveryStatus::Delivered), 30);
    assert_eq!(recorded, ["accepted", "advanced"]);

    let Next::Record(event) = next(&message, &policy, at(925)) else {
        panic!("waits")
    };
    let message = apply(message, &event);
    let Next::Record(end) = next(&message, &policy, at(925)) else {
        panic!("waits")
    };
    assert_eq!(
        apply(message, &end).phase,
        Phase::Ended {
            outcome: Outcome::Unknown
        },
        "given up by default"
    );
}

#[test]
fn the_policy_says_what_follows_an_unknown_outcome() {
    for (on_unknown, exhausted) in [
        (OnUnknown::Retry, vec![]),
        (OnUnknown::NextRoute, vec![Route::FreeForm]),
    ] {
        let policy = Policy {
            on_unknown,
            ..Policy::default()
        };
        let mut message = claim(requested(), Route::FreeForm, 0);
        for now in [25, 25 + 900] {
            let Next::Record(event) = next(&message, &policy, at(now)) else {
                panic!("waits")
            };
            message = apply(message, &event);
        }
        assert_eq!(message.exhausted, exhausted);
        assert_eq!(
            next(&message, &policy, at(1_000)),
            Next::Route,
            "{on_unknown:?}"
        );
    }
}

#[test]
fn a_failed_report_after_acceptance_goes_on_by_the_next_route() {
    let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    assert_eq!(
        report(&mut message, &says_failed(1, Refusal::NextChannel), 3),
        ["rejected"]
    );
    assert_eq!(next(&message, &Policy::default(), at(4)), Next::Route);
    assert!(!message.exhausted.contains(&Route::Sms));
}

#[test]
fn a_failure_after_an_arrival_is_recorded_once_and_changes_nothing() {
    let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    report(&mut message, &says(1, DeliveryStatus::Delivered), 3);
    let phase = message.phase.clone();
    assert_eq!(
        report(&mut message, &says_failed(1, Refusal::Fail), 4),
        ["contradicted"]
    );
    assert_eq!(
        report(&mut message, &says_failed(1, Refusal::Fail), 5),
        [""; 0]
    );
    assert_eq!(message.phase, phase);
}

#[test]
fn an_arrival_reported_late_stops_a_fallback_that_has_not_begun() {
    let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    report(&mut message, &says_failed(1, Refusal::NextChannel), 3);
    report(&mut message, &says(1, DeliveryStatus::Delivered), 4);
    assert!(matches!(
        message.phase,
        Phase::Ending {
            outcome: Outcome::Delivered,
            ..
        }
    ));
}

#[test]
fn a_held_message_is_released_or_expires() {
    let policy = Policy::default();
    let message = requested();
    let held = on_decision(&message, &decision(Some(Route::Hold), 1), &policy, at(1));
    let Next::Record(event) = held else {
        panic!("not held")
    };
    let message = apply(message, &event);
    assert_eq!(message.deadline(), Some(at(61)));
    let again = on_decision(&message, &decision(Some(Route::Hold), 61), &policy, at(61));
    assert_eq!(
        again,
        Next::Wait(Some(at(121))),
        "a re-check writes nothing"
    );
    assert_eq!(
        next(&message, &policy, at(86_400)),
        Next::Record(Event::Expired { at: at(86_400) })
    );

    let open = on_decision(
        &message,
        &decision(Some(Route::FreeForm), 70),
        &policy,
        at(70),
    );
    let Next::Record(event) = open else {
        panic!("not released")
    };
    let message = apply(message, &event);
    assert_eq!(next(&message, &policy, at(70)), Next::Route);
}

#[test]
fn a_scheduled_message_waits_for_its_time() {
    let event = Event::Requested {
        requested_at: at(0),
        send_at: Some(at(500)),
        expires_at: at(86_400),
        failover: Failover::default(),
    };
    let message = evolve(None, &event).unwrap();
    assert_eq!(message.deadline(), Some(at(500)));
    assert_eq!(
        next(&message, &Policy::default(), at(499)),
        Next::Wait(Some(at(500)))
    );
    assert_eq!(next(&message, &Policy::default(), at(500)), Next::Route);
}

#[test]
fn only_a_message_that_nobody_was_called_for_can_be_withdrawn() {
    assert!(cancel(&requested(), at(1)).is_ok());
    let attempted = claim(requested(), Route::FreeForm, 1);
    assert_eq!(
        cancel(&attempted, at(2)),
        Err(CancelRefusal::AlreadyAttempted)
    );
    let cancelled = apply(requested(), &Event::Cancelled { at: at(1) });
    assert_eq!(cancel(&cancelled, at(2)), Err(CancelRefusal::AlreadyEnded));
}

#[test]
fn a_dead_end_for_want_of_a_phone_is_an_outcome_of_its_own() {
    let mut none = decision(None, 1);
    none.candidates.push(crate::routing::Candidate {
        route: Route::Sms,
        verdict: Verdict::RuledOut,
        reason: "NO_PHONE",
        facts: Vec::new(),
        text: String::new(),
    });
    assert_eq!(dead_end(&requested(), &none).0, Outcome::UnreachableBySms);
    assert_eq!(
        dead_end(&requested(), &decision(None, 1)).0,
        Outcome::Failed
    );
}

fn reports() -> impl Strategy<Value = Vec<Report>> {
    let status = prop_oneof![
        Just(Ok(DeliveryStatus::Sent)),
        Just(Ok(DeliveryStatus::Delivered)),
        Just(Ok(DeliveryStatus::Read)),
        Just(Ok(DeliveryStatus::Played)),
        Just(Err(ReportedFailure {
            code: 131_026,
            refusal: Refusal::NextChannel
        })),
    ];
    let one = (status, 1..4_u32).prop_map(|(status, attempt)| Report {
        attempt,
        provider_id: "wamid.1".to_owned(),
        at: at(50),
        status,
    });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn statuses_never_go_backwards(reports in reports()) {
        let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
        let mut furthest = None;
        for one in &reports {
            report(&mut message, one, 60);
            prop_assert!(message.delivery >= furthest);
            furthest = message.delivery;
        }
    }

    #[test]
    fn a_repeated_report_changes_nothing(reports in reports()) {
        let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
        for one in &reports {
            report(&mut message, one, 60);
            let before = message.clone();
            prop_assert_eq!(report(&mut message, one, 61), Vec::<&str>::new());
            prop_assert_eq!(before, message.clone());
        }
    }

    #[test]
    fn the_order_of_good_reports_does_not_matter(
        (reports, shuffled) in reports().prop_flat_map(|reports| {
            let good: Vec<_> = reports.into_iter().filter(|one| one.status.is_ok()).collect();
            (Just(good.clone()), Just(good).prop_shuffle())
        }),
    ) {
        let run = |reports: &[Report]| {
            let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
            for one in reports {
                report(&mut message, one, 60);
            }
            (message.delivery, message.phase)
        };
        prop_assert_eq!(run(&reports), run(&shuffled));
    }

    /// Whatever happens, one attempt stands for one claim, and the life always ends.
    #[test]
    fn every_message_ends(seed in prop::collection::vec(0..7_u8, 1..60)) {
        let policy = Policy { on_unknown: OnUnknown::Retry, ..Policy::default() };
        let mut message = requested();
        let mut now = 0;
        for choice in seed.into_iter().cycle().take(4_000) {
            if matches!(message.phase, Phase::Ended { .. }) { break }
            let route = [Route::FreeForm, Route::Template, Route::Sms, Route::Hold]
                .into_iter()
                .cycle()
                .skip(usize::from(choice))
                .take(4)
                .find(|route| !message.exhausted.contains(route));
            let event = match next(&message, &policy, at(now)) {
                Next::Record(event) | Next::Claim(event) => Some(event),
                Next::Route => match on_decision(&message, &decision(route, now), &policy, at(now)) {
                    Next::Record(event) | Next::Claim(event) => Some(event),
                    Next::Wait(until) => { now += 61; prop_assert!(until.is_some()); None }
                    Next::Route => None,
                },
                Next::Wait(until) => {
                    prop_assert!(until.is_some(), "waits for nothing: {:?}", message.phase);
                    let attempt = u32::try_from(message.attempts.len()).unwrap();
                    let answer = match choice {
                        0 => on_accepted(&message, attempt, "w", None, &policy, at(now)),
                        1 => on_rejected(&message, attempt, 1, Refusal::Retry, &policy, at(now)),
                        2 => on_rejected(&message, attempt, 1, Refusal::NextChannel, &policy, at(now)),
                        _ => None,
                    };
                    if answer.is_none() {
                        // The next whole second.
                        let due = until.unwrap() + SignedDuration::from_millis(999);
                        now = due.as_second() - at(0).as_second();
                    }
                    answer
                }
            };
            if let Some(event) = event {
                // The customer does not write twice within a minute.
                now += if matches!(event, Event::Released { .. }) { 60 } else { 0 };
                message = apply(message, &event);
            }
            let numbers: Vec<_> = message.attempts.iter().map(|attempt| attempt.number).collect();
            let expected: Vec<_> = (1..).take(numbers.len()).collect();
            prop_assert_eq!(numbers, expected);
        }
        prop_assert!(matches!(message.phase, Phase::Ended { .. }), "{:?} at {now}", message);
    }
}

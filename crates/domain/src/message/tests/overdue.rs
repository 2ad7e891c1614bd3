//! What silence leads to, and what classes of errors do under a policy of their own.

use super::*;
use crate::failover::{ErrorClass, Silence};

/// After this many seconds without a delivery another channel is taken.
const PATIENCE: i64 = 100;

fn fails_over(accepts_duplicates: bool) -> Message {
    let silence = Silence {
        after: SignedDuration::from_secs(PATIENCE),
        accepts_duplicates,
        template_life: SignedDuration::from_secs(60),
    };
    let event = Event::Requested {
        requested_at: at(0),
        send_at: None,
        expires_at: at(86_400),
        failover: Failover {
            ends_on: Vec::new(),
            silence: Some(silence),
        },
    };
    evolve(None, &event).unwrap()
}

/// Accepted at second 2 by a route.
fn accepted(accepts_duplicates: bool, route: Route) -> Message {
    accept(claim(fails_over(accepts_duplicates), route, 1), 1, 2)
}

/// Asks what follows, with this route open, and applies it.
fn goes(message: Message, open: Option<Route>, now: i64) -> (Message, Event) {
    let policy = Policy::default();
    assert_eq!(next(&message, &policy, at(now)), Next::Route);
    match on_decision(&message, &decision(open, now), &policy, at(now)) {
        Next::Record(event) | Next::Claim(event) => (apply(message, &event), event),
        other @ (Next::Wait(_) | Next::Route) => panic!("nothing follows: {other:?}"),
    }
}

fn waits(message: &Message, now: i64) -> Option<Timestamp> {
    match next(message, &Policy::default(), at(now)) {
        Next::Wait(until) => until,
        other => panic!("does not wait: {other:?}"),
    }
}

#[test]
fn after_silence_another_channel_is_taken_and_the_risk_is_recorded() {
    for (route, is_risky) in [(Route::FreeForm, true), (Route::Template, false)] {
        let message = accepted(true, route);
        let due = at(2 + PATIENCE);
        assert_eq!(message.deadline(), Some(due));
        assert_eq!(waits(&message, 50), Some(due));
        let whatsapp = [Route::FreeForm, Route::Template, Route::Hold];
        assert_eq!(message.ruled_out(), whatsapp);
        let (message, event) = goes(message, Some(Route::Sms), 2 + PATIENCE);
        assert_eq!(
            event,
            Event::DeliveryOverdue {
                attempt: 1,
                at: due,
                moves_on: true,
                is_risky,
                exhausted: whatsapp.to_vec(),
                reports_until: at(2) + Policy::default().report_within,
            }
        );
        assert_eq!(message.exhausted, whatsapp);
        let (message, claim) = goes(message, Some(Route::Sms), 2 + PATIENCE);
        assert!(matches!(claim, Event::AttemptStarted { attempt: 2, .. }));
        let message = accept(message, 2, 110);
        assert!(waits(&message, 100_000) > Some(at(86_400)), "only once");
    }
}

#[test]
fn without_a_timer_silence_leads_to_nothing() {
    let message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    let end = at(2) + Policy::default().report_within;
    assert_eq!(message.deadline(), Some(end));
    // A timer that nobody accepted the risk of does not run where there is one.
    let message = accepted(false, Route::FreeForm);
    assert_eq!(message.deadline(), Some(end));
    let message = accepted(false, Route::Template);
    assert_eq!(message.deadline(), Some(at(2 + PATIENCE)));
}

#[test]
fn a_delivery_in_time_stops_the_timer_and_sent_does_not() {
    let mut message = accepted(true, Route::FreeForm);
    report(&mut message, &says(1, DeliveryStatus::Sent), 50);
    assert_eq!(message.deadline(), Some(at(2 + PATIENCE)));
    report(&mut message, &says(1, DeliveryStatus::Delivered), 60);
    assert!(matches!(message.phase, Phase::Ending { .. }));
}

#[test]
fn with_no_other_route_open_reports_are_awaited_as_before() {
    for open in [None, Some(Route::Hold)] {
        let message = accepted(true, Route::FreeForm);
        let (message, event) = goes(message, open, 200);
        assert!(
            matches!(
                event,
                Event::DeliveryOverdue {
                    moves_on: false,
                    is_risky: false,
                    ..
                }
            ),
            "{event:?}"
        );
        assert_eq!(message.state(), "ACCEPTED");
        assert!(message.exhausted.is_empty());
        let end = at(2) + Policy::default().report_within;
        assert_eq!(waits(&message, 300), Some(end));
        let mut message = message;
        report(&mut message, &says(1, DeliveryStatus::Delivered), 400);
        assert!(matches!(
            message.phase,
            Phase::Ending {
                outcome: Outcome::Delivered,
                ..
            }
        ));
    }
}

#[test]
fn a_route_that_can_be_waited_for_is_asked_about_again() {
    let message = accepted(true, Route::FreeForm);
    let tonight = Decision {
        quiet_until: Some(at(50_000)),
        ..decision(None, 200)
    };
    let policy = Policy::default();
    let waits = on_decision(&message, &tonight, &policy, at(200));
    assert_eq!(waits, Next::Wait(Some(at(260))));
}

#[test]
fn what_is_no_longer_worth_sending_is_not_sent_a_second_time() {
    let mut message = fails_over(true);
    message.expires_at = at(50);
    let message = accept(claim(message, Route::FreeForm, 1), 1, 2);
    let end = at(2) + Policy::default().report_within;
    assert_eq!(
        message.deadline(),
        Some(end),
        "the timer would come too late"
    );
    // Nor if it is looked at too late.
    for expires in [2 + PATIENCE, 150] {
        let mut message = accepted(true, Route::FreeForm);
        message.expires_at = at(expires);
        assert_eq!(waits(&message, expires), Some(end));
    }
}

#[test]
fn a_timer_runs_only_if_it_is_over_before_the_message() {
    let due = 2 + PATIENCE;
    let end = at(2) + Policy::default().report_within;
    for (expires, deadline) in [(due - 1, end), (due, end), (due + 1, at(due))] {
        let mut message = fails_over(true);
        message.expires_at = at(expires);
        let message = accept(claim(message, Route::FreeForm, 1), 1, 2);
        assert_eq!(message.deadline(), Some(deadline), "expires at {expires}");
    }
}

#[test]
fn what_the_platform_keeps_back_stays_so_when_nothing_else_is_open() {
    let claimed = claim(fails_over(true), Route::Template, 1);
    let kept_back = Some(KeptBack::Paused);
    let policy = Policy::default();
    let event = on_accepted(&claimed, 1, "wamid.1", kept_back, &policy, at(2)).unwrap();
    let message = apply(claimed, &event);
    assert_eq!(message.state(), "PAUSED");
    let (mut message, _) = goes(message, None, 2 + PATIENCE);
    assert_eq!(message.state(), "PAUSED");
    report(&mut message, &says(1, DeliveryStatus::Sent), 200);
    assert_eq!(message.state(), "ACCEPTED");
}

#[test]
fn a_message_of_an_erased_customer_that_may_still_arrive_is_unconfirmed() {
    let (message, _) = goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102);
    assert_eq!(message.state(), "PENDING");
    assert_eq!(
        erase(&message, at(103)),
        Some(Event::Ended {
            outcome: Outcome::Unconfirmed,
            reason: CUSTOMER_ERASED.to_owned(),
            at: at(103),
        })
    );
}

#[test]
fn a_second_channel_that_fails_leaves_the_first_one_to_its_reports() {
    let overdue = || goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102).0;
    // The SMS is refused, or nothing is open any more.
    let (tried, _) = goes(overdue(), Some(Route::Sms), 102);
    let refused = refuse(tried, 2, Refusal::UnreachableBySms, 103);
    for (message, now) in [(refused, 104), (overdue(), 103)] {
        let (message, event) = goes(message, None, now);
        assert!(matches!(
            event,
            Event::DeliveryOverdue {
                moves_on: false,
                ..
            }
        ));
        assert_eq!(message.state(), "ACCEPTED");
    }
    // It is no longer worth sending, while it waits for its turn.
    let message = overdue();
    let Next::Record(event) = next(&message, &Policy::default(), at(86_400)) else {
        panic!("waits")
    };
    assert!(matches!(
        event,
        Event::DeliveryOverdue {
            moves_on: false,
            ..
        }
    ));
    assert_eq!(apply(message, &event).state(), "ACCEPTED");
}

#[test]
fn once_the_platform_says_that_the_first_one_failed_nothing_is_waited_for() {
    let (message, _) = goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102);
    let mut message = message;
    report(&mut message, &says_failed(1, Refusal::NextChannel), 103);
    assert_eq!(message.overdue, None);
    let (message, end) = goes(message, None, 104);
    assert!(
        matches!(
            end,
            Event::Ended {
                outcome: Outcome::Failed,
                ..
            }
        ),
        "{end:?}"
    );
    assert_eq!(message.state(), "ENDED");
}

#[test]
fn an_arrival_after_the_timer_stops_a_second_call_that_has_not_begun() {
    let (mut message, _) = goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102);
    assert_eq!(
        report(&mut message, &says(1, DeliveryStatus::Delivered), 103),
        ["advanced"]
    );
    assert!(matches!(
        message.phase,
        Phase::Ending {
            outcome: Outcome::Delivered,
            ..
        }
    ));
}

#[test]
fn both_arrivals_are_a_double_exposure() {
    let (message, _) = goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102);
    let (message, _) = goes(message, Some(Route::Sms), 102);
    let mut message = accept(message, 2, 103);
    report(&mut message, &says(2, DeliveryStatus::Delivered), 104);
    let late = report(&mut message, &says(1, DeliveryStatus::Delivered), 105);
    assert_eq!(late, ["advanced", "exposed twice"]);
}

#[test]
fn what_may_still_arrive_cannot_be_withdrawn() {
    let (message, _) = goes(accepted(true, Route::FreeForm), Some(Route::Sms), 102);
    assert_eq!(
        cancel(&message, at(103)),
        Err(CancelRefusal::AlreadyAttempted)
    );
}

#[test]
fn a_class_that_ends_the_message_leaves_no_route() {
    let classes = [
        (Refusal::SwitchToTemplate, ErrorClass::WindowClosed),
        (Refusal::ThreadControl, ErrorClass::ThreadOwned),
        (Refusal::NextChannel, ErrorClass::Undeliverable),
    ];
    for (refusal, class) in classes {
        for ends_on in [vec![], vec![class]] {
            let mut message = requested();
            message.failover.ends_on.clone_from(&ends_on);
            let message = refuse(claim(message, Route::FreeForm, 1), 1, refusal, 2);
            let is_over = message.exhausted == Route::ALL;
            assert_eq!(is_over, !ends_on.is_empty(), "{refusal:?}");
            assert!(!message.exhausted.contains(&Route::Sms) || is_over);
        }
    }
}

proptest! {
    #[test]
    fn a_message_with_a_live_attempt_never_fails_and_is_never_sent_a_third_time(
        opens in prop::collection::vec(prop::option::of(prop::sample::select(vec![
            Route::FreeForm, Route::Template, Route::Sms, Route::Hold,
        ])), 1..12),
        step in 1..90_000_i64,
        refuses in any::<bool>(),
    ) {
        let policy = Policy::default();
        let mut message = accepted(true, Route::FreeForm);
        let mut now = 2;
        for open in opens {
            now += step;
            let open = open.filter(|route| !message.ruled_out().contains(route));
            let event = match next(&message, &policy, at(now)) {
                Next::Wait(_) => continue,
                Next::Record(event) | Next::Claim(event) => event,
                Next::Route => match on_decision(&message, &decision(open, now), &policy, at(now)) {
                    Next::Record(event) | Next::Claim(event) => event,
                    Next::Wait(_) | Next::Route => continue,
                },
            };
            let is_claim = matches!(event, Event::AttemptStarted { .. });
            message = apply(message, &event);
            if is_claim {
                let number = u32::try_from(message.attempts.len()).unwrap();
                message = if refuses {
                    refuse(message, number, Refusal::NextGateway, now)
                } else {
                    accept(message, number, now)
                };
            }
        }
        prop_assert!(message.attempts.len() <= 2);
        if let Phase::Ended { outcome } = message.phase {
            prop_assert_eq!(outcome, Outcome::Unconfirmed);
        }
    }
}

//! What follows from a decision, by how the message stands.

use super::*;
use crate::halt::Stop;
use crate::routing::Candidate;

fn held() -> Message {
    let event = Event::Held {
        at: at(1),
        recheck_at: at(900),
        expires_at: at(86_400),
    };
    apply(requested(), &event)
}

fn follows(message: &Message, decision: &Decision, now: i64) -> Next {
    on_decision(message, decision, &Policy::default(), at(now))
}

#[test]
fn what_is_held_is_released_by_what_opened_and_else_looked_at_again() {
    let recheck_at = at(10) + Policy::default().recheck_after;
    let released = |cause: &str| {
        Next::Record(Event::Released {
            at: at(10),
            cause: cause.to_owned(),
        })
    };
    for (chosen, expected) in [
        (Route::Hold, Next::Wait(Some(recheck_at))),
        (Route::FreeForm, released("WINDOW_OPENED")),
        (Route::Template, released("ROUTE_OPENED")),
        (Route::Sms, released("ROUTE_OPENED")),
    ] {
        let found = follows(&held(), &decision(Some(chosen), 10), 10);
        assert_eq!(found, expected, "{chosen:?}");
    }
    let first = follows(&requested(), &decision(Some(Route::Hold), 10), 10);
    assert!(matches!(first, Next::Record(Event::Held { .. })));
}

#[test]
fn nothing_is_claimed_before_rates_allow_it() {
    let message = requested();
    let slow = |earliest| Decision {
        earliest_send_at: at(earliest),
        ..decision(Some(Route::FreeForm), 10)
    };
    assert_eq!(follows(&message, &slow(11), 10), Next::Wait(Some(at(11))));
    assert_eq!(
        follows(&message, &slow(90_000), 10),
        Next::Wait(Some(at(86_400)))
    );
    assert!(matches!(follows(&message, &slow(10), 10), Next::Claim(_)));
    assert!(matches!(follows(&message, &slow(9), 10), Next::Claim(_)));
}

#[test]
fn a_halt_that_ends_now_is_looked_at_again_and_not_at_once() {
    let recheck_at = at(10) + Policy::default().recheck_after;
    for (until, expected) in [(9, recheck_at), (10, recheck_at), (11, at(11))] {
        let halted = Decision {
            halted_by: Some(Stop::by_budget(250, at(until))),
            ..decision(None, 10)
        };
        match follows(&requested(), &halted, 10) {
            Next::Record(Event::Deferred { until, .. }) => assert_eq!(until, expected),
            other => panic!("not put off: {other:?}"),
        }
    }
}

#[test]
fn quiet_hours_are_told_again_once_their_time_has_come() {
    let quiet = |now| Decision {
        quiet_until: Some(at(100)),
        ..decision(None, now)
    };
    let Next::Record(deferred) = follows(&requested(), &quiet(10), 10) else {
        panic!("not put off");
    };
    let message = apply(requested(), &deferred);
    assert_eq!(follows(&message, &quiet(99), 99), Next::Wait(Some(at(100))));
    let again = follows(&message, &quiet(100), 100);
    assert!(
        matches!(again, Next::Record(Event::Deferred { .. })),
        "{again:?}"
    );
}

fn ruled_out(route: Route, reason: &'static str) -> Candidate {
    Candidate {
        route,
        verdict: Verdict::RuledOut,
        reason,
        facts: Vec::new(),
        text: String::new(),
    }
}

#[test]
fn a_message_that_no_route_is_left_for_ends_with_what_was_in_the_way() {
    for (candidates, outcome, reason) in [
        (vec![], Outcome::Failed, "NO_ROUTE"),
        (
            vec![ruled_out(Route::Sms, "NO_PHONE")],
            Outcome::UnreachableBySms,
            "NO_PHONE",
        ),
        (
            vec![ruled_out(Route::Sms, "NO_SMS_TEXT")],
            Outcome::Failed,
            "NO_ROUTE",
        ),
        (
            vec![Candidate {
                verdict: Verdict::Eligible,
                ..ruled_out(Route::Sms, "NO_PHONE")
            }],
            Outcome::Failed,
            "NO_ROUTE",
        ),
        (
            vec![ruled_out(Route::Hold, "HOLD_QUEUE_FULL")],
            Outcome::Failed,
            "HOLD_QUEUE_FULL",
        ),
        (
            vec![ruled_out(Route::Hold, "TTL_PASSED")],
            Outcome::Failed,
            "NO_ROUTE",
        ),
        (
            vec![ruled_out(Route::Template, "NUMBER_DEREGISTERED")],
            Outcome::Failed,
            "NUMBER_DEREGISTERED",
        ),
    ] {
        let dead = Decision {
            candidates,
            ..decision(None, 10)
        };
        let found = dead_end(&requested(), &dead);
        assert_eq!(found, (outcome, reason.to_owned()));
        let ended = Next::Record(Event::Ended {
            outcome,
            reason: reason.to_owned(),
            at: at(10),
        });
        assert_eq!(follows(&requested(), &dead, 10), ended);
    }
}

#[test]
fn only_what_has_ended_is_over() {
    let claimed = claim(requested(), Route::FreeForm, 1);
    let accepted = accept(claimed.clone(), 1, 2);
    let ended = apply(
        requested(),
        &Event::Ended {
            outcome: Outcome::Failed,
            reason: "NO_ROUTE".to_owned(),
            at: at(3),
        },
    );
    for (message, is_over) in [
        (requested(), false),
        (held(), false),
        (claimed, false),
        (accepted, false),
        (ended, true),
    ] {
        assert_eq!(message.is_over(), is_over, "{}", message.state());
    }
}

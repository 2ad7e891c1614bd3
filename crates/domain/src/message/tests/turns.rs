//! What is told when a message's turn comes, and when nothing is left for it.

use super::*;
use crate::routing::Candidate;
use crate::routing::hold::HOLD_QUEUE_FULL;

fn found(route: Route, verdict: Verdict, reason: &'static str) -> Candidate {
    Candidate {
        route,
        verdict,
        reason,
        facts: Vec::new(),
        text: String::new(),
    }
}

#[test]
fn words_are_stored_and_told_and_never_change() {
    for (policy, word) in [
        (OnUnknown::GiveUp, "GIVE_UP"),
        (OnUnknown::NextRoute, "NEXT_ROUTE"),
        (OnUnknown::Retry, "RETRY"),
    ] {
        assert_eq!(policy.as_str(), word);
    }
}

#[test]
fn a_held_message_is_released_before_it_goes_and_says_what_has_opened() {
    let held = Event::Held {
        at: at(1),
        recheck_at: at(61),
        expires_at: at(86_400),
    };
    let message = apply(requested(), &held);
    for (route, cause) in [
        (Route::FreeForm, "WINDOW_OPENED"),
        (Route::Template, "ROUTE_OPENED"),
        (Route::Sms, "ROUTE_OPENED"),
    ] {
        let open = decision(Some(route), 70);
        let follows = on_decision(&message, &open, &Policy::default(), at(70));
        let released = Event::Released {
            at: at(70),
            cause: cause.to_owned(),
        };
        assert_eq!(follows, Next::Record(released), "{route:?}");
    }
}

#[test]
fn a_message_is_not_claimed_before_the_earliest_time_that_it_may_go() {
    for (earliest, waits_until) in [
        (9, None),
        (10, None),
        (11, Some(11)),
        (90_000, Some(86_400)),
    ] {
        let later = Decision {
            earliest_send_at: at(earliest),
            ..decision(Some(Route::Template), 10)
        };
        let follows = on_decision(&requested(), &later, &Policy::default(), at(10));
        match waits_until {
            Some(until) => assert_eq!(follows, Next::Wait(Some(at(until)))),
            None => assert!(matches!(follows, Next::Claim(_)), "{earliest}: {follows:?}"),
        }
    }
}

#[test]
fn a_dead_end_says_what_the_message_lacked() {
    use Verdict::RuledOut;
    let failed = |reason: &str| (Outcome::Failed, reason.to_owned());
    let no_phone = (Outcome::UnreachableBySms, "NO_PHONE".to_owned());
    for (candidates, expected) in [
        (vec![], failed("NO_ROUTE")),
        (vec![(Route::Sms, RuledOut, "NO_PHONE")], no_phone),
        (
            vec![(Route::Sms, RuledOut, "NO_SMS_TEXT")],
            failed("NO_ROUTE"),
        ),
        (
            vec![(Route::Hold, RuledOut, HOLD_QUEUE_FULL)],
            failed(HOLD_QUEUE_FULL),
        ),
        (
            vec![(Route::Hold, RuledOut, "NO_FREE_FORM_CONTENT")],
            failed("NO_ROUTE"),
        ),
    ] {
        let mut none = decision(None, 1);
        for (route, verdict, reason) in &candidates {
            none.candidates.push(found(*route, *verdict, reason));
        }
        assert_eq!(dead_end(&requested(), &none), expected, "{candidates:?}");
    }
    let refused = refuse(
        claim(requested(), Route::Template, 1),
        1,
        Refusal::TemplateUnusable,
        2,
    );
    let expected = failed("ROUTES_EXHAUSTED");
    assert_eq!(dead_end(&refused, &decision(None, 3)), expected);
}

#[test]
fn a_message_is_over_once_nothing_more_will_be_sent() {
    let accepted = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    for message in [
        requested(),
        claim(requested(), Route::FreeForm, 1),
        accepted.clone(),
    ] {
        assert!(!message.is_over(), "{:?}", message.phase);
    }
    let mut arrived = accepted;
    report(&mut arrived, &says(1, DeliveryStatus::Delivered), 3);
    let cancelled = apply(requested(), &Event::Cancelled { at: at(1) });
    for message in [arrived, cancelled] {
        assert!(message.is_over(), "{:?}", message.phase);
    }
}

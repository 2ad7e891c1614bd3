//! When a message is tried again, and what stops that.

use super::*;

#[test]
fn free_form_that_was_refused_as_closed_is_tried_once_more_and_not_a_third_time() {
    let mut message = requested();
    for (attempt, exhausted) in [(1, vec![]), (2, vec![Route::FreeForm])] {
        message = claim(message, Route::FreeForm, 2);
        message = refuse(message, attempt, Refusal::SwitchToTemplate, 2);
        assert_eq!(message.exhausted, exhausted);
    }
}

#[test]
fn an_arrival_reported_during_a_fallback_ends_the_message_whatever_the_fallback_comes_to() {
    let fallback = || {
        let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
        report(&mut message, &says_failed(1, Refusal::NextChannel), 3);
        let mut message = claim(message, Route::Sms, 4);
        report(&mut message, &says(1, DeliveryStatus::Delivered), 5);
        assert_eq!(message.state(), "ATTEMPTING", "the call is waited for");
        message
    };
    let unknown = on_unknown(&fallback(), 2, "TIMED_OUT", &Policy::default(), at(6)).unwrap();
    for message in [
        accept(fallback(), 2, 6),
        refuse(fallback(), 2, Refusal::Retry, 6),
        apply(fallback(), &unknown),
    ] {
        assert_eq!(
            message.phase,
            Phase::Ending {
                outcome: Outcome::Delivered,
                reason: "DELIVERED".to_owned(),
            }
        );
    }
}

#[test]
fn a_report_that_comes_before_the_repeat_stops_it() {
    let policy = Policy {
        on_unknown: OnUnknown::Retry,
        ..Policy::default()
    };
    let mut message = claim(requested(), Route::FreeForm, 0);
    for now in [25, 25 + 900] {
        let Next::Record(event) = next(&message, &policy, at(now)) else {
            panic!("waits")
        };
        message = apply(message, &event);
    }
    assert_eq!(next(&message, &policy, at(926)), Next::Route);
    report(&mut message, &says(1, DeliveryStatus::Sent), 926);
    assert_eq!(message.state(), "ACCEPTED");
}

//! What is heard late of an attempt, when the message has gone on.

use super::*;

/// Nobody knows of the first attempt; the second one is being made.
fn repeated() -> Message {
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
    claim(message, Route::FreeForm, 926)
}

#[test]
fn news_of_an_earlier_attempt_leaves_the_call_that_is_under_way_alone() {
    let under_way = repeated().phase;
    assert!(matches!(under_way, Phase::Attempting { attempt: 2, .. }));
    for (news, recorded) in [
        (says(1, DeliveryStatus::Sent), vec!["accepted", "advanced"]),
        (says_failed(1, Refusal::NextChannel), vec!["rejected"]),
    ] {
        let mut message = repeated();
        assert_eq!(report(&mut message, &news, 927), recorded);
        assert_eq!(message.phase, under_way, "{news:?}");
    }
}

#[test]
fn what_left_the_provider_and_has_not_arrived_may_still_fail() {
    for (status, recorded) in [
        (DeliveryStatus::Sent, "rejected"),
        (DeliveryStatus::Delivered, "contradicted"),
        (DeliveryStatus::Read, "contradicted"),
        (DeliveryStatus::Played, "contradicted"),
    ] {
        let mut message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
        report(&mut message, &says(1, status), 3);
        let failed = says_failed(1, Refusal::NextChannel);
        assert_eq!(report(&mut message, &failed, 4), [recorded], "{status:?}");
    }
}

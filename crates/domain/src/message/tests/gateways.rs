//! Several SMS gateways: which failure is whose, and what follows.

use super::*;

/// Claims an SMS through the first of these gateways.
fn claim_sms(message: Message, gateways: &[&str], now: i64) -> Message {
    let left = gateways.iter().map(|&one| one.to_owned());
    let decision = Decision {
        sms_gateways: left
            .filter(|one| !message.exhausted_gateways.contains(one))
            .collect(),
        ..decision(Some(Route::Sms), now)
    };
    match on_decision(&message, &decision, &Policy::default(), at(now)) {
        Next::Claim(event) => apply(message, &event),
        other => panic!("not claimed: {other:?}"),
    }
}

#[test]
fn a_gateway_that_cannot_is_followed_by_the_next_at_once() {
    for refusal in [
        Refusal::Retry,
        Refusal::RetryAfter(SignedDuration::from_mins(5)),
        Refusal::NextGateway,
    ] {
        let first = claim_sms(requested(), &["main", "spare"], 1);
        assert_eq!(first.attempts[0].gateway, "main");
        let after = refuse(first, 1, refusal, 2);
        assert_eq!(after.exhausted_gateways, ["main"], "{refusal:?}");
        assert_eq!(after.exhausted, [], "{refusal:?}");
        assert_eq!(next(&after, &Policy::default(), at(2)), Next::Route);
        let second = claim_sms(after, &["main", "spare"], 2);
        assert_eq!(second.attempts[1].gateway, "spare");
        assert!(second.attempts[1].other_gateways.is_empty());
    }
}

#[test]
fn the_last_gateway_is_tried_again_by_the_schedule_and_then_the_route_is_used_up() {
    let policy = Policy::default();
    let mut message = claim_sms(requested(), &["main", "spare"], 1);
    message = refuse(message, 1, Refusal::Retry, 1);
    let mut now = 1;
    for (tried, wait) in policy.retry_schedule.iter().enumerate() {
        let attempt = u32::try_from(tried).unwrap() + 2;
        message = claim_sms(message, &["main", "spare"], now);
        assert_eq!(message.attempts.last().unwrap().gateway, "spare");
        message = refuse(message, attempt, Refusal::Retry, now);
        assert_eq!(message.exhausted, []);
        let due_at = message.deadline().unwrap();
        assert!(due_at >= at(now) + *wait, "{due_at} after {now}");
        // Beyond the jitter of any pause.
        now += 2 * wait.as_secs();
    }
    message = claim_sms(message, &["main", "spare"], now);
    message = refuse(message, 6, Refusal::Retry, now);
    assert_eq!(message.exhausted, [Route::Sms]);
}

#[test]
fn what_is_said_of_the_customer_holds_at_every_gateway() {
    for refusal in [
        Refusal::NextChannel,
        Refusal::UnreachableBySms,
        Refusal::Fail,
    ] {
        let message = claim_sms(requested(), &["main", "spare"], 1);
        let message = refuse(message, 1, refusal, 2);
        assert!(message.exhausted.contains(&Route::Sms), "{refusal:?}");
        assert!(message.exhausted_gateways.is_empty(), "{refusal:?}");
    }
}

#[test]
fn a_phone_that_no_sms_reaches_is_an_outcome_of_its_own() {
    let ends = |refusal| {
        let mut message = accept(claim_sms(requested(), &["main"], 1), 1, 2);
        report(&mut message, &says_failed(1, refusal), 3);
        dead_end(&message, &decision(None, 4))
    };
    assert_eq!(
        ends(Refusal::UnreachableBySms),
        (Outcome::UnreachableBySms, "PHONE_TAKES_NO_SMS".to_owned())
    );
    let (outcome, _) = ends(Refusal::NextChannel);
    assert_eq!(outcome, Outcome::Failed);
}

#[test]
fn an_unknown_outcome_never_fails_over_to_another_gateway() {
    let policy = Policy {
        on_unknown: OnUnknown::NextRoute,
        ..Policy::default()
    };
    let message = claim_sms(requested(), &["main", "spare"], 1);
    let unknown = on_unknown(&message, 1, "TIMED_OUT", &policy, at(2)).unwrap();
    let message = apply(message, &unknown);
    assert!(message.exhausted_gateways.is_empty());
    let later = 2 + policy.reconcile_after.as_secs();
    let Next::Record(abandoned) = next(&message, &policy, at(later)) else {
        panic!("goes on")
    };
    let message = apply(message, &abandoned);
    assert_eq!(
        message.exhausted,
        [Route::Sms],
        "the whole route, with all its gateways"
    );
}

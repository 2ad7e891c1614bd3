//! What refusals, halts and late reports lead to.

use super::*;
use crate::halt::Stop;
use crate::retry::JITTER_PERCENT;

fn stop(until: Option<i64>) -> Stop {
    Stop {
        halt: "h1".to_owned(),
        cause: "NUMBER_PAUSED".to_owned(),
        text: String::new(),
        facts: Vec::new(),
        until: until.map(at),
        probe_at: None,
        may_go_elsewhere: false,
        is_waited_for: true,
    }
}

fn waiting(until: Option<i64>, now: i64) -> Decision {
    Decision {
        halted_by: Some(stop(until)),
        ..decision(None, now)
    }
}

/// Decides under a halt; returns what follows.
fn halted(message: &Message, until: Option<i64>, now: i64) -> Next {
    on_decision(message, &waiting(until, now), &Policy::default(), at(now))
}

fn put_off(message: Message, until: Option<i64>, now: i64) -> Message {
    match halted(&message, until, now) {
        Next::Record(event @ Event::Deferred { .. }) => apply(message, &event),
        other => panic!("not put off: {other:?}"),
    }
}

#[test]
fn what_an_error_means_decides_what_is_tried_next() {
    use Route::{FreeForm, Hold, Sms, Template};
    let table = [
        (FreeForm, Refusal::SwitchToTemplate, vec![], None),
        (
            FreeForm,
            Refusal::NextChannel,
            vec![FreeForm, Template, Hold],
            None,
        ),
        (Template, Refusal::TemplateUnusable, vec![Template], None),
        (
            Template,
            Refusal::Fail,
            vec![FreeForm, Template, Sms, Hold],
            None,
        ),
        (Sms, Refusal::NextChannel, vec![Sms], None),
        (Template, Refusal::Retry, vec![], Some(at(3))),
        (
            Template,
            Refusal::RetryAfter(SignedDuration::from_secs(30)),
            vec![],
            Some(at(32)),
        ),
    ];
    for (route, refusal, exhausted, retry_at) in table {
        let message = refuse(claim(requested(), route, 1), 1, refusal, 2);
        assert_eq!(message.exhausted, exhausted, "{refusal:?}");
        let Phase::Pending { due_at, .. } = message.phase else {
            panic!("{refusal:?}")
        };
        // The jitter makes it later, by less than the pause.
        let least = retry_at.unwrap_or(at(2));
        assert!(due_at >= least, "{refusal:?}");
        assert!(due_at <= least + least.duration_since(at(2)), "{refusal:?}");
    }
}

#[test]
fn a_message_under_a_halt_is_put_off_once_and_says_until_when() {
    let message = put_off(requested(), Some(60), 1);
    assert_eq!(message.state(), "DEFERRED");
    assert_eq!(message.deadline(), Some(at(60)));
    assert_eq!(halted(&message, Some(60), 30), Next::Wait(Some(at(60))));
    // What was told is no longer true: it is told anew.
    let message = put_off(message, Some(120), 60);
    assert_eq!(message.deadline(), Some(at(120)));
}

#[test]
fn what_no_time_ends_is_waited_for_as_long_as_the_message_is_worth_sending() {
    let message = put_off(requested(), None, 1);
    assert_eq!(message.deadline(), Some(at(86_400)));
    let end = next(&message, &Policy::default(), at(86_400));
    assert_eq!(
        end,
        Next::Record(Event::Expired { at: at(86_400) }),
        "a halt does not make it live longer"
    );
}

#[test]
fn a_message_that_was_put_off_goes_as_soon_as_somebody_looks_after_the_end() {
    let message = put_off(requested(), None, 1);
    let policy = Policy::default();
    assert_eq!(next(&message, &policy, at(2)), Next::Route);
    let message = claim(message, Route::FreeForm, 2);
    assert_eq!(message.state(), "ATTEMPTING");
}

#[test]
fn a_held_message_stays_held_under_a_halt() {
    let policy = Policy::default();
    let Next::Record(held) = on_decision(
        &requested(),
        &decision(Some(Route::Hold), 1),
        &policy,
        at(1),
    ) else {
        panic!("not held")
    };
    let message = apply(requested(), &held);
    assert_eq!(
        halted(&message, None, 2),
        Next::Wait(Some(at(2 + policy.recheck_after.as_secs())))
    );
}

#[test]
fn a_refusal_that_halts_uses_up_no_route() {
    let message = claim(requested(), Route::FreeForm, 1);
    let message = refuse(message, 1, Refusal::Halted, 2);
    assert_eq!(message.exhausted, []);
    assert_eq!(next(&message, &Policy::default(), at(2)), Next::Route);
    // If routing lets it go all the same, it does not go round and round.
    let message = claim(message, Route::FreeForm, 2);
    let message = refuse(message, 2, Refusal::Halted, 3);
    assert!(message.deadline().unwrap() > at(3));
}

#[test]
fn a_halt_that_should_be_over_is_looked_at_again_after_the_usual_time() {
    let recheck_at = 60 + Policy::default().recheck_after.as_secs();
    for (until, deadline) in [(59, recheck_at), (60, recheck_at), (61, 61)] {
        let message = put_off(requested(), Some(until), 60);
        assert_eq!(message.deadline(), Some(at(deadline)), "until {until}");
    }
}

#[test]
fn a_halt_that_is_not_heeded_is_waited_for_by_the_schedule_of_its_own_kind() {
    // The first time it waits for the halt alone. What no call was made for counts apart.
    for (refusal, pauses) in [
        (Refusal::Halted, [0, 4, 16, 64, 64]),
        (Refusal::Stopped, [0, 1, 4, 16, 64]),
    ] {
        let mut message = requested();
        let mut now = 1;
        for (attempt, pause) in (1..).zip(pauses) {
            message = refuse(claim(message, Route::FreeForm, now), attempt, refusal, now);
            let waited = message.deadline().unwrap().duration_since(at(now));
            let least = SignedDuration::from_secs(pause);
            let most = least * (100 + JITTER_PERCENT) / 100;
            assert!(
                (least..=most).contains(&waited),
                "{refusal:?} {attempt}: {waited:?}"
            );
            now += 100;
        }
    }
}

#[test]
fn a_claim_that_meets_a_halt_before_its_call_uses_up_no_attempt() {
    let policy = Policy::default();
    let mut message = requested();
    let mut now = 1;
    for attempt in 1..=20 {
        message = claim(message, Route::FreeForm, now);
        message = refuse(message, attempt, Refusal::Stopped, now);
        assert_eq!(message.exhausted, [], "{attempt}");
        // The first time it waits for the halt alone, then besides, so as not to go round.
        let due = message.deadline().unwrap();
        assert_eq!(due == at(now), attempt == 1, "{attempt}");
        now += 100;
    }
    assert_eq!(message.calls(), 0);
    // What is called for counts as ever, and its pauses begin with the first.
    for attempt in 21..=20 + u32::try_from(policy.attempts_max).unwrap() {
        message = claim(message, Route::FreeForm, now);
        message = refuse(
            message,
            attempt,
            Refusal::RetryAfter(SignedDuration::ZERO),
            now,
        );
        message.exhausted.clear();
        now += 100;
    }
    let decided = decision(Some(Route::FreeForm), now);
    let Next::Record(Event::Ended { reason, .. }) =
        on_decision(&message, &decided, &policy, at(now))
    else {
        panic!("goes on")
    };
    assert_eq!(reason, "ATTEMPTS_USED_UP");
}

#[test]
fn a_message_that_halts_stop_again_and_again_ends() {
    let policy = Policy::default();
    let mut message = requested();
    for attempt in 1..1_000 {
        let now = i64::from(attempt) * 80;
        let decided = decision(Some(Route::FreeForm), now);
        match on_decision(&message, &decided, &policy, at(now)) {
            Next::Claim(event) => message = apply(message, &event),
            Next::Record(Event::Ended { .. }) => return,
            other => panic!("{other:?}"),
        }
        message = refuse(message, attempt, Refusal::Stopped, now);
    }
    panic!("it goes round for ever");
}

#[test]
fn a_thread_that_is_somebody_elses_refuses_free_form_alone() {
    let message = claim(requested(), Route::FreeForm, 1);
    let message = refuse(message, 1, Refusal::ThreadControl, 2);
    assert_eq!(message.exhausted, [Route::FreeForm]);
}

#[test]
fn a_cap_is_waited_for_if_the_message_lives_that_long_and_else_ends_it() {
    let claimed = claim(requested(), Route::Template, 1);
    let hours = SignedDuration::from_hours(12);
    let waits = refuse(claimed.clone(), 1, Refusal::Capped(hours), 2);
    assert!(waits.deadline().unwrap() >= at(2) + hours);
    assert_eq!(waits.exhausted, []);
    let day = SignedDuration::from_hours(24);
    let ends = refuse(claimed.clone(), 1, Refusal::Capped(day), 2);
    assert_eq!(ends.exhausted, Route::ALL);
    // It is waited for if it is over before the message is, and not at the same time.
    let over = waits.deadline().unwrap();
    let moment = SignedDuration::from_nanos(1);
    for (expires_at, is_waited_for) in
        [(over - moment, false), (over, false), (over + moment, true)]
    {
        let mut message = claimed.clone();
        message.expires_at = expires_at;
        let message = refuse(message, 1, Refusal::Capped(hours), 2);
        assert_eq!(message.exhausted.is_empty(), is_waited_for, "{expires_at}");
    }
}

#[test]
fn what_the_platform_keeps_back_is_a_state_of_its_own_until_it_goes() {
    for (word, state) in [
        ("held_for_quality_assessment", "HELD_FOR_QUALITY_ASSESSMENT"),
        ("paused", "PAUSED"),
        ("accepted", "ACCEPTED"),
        ("", "ACCEPTED"),
    ] {
        let claimed = claim(requested(), Route::Template, 1);
        let kept_back = KeptBack::parse(word);
        let policy = Policy::default();
        let event = on_accepted(&claimed, 1, "wamid.1", kept_back, &policy, at(2)).unwrap();
        let mut message = apply(claimed, &event);
        assert_eq!(message.state(), state);
        report(&mut message, &says(1, DeliveryStatus::Sent), 3);
        assert_eq!(message.state(), "ACCEPTED", "{word}");
    }
}

/// Failed by the first route, then delivered by SMS.
fn fallen_back() -> Message {
    let message = accept(claim(requested(), Route::FreeForm, 1), 1, 2);
    let mut message = message;
    report(&mut message, &says_failed(1, Refusal::NextChannel), 3);
    accept(claim(message, Route::Sms, 4), 2, 5)
}

#[test]
fn a_late_report_after_a_fallback_is_a_double_exposure_once() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut message = fallen_back();
        report(&mut message, &says(first, DeliveryStatus::Delivered), 6);
        let told = report(&mut message, &says(second, DeliveryStatus::Delivered), 7);
        assert_eq!(told, ["advanced", "exposed twice"]);
        // Repeats and later reports tell it no more.
        assert_eq!(
            report(&mut message, &says(1, DeliveryStatus::Delivered), 8),
            [] as [&str; 0]
        );
        assert_eq!(
            report(&mut message, &says(2, DeliveryStatus::Read), 9),
            ["advanced"]
        );
    }
}

#[test]
fn one_arrival_is_no_double_exposure() {
    let mut message = fallen_back();
    report(&mut message, &says(1, DeliveryStatus::Sent), 6);
    let told = report(&mut message, &says(2, DeliveryStatus::Read), 7);
    assert_eq!(told, ["advanced"]);
    assert!(!message.is_doubly_exposed);
}

proptest! {
    /// In whatever order the reports of two attempts come and however often: it is told once,
    /// and if and only if both arrived.
    #[test]
    fn a_double_exposure_is_told_once_and_only_if_it_is_one(
        reports in prop::collection::vec((1..3_u32, 0..5_u8), 0..20),
    ) {
        let mut message = fallen_back();
        let mut told = 0;
        for (attempt, status) in reports {
            let said = match status {
                0 => says_failed(attempt, Refusal::NextChannel),
                1 => says(attempt, DeliveryStatus::Sent),
                2 => says(attempt, DeliveryStatus::Delivered),
                3 => says(attempt, DeliveryStatus::Read),
                _ => says(attempt, DeliveryStatus::Played),
            };
            told += report(&mut message, &said, 10)
                .iter()
                .filter(|name| **name == "exposed twice")
                .count();
            let arrived = message
                .attempts
                .iter()
                .filter(|one| one.delivery.is_some_and(DeliveryStatus::has_arrived))
                .count();
            prop_assert_eq!(told, usize::from(arrived == 2));
        }
    }

    /// A retry comes neither before the schedule nor before what was asked for, has a bound, and
    /// never comes after the message's end.
    #[test]
    fn a_retry_keeps_to_the_schedule_and_to_what_was_asked(
        tries in 1..7_u32,
        asked in prop::option::of(0..10_000_i64),
        begun in 0..1_000_000_i64,
    ) {
        let policy = Policy::default();
        let mut message = requested();
        for attempt in 1..=tries {
            let started_at = at(10) + SignedDuration::from_nanos(begun);
            let started = Event::AttemptStarted {
                attempt,
                route: Route::FreeForm,
                gateway: String::new(),
                other_gateways: Vec::new(),
                at: started_at,
                call_by: at(15),
                outcome_by: at(35),
            };
            message = apply(message, &started);
            let refusal = match asked {
                Some(asked) => Refusal::RetryAfter(SignedDuration::from_secs(asked)),
                None => Refusal::Retry,
            };
            let event = on_rejected(&message, attempt, 1, refusal, &policy, at(20)).unwrap();
            let Event::AttemptRejected { rejection, .. } = &event else {
                panic!("not a rejection")
            };
            let index = usize::try_from(attempt).unwrap() - 1;
            match (rejection.retry_at, policy.retry_schedule.get(index)) {
                (Some(retry_at), Some(scheduled)) => {
                    let asked = SignedDuration::from_secs(asked.unwrap_or_default());
                    let least = asked.max(*scheduled);
                    let most = least * (100 + JITTER_PERCENT) / 100;
                    prop_assert!(retry_at >= at(20) + least && retry_at <= at(20) + most);
                }
                (None, None) => prop_assert_eq!(&rejection.exhausted, &[Route::FreeForm]),
                other => prop_assert!(false, "{:?}", other),
            }
            message = apply(message, &event);
        }
    }
}

#[test]
fn a_message_of_an_erased_customer_ends_whatever_it_waits_for_but_a_call() {
    let started = claim(requested(), Route::FreeForm, 1);
    assert_eq!(erase(&started, at(2)), None, "a call is under way");
    let accepted = accept(started, 1, 2);
    for (message, expected) in [
        (requested(), Outcome::Cancelled),
        (put_off(requested(), None, 1), Outcome::Cancelled),
        (accepted, Outcome::Unconfirmed),
    ] {
        let event = erase(&message, at(3)).unwrap();
        let ended = apply(message, &event);
        assert_eq!(ended.phase, Phase::Ended { outcome: expected });
        assert_eq!(erase(&ended, at(4)), None, "once");
    }
}

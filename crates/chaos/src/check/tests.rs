//! The checker finds what is planted, and nothing in a history that is as it should be.

mod writer;

use casement_event::v1;

use self::writer::{Writer, at, stored, window};
use super::{Claim, check};
use crate::history::{Chain, Told};

/// One conversation: two windows, two messages.
fn sound() -> Writer {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    writer.opened(1, "w1", 0);
    writer.sent(2, "one");
    writer.expired(10, "w1", 0, 10);
    writer.says("m2", 20, 21);
    writer.opened(21, "w2", 20);
    writer.sent(22, "two");
    writer.expired(30, "w2", 20, 30);
    writer
}

#[test]
fn nothing_is_wrong_with_a_history_that_is_as_it_should_be() {
    assert_eq!(sound().broken(), []);
}

#[test]
fn a_200_that_is_not_on_the_log_is_found() {
    let mut writer = sound();
    writer.history.told.push(Told::Said("lost".to_owned()));
    assert_eq!(writer.broken(), [Claim::EveryOkIsOnTheLog]);
    let mut writer = sound();
    let report = Told::Report("wamid".to_owned(), "delivered".to_owned());
    writer.history.told.push(report);
    assert_eq!(writer.broken(), [Claim::EveryOkIsOnTheLog]);
    let mut writer = sound();
    writer.history.confirmed.push("lost".to_owned());
    assert_eq!(writer.broken(), [Claim::EveryOkIsOnTheLog]);
}

#[test]
fn a_fact_that_is_there_twice_is_found() {
    let mut writer = sound();
    writer.says("m2", 20, 31);
    assert!(writer.broken().contains(&Claim::EachFactOnce));
}

#[test]
fn a_fact_with_a_time_of_our_own_is_found() {
    let mut writer = sound();
    writer.history.said[0].at = at(-1);
    assert_eq!(writer.broken(), [Claim::EachFactOnce]);
}

#[test]
fn an_expiry_before_its_time_is_found() {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    writer.opened(1, "w1", 0);
    writer.expired(9, "w1", 0, 10);
    assert_eq!(writer.broken(), [Claim::NoExpiryEarly]);
}

#[test]
fn an_expiry_against_a_fact_that_was_stored_before_is_found() {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    writer.opened(1, "w1", 0);
    writer.says("m2", 5, 6);
    writer.expired(10, "w1", 0, 10);
    // It ends once more, by that fact.
    writer.expired(15, "w2", 5, 15);
    assert_eq!(writer.broken(), [Claim::NoExpiryEarly]);
}

#[test]
fn an_expiry_of_a_fact_that_was_stored_after_it_is_no_error() {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    writer.opened(1, "w1", 0);
    writer.expired(10, "w1", 0, 10);
    writer.says("m2", 5, 11);
    writer.opened(11, "w2", 5);
    writer.expired(15, "w2", 5, 15);
    assert_eq!(writer.broken(), []);
}

#[test]
fn a_lead_before_its_time_or_twice_is_found() {
    let expiring = |lead: i64| v1::WindowExpiring {
        window: Some(window("w1", 0, 10)),
        lead: Some(prost_types::Duration {
            seconds: lead,
            nanos: 0,
        }),
    };
    for (told, claim) in [
        (&[8, 9][..], Claim::NoExpiryEarly),
        (&[9, 9][..], Claim::EachExpiryOnce),
    ] {
        let mut writer = Writer::new();
        writer.says("m1", 0, 1);
        writer.opened(1, "w1", 0);
        for second in told {
            writer.window(*second, expiring(1));
        }
        writer.expired(10, "w1", 0, 10);
        assert!(writer.broken().contains(&claim), "{told:?}");
    }
}

#[test]
fn an_expiry_that_is_told_twice_is_found() {
    let mut writer = sound();
    writer.expired(31, "w2", 20, 30);
    assert_eq!(writer.broken(), [Claim::EachExpiryOnce]);
}

#[test]
fn a_window_that_never_ends_is_found() {
    let mut writer = sound();
    writer.says("m3", 40, 41);
    writer.opened(41, "w3", 40);
    assert_eq!(writer.broken(), [Claim::NoExpiryMissing]);
}

#[test]
fn a_message_in_time_that_no_window_was_told_of_is_found() {
    let mut writer = sound();
    writer.says("m3", 40, 41);
    assert_eq!(writer.broken(), [Claim::NoExpiryMissing]);
}

#[test]
fn a_message_that_came_after_its_own_window_needs_none() {
    let mut writer = sound();
    writer.says("m3", 40, 51);
    assert_eq!(writer.broken(), []);
}

#[test]
fn a_window_that_promises_more_than_the_facts_give_is_found() {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    let event = v1::WindowOpened {
        window: Some(window("w1", 0, 12)),
        ..Default::default()
    };
    writer.window(1, event);
    writer.expired(12, "w1", 0, 10);
    assert_eq!(writer.broken(), [Claim::WindowsFit]);
}

#[test]
fn a_window_that_opens_while_another_is_open_is_found() {
    let mut writer = Writer::new();
    writer.says("m1", 0, 1);
    writer.opened(1, "w1", 0);
    writer.opened(2, "w2", 0);
    writer.expired(10, "w2", 0, 10);
    assert_eq!(writer.broken(), [Claim::WindowsFit]);
}

#[test]
fn a_correction_without_a_refusal_is_found() {
    let corrected = v1::WindowCorrected {
        window: Some(v1::PublishedWindow {
            close_time: stored(3),
            ..window("w1", 0, 10)
        }),
        ..Default::default()
    };
    let refused = v1::WindowRefused {
        refused_time: stored(3),
        ..Default::default()
    };
    for (is_refused, expected) in [(true, &[][..]), (false, &[Claim::WindowsFit][..])] {
        let mut writer = Writer::new();
        writer.says("m1", 0, 1);
        writer.opened(1, "w1", 0);
        if is_refused {
            let subject = "casement.events.evidence.0.1555.anna";
            writer.put(3, "EVENTS", subject, refused.clone());
        }
        writer.window(4, corrected.clone());
        assert_eq!(writer.broken(), expected);
    }
}

#[test]
fn a_second_call_for_an_attempt_is_found() {
    let mut writer = sound();
    writer.called(26, "two", 1);
    assert!(writer.broken().contains(&Claim::OneCallPerAttempt));
}

#[test]
fn a_call_without_a_claim_or_before_it_is_found() {
    let mut writer = sound();
    writer.called(26, "two", 2);
    assert!(writer.broken().contains(&Claim::OneCallPerAttempt));
    let mut writer = sound();
    writer.history.calls[1].at = at(22);
    assert_eq!(writer.broken(), [Claim::OneCallPerAttempt]);
}

#[test]
fn a_message_without_an_end_or_a_reason_is_found() {
    let mut writer = sound();
    writer.requested(31, "three");
    assert_eq!(writer.broken(), [Claim::EveryMessageEnds]);
    let mut writer = sound();
    writer.requested(31, "three");
    let event = v1::MessageEnded {
        outcome: v1::MessageOutcome::Expired.into(),
        ..Default::default()
    };
    writer.message(32, "three", event);
    assert_eq!(writer.broken(), [Claim::EveryMessageEnds]);
}

#[test]
fn an_attempt_without_an_outcome_is_found() {
    let mut writer = sound();
    writer.requested(31, "three");
    writer.claimed(32, "three", 1);
    writer.ended(33, "three", v1::MessageOutcome::Expired);
    assert_eq!(writer.broken(), [Claim::EveryMessageEnds]);
}

#[test]
fn a_message_that_ended_otherwise_than_the_books_say_is_found() {
    let mut writer = sound();
    writer.history.calls[1].is_delivered = false;
    assert_eq!(writer.broken(), [Claim::EveryRiskRecorded]);
    let mut writer = sound();
    writer.requested(31, "three");
    writer.claimed(32, "three", 1);
    writer.called(32, "three", 1);
    writer.accepted(33, "three", 1);
    writer.ended(34, "three", v1::MessageOutcome::Failed);
    assert_eq!(writer.broken(), [Claim::EveryRiskRecorded]);
}

#[test]
fn a_repeat_without_a_record_of_its_risk_is_found_and_one_with_it_is_not() {
    for (duplicate_risk, expected) in [(true, &[][..]), (false, &[Claim::EveryRiskRecorded][..])] {
        let mut writer = sound();
        writer.requested(31, "three");
        writer.claimed(32, "three", 1);
        writer.called(32, "three", 1);
        let unknown = v1::AttemptUnknown {
            attempt: 1,
            ..Default::default()
        };
        writer.message(34, "three", unknown);
        let abandoned = v1::AttemptAbandoned {
            attempt: 1,
            duplicate_risk,
            ..Default::default()
        };
        writer.message(36, "three", abandoned);
        writer.claimed(37, "three", 2);
        writer.called(37, "three", 2);
        writer.accepted(38, "three", 2);
        writer.ended(39, "three", v1::MessageOutcome::Delivered);
        assert_eq!(writer.broken(), expected);
    }
}

#[test]
fn a_message_that_overtakes_another_is_found() {
    let mut writer = sound();
    writer.requested(31, "three");
    writer.requested(32, "four");
    for (id, second) in [("four", 33), ("three", 36)] {
        writer.claimed(second, id, 1);
        writer.called(second, id, 1);
        writer.accepted(second + 1, id, 1);
        writer.ended(second + 2, id, v1::MessageOutcome::Delivered);
    }
    assert_eq!(writer.broken(), [Claim::OrderKept]);
}

#[test]
fn a_message_that_goes_while_another_is_held_keeps_the_order() {
    let mut writer = sound();
    writer.requested(31, "three");
    writer.message(31, "three", v1::MessageHeld::default());
    writer.sent(32, "four");
    writer.ended(40, "three", v1::MessageOutcome::Expired);
    assert_eq!(writer.broken(), []);
}

#[test]
fn a_chain_that_is_broken_or_ends_early_is_found() {
    let mut writer = sound();
    writer.history.chains.push(Chain {
        stream: "EVENTS".to_owned(),
        is_intact: false,
        last_sequence: 1,
        explanation: "row 1".to_owned(),
    });
    assert_eq!(writer.broken(), [Claim::ChainsHold]);
    let mut writer = sound();
    writer.archive();
    writer.history.chains[0].last_sequence -= 1;
    let found = check(&writer.history);
    assert_eq!(found[0].claim, Claim::ChainsHold);
}

#[test]
fn a_read_model_that_is_another_when_made_anew_is_found() {
    let mut writer = sound();
    writer.history.differences.push("message one".to_owned());
    assert_eq!(writer.broken(), [Claim::ReadModelsEqual]);
}

#[test]
fn a_violation_shows_no_more_than_the_window_that_it_is_about() {
    let mut writer = sound();
    writer.says("m3", 40, 41);
    writer.opened(41, "w3", 40);
    writer.expired(49, "w3", 40, 50);
    writer.archive();
    let found = check(&writer.history);
    assert_eq!(found.len(), 1);
    let names: Vec<_> = found[0]
        .history
        .iter()
        .map(|line| line.contains("Window"))
        .collect();
    assert_eq!(names, [false, true, true], "{}", found[0]);
}

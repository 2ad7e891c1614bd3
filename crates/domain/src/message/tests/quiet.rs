//! What waits for the end of quiet hours.

use super::*;
use crate::halt::Stop;

fn quiet(until: i64, now: i64) -> Decision {
    Decision {
        quiet_until: Some(at(until)),
        ..decision(None, now)
    }
}

fn deferred(at_: i64, until: i64, cause: &str, halt: &str) -> Event {
    Event::Deferred {
        at: at(at_),
        until: at(until),
        cause: cause.to_owned(),
        halt: halt.to_owned(),
    }
}

#[test]
fn quiet_hours_are_told_once_and_again_if_they_end_at_another_time() {
    let policy = Policy::default();
    let follows = |message: &Message, decision: &Decision, now| {
        on_decision(message, decision, &policy, at(now))
    };
    let message = requested();
    let told = deferred(1, 600, "QUIET_HOURS", "");
    assert_eq!(
        follows(&message, &quiet(600, 1), 1),
        Next::Record(told.clone())
    );
    let message = apply(message, &told);
    assert_eq!(
        (message.state(), message.deadline()),
        ("DEFERRED", Some(at(600)))
    );
    // Whatever wakes it: it is routed, in case that another route has opened.
    assert_eq!(next(&message, &policy, at(2)), Next::Route);
    assert_eq!(
        follows(&message, &quiet(600, 2), 2),
        Next::Wait(Some(at(600)))
    );
    assert_eq!(
        follows(&message, &quiet(900, 3), 3),
        Next::Record(deferred(3, 900, "QUIET_HOURS", ""))
    );
    // As with a halt: what was told is over, and is not waited for once more.
    assert_eq!(
        follows(&message, &quiet(600, 600), 600),
        Next::Record(deferred(600, 600, "QUIET_HOURS", ""))
    );
    let goes = follows(&message, &decision(Some(Route::Template), 600), 600);
    assert!(matches!(goes, Next::Claim(_)), "{goes:?}");
}

#[test]
fn under_a_halt_the_end_of_quiet_hours_is_looked_at_too() {
    let stop = Stop {
        halt: "h1".to_owned(),
        cause: "NUMBER_HALTED".to_owned(),
        text: String::new(),
        facts: Vec::new(),
        until: Some(at(3_600)),
        probe_at: None,
        may_go_elsewhere: true,
        is_waited_for: true,
    };
    let decision = Decision {
        halted_by: Some(stop),
        ..quiet(600, 1)
    };
    let follows = on_decision(&requested(), &decision, &Policy::default(), at(1));
    assert_eq!(
        follows,
        Next::Record(deferred(1, 600, "NUMBER_HALTED", "h1"))
    );
}

#[test]
fn a_held_message_stays_held_in_quiet_hours() {
    let held = Event::Held {
        at: at(1),
        recheck_at: at(61),
        expires_at: at(86_400),
    };
    let message = apply(requested(), &held);
    let follows = on_decision(&message, &quiet(600, 61), &Policy::default(), at(61));
    assert_eq!(follows, Next::Wait(Some(at(121))));
}

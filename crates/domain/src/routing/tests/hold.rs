//! How many may wait, and what asks the customer to write.

use super::*;
use crate::routing::hold::{Nudge, Queue, needless, nudge};

/// A message that can go by no other way than to wait.
fn waits(hold: Queue) -> Case {
    Case {
        template: None,
        has_phone: false,
        hold,
        ..Case::default()
    }
}

fn full() -> Queue {
    Queue {
        held: 3,
        max: Some(3),
        is_in: false,
    }
}

#[test]
fn a_full_queue_takes_no_more_and_says_so() {
    let free = Queue { held: 2, ..full() };
    let inside = Queue {
        is_in: true,
        ..full()
    };
    let endless = Queue {
        max: None,
        ..full()
    };
    for (queue, reason) in [
        (Queue::default(), "CAN_WAIT"),
        (free, "CAN_WAIT"),
        (full(), "HOLD_QUEUE_FULL"),
        (Queue { held: 9, ..full() }, "HOLD_QUEUE_FULL"),
        (inside, "CAN_WAIT"),
        (endless, "CAN_WAIT"),
    ] {
        let decision = waits(queue).decide(DAY);
        let candidate = decision.candidate(Route::Hold).unwrap();
        assert_eq!(candidate.reason, reason, "{queue:?}");
        let chosen = (reason == "CAN_WAIT").then_some(Route::Hold);
        assert_eq!(decision.chosen, chosen, "{queue:?}");
    }
    let decision = waits(full()).decide(DAY);
    let facts = &decision.candidate(Route::Hold).unwrap().facts;
    assert_eq!(facts[1..], ["held=3", "held_max=3"]);
}

#[test]
fn a_full_queue_is_in_the_way_of_nothing_that_goes_otherwise() {
    let case = Case {
        hold: full(),
        ..Case::default()
    };
    assert_eq!(case.decide(10).chosen, Some(Route::FreeForm));
    assert_eq!(case.decide(DAY).chosen, Some(Route::Template));
}

/// The decision about a nudge by a template.
fn about(template: Option<Template>) -> Decision {
    Case {
        template,
        has_free_form: false,
        has_sms_text: false,
        ..Case::default()
    }
    .decide(DAY)
}

#[test]
fn a_nudge_goes_once_and_only_if_its_template_may() {
    let held = waits(Queue::default()).decide(DAY);
    let utility = || about(Some(approved(TemplateCategory::Utility)));
    assert_eq!(nudge(&held, Some(&utility())), Nudge::Sent);
    assert_eq!(nudge(&held, None), Nudge::SentBefore);
    let selling = about(Some(approved(TemplateCategory::Marketing)));
    assert_eq!(
        nudge(&held, Some(&selling)).reason(),
        "TEMPLATE_IS_MARKETING"
    );
    let unknown = about(Some(Template {
        known: None,
        ..approved(TemplateCategory::Utility)
    }));
    assert_eq!(nudge(&held, Some(&unknown)).reason(), "TEMPLATE_UNKNOWN");
}

#[test]
fn what_becomes_of_a_nudge_is_told_in_a_sentence() {
    let ruled_out = Nudge::RuledOut {
        reason: "TEMPLATE_UNKNOWN",
        text: "Nobody knows it.".to_owned(),
    };
    for (nudge, reason, says) in [
        (Nudge::Sent, "NUDGE_SENT", "asks the customer to write"),
        (
            Nudge::SentBefore,
            "NUDGE_SENT_BEFORE",
            "has not written since",
        ),
        (ruled_out, "TEMPLATE_UNKNOWN", "Nobody knows it."),
    ] {
        assert_eq!(nudge.reason(), reason);
        assert!(nudge.text().contains(says), "{}", nudge.text());
    }
}

#[test]
fn a_thread_of_somebody_elses_is_not_nudged() {
    let owned = Case {
        window: Facts {
            thread_owner: Some(AsOf {
                at: at(0),
                value: ThreadOwner::Other,
            }),
            ..wrote(0)
        },
        ..waits(Queue::default())
    };
    let held = owned.decide(10);
    assert_eq!(held.chosen, Some(Route::Hold));
    let own = about(Some(approved(TemplateCategory::Utility)));
    assert_eq!(nudge(&held, Some(&own)).reason(), "THREAD_OWNED_BY_OTHER");
}

#[test]
fn a_nudge_is_needless_once_the_customer_wrote_or_nothing_waits() {
    let policy = WindowPolicy::default();
    for (now, is_held, expected) in [
        (10, true, Some("CUSTOMER_WROTE")),
        (10, false, Some("CUSTOMER_WROTE")),
        // In the guard band they may still be asked: free-form is over.
        (DAY - 30, true, None),
        (DAY, true, None),
        (DAY, false, Some("NOTHING_HELD")),
    ] {
        let found = needless(&wrote(0), &policy, is_held, at(now));
        assert_eq!(found, expected, "{now} {is_held}");
    }
}

proptest! {
    #[test]
    fn whoever_has_a_place_keeps_it(held in 0_usize..9, max in 0_usize..9) {
        let queue = Queue { held, max: Some(max), is_in: true };
        prop_assert!(!queue.is_full());
        let outside = Queue { is_in: false, ..queue };
        prop_assert_eq!(outside.is_full(), held >= max);
    }
}

//! Why a message is in its state, in one word for programs.
//!
//! Said by the event that brought it there, so that whoever shows the message from its events or
//! from a read model says the same.

use casement_proto::events::v1;

use crate::event::Event;

/// Why an expired message ended.
pub const EXPIRED: &str = "TTL_PASSED";

/// Why a message took another channel, or would have.
pub const OVERDUE: &str = "DELIVERY_OVERDUE";

/// Why a cancelled message ended.
pub const CANCELLED: &str = "CANCELLED";

/// Returns why a message is in its state after an event; `None` if the event leaves it in the one
/// before.
pub fn of_state(event: &Event) -> Option<String> {
    Some(match event {
        Event::MessageRequested(_) | Event::AttemptStarted(_) => String::new(),
        Event::MessageHeld(event) => event.decision.as_ref().map(hold).unwrap_or_default(),
        Event::MessageReleased(event) => event.cause.clone(),
        Event::MessageDeferred(event) => event.cause.clone(),
        // accepted, held_for_quality_assessment, paused: the provider's word, as ours are written.
        Event::AttemptAccepted(event) => event.provider_status.to_ascii_uppercase(),
        Event::AttemptRejected(event) => event.action.clone(),
        Event::AttemptUnknown(event) => event.reason.clone(),
        Event::AttemptAbandoned(event) => event.policy.clone(),
        Event::DeliveryOverdue(_) => OVERDUE.to_owned(),
        Event::MessageEnded(event) => event.reason.clone(),
        Event::MessageExpired(_) => EXPIRED.to_owned(),
        Event::MessageCancelled(_) => CANCELLED.to_owned(),
        _ => return None,
    })
}

/// Why the message is held: why the route that it would have gone by first was ruled out.
fn hold(decision: &v1::Decision) -> String {
    let ruled_out = decision
        .candidates
        .iter()
        .find(|candidate| candidate.verdict() == v1::Verdict::RuledOut);
    ruled_out
        .map(|candidate| candidate.reason.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(route: v1::Route, verdict: v1::Verdict, reason: &str) -> v1::Candidate {
        let mut candidate = v1::Candidate {
            reason: reason.to_owned(),
            ..v1::Candidate::default()
        };
        candidate.set_route(route);
        candidate.set_verdict(verdict);
        candidate
    }

    #[test]
    fn a_held_message_says_what_it_waits_for() {
        let held = v1::MessageHeld {
            decision: Some(v1::Decision {
                candidates: vec![
                    candidate(v1::Route::FreeForm, v1::Verdict::RuledOut, "WINDOW_CLOSED"),
                    candidate(v1::Route::Hold, v1::Verdict::Chosen, "HELD"),
                ],
                ..v1::Decision::default()
            }),
            ..v1::MessageHeld::default()
        };
        assert_eq!(of_state(&held.into()).as_deref(), Some("WINDOW_CLOSED"));
    }

    #[test]
    fn what_leaves_the_state_alone_gives_no_reason() {
        let advanced = v1::DeliveryAdvanced::default();
        assert_eq!(of_state(&advanced.into()), None);
    }
}

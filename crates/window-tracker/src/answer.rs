//! The answer to "may this customer be written to freely now?", from the facts and the time.
//!
//! Pure. What subscribers were told plays no part in whether it is permitted; it only gives the
//! window its name, and that by telling, in thought, what is still to be told.

use casement_domain::routing::Gone;
use casement_domain::window::{FreeForm, Policy, Published, Refusal, decide, evolve};
use casement_event::convert::{inbound, timestamp, window as stored};
use casement_event::{id, v1};
use casement_proto::window::v1 as api;
use jiff::Timestamp;

use crate::present::{Key, Present};

/// How many events are told in thought; no present gives that many.
const STEPS_MAX: usize = 32;

/// Returns the window of a conversation as it is at `now`. Its position is the caller's to say.
pub(crate) fn window(key: &Key, present: &Present, policy: &Policy, now: Timestamp) -> api::Window {
    let facts = &present.facts;
    let closed = facts.closed_reason(policy, now);
    let (until, refusal) = match facts.free_form(policy, now) {
        FreeForm::Allowed { until } => (Some(until), ""),
        FreeForm::Refused(refusal) => (None, refusal.as_str()),
    };
    let state = match closed {
        None => v1::WindowState::Open,
        Some(_) => v1::WindowState::Closed,
    };
    let closed_reason = closed.map_or(v1::ClosedReason::Unspecified, stored::closed_reason);
    let last = facts.last_qualifying.as_ref();
    let circumstances = facts.circumstances(policy, now);
    let told = current(present, policy, now);
    let opened_at = told
        .as_ref()
        .map(|window| window.opened_at)
        .or(last.map(|last| last.at));
    api::Window {
        number: key.number.e164(),
        customer_id: key.customer.as_str().to_owned(),
        state: state.into(),
        closed_reason: closed_reason.into(),
        free_form_allowed: until.is_some(),
        free_form_until_time: until.map(timestamp),
        refusal_reason: refusal.to_owned(),
        open_time: opened_at.map(timestamp),
        expire_time: facts.expires_at(policy).map(timestamp),
        last_inbound_time: last.map(|last| timestamp(last.at)),
        last_inbound_message_id: last
            .map(|last| last.provider_id.clone())
            .unwrap_or_default(),
        waiting_since_time: circumstances.waiting_since.map(timestamp),
        free_entry_point: circumstances.free_entry_point.map(stored::free_entry_point),
        thread_owner: inbound::thread_owner(circumstances.thread_owner).into(),
        position: String::new(),
        window_id: told
            .map(|window| id::window(&key.number, &key.customer, window.opening_fact).to_string())
            .unwrap_or_default(),
    }
}

/// Returns a window at a number that is somebody else's by now: it stays a fact, and permits us
/// nothing.
pub(crate) fn elsewhere(window: api::Window) -> api::Window {
    api::Window {
        free_form_allowed: false,
        free_form_until_time: None,
        refusal_reason: Gone::MigratedAway.as_str().to_owned(),
        ..window
    }
}

/// Returns the window of a customer who never wrote to a number.
pub(crate) fn never_wrote(number: String, customer_id: String) -> api::Window {
    api::Window {
        number,
        customer_id,
        state: v1::WindowState::Closed.into(),
        closed_reason: v1::ClosedReason::NeverWrote.into(),
        refusal_reason: Refusal::WindowClosed.as_str().to_owned(),
        ..api::Window::default()
    }
}

/// Returns the window as it will be told, if it is the one that the last qualifying fact is in.
fn current(present: &Present, policy: &Policy, now: Timestamp) -> Option<Published> {
    let facts = &present.facts;
    let last = facts.last_qualifying.as_ref()?;
    let mut window = present.published.clone();
    for _ in 0..STEPS_MAX {
        let Some(event) = decide(window.as_ref(), facts, policy, now) else {
            break;
        };
        window = evolve(window, &event);
    }
    // A fact that came too late to be told may lie in a later window than the told one.
    window.filter(|window| window.closed.is_none() || last.at < window.expires_at)
}

#[cfg(test)]
mod tests {
    use casement_domain::id::{BusinessNumber, CustomerId, FactId};
    use casement_domain::inbound::{AsOf, Qualifying, ThreadOwner};
    use casement_domain::window::{Evidence, Facts};
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn key() -> Key {
        Key {
            number: BusinessNumber::parse("15550001111").unwrap(),
            customer: CustomerId::parse("c1").unwrap(),
        }
    }

    fn wrote(second: i64) -> Qualifying {
        Qualifying {
            at: at(second),
            fact: FactId::from_u128(u128::from(second.unsigned_abs()) + 1),
            received_at: at(second + 1),
            provider_id: format!("wamid.{second}"),
        }
    }

    fn present(facts: Facts) -> Present {
        Present {
            facts,
            newest: 7,
            ..Present::default()
        }
    }

    const HOUR: i64 = 3600;

    #[test]
    fn every_boundary_is_answered_as_the_rules_say() {
        let policy = Policy::default();
        let wrote_facts = Facts {
            last_qualifying: Some(wrote(0)),
            ..Facts::default()
        };
        let others_thread = Facts {
            thread_owner: Some(AsOf {
                at: at(0),
                value: ThreadOwner::Other,
            }),
            ..wrote_facts.clone()
        };
        let refused = Facts {
            evidence: Evidence {
                refused_at: Some(at(10)),
                ..Evidence::default()
            },
            ..wrote_facts.clone()
        };
        let merged = Facts {
            merged_at: Some(at(10)),
            ..wrote_facts.clone()
        };
        let (open, closed) = (v1::WindowState::Open, v1::WindowState::Closed);
        let none = v1::ClosedReason::Unspecified;
        let table = [
            (&wrote_facts, 1, open, none, ""),
            (&wrote_facts, 24 * HOUR - 61, open, none, ""),
            (&wrote_facts, 24 * HOUR - 60, open, none, "GUARD_BAND"),
            (&wrote_facts, 24 * HOUR - 1, open, none, "GUARD_BAND"),
            (
                &wrote_facts,
                24 * HOUR,
                closed,
                v1::ClosedReason::Expired,
                "WINDOW_CLOSED",
            ),
            (&others_thread, 1, open, none, "THREAD_OWNED_BY_OTHER"),
            (
                &refused,
                11,
                closed,
                v1::ClosedReason::Corrected,
                "WINDOW_CLOSED",
            ),
            (
                &merged,
                11,
                closed,
                v1::ClosedReason::Merged,
                "WINDOW_CLOSED",
            ),
        ];
        for (facts, second, state, reason, refusal) in table {
            let answer = window(&key(), &present(facts.clone()), &policy, at(second));
            assert_eq!(answer.state(), state, "{facts:?} at {second}");
            assert_eq!(answer.closed_reason(), reason, "{facts:?} at {second}");
            assert_eq!(answer.refusal_reason, refusal, "{facts:?} at {second}");
            assert_eq!(answer.free_form_allowed, refusal.is_empty());
            let until = timestamp(at(24 * HOUR - 60));
            assert_eq!(
                answer.free_form_until_time,
                refusal.is_empty().then_some(until)
            );
            assert_eq!(answer.expire_time, Some(timestamp(at(24 * HOUR))));
            assert_eq!(answer.last_inbound_message_id, "wamid.0");
        }
    }

    #[test]
    fn a_window_that_was_not_told_yet_already_has_the_name_it_will_have() {
        let policy = Policy::default();
        let facts = Facts {
            last_qualifying: Some(wrote(0)),
            ..Facts::default()
        };
        let untold = present(facts.clone());
        let answer = window(&key(), &untold, &policy, at(5));
        let event = decide(None, &facts, &policy, at(5)).unwrap();
        let told = untold.after(&event, 8);
        let later = window(&key(), &told, &policy, at(6));
        assert!(!answer.window_id.is_empty());
        assert_eq!(later.window_id, answer.window_id);
        assert_eq!(later.open_time, Some(timestamp(at(0))));
    }

    #[test]
    fn a_window_opened_once_stays_the_same_while_the_customer_goes_on_writing() {
        let policy = Policy::default();
        let first = Facts {
            last_qualifying: Some(wrote(0)),
            ..Facts::default()
        };
        let event = decide(None, &first, &policy, at(1)).unwrap();
        let mut told = present(first).after(&event, 8);
        let opened = window(&key(), &told, &policy, at(2));

        // Past the end that was told, within the one that is true.
        told.facts.last_qualifying = Some(wrote(20 * HOUR));
        let answer = window(&key(), &told, &policy, at(30 * HOUR));
        assert_eq!(answer.state(), v1::WindowState::Open);
        assert_eq!(answer.window_id, opened.window_id);
        assert_eq!(answer.open_time, opened.open_time);
        assert_eq!(answer.expire_time, Some(timestamp(at(44 * HOUR))));

        // After the end a new window begins.
        told.facts.last_qualifying = Some(wrote(25 * HOUR));
        let answer = window(&key(), &told, &policy, at(25 * HOUR + 1));
        assert_ne!(answer.window_id, opened.window_id);
        assert_eq!(answer.open_time, Some(timestamp(at(25 * HOUR))));
    }

    #[test]
    fn a_fact_that_came_after_its_own_window_has_no_window_to_name() {
        let policy = Policy::default();
        let late = Qualifying {
            received_at: at(30 * HOUR),
            ..wrote(0)
        };
        let facts = Facts {
            last_qualifying: Some(late),
            ..Facts::default()
        };
        let answer = window(&key(), &present(facts), &policy, at(30 * HOUR));
        assert_eq!(answer.closed_reason(), v1::ClosedReason::Expired);
        assert_eq!(answer.window_id, "");
        assert_eq!(answer.open_time, Some(timestamp(at(0))));
        assert_eq!(
            answer.expire_time,
            Some(timestamp(at(0) + SignedDuration::from_hours(24)))
        );
    }
}

//! Boundaries and laws of the window.

use proptest::prelude::*;

use super::*;
use crate::id::FactId;

mod facts;

const DAY: i64 = 24 * 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn wrote(second: i64) -> Qualifying {
    wrote_received(second, second)
}

fn wrote_received(second: i64, received: i64) -> Qualifying {
    Qualifying {
        at: at(second),
        fact: FactId::from_u128(u128::from(second.unsigned_abs())),
        received_at: at(received),
        provider_id: format!("wamid.{second}"),
    }
}

fn facts(last: i64) -> Facts {
    Facts {
        last_qualifying: Some(wrote(last)),
        recent: Recent::new([at(last)], None),
        ..Facts::default()
    }
}

/// Tells everything there is to tell at one time.
fn tell(published: &mut Option<Published>, facts: &Facts, now: i64) -> Vec<Event> {
    let policy = Policy::default();
    let mut told = Vec::new();
    while let Some(event) = decide(published.as_ref(), facts, &policy, at(now)) {
        *published = evolve(published.take(), &event);
        told.push(event);
        assert!(told.len() < 20, "never stops telling: {told:?}");
    }
    told
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events
        .iter()
        .map(|event| match event {
            Event::Opened {
                reason: OpenReason::Customer,
                ..
            } => "opened",
            Event::Opened {
                reason: OpenReason::LateEvidence,
                ..
            } => "opened late",
            Event::Opened {
                reason: OpenReason::Proven,
                ..
            } => "opened proven",
            Event::Extended { .. } => "extended",
            Event::Expiring { .. } => "expiring",
            Event::Expired { .. } => "expired",
            Event::Corrected { .. } => "corrected",
        })
        .collect()
}

#[test]
fn the_window_is_open_until_the_very_second_of_its_end() {
    let policy = Policy::default();
    let facts = facts(0);
    assert!(facts.is_open(&policy, at(0)));
    assert!(facts.is_open(&policy, at(DAY - 1)));
    assert!(!facts.is_open(&policy, at(DAY)));
    assert_eq!(
        facts.closed_reason(&policy, at(DAY)),
        Some(ClosedReason::Expired)
    );
    assert_eq!(facts.closed_reason(&policy, at(DAY - 1)), None);
}

#[test]
fn free_form_stops_a_guard_band_before_the_end() {
    let policy = Policy::default();
    let facts = facts(0);
    let until = at(DAY - 60);
    assert_eq!(
        facts.free_form(&policy, at(DAY - 61)),
        FreeForm::Allowed { until }
    );
    assert_eq!(
        facts.free_form(&policy, at(DAY - 60)),
        FreeForm::Refused(Refusal::GuardBand)
    );
    assert_eq!(
        facts.free_form(&policy, at(DAY)),
        FreeForm::Refused(Refusal::WindowClosed)
    );
}

#[test]
fn another_owner_of_the_thread_refuses_free_form_in_an_open_window() {
    let policy = Policy::default();
    let facts = Facts {
        thread_owner: Some(AsOf {
            at: at(0),
            value: ThreadOwner::Other,
        }),
        ..facts(0)
    };
    assert!(facts.is_open(&policy, at(1)));
    assert_eq!(
        facts.free_form(&policy, at(1)),
        FreeForm::Refused(Refusal::ThreadOwnedByOther)
    );
}

#[test]
fn who_never_wrote_has_a_closed_window_and_nothing_to_tell() {
    let policy = Policy::default();
    let facts = Facts::default();
    assert_eq!(
        facts.closed_reason(&policy, at(0)),
        Some(ClosedReason::NeverWrote)
    );
    assert_eq!(decide(None, &facts, &policy, at(0)), None);
}

#[test]
fn a_refusal_closes_unless_the_customer_or_a_proof_is_later() {
    let policy = Policy::default();
    let table = [
        // wrote, refused, proven → open at second 100
        (0, None, None, true),
        (0, Some(50), None, false),
        (50, Some(50), None, false),
        (51, Some(50), None, true),
        (0, Some(50), Some(49), false),
        (0, Some(50), Some(50), false),
        (0, Some(50), Some(51), true),
        (0, None, Some(50), true),
    ];
    for (wrote, refused, proven, open) in table {
        let facts = Facts {
            evidence: Evidence {
                refused_at: refused.map(at),
                proven_at: proven.map(at),
                ..Evidence::default()
            },
            ..facts(wrote)
        };
        assert_eq!(
            facts.is_open(&policy, at(100)),
            open,
            "{wrote} {refused:?} {proven:?}"
        );
    }
}

#[test]
fn a_window_is_told_from_opening_to_expiry() {
    let mut known = None;
    let facts = facts(0);
    assert_eq!(names(&tell(&mut known, &facts, 1)), ["opened"]);
    assert_eq!(names(&tell(&mut known, &facts, DAY - 7201)), [""; 0]);
    assert_eq!(names(&tell(&mut known, &facts, DAY - 7200)), ["expiring"]);
    assert_eq!(names(&tell(&mut known, &facts, DAY - 1)), [""; 0]);
    assert_eq!(names(&tell(&mut known, &facts, DAY)), ["expired"]);
    assert_eq!(names(&tell(&mut known, &facts, 2 * DAY)), [""; 0]);
}

#[test]
fn an_extension_is_told_only_past_the_granularity() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    assert_eq!(names(&tell(&mut known, &facts(60), 60)), [""; 0]);
    assert_eq!(names(&tell(&mut known, &facts(61), 61)), ["extended"]);
    assert_eq!(known.as_ref().unwrap().expires_at, at(61 + DAY));
}

#[test]
fn an_expiry_within_the_granularity_is_told_at_the_true_second() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    tell(&mut known, &facts(59), DAY - 7200 + 59);
    assert_eq!(names(&tell(&mut known, &facts(59), DAY + 58)), [""; 0]);
    let told = tell(&mut known, &facts(59), DAY + 59);
    assert_eq!(names(&told), ["expired"]);
    assert_eq!(told[0].window().expires_at, at(DAY + 59));
}

#[test]
fn each_lead_is_told_once_an_expiry_and_again_after_an_extension() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    assert_eq!(names(&tell(&mut known, &facts(0), DAY - 100)), ["expiring"]);
    assert_eq!(names(&tell(&mut known, &facts(0), DAY - 50)), [""; 0]);
    assert_eq!(
        names(&tell(&mut known, &facts(DAY - 40), DAY - 40)),
        ["extended"]
    );
    assert_eq!(
        names(&tell(&mut known, &facts(DAY - 40), 2 * DAY - 41 - 7199)),
        ["expiring"]
    );
}

#[test]
fn a_message_after_an_untold_expiry_ends_one_window_and_opens_another() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    let told = tell(&mut known, &facts(DAY + 61), DAY + 62);
    assert_eq!(names(&told), ["expired", "opened"]);
    assert_eq!(told[0].window().expires_at, at(DAY));
    assert_ne!(told[0].window().opening_fact, told[1].window().opening_fact);
}

#[test]
fn a_window_that_ended_while_nobody_told_is_told_as_expired_once() {
    let mut known = None;
    let facts = facts(0);
    let told = tell(&mut known, &facts, 3 * DAY);
    assert_eq!(names(&told), ["expired"]);
    assert_eq!(told[0].window().closed.unwrap().at, at(DAY));
    assert_eq!(names(&tell(&mut known, &facts, 4 * DAY)), [""; 0]);
}

#[test]
fn a_fact_that_arrives_after_its_own_window_opens_nothing() {
    let mut known = None;
    let last_qualifying = Some(wrote_received(0, DAY + 5));
    let facts = Facts {
        last_qualifying,
        ..Facts::default()
    };
    assert_eq!(names(&tell(&mut known, &facts, DAY + 6)), [""; 0]);
}

#[test]
fn late_evidence_that_is_still_current_reopens_and_names_the_window_before() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    tell(&mut known, &facts(0), DAY);
    let last_qualifying = Some(wrote_received(3600, DAY + 10));
    let late = Facts {
        last_qualifying,
        ..Facts::default()
    };
    let told = tell(&mut known, &late, DAY + 11);
    // It ends within the lead, so that is told at once.
    assert_eq!(names(&told), ["opened late", "expiring"]);
    assert_eq!(told[0].window().previous, Some(FactId::from_u128(0)));
    assert_eq!(names(&tell(&mut known, &late, DAY + 3600)), ["expired"]);
}

#[test]
fn a_refusal_corrects_and_a_proof_reopens_the_same_window() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    let refused = Facts {
        evidence: Evidence {
            refused_at: Some(at(100)),
            ..Evidence::default()
        },
        ..facts(0)
    };
    let told = tell(&mut known, &refused, 101);
    assert_eq!(names(&told), ["corrected"]);
    assert_eq!(
        told[0].window().closed.unwrap().reason,
        ClosedReason::Corrected
    );
    let proven = Facts {
        evidence: Evidence {
            proven_at: Some(at(200)),
            ..refused.evidence
        },
        ..refused
    };
    let told = tell(&mut known, &proven, 201);
    assert_eq!(names(&told), ["opened proven"]);
    assert_eq!(told[0].window().opening_fact, FactId::from_u128(0));
}

#[test]
fn a_merged_customer_closes_as_merged_and_tells_no_more() {
    let mut known = None;
    tell(&mut known, &facts(0), 0);
    let merged = Facts {
        merged_at: Some(at(5)),
        ..facts(0)
    };
    let told = tell(&mut known, &merged, 6);
    assert_eq!(names(&told), ["corrected"]);
    assert_eq!(
        told[0].window().closed.unwrap().reason,
        ClosedReason::Merged
    );
    let wrote_again = Facts {
        merged_at: Some(at(5)),
        ..facts(10)
    };
    assert_eq!(names(&tell(&mut known, &wrote_again, 11)), [""; 0]);
}

#[test]
fn an_erased_customer_closes_as_erased_and_nothing_more_is_told() {
    let mut known = None;
    assert_eq!(erase(known.as_ref(), at(5)), None, "there is none");
    tell(&mut known, &facts(0), 0);
    let event = erase(known.as_ref(), at(5)).unwrap();
    known = evolve(known, &event);
    let closed = known.as_ref().unwrap().closed.unwrap();
    assert_eq!((closed.reason, closed.at), (ClosedReason::Erased, at(5)));
    assert_eq!(erase(known.as_ref(), at(6)), None, "once");
    assert_eq!(names(&tell(&mut known, &facts(10), 11)), [""; 0]);
    let erased = Facts {
        erased_at: Some(at(5)),
        ..facts(10)
    };
    let policy = Policy::default();
    assert!(!erased.is_open(&policy, at(11)));
    assert_eq!(
        erased.closed_reason(&policy, at(11)),
        Some(ClosedReason::Erased)
    );
}

#[test]
fn the_next_deadline_is_the_first_untold_lead_and_then_the_end() {
    let policy = Policy::default();
    let mut known = None;
    let facts = facts(0);
    assert_eq!(next_deadline(None, &facts, &policy), None);
    tell(&mut known, &facts, 0);
    assert_eq!(
        next_deadline(known.as_ref(), &facts, &policy),
        Some(at(DAY - 7200))
    );
    tell(&mut known, &facts, DAY - 7200);
    assert_eq!(
        next_deadline(known.as_ref(), &facts, &policy),
        Some(at(DAY))
    );
    tell(&mut known, &facts, DAY);
    assert_eq!(next_deadline(known.as_ref(), &facts, &policy), None);
}

/// What happens to a conversation: the customer writes, Meta refuses, Meta delivers.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Wrote(i64),
    Refused(i64),
    Proven(i64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let second = 0..4 * DAY;
    let one = prop_oneof![
        3 => second.clone().prop_map(Happening::Wrote),
        1 => second.clone().prop_map(Happening::Refused),
        1 => second.prop_map(Happening::Proven),
    ];
    prop::collection::vec(one, 0..10)
}

fn learn(mut facts: Facts, happening: Happening) -> Facts {
    match happening {
        Happening::Wrote(second) => {
            facts.last_qualifying = facts.last_qualifying.max(Some(wrote(second)));
            facts.recent = facts.recent.join(Recent::new([at(second)], None));
            facts
        }
        Happening::Refused(second) => facts.with_evidence(Evidence {
            refused_at: Some(at(second)),
            ..Evidence::default()
        }),
        Happening::Proven(second) => facts.with_evidence(Evidence {
            proven_at: Some(at(second)),
            ..Evidence::default()
        }),
    }
}

proptest! {
    #[test]
    fn the_window_is_a_function_of_the_set_of_facts(
        (happened, shuffled) in happenings().prop_flat_map(|happened| {
            (Just(happened.clone()), Just(happened).prop_shuffle())
        }),
        now in 0..5 * DAY,
    ) {
        let policy = Policy::default();
        let one = happened.into_iter().fold(Facts::default(), learn);
        let other = shuffled.into_iter().fold(Facts::default(), learn);
        prop_assert_eq!(one.is_open(&policy, at(now)), other.is_open(&policy, at(now)));
        prop_assert_eq!(one, other);
    }

    /// Facts come one by one at rising times; at each step everything is told.
    #[test]
    fn what_is_told_never_runs_ahead_of_the_facts(
        happened in happenings(),
        delays in prop::collection::vec(0..DAY, 10),
    ) {
        let policy = Policy::default();
        let mut known = None;
        let mut facts = Facts::default();
        let mut now = 0;
        let mut expired = Vec::new();
        for (happening, delay) in happened.into_iter().zip(delays) {
            let (Happening::Wrote(second) | Happening::Refused(second) | Happening::Proven(second)) = happening;
            now = now.max(second) + delay;
            facts = learn(facts, happening);
            for event in tell(&mut known, &facts, now) {
                let window = event.window();
                let last = facts.last_qualifying.clone().unwrap();
                prop_assert!(window.expires_at <= last.at + policy.length, "never late");
                match &event {
                    Event::Opened { .. } => prop_assert!(at(now) < window.expires_at),
                    Event::Expired { .. } => {
                        prop_assert!(at(now) >= window.expires_at, "never early");
                        prop_assert!(!expired.contains(&(window.opening_fact, window.expires_at)), "once");
                        expired.push((window.opening_fact, window.expires_at));
                    }
                    Event::Extended { .. } | Event::Expiring { .. } | Event::Corrected { .. } => {
                        prop_assert!(window.closed.is_some() || at(now) < window.expires_at);
                    }
                }
            }
            // Nothing is left to tell, and what was told agrees with the truth.
            let told_open = known.as_ref().is_some_and(|window: &Published| window.closed.is_none());
            prop_assert_eq!(told_open, facts.is_open(&policy, at(now)));
            if told_open {
                let lag = (facts.expires_at(&policy).unwrap())
                    .duration_since(known.as_ref().unwrap().expires_at);
                prop_assert!(lag >= SignedDuration::ZERO && lag <= policy.granularity);
            }
        }
    }
}

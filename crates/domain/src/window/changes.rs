//! Every order in which a move of the number, another user id, a message and a proof can happen,
//! times every order in which they can reach us: the latest word decides, and what is told agrees.

use super::*;
use crate::id::FactId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The customer writes.
    Wrote,
    /// The number moves to another business account or provider.
    Moved,
    /// The platform gives the customer another user id.
    Renamed,
    /// Meta delivers what a free-form call sent.
    Proven,
}

const STEPS: [Step; 4] = [Step::Wrote, Step::Moved, Step::Renamed, Step::Proven];

fn orders() -> Vec<Vec<Step>> {
    let mut orders = vec![Vec::new()];
    for _ in STEPS {
        let longer = orders.iter().flat_map(|order: &Vec<Step>| {
            let left = STEPS.iter().filter(|step| !order.contains(step));
            left.map(|step| [order.as_slice(), &[*step]].concat())
        });
        orders = longer.collect();
    }
    assert_eq!(orders.len(), 24);
    orders
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn wrote(second: i64) -> Qualifying {
    Qualifying {
        at: at(second),
        fact: FactId::from_u128(u128::from(second.unsigned_abs()) + 1),
        received_at: at(second),
        provider_id: String::new(),
    }
}

/// When a step of an order happened: an hour after the one before, all after the first message.
fn hour(happened: &[Step], step: Step) -> i64 {
    let place = happened.iter().position(|one| *one == step).unwrap();
    (i64::try_from(place).unwrap() + 1) * 3600
}

/// The rule, said once more: open unless a change that counts is not older than both the last
/// message and the last proof.
fn should_be_open(arrived: &[Step], happened: &[Step], carry_over: CarryOver) -> bool {
    let latest = |steps: &[(Step, bool)]| {
        let counting = steps
            .iter()
            .filter(|(step, counts)| *counts && arrived.contains(step));
        counting.map(|(step, _)| hour(happened, *step)).max()
    };
    let change = latest(&[
        (Step::Moved, !carry_over.migration),
        (Step::Renamed, !carry_over.user_id),
    ]);
    let word = latest(&[(Step::Wrote, true), (Step::Proven, true)]);
    change.is_none() || change < word
}

#[test]
fn in_every_order_the_latest_word_decides_and_each_end_is_told_once() {
    for (migration, user_id) in [(false, false), (true, false), (false, true), (true, true)] {
        let policy = Policy {
            carry_over: CarryOver { migration, user_id },
            ..Policy::default()
        };
        for happened in orders() {
            for arrived in orders() {
                let case = format!("{migration} {user_id} {happened:?} {arrived:?}");
                run(&policy, &happened, &arrived, &case);
            }
        }
    }
}

fn run(policy: &Policy, happened: &[Step], arrived: &[Step], case: &str) {
    // All reaches us while the first message's window lasts.
    let now = at(5 * 3600);
    let mut facts = Facts {
        last_qualifying: Some(wrote(0)),
        ..Facts::default()
    };
    let mut known = None;
    tell(&mut known, &facts, policy, now, case);
    for (index, step) in arrived.iter().enumerate() {
        let second = hour(happened, *step);
        match step {
            Step::Wrote => facts.last_qualifying = facts.last_qualifying.max(Some(wrote(second))),
            Step::Moved => facts.number_migrated_at = Some(at(second)),
            Step::Renamed => facts.user_id_changed_at = Some(at(second)),
            Step::Proven => facts.evidence.proven_at = Some(at(second)),
        }
        tell(&mut known, &facts, policy, now, case);
        let expected = should_be_open(&arrived[..=index], happened, policy.carry_over);
        assert_eq!(facts.is_open(policy, now), expected, "{case}");
        let window = known.as_ref().unwrap();
        assert_eq!(window.closed.is_none(), expected, "{case}: {window:?}");
        // The answer names the latest change; what was told names the one that closed it.
        let changes = [
            (facts.number_migrated_at, ClosedReason::NumberMigrated),
            (facts.user_id_changed_at, ClosedReason::UserIdChanged),
        ];
        let of_time = |at: Option<Timestamp>| {
            let known = changes.iter().filter(|(known, _)| known.is_some());
            known.copied().find(|(known, _)| *known == at)
        };
        if let Some(closed) = window.closed {
            assert_eq!(
                Some((Some(closed.at), closed.reason)),
                of_time(Some(closed.at)),
                "{case}"
            );
            let (at, reason) = facts.cut(policy).unwrap();
            assert_eq!(Some((Some(at), reason)), of_time(Some(at)), "{case}");
            assert_eq!(facts.closed_reason(policy, now), Some(reason), "{case}");
        }
    }
}

/// Tells all there is to tell, and that no end is told of what is closed.
fn tell(known: &mut Option<Published>, facts: &Facts, policy: &Policy, now: Timestamp, case: &str) {
    for _ in 0..10 {
        let Some(event) = decide(known.as_ref(), facts, policy, now) else {
            return;
        };
        let is_open = known.as_ref().is_some_and(|window| window.closed.is_none());
        match event {
            Event::Opened { .. } => assert!(!is_open, "{case}: opened twice"),
            _ => assert!(is_open, "{case}: {event:?} of what is closed"),
        }
        *known = evolve(known.take(), &event);
    }
    panic!("{case}: never stops telling");
}

//! What a policy's conditions do to decisions.

use super::*;
use crate::money::{Amount, Category, Currency, Estimate, Unpriced};

fn amount(micros: u64, currency: &str) -> Amount {
    Amount {
        micros,
        currency: Currency::parse(currency).unwrap(),
    }
}

fn step(route: Route, conditions: Conditions) -> Step {
    Step { route, conditions }
}

fn policy(steps: Vec<Step>) -> Policy {
    let name = "careful".to_owned();
    Policy { name, steps }
}

/// The reason of the first step, if it is the only one that there is a condition for.
fn first(conditions: Conditions, route: Route, case: Case, now: i64) -> (Verdict, &'static str) {
    let case = Case {
        policy: policy(vec![step(route, conditions), Route::Sms.into()]),
        ..case
    };
    let decision = case.decide(now);
    assert_eq!(decision.policy, "careful");
    let first = &decision.candidates[0];
    (first.verdict, first.reason)
}

#[test]
fn each_condition_rules_its_route_out_and_no_other() {
    use Stoppable::{Marketing, Sms};
    use Verdict::{Chosen, RuledOut};
    use WindowIs::{Closed, Open};
    let window = |is| Conditions {
        window: Some(is),
        ..Conditions::default()
    };
    let purposes = |purposes: &[Purpose]| Conditions {
        purposes: purposes.to_vec(),
        ..Conditions::default()
    };
    let unless = |stopped| Conditions {
        unless_stopped: vec![stopped],
        ..Conditions::default()
    };
    let refuses = |marketing, sms| Case {
        consent: Refusals {
            marketing,
            sms,
            sequence: Some(7),
        },
        ..Case::default()
    };
    let plain = Case::default;
    let guard = DAY - 60;
    for (name, conditions, case, now, expected) in vec![
        (
            "open",
            window(Open),
            plain(),
            10,
            (Chosen, "TEMPLATE_USABLE"),
        ),
        (
            "no more",
            window(Open),
            plain(),
            DAY,
            (RuledOut, "POLICY_WINDOW"),
        ),
        (
            "not yet",
            window(Closed),
            plain(),
            10,
            (RuledOut, "POLICY_WINDOW"),
        ),
        (
            "closed",
            window(Closed),
            plain(),
            DAY,
            (Chosen, "TEMPLATE_USABLE"),
        ),
        (
            "last moment",
            window(Closed),
            plain(),
            guard - 1,
            (RuledOut, "POLICY_WINDOW"),
        ),
        (
            "guard band",
            window(Closed),
            plain(),
            guard,
            (Chosen, "TEMPLATE_USABLE"),
        ),
        (
            "for it",
            purposes(&[Purpose::Utility, Purpose::Service]),
            plain(),
            10,
            (Chosen, "TEMPLATE_USABLE"),
        ),
        (
            "not for it",
            purposes(&[Purpose::Authentication]),
            plain(),
            10,
            (RuledOut, "POLICY_PURPOSE"),
        ),
        (
            "stopped",
            unless(Marketing),
            refuses(true, false),
            10,
            (RuledOut, "MARKETING_STOPPED"),
        ),
        (
            "stopped another",
            unless(Marketing),
            refuses(false, true),
            10,
            (Chosen, "TEMPLATE_USABLE"),
        ),
        (
            "stopped SMS",
            unless(Sms),
            refuses(false, true),
            10,
            (RuledOut, "SMS_STOPPED"),
        ),
    ] {
        let found = first(conditions, Route::Template, case, now);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_route_that_costs_more_or_an_unknown_sum_is_ruled_out() {
    let limit = |limit| Conditions {
        max_cost: Some(limit),
        ..Conditions::default()
    };
    let priced = |sms| Case {
        costs: Costs {
            sms,
            ..Costs::default()
        },
        ..Case::default()
    };
    let cost = |amount| {
        Some(Ok(Estimate {
            category: Category::Sms,
            amount,
            free: None,
        }))
    };
    let cents = |cents: u64| amount(cents * 10_000, "EUR");
    for (sms, reason) in [
        (cost(cents(5)), "SMS_POSSIBLE"),
        (cost(cents(4)), "SMS_POSSIBLE"),
        (cost(cents(6)), "POLICY_COST"),
        (cost(amount(1, "USD")), "COST_UNKNOWN"),
        (Some(Err(Unpriced::NoRate)), "COST_UNKNOWN"),
        (None, "COST_UNKNOWN"),
    ] {
        let case = Case {
            policy: policy(vec![step(Route::Sms, limit(cents(5))), Route::Hold.into()]),
            ..priced(sms)
        };
        let decision = case.decide(2 * DAY);
        assert_eq!(decision.candidates[0].reason, reason, "{sms:?}");
        let facts = &decision.candidates[0].facts;
        assert!(
            facts.contains(&"policy_max_cost=0.05 EUR".to_owned()),
            "{facts:?}"
        );
    }
}

#[test]
fn a_route_may_come_twice_and_is_reported_by_its_better_half() {
    let codes = Conditions {
        purposes: vec![Purpose::Authentication],
        ..Conditions::default()
    };
    let steps = vec![
        step(Route::Sms, codes),
        Route::FreeForm.into(),
        Route::Sms.into(),
    ];
    let case = |purpose| Case {
        purpose,
        policy: policy(steps.clone()),
        ..Case::default()
    };
    let code = case(Purpose::Authentication).decide(10);
    assert_eq!(code.chosen, Some(Route::Sms));
    let verdicts: Vec<_> = code.candidates.iter().map(|one| one.verdict).collect();
    let (chosen, eligible) = (Verdict::Chosen, Verdict::Eligible);
    assert_eq!(verdicts, [chosen, eligible, eligible]);
    let answer = case(Purpose::Service).decide(10);
    assert_eq!(answer.chosen, Some(Route::FreeForm));
    assert_eq!(answer.candidate(Route::Sms).unwrap().reason, "SMS_POSSIBLE");
}

#[test]
fn a_decision_says_when_a_window_that_the_policy_wants_closed_closes() {
    let closed = Conditions {
        window: Some(WindowIs::Closed),
        ..Conditions::default()
    };
    let case = Case {
        policy: policy(vec![step(Route::Template, closed)]),
        window: Facts {
            thread_owner: Some(AsOf {
                at: at(0),
                value: ThreadOwner::Other,
            }),
            ..wrote(0)
        },
        ..Case::default()
    };
    assert_eq!(case.decide(10).next_change_at, Some(at(DAY - 60)));
    assert_eq!(case.decide(DAY - 60).next_change_at, None);
}

pub(super) fn conditions() -> impl Strategy<Value = Conditions> {
    let window = prop::option::of(prop_oneof![Just(WindowIs::Open), Just(WindowIs::Closed)]);
    let purposes = vec![Purpose::Service, Purpose::Marketing];
    let purposes = prop::sample::subsequence(purposes, 0..=2);
    let stopped = prop::sample::subsequence(vec![Stoppable::Marketing, Stoppable::Sms], 0..=2);
    let hours = prop::option::of(super::quiet::hours());
    let cost = prop::option::of((0_u64..3).prop_map(|micros| amount(micros, "EUR")));
    (window, purposes, stopped, hours, cost).prop_map(
        |(window, purposes, unless_stopped, quiet_hours, max_cost)| Conditions {
            window,
            purposes,
            unless_stopped,
            opt_in: None,
            quiet_hours,
            max_cost,
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    let route = prop::sample::select(Route::ALL.to_vec());
    let steps = (route, conditions()).prop_map(|(route, conditions)| step(route, conditions));
    prop::collection::vec(steps, 1..6).prop_map(policy)
}

proptest! {
    #[test]
    fn conditions_only_ever_rule_out(
        case in cases(), policy in policies(), zone in super::quiet::zones(), now in 0..3 * DAY,
    ) {
        let bare = Policy {
            steps: policy.steps.iter().map(|step| step.route.into()).collect(),
            ..policy.clone()
        };
        let under = |policy| Case { policy, zones: zone.clone(), ..case.clone() };
        let without = under(bare).decide(now);
        let with = under(policy.clone()).decide(now);
        prop_assert_eq!(with.candidates.len(), policy.steps.len());
        for (with, without) in with.candidates.iter().zip(&without.candidates) {
            prop_assert_eq!(with.route, without.route);
            let (can, could) = (Verdict::RuledOut != with.verdict, Verdict::RuledOut != without.verdict);
            prop_assert!(could || !can, "{:?} against {:?}", with, without);
            prop_assert!(!with.reason.is_empty() && with.text.ends_with('.'));
        }
        let chosen: Vec<_> = with.candidates.iter().filter(|one| one.verdict == Verdict::Chosen).collect();
        prop_assert!(chosen.len() <= 1);
        prop_assert_eq!(chosen.first().map(|one| one.route), with.chosen);
    }

    #[test]
    fn nothing_changes_before_a_decision_says_that_it_may(
        case in cases(), policy in policies(), zone in super::quiet::zones(),
        now in 0..2 * DAY, later in 0..DAY,
    ) {
        let case = Case { policy, zones: zone, ..case };
        let before = case.decide(now);
        let is_before = before.next_change_at.is_none_or(|change| at(now + later) < change);
        // Of the guard band and what the message's own end changes nobody asks here.
        let in_guard = case.window.expires_at(&WindowPolicy::default()).is_some_and(|end| {
            let guard = WindowPolicy::default().guard;
            at(now + later) >= end - guard && at(now) < end
        });
        let ends = before.quiet_until.is_some_and(|until| at(now + later) >= until);
        prop_assume!(is_before && !in_guard && !ends);
        let after = case.decide(now + later);
        prop_assert_eq!(before.chosen, after.chosen);
    }
}

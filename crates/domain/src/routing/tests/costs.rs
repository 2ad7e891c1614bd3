//! What prices and caps do to decisions.

use super::*;
use crate::money::{Amount, Cap, Category, Currency, Estimate, Free, Unpriced};

fn amount(micros: u64) -> Amount {
    Amount {
        micros,
        currency: Currency::parse("EUR").unwrap(),
    }
}

fn costing(micros: u64) -> Estimate {
    Estimate {
        category: Category::Utility,
        amount: amount(micros),
        free: (micros == 0).then_some(Free::FreeTier),
    }
}

/// Free-form is free, a template costs 5 and an SMS 7; so much of 100 is spent.
fn case(spent: u64) -> Case {
    Case {
        costs: Costs {
            free_form: Some(Ok(costing(0))),
            template: Some(Ok(costing(5))),
            sms: Some(Ok(costing(7))),
            caps: vec![Cap {
                of: "number",
                limit: amount(100),
                spent: amount(spent),
            }],
        },
        ..Case::default()
    }
}

#[test]
fn a_cap_rules_out_what_does_not_fit_and_the_next_route_is_tried() {
    use Route::{FreeForm, Hold, Template};
    for (spent, now, chosen) in [
        (0, 10, FreeForm),
        (500, 10, FreeForm),
        (95, DAY, Template),
        (96, DAY, Hold),
    ] {
        let decision = case(spent).decide(now);
        assert_eq!(decision.chosen, Some(chosen), "{spent} {now}");
        assert_eq!(decision.costs, case(spent).costs, "told with the decision");
    }
    let decision = case(94).decide(DAY);
    let template = decision.candidate(Route::Template).unwrap();
    assert!(template.facts.contains(&"cost=0.000005 EUR".to_owned()));
    let sms = decision.candidate(Route::Sms).unwrap();
    assert_eq!(
        (sms.verdict, sms.reason),
        (Verdict::RuledOut, "MONTHLY_CAP")
    );
    for fact in ["cap_of=number", "cap=0.0001 EUR", "spent=0.000094 EUR"] {
        assert!(sms.facts.iter().any(|one| one == fact), "{:?}", sms.facts);
    }
    assert!(sms.text.contains("the number's cap"), "{}", sms.text);
}

#[test]
fn a_route_without_a_price_is_ruled_out_under_a_cap_and_only_there() {
    let unpriced = |has_cap: bool| {
        let mut case = case(0);
        case.costs.template = Some(Err(Unpriced::NoRate));
        if !has_cap {
            case.costs.caps.clear();
        }
        let decision = case.decide(DAY);
        decision.candidate(Route::Template).unwrap().reason
    };
    assert_eq!(unpriced(true), "PRICE_UNKNOWN");
    assert_eq!(unpriced(false), "TEMPLATE_USABLE");
}

#[test]
fn what_could_not_go_anyway_keeps_its_own_reason() {
    let mut broke = case(100);
    broke.template = None;
    broke.has_phone = false;
    let decision = broke.decide(DAY);
    assert_eq!(
        decision.candidate(Route::Template).unwrap().reason,
        "NO_TEMPLATE_CONTENT"
    );
    assert_eq!(decision.candidate(Route::Sms).unwrap().reason, "NO_PHONE");
}

proptest! {
    #[test]
    fn nothing_that_costs_is_chosen_past_a_cap(spent in 0_u64..200, now in 0_i64..2 * DAY) {
        let decision = case(spent).decide(now);
        let cost = decision.chosen.and_then(|route| decision.costs.of(route));
        let cost = cost.map_or(0, |amount| amount.micros);
        prop_assert!(cost == 0 || spent + cost <= 100);
    }
}

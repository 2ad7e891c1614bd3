//! Reservations: what is counted when, and that a cap holds however many are in hand.

use std::sync::Arc;

use casement_domain::id::BusinessNumber;
use casement_domain::money::{Category, Currency, ELSEWHERE, Estimate, Rate, RateCard, Terms};
use casement_domain::routing::{self, Purpose};
use jiff::civil::date;

use super::*;

fn at() -> Timestamp {
    "2026-11-10T12:00:00Z".parse().unwrap()
}

fn plan(cap: u64) -> Plan {
    let card = RateCard {
        currency: Currency::parse("EUR").unwrap(),
        rates: vec![Rate {
            from: date(2026, 1, 1),
            country: ELSEWHERE.to_owned(),
            prices: [(Category::Utility, 10)].into(),
        }],
        sms: Vec::new(),
        terms: Terms::PLATFORM.to_vec(),
    };
    Plan::of(card, &[("b", cap)])
}

fn owner() -> Owner {
    Owner {
        number: "15550001111".to_owned(),
        brand: "b".to_owned(),
    }
}

fn id(unique: u128) -> MessageId {
    MessageId::new(&BusinessNumber::parse("15550001111").unwrap(), unique)
}

fn costs(money: &Money) -> Costs {
    let reading = Reading {
        has_free_form: true,
        template: Some(Some(routing::TemplateCategory::Utility)),
        purpose: Purpose::Utility,
        sms: None,
    };
    let facts = (&Facts::default(), &Policy::default());
    money.costs(&reading, &owner(), Some("49151"), facts, at())
}

fn claim(money: &Money, unique: u128, route: Route) -> Reserved {
    take(money, unique, route, &costs(money))
}

fn take(money: &Money, unique: u128, route: Route, decided: &Costs) -> Reserved {
    let (id, owner) = (id(unique), owner());
    let claim = Claim {
        id: &id,
        attempt: 1,
        route,
        owner: &owner,
    };
    money.reserve_claim(&claim, decided, at())
}

fn started(cost: v1::Cost) -> Event {
    v1::AttemptStarted {
        conversation: Some(v1::Conversation {
            number: owner().number,
            brand_id: owner().brand,
            ..v1::Conversation::default()
        }),
        attempt: 1,
        cost: Some(cost),
        ..v1::AttemptStarted::default()
    }
    .into()
}

fn spent(money: &Money) -> u64 {
    let month = Month::of(date(2026, 11, 10));
    money.book().ledger.of_brand("b", month).micros
}

#[test]
fn many_at_once_that_were_decided_together_stay_within_the_cap() {
    let money = Arc::new(Money::new(Some(plan(55))));
    // All decided while nothing was spent.
    let together = costs(&money);
    let threads = (0..32).map(|unique| {
        let (money, together) = (Arc::clone(&money), together.clone());
        std::thread::spawn(move || take(&money, unique, Route::Template, &together))
    });
    let threads: Vec<_> = threads.collect();
    let through = threads.into_iter().map(|thread| thread.join().unwrap());
    let through = through.filter(|one| *one != Reserved::No).count();
    assert_eq!(through, 5);
    assert_eq!(spent(&money), 50);
    assert!(matches!(
        costs(&money).allowance(Route::Template),
        Allowance::Passed(cap) if cap.of == "brand" && cap.spent.micros == 50
    ));
}

#[test]
fn a_claim_counts_once_whether_it_is_heard_of_or_given_back() {
    let money = Money::new(Some(plan(1_000)));
    let Reserved::Yes(Some(cost)) = claim(&money, 1, Route::Template) else {
        panic!("not reserved");
    };
    assert_eq!(spent(&money), 10);
    assert_eq!(
        money
            .book()
            .on_record()
            .all()
            .map(|(_, _, part)| part.micros)
            .sum::<u64>(),
        0,
        "not yet on the log"
    );
    money.hear(&id(1), &started(cost.clone()));
    assert_eq!(spent(&money), 10);
    money.give_back(&id(1), 1);
    assert_eq!(spent(&money), 10, "the log knows it");
    assert_ne!(claim(&money, 2, Route::Template), Reserved::No);
    assert_eq!(spent(&money), 20);
    money.give_back(&id(2), 1);
    assert_eq!(spent(&money), 10);
    // What a report says takes the place of what was reserved.
    let billed = v1::MessageBilled {
        conversation: Some(v1::Conversation {
            number: owner().number,
            brand_id: owner().brand,
            ..v1::Conversation::default()
        }),
        attempt: 1,
        cost: Some(v1::Cost {
            counted: cost
                .counted
                .clone()
                .map(|part| v1::Spend { micros: 3, ..part }),
            replaced: cost.counted,
            ..v1::Cost::default()
        }),
        ..v1::MessageBilled::default()
    };
    money.hear(&id(1), &billed.into());
    assert_eq!(spent(&money), 3);
}

#[test]
fn the_free_tier_is_used_up_one_by_one() {
    let mut plan = plan(1_000);
    plan.card.terms = vec![Terms {
        from: date(2026, 10, 1),
        service_is_free: false,
        utility_in_window_is_free: false,
        free_service_messages: 2,
    }];
    let money = Money::new(Some(plan));
    let together = costs(&money);
    for unique in 1..=2 {
        assert_ne!(
            take(&money, unique, Route::FreeForm, &together),
            Reserved::No
        );
    }
    assert_eq!(spent(&money), 0);
    assert_eq!(
        take(&money, 3, Route::FreeForm, &together),
        Reserved::No,
        "decided as free, and no longer is"
    );
    let free_form: Estimate = costs(&money).free_form.unwrap().unwrap();
    assert_eq!((free_form.amount.micros, free_form.free), (10, None));
    assert_ne!(claim(&money, 3, Route::FreeForm), Reserved::No);
    assert_eq!(spent(&money), 10);
}

#[test]
fn without_a_rate_card_nothing_is_priced_or_kept() {
    let money = Money::new(None);
    assert_eq!(costs(&money), Costs::default());
    assert_eq!(claim(&money, 1, Route::Template), Reserved::Yes(None));
    assert!(money.book().pending.is_empty());
}

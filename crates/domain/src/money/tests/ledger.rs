//! What months have cost, added and taken back.

use super::*;

fn owner(number: u8, brand: u8) -> Owner {
    Owner {
        number: number.to_string(),
        brand: brand.to_string(),
    }
}

#[test]
fn a_ledger_adds_by_number_and_by_brand_and_forgets_old_months() {
    let (older, newer) = (Month::of(date(2026, 10, 1)), Month::of(date(2026, 11, 1)));
    let spend = |micros, free_service_messages| Spend {
        micros,
        free_service_messages,
    };
    let mut ledger = Ledger::default();
    ledger.add(&owner(1, 1), older, spend(5, 1));
    ledger.add(&owner(1, 1), newer, spend(10, 2));
    ledger.add(&owner(2, 1), newer, spend(7, 0));
    ledger.add(&owner(1, 2), newer, spend(0, 3));
    ledger.take_back(&owner(1, 1), newer, spend(4, 1));
    // Before it is added, what is taken back is worth nothing.
    ledger.take_back(&owner(3, 1), newer, spend(9, 0));
    assert_eq!(ledger.of_number("1", newer), spend(6, 4));
    assert_eq!(ledger.of_number("2", newer), spend(7, 0));
    assert_eq!(ledger.of_number("3", newer), spend(0, 0));
    assert_eq!(ledger.of_brand("1", newer), spend(4, 1));
    assert_eq!(ledger.of_brand("2", newer), spend(0, 3));
    assert_eq!(ledger.of_number("1", older), spend(5, 1));

    let unchanged = ledger.clone();
    ledger.add(&owner(9, 9), newer, Spend::default());
    assert_eq!(ledger, unchanged, "what is free of anything is not kept");
    ledger.forget_before(newer);
    assert_eq!(ledger.of_number("1", older), Spend::default());
    assert_eq!(ledger.of_brand("1", older), Spend::default());
    assert_eq!(ledger.of_number("1", newer), spend(6, 4));
    assert_eq!(ledger.of_brand("1", newer), spend(4, 1));
    assert_eq!(ledger.all().count(), 4);
    assert!(ledger.all().all(|(month, ..)| month == newer));
}

proptest! {
    #[test]
    fn a_ledger_is_the_same_in_any_order_and_what_is_taken_back_leaves_nothing(
        parts in proptest::collection::vec((0_u8..3, 0_u8..2, 1_i8..=3, 0_u64..1_000, 0_u64..2), 0..20),
        seed: u64,
    ) {
        let month = |month| Month::of(date(2026, month, 1));
        let mut changes = Vec::new();
        for (number, brand, of, micros, free) in &parts {
            let spend = Spend { micros: *micros, free_service_messages: *free };
            changes.push((true, owner(*number, *brand), month(*of), spend));
            changes.push((false, owner(*number, *brand), month(*of), spend));
        }
        let apply = |changes: &[(bool, Owner, Month, Spend)]| {
            let mut ledger = Ledger::default();
            for (adds, owner, month, spend) in changes {
                if *adds {
                    ledger.add(owner, *month, *spend);
                } else {
                    ledger.take_back(owner, *month, *spend);
                }
            }
            ledger
        };
        let added: Vec<_> = changes.iter().filter(|change| change.0).cloned().collect();
        let mut turned = changes.clone();
        let length = turned.len().max(1);
        turned.rotate_left(usize::try_from(seed % 64).unwrap() % length);
        prop_assert_eq!(apply(&changes), apply(&turned));
        for (_, _, spend) in apply(&turned).all() {
            prop_assert_eq!(spend, Spend::default());
        }
        // A brand is the sum of its numbers, and a number of its brands.
        let ledger = apply(&added);
        for of in 1..=3 {
            let all: u64 = ledger.all().filter(|(at, ..)| *at == month(of)).map(|(_, _, spend)| spend.micros).sum();
            let brands: u64 = (0..2_u8).map(|brand| ledger.of_brand(&brand.to_string(), month(of)).micros).sum();
            let numbers: u64 = (0..3_u8).map(|number| ledger.of_number(&number.to_string(), month(of)).micros).sum();
            prop_assert_eq!(brands, all);
            prop_assert_eq!(numbers, all);
        }
    }
}

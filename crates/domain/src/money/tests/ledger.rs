//! What a ledger counts, and what it forgets.

use super::*;

fn month(month: i8) -> Month {
    Month::of(date(2026, month, 1))
}

fn spend(micros: u64, free_service_messages: u64) -> Spend {
    Spend {
        micros,
        free_service_messages,
    }
}

/// Two numbers of one brand, in each month of a spring.
fn spring() -> Ledger {
    let mut ledger = Ledger::default();
    for of in 3..=5 {
        ledger.add(&owner(1, 1), month(of), spend(100, 1));
        ledger.add(&owner(1, 1), month(of), spend(50, 2));
        ledger.add(&owner(2, 1), month(of), spend(7, 0));
    }
    ledger
}

#[test]
fn a_number_has_spent_its_own_and_a_brand_that_of_its_numbers() {
    let ledger = spring();
    for of in 3..=5 {
        assert_eq!(ledger.of_number("1", month(of)), spend(150, 3));
        assert_eq!(ledger.of_number("2", month(of)), spend(7, 0));
        assert_eq!(ledger.of_brand("1", month(of)), spend(157, 3));
    }
    assert_eq!(ledger.of_brand("1", month(6)), Spend::default());
    assert_eq!(ledger.of_brand("2", month(3)), Spend::default());
}

#[test]
fn what_is_taken_back_was_not_spent_even_if_it_is_taken_back_first() {
    let mut ledger = Ledger::default();
    ledger.take_back(&owner(1, 1), month(3), spend(30, 1));
    let nothing = Spend::default();
    assert_eq!(
        ledger.of_number("1", month(3)),
        nothing,
        "not below nothing"
    );
    ledger.add(&owner(1, 1), month(3), spend(100, 2));
    let (march, left) = (month(3), spend(70, 1));
    assert_eq!(ledger.of_number("1", march), left);
    assert_eq!(ledger.of_brand("1", march), left);
    let all: Vec<_> = ledger.all().collect();
    assert_eq!(all, [(march, &owner(1, 1), left)]);
}

#[test]
fn what_cost_nothing_leaves_no_trace() {
    let mut ledger = spring();
    ledger.add(&owner(9, 9), month(3), Spend::default());
    ledger.take_back(&owner(1, 1), month(6), Spend::default());
    assert_eq!(ledger, spring());
}

#[test]
fn months_before_one_are_forgotten_and_it_and_later_ones_are_not() {
    let mut ledger = spring();
    ledger.forget_before(month(4));
    for (of, number, brand) in [
        (3, Spend::default(), Spend::default()),
        (4, spend(150, 3), spend(157, 3)),
        (5, spend(150, 3), spend(157, 3)),
    ] {
        assert_eq!(ledger.of_number("1", month(of)), number, "{of}");
        assert_eq!(ledger.of_brand("1", month(of)), brand, "{of}");
    }
    let left: Vec<_> = ledger.all().map(|(of, ..)| of).collect();
    assert_eq!(left, [month(4), month(4), month(5), month(5)]);
}

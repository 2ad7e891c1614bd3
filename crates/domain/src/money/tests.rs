//! Boundaries and laws of money.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::routing::{Purpose, Route, TemplateCategory};

mod ledger;
mod words;

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn rate(from: Date, country: &str, prices: &[(Category, u64)]) -> Rate {
    Rate {
        from,
        country: country.to_owned(),
        prices: prices.iter().copied().collect(),
    }
}

fn segment(from: Date, country: &str, gateway: &str, segment: u64) -> SmsRate {
    SmsRate {
        from,
        country: country.to_owned(),
        gateway: gateway.to_owned(),
        segment,
    }
}

fn card() -> RateCard {
    use Category::{Authentication, AuthenticationInternational, Marketing, Service, Utility};
    let (spring, autumn) = (date(2026, 4, 1), date(2026, 10, 1));
    RateCard {
        currency: eur(),
        rates: vec![
            rate(
                spring,
                ELSEWHERE,
                &[(Utility, 10), (Marketing, 100), (Authentication, 12)],
            ),
            rate(spring, "49", &[(Utility, 50), (Marketing, 110)]),
            rate(autumn, "49", &[(Utility, 55), (Service, 40)]),
            rate(spring, "4915", &[(Marketing, 111)]),
            rate(
                spring,
                "91",
                &[(Authentication, 2), (AuthenticationInternational, 30)],
            ),
        ],
        sms: vec![
            segment(spring, ELSEWHERE, ELSEWHERE, 70),
            segment(spring, "49", ELSEWHERE, 80),
            segment(spring, "49", "main", 75),
            segment(autumn, "49", ELSEWHERE, 85),
        ],
        terms: Terms::PLATFORM.to_vec(),
    }
}

#[test]
fn the_row_that_fits_best_and_is_valid_prices_a_message() {
    use Category::{Authentication, AuthenticationInternational, Marketing, Service, Utility};
    let (summer, winter) = (date(2026, 7, 1), date(2026, 12, 1));
    let table = [
        (Utility, Some("491512345678"), summer, Some(50)),
        (Utility, Some("491512345678"), date(2026, 9, 30), Some(50)),
        (Utility, Some("491512345678"), date(2026, 10, 1), Some(55)),
        (Utility, Some("491512345678"), date(2026, 3, 31), None),
        (Marketing, Some("491512345678"), winter, Some(111)),
        (Marketing, Some("493012345678"), winter, Some(110)),
        (Authentication, Some("491512345678"), winter, Some(12)),
        (Service, Some("491512345678"), summer, Some(50)),
        (Service, Some("491512345678"), winter, Some(40)),
        (Service, Some("33612345678"), winter, Some(10)),
        (Utility, None, winter, Some(10)),
        (
            AuthenticationInternational,
            Some("919812345678"),
            winter,
            Some(30),
        ),
        (
            AuthenticationInternational,
            Some("33612345678"),
            winter,
            None,
        ),
    ];
    for (category, phone, on, price) in table {
        assert_eq!(
            card().price(category, phone, on),
            price,
            "{category:?} {phone:?} {on}"
        );
    }
    for (gateway, phone, on, price) in [
        ("main", "49151", summer, 75),
        ("main", "49151", winter, 75),
        ("spare", "49151", summer, 80),
        ("spare", "49151", winter, 85),
        ("main", "33612", winter, 70),
    ] {
        assert_eq!(
            card().segment(gateway, Some(phone), on),
            Some(price),
            "{gateway} {phone} {on}"
        );
    }
}

fn at(on: Date) -> Circumstances<'static> {
    Circumstances {
        on,
        phone: Some("491512345678"),
        number: "493000000000",
        window_is_open: true,
        entry_point_is_open: false,
        free_service_messages_used: 0,
    }
}

fn reading(template: Option<TemplateCategory>) -> Reading<'static> {
    Reading {
        has_free_form: true,
        template: Some(template),
        purpose: Purpose::Utility,
        sms: Some((3, "main")),
    }
}

#[test]
fn what_is_free_follows_the_platforms_terms_of_the_day() {
    use TemplateCategory::{Marketing, Utility};
    let (before, after) = (date(2026, 9, 30), date(2026, 10, 1));
    let used_up = Circumstances {
        free_service_messages_used: 1_000,
        ..at(after)
    };
    let closed = Circumstances {
        window_is_open: false,
        ..at(before)
    };
    let entry_point = Circumstances {
        entry_point_is_open: true,
        free_service_messages_used: 1_000,
        ..at(after)
    };
    let one_left = Circumstances {
        free_service_messages_used: 999,
        ..at(after)
    };
    let table = [
        (
            "service was free",
            at(before),
            Utility,
            (0, Some(Free::Window)),
            (0, Some(Free::Window)),
        ),
        (
            "outside utility never was",
            closed,
            Utility,
            (0, Some(Free::Window)),
            (50, None),
        ),
        (
            "marketing never was",
            at(before),
            Marketing,
            (0, Some(Free::Window)),
            (111, None),
        ),
        (
            "a tier since",
            at(after),
            Utility,
            (0, Some(Free::FreeTier)),
            (55, None),
        ),
        (
            "the last of it",
            one_left,
            Utility,
            (0, Some(Free::FreeTier)),
            (55, None),
        ),
        ("beyond it", used_up, Utility, (40, None), (55, None)),
        (
            "an entry point",
            entry_point,
            Marketing,
            (0, Some(Free::EntryPoint)),
            (0, Some(Free::EntryPoint)),
        ),
    ];
    for (name, at, category, free_form, template) in table {
        let costs = estimate(&card(), &reading(Some(category)), &at);
        let said = |one: Option<Result<Estimate, Unpriced>>| {
            let one = one.unwrap().unwrap();
            (one.amount.micros, one.free)
        };
        assert_eq!(said(costs.free_form), free_form, "{name}");
        assert_eq!(said(costs.template), template, "{name}");
        assert_eq!(costs.of(Route::Sms).unwrap().micros, 3 * 75, "{name}");
        assert_eq!(costs.of(Route::Hold), None);
    }
}

#[test]
fn a_code_to_another_country_has_a_price_of_its_own_where_there_is_one() {
    let to = |phone, number| {
        let at = Circumstances {
            phone: Some(phone),
            number,
            ..at(date(2026, 11, 1))
        };
        let code = reading(Some(TemplateCategory::Authentication));
        let estimate = estimate(&card(), &code, &at).template.unwrap().unwrap();
        (estimate.category, estimate.amount.micros)
    };
    let (home, abroad) = (
        Category::Authentication,
        Category::AuthenticationInternational,
    );
    assert_eq!(to("919812345678", "911100000000"), (home, 2));
    assert_eq!(to("919812345678", "493000000000"), (abroad, 30));
    assert_eq!(to("33612345678", "493000000000"), (home, 12));
}

#[test]
fn a_template_of_unknown_category_costs_what_the_dearest_would() {
    let now = at(date(2026, 11, 1));
    let unknown = reading(None);
    assert_eq!(
        estimate(&card(), &unknown, &now)
            .of(Route::Template)
            .unwrap()
            .micros,
        55
    );
    let selling = Reading {
        purpose: Purpose::Marketing,
        ..unknown
    };
    assert_eq!(
        estimate(&card(), &selling, &now)
            .of(Route::Template)
            .unwrap()
            .micros,
        111
    );
}

#[test]
fn a_price_that_is_not_known_says_why() {
    let mut card = card();
    card.rates.retain(|rate| rate.country == "49");
    let now = at(date(2026, 11, 1));
    let stranger = Circumstances { phone: None, ..now };
    let elsewhere = Circumstances {
        phone: Some("33612345678"),
        ..now
    };
    let utility = reading(Some(TemplateCategory::Utility));
    let template = |at| estimate(&card, &utility, at).template.unwrap();
    assert_eq!(template(&now).map(|one| one.amount.micros), Ok(55));
    assert_eq!(template(&stranger), Err(Unpriced::NoCountry));
    assert_eq!(template(&elsewhere), Err(Unpriced::NoRate));
}

#[test]
fn a_bill_is_priced_by_its_own_words() {
    let table = [
        ("utility", "regular", false, true, Some(55), false),
        ("utility", "", true, true, Some(55), false),
        ("utility", "", false, false, Some(0), false),
        (
            "service",
            "free_customer_service",
            false,
            false,
            Some(0),
            true,
        ),
        (
            "utility",
            "free_customer_service",
            false,
            false,
            Some(0),
            false,
        ),
        (
            "referral_conversion",
            "free_entry_point",
            false,
            false,
            Some(0),
            false,
        ),
        ("marketing_lite", "regular", false, true, Some(111), false),
        ("something_new", "regular", false, true, None, false),
    ];
    for (category, kind, billable, is_billable, micros, counts) in table {
        let bill = Bill {
            category,
            kind,
            billable,
        };
        let billed = bill.price(&card(), Some("491512345678"), date(2026, 11, 1));
        assert_eq!(billed.is_billable, is_billable, "{bill:?}");
        assert_eq!(
            billed.amount.map(|amount| amount.micros),
            micros,
            "{bill:?}"
        );
        assert_eq!(billed.counts_to_free_tier, counts, "{bill:?}");
    }
    let bill = Bill {
        category: "service",
        kind: "free_customer_service",
        billable: false,
    };
    let before = bill.price(&card(), None, date(2026, 9, 30));
    assert!(!before.counts_to_free_tier, "there was no tier to count to");
}

#[test]
fn a_cap_lets_through_what_still_fits_and_what_is_free() {
    let amount = |micros| card().amount(micros);
    let costs = |micros, spent| Costs {
        template: Some(Ok(Estimate {
            category: Category::Utility,
            amount: amount(micros),
            free: (micros == 0).then_some(Free::EntryPoint),
        })),
        caps: vec![Cap {
            of: "brand",
            limit: amount(100),
            spent: amount(spent),
        }],
        ..Costs::default()
    };
    let within =
        |micros, spent| costs(micros, spent).allowance(Route::Template) == Allowance::Within;
    assert!(within(10, 90));
    assert!(!within(10, 91));
    assert!(within(0, 500), "what is free passes no cap");
    assert!(!within(u64::MAX, 1), "nothing overflows");
    let unknown = Costs {
        template: Some(Err(Unpriced::NoRate)),
        ..costs(1, 0)
    };
    assert_eq!(
        unknown.allowance(Route::Template),
        Allowance::Unknown(Unpriced::NoRate)
    );
    let uncapped = Costs {
        caps: Vec::new(),
        ..unknown
    };
    assert_eq!(uncapped.allowance(Route::Template), Allowance::Within);
    assert_eq!(
        Costs::default().allowance(Route::Sms),
        Allowance::Within,
        "no card, no cap"
    );
}

#[test]
fn amounts_are_read_exactly_or_not_at_all() {
    for (text, micros) in [
        ("0", Some(0)),
        ("1", Some(1_000_000)),
        ("0.0456", Some(45_600)),
        ("12.000001", Some(12_000_001)),
        ("0.0000001", None),
        ("-1", None),
        ("+1", None),
        ("1,5", None),
        (".5", None),
        ("5.", None),
        ("1e3", None),
        ("", None),
        ("18446744073709.551616", None),
        ("18446744073709.551615", Some(u64::MAX)),
    ] {
        assert_eq!(parse_micros(text), micros, "{text}");
    }
    for (micros, text) in [
        (0, "0.00 EUR"),
        (45_600, "0.0456 EUR"),
        (12_500_000, "12.50 EUR"),
    ] {
        assert_eq!(card().amount(micros).to_string(), text);
    }
    for wrong in ["", "eur", "EU", "EURO", "E1R"] {
        assert_eq!(Currency::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn months_are_written_and_read_and_follow_one_another() {
    let january = Month::of(date(2026, 1, 31));
    assert_eq!(january.to_string(), "2026-01");
    assert_eq!(january.before().to_string(), "2025-12");
    let summer = ["2026-06", "2026-07", "2026-08"].map(|text| Month::parse(text).unwrap());
    assert_eq!(summer[1].before(), summer[0]);
    assert_eq!(summer[2].before(), summer[1]);
    assert!(january.before() < january);
    for wrong in ["", "2026", "2026-13", "2026-1", "2026-01-01"] {
        assert_eq!(Month::parse(wrong), None, "{wrong}");
    }
}

fn owner(number: u8, brand: u8) -> Owner {
    Owner {
        number: number.to_string(),
        brand: brand.to_string(),
    }
}

proptest! {
    #[test]
    fn an_amount_reads_back_as_it_is_written(micros: u64) {
        let text = card().amount(micros).to_string();
        let (number, currency) = text.split_once(' ').unwrap();
        prop_assert_eq!(currency, "EUR");
        prop_assert_eq!(parse_micros(number), Some(micros));
    }

    #[test]
    fn a_month_reads_back_as_it_is_written(year in 1970_i16..9999, month in 1_i8..=12) {
        let month = Month::of(date(year, month, 1));
        prop_assert_eq!(Month::parse(&month.to_string()), Some(month));
    }

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

    #[test]
    fn no_estimate_is_below_what_a_free_one_is_and_more_segments_never_cost_less(
        segments in 1_u32..20,
        used in 0_u64..2_000,
        is_open: bool,
    ) {
        let now = Circumstances { window_is_open: is_open, free_service_messages_used: used, ..at(date(2026, 11, 1)) };
        let of = |segments| Reading { sms: Some((segments, "main")), ..reading(None) };
        let (fewer, more) = (estimate(&card(), &of(segments), &now), estimate(&card(), &of(segments + 1), &now));
        prop_assert!(fewer.of(Route::Sms).unwrap().micros < more.of(Route::Sms).unwrap().micros);
        prop_assert_eq!(fewer.free_form.unwrap().unwrap().free.is_some(), used < 1_000);
    }
}

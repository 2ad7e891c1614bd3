//! Words that stand in facts, and what the platform's are read as.

use super::*;

#[test]
fn words_are_stored_and_told_and_never_change() {
    use Category::{Authentication, AuthenticationInternational, Marketing, Service, Sms, Utility};
    for (category, word) in [
        (Service, "service"),
        (Utility, "utility"),
        (Authentication, "authentication"),
        (AuthenticationInternational, "authentication-international"),
        (Marketing, "marketing"),
        (Sms, "sms"),
    ] {
        assert_eq!(category.as_str(), word);
        assert_eq!(Category::parse(word), Some(category), "reads back");
    }
    for (free, word) in [
        (Free::EntryPoint, "free_entry_point"),
        (Free::FreeTier, "free_tier"),
        (Free::Window, "free_customer_service"),
    ] {
        assert_eq!(free.as_str(), word);
    }
    for (unpriced, word, named) in [
        (Unpriced::NoCountry, "NO_COUNTRY", "country"),
        (Unpriced::NoRate, "NO_RATE", "rate card"),
    ] {
        assert_eq!(unpriced.code(), word);
        assert!(unpriced.as_str().contains(named), "{word}");
    }
}

#[test]
fn the_platforms_other_words_for_a_category_are_read_as_it_too() {
    for (word, category) in [
        ("group_service", Some(Category::Service)),
        ("group_utility", Some(Category::Utility)),
        ("group_marketing", Some(Category::Marketing)),
        ("marketing_lite", Some(Category::Marketing)),
        (
            "authentication_international",
            Some(Category::AuthenticationInternational),
        ),
        ("referral_conversion", None),
        ("SERVICE", None),
        ("", None),
    ] {
        assert_eq!(Category::parse(word), category, "{word}");
    }
}

#[test]
fn of_categories_that_would_cost_the_same_utility_is_named() {
    let selling = Reading {
        purpose: Purpose::Marketing,
        ..reading(None)
    };
    // Inside a free entry point all of them are free.
    let free = Circumstances {
        entry_point_is_open: true,
        ..at(date(2026, 11, 1))
    };
    let template = estimate(&card(), &selling, &free).template;
    let named = template.unwrap().map(|one| (one.category, one.free));
    assert_eq!(named, Ok((Category::Utility, Some(Free::EntryPoint))));
}

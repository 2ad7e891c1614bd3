//! Who sends an SMS: through which gateways, in which order, and under which name, by business
//! number and by the customer's country.
//!
//! Which gateways there are, and how they are called, is not known here.

pub mod text;

use std::collections::BTreeMap;

use crate::id::{BusinessNumber, Phone};

/// The key of whatever no longer prefix matches.
pub const ELSEWHERE: &str = "*";

/// Calling codes of two digits; those of one digit are 1 and 7, and all others have three (ITU-T
/// E.164: assigned country codes).
const TWO_DIGITS: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47",
    "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65",
    "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];

/// A gateway, and the sender that it shows: a number, a name or a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The gateway's name.
    pub gateway: String,
    /// The sender.
    pub sender: String,
}

/// Senders by the digits that a customer's phone begins with, [`ELSEWHERE`] for any other.
pub type ByPrefix = BTreeMap<String, Vec<Way>>;

/// Senders of all numbers, and of those that have some of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    /// Of every number.
    pub all: ByPrefix,
    /// By a number's digits; what is not there is looked for above.
    pub numbers: BTreeMap<String, ByPrefix>,
}

/// What can be done for one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// The number has no sender at all.
    NoSender,
    /// It has, but none for the customer's country.
    NoSenderThere,
    /// These, the best first; never empty.
    Ways(Vec<Way>),
}

impl Offer {
    /// Returns an offer of these ways; `otherwise` if there are none.
    pub fn of(ways: Vec<Way>, otherwise: Self) -> Self {
        if ways.is_empty() {
            otherwise
        } else {
            Self::Ways(ways)
        }
    }
}

impl Senders {
    /// Returns the ways of a number to a phone: by the longest prefix of the number's own that
    /// matches, else of those of every number.
    pub fn find(&self, number: &BusinessNumber, phone: &Phone) -> Option<&[Way]> {
        let own = self.numbers.get(number.digits());
        own.and_then(|own| longest(own, phone.digits()))
            .or_else(|| longest(&self.all, phone.digits()))
    }

    /// Returns every way of a number, to wherever.
    pub fn of_number(&self, number: &str) -> impl Iterator<Item = &Way> {
        let own = self.numbers.get(number).into_iter();
        own.chain([&self.all]).flat_map(BTreeMap::values).flatten()
    }
}

fn longest<'a>(rows: &'a ByPrefix, digits: &str) -> Option<&'a [Way]> {
    let by_length = (1..=digits.len()).rev();
    by_length
        .filter_map(|length| rows.get(digits.get(..length)?))
        .chain(rows.get(ELSEWHERE))
        .next()
        .map(Vec::as_slice)
}

/// Returns the country's calling code, which is what an SMS is priced by.
pub fn calling_code(phone: &Phone) -> &str {
    calling_code_of(phone.digits())
}

/// Returns the calling code that the digits of a number begin with.
pub fn calling_code_of(digits: &str) -> &str {
    let length = match digits.get(..2) {
        _ if digits.starts_with(['1', '7']) => 1,
        Some(two) if TWO_DIGITS.contains(&two) => 2,
        _ => 3,
    };
    digits.get(..length).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn way(gateway: &str) -> Way {
        Way {
            gateway: gateway.to_owned(),
            sender: "ACME".to_owned(),
        }
    }

    fn rows(rows: &[(&str, &str)]) -> ByPrefix {
        let row = |(prefix, gateway): &(&str, &str)| ((*prefix).to_owned(), vec![way(gateway)]);
        rows.iter().map(row).collect()
    }

    fn phone(digits: &str) -> Phone {
        Phone::parse(digits).unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_and_a_numbers_own_go_before_those_of_all() {
        let number = BusinessNumber::parse("15550001111").unwrap();
        let other = BusinessNumber::parse("15550003333").unwrap();
        let own = rows(&[("49", "own-de"), ("4915", "own-de-mobile")]);
        let senders = Senders {
            all: rows(&[("1", "us"), ("49160", "all-160"), (ELSEWHERE, "rest")]),
            numbers: [(number.digits().to_owned(), own)].into(),
        };
        let found = |number, to| {
            senders
                .find(number, &phone(to))
                .map(|ways| ways[0].gateway.as_str())
        };
        for (to, by_own, by_all) in [
            ("491512345678", "own-de-mobile", "rest"),
            ("493012345678", "own-de", "rest"),
            ("491601234567", "own-de", "all-160"),
            ("12025550123", "us", "us"),
            ("447700900000", "rest", "rest"),
        ] {
            assert_eq!(found(&number, to), Some(by_own), "{to}");
            assert_eq!(found(&other, to), Some(by_all), "{to}");
        }
        assert_eq!(senders.of_number("15550001111").count(), 5);
        assert_eq!(senders.of_number("15550003333").count(), 3);
        let none = Senders::default();
        assert_eq!(none.find(&number, &phone("447700900000")), None);
    }

    #[test]
    fn a_calling_code_has_one_to_three_digits() {
        for (to, code) in [
            ("12025550123", "1"),
            ("79161234567", "7"),
            ("491512345678", "49"),
            ("447700900000", "44"),
            ("989121234567", "98"),
            ("353861234567", "353"),
            ("5521987654321", "55"),
            ("8801712345678", "880"),
        ] {
            assert_eq!(calling_code(&phone(to)), code, "{to}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_longest_row_that_the_phone_begins_with(
            prefixes in proptest::collection::btree_set("[1-9][0-9]{0,4}", 0..8),
            digits in "[1-9][0-9]{7,11}",
        ) {
            let senders = Senders {
                all: prefixes.iter().map(|prefix| (prefix.clone(), vec![way(prefix)])).collect(),
                ..Senders::default()
            };
            let number = BusinessNumber::parse("15550001111").unwrap();
            let Ok(to) = Phone::parse(&digits) else { return Ok(()) };
            let expected = prefixes
                .iter()
                .filter(|prefix| to.digits().starts_with(prefix.as_str()))
                .max_by_key(|prefix| prefix.len());
            let found = senders.find(&number, &to).map(|ways| &ways[0].gateway);
            prop_assert_eq!(found, expected);
        }
    }
}

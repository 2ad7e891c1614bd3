//! A dated rate card: what messages cost, from which day on.
//!
//! Whoever reads the file has checked it; a lookup here cannot fail, it can only find nothing.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};

use super::{Amount, Category, Currency};

/// Stands for every country, or every gateway, that has no row of its own.
pub const ELSEWHERE: &str = "*";

/// Prices in millionths, by category.
pub type Prices = BTreeMap<Category, u64>;

/// What WhatsApp messages to a country cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// The first day that it is valid.
    pub from: Date,
    /// What the customer's phone begins with, such as a calling code, or [`ELSEWHERE`].
    pub country: String,
    /// By category; what is not here is looked for in less exact rows.
    pub prices: Prices,
}

/// What one segment of an SMS to a country costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsRate {
    /// The first day that it is valid.
    pub from: Date,
    /// What the customer's phone begins with, or [`ELSEWHERE`].
    pub country: String,
    /// The gateway's name, or [`ELSEWHERE`].
    pub gateway: String,
    /// In millionths.
    pub segment: u64,
}

/// What the platform does not bill, from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The first day that they are valid.
    pub from: Date,
    /// Whether service messages are free without limit.
    pub service_is_free: bool,
    /// Whether utility templates are free inside an open window.
    pub utility_in_window_is_free: bool,
    /// How many service messages of each number are free in a month, where they are not all.
    pub free_service_messages: u64,
}

impl Terms {
    /// The platform's terms as known: messages are billed one by one since July 2025, service
    /// messages and utility templates inside the window were free until the end of September
    /// 2026, and a number has 1,000 free service messages a month since (Meta: pricing).
    pub const PLATFORM: [Self; 2] = [
        Self {
            from: date(2025, 7, 1),
            service_is_free: true,
            utility_in_window_is_free: true,
            free_service_messages: 0,
        },
        Self {
            from: date(2026, 10, 1),
            service_is_free: false,
            utility_in_window_is_free: false,
            free_service_messages: 1_000,
        },
    ];
}

/// Prices of one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateCard {
    /// The currency of every price.
    pub currency: Currency,
    /// Of WhatsApp.
    pub rates: Vec<Rate>,
    /// Of SMS.
    pub sms: Vec<SmsRate>,
    /// What is free.
    pub terms: Vec<Terms>,
}

impl RateCard {
    /// Returns so many millionths in the card's currency.
    pub fn amount(&self, micros: u64) -> Amount {
        Amount {
            micros,
            currency: self.currency,
        }
    }

    /// Returns the price of a WhatsApp message on a day, in millionths. The row counts whose
    /// country fits the phone best; among those of one country the youngest that is valid. Where
    /// a card has no price for service it is that of utility: the platform bills service at the
    /// same rate. Without a phone the row for everywhere else counts.
    pub fn price(&self, category: Category, phone: Option<&str>, on: Date) -> Option<u64> {
        let own = |category: Category| {
            let rows = self.rates.iter().filter_map(|rate| {
                let price = rate.prices.get(&category)?;
                let fit = fit(&rate.country, phone)?;
                (rate.from <= on).then_some(((fit, rate.from), *price))
            });
            rows.max_by_key(|(rank, _)| *rank).map(|(_, price)| price)
        };
        match category {
            Category::Service => own(category).or_else(|| own(Category::Utility)),
            _ => own(category),
        }
    }

    /// Returns the price of one segment on a day, in millionths. A country counts before a
    /// gateway, and both before the day.
    pub fn segment(&self, gateway: &str, phone: Option<&str>, on: Date) -> Option<u64> {
        let rows = self.sms.iter().filter_map(|rate| {
            let fit = fit(&rate.country, phone)?;
            let is_own = rate.gateway == gateway;
            let applies = rate.from <= on && (is_own || rate.gateway == ELSEWHERE);
            applies.then_some(((fit, is_own, rate.from), rate.segment))
        });
        rows.max_by_key(|(rank, _)| *rank).map(|(_, price)| price)
    }

    /// Returns what is free on a day; before every day that is known, nothing.
    pub fn terms(&self, on: Date) -> Terms {
        let valid = self.terms.iter().filter(|terms| terms.from <= on);
        valid
            .max_by_key(|terms| terms.from)
            .copied()
            .unwrap_or(Terms {
                from: Date::MIN,
                service_is_free: false,
                utility_in_window_is_free: false,
                free_service_messages: 0,
            })
    }
}

/// How well a row's country fits a phone; `None` if it does not.
fn fit(country: &str, phone: Option<&str>) -> Option<usize> {
    if country == ELSEWHERE {
        return Some(0);
    }
    let fits = phone.is_some_and(|digits| digits.starts_with(country));
    fits.then_some(country.len())
}

//! What messages cost: prices from a dated rate card, and a cap on what a month may cost.
//!
//! Amounts are whole millionths of one currency; nothing here is a float. It estimates, prices
//! and adds up; it reads no file, keeps no count and converts between no currencies.

mod bill;
mod card;
mod estimate;
mod ledger;

use std::fmt;

use jiff::civil::Date;

pub use bill::{Bill, Billed};
pub use card::{ELSEWHERE, Prices, Rate, RateCard, SmsRate, Terms};
pub use estimate::{
    Allowance, Cap, Circumstances, Costs, Estimate, Free, Reading, Unpriced, estimate,
};
pub use ledger::{Ledger, Owner, Spend};

/// Millionths in one unit of a currency.
const MICROS: u64 = 1_000_000;

/// A currency, by its three letters (ISO 4217).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Returns the currency of a code of three capital letters; `None` if it is none.
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(letters))
    }

    /// Returns the code.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Money: whole millionths of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    /// Millionths of the currency's unit.
    pub micros: u64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.micros / MICROS, self.micros % MICROS);
        let digits = format!("{rest:06}");
        let decimals = digits.trim_end_matches('0');
        write!(f, "{units}.{decimals:0<2} {}", self.currency)
    }
}

/// Reads millionths from a decimal, such as `0.0456`: digits, at most six of them behind the
/// point, no sign. `None` if it is anything else, or more than fits.
pub fn parse_micros(decimal: &str) -> Option<u64> {
    let (units, rest) = decimal.split_once('.').unwrap_or((decimal, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit());
    if !is_number(units) || !is_number(rest) || rest.len() > 6 {
        return None;
    }
    let rest: u64 = format!("{rest:0<6}").parse().ok()?;
    let units: u64 = units.parse().ok()?;
    units.checked_mul(MICROS)?.checked_add(rest)
}

/// What a message is billed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Anything but a template.
    Service,
    /// A template about something agreed on.
    Utility,
    /// A template with a code.
    Authentication,
    /// The same, to a country with a price of its own for businesses of other countries.
    AuthenticationInternational,
    /// A template that sells.
    Marketing,
    /// An SMS.
    Sms,
}

impl Category {
    /// Those of WhatsApp, which a rate card prices by country.
    pub const WHATSAPP: [Self; 5] = [
        Self::Service,
        Self::Utility,
        Self::Authentication,
        Self::AuthenticationInternational,
        Self::Marketing,
    ];

    /// Returns the platform's word; `sms` for an SMS.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::AuthenticationInternational => "authentication-international",
            Self::Marketing => "marketing",
            Self::Sms => "sms",
        }
    }

    /// Reads the platform's word in a status (Meta: statuses webhook, pricing). Groups are priced
    /// as what goes to one customer is; `None` for what is never priced, or not known.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "service" | "group_service" => Self::Service,
            "utility" | "group_utility" => Self::Utility,
            "authentication" => Self::Authentication,
            "authentication-international" | "authentication_international" => {
                Self::AuthenticationInternational
            }
            "marketing" | "marketing_lite" | "group_marketing" => Self::Marketing,
            "sms" => Self::Sms,
            _ => return None,
        })
    }
}

/// A month of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// Returns the month of a day.
    pub fn of(day: Date) -> Self {
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// Reads a month as it is written, such as `2026-11`; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let day: Date = format!("{text}-01").parse().ok()?;
        Some(Self::of(day)).filter(|month| month.to_string() == text)
    }

    /// Returns the month before.
    #[must_use]
    pub fn before(self) -> Self {
        if self.month > 1 {
            Self {
                month: self.month - 1,
                ..self
            }
        } else {
            Self {
                year: self.year - 1,
                month: 12,
            }
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests;

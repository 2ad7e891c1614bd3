//! What is configured about money, and what that comes to once it is read and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use casement_domain::id::{BrandId, BusinessNumber};
use casement_domain::money::{Month, RateCard, parse_micros};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::card;

/// Prices and caps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The rate card; without one nothing is priced, counted or capped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_card: Option<PathBuf>,
    /// Where months and days begin at midnight, such as `Europe/Berlin`: the zone of the business
    /// account.
    pub time_zone: String,
    /// How often what was spent is written down in all, if it changed. What is newer is added up
    /// from the log at a start.
    pub count_every: SignedDuration,
    /// What a month may cost.
    pub caps: Caps,
}

/// What a month may cost, as decimals in the rate card's currency, such as `"250.00"`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// By brand.
    pub brands: BTreeMap<String, String>,
    /// By business number.
    pub numbers: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rate_card: None,
            time_zone: "UTC".to_owned(),
            count_every: SignedDuration::from_hours(6),
            caps: Caps::default(),
        }
    }
}

/// What the configuration comes to.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) card: RateCard,
    zone: TimeZone,
    /// In millionths, by the brand's id.
    pub(crate) brands: BTreeMap<String, u64>,
    /// In millionths, by the number's digits.
    pub(crate) numbers: BTreeMap<String, u64>,
}

impl Plan {
    /// Returns the day that a time lies in.
    pub(crate) fn day(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// Returns the month that a time lies in.
    pub(crate) fn month(&self, at: Timestamp) -> Month {
        Month::of(self.day(at))
    }

    #[cfg(test)]
    pub(crate) fn of(card: RateCard, caps: &[(&str, u64)]) -> Self {
        let caps = caps.iter().map(|(brand, cap)| ((*brand).to_owned(), *cap));
        Self {
            card,
            zone: TimeZone::UTC,
            brands: caps.collect(),
            numbers: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Returns every problem, in words that say what to change.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.plan().err().unwrap_or_default()
    }

    /// Reads the rate card and the caps; `None` if there is no card.
    pub(crate) fn plan(&self) -> Result<Option<Plan>, Vec<String>> {
        let mut problems = Vec::new();
        if self.count_every <= SignedDuration::ZERO {
            problems.push("money.count_every must be longer than zero".to_owned());
        }
        let zone = TimeZone::get(&self.time_zone).unwrap_or_else(|_| {
            let zone = &self.time_zone;
            problems.push(format!(
                "money.time_zone is `{zone}`, which is no time zone: write one like Europe/Berlin"
            ));
            TimeZone::UTC
        });
        let caps = &self.caps;
        let brands = read_caps("brands", &caps.brands, &mut problems, |brand| {
            BrandId::parse(brand).ok().map(|_| brand.to_owned())
        });
        let numbers = read_caps("numbers", &caps.numbers, &mut problems, |number| {
            let number = BusinessNumber::parse(number).ok()?;
            Some(number.digits().to_owned())
        });
        let Some(path) = self
            .rate_card
            .as_ref()
            .filter(|it| !it.as_os_str().is_empty())
        else {
            if !(caps.brands.is_empty() && caps.numbers.is_empty()) {
                let text = "money.caps need money.rate_card: without prices nothing can be capped";
                problems.push(text.to_owned());
            }
            return if problems.is_empty() {
                Ok(None)
            } else {
                Err(problems)
            };
        };
        let shown = path.display();
        let card = std::fs::read_to_string(path)
            .map_err(|error| vec![format!("money.rate_card, {shown}: {error}")])
            .and_then(|text| {
                let located = |problem| format!("money.rate_card, {shown}: {problem}");
                let read = card::parse(&text);
                read.map_err(|found| found.into_iter().map(located).collect())
            });
        match card {
            Ok(card) if problems.is_empty() => Ok(Some(Plan {
                card,
                zone,
                brands,
                numbers,
            })),
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        }
    }
}

fn read_caps(
    kind: &str,
    caps: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
    id: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, u64> {
    let mut read = BTreeMap::new();
    for (of, cap) in caps {
        match (id(of), parse_micros(cap)) {
            (Some(id), Some(micros)) => {
                read.insert(id, micros);
            }
            (None, _) => problems.push(format!("money.caps.{kind}: `{of}` is none of the {kind}")),
            (_, None) => problems.push(format!(
                "money.caps.{kind}.{of} is `{cap}`: write a decimal with at most six places, such \
                 as \"250.00\""
            )),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "currency = \"EUR\"\n";

    fn with_card(folder: &tempfile::TempDir, text: &str) -> Config {
        let path = folder.path().join("rates.toml");
        std::fs::write(&path, text).unwrap();
        Config {
            rate_card: Some(path),
            ..Config::default()
        }
    }

    #[test]
    fn a_month_begins_at_midnight_of_the_configured_zone() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            time_zone: "Europe/Berlin".to_owned(),
            ..with_card(&folder, CARD)
        };
        let plan = config.plan().unwrap().unwrap();
        let month = |at: &str| plan.month(at.parse().unwrap()).to_string();
        assert_eq!(month("2026-10-31T22:59:59Z"), "2026-10");
        assert_eq!(month("2026-10-31T23:00:00Z"), "2026-11");
    }

    #[test]
    fn every_problem_is_named_and_no_money_is_none() {
        assert!(Config::default().plan().unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let mut config = with_card(&folder, "currency = \"euro\"\n");
        config.time_zone = "Nowhere".to_owned();
        let caps = |of: &str, cap: &str| [(of.to_owned(), cap.to_owned())].into();
        config.caps.brands = caps("default", "12,50");
        config.caps.numbers = caps("nobody", "1");
        let problems = config.problems().join("\n");
        for word in [
            "time_zone",
            "Nowhere",
            "brands.default",
            "12,50",
            "nobody",
            "rates.toml",
            "euro",
        ] {
            assert!(problems.contains(word), "{word}: {problems}");
        }
        config.rate_card = None;
        let problems = config.problems().join("\n");
        assert!(problems.contains("need money.rate_card"), "{problems}");
        config.rate_card = Some(folder.path().join("absent.toml"));
        assert!(config.problems().join("\n").contains("absent.toml"));
        let good = Config {
            caps: Caps {
                brands: caps("default", "12.50"),
                numbers: caps("+15550001111", "3"),
            },
            ..with_card(&folder, CARD)
        };
        let plan = good.plan().unwrap().unwrap();
        assert_eq!(plan.brands["default"], 12_500_000);
        assert_eq!(plan.numbers["15550001111"], 3_000_000);
    }
}

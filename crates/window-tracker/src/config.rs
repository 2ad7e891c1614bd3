//! What the role needs to be told: how windows are counted, and how much is done at once.
//!
//! Durations are written as in `24h` or `PT24H`; days and weeks are not taken, since a day is not
//! always 24 hours. Only demonstrations and tests change how windows are counted.

use std::collections::{BTreeMap, HashMap};

use casement_domain::id::BusinessNumber;
use casement_domain::window::{self, Policy};
use casement_shell::config::ConfigError;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize, Serializer};

/// How many conversations may be in hand at once, at most.
const IN_HAND_LIMIT: usize = 1_000;

/// The longest stagger: with a longer one `WindowExpired` would come noticeably late.
const STAGGER_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// How windows are counted and told, and how much is done at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a window stays open. Meta: 24 hours (customer service windows).
    #[serde(serialize_with = "friendly")]
    pub length: SignedDuration,
    /// How long before the end `WindowExpiring` is told; once each.
    #[serde(serialize_with = "friendly_each")]
    pub leads: Vec<SignedDuration>,
    /// What is different at single numbers, each by its digits, such as `15550001111`.
    pub numbers: BTreeMap<String, OfNumber>,
    /// How long before the end free-form is no longer chosen, since the platform's clock decides.
    #[serde(serialize_with = "friendly")]
    pub guard: SignedDuration,
    /// By how much the told expiry may lag before `WindowExtended` is written.
    #[serde(serialize_with = "friendly")]
    pub granularity: SignedDuration,
    /// How long everything is free after the reply to a customer who came from an ad. Meta: 72
    /// hours (pricing, free entry point windows); partners report seven days for some ads.
    #[serde(serialize_with = "friendly")]
    pub free_entry_point: SignedDuration,
    /// What a window outlives, where the platform does not say whether it does.
    pub carry_over: CarryOver,
    /// How many conversations may be in hand at once.
    pub in_hand_max: usize,
    /// How long after its time this replica acts on a deadline. Give each replica another one,
    /// 50 ms apart, and they do not try the same thing at once.
    #[serde(serialize_with = "friendly")]
    pub stagger: SignedDuration,
}

/// What is different at one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfNumber {
    /// How long before the end `WindowExpiring` is told there; once each, and not at all if empty.
    #[serde(serialize_with = "friendly_each")]
    pub leads: Vec<SignedDuration>,
}

/// Which changes a window outlives. Nothing, unless said so: a template that was not needed costs
/// less than a reply that is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarryOver {
    /// The number's move to another business account or provider.
    pub migration: bool,
    /// Another user id for the customer.
    pub user_id: bool,
}

impl From<window::CarryOver> for CarryOver {
    fn from(of: window::CarryOver) -> Self {
        let window::CarryOver { migration, user_id } = of;
        Self { migration, user_id }
    }
}

impl From<CarryOver> for window::CarryOver {
    fn from(of: CarryOver) -> Self {
        let CarryOver { migration, user_id } = of;
        Self { migration, user_id }
    }
}

impl Default for Config {
    fn default() -> Self {
        let Policy {
            length,
            leads,
            guard,
            granularity,
            free_entry_point,
            carry_over,
        } = Policy::default();
        Self {
            length,
            leads,
            numbers: BTreeMap::new(),
            guard,
            granularity,
            free_entry_point,
            carry_over: carry_over.into(),
            in_hand_max: 256,
            stagger: SignedDuration::ZERO,
        }
    }
}

impl Config {
    /// Returns how windows are counted and told.
    pub fn policy(&self) -> Policy {
        Policy {
            length: self.length,
            leads: self.leads.clone(),
            guard: self.guard,
            granularity: self.granularity,
            free_entry_point: self.free_entry_point,
            carry_over: self.carry_over.into(),
        }
    }

    /// Returns how the windows of each number are counted and told.
    pub(crate) fn policies(&self) -> Policies {
        let all = self.policy();
        let of_number = |(number, of): (&String, &OfNumber)| {
            let policy = Policy {
                leads: of.leads.clone(),
                ..all.clone()
            };
            Some((BusinessNumber::parse(number).ok()?, policy))
        };
        let numbers = self.numbers.iter().filter_map(of_number).collect();
        Policies { all, numbers }
    }

    /// Refuses what could never work, with every problem.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let length = self.length;
        let mut problems = Vec::new();
        if length <= SignedDuration::ZERO {
            problems.push(format!("`length` is {length:#}: it must be positive"));
        }
        problems.extend(problems_of("leads", &self.leads, length));
        for (number, of) in &self.numbers {
            let name = format!("numbers.{number}.leads");
            problems.extend(problems_of(&name, &of.leads, length));
            if BusinessNumber::parse(number).is_err() || number.starts_with('+') {
                problems.push(format!(
                    "`numbers` has `{number}`: it must be the number's digits, such as 15550001111"
                ));
            }
        }
        if self.free_entry_point <= SignedDuration::ZERO {
            let value = self.free_entry_point;
            problems.push(format!(
                "`free_entry_point` is {value:#}: it must be positive"
            ));
        }
        for (name, value) in [("guard", self.guard), ("granularity", self.granularity)] {
            if value.is_negative() || value >= length {
                problems.push(format!(
                    "`{name}` is {value:#}: it must be shorter than `length`, {length:#}, and not negative"
                ));
            }
        }
        if self.in_hand_max == 0 || self.in_hand_max > IN_HAND_LIMIT {
            let value = self.in_hand_max;
            problems.push(format!(
                "`in_hand_max` is {value}: it must be 1 to {IN_HAND_LIMIT}"
            ));
        }
        if self.stagger.is_negative() || self.stagger > STAGGER_LIMIT {
            let value = self.stagger;
            problems.push(format!(
                "`stagger` is {value:#}: it must be 0 to {STAGGER_LIMIT:#}"
            ));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid { problems })
        }
    }
}

/// What is wrong with leads.
fn problems_of(name: &str, leads: &[SignedDuration], length: SignedDuration) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, lead) in leads.iter().enumerate() {
        if *lead <= SignedDuration::ZERO || *lead >= length {
            problems.push(format!(
                "`{name}` has {lead:#}: each must be positive and shorter than `length`, {length:#}"
            ));
        }
        if leads[..index].contains(lead) {
            problems.push(format!("`{name}` has {lead:#} twice"));
        }
    }
    problems
}

/// How windows are counted and told, number by number.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    all: Policy,
    numbers: HashMap<BusinessNumber, Policy>,
}

impl Policies {
    /// Returns how windows are counted and told where nothing else is said.
    pub(crate) fn all(&self) -> &Policy {
        &self.all
    }

    /// Returns how the windows of a number are counted and told.
    pub(crate) fn of(&self, number: &BusinessNumber) -> &Policy {
        self.numbers.get(number).unwrap_or(&self.all)
    }
}

fn friendly<S: Serializer>(of: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{of:#}"))
}

fn friendly_each<S: Serializer>(of: &[SignedDuration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(of.iter().map(|one| format!("{one:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fit_and_are_the_domains() {
        let config = Config::default();
        config.validate().unwrap();
        assert_eq!(config.policy(), Policy::default());
    }

    #[test]
    fn durations_are_read_in_both_spellings_and_printed_in_words() {
        let config: Config =
            toml::from_str("length = \"PT20M\"\nleads = [\"5m\", \"PT30S\"]\nguard = \"10s\"")
                .unwrap();
        assert_eq!(config.length, SignedDuration::from_mins(20));
        let printed = toml::to_string(&config).unwrap();
        assert!(printed.contains("length = \"20m\""), "{printed}");
        assert!(printed.contains("leads = [\"5m\", \"30s\"]"), "{printed}");
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        assert!(toml::from_str::<Config>("lenght = \"24h\"").is_err());
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let config = Config {
            leads: vec![
                SignedDuration::from_hours(25),
                SignedDuration::from_hours(2),
                SignedDuration::from_hours(2),
            ],
            numbers: [(
                "+1555".to_owned(),
                OfNumber {
                    leads: vec![SignedDuration::ZERO],
                },
            )]
            .into(),
            guard: SignedDuration::from_hours(24),
            granularity: SignedDuration::from_secs(-1),
            in_hand_max: 0,
            stagger: SignedDuration::from_mins(1),
            ..Config::default()
        };
        let told = config.validate().unwrap_err().to_string();
        for part in [
            "`leads` has 25h",
            "`leads` has 2h twice",
            "`numbers.+1555.leads` has 0s",
            "`numbers` has `+1555`",
            "`guard` is 24h: it must be shorter than `length`, 24h",
            "`granularity` is 1s ago",
            "`in_hand_max` is 0",
            "`stagger` is 1m",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}

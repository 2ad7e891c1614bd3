//! Named policies: read from the configuration, and found for a message.
//!
//! A request names one, else its number has one, else its brand, else it is `default`, which is
//! there unless the configuration has another of that name. What a policy does with a message is
//! for the rules to say.

use std::collections::BTreeMap;
use std::fmt;

use casement_domain::id::BusinessNumber;
use casement_domain::inbound::Addresses;
use casement_domain::money::{Amount, Currency, parse_micros};
use casement_domain::routing::{
    Conditions, Policy, Purpose, QuietHours, Route, Step, Stoppable, WindowIs, Zones,
};
use jiff::civil::Time;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::opt_in;
use crate::failover::FailoverConfig;

/// The policy of whatever has no other.
const DEFAULT: &str = "default";

/// Longest name of a policy.
const NAME_LEN_MAX: usize = 64;

/// Most steps of one policy.
const STEPS_MAX: usize = 32;

/// A policy as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// What to try, first one first: a route's name, or a table with its conditions.
    pub routes: Vec<StepConfig>,
    /// When another route is taken although the first one was open.
    pub failover: FailoverConfig,
}

/// A route with its conditions as they are configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StepConfig {
    /// `free_form`, `template`, `sms` or `hold`.
    pub route: String,
    /// `open` or `closed`: only while the window is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub window: String,
    /// Only for these: `service`, `utility`, `authentication`, `marketing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// Not for customers who stopped any of these: `marketing`, `sms`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless_stopped: Vec<String>,
    /// Only for customers who opted in, from one of these sources: `web_form`, …, or `any`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opted_in: Vec<String>,
    /// Not in these hours of the customer's day, as in `21:00-08:00`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub quiet_hours: String,
    /// Only if it costs no more, as in `0.05 EUR`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub max_cost: String,
}

/// Whose policy is which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyOf {
    /// Policies by the number's digits.
    pub numbers: BTreeMap<String, String>,
    /// Policies by the brand's id; a number's own goes before.
    pub brands: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for StepConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The table alone, so that what is wrong in it is named.
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Table {
            route: String,
            window: String,
            purposes: Vec<String>,
            unless_stopped: Vec<String>,
            opted_in: Vec<String>,
            quiet_hours: String,
            max_cost: String,
        }

        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = StepConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a route's name, or a table with `route` and its conditions")
            }

            fn visit_str<E: de::Error>(self, route: &str) -> Result<StepConfig, E> {
                Ok(StepConfig {
                    route: route.to_owned(),
                    ..StepConfig::default()
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StepConfig, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StepConfig {
                    route: table.route,
                    window: table.window,
                    purposes: table.purposes,
                    unless_stopped: table.unless_stopped,
                    opted_in: table.opted_in,
                    quiet_hours: table.quiet_hours,
                    max_cost: table.max_cost,
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// All policies, and whose is which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    named: BTreeMap<String, Policy>,
    numbers: BTreeMap<String, String>,
    brands: BTreeMap<String, String>,
    default: Policy,
    failovers: BTreeMap<String, FailoverConfig>,
}

impl Policies {
    /// Reads policies, or returns everything that is wrong with them, in words that say what to
    /// change.
    pub(crate) fn read(
        policies: &BTreeMap<String, PolicyConfig>,
        of: &PolicyOf,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let (mut named, mut failovers) = (BTreeMap::new(), BTreeMap::new());
        for (name, config) in policies {
            let at = format!("dispatcher.policies.{name}");
            if !is_name(name) {
                problems.push(format!(
                    "`{at}`: a policy's name has small letters, digits, `-` and `_`, at most \
                     {NAME_LEN_MAX} of them"
                ));
            }
            let steps = steps(&at, config, &mut problems);
            problems.extend(config.failover.problems(&at));
            failovers.insert(name.clone(), config.failover.clone());
            let name = name.clone();
            named.insert(name.clone(), Policy { name, steps });
        }
        let mut numbers = BTreeMap::new();
        for (number, policy) in &of.numbers {
            let at = format!("dispatcher.policy_of.numbers.{number}");
            match BusinessNumber::parse(number) {
                Ok(parsed) => {
                    numbers.insert(parsed.digits().to_owned(), policy.clone());
                }
                Err(error) => problems.push(format!("`{at}`: {error}")),
            }
            problems.extend(unknown(&at, policy, &named));
        }
        for (brand, policy) in &of.brands {
            let at = format!("dispatcher.policy_of.brands.{brand}");
            problems.extend(unknown(&at, policy, &named));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            default: named.remove(DEFAULT).unwrap_or_default(),
            named,
            numbers,
            brands: of.brands.clone(),
            failovers,
        })
    }

    /// Returns what is wrong with them though it is allowed, if no route has a price.
    pub(crate) fn unpriced(&self) -> Option<String> {
        let policies = std::iter::once(&self.default).chain(self.named.values());
        let is_priced = |policy: &&Policy| {
            let mut steps = policy.steps.iter();
            steps.any(|step| step.conditions.max_cost.is_some())
        };
        let names: Vec<_> = policies
            .filter(is_priced)
            .map(|policy| policy.name.as_str())
            .collect();
        (!names.is_empty()).then(|| {
            format!(
                "`max_cost` stands in the policies {}, but there is no `money.rate_card`: nothing \
                 has a price, so none of these routes is ever taken",
                names.join(", ")
            )
        })
    }

    /// Returns a policy by its name.
    pub(crate) fn named(&self, name: &str) -> Option<&Policy> {
        if name == DEFAULT {
            return Some(&self.default);
        }
        self.named.get(name)
    }

    /// Returns what a policy says about failover.
    pub(crate) fn failover(&self, name: &str) -> FailoverConfig {
        self.failovers.get(name).cloned().unwrap_or_default()
    }

    /// Returns the policy of a number of a brand.
    pub(crate) fn of(&self, number: &BusinessNumber, brand: &str) -> &Policy {
        let name = self.numbers.get(number.digits());
        name.or_else(|| self.brands.get(brand))
            .and_then(|name| self.named(name))
            .unwrap_or(&self.default)
    }

    /// Returns the policy of a message that is being asked for: the one that it names, else the one
    /// that the configuration has for its number, else `own`, the one of its brand's record, else
    /// the brand's by the configuration. `None` if the record names one that there is not.
    pub(crate) fn find_for(
        &self,
        name: &str,
        number: &BusinessNumber,
        brand: &str,
        own: &str,
    ) -> Option<&Policy> {
        if self.named(name).is_some() || self.numbers.contains_key(number.digits()) {
            return Some(self.find(name, number, brand));
        }
        match own {
            "" => Some(self.of(number, brand)),
            own => self.named(own),
        }
    }

    /// Returns the policy of a message that names one, or none. A name that is known no more,
    /// since the message was accepted under another configuration, is as none.
    pub(crate) fn find(&self, name: &str, number: &BusinessNumber, brand: &str) -> &Policy {
        self.named(name).unwrap_or_else(|| self.of(number, brand))
    }
}

/// Returns the zones that a customer may be in, if the policy asks for them.
pub(crate) fn zones(policy: &Policy, named: &str, addresses: &Addresses) -> Zones {
    if !policy.has_quiet_hours() {
        return Zones::default();
    }
    let user_ids = [&addresses.user_id, &addresses.parent_user_id];
    let user_id = user_ids.into_iter().find_map(Option::as_deref);
    Zones::of(named, addresses.phone.as_ref(), user_id)
}

fn is_name(text: &str) -> bool {
    let is_fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}

fn unknown(at: &str, policy: &str, named: &BTreeMap<String, Policy>) -> Option<String> {
    let is_known = policy == DEFAULT || named.contains_key(policy);
    (!is_known).then(|| {
        format!(
            "`{at}` names the policy `{policy}`, and there is no `dispatcher.policies.{policy}`"
        )
    })
}

fn steps(at: &str, config: &PolicyConfig, problems: &mut Vec<String>) -> Vec<Step> {
    if config.routes.is_empty() {
        problems.push(format!("`{at}.routes` is empty: name at least one route"));
    }
    if config.routes.len() > STEPS_MAX {
        problems.push(format!("`{at}.routes` has more than {STEPS_MAX} routes"));
    }
    let mut steps: Vec<Step> = Vec::new();
    for (index, one) in config.routes.iter().enumerate() {
        let at = format!("{at}.routes[{index}]");
        let Some(step) = step(&at, one, problems) else {
            continue;
        };
        let before = steps.iter().find(|before| {
            let is_any = before.conditions == Conditions::default();
            before.route == step.route && (is_any || before.conditions == step.conditions)
        });
        if before.is_some() {
            problems.push(format!(
                "`{at}` is never taken: `{}` comes before it without conditions, or with the same",
                one.route
            ));
        }
        steps.push(step);
    }
    let has = |route| steps.iter().any(|step| step.route == route);
    if has(Route::Hold) && !has(Route::FreeForm) {
        problems.push(format!(
            "`{at}.routes` holds messages without `free_form`: nothing could go once the customer \
             writes"
        ));
    }
    steps
}

fn step(at: &str, config: &StepConfig, problems: &mut Vec<String>) -> Option<Step> {
    let known = problems.len();
    let mut wrong = |field: &str, text: &str, what: &str| {
        problems.push(format!("`{at}.{field}` is `{text}`: {what}"));
    };
    let route = match config.route.as_str() {
        "free_form" => Some(Route::FreeForm),
        "template" => Some(Route::Template),
        "sms" => Some(Route::Sms),
        "hold" => Some(Route::Hold),
        other => {
            wrong("route", other, "use free_form, template, sms or hold");
            None
        }
    };
    let window = match config.window.as_str() {
        "" => None,
        "open" => Some(WindowIs::Open),
        "closed" => Some(WindowIs::Closed),
        other => {
            wrong("window", other, "use open or closed");
            None
        }
    };
    let mut purposes = Vec::new();
    for text in &config.purposes {
        match text.as_str() {
            "service" => purposes.push(Purpose::Service),
            "utility" => purposes.push(Purpose::Utility),
            "authentication" => purposes.push(Purpose::Authentication),
            "marketing" => purposes.push(Purpose::Marketing),
            other => wrong(
                "purposes",
                other,
                "use service, utility, authentication or marketing",
            ),
        }
    }
    let mut unless_stopped = Vec::new();
    for text in &config.unless_stopped {
        match text.as_str() {
            "marketing" => unless_stopped.push(Stoppable::Marketing),
            "sms" => unless_stopped.push(Stoppable::Sms),
            other => wrong("unless_stopped", other, "use marketing or sms"),
        }
    }
    let opt_in = opt_in::read(&config.opted_in);
    if let Err(odd) = &opt_in {
        wrong("opted_in", odd, opt_in::KNOWN);
    }
    let opt_in = opt_in.ok().filter(|_| !config.opted_in.is_empty());
    let opted_in = config.opted_in.first().map_or("", String::as_str);
    let hours = config.quiet_hours.as_str();
    let quiet_hours = quiet_hours(hours);
    if quiet_hours.is_none() && !hours.is_empty() {
        let what = "give two different times, as in 21:00-08:00";
        wrong("quiet_hours", hours, what);
    }
    let cost = config.max_cost.as_str();
    let max_cost = amount(cost);
    if max_cost.is_none() && !cost.is_empty() {
        let what = "give an amount and a currency, as in 0.05 EUR";
        wrong("max_cost", cost, what);
    }
    let route = route?;
    match route {
        Route::FreeForm if window == Some(WindowIs::Closed) => {
            wrong("window", "closed", "free-form goes in an open window only");
        }
        Route::Hold => {
            let nothing = "a message that is held is not sent: this belongs to another route";
            for (field, text) in [
                ("window", config.window.as_str()),
                ("quiet_hours", hours),
                ("max_cost", cost),
                ("opted_in", opted_in),
            ] {
                if !text.is_empty() {
                    wrong(field, text, nothing);
                }
            }
        }
        Route::FreeForm | Route::Template | Route::Sms => {}
    }
    (problems.len() == known).then_some(Step {
        route,
        conditions: Conditions {
            window,
            purposes,
            unless_stopped,
            opt_in,
            quiet_hours,
            max_cost,
        },
    })
}

/// Reads hours such as `21:00-08:00`.
fn quiet_hours(text: &str) -> Option<QuietHours> {
    let (from, to) = text.split_once('-')?;
    QuietHours::new(minute(from.trim())?, minute(to.trim())?)
}

fn minute(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_one = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| text.parse::<i8>().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// Reads an amount such as `0.05 EUR`.
fn amount(text: &str) -> Option<Amount> {
    let (number, currency) = text.split_once(' ')?;
    Some(Amount {
        micros: parse_micros(number)?,
        currency: Currency::parse(currency)?,
    })
}

#[cfg(test)]
mod tests;

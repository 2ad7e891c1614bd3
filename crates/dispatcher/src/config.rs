//! What the dispatcher is told at start.

mod hold;
pub(crate) mod opt_in;

use std::collections::BTreeMap;

use casement_domain::message::{OnUnknown, Policy};
use casement_domain::window;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::policies::{Policies, PolicyConfig, PolicyOf};
use casement_shell::config::Secret;

pub use opt_in::{OfBrand as OptInOfBrand, RequireOptIn, When as OptInWhen};

pub use hold::{Hold, Nudge, OfNumber as HoldOfNumber, Parameter as NudgeParameter};

/// The dispatcher's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// From the claim on, how long the call may still be begun.
    pub call_by: SignedDuration,
    /// How long the call to a provider may take.
    pub call_timeout: SignedDuration,
    /// How long a file may take to be uploaded.
    pub upload_timeout: SignedDuration,
    /// How many files are uploaded at once.
    pub uploads_at_once: usize,
    /// How long an attempt of unknown outcome waits for a report.
    pub reconcile_after: SignedDuration,
    /// What happens then: `give_up`, `next_route` or `retry`.
    pub on_unknown: Unknown,
    /// How long a held message waits before it is looked at again without a reason.
    pub recheck_after: SignedDuration,
    /// Pauses before the same route is tried again.
    pub retry_schedule: Vec<SignedDuration>,
    /// How many attempts a message gets in all.
    pub attempts_max: usize,
    /// How long reports are awaited after acceptance.
    pub report_within: SignedDuration,
    /// Time to live of a message whose caller names none.
    pub default_ttl: SignedDuration,
    /// How many conversations are worked on at once.
    pub in_hand_max: usize,
    /// How many turns in a row a brand gets where several wait; one unless it is named.
    pub brand_weights: BTreeMap<String, u32>,
    /// How long after its time a deadline is handed out: each replica has a stagger of its own.
    pub stagger: SignedDuration,
    /// How long the lease of the active replica lasts; zero for no lease.
    pub lease: SignedDuration,
    /// How many messages wait for a customer, and what asks the customer to write.
    pub hold: Hold,
    /// Routing policies by their names.
    pub policies: BTreeMap<String, PolicyConfig>,
    /// Whose policy is which.
    pub policy_of: PolicyOf,
    /// Where an opt-in has to be on record, or vouched for.
    pub require_opt_in: RequireOptIn,
    /// What surrounds a template's body where its text goes as SMS: `{{text}}`, perhaps with words
    /// and `{{wa_link}}`; empty to send no such SMS.
    pub sms_from_template: String,
    /// What keys of sensitive messages are wrapped by, one a line, the one in use first; without
    /// it such messages are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive_key: Option<Secret>,
    /// Where the providers are.
    pub providers: Providers,
    /// SMS gateways and senders: a section of its own, which other roles read, too.
    #[serde(skip)]
    pub sms: casement_sms::config::Config,
    /// Prices and caps: a section of its own.
    #[serde(skip)]
    pub money: crate::money::Config,
}

/// Where the providers are reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Providers {
    /// Base address of the Graph API, without a version.
    pub graph_url: String,
    /// Version of the Graph API, unless the number's app has another.
    pub graph_version: String,
    /// Versions by the app that a number's record names.
    pub graph_versions: BTreeMap<String, String>,
    /// Base address of Twilio's API.
    pub twilio_url: String,
    /// Address under which Twilio reaches our ingress; empty for no status callbacks.
    pub twilio_callback_url: String,
}

/// What to do about an attempt whose outcome nobody reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// End the message as unknown.
    GiveUp,
    /// Try the next route; the customer may get it twice.
    NextRoute,
    /// Try the same route again; the customer may get it twice.
    Retry,
}

impl Default for Config {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            call_by: policy.call_by,
            call_timeout: policy.call_timeout,
            upload_timeout: SignedDuration::from_mins(2),
            uploads_at_once: 16,
            reconcile_after: policy.reconcile_after,
            on_unknown: Unknown::GiveUp,
            recheck_after: policy.recheck_after,
            retry_schedule: policy.retry_schedule,
            attempts_max: policy.attempts_max,
            report_within: policy.report_within,
            default_ttl: SignedDuration::from_hours(24),
            in_hand_max: 256,
            brand_weights: BTreeMap::new(),
            stagger: SignedDuration::ZERO,
            lease: SignedDuration::from_secs(10),
            hold: Hold::default(),
            policies: BTreeMap::new(),
            policy_of: PolicyOf::default(),
            require_opt_in: RequireOptIn::default(),
            sms_from_template: "{{text}}".to_owned(),
            sensitive_key: None,
            providers: Providers::default(),
            sms: casement_sms::config::Config::default(),
            money: crate::money::Config::default(),
        }
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            graph_url: "https://graph.facebook.com".to_owned(),
            graph_version: "v26.0".to_owned(),
            graph_versions: BTreeMap::new(),
            twilio_url: "https://api.twilio.com".to_owned(),
            twilio_callback_url: String::new(),
        }
    }
}

impl Providers {
    /// Returns the version of the Graph API for numbers of an app.
    pub fn graph_version_of(&self, app: &str) -> &str {
        self.graph_versions.get(app).unwrap_or(&self.graph_version)
    }

    fn problem(&self) -> Option<String> {
        let of_apps = self.graph_versions.iter();
        of_apps
            .map(|(app, version)| (format!("graph_versions.{app}"), version))
            .chain([("graph_version".to_owned(), &self.graph_version)])
            .find(|(_, version)| !is_version(version))
            .map(|(name, _)| format!("dispatcher.providers.{name} must be like v26.0"))
    }
}

/// Whether a text names a version of the Graph API: it becomes a part of a path.
fn is_version(text: &str) -> bool {
    let numbers = text.strip_prefix('v').and_then(|it| it.split_once('.'));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

impl Config {
    /// Returns what is wrong with the settings, in words that say what to change.
    pub fn problem(&self) -> Option<String> {
        let positive = [
            ("call_by", self.call_by),
            ("call_timeout", self.call_timeout),
            ("upload_timeout", self.upload_timeout),
            ("reconcile_after", self.reconcile_after),
            ("recheck_after", self.recheck_after),
            ("report_within", self.report_within),
            ("default_ttl", self.default_ttl),
        ];
        for (name, value) in positive {
            if value <= SignedDuration::ZERO {
                return Some(format!("dispatcher.{name} must be longer than zero"));
            }
        }
        for (name, count) in [
            ("attempts_max", self.attempts_max),
            ("in_hand_max", self.in_hand_max),
            ("uploads_at_once", self.uploads_at_once),
        ] {
            if count == 0 {
                return Some(format!("dispatcher.{name} must be at least 1"));
            }
        }
        let mut weights = self.brand_weights.iter();
        if let Some((brand, _)) = weights.find(|(_, weight)| **weight == 0) {
            return Some(format!(
                "dispatcher.brand_weights.{brand} must be at least 1"
            ));
        }
        if let Some(problem) = self
            .providers
            .problem()
            .or_else(|| self.hold.problem())
            .or_else(|| self.require_opt_in.problem())
        {
            return Some(problem);
        }
        let pauses = self.retry_schedule.iter();
        let not_negative = [("lease", self.lease), ("stagger", self.stagger)]
            .into_iter()
            .chain(pauses.map(|pause| ("retry_schedule", *pause)));
        for (name, value) in not_negative {
            if value.is_negative() {
                return Some(format!("dispatcher.{name} must not be negative"));
            }
        }
        let pattern = &self.sms_from_template;
        if !pattern.is_empty() && !casement_domain::sms::text::has_text(pattern) {
            let problem = "dispatcher.sms_from_template must have a {{text}} in it, or be empty";
            return Some(problem.to_owned());
        }
        let problems = Policies::read(&self.policies, &self.policy_of).err();
        let problems = problems.into_iter().flatten().chain(self.sms.problems());
        let problems = problems.chain(self.money.problems());
        problems.into_iter().next()
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            call_by: self.call_by,
            call_timeout: self.call_timeout,
            reconcile_after: self.reconcile_after,
            on_unknown: match self.on_unknown {
                Unknown::GiveUp => OnUnknown::GiveUp,
                Unknown::NextRoute => OnUnknown::NextRoute,
                Unknown::Retry => OnUnknown::Retry,
            },
            recheck_after: self.recheck_after,
            retry_schedule: self.retry_schedule.clone(),
            attempts_max: self.attempts_max,
            report_within: self.report_within,
        }
    }
}

/// All rules that a decision is made by.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) message: Policy,
    pub(crate) window: window::Policy,
    pub(crate) routing: Policies,
    /// What surrounds a template's body in an SMS.
    pub(crate) sms_from_template: String,
    pub(crate) hold: Hold,
    /// Where an opt-in is needed.
    pub(crate) opt_in: RequireOptIn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_a_zero_is_named() {
        assert_eq!(Config::default().problem(), None);
        let broken = Config {
            call_timeout: SignedDuration::ZERO,
            ..Config::default()
        };
        assert!(
            broken
                .problem()
                .unwrap()
                .contains("dispatcher.call_timeout")
        );
        let mut versions = Providers::default();
        assert_eq!(versions.graph_version_of(""), "v26.0");
        versions.graph_versions = [("old".to_owned(), "v24.0".to_owned())].into();
        assert_eq!(versions.graph_version_of("old"), "v24.0");
        assert_eq!(versions.graph_version_of("new"), "v26.0");
        assert_eq!(versions.problem(), None);
        for wrong in ["26.0", "v26", "v26.0/x", "v.0", ""] {
            let versions = Providers {
                graph_versions: [("old".to_owned(), wrong.to_owned())].into(),
                ..Providers::default()
            };
            let problem = versions.problem().unwrap();
            assert!(problem.contains("graph_versions.old"), "{problem}");
        }
        let hasty = Config {
            stagger: SignedDuration::from_secs(-1),
            ..Config::default()
        };
        assert!(hasty.problem().unwrap().contains("dispatcher.stagger"));
    }
}

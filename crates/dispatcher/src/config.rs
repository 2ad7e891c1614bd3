//! What the dispatcher is told at start.

use casement_domain::message::{OnUnknown, Policy};
use casement_domain::routing;
use casement_domain::window;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The dispatcher's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// From the claim on, how long the call may still be begun.
    pub call_by: SignedDuration,
    /// How long the call to a provider may take.
    pub call_timeout: SignedDuration,
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
    /// How long after its time a deadline is handed out: each replica has a stagger of its own.
    pub stagger: SignedDuration,
    /// How long the lease of the active replica lasts; zero for no lease.
    pub lease: SignedDuration,
    /// Where the providers are.
    pub providers: Providers,
}

/// Where the providers are reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Providers {
    /// Base address of the Graph API, without a version.
    pub graph_url: String,
    /// Version of the Graph API.
    pub graph_version: String,
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
            reconcile_after: policy.reconcile_after,
            on_unknown: Unknown::GiveUp,
            recheck_after: policy.recheck_after,
            retry_schedule: policy.retry_schedule,
            attempts_max: policy.attempts_max,
            report_within: policy.report_within,
            default_ttl: SignedDuration::from_hours(24),
            in_hand_max: 256,
            stagger: SignedDuration::ZERO,
            lease: SignedDuration::from_secs(10),
            providers: Providers::default(),
        }
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            graph_url: "https://graph.facebook.com".to_owned(),
            graph_version: "v26.0".to_owned(),
            twilio_url: "https://api.twilio.com".to_owned(),
            twilio_callback_url: String::new(),
        }
    }
}

impl Config {
    /// Returns what is wrong with the settings, in words that say what to change.
    pub fn problem(&self) -> Option<String> {
        let positive = [
            ("call_by", self.call_by),
            ("call_timeout", self.call_timeout),
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
        if self.attempts_max == 0 || self.in_hand_max == 0 {
            return Some(
                "dispatcher.attempts_max and dispatcher.in_hand_max must be at least 1".to_owned(),
            );
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
        None
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
    pub(crate) routing: routing::Policy,
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
        let hasty = Config {
            stagger: SignedDuration::from_secs(-1),
            ..Config::default()
        };
        assert!(hasty.problem().unwrap().contains("dispatcher.stagger"));
    }
}

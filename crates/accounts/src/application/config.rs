//! How long the steps of an application are expected to take.

use casement_domain::application::Durations;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The `[accounts.application]` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// From the start to the accepted invite.
    pub invite_within: SignedDuration,
    /// From the accepted invite to the signed terms.
    pub terms_within: SignedDuration,
    /// From signed terms and a verified business to the connected number.
    pub activation_within: SignedDuration,
    /// From the begun verification to the platform's word; it goes beside the others.
    pub verification_within: SignedDuration,
}

impl Default for Config {
    fn default() -> Self {
        let Durations {
            invite,
            verification,
            terms,
            activation,
        } = Durations::default();
        Self {
            invite_within: invite,
            terms_within: terms,
            activation_within: activation,
            verification_within: verification,
        }
    }
}

impl Config {
    /// Returns what cannot be, in words that say what to change.
    pub fn problem(&self) -> Option<String> {
        let all = [
            ("invite_within", self.invite_within),
            ("terms_within", self.terms_within),
            ("activation_within", self.activation_within),
            ("verification_within", self.verification_within),
        ];
        let (name, _) = all
            .into_iter()
            .find(|(_, within)| *within <= SignedDuration::ZERO)?;
        Some(format!(
            "accounts.application.{name} must be longer than zero"
        ))
    }

    /// Returns it as the rules take it.
    pub(crate) fn durations(&self) -> Durations {
        Durations {
            invite: self.invite_within,
            verification: self.verification_within,
            terms: self.terms_within,
            activation: self.activation_within,
        }
    }
}

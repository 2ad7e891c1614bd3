//! The `[gateway.console]` section of the configuration.
//!
//! The address it listens on is the process's own, `[console]`.

use casement_shell::config::Secret;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What the console can be told. Durations are written as `5s` or `2m`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// How long somebody stays signed in.
    pub session_length: SignedDuration,
    /// What sessions are sealed with: the same for all gateways before the same roles. Drawn at
    /// start if it is not set, so that nobody is signed in after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<Secret>,
    /// How often a minute somebody at one address may try a token that is not known.
    pub sign_in_failures_per_minute: u32,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            session_length: SignedDuration::from_hours(12),
            session_key: None,
            sign_in_failures_per_minute: 10,
        }
    }
}

/// A key is a secret, and two are the same if they are found in the same place.
impl PartialEq for ConsoleConfig {
    fn eq(&self, other: &Self) -> bool {
        let place = |config: &Self| config.session_key.as_ref().map(|key| format!("{key:?}"));
        self.session_length == other.session_length
            && self.sign_in_failures_per_minute == other.sign_in_failures_per_minute
            && place(self) == place(other)
    }
}

impl Eq for ConsoleConfig {}

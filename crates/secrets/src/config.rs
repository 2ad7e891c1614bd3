//! The `[secrets]` section.

use casement_shell::config::Secret;
use serde::{Deserialize, Serialize};

use crate::keys::{BadKeys, MasterKeys};

const SETTING: &str = "secrets.master_key";

/// What stored secrets need to be told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The keys that stored secrets and customers' keys are sealed under, one a line: the first
    /// seals, all open. Without one, no secret is stored, and nothing is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_key: Option<Secret>,
}

impl Config {
    /// Reads the keys; none if none is set.
    ///
    /// # Errors
    /// They cannot be read, or somebody could guess them.
    pub fn keys(&self) -> Result<MasterKeys, BadKeys> {
        MasterKeys::read(SETTING, self.master_key.as_ref(), "secrets")
    }

    /// Reads the keys that customers' keys are sealed under; none if none is set. They come from
    /// the same lines as [`Config::keys`], and open nothing that those seal.
    ///
    /// # Errors
    /// They cannot be read, or somebody could guess them.
    pub fn customer_keys(&self) -> Result<MasterKeys, BadKeys> {
        MasterKeys::read(SETTING, self.master_key.as_ref(), "customers")
    }
}

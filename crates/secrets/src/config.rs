//! The `[secrets]` section.

use casement_shell::config::Secret;
use serde::{Deserialize, Serialize};

use crate::keys::{BadKeys, MasterKeys};

/// What stored secrets need to be told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The keys that stored secrets are sealed under, one a line: the first seals, all open.
    /// Without one, no secret is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_key: Option<Secret>,
}

impl Config {
    /// Reads the keys; none if none is set.
    ///
    /// # Errors
    /// They cannot be read, or somebody could guess them.
    pub fn keys(&self) -> Result<MasterKeys, BadKeys> {
        MasterKeys::read("secrets.master_key", self.master_key.as_ref(), "secrets")
    }
}

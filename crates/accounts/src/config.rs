//! The `[accounts]` section. What stands in the accounts file itself is [`crate::file`]'s.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the role needs to be told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brands, numbers and templates to record at start; none if absent. Relative to the working
    /// directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

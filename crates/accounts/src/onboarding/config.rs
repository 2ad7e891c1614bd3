//! Meta's apps that businesses sign up with.

use casement_shell::config::Secret;
use serde::{Deserialize, Serialize};

/// One app: `[accounts.apps.NAME]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Meta's id of it.
    pub id: String,
    /// The app secret.
    pub secret: Secret,
}

//! The `[accounts]` section. What stands in the accounts file itself is [`crate::file`]'s.

use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What the role needs to be told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brands, numbers and templates to record at start; none if absent. Relative to the working
    /// directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// How long the steps of an application are expected to take.
    #[serde(default)]
    pub application: crate::application::Config,
    /// Where the platform's management side is.
    #[serde(default)]
    pub graph: Graph,
    /// Meta's apps that businesses sign up with, by the names that `ingress.apps` has for them.
    #[serde(default)]
    pub apps: std::collections::BTreeMap<String, crate::onboarding::App>,
    /// How often numbers are asked about.
    #[serde(default)]
    pub numbers: Numbers,
    /// How often templates are read.
    #[serde(default)]
    pub templates: Templates,
}

/// The `[accounts.graph]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Graph {
    /// The Graph API.
    pub url: String,
    /// Its version, such as `v26.0`.
    pub version: String,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            url: "https://graph.facebook.com".to_owned(),
            version: "v26.0".to_owned(),
        }
    }
}

/// The `[accounts.numbers]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Numbers {
    /// How often the platform is asked about each number, give or take a tenth; zero for never.
    /// Each time is one management call.
    pub poll_every: SignedDuration,
    /// How often the platform is asked when access tokens end and whether webhooks are subscribed
    /// to, once for all numbers that share a token and a business account; zero for never. Each time
    /// is three management calls.
    pub watch_every: SignedDuration,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            poll_every: SignedDuration::from_mins(15),
            watch_every: SignedDuration::from_hours(1),
        }
    }
}

/// The `[accounts.templates]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// How often all templates of a business account are read from the platform, give or take a
    /// tenth; zero for never. Each time is a management call for every hundred templates. Webhooks
    /// and refused sends have the template in question read at once whatever stands here.
    pub sync_every: SignedDuration,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            sync_every: SignedDuration::from_hours(6),
        }
    }
}

//! The layers above the compiled-in defaults, each saying where its values come from.
//!
//! What the merged layers mean is for the caller.

use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// A file that has been read already, so that a missing one is an error of its own.
pub(super) struct TomlFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Provider for TomlFile {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("the file {}", self.path.display()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Toml::string(&self.text).data()
    }
}

/// Who gave a key as text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Environment,
    Flag,
}

/// One key with a value as text.
pub(super) struct Assignments {
    pub(super) origin: Origin,
    /// Dotted.
    pub(super) key: String,
    pub(super) text: String,
    /// A token of digits stays a string where a string is expected.
    pub(super) below_is_string: bool,
}

impl Provider for Assignments {
    fn metadata(&self) -> Metadata {
        Metadata::named(match self.origin {
            Origin::Environment => {
                let name = self.key.to_ascii_uppercase().replace('.', "__");
                format!("the environment variable {}{name}", super::ENV_PREFIX)
            }
            Origin::Flag => format!("the flag for {}", self.key),
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let value = if self.below_is_string {
            as_string(&self.text)
        } else {
            // Figment reads any text as some value; there is nothing to refuse here.
            self.text.parse().unwrap_or_else(|never| match never {})
        };
        match figment::util::nest(&self.key, value) {
            Value::Dict(_, dict) => Ok(Profile::Default.collect(dict)),
            _ => Err(Error::from(format!("`{}` is not a key", self.key))),
        }
    }
}

/// A string stays as it is, unless what is given is plainly a table: `{ file = "…" }` must be able
/// to replace a secret that was a string.
fn as_string(text: &str) -> Value {
    if text.trim_start().starts_with('{') {
        let parsed = text.parse().unwrap_or_else(|never| match never {});
        if matches!(parsed, Value::Dict(..)) {
            return parsed;
        }
    }
    Value::from(text)
}

//! Configuration in layers: compiled-in defaults, a file, the environment, flags.
//!
//! The defaults are a commented TOML text that each program compiles in; it is the documentation,
//! too. A later layer wins key by key. Keys nobody knows are refused, given that the target type
//! says `#[serde(deny_unknown_fields)]`, and every error names the key and where it was set.
//! Checks between fields belong to the configuration's owner.

mod layers;
mod secret;

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

use layers::{Assignments, Origin};

pub use secret::{REDACTED, Secret, SecretError};

/// sysexits.h: the command or its configuration is wrong, so a restart is no use.
pub const EX_USAGE: u8 = 64;

/// What the names of environment variables start with; `__` separates the keys:
/// `CASEMENT__API__LISTEN` is `api.listen`.
pub const ENV_PREFIX: &str = "CASEMENT__";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("configuration file {} cannot be read", path.display())]
    Read {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A layer is not understood, or a value is missing, unknown or of the wrong kind.
    #[error("configuration is wrong: {}", Problems(problems))]
    Invalid {
        /// Each with its key and where it was set.
        problems: Vec<String>,
    },
    /// The configuration cannot be written as TOML.
    #[error("configuration cannot be printed as TOML")]
    Print(#[source] Box<toml::ser::Error>),
}

impl ConfigError {
    /// A problem found by a check between fields; it ends the program as any other does.
    pub fn check(problem: impl Into<String>) -> Self {
        Self::Invalid {
            problems: vec![problem.into()],
        }
    }
}

/// Loads a configuration: `defaults` → `file` → environment → `overrides`.
///
/// `overrides` are dotted keys with values as text, `("api.listen", "127.0.0.1:0")`, usually from
/// flags. Text from there and from the environment is read as a TOML-like value (`5`, `true`,
/// `["a", "b"]`, `{ file = "token" }`), but taken as it is where the layers below hold a string.
pub fn load<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    overrides: &[(String, String)],
) -> Result<T, ConfigError> {
    load_with(defaults, file, environment(), overrides)
}

/// [`load`] with an environment of the caller's, for tests.
pub fn load_with<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &[(String, String)],
) -> Result<T, ConfigError> {
    let mut layers = Figment::from(Toml::string(defaults));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        layers = layers.merge(layers::TomlFile {
            path: path.to_owned(),
            text,
        });
    }
    // Sorted, so that the outcome does not depend on the order of the environment.
    let mut variables: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((key_of(&name)?, value)))
        .collect();
    variables.sort();
    layers = merge_each(layers, Origin::Environment, &variables);
    layers = merge_each(layers, Origin::Flag, overrides);
    layers.extract().map_err(|error| ConfigError::Invalid {
        problems: error
            .into_iter()
            .map(|error| describe(&layers, &error))
            .collect(),
    })
}

/// Writes a configuration as TOML, for `--print-config`. Secrets do not print: [`Secret`] writes
/// where it comes from, or [`REDACTED`].
pub fn print<T: Serialize>(config: &T) -> Result<String, ConfigError> {
    toml::to_string_pretty(config).map_err(|error| ConfigError::Print(Box::new(error)))
}

/// Reads one environment variable, for what has its own name, such as a path given by a tool.
/// Empty and not unicode count as absent.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Variables that are not unicode cannot be ours and are left out.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn key_of(variable: &str) -> Option<String> {
    let keys = variable.strip_prefix(ENV_PREFIX)?;
    Some(keys.to_ascii_lowercase().replace("__", "."))
}

fn merge_each(layers: Figment, origin: Origin, entries: &[(String, String)]) -> Figment {
    // One layer an entry: an error then names the very variable or flag.
    entries.iter().fold(layers, |layers, (key, text)| {
        let below_is_string = layers
            .find_value(key)
            .is_ok_and(|value| value.as_str().is_some());
        layers.merge(Assignments {
            origin,
            key: key.clone(),
            text: text.clone(),
            below_is_string,
        })
    })
}

/// One problem in one line: key, what is wrong, where it was set.
fn describe(layers: &Figment, error: &figment::Error) -> String {
    let mut path = error.path.clone();
    match &error.kind {
        // These name the key only in their text.
        Kind::UnknownField(name, _) if path.last() != Some(name) => path.push(name.clone()),
        Kind::MissingField(name) if path.last().map(String::as_str) != Some(name.as_ref()) => {
            path.push(name.clone().into_owned());
        }
        _ => {}
    }
    let key = path.join(".");
    // The layer that set the key; the value's own is more exact than the table's around it.
    let origin = layers.find_metadata(&key).or(error.metadata.as_ref());
    let origin = match (&error.kind, origin) {
        (Kind::MissingField(_), _) | (_, None) => String::new(),
        (_, Some(origin)) => format!(" (set by {})", origin.name),
    };
    if key.is_empty() {
        format!("{}{origin}", error.kind)
    } else {
        format!("`{key}`: {}{origin}", error.kind)
    }
}

struct Problems<'a>(&'a [String]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[cfg(test)]
mod tests;

//! A secret in a configuration: the value itself, or where to find it.
//!
//! It never prints its value and does not judge whether the value is a good one.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands where a secret would be printed.
pub const REDACTED: &str = "<redacted>";

/// A string, `{ file = "path" }` (relative to the working directory), or `{ env = "NAME" }`.
#[derive(Clone)]
pub enum Secret {
    /// Given in the configuration itself.
    Value(SecretString),
    /// The content of a file, without the white space around it.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("secret file {} cannot be read", path.display())]
    Read {
        /// As it was configured.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not set, or empty.
    #[error("environment variable {0} of a secret is not set")]
    Unset(String),
    /// There is nothing in it.
    #[error("secret is empty")]
    Empty,
}

impl Secret {
    /// A secret whose value is at hand.
    pub fn from_value(value: impl Into<String>) -> Self {
        Self::Value(SecretString::from(value.into()))
    }

    /// Fetches the value. Reads the file or the environment anew on every call, so that a secret
    /// can be changed without a restart by whoever resolves it again.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        let value = match self {
            Self::Value(value) => value.clone(),
            Self::File(path) => {
                let content =
                    std::fs::read_to_string(path).map_err(|source| SecretError::Read {
                        path: path.clone(),
                        source,
                    })?;
                SecretString::from(content.trim())
            }
            Self::Env(name) => {
                let value = super::env_var(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                SecretString::from(value)
            }
        };
        if value.expose_secret().is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str(REDACTED),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, place) = match self {
            Self::Value(_) => return serializer.serialize_str(REDACTED),
            Self::File(path) => ("file", path.display().to_string()),
            Self::Env(name) => ("env", name.clone()),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &place)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// By hand, since an untagged enum would print what it could not read.
struct SecretVisitor;

impl SecretVisitor {
    /// Says what to do, and not what was there.
    fn not_text<E: de::Error>() -> E {
        E::custom("a secret that looks like a number or a truth value must stand in quotes")
    }
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, { file = \"path\" } or { env = \"NAME\" }")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
        Ok(Secret::from_value(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Secret, E> {
        Ok(Secret::from_value(value))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(Self::not_text())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom("a secret's table needs `file` or `env`"));
        };
        let secret = match key.as_str() {
            "file" => Secret::File(map.next_value()?),
            "env" => Secret::Env(map.next_value()?),
            _ => return Err(de::Error::unknown_field(&key, &["file", "env"])),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom(
                "a secret's table takes one of `file` and `env`",
            ));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        token: Secret,
    }

    fn holder(text: &str) -> Result<Secret, String> {
        toml::from_str::<Holder>(text)
            .map(|holder| holder.token)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = holder(r#"token = "hunter2""#).unwrap();
        assert_eq!(secret.resolve().unwrap().expose_secret(), "hunter2");
        let printed = toml::to_string(&Holder {
            token: secret.clone(),
        })
        .unwrap();
        assert_eq!(printed, "token = \"<redacted>\"\n");
        assert_eq!(format!("{secret:?}"), REDACTED);
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = holder(&format!("token = {{ file = {path:?} }}")).unwrap();
        assert_eq!(secret.resolve().unwrap().expose_secret(), "hunter2");
        assert!(
            !toml::to_string(&Holder {
                token: secret.clone()
            })
            .unwrap()
            .contains("hunter2")
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(secret.resolve(), Err(SecretError::Empty)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(secret.resolve(), Err(SecretError::Read { .. })));
    }

    #[test]
    fn a_secret_comes_from_the_environment() {
        let secret = holder(r#"token = { env = "CASEMENT_SURELY_NOT_SET" }"#).unwrap();
        assert_eq!(
            secret.resolve().unwrap_err().to_string(),
            "environment variable CASEMENT_SURELY_NOT_SET of a secret is not set"
        );
        // Set for every test by cargo.
        let secret = holder(r#"token = { env = "CARGO_MANIFEST_DIR" }"#).unwrap();
        assert!(secret.resolve().is_ok());
    }

    #[test]
    fn a_secret_of_another_kind_is_refused_without_being_shown() {
        for text in ["token = 424242", "token = true", "token = 42.42"] {
            let error = holder(text).unwrap_err();
            assert!(error.contains("in quotes"), "{error}");
        }
        assert!(
            holder("token = {}")
                .unwrap_err()
                .contains("needs `file` or `env`")
        );
        assert!(
            holder(r#"token = { file = "a", env = "B" }"#)
                .unwrap_err()
                .contains("one of")
        );
        assert!(
            holder(r#"token = { path = "a" }"#)
                .unwrap_err()
                .contains("unknown field `path`")
        );
    }
}

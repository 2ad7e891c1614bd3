//! Who may call: bearer tokens with scopes.
//!
//! It authenticates every call but those of the health service, and tells services who is calling.
//! Each method says itself which scope it needs, with [`require`].

mod layer;

use std::collections::BTreeSet;
use std::fmt;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::{Code, Status};

use crate::config::{REDACTED, Secret, SecretError};
use crate::grpc::refusal;

pub use layer::{AuthLayer, AuthService, protect};

/// The token of the demo; refused everywhere else.
pub const DEMO_TOKEN: &str = "demo-token";

/// The brand of a token that names none.
pub const DEFAULT_BRAND: &str = "default";

/// A token of this brand acts for every brand.
pub const ALL_BRANDS: &str = "*";

/// The reason of a refusal for want of a valid token.
pub const UNAUTHENTICATED_TOKEN: &str = "UNAUTHENTICATED_TOKEN";

/// The reason of a refusal for want of a scope.
pub const MISSING_SCOPE: &str = "MISSING_SCOPE";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask for windows, conversations and messages.
    Read,
    /// Send, cancel.
    Send,
    /// Add notes, assign, close, label, mark as read.
    Colleague,
    /// Change brands, numbers, templates, policies.
    Admin,
    /// Read every event, verify and export the archive.
    Audit,
    /// Erase customers.
    Erase,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Send,
        Self::Colleague,
        Self::Admin,
        Self::Audit,
        Self::Erase,
    ];

    /// As written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Colleague => "colleague",
            Self::Admin => "admin",
            Self::Audit => "audit",
            Self::Erase => "erase",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `[[api.tokens]]` of a configuration: the token itself, or the SHA-256 of it in hexadecimal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// For logs and for the record of who did what.
    pub name: String,
    /// The token, or where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// For those who keep no token where it is checked.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "redact"
    )]
    pub sha256: Option<String>,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// Whom it acts for.
    #[serde(default = "default_brand")]
    pub brand: String,
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// The brand it acts for.
    pub brand: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

impl Caller {
    /// Returns whether the caller may see and do what belongs to a brand.
    pub fn acts_for(&self, brand: &str) -> bool {
        self.brand == ALL_BRANDS || self.brand == brand
    }

    /// A caller with every scope, for calls within one process and for tests.
    pub fn internal(name: impl Into<String>, brand: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            brand: brand.into(),
            scopes: Scope::ALL.into(),
        }
    }
}

/// Why the tokens of a configuration are refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A token must be given one way.
    #[error("token {0} needs exactly one of `token` and `sha256`")]
    Source(String),
    /// The digest is not one.
    #[error("`sha256` of token {0} is not 64 hexadecimal digits")]
    Digest(String),
    /// A token that allows nothing is a mistake.
    #[error("token {0} has no scopes")]
    NoScopes(String),
    /// Two tokens of one name could not be told apart in the record.
    #[error("two tokens are named {0}")]
    Name(String),
    /// Two names of one token could not be told apart at all.
    #[error("tokens {0} and {1} are the same")]
    Same(String, String),
    /// Everybody knows it.
    #[error("token {0} is the demo's and not accepted outside demo mode")]
    Demo(String),
    /// The secret has no value.
    #[error("token {name} has no value")]
    Secret {
        /// The token's name.
        name: String,
        /// Why.
        #[source]
        source: SecretError,
    },
}

/// The tokens that are accepted, as digests.
#[derive(Clone, Default)]
pub struct Tokens {
    known: Vec<([u8; 32], Caller)>,
}

impl Tokens {
    /// Resolves and checks the tokens of a configuration.
    pub fn from_config(configs: &[TokenConfig]) -> Result<Self, TokenError> {
        let tokens = Self::for_demo(configs)?;
        let demo = digest(DEMO_TOKEN);
        if let Some((_, caller)) = tokens.known.iter().find(|(known, _)| *known == demo) {
            return Err(TokenError::Demo(caller.name.clone()));
        }
        Ok(tokens)
    }

    /// [`Tokens::from_config`], but [`DEMO_TOKEN`] is as good as any other.
    pub fn for_demo(configs: &[TokenConfig]) -> Result<Self, TokenError> {
        let mut tokens = Self::default();
        for config in configs {
            tokens.add(config)?;
        }
        Ok(tokens)
    }

    /// Whether no token is accepted at all.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Who presents `token`. Takes the same time whichever token it is, if any.
    pub fn authenticate(&self, token: &str) -> Option<Caller> {
        let presented = digest(token);
        let mut found = None;
        for (known, caller) in &self.known {
            if bool::from(known.ct_eq(&presented)) {
                found = Some(caller);
            }
        }
        found.cloned()
    }

    fn add(&mut self, config: &TokenConfig) -> Result<(), TokenError> {
        let name = || config.name.clone();
        let digest = match (&config.token, &config.sha256) {
            (Some(token), None) => {
                let token = token.resolve().map_err(|source| TokenError::Secret {
                    name: name(),
                    source,
                })?;
                digest(token.expose_secret())
            }
            (None, Some(sha256)) => {
                let mut digest = [0; 32];
                hex::decode_to_slice(sha256, &mut digest)
                    .map_err(|_| TokenError::Digest(name()))?;
                digest
            }
            (None, None) | (Some(_), Some(_)) => return Err(TokenError::Source(name())),
        };
        if config.scopes.is_empty() {
            return Err(TokenError::NoScopes(name()));
        }
        for (known, caller) in &self.known {
            if caller.name == config.name {
                return Err(TokenError::Name(name()));
            }
            if *known == digest {
                return Err(TokenError::Same(caller.name.clone(), name()));
            }
        }
        let caller = Caller {
            name: name(),
            brand: config.brand.clone(),
            scopes: config.scopes.clone(),
        };
        self.known.push((digest, caller));
        Ok(())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.known.iter().map(|(_, caller)| &caller.name))
            .finish()
    }
}

/// Who is calling, if they may do what needs `scope`.
///
/// # Errors
/// UNAUTHENTICATED if no [`AuthLayer`] saw the call, PERMISSION_DENIED if the token lacks the scope.
pub fn require<T>(request: &tonic::Request<T>, scope: Scope) -> Result<Caller, Status> {
    let caller = request
        .extensions()
        .get::<Caller>()
        .ok_or_else(unauthenticated)?;
    authorize(caller, scope)?;
    Ok(caller.clone())
}

/// [`require`] for a caller who is known already.
///
/// # Errors
/// PERMISSION_DENIED if the token lacks the scope.
pub fn authorize(caller: &Caller, scope: Scope) -> Result<(), Status> {
    if caller.scopes.contains(&scope) {
        return Ok(());
    }
    Err(refusal(
        Code::PermissionDenied,
        MISSING_SCOPE,
        format!("token lacks the scope `{scope}`"),
        [("scope", scope.as_str())],
    ))
}

fn unauthenticated() -> Status {
    refusal::<String, String>(
        Code::Unauthenticated,
        UNAUTHENTICATED_TOKEN,
        "send a known token as `authorization: Bearer …`",
        [],
    )
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn default_brand() -> String {
    DEFAULT_BRAND.to_owned()
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn redact<S: serde::Serializer>(_: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(REDACTED)
}

#[cfg(test)]
mod tests;

//! Who may call: bearer tokens with scopes.
//!
//! It authenticates every call but those of the health service, and tells services who is calling.
//! Each method says itself which scope it needs, with [`require`].

mod layer;
mod refusals;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use crate::config::{REDACTED, Secret, SecretError};
use crate::grpc::refusal;

pub use layer::{AuthLayer, AuthService, protect};
pub use refusals::{
    Entrance, Kind, MORE_KINDS, REFUSAL_KINDS_MAX, REFUSED_HEADER, Refusals, Tally, handing_on,
};
pub use tokens::{HASH_PREFIX, Tokens, hash};

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

/// One `[[api.tokens]]` of a configuration: where its hashes stand, or the SHA-256 of it in
/// hexadecimal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// For logs and for the record of who did what.
    pub name: String,
    /// The token, or its hash as in `sha256:…`, or where they stand: one a line, of which each is
    /// good, until a time if the line says so (`sha256:… until 2027-01-31T00:00:00Z`).
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
    /// A line is neither a token nor a hash.
    #[error(
        "line {line} of token {name} is neither a token nor `sha256:` with 64 hexadecimal digits, \
         with `until` and a time behind it if it is to end"
    )]
    Line {
        /// The token's name.
        name: String,
        /// Which line of its value, from 1.
        line: usize,
    },
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

fn default_brand() -> String {
    DEFAULT_BRAND.to_owned()
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn redact<S: serde::Serializer>(_: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(REDACTED)
}

#[cfg(test)]
mod tests;

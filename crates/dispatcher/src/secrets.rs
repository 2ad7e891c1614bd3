//! Secrets, found where the account says they are.
//!
//! Read at each use, so that a rotated file counts at once. The operating system keeps small
//! files in memory; a call to a provider costs far more.

use casement_event::v1;
use casement_shell::config::{Secret, SecretError};
use secrecy::SecretString;

/// A secret could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("account names no place for its secret")]
    Unnamed,
    #[error("secret cannot be read")]
    Unreadable(#[from] SecretError),
}

/// Returns the secret that a reference names.
pub(crate) fn resolve(reference: Option<&v1::SecretRef>) -> Result<SecretString, Missing> {
    use v1::secret_ref::Source;
    let source = reference
        .and_then(|reference| reference.source.as_ref())
        .ok_or(Missing::Unnamed)?;
    let secret = match source {
        Source::File(path) => Secret::File(path.into()),
        Source::Env(name) => Secret::Env(name.clone()),
    };
    Ok(secret.resolve()?)
}

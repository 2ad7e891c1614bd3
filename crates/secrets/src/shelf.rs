//! Writing stored secrets: put, rotated, deleted, sealed anew.
//!
//! Each write reads the newest word on its subject from the stream's leader and expects that it
//! stays so. Only the newest word is kept: what a secret was, nobody finds.

use std::sync::Arc;

use casement_event::convert::timestamp;
use casement_event::subject::stream;
use casement_event::{Event, Record, Stored, Uuid, v1};
use casement_event_log::{AppendError, Expect, ReadError};
use jiff::Timestamp;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::held::{Held, Secrets, bound};
use crate::name::SecretName;
use crate::vault::VaultError;

/// Who writes.
const SOURCE: &str = "casement/accounts";

/// Longest secret, in bytes. Tokens of the platform have a few hundred.
const LEN_MAX: usize = 8 * 1024;

/// How often a write that others overtook is decided anew.
const ROUNDS_MAX: usize = 8;

/// Digits of a two-step PIN (WhatsApp Cloud API: registration).
const PIN_LEN: usize = 6;

/// What a write expects of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is stored under the name.
    New,
    /// Something is.
    Rotate,
    /// Either.
    Any,
}

/// A secret was not written.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// Nothing seals.
    #[error("no key to seal secrets with: set secrets.master_key")]
    NoKey,
    /// The name is taken.
    #[error("a secret of this name is stored already: rotate it")]
    Exists,
    /// There is none to rotate or delete.
    #[error("no secret of this name is stored")]
    Unknown,
    /// It is empty, too long, or has white space or control characters in it.
    #[error("a secret must have 1 to {LEN_MAX} visible characters without white space")]
    Unfit,
    /// The vault did not seal or open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The stream could not be read.
    #[error("stored secrets could not be read")]
    Read(#[from] ReadError),
    /// Nobody knows, or it was refused.
    #[error("secret could not be stored")]
    Append(#[from] AppendError),
    /// Others kept overtaking.
    #[error("secret kept changing")]
    Contended,
}

/// Draws a two-step PIN.
pub fn new_pin() -> SecretString {
    let mut rng = rand::rng();
    let digits: String = (0..PIN_LEN)
        .map(|_| char::from(rng.random_range(b'0'..=b'9')))
        .collect();
    SecretString::from(digits)
}

impl Secrets {
    /// Stores a secret and returns its version. When it returns, the secret is on disk, and this
    /// process finds it.
    ///
    /// # Errors
    /// It may not be stored; what was there before stays.
    pub async fn put(
        &self,
        name: &SecretName,
        kind: v1::SecretKind,
        value: &SecretString,
        mode: Mode,
        (caller, now): (&str, Timestamp),
    ) -> Result<u32, ShelfError> {
        let held = self.held()?;
        let text = value.expose_secret();
        let is_visible = |letter: char| !letter.is_control() && !letter.is_whitespace();
        if !(1..=LEN_MAX).contains(&text.len()) || !text.chars().all(is_visible) {
            return Err(ShelfError::Unfit);
        }
        for _ in 0..ROUNDS_MAX {
            let (expected, present) = newest(held, name).await?;
            match (mode, &present) {
                (Mode::New, Some(_)) => return Err(ShelfError::Exists),
                (Mode::Rotate, None) => return Err(ShelfError::Unknown),
                _ => {}
            }
            let version = present.as_ref().map_or(0, |secret| secret.version) + 1;
            let created = present.and_then(|secret| secret.create_time);
            let secret = v1::StoredSecret {
                brand_id: name.brand().to_owned(),
                name: name.name().to_owned(),
                kind: kind.into(),
                version,
                create_time: Some(created.unwrap_or_else(|| timestamp(now))),
                rotate_time: Some(timestamp(now)),
                ..v1::StoredSecret::default()
            };
            if write(held, name, secret, text.as_bytes(), expected, caller, now).await? {
                return Ok(version);
            }
        }
        Err(ShelfError::Contended)
    }

    /// Deletes a secret. What used it finds none from then on.
    ///
    /// # Errors
    /// It may still be there.
    pub async fn delete(
        &self,
        name: &SecretName,
        (caller, now): (&str, Timestamp),
    ) -> Result<(), ShelfError> {
        let held = self.held()?;
        for _ in 0..ROUNDS_MAX {
            let (expected, present) = newest(held, name).await?;
            if present.is_none() {
                return Err(ShelfError::Unknown);
            }
            let event = v1::SecretDeleted {
                brand_id: name.brand().to_owned(),
                name: name.name().to_owned(),
                time: Some(timestamp(now)),
                caller: caller.to_owned(),
            };
            let subject = name.subject();
            let record = Record::new(subject.clone(), Uuid::new_v4(), SOURCE, now, event);
            match held
                .log
                .append(record, Expect::last(subject, expected))
                .await
            {
                Ok(position) => {
                    let gone = Err("it was deleted".to_owned());
                    held.put(name.clone(), position.sequence, None, gone);
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ShelfError::Contended)
    }

    /// Seals all secrets that are sealed under an older key under the present one, and returns how
    /// many that were. Then the older key may be taken out of the setting. Safe to repeat.
    ///
    /// # Errors
    /// Some may still be sealed under an older key.
    pub async fn reencrypt(&self, caller: &str, now: Timestamp) -> Result<u32, ShelfError> {
        let held = self.held()?;
        let present = held.vault.key_id();
        let mut count = 0;
        for entry in self.list() {
            if entry.key_id != present && anew(held, &entry.name, &present, caller, now).await? {
                count += 1;
            }
        }
        Ok(count)
    }

    fn held(&self) -> Result<&Arc<Held>, ShelfError> {
        self.stored.as_ref().ok_or(ShelfError::NoKey)
    }
}

/// Seals one secret anew, which stays the same version. Returns false if there is nothing to do.
async fn anew(
    held: &Held,
    name: &SecretName,
    key_id: &str,
    caller: &str,
    now: Timestamp,
) -> Result<bool, ShelfError> {
    for _ in 0..ROUNDS_MAX {
        let (expected, present) = newest(held, name).await?;
        let Some(secret) = present.filter(|secret| secret.key_id != key_id) else {
            return Ok(false);
        };
        let sealed = crate::vault::Sealed {
            algorithm: secret.algorithm.clone(),
            key_id: secret.key_id.clone(),
            nonce: secret.nonce.clone(),
            ciphertext: secret.ciphertext.clone(),
        };
        let plain = held
            .vault
            .open(&bound(name, secret.version), &sealed)
            .await?;
        if write(held, name, secret, &plain, expected, caller, now).await? {
            return Ok(true);
        }
    }
    Err(ShelfError::Contended)
}

/// Seals and appends; false if somebody was faster.
async fn write(
    held: &Held,
    name: &SecretName,
    secret: v1::StoredSecret,
    plain: &[u8],
    expected: u64,
    caller: &str,
    now: Timestamp,
) -> Result<bool, ShelfError> {
    let sealed = held.vault.seal(&bound(name, secret.version), plain).await?;
    let event = v1::SecretStored {
        secret: Some(v1::StoredSecret {
            algorithm: sealed.algorithm,
            key_id: sealed.key_id,
            nonce: sealed.nonce,
            ciphertext: sealed.ciphertext,
            ..secret
        }),
        time: Some(timestamp(now)),
        caller: caller.to_owned(),
    };
    let subject = name.subject();
    let record = Record::new(subject.clone(), Uuid::new_v4(), SOURCE, now, event.clone());
    match held
        .log
        .append(record, Expect::last(subject, expected))
        .await
    {
        Ok(position) => {
            held.take_stored(position.sequence, event).await;
            Ok(true)
        }
        Err(AppendError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the newest word about a secret and its place, from the stream's leader.
async fn newest(
    held: &Held,
    name: &SecretName,
) -> Result<(u64, Option<v1::StoredSecret>), ReadError> {
    let stored = held.log.last(stream::SECRETS, &name.subject()).await?;
    let Some(Stored { sequence, .. }) = stored else {
        return Ok((0, None));
    };
    let event = stored.as_ref().map(Stored::event);
    match event {
        Some(Ok(Event::SecretStored(event))) => Ok((sequence, event.secret)),
        Some(Ok(_)) | None => Ok((sequence, None)),
        Some(Err(error)) => Err(ReadError::Unreadable {
            what: name.to_string(),
            problem: error.to_string(),
        }),
    }
}

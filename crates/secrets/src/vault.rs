//! Whoever seals stored secrets: the keys of a setting, or a service that keeps its own.

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use crate::keys::{ALGORITHM, MasterKeys};

/// What was sealed, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How.
    pub algorithm: String,
    /// Under which key.
    pub key_id: String,
    /// Drawn for it.
    pub nonce: Vec<u8>,
    /// What nobody else can read.
    pub ciphertext: Vec<u8>,
}

/// A vault did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key is not one of ours.
    #[error(
        "it is sealed under key {key_id}, which is not in secrets.master_key: put the key back \
         below the others"
    )]
    KeyUnknown {
        /// Which key.
        key_id: String,
    },
    /// The key does not open it, or it was sealed for something else.
    #[error("it does not open under key {key_id}")]
    Closed {
        /// Which key.
        key_id: String,
    },
    /// The vault cannot be asked now.
    #[error("vault is away: {reason}")]
    Away {
        /// What happened.
        reason: String,
    },
}

/// Seals and opens. What is sealed is bound to a text, and opens for that text alone.
pub trait Vault: Send + Sync {
    /// Returns the id of the key that seals now.
    fn key_id(&self) -> String;

    /// Seals bytes.
    fn seal<'a>(
        &'a self,
        bound: &'a str,
        plain: &'a [u8],
    ) -> BoxFuture<'a, Result<Sealed, VaultError>>;

    /// Opens what was sealed.
    fn open<'a>(
        &'a self,
        bound: &'a str,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, VaultError>>;
}

/// The keys of a setting as a vault. There must be one.
#[derive(Debug)]
pub struct LocalVault(MasterKeys);

impl LocalVault {
    /// Takes the keys; `None` if there is none.
    pub fn new(keys: MasterKeys) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }
}

impl Vault for LocalVault {
    fn key_id(&self) -> String {
        let first = self.0.first();
        first.map(|key| key.id().to_owned()).unwrap_or_default()
    }

    fn seal<'a>(
        &'a self,
        bound: &'a str,
        plain: &'a [u8],
    ) -> BoxFuture<'a, Result<Sealed, VaultError>> {
        Box::pin(async move {
            let key = self.0.first().ok_or_else(|| VaultError::KeyUnknown {
                key_id: String::new(),
            })?;
            let (nonce, ciphertext) = key.seal(bound, plain);
            Ok(Sealed {
                algorithm: ALGORITHM.to_owned(),
                key_id: key.id().to_owned(),
                nonce,
                ciphertext,
            })
        })
    }

    fn open<'a>(
        &'a self,
        bound: &'a str,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, VaultError>> {
        Box::pin(async move {
            let key_id = sealed.key_id.clone();
            let Some(key) = self.0.get(&sealed.key_id) else {
                return Err(VaultError::KeyUnknown { key_id });
            };
            key.open(bound, &sealed.nonce, &sealed.ciphertext)
                .ok_or(VaultError::Closed { key_id })
        })
    }
}

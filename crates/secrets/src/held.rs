//! Finding secrets: in a file, in the environment, or among those that are stored.
//!
//! Files and variables are read at each use, so that a rotated file counts at once: the operating
//! system keeps small files in memory, and a call to a provider costs far more. Stored secrets are
//! opened once, as the stream tells of them, and held in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use casement_event::convert::instant;
use casement_event::subject::{ALL_SECRETS, stream};
use casement_event::{Event, Stored, v1};
use casement_event_log::{Followed, Follower, Log, Start};
use casement_shell::config::{Secret, SecretError};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::name::SecretName;
use crate::vault::{Sealed, Vault, VaultError};

/// How long a vault that is away is left alone before a secret is opened again.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The record does not say where.
    #[error("account names no place for its secret")]
    Unnamed,
    /// The file or the variable cannot be read.
    #[error("secret cannot be read")]
    Unreadable(#[from] SecretError),
    /// It is stored, and nothing opens what is stored.
    #[error("secret {0} is stored, and no key opens it: set secrets.master_key")]
    NoKey(String),
    /// There is no such secret.
    #[error("no secret {0} is stored: put it, or name another one")]
    Unknown(String),
    /// It is stored, and does not open.
    #[error("secret {name} does not open: {reason}")]
    Closed {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A stored secret, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: SecretName,
    /// What it is.
    pub kind: v1::SecretKind,
    /// How often it was put.
    pub version: u32,
    /// Under which key it is sealed.
    pub key_id: String,
    /// When it was put first.
    pub created: Option<Timestamp>,
    /// Since when it has its value.
    pub rotated: Option<Timestamp>,
    /// Who wrote it last.
    pub caller: String,
    /// Whether it opens here.
    pub is_open: bool,
}

/// Finds secrets. Cheap to clone. The default finds files and variables alone.
#[derive(Clone, Default)]
pub struct Secrets {
    pub(crate) stored: Option<Arc<Held>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stored = self.stored.as_ref().map(|held| held.read().len());
        out.debug_struct("Secrets")
            .field("stored", &stored)
            .finish()
    }
}

/// Those that are stored.
pub(crate) struct Held {
    pub(crate) log: Log,
    pub(crate) vault: Arc<dyn Vault>,
    by_name: RwLock<BTreeMap<SecretName, One>>,
    changed: watch::Sender<u64>,
}

struct One {
    sequence: u64,
    /// `None` once it is deleted: what is older may still come.
    entry: Option<Entry>,
    value: Result<SecretString, String>,
}

impl Secrets {
    /// Starts following the stored secrets, and returns once all that stood there is known.
    ///
    /// Waits for a broker that is away; ends early, with what it has, if `stopping` is cancelled.
    pub async fn start(log: &Log, vault: Arc<dyn Vault>, stopping: CancellationToken) -> Self {
        let filters = vec![ALL_SECRETS.to_owned()];
        let mut follower = log.follow(stream::SECRETS, filters, Start::LastPerSubject);
        let held = Arc::new(Held {
            log: log.clone(),
            vault,
            by_name: RwLock::default(),
            changed: watch::Sender::new(0),
        });
        let caught_up = async {
            while let Followed::Event(stored) = follower.next().await {
                held.take(&stored).await;
            }
        };
        let secrets = Self {
            stored: Some(Arc::clone(&held)),
        };
        if stopping.run_until_cancelled(caught_up).await.is_some() {
            tokio::spawn(keep_up(follower, held, stopping));
        }
        secrets
    }

    /// Returns whether secrets can be stored.
    pub fn has_key(&self) -> bool {
        self.stored.is_some()
    }

    /// Returns the secret that a reference names.
    ///
    /// # Errors
    /// It cannot be had now.
    pub fn resolve(&self, reference: Option<&v1::SecretRef>) -> Result<SecretString, Missing> {
        use v1::secret_ref::Source;
        let source = reference
            .and_then(|reference| reference.source.as_ref())
            .ok_or(Missing::Unnamed)?;
        let secret = match source {
            Source::File(path) => Secret::File(path.into()),
            Source::Env(name) => Secret::Env(name.clone()),
            Source::Stored(name) => return self.stored(name),
        };
        Ok(secret.resolve()?)
    }

    /// Returns a stored secret, by `<brand>/<name>`.
    ///
    /// # Errors
    /// It is not there, or does not open.
    pub fn stored(&self, name: &str) -> Result<SecretString, Missing> {
        let Some(held) = &self.stored else {
            return Err(Missing::NoKey(name.to_owned()));
        };
        let unknown = || Missing::Unknown(name.to_owned());
        let parsed = SecretName::parse(name).map_err(|_| unknown())?;
        let known = held.read();
        let one = known.get(&parsed).filter(|one| one.entry.is_some());
        let value = &one.ok_or_else(unknown)?.value;
        value.clone().map_err(|reason| Missing::Closed {
            name: name.to_owned(),
            reason,
        })
    }

    /// Returns what is stored, in the order of the names.
    pub fn list(&self) -> Vec<Entry> {
        let Some(held) = &self.stored else {
            return Vec::new();
        };
        let known = held.read();
        known.values().filter_map(|one| one.entry.clone()).collect()
    }

    /// Returns what changes whenever a stored secret does; `None` if none can be stored.
    pub fn changed(&self) -> Option<watch::Receiver<u64>> {
        self.stored.as_ref().map(|held| held.changed.subscribe())
    }
}

async fn keep_up(mut follower: Follower, held: Arc<Held>, stopping: CancellationToken) {
    let following = async {
        loop {
            if let Followed::Event(stored) = follower.next().await {
                held.take(&stored).await;
            }
        }
    };
    let _: Option<()> = stopping.run_until_cancelled(following).await;
}

impl Held {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<SecretName, One>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what the stream tells. A vault that is away is waited for.
    pub(crate) async fn take(&self, stored: &Stored) {
        let sequence = stored.sequence;
        match stored.event() {
            Ok(Event::SecretStored(event)) => self.take_stored(sequence, event).await,
            Ok(Event::SecretDeleted(event)) => {
                if let Ok(name) = SecretName::new(&event.brand_id, &event.name) {
                    self.put(name, sequence, None, Err("it was deleted".to_owned()));
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(sequence, error = %error, "a stored secret is not readable");
            }
        }
    }

    pub(crate) async fn take_stored(&self, sequence: u64, event: v1::SecretStored) {
        let Some(secret) = event.secret else { return };
        let Ok(name) = SecretName::new(&secret.brand_id, &secret.name) else {
            return;
        };
        let is_known = |one: &One| one.sequence >= sequence;
        if self.read().get(&name).is_some_and(is_known) {
            return;
        }
        let value = self.open(&name, &secret).await;
        if let Err(reason) = &value {
            tracing::error!(secret = %name, reason, "a stored secret does not open");
        }
        let time = |of: Option<&prost_types::Timestamp>| instant("time", of).ok().flatten();
        let entry = Entry {
            kind: secret.kind(),
            version: secret.version,
            created: time(secret.create_time.as_ref()),
            rotated: time(secret.rotate_time.as_ref()),
            key_id: secret.key_id,
            caller: event.caller,
            is_open: value.is_ok(),
            name: name.clone(),
        };
        self.put(name, sequence, Some(entry), value);
    }

    async fn open(
        &self,
        name: &SecretName,
        secret: &v1::StoredSecret,
    ) -> Result<SecretString, String> {
        let bound = bound(name, secret.version);
        let sealed = Sealed {
            algorithm: secret.algorithm.clone(),
            key_id: secret.key_id.clone(),
            nonce: secret.nonce.clone(),
            ciphertext: secret.ciphertext.clone(),
        };
        loop {
            match self.vault.open(&bound, &sealed).await {
                Ok(plain) => {
                    let text = std::str::from_utf8(&plain).map_err(|_| "it is no text")?;
                    return Ok(SecretString::from(text));
                }
                Err(VaultError::Away { reason }) => {
                    tracing::warn!(secret = %name, reason, "vault is away");
                    tokio::time::sleep(OPEN_AGAIN_AFTER).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(crate) fn put(
        &self,
        name: SecretName,
        sequence: u64,
        entry: Option<Entry>,
        value: Result<SecretString, String>,
    ) {
        let mut known = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if known.get(&name).is_some_and(|one| one.sequence >= sequence) {
            return;
        }
        let one = One {
            sequence,
            entry,
            value,
        };
        known.insert(name, one);
        drop(known);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// What a secret's ciphertext is bound to.
pub(crate) fn bound(name: &SecretName, version: u32) -> String {
    format!("casement secret {name} {version}")
}

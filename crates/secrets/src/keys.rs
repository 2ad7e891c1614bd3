//! Sealing and opening, as pure as that can be: bytes in, bytes out.
//!
//! XChaCha20-Poly1305 throughout, whose nonces are long enough to be drawn. Keys are derived from
//! the lines of a setting, for one purpose each, and have ids that tell nothing of them. What is
//! sealed is bound to a text, such as a name, so that none can be passed off as another's.

use casement_shell::config::{Secret, SecretError};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::RngCore as _;
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The algorithm, as it is stored.
pub const ALGORITHM: &str = "XCHACHA20-POLY1305";

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// Shortest text that keys are derived from: as many as `openssl rand -hex 16` prints.
pub const TEXT_LEN_MIN: usize = 32;

/// How many keys a setting may have, old ones included.
pub const KEYS_MAX: usize = 16;

/// Bytes of a nonce.
const NONCE_LEN: usize = 24;

/// A key, which leaves nothing behind.
pub type Key = Zeroizing<[u8; KEY_LEN]>;

/// The setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// It has no value.
    #[error("{setting} cannot be read")]
    Unreadable {
        /// Which setting.
        setting: &'static str,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Somebody could guess it.
    #[error(
        "{setting} has a line of fewer than {TEXT_LEN_MIN} characters: take what \
         `openssl rand -hex 32` prints"
    )]
    Short {
        /// Which setting.
        setting: &'static str,
    },
    /// More than are ever needed.
    #[error("{setting} has more than {KEYS_MAX} lines: take out the oldest")]
    Many {
        /// Which setting.
        setting: &'static str,
    },
}

/// The keys of a setting. The first is the one that seals; the others still open.
#[derive(Default)]
pub struct MasterKeys {
    masters: Vec<MasterKey>,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.masters.iter().map(MasterKey::id);
        out.debug_list().entries(ids).finish()
    }
}

/// One of them.
pub struct MasterKey {
    id: String,
    wrapping: Key,
    digesting: Key,
}

impl MasterKeys {
    /// Reads keys for a purpose: one a line, the one that seals first; none if nothing is set.
    ///
    /// # Errors
    /// The setting cannot be read, or is too weak, or holds too many.
    pub fn read(
        name: &'static str,
        setting: Option<&Secret>,
        purpose: &str,
    ) -> Result<Self, BadKeys> {
        let Some(setting) = setting else {
            return Ok(Self::default());
        };
        let text = setting.resolve().map_err(|source| BadKeys::Unreadable {
            setting: name,
            source,
        })?;
        let lines = text.expose_secret().lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        if lines.iter().any(|line| line.len() < TEXT_LEN_MIN) {
            return Err(BadKeys::Short { setting: name });
        }
        if lines.len() > KEYS_MAX {
            return Err(BadKeys::Many { setting: name });
        }
        let masters = lines.into_iter();
        let masters = masters.map(|line| MasterKey::new(line, purpose)).collect();
        Ok(Self { masters })
    }

    /// Returns the key that seals.
    pub fn first(&self) -> Option<&MasterKey> {
        self.masters.first()
    }

    /// Returns the key of an id.
    pub fn get(&self, id: &str) -> Option<&MasterKey> {
        self.masters.iter().find(|master| master.id == id)
    }

    /// Returns all of them, the one that seals first.
    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        self.masters.iter()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.masters.is_empty()
    }
}

impl MasterKey {
    fn new(text: &str, purpose: &str) -> Self {
        let id = derived(text, purpose, "id");
        Self {
            id: hex::encode(&id[..8]),
            wrapping: derived(text, purpose, "wrap"),
            digesting: derived(text, purpose, "digest"),
        }
    }

    /// Returns what tells it from others.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns nonce and ciphertext.
    pub fn seal(&self, bound: &str, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
        encrypt(&self.wrapping, bound, plain)
    }

    /// Opens what was sealed; `None` if it was not, or was bound to something else.
    pub fn open(&self, bound: &str, nonce: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        decrypt(&self.wrapping, bound, nonce, sealed)
    }

    /// Returns a digest of several parts that nobody else can make, and so nobody can try out
    /// what the parts may have been.
    pub fn digest(&self, parts: &[&[u8]]) -> Vec<u8> {
        digest(&self.digesting, parts)
    }
}

/// Returns a digest under a key of several parts, one after the other: HMAC-SHA-256.
pub fn digest(key: &Key, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = keyed(&key[..]);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Draws a key.
pub fn new_key() -> Key {
    let mut key = Key::default();
    rand::rng().fill_bytes(&mut key[..]);
    key
}

/// Returns nonce and ciphertext.
pub fn encrypt(key: &Key, bound: &str, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut nonce = [0; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let payload = Payload {
        msg: plain,
        aad: bound.as_bytes(),
    };
    let ciphertext = cipher(key)
        .encrypt(&XNonce::from(nonce), payload)
        .expect("what is sealed is far below the cipher's limit");
    (nonce.to_vec(), ciphertext)
}

/// Opens what was sealed by a key for the same text; `None` if it was not.
pub fn decrypt(
    key: &Key,
    bound: &str,
    nonce: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
    let payload = Payload {
        msg: ciphertext,
        aad: bound.as_bytes(),
    };
    let plain = cipher(key).decrypt(&XNonce::from(nonce), payload).ok()?;
    Some(Zeroizing::new(plain))
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new_from_slice(&key[..]).expect("a key is as long as the cipher's")
}

fn derived(text: &str, purpose: &str, what: &str) -> Key {
    let mut mac = keyed(text.as_bytes());
    mac.update(format!("casement {purpose} ").as_bytes());
    mac.update(what.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an old key that nobody but us knows";
    const NEW: &str = "a new key that nobody but us knows!";

    fn keys(text: &str, purpose: &str) -> Result<MasterKeys, BadKeys> {
        MasterKeys::read("a.setting", Some(&Secret::from_value(text)), purpose)
    }

    #[test]
    fn what_is_sealed_opens_by_its_key_for_its_text_and_by_nothing_else() {
        let old = keys(OLD, "x").unwrap();
        let (nonce, sealed) = old.first().unwrap().seal("a", b"493817");
        let open =
            |keys: &MasterKeys, bound: &str| keys.first().unwrap().open(bound, &nonce, &sealed);
        assert_eq!(open(&old, "a").unwrap()[..], *b"493817");
        assert!(open(&old, "b").is_none());
        assert!(open(&keys(NEW, "x").unwrap(), "a").is_none());
        assert!(
            open(&keys(OLD, "y").unwrap(), "a").is_none(),
            "another purpose"
        );
        assert!(!sealed.windows(6).any(|window| window == b"493817"));
    }

    #[test]
    fn an_old_key_stands_below_the_new_one_and_is_found_by_its_id() {
        let old = keys(OLD, "x").unwrap();
        let both = keys(&format!("{NEW}\n\n{OLD}\n"), "x").unwrap();
        let id = old.first().unwrap().id();
        assert!(both.get(id).is_some());
        assert_ne!(both.first().unwrap().id(), id);
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused_and_none_is_no_key() {
        assert!(matches!(keys("short", "x"), Err(BadKeys::Short { .. })));
        let one_short = format!("{OLD}\nshort");
        assert!(matches!(keys(&one_short, "x"), Err(BadKeys::Short { .. })));
        let many = vec![OLD; KEYS_MAX + 1].join("\n");
        assert!(matches!(keys(&many, "x"), Err(BadKeys::Many { .. })));
        assert!(MasterKeys::read("a.setting", None, "x").unwrap().is_empty());
        assert!(!format!("{:?}", keys(OLD, "x").unwrap()).contains(OLD));
    }
}

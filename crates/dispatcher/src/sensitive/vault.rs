//! Sealing and opening, as pure as that can be: bytes in, bytes out.
//!
//! XChaCha20-Poly1305 throughout, whose nonces are long enough to be drawn. A message's key is
//! drawn, too, and seals once; what wraps it is derived from the text that the configuration names.
//! What is sealed is bound to its message, so that none can be passed off as another's.

use casement_domain::id::MessageId;
use casement_event::v1;
use casement_shell::config::{Secret, SecretError};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::RngCore as _;
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The algorithm, as it is stored.
const ALGORITHM: &str = "XCHACHA20-POLY1305";

/// Shortest text that keys are derived from: as many as `openssl rand -hex 16` prints.
const TEXT_LEN_MIN: usize = 32;

/// How many keys of ours there may be, old ones included.
const MASTERS_MAX: usize = 16;

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// Bytes of a nonce.
const NONCE_LEN: usize = 24;

type Key = Zeroizing<[u8; KEY_LEN]>;

/// The setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadKey {
    /// It has no value.
    #[error("dispatcher.sensitive_key cannot be read")]
    Unreadable(#[from] SecretError),
    /// Somebody could guess it.
    #[error(
        "dispatcher.sensitive_key has a line of fewer than {TEXT_LEN_MIN} characters: take what \
         `openssl rand -hex 32` prints"
    )]
    Short,
    /// More than are ever needed.
    #[error("dispatcher.sensitive_key has more than {MASTERS_MAX} lines: take out the oldest")]
    Many,
}

/// What wraps keys, and makes digests that nobody else can. Without a key it does neither.
#[derive(Default)]
pub(crate) struct Vault {
    /// The first is the one that seals; the others still open.
    masters: Vec<Master>,
}

struct Master {
    id: String,
    wrapping: Key,
    digesting: Key,
}

/// What came of opening content by one key.
pub(crate) enum Unsealed {
    Opened(Zeroizing<Vec<u8>>),
    /// This key is not the one.
    Closed,
    /// The key is wrapped by one that is not ours, which has this id.
    Unknown(String),
}

impl Vault {
    /// Reads the keys: one a line, the one that seals first.
    pub(crate) fn new(setting: Option<&Secret>) -> Result<Self, BadKey> {
        let Some(setting) = setting else {
            return Ok(Self::default());
        };
        let text = setting.resolve()?;
        let lines = text.expose_secret().lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        if lines.iter().any(|line| line.len() < TEXT_LEN_MIN) {
            return Err(BadKey::Short);
        }
        if lines.len() > MASTERS_MAX {
            return Err(BadKey::Many);
        }
        let masters = lines.into_iter().map(Master::new).collect();
        Ok(Self { masters })
    }

    /// Returns whether anything can be sealed.
    pub(crate) fn has_key(&self) -> bool {
        !self.masters.is_empty()
    }

    /// Seals bytes under a key of their own, and wraps that; `None` without a key of ours.
    pub(crate) fn seal(
        &self,
        id: &MessageId,
        plain: &[u8],
    ) -> Option<(v1::SealedContent, v1::ContentKeyStored)> {
        let master = self.masters.first()?;
        let mut key = Key::default();
        rand::rng().fill_bytes(&mut key[..]);
        let (nonce, ciphertext) = encrypt(&key, &bound(CONTENT, id), plain);
        let sealed = v1::SealedContent {
            algorithm: ALGORITHM.to_owned(),
            nonce,
            ciphertext,
            master_key_id: master.id.clone(),
            ..v1::SealedContent::default()
        };
        let (nonce, wrapped_key) = encrypt(&master.wrapping, &bound(KEY, id), &key[..]);
        let stored = v1::ContentKeyStored {
            message_id: id.to_string(),
            master_key_id: master.id.clone(),
            nonce,
            wrapped_key,
        };
        Some((sealed, stored))
    }

    /// Opens what was sealed, by a key that was stored.
    pub(crate) fn open(
        &self,
        id: &MessageId,
        sealed: &v1::SealedContent,
        stored: &v1::ContentKeyStored,
    ) -> Unsealed {
        let Some(master) = self.master(&stored.master_key_id) else {
            return Unsealed::Unknown(stored.master_key_id.clone());
        };
        let (nonce, wrapped) = (&stored.nonce, &stored.wrapped_key);
        let key = decrypt(&master.wrapping, &bound(KEY, id), nonce, wrapped);
        let key: Option<Key> = key.and_then(|key| Some(Zeroizing::new(key[..].try_into().ok()?)));
        let plain = key.and_then(|key| {
            let (nonce, ciphertext) = (&sealed.nonce, &sealed.ciphertext);
            decrypt(&key, &bound(CONTENT, id), nonce, ciphertext)
        });
        plain.map_or(Unsealed::Closed, Unsealed::Opened)
    }

    /// Returns the digest of a request as it may be stored: who does not have our key cannot try
    /// out what the request may have said. `None` if the key of this id is not ours.
    pub(crate) fn digest(&self, master: &str, id: &MessageId, digest: &[u8]) -> Option<Vec<u8>> {
        let mut mac = keyed(&self.master(master)?.digesting[..]);
        mac.update(id.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(digest);
        Some(mac.finalize().into_bytes().to_vec())
    }

    fn master(&self, id: &str) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == id)
    }
}

impl Master {
    fn new(text: &str) -> Self {
        let id = derived(text, "id");
        Self {
            id: hex::encode(&id[..8]),
            wrapping: derived(text, "wrap"),
            digesting: derived(text, "digest"),
        }
    }
}

/// What is sealed, in the words that bind it.
const CONTENT: &str = "content";

/// What wraps, likewise.
const KEY: &str = "key";

fn bound(what: &str, id: &MessageId) -> String {
    format!("casement sensitive {what} {id}")
}

fn derived(text: &str, what: &str) -> Key {
    let mut mac = keyed(text.as_bytes());
    mac.update(b"casement sensitive ");
    mac.update(what.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn encrypt(key: &Key, bound: &str, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
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

fn decrypt(key: &Key, bound: &str, nonce: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
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

#[cfg(test)]
mod tests {
    use casement_domain::id::BusinessNumber;

    use super::*;

    const OLD: &str = "an old key that nobody but us knows";
    const NEW: &str = "a new key that nobody but us knows!";

    fn vault(text: &str) -> Vault {
        Vault::new(Some(&Secret::from_value(text))).unwrap()
    }

    fn id(unique: u128) -> MessageId {
        MessageId::new(&BusinessNumber::parse("15550001111").unwrap(), unique)
    }

    fn is_opened(unsealed: &Unsealed) -> bool {
        matches!(unsealed, Unsealed::Opened(plain) if plain[..] == *b"493817")
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_for_its_message_and_by_nothing_else() {
        let vault = vault(OLD);
        let (sealed, key) = vault.seal(&id(1), b"493817").unwrap();
        let (other_sealed, other_key) = vault.seal(&id(1), b"493817").unwrap();
        assert!(is_opened(&vault.open(&id(1), &sealed, &key)));
        assert_ne!(sealed.ciphertext, other_sealed.ciphertext);
        assert!(matches!(
            vault.open(&id(1), &sealed, &other_key),
            Unsealed::Closed
        ));
        assert!(matches!(
            vault.open(&id(2), &sealed, &key),
            Unsealed::Closed
        ));
        for bytes in [&sealed.ciphertext, &key.wrapped_key] {
            assert!(!bytes.windows(6).any(|window| window == b"493817"));
        }
        let broken = v1::ContentKeyStored {
            wrapped_key: key.wrapped_key[1..].to_vec(),
            ..key
        };
        assert!(matches!(
            vault.open(&id(1), &sealed, &broken),
            Unsealed::Closed
        ));
    }

    #[test]
    fn an_old_key_still_opens_and_a_new_one_seals() {
        let (sealed, key) = vault(OLD).seal(&id(1), b"493817").unwrap();
        let both = vault(&format!("{NEW}\n\n{OLD}\n"));
        assert!(is_opened(&both.open(&id(1), &sealed, &key)));
        let (newer, newer_key) = both.seal(&id(1), b"493817").unwrap();
        assert!(is_opened(&vault(NEW).open(&id(1), &newer, &newer_key)));
        let unknown = vault(NEW).open(&id(1), &sealed, &key);
        assert!(matches!(unknown, Unsealed::Unknown(master) if master == sealed.master_key_id));
    }

    #[test]
    fn a_digest_says_the_same_of_the_same_alone_and_hangs_on_key_and_message() {
        let (old, new) = (vault(OLD), vault(NEW));
        let master = |vault: &Vault| vault.masters[0].id.clone();
        let digest = |vault: &Vault, unique, of: &[u8]| {
            vault.digest(&master(vault), &id(unique), of).unwrap()
        };
        assert_eq!(digest(&old, 1, b"a"), digest(&old, 1, b"a"));
        assert_ne!(digest(&old, 1, b"a"), digest(&old, 1, b"b"));
        assert_ne!(digest(&old, 1, b"a"), digest(&old, 2, b"a"));
        assert_ne!(digest(&old, 1, b"a"), digest(&new, 1, b"a"));
        assert_eq!(old.digest(&master(&new), &id(1), b"a"), None);
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused_and_none_is_no_key() {
        let bad = |text: &str| Vault::new(Some(&Secret::from_value(text))).err();
        assert!(matches!(bad("short"), Some(BadKey::Short)));
        assert!(matches!(bad(&format!("{OLD}\nshort")), Some(BadKey::Short)));
        let many = vec![OLD; MASTERS_MAX + 1].join("\n");
        assert!(matches!(bad(&many), Some(BadKey::Many)));
        let none = Vault::new(None).unwrap();
        assert!(!none.has_key());
        assert!(none.seal(&id(1), b"493817").is_none());
    }
}

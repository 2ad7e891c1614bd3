//! Sealing and opening what messages say, as pure as that can be: bytes in, bytes out.
//!
//! A message's key is drawn, and seals once; what wraps it is derived from the text that the
//! configuration names. What is sealed is bound to its message, so that none can be passed off as
//! another's. How that is done stands in [`casement_secrets::keys`].

use casement_domain::id::MessageId;
use casement_event::v1;
use casement_secrets::keys::{self, ALGORITHM, BadKeys, Key, MasterKeys};
use casement_shell::config::Secret;
use zeroize::Zeroizing;

/// What wraps keys, and makes digests that nobody else can. Without a key it does neither.
#[derive(Default)]
pub(crate) struct Vault {
    /// The first is the one that seals; the others still open.
    masters: MasterKeys,
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
    pub(crate) fn new(setting: Option<&Secret>) -> Result<Self, BadKeys> {
        let masters = MasterKeys::read("dispatcher.sensitive_key", setting, "sensitive")?;
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
        let key = keys::new_key();
        let (nonce, ciphertext) = keys::encrypt(&key, &bound(CONTENT, id), plain);
        let sealed = v1::SealedContent {
            algorithm: ALGORITHM.to_owned(),
            nonce,
            ciphertext,
            master_key_id: master.id().to_owned(),
            ..v1::SealedContent::default()
        };
        let (nonce, wrapped_key) = master.seal(&bound(KEY, id), &key[..]);
        let stored = v1::ContentKeyStored {
            message_id: id.to_string(),
            master_key_id: master.id().to_owned(),
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
        let Some(master) = self.masters.get(&stored.master_key_id) else {
            return Unsealed::Unknown(stored.master_key_id.clone());
        };
        let key = master.open(&bound(KEY, id), &stored.nonce, &stored.wrapped_key);
        let key: Option<Key> = key.and_then(|key| Some(Zeroizing::new(key[..].try_into().ok()?)));
        let plain = key.and_then(|key| {
            let (nonce, ciphertext) = (&sealed.nonce, &sealed.ciphertext);
            keys::decrypt(&key, &bound(CONTENT, id), nonce, ciphertext)
        });
        plain.map_or(Unsealed::Closed, Unsealed::Opened)
    }

    /// Returns the digest of a request as it may be stored: who does not have our key cannot try
    /// out what the request may have said. `None` if the key of this id is not ours.
    pub(crate) fn digest(&self, master: &str, id: &MessageId, digest: &[u8]) -> Option<Vec<u8>> {
        let master = self.masters.get(master)?;
        Some(master.digest(&[id.as_str().as_bytes(), &[0], digest]))
    }
}

/// What is sealed, in the words that bind it.
const CONTENT: &str = "content";

/// What wraps, likewise.
const KEY: &str = "key";

fn bound(what: &str, id: &MessageId) -> String {
    format!("casement sensitive {what} {id}")
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
        let master = |vault: &Vault| vault.masters.first().unwrap().id().to_owned();
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
    fn without_a_key_nothing_is_sealed_or_opened() {
        let key = v1::ContentKeyStored::default();
        let none = Vault::new(None).unwrap();
        assert!(!none.has_key());
        assert!(none.seal(&id(1), b"493817").is_none());
        let sealed = v1::SealedContent::default();
        assert!(matches!(
            none.open(&id(1), &sealed, &key),
            Unsealed::Unknown(_)
        ));
    }
}

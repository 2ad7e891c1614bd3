//! What the console gives to a browser to keep: sealed, so that it can be neither read nor made up.
//!
//! XChaCha20-Poly1305, bound to what it is for. How long it is good stands inside and is for others
//! to check.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::RngCore as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::config::ConsoleConfig;
use crate::Error;

/// Shortest text of a key that is set: as many characters as `openssl rand -hex 16` prints.
const KEY_TEXT_LEN_MIN: usize = 32;

const NONCE_LEN: usize = 24;

/// Seals and opens.
pub(super) struct Seal {
    cipher: XChaCha20Poly1305,
}

impl Seal {
    /// With the key of the configuration, or one that is drawn.
    pub(super) fn new(config: &ConsoleConfig) -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        match &config.session_key {
            None => rand::rng().fill_bytes(&mut key[..]),
            Some(secret) => {
                let text = secret.resolve().map_err(Error::SessionKey)?;
                if text.expose_secret().len() < KEY_TEXT_LEN_MIN {
                    return Err(Error::SessionKeyShort(KEY_TEXT_LEN_MIN));
                }
                let mut mac = Hmac::<Sha256>::new_from_slice(text.expose_secret().as_bytes())
                    .expect("HMAC takes keys of any length");
                mac.update(b"casement console session");
                key.copy_from_slice(&mac.finalize().into_bytes());
            }
        }
        let cipher =
            XChaCha20Poly1305::new_from_slice(&key[..]).expect("a key is as long as the cipher's");
        Ok(Self { cipher })
    }

    /// As text that a cookie can hold.
    pub(super) fn seal<T: Serialize>(&self, purpose: &str, what: &T) -> String {
        let plain = serde_json::to_vec(what).expect("it has fields of text and numbers only");
        let plain = Zeroizing::new(plain);
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload {
            msg: &plain,
            aad: purpose.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("what is sealed is far below the cipher's limit");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// None for what was not sealed for this, or by another key.
    pub(super) fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let payload = Payload {
            msg: sealed,
            aad: purpose.as_bytes(),
        };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        serde_json::from_slice(&Zeroizing::new(plain)).ok()
    }
}

/// Text that nobody can guess.
pub(super) fn drawn() -> String {
    let mut bytes = [0; 24];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use casement_shell::config::Secret;

    use super::*;

    fn with_key(text: &str) -> Result<Seal, Error> {
        Seal::new(&ConsoleConfig {
            session_key: Some(Secret::from_value(text)),
            ..ConsoleConfig::default()
        })
    }

    #[test]
    fn what_is_sealed_opens_by_the_same_key_for_the_same_purpose_only() {
        let text = "a key that several gateways share";
        let (one, other) = (with_key(text).unwrap(), with_key(text).unwrap());
        let sealed = one.seal("session", &"a token");
        assert!(!sealed.contains("token"));
        let open = |seal: &Seal, purpose, text: &str| seal.open::<String>(purpose, text);
        assert_eq!(open(&other, "session", &sealed).unwrap(), "a token");
        assert_eq!(open(&other, "notice", &sealed), None);
        let drawn = Seal::new(&ConsoleConfig::default()).unwrap();
        assert_eq!(open(&drawn, "session", &sealed), None);
        let mut changed = sealed.into_bytes();
        changed[40] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(open(&one, "session", &changed), None);
        for wrong in ["", "AAAA", "no base64!"] {
            assert_eq!(open(&one, "session", wrong), None);
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_is_refused() {
        let error = with_key("short").err().unwrap().to_string();
        assert!(error.contains("`gateway.console.session_key`"), "{error}");
    }
}

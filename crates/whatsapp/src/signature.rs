//! `X-Hub-Signature-256`: Meta signs a post's raw bytes with the app's secret.
//!
//! Only raw bytes are ever hashed: reading and writing the JSON again would change its escapes.
//! The header carries no time, so a signature proves who wrote the post, not when; repeats are
//! the consumer's business.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The header's name, in lower case.
pub const HEADER: &str = "x-hub-signature-256";

const PREFIX: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// Why a post was refused. All of them deserve a 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header.
    #[error("signature header is missing")]
    Missing,
    /// The header is not `sha256=` and 64 hex digits.
    #[error("signature header is malformed")]
    Malformed,
    /// No secret makes this signature over these bytes (or there is no secret at all).
    #[error("signature does not match")]
    Mismatch,
}

/// Verifies the header over the raw body against any of several secrets (an app's secret is
/// rotated with an overlap, and one endpoint may serve several apps).
///
/// Compares in constant time and tries every secret, whichever matches.
pub fn verify(
    raw: &[u8],
    header: Option<&str>,
    secrets: &[SecretString],
) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?.trim();
    let digits = header
        .strip_prefix(PREFIX)
        .ok_or(SignatureError::Malformed)?;
    let mut expected = [0; DIGEST_BYTES];
    hex::decode_to_slice(digits, &mut expected).map_err(|_| SignatureError::Malformed)?;
    let mut matched = false;
    for secret in secrets {
        // Whoever knows that a secret is empty could sign; it counts as none.
        let usable = !secret.expose_secret().is_empty();
        matched |= mac(raw, secret).verify_slice(&expected).is_ok() & usable;
    }
    if matched {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// Returns the header value for a body, as Meta would send it.
pub fn sign(raw: &[u8], secret: &SecretString) -> String {
    format!(
        "{PREFIX}{}",
        hex::encode(mac(raw, secret).finalize().into_bytes())
    )
}

fn mac(raw: &[u8], secret: &SecretString) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(raw);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    const KNOWN: &str = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const KNOWN_BODY: &[u8] = b"what do ya want for nothing?";

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().copied().map(SecretString::from).collect()
    }

    #[test]
    fn a_signature_is_the_hmac_of_the_raw_bytes() {
        assert_eq!(sign(KNOWN_BODY, &SecretString::from("Jefe")), KNOWN);
    }

    #[test]
    fn only_a_whole_signature_by_one_of_our_secrets_passes() {
        let upper = KNOWN.to_ascii_uppercase().replace("SHA256=", "sha256=");
        for (name, header, secrets, expected) in [
            ("right", Some(KNOWN), secrets(&["Jefe"]), Ok(())),
            (
                "upper case digits",
                Some(upper.as_str()),
                secrets(&["Jefe"]),
                Ok(()),
            ),
            (
                "the older of two",
                Some(KNOWN),
                secrets(&["new", "Jefe"]),
                Ok(()),
            ),
            (
                "the newer of two",
                Some(KNOWN),
                secrets(&["Jefe", "old"]),
                Ok(()),
            ),
            (
                "another secret",
                Some(KNOWN),
                secrets(&["jefe"]),
                Err(SignatureError::Mismatch),
            ),
            (
                "no secret",
                Some(KNOWN),
                secrets(&[]),
                Err(SignatureError::Mismatch),
            ),
            (
                "no header",
                None,
                secrets(&["Jefe"]),
                Err(SignatureError::Missing),
            ),
            (
                "no prefix",
                Some(&KNOWN[7..]),
                secrets(&["Jefe"]),
                Err(SignatureError::Malformed),
            ),
            (
                "truncated",
                Some(&KNOWN[..60]),
                secrets(&["Jefe"]),
                Err(SignatureError::Malformed),
            ),
            (
                "no digits",
                Some("sha256="),
                secrets(&["Jefe"]),
                Err(SignatureError::Malformed),
            ),
            (
                "sha1",
                Some("sha1=00"),
                secrets(&["Jefe"]),
                Err(SignatureError::Malformed),
            ),
        ] {
            assert_eq!(verify(KNOWN_BODY, header, &secrets), expected, "{name}");
        }
    }

    #[test]
    fn a_signature_by_the_empty_secret_is_nobodys() {
        let empty = secrets(&[""]);
        let header = sign(b"{}", &empty[0]);
        assert_eq!(
            verify(b"{}", Some(&header), &empty),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn one_changed_byte_breaks_the_signature() {
        let secrets = secrets(&["s"]);
        let body = br#"{"text":"\u00e4"}"#.to_vec();
        let header = sign(&body, &secrets[0]);
        assert_eq!(verify(&body, Some(&header), &secrets), Ok(()));
        for index in 0..body.len() {
            let mut changed = body.clone();
            changed[index] ^= 1;
            assert_eq!(
                verify(&changed, Some(&header), &secrets),
                Err(SignatureError::Mismatch),
                "byte {index}"
            );
        }
    }
}

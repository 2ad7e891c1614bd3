//! JSON web tokens as Vonage uses them: RS256 on calls, HS256 on webhooks.
//!
//! It knows these two and the claims that stand in them; what they permit is decided elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::SignatureScheme;
use serde_json::{Value, json};
use sha2::Sha256;

/// DER: a bit string, and a sequence.
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Returns a token's claims if this public key (PEM) has signed it with RS256.
pub(crate) fn verify_rs256(token: &str, public_key: &str) -> Option<Value> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let part = |text: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    };
    if part(header)?["alg"] != "RS256" {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = rsa_key(public_key)?;
    let provider = rustls::crypto::ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.mapping;
    let (_, fit) = algorithms
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)?;
    let algorithm = fit.first()?;
    algorithm
        .verify_signature(&key, message.as_bytes(), &signature)
        .ok()?;
    part(claims)
}

/// Returns a token with these claims, signed with HS256.
pub(crate) fn sign_hs256(secret: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!(
        "{}.{}",
        part(&json!({ "alg": "HS256", "typ": "JWT" })),
        part(claims)
    );
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("an HMAC key may have any length");
    mac.update(message.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// Returns the RSA key inside of a PEM of a public key: what its bit string holds.
fn rsa_key(pem: &str) -> Option<Vec<u8>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let der = STANDARD.decode(lines.collect::<String>()).ok()?;
    let (outer, _) = element(&der, SEQUENCE)?;
    let (_, after_algorithm) = element(outer, SEQUENCE)?;
    let (bits, _) = element(after_algorithm, BIT_STRING)?;
    // The first byte counts unused bits, of which there are none.
    bits.split_first().map(|(_, key)| key.to_vec())
}

/// Splits off a DER element of this kind: its content, and what follows it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    (tag == kind)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

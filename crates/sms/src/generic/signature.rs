//! An HMAC over the body in a header, if wanted with a time that is signed, too.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

use crate::webhook::instant;

/// How a gateway signs.
#[derive(Debug, Clone)]
pub struct Signing {
    /// Keys; several while one is replaced by another.
    pub secrets: Vec<SecretString>,
    /// The header that holds the signature, in lower case.
    pub header: String,
    /// What stands before the signature in the header, such as `sha256=`; may be empty.
    pub prefix: String,
    /// Which hash.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The time of the post, if the gateway signs one; without it, a post can be replayed.
    pub stamp: Option<Stamp>,
}

/// Which hash an HMAC is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-1.
    Sha1,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, in either case.
    Hex,
    /// Base64, of either alphabet.
    Base64,
}

/// A time that is signed with the body: what is signed is the header's text, the separator and
/// the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The header that holds it, in lower case: RFC 3339, or seconds or milliseconds since 1970.
    pub header: String,
    /// What stands between it and the body.
    pub separator: String,
    /// How far it may be off, either way.
    pub tolerance: SignedDuration,
}

/// Why a post was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header, or no time where one is signed.
    #[error("signature or time header is missing")]
    Missing,
    /// The signature is not written as agreed.
    #[error("signature header is malformed")]
    Malformed,
    /// No secret makes this signature (or there is no secret at all).
    #[error("signature does not match")]
    Mismatch,
    /// The post was made too long ago or in the future, or its time cannot be read.
    #[error("post is out of its time")]
    OutOfTime,
}

/// Verifies a post against any of the secrets, in constant time. `header` looks a header up by its
/// name in lower case.
pub fn verify<'a>(
    signing: &Signing,
    body: &[u8],
    header: impl Fn(&str) -> Option<&'a str>,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let written = header(&signing.header).ok_or(SignatureError::Missing)?;
    let written = written
        .trim()
        .strip_prefix(signing.prefix.as_str())
        .ok_or(SignatureError::Malformed)?;
    let expected = decode(signing.encoding, written).ok_or(SignatureError::Malformed)?;
    let mut head = String::new();
    if let Some(stamp) = &signing.stamp {
        head.push_str(header(&stamp.header).ok_or(SignatureError::Missing)?);
        head.push_str(&stamp.separator);
    }
    let parts = [head.as_bytes(), body];
    let mut matched = false;
    for secret in &signing.secrets {
        let key = secret.expose_secret().as_bytes();
        let is_ours = match signing.algorithm {
            Algorithm::Sha256 => mac_matches(sha256(key), parts, &expected),
            Algorithm::Sha1 => mac_matches(sha1(key), parts, &expected),
        };
        matched |= is_ours & !key.is_empty();
    }
    if !matched {
        return Err(SignatureError::Mismatch);
    }
    // Only now: a time that nobody signed says nothing.
    if let Some(stamp) = &signing.stamp {
        let at = header(&stamp.header).and_then(instant);
        let is_fresh = at.is_some_and(|at| now.duration_since(at).abs() <= stamp.tolerance);
        if !is_fresh {
            return Err(SignatureError::OutOfTime);
        }
    }
    Ok(())
}

fn decode(encoding: Encoding, written: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => hex::decode(written).ok(),
        Encoding::Base64 => STANDARD
            .decode(written)
            .or_else(|_| URL_SAFE_NO_PAD.decode(written.trim_end_matches('=')))
            .ok(),
    }
}

fn sha256(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn sha1(key: &[u8]) -> Hmac<Sha1> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn mac_matches(mut mac: impl Mac, parts: [&[u8]; 2], expected: &[u8]) -> bool {
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(expected).is_ok()
}

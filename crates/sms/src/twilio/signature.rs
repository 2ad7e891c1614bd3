//! `X-Twilio-Signature`: Twilio signs the URL it called and what it posted with the account's
//! auth token.
//!
//! The URL must be the one that Twilio was given, not what is left of it behind a proxy. The
//! signature carries no time; repeats are the consumer's business.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::form;

/// The header's name, in lower case.
pub const HEADER: &str = "x-twilio-signature";

/// The query parameter by which a signed URL vouches for a body that is no form.
const BODY_HASH: &str = "bodySHA256";
const DIGEST_BYTES: usize = 20;

/// Why a callback was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header.
    #[error("signature header is missing")]
    Missing,
    /// The header is not the base64 of 20 bytes.
    #[error("signature header is malformed")]
    Malformed,
    /// No token makes this signature over this URL and body (or there is no token at all).
    #[error("signature does not match")]
    Mismatch,
    /// The body is no form.
    #[error("body is no form")]
    NotAForm,
    /// The URL vouches for no body, or for another one.
    #[error("body does not match its hash in the URL")]
    BodyMismatch,
}

/// Verifies the header of a post: by its form, or where the URL vouches for the body, as Twilio's
/// URLs do when they bring anything but a form, by that.
pub fn verify(
    url: &str,
    body: &[u8],
    header: Option<&str>,
    auth_tokens: &[SecretString],
) -> Result<(), SignatureError> {
    if body_hash(url).is_some() {
        verify_body_hash(url, body, header, auth_tokens)
    } else {
        verify_form(url, body, header, auth_tokens)
    }
}

/// Verifies the header of a form post against any of several auth tokens, in constant time.
///
/// `url` is the callback URL as Twilio was given it, with its query. Twilio's clients differ on
/// whether a default port is written out, so both forms pass.
pub fn verify_form(
    url: &str,
    body: &[u8],
    header: Option<&str>,
    auth_tokens: &[SecretString],
) -> Result<(), SignatureError> {
    let expected = decode(header)?;
    let params = form::pairs(body).ok_or(SignatureError::NotAForm)?;
    check(url, &params, &expected, auth_tokens)
}

/// Verifies the header of a post that is no form (JSON): the URL is signed alone and carries the
/// body's SHA-256 in `bodySHA256`.
pub fn verify_body_hash(
    url: &str,
    body: &[u8],
    header: Option<&str>,
    auth_tokens: &[SecretString],
) -> Result<(), SignatureError> {
    let expected = decode(header)?;
    check(url, &[], &expected, auth_tokens)?;
    let claimed = body_hash(url).ok_or(SignatureError::BodyMismatch)?;
    let actual = hex::encode(Sha256::digest(body));
    if bool::from(
        claimed
            .to_ascii_lowercase()
            .as_bytes()
            .ct_eq(actual.as_bytes()),
    ) {
        Ok(())
    } else {
        Err(SignatureError::BodyMismatch)
    }
}

/// Returns the header value for a form post, as Twilio would send it.
pub fn sign_form(url: &str, params: &[(String, String)], auth_token: &SecretString) -> String {
    STANDARD.encode(mac(url, params, auth_token).finalize().into_bytes())
}

/// Returns the URL with `bodySHA256` and the header value for a post that is no form.
pub fn sign_body_hash(url: &str, body: &[u8], auth_token: &SecretString) -> (String, String) {
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!(
        "{url}{separator}{BODY_HASH}={}",
        hex::encode(Sha256::digest(body))
    );
    let header = sign_form(&url, &[], auth_token);
    (url, header)
}

fn decode(header: Option<&str>) -> Result<[u8; DIGEST_BYTES], SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?.trim();
    let bytes = STANDARD
        .decode(header)
        .map_err(|_| SignatureError::Malformed)?;
    bytes.try_into().map_err(|_| SignatureError::Malformed)
}

fn check(
    url: &str,
    params: &[(String, String)],
    expected: &[u8; DIGEST_BYTES],
    auth_tokens: &[SecretString],
) -> Result<(), SignatureError> {
    let urls = [
        Some(url.to_owned()),
        with_default_port(url),
        without_port(url),
    ];
    let mut matched = false;
    for auth_token in auth_tokens {
        let usable = !auth_token.expose_secret().is_empty();
        for url in urls.iter().flatten() {
            matched |= mac(url, params, auth_token).verify_slice(expected).is_ok() & usable;
        }
    }
    if matched {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// Names sorted by their bytes; under a repeated name each different value once, sorted, which is
/// what Twilio's own helper libraries expect.
fn mac(url: &str, params: &[(String, String)], auth_token: &SecretString) -> Hmac<Sha1> {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in params {
        sorted.entry(name).or_default().insert(value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    for (name, values) in sorted {
        for value in values {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
    }
    mac
}

fn body_hash(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next()?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(BODY_HASH)?.strip_prefix('='))
}

/// Splits into scheme, host (with port, if any) and rest. Text surgery, since every other byte of
/// the URL must stay as it is.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, after) = url.split_once("://")?;
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    Some((scheme, authority, rest))
}

fn port_start(authority: &str) -> Option<usize> {
    let colon = authority.rfind(':')?;
    let port = &authority[colon + 1..];
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(colon)
}

fn with_default_port(url: &str) -> Option<String> {
    let (scheme, authority, rest) = split(url)?;
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    port_start(authority)
        .is_none()
        .then(|| format!("{scheme}://{authority}:{port}{rest}"))
}

fn without_port(url: &str) -> Option<String> {
    let (scheme, authority, rest) = split(url)?;
    let colon = port_start(authority)?;
    Some(format!("{scheme}://{}{rest}", &authority[..colon]))
}

//! The token on Vonage's webhooks: a JWT, signed with the account's signature secret, that says
//! when it was made, for whom, and which body it is for.
//!
//! Vonage: Signed webhooks, Messages API. Always HS256; the body's SHA-256 stands in
//! `payload_hash`. Repeats within the tolerance are the consumer's business.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::jwt;

/// The header's name, in lower case.
pub const HEADER: &str = "authorization";

/// How old a token may be unless set otherwise. Vonage repeats a webhook for 24 hours, and does
/// not say whether with a new token; a repeat changes nothing, a lost one would.
pub const DEFAULT_TOLERANCE: SignedDuration = SignedDuration::from_hours(25);

/// How far ahead Vonage's clock may be.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// No token of Vonage's comes near this, in bytes.
const TOKEN_LEN_MAX: usize = 8 * 1024;

/// Whose webhooks are taken.
#[derive(Debug, Clone)]
pub struct Account {
    /// Signature secrets; several while one is replaced by another.
    pub secrets: Vec<SecretString>,
    /// The account's API key, if the token has to name it.
    pub api_key: Option<String>,
    /// The application's id, if the token has to name it.
    pub application_id: Option<String>,
    /// How old a token may be.
    pub tolerance: SignedDuration,
}

/// Why a webhook was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no token. Vonage: rarely, a webhook goes out unsigned; it is repeated if it is
    /// answered with a server error.
    #[error("token is missing")]
    Missing,
    /// The header holds no JWT that Vonage would make.
    #[error("token is malformed")]
    Malformed,
    /// No secret makes this signature (or there is no secret at all).
    #[error("signature does not match")]
    Mismatch,
    /// It is another account's or another application's.
    #[error("token is for another account or application")]
    OtherAccount,
    /// It was made too long ago, in the future, or nobody knows when; or its end has passed.
    #[error("token is out of its time")]
    OutOfTime,
    /// It vouches for another body, or for none.
    #[error("body does not match its hash in the token")]
    BodyMismatch,
}

/// Verifies the `Authorization` header against any of the account's secrets, in constant time.
pub fn verify(
    account: &Account,
    body: &[u8],
    header: Option<&str>,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let token = bearer(header)?;
    let claims = claims(token, &account.secrets)?;
    for (name, expected) in [
        ("api_key", &account.api_key),
        ("application_id", &account.application_id),
    ] {
        if let Some(expected) = expected
            && claims[name].as_str() != Some(expected)
        {
            return Err(SignatureError::OtherAccount);
        }
    }
    if !is_in_time(&claims, account.tolerance, now) {
        return Err(SignatureError::OutOfTime);
    }
    let claimed = claims["payload_hash"].as_str().unwrap_or_default();
    let actual = hex::encode(Sha256::digest(body));
    let claimed = claimed.to_ascii_lowercase();
    if bool::from(claimed.as_bytes().ct_eq(actual.as_bytes())) {
        Ok(())
    } else {
        Err(SignatureError::BodyMismatch)
    }
}

fn bearer(header: Option<&str>) -> Result<&str, SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?.trim();
    let (scheme, token) = header.split_once(' ').ok_or(SignatureError::Malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > TOKEN_LEN_MAX {
        return Err(SignatureError::Malformed);
    }
    Ok(token)
}

/// Returns the claims of a token that one of the secrets signed.
fn claims(token: &str, secrets: &[SecretString]) -> Result<Value, SignatureError> {
    jwt::install();
    let mut validation = Validation::new(Algorithm::HS256);
    // The library would ask the clock; times are checked above, against the time given.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    for secret in secrets {
        let secret = secret.expose_secret();
        if secret.is_empty() {
            continue;
        }
        let key = DecodingKey::from_secret(secret.as_bytes());
        match jsonwebtoken::decode::<Value>(token, &key, &validation) {
            Ok(data) if data.claims.is_object() => return Ok(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
            Ok(_) | Err(_) => return Err(SignatureError::Malformed),
        }
    }
    Err(SignatureError::Mismatch)
}

fn is_in_time(claims: &Value, tolerance: SignedDuration, now: Timestamp) -> bool {
    let Some(issued_at) = seconds(&claims["iat"]) else {
        return false;
    };
    let age = now.duration_since(issued_at);
    let has_ended = match &claims["exp"] {
        Value::Null => false,
        exp => seconds(exp).is_none_or(|ends_at| ends_at <= now),
    };
    age <= tolerance && age >= -AHEAD_MAX && !has_ended
}

fn seconds(claim: &Value) -> Option<Timestamp> {
    Timestamp::from_second(claim.as_i64()?).ok()
}

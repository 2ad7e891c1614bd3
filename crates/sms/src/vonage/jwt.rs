//! The two algorithms of Vonage's tokens, for the JWT library: HS256, which Vonage signs webhooks
//! with, and RS256, which an application signs its calls with.
//!
//! The library brings backends for all algorithms or none; none is what keeps a second RSA out of
//! the binary, beside TLS's. It knows one backend a process, so it is installed once.

use std::sync::{Arc, Once};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as Mismatch, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How long a token of ours is good for. Each call has its own, so it need only outlast the
/// difference of two clocks.
const TOKEN_LIFE_SECONDS: i64 = 15 * 60;

/// Why a key signs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no PEM of a private key.
    #[error("private key is no PEM of a private key")]
    Unreadable,
    /// It is not RSA of 2,048 bits or more.
    #[error("private key is not RSA of 2,048 bits or more")]
    Unfit,
}

/// Returns whether a private key (PEM) can sign.
pub fn check_key(private_key: &SecretString) -> Result<(), KeyError> {
    of_application("", private_key, "", jiff::Timestamp::UNIX_EPOCH).map(|_| ())
}

/// Returns a token by which an application proves itself (Vonage: authentication, JSON web tokens).
/// `unique` is what sets it apart from others of the same moment.
pub(super) fn of_application(
    application_id: &str,
    private_key: &SecretString,
    unique: &str,
    now: jiff::Timestamp,
) -> Result<SecretString, KeyError> {
    install();
    let pem = private_key.expose_secret().as_bytes();
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::Unreadable)?;
    let issued_at = now.as_second();
    let id = Sha256::digest(format!("{application_id}\n{unique}\n{now}"));
    let claims = json!({
        "application_id": application_id,
        "iat": issued_at,
        "exp": issued_at.saturating_add(TOKEN_LIFE_SECONDS),
        "jti": URL_SAFE_NO_PAD.encode(id),
    });
    let key = EncodingKey::from_rsa_der(der.secret_der());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key)
        .map_err(|_| KeyError::Unfit)?;
    Ok(SecretString::from(token))
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes sure that the library can verify HS256 and sign RS256.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    // Another part of the process may have brought a backend: then that one does it.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the library says how it is called"
)]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if *algorithm != Algorithm::RS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let unfit = || Error::from(ErrorKind::InvalidKeyFormat);
    let der = PrivateKeyDer::try_from(key.as_bytes()).map_err(|_| unfit())?;
    let key = any_supported_type(&der).map_err(|_| unfit())?;
    Ok(Box::new(Rs256(key)))
}

struct Rs256(Arc<dyn SigningKey>);

impl Signer<Vec<u8>> for Rs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Mismatch> {
        let signer = self
            .0
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or_else(Mismatch::new)?;
        signer.sign(message).map_err(|_| Mismatch::new())
    }
}

impl JwtSigner for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the library says how it is called"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if *algorithm != Algorithm::HS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let mac = Hmac::<Sha256>::new_from_slice(key.try_get_as_bytes()?)
        .map_err(|_| ErrorKind::InvalidKeyFormat)?;
    Ok(Box::new(Hs256(mac)))
}

struct Hs256(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Mismatch> {
        let mut mac = self.0.clone();
        mac.update(message);
        // Constant time.
        mac.verify_slice(signature).map_err(|_| Mismatch::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

//! The signatures of webhooks and callbacks.
//!
//! It signs; nothing in the simulator verifies, since nothing signed is sent to it.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

/// Returns `X-Hub-Signature-256` for a body (Meta: webhooks, validate payloads).
pub(crate) fn sign_meta(app_secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes())
        .expect("an HMAC key may have any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Returns `X-Twilio-Signature` for a form (Twilio: webhooks security).
pub(crate) fn sign_twilio(auth_token: &str, url: &str, params: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = params.iter().collect();
    sorted.sort();
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.as_bytes())
        .expect("an HMAC key may have any length");
    mac.update(url.as_bytes());
    for (key, value) in sorted {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_what_the_platforms_document() {
        // Computed with another implementation.
        assert_eq!(
            sign_meta("secret", b"{\"a\":1}"),
            "sha256=aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494"
        );
        let params = [
            ("To".to_owned(), "+15550001111".to_owned()),
            ("Body".to_owned(), "hello".to_owned()),
        ];
        assert_eq!(
            sign_twilio("token", "https://example.com/callback?x=1", &params),
            "yyGLjyJLrYkhnKm+7sTg8MdORHE="
        );
    }
}

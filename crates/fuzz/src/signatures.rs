//! Signatures of webhooks.

use casement_sms::generic::signature as generic;
use casement_sms::twilio::signature as twilio;
use casement_sms::vonage::signature as vonage;
use casement_whatsapp::signature as meta;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use crate::cut;

/// What was signed verifies, under each secret of a rotation; with one bit changed, or under
/// another secret, it does not; and no header of somebody's making does.
///
/// # Panics
/// When that does not hold.
pub fn signatures(input: &[u8]) {
    let (secret, rest) = cut(input);
    let (header, body) = cut(rest);
    let secret = String::from_utf8_lossy(secret);
    let header = String::from_utf8_lossy(header);
    of_meta(&secret, &header, body);
    of_twilio(&secret, &header, body);
    of_others(&secret, &header, body);
}

fn of_meta(secret: &str, header: &str, body: &[u8]) {
    let ours = SecretString::from(format!("k{secret}"));
    let other = SecretString::from(format!("l{secret}"));
    let signed = meta::sign(body, &ours);
    let verify = |body: &[u8], header: &str, secrets: &[SecretString]| {
        meta::verify(body, Some(header), secrets).is_ok()
    };
    assert!(verify(body, &signed, std::slice::from_ref(&ours)));
    assert!(verify(body, &signed, &[other.clone(), ours.clone()]));
    assert!(!verify(body, &signed, std::slice::from_ref(&other)));
    assert!(!verify(body, &signed, &[]));
    assert!(meta::verify(body, None, std::slice::from_ref(&ours)).is_err());
    let is_the_same = header.trim().eq_ignore_ascii_case(&signed);
    assert!(is_the_same || !verify(body, header, std::slice::from_ref(&ours)));
    if let Some(changed) = changed(body) {
        assert!(!verify(&changed, &signed, std::slice::from_ref(&ours)));
    }
}

fn of_twilio(secret: &str, header: &str, body: &[u8]) {
    let url = "https://hooks.example.com/webhooks/twilio?m=1&a=2";
    let ours = SecretString::from(format!("k{secret}"));
    let other = SecretString::from(format!("l{secret}"));
    let pairs: Option<Vec<(String, String)>> = serde_urlencoded::from_bytes(body).ok();
    if let Some(pairs) = &pairs {
        let signed = twilio::sign_form(url, pairs, &ours);
        let verify = |url: &str, secret: &SecretString| {
            twilio::verify_form(url, body, Some(&signed), std::slice::from_ref(secret)).is_ok()
        };
        assert!(verify(url, &ours));
        assert!(!verify(url, &other));
        assert!(!verify("https://hooks.example.com/webhooks/other", &ours));
        let made_up = twilio::verify_form(url, body, Some(header), std::slice::from_ref(&ours));
        assert!(made_up.is_err() || header.trim() == signed);
    }
    let (signed_url, signed) = twilio::sign_body_hash(url, body, &ours);
    let secrets = std::slice::from_ref(&ours);
    assert!(twilio::verify_body_hash(&signed_url, body, Some(&signed), secrets).is_ok());
    if let Some(changed) = changed(body) {
        assert!(twilio::verify_body_hash(&signed_url, &changed, Some(&signed), secrets).is_err());
    }
}

/// Whoever does not know the secret gets nowhere, whatever the header says.
fn of_others(secret: &str, header: &str, body: &[u8]) {
    let secrets = vec![SecretString::from(format!("k{secret}"))];
    let now = Timestamp::UNIX_EPOCH;
    let account = vonage::Account {
        secrets: secrets.clone(),
        api_key: None,
        application_id: None,
        tolerance: SignedDuration::MAX,
    };
    for header in [header.to_owned(), format!("Bearer {header}")] {
        assert!(vonage::verify(&account, body, Some(&header), now).is_err());
    }
    for (algorithm, encoding) in [
        (generic::Algorithm::Sha256, generic::Encoding::Hex),
        (generic::Algorithm::Sha1, generic::Encoding::Base64),
    ] {
        let signing = generic::Signing {
            secrets: secrets.clone(),
            header: "x-signature".to_owned(),
            prefix: String::new(),
            algorithm,
            encoding,
            stamp: None,
        };
        assert!(generic::verify(&signing, body, |_| Some(header), now).is_err());
    }
}

/// Returns the body with one bit changed.
fn changed(body: &[u8]) -> Option<Vec<u8>> {
    let mut changed = body.to_vec();
    let last = changed.last_mut()?;
    *last ^= 1;
    Some(changed)
}

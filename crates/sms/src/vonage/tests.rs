//! Webhooks and their tokens against Vonage's rules.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::callback::{ParseError, parse};
use super::signature::{Account, SignatureError, verify};
use crate::errors::NO_CODE;
use crate::webhook::{Delivery, Failure, Inbound, Media, Report, Webhook};

const BODY: &[u8] = br#"{"message_uuid":"m1","status":"delivered"}"#;

fn now() -> Timestamp {
    Timestamp::from_second(1_795_341_600).unwrap()
}

fn account(secrets: &[&str]) -> Account {
    Account {
        secrets: secrets.iter().copied().map(SecretString::from).collect(),
        api_key: None,
        application_id: None,
        tolerance: SignedDuration::from_mins(5),
    }
}

/// A token as RFC 7515 and RFC 7519 say, made without the library that reads it.
fn token(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("Bearer {signed}.{signature}")
}

fn hs256() -> Value {
    json!({"typ": "JWT", "alg": "HS256"})
}

fn claims(body: &[u8]) -> Value {
    json!({
        "iat": now().as_second(),
        "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
        "iss": "Vonage",
        "payload_hash": hex::encode(Sha256::digest(body)),
        "api_key": "a1b2c3d",
        "application_id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims(BODY);
    claims[name] = value;
    claims
}

#[test]
fn a_known_token_passes() {
    // Computed with Python's hmac and hashlib: header {"alg":"HS256","typ":"JWT"}, claims
    // {"iat":1795341600,"payload_hash":<SHA-256 of "{}">}, secret "secret".
    let known = concat!(
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJpYXQiOjE3OTUzNDE2MDAsInBheWxvYWRfaGFzaCI6IjQ0MTM2ZmEzNTViMzY3OGExMT",
        "Q2YWQxNmY3ZTg2NDllOTRmYjRmYzIxZmU3N2U4MzEwYzA2MGY2MWNhYWZmOGEifQ",
        ".",
        "i4SQePs1_AwiVAvTD6_LRjB3eDFhtv3GZJfPKiT3hQ0"
    );
    assert_eq!(
        verify(&account(&["secret"]), b"{}", Some(known), now()),
        Ok(())
    );
}

/// Whose webhook, which body, which header, and what becomes of it.
type Case<'a> = (
    &'a str,
    Account,
    &'a [u8],
    Option<String>,
    Result<(), SignatureError>,
);

#[test]
fn only_a_whole_and_fresh_token_by_one_of_our_secrets_passes() {
    use SignatureError as E;
    let good = token(&hs256(), &claims(BODY), "secret");
    let of = |claims: &Value| token(&hs256(), claims, "secret");
    let at = |seconds: i64| json!(now().as_second() + seconds);
    let ours = || account(&["secret"]);
    let none = json!({"typ": "JWT", "alg": "none"});
    let unsigned = token(&none, &claims(BODY), "secret");
    let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
    let table: Vec<Case<'_>> = vec![
        ("right", ours(), BODY, Some(good.clone()), Ok(())),
        (
            "the older of two",
            account(&["new", "secret"]),
            BODY,
            Some(good.clone()),
            Ok(()),
        ),
        (
            "the newer of two",
            account(&["secret", "old"]),
            BODY,
            Some(good.clone()),
            Ok(()),
        ),
        (
            "another secret",
            account(&["Secret"]),
            BODY,
            Some(good.clone()),
            Err(E::Mismatch),
        ),
        (
            "no secret",
            account(&[]),
            BODY,
            Some(good.clone()),
            Err(E::Mismatch),
        ),
        (
            "another body",
            ours(),
            b"{}",
            Some(good.clone()),
            Err(E::BodyMismatch),
        ),
        ("no header", ours(), BODY, None, Err(E::Missing)),
        (
            "another scheme",
            ours(),
            BODY,
            Some(good.replace("Bearer", "Basic")),
            Err(E::Malformed),
        ),
        (
            "lower case scheme",
            ours(),
            BODY,
            Some(good.replace("Bearer", "bearer")),
            Ok(()),
        ),
        (
            "no token",
            ours(),
            BODY,
            Some("Bearer x".to_owned()),
            Err(E::Malformed),
        ),
        (
            "no signature at all",
            ours(),
            BODY,
            Some(format!("{unsigned}.")),
            Err(E::Malformed),
        ),
        (
            "another algorithm",
            ours(),
            BODY,
            Some(token(&json!({"alg": "HS512"}), &claims(BODY), "secret")),
            Err(E::Malformed),
        ),
        (
            "no body hash",
            ours(),
            BODY,
            Some(of(&with("payload_hash", Value::Null))),
            Err(E::BodyMismatch),
        ),
        (
            "as old as may be",
            ours(),
            BODY,
            Some(of(&with("iat", at(-300)))),
            Ok(()),
        ),
        (
            "too old",
            ours(),
            BODY,
            Some(of(&with("iat", at(-301)))),
            Err(E::OutOfTime),
        ),
        (
            "a little ahead",
            ours(),
            BODY,
            Some(of(&with("iat", at(60)))),
            Ok(()),
        ),
        (
            "far ahead",
            ours(),
            BODY,
            Some(of(&with("iat", at(3600)))),
            Err(E::OutOfTime),
        ),
        (
            "without a time",
            ours(),
            BODY,
            Some(of(&with("iat", Value::Null))),
            Err(E::OutOfTime),
        ),
        (
            "a time that is none",
            ours(),
            BODY,
            Some(of(&with("iat", json!("now")))),
            Err(E::OutOfTime),
        ),
        (
            "not yet ended",
            ours(),
            BODY,
            Some(of(&with("exp", at(1)))),
            Ok(()),
        ),
        (
            "ended",
            ours(),
            BODY,
            Some(of(&with("exp", at(0)))),
            Err(E::OutOfTime),
        ),
        (
            "an end that is none",
            ours(),
            BODY,
            Some(of(&with("exp", json!("never")))),
            Err(E::OutOfTime),
        ),
    ];
    for (name, account, body, header, expected) in table {
        assert_eq!(
            verify(&account, body, header.as_deref(), now()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_changed_claim_breaks_the_signature() {
    let good = token(&hs256(), &claims(BODY), "secret");
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(with("api_key", json!("other")).to_string());
    let forged = format!("{}.{other}.{}", parts[0], parts[2]);
    assert_eq!(
        verify(&account(&["secret"]), BODY, Some(&forged), now()),
        Err(SignatureError::Mismatch)
    );
    let empty = token(&hs256(), &claims(BODY), "");
    assert_eq!(
        verify(&account(&[""]), BODY, Some(&empty), now()),
        Err(SignatureError::Mismatch),
        "a signature by the empty secret is nobody's"
    );
}

#[test]
fn another_account_or_application_is_refused_if_ours_is_named() {
    let good = token(&hs256(), &claims(BODY), "secret");
    for (api_key, application_id, passes) in [
        (Some("a1b2c3d"), None, true),
        (Some("other"), None, false),
        (None, Some("aaaaaaaa-bbbb-cccc-dddd-0123456789ab"), true),
        (Some("a1b2c3d"), Some("other"), false),
    ] {
        let account = Account {
            api_key: api_key.map(str::to_owned),
            application_id: application_id.map(str::to_owned),
            ..account(&["secret"])
        };
        let expected = if passes {
            Ok(())
        } else {
            Err(SignatureError::OtherAccount)
        };
        assert_eq!(verify(&account, BODY, Some(&good), now()), expected);
    }
}

fn read(value: &Value) -> Result<Webhook, ParseError> {
    parse(value.to_string().as_bytes())
}

#[test]
fn a_status_is_read_with_its_reason() {
    let status = json!({
        "message_uuid": "m1", "to": "447700900000", "from": "447700900001",
        "timestamp": "2026-11-22T10:00:00.000Z", "status": "rejected", "client_ref": "ours.1",
        "error": {"type": "https://developer.vonage.com/api-errors/messages#1240", "title": "1240",
            "detail": "Illegal Number", "instance": "i"},
        "usage": {"currency": "EUR", "price": "0.0333"}, "channel": "sms",
    });
    let expected = Report {
        id: "m1".to_owned(),
        word: "rejected".to_owned(),
        delivery: Some(Delivery::Failed),
        failure: Some(Failure {
            code: 1_240,
            detail: "Illegal Number".to_owned(),
        }),
        to: Some("447700900000".to_owned()),
        from: Some("447700900001".to_owned()),
        account: None,
        reference: Some("ours.1".to_owned()),
        at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
    };
    assert_eq!(read(&status), Ok(Webhook::Report(expected)));
    for (error, code) in [
        (
            json!({"type": "https://developer.vonage.com/api-errors/messages#1180", "title": "Gone"}),
            1_180,
        ),
        (json!({"title": 1330}), 1_330),
        (Value::Null, NO_CODE),
    ] {
        let mut status = status.clone();
        status["error"] = error;
        let Ok(Webhook::Report(report)) = read(&status) else {
            panic!("no report")
        };
        assert_eq!(report.failure.unwrap().code, code);
    }
}

#[test]
fn every_status_has_one_meaning() {
    for (word, delivery) in [
        ("submitted", Some(Delivery::Sent)),
        ("delivered", Some(Delivery::Delivered)),
        ("read", Some(Delivery::Read)),
        ("rejected", Some(Delivery::Failed)),
        ("undeliverable", Some(Delivery::Failed)),
        ("pondered", None),
    ] {
        let Ok(Webhook::Report(report)) = read(&json!({"message_uuid": "m1", "status": word}))
        else {
            panic!("{word}")
        };
        assert_eq!((report.word.as_str(), report.delivery), (word, delivery));
        assert_eq!(report.failure.is_some(), delivery == Some(Delivery::Failed));
    }
}

#[test]
fn a_customers_message_is_read_with_its_files() {
    let mut sms = json!({
        "channel": "sms", "message_uuid": "m2", "to": "447700900000", "from": "447700900001",
        "timestamp": "2026-11-22T10:00:00Z", "message_type": "text", "text": "Stop",
        "sms": {"num_messages": "2", "keyword": "STOP"}, "usage": {"price": "0"},
    });
    let expected = Inbound {
        id: "m2".to_owned(),
        from: "447700900001".to_owned(),
        to: "447700900000".to_owned(),
        text: "Stop".to_owned(),
        segments: Some(2),
        at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
        ..Inbound::default()
    };
    assert_eq!(read(&sms), Ok(Webhook::Inbound(expected)));
    sms["channel"] = json!("mms");
    sms["message_type"] = json!("image");
    sms["text"] = Value::Null;
    sms["image"] = json!({"url": "https://example.com/a.jpg", "caption": "my parcel"});
    let Ok(Webhook::Inbound(mms)) = read(&sms) else {
        panic!("no message")
    };
    assert_eq!(mms.text, "my parcel");
    let file = Media {
        url: "https://example.com/a.jpg".to_owned(),
        mime_type: None,
    };
    assert_eq!(mms.media, [file]);
}

#[test]
fn what_is_no_webhook_of_an_sms_is_refused() {
    for (body, error) in [
        (json!([]), ParseError::NotAnObject),
        (json!({}), ParseError::Missing("message_uuid")),
        (
            json!({"message_uuid": "m"}),
            ParseError::Missing("message_type"),
        ),
        (
            json!({"message_uuid": "m", "text": "x", "to": "1"}),
            ParseError::Missing("from"),
        ),
        (
            json!({"message_uuid": "m", "text": "x", "from": "1"}),
            ParseError::Missing("to"),
        ),
        (
            json!({"message_uuid": "m", "status": "read", "channel": "viber_service"}),
            ParseError::OtherChannel("viber_service".to_owned()),
        ),
    ] {
        assert_eq!(read(&body), Err(error), "{body}");
    }
    assert_eq!(parse(b"no json"), Err(ParseError::NotAnObject));
}

proptest! {
    #[test]
    fn no_bytes_make_a_webhook_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in ".{0,80}") {
        let _ = parse(&bytes);
        let _ = verify(&account(&["secret"]), &bytes, Some(&header), now());
        let _ = verify(&account(&["secret"]), &bytes, Some(&format!("Bearer {header}")), now());
    }
}

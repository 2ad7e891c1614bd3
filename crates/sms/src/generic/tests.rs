//! Signatures and layouts of gateways that exist by configuration only.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::callback::{ParseError, parse};
use super::signature::verify;
use super::{
    Algorithm, Encoding, InboundFields, Kinds, Layout, ReportFields, SignatureError, Signing, Stamp,
};
use crate::errors::NO_CODE;
use crate::webhook::{Delivery, Failure, Inbound, Media, Report, Webhook};

const BODY: &[u8] = br#"{"id":"7"}"#;
const TIME: &str = "1795341600";

// All computed with Python's hmac and hashlib, key "secret".
const SHA256_HEX: &str = "88336f720336adaec74d9fdf146b27cd6727f7a05e1d0d84b0ae2209929d45aa";
const SHA1_HEX: &str = "375873803cb0c1cba91134f9fba85cc58de76da2";
/// Over TIME, a dot and BODY.
const STAMPED_HEX: &str = "304be96ef9382f8056e6261a670b06ce136a71bb64c333b23b95bd30bbd1e731";

fn now() -> Timestamp {
    Timestamp::from_second(1_795_341_600).unwrap()
}

fn signing(secrets: &[&str]) -> Signing {
    Signing {
        secrets: secrets.iter().copied().map(SecretString::from).collect(),
        header: "x-signature".to_owned(),
        prefix: String::new(),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Hex,
        stamp: None,
    }
}

fn stamped() -> Signing {
    Signing {
        stamp: Some(Stamp {
            header: "x-time".to_owned(),
            separator: ".".to_owned(),
            tolerance: SignedDuration::from_mins(5),
        }),
        ..signing(&["secret"])
    }
}

fn check(
    signing: &Signing,
    body: &[u8],
    headers: &[(&str, &str)],
    now: Timestamp,
) -> Result<(), SignatureError> {
    let find = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    };
    verify(signing, body, find, now)
}

/// What is signed how, with which header, and what becomes of it.
type Case<'a> = (
    &'a str,
    Signing,
    &'a [u8],
    &'a str,
    Result<(), SignatureError>,
);

#[test]
fn only_a_whole_signature_by_one_of_our_secrets_passes() {
    use SignatureError as E;
    let upper = SHA256_HEX.to_uppercase();
    let base64 = STANDARD.encode(hex::decode(SHA256_HEX).unwrap());
    let url_safe = base64.replace('+', "-").replace('/', "_");
    let prefixed = format!("sha256={SHA256_HEX}");
    let ours = || signing(&["secret"]);
    let in_base64 = || Signing {
        encoding: Encoding::Base64,
        ..ours()
    };
    let with_prefix = || Signing {
        prefix: "sha256=".to_owned(),
        ..ours()
    };
    let by_sha1 = || Signing {
        algorithm: Algorithm::Sha1,
        ..ours()
    };
    let table: Vec<Case<'_>> = vec![
        ("right", ours(), BODY, SHA256_HEX, Ok(())),
        ("upper case", ours(), BODY, &upper, Ok(())),
        (
            "the older of two",
            signing(&["new", "secret"]),
            BODY,
            SHA256_HEX,
            Ok(()),
        ),
        (
            "another secret",
            signing(&["Secret"]),
            BODY,
            SHA256_HEX,
            Err(E::Mismatch),
        ),
        (
            "no secret",
            signing(&[]),
            BODY,
            SHA256_HEX,
            Err(E::Mismatch),
        ),
        ("another body", ours(), b"{}", SHA256_HEX, Err(E::Mismatch)),
        (
            "too short",
            ours(),
            BODY,
            &SHA256_HEX[..32],
            Err(E::Mismatch),
        ),
        ("empty", ours(), BODY, "", Err(E::Mismatch)),
        ("no hexadecimal", ours(), BODY, "xyz", Err(E::Malformed)),
        ("base64", in_base64(), BODY, &base64, Ok(())),
        (
            "the other base64",
            in_base64(),
            BODY,
            url_safe.trim_end_matches('='),
            Ok(()),
        ),
        ("no base64", in_base64(), BODY, "!", Err(E::Malformed)),
        ("with its prefix", with_prefix(), BODY, &prefixed, Ok(())),
        (
            "without its prefix",
            with_prefix(),
            BODY,
            SHA256_HEX,
            Err(E::Malformed),
        ),
        ("SHA-1", by_sha1(), BODY, SHA1_HEX, Ok(())),
        (
            "SHA-1 for SHA-256",
            ours(),
            BODY,
            SHA1_HEX,
            Err(E::Mismatch),
        ),
    ];
    for (name, signing, body, header, expected) in table {
        let headers = [("x-signature", header)];
        assert_eq!(check(&signing, body, &headers, now()), expected, "{name}");
    }
    assert_eq!(check(&ours(), BODY, &[], now()), Err(E::Missing));
}

#[test]
fn a_signature_by_the_empty_secret_is_nobodys() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"").unwrap();
    mac.update(BODY);
    let header = hex::encode(mac.finalize().into_bytes());
    let result = check(&signing(&[""]), BODY, &[("x-signature", &header)], now());
    assert_eq!(result, Err(SignatureError::Mismatch));
}

#[test]
fn a_signed_time_ends_replays() {
    use SignatureError as E;
    let after = |seconds| now() + SignedDuration::from_secs(seconds);
    for (name, time, now, expected) in [
        ("fresh", Some(TIME), now(), Ok(())),
        ("as old as may be", Some(TIME), after(300), Ok(())),
        ("replayed", Some(TIME), after(301), Err(E::OutOfTime)),
        (
            "from the future",
            Some(TIME),
            after(-301),
            Err(E::OutOfTime),
        ),
        ("another time", Some("1795341601"), now(), Err(E::Mismatch)),
        ("no time", None, now(), Err(E::Missing)),
    ] {
        let mut headers = vec![("x-signature", STAMPED_HEX)];
        headers.extend(time.map(|time| ("x-time", time)));
        assert_eq!(check(&stamped(), BODY, &headers, now), expected, "{name}");
    }
    let unstamped = [("x-signature", SHA256_HEX), ("x-time", TIME)];
    assert_eq!(check(&stamped(), BODY, &unstamped, now()), Err(E::Mismatch));
}

fn layout() -> Layout {
    let text = str::to_owned;
    Layout {
        kinds: None,
        report: Some(ReportFields {
            id: text("/message/id"),
            status: text("/message/state"),
            to: text("/message/to"),
            from: text("/message/from"),
            reference: text("/message/ref"),
            error_code: text("/error/code"),
            error_text: text("/error/text"),
            time: text("/at"),
        }),
        inbound: Some(InboundFields {
            id: text("/message/id"),
            from: text("/message/from"),
            to: text("/message/to"),
            text: text("/message/text"),
            media: text("/message/files"),
            media_url: text("/link"),
            media_type: text("/type"),
            segments: text("/message/parts"),
            time: text("/at"),
        }),
        words: [
            ("accepted", Delivery::Sent),
            ("delivrd", Delivery::Delivered),
            ("undeliv", Delivery::Failed),
        ]
        .map(|(word, delivery)| (word.to_owned(), delivery))
        .into(),
    }
}

fn read(layout: &Layout, value: &Value) -> Result<Webhook, ParseError> {
    parse(layout, value.to_string().as_bytes())
}

#[test]
fn a_status_is_read_where_the_layout_says() {
    let status = json!({"at": 1_795_341_600, "message": {"id": 7, "state": "UNDELIV",
        "to": "+447700900000", "from": "+447700900001", "ref": "ours.1"},
        "error": {"code": "13", "text": "switched off"}});
    let expected = Report {
        id: "7".to_owned(),
        word: "UNDELIV".to_owned(),
        delivery: Some(Delivery::Failed),
        failure: Some(Failure {
            code: 13,
            detail: "switched off".to_owned(),
        }),
        to: Some("+447700900000".to_owned()),
        from: Some("+447700900001".to_owned()),
        account: None,
        reference: Some("ours.1".to_owned()),
        at: Some(now()),
    };
    assert_eq!(read(&layout(), &status), Ok(Webhook::Report(expected)));
    for (word, delivery, code) in [
        ("accepted", Some(Delivery::Sent), None),
        ("DELIVRD", Some(Delivery::Delivered), None),
        ("undeliv", Some(Delivery::Failed), Some(NO_CODE)),
        ("pondered", None, None),
    ] {
        let status = json!({"message": {"id": "7", "state": word}});
        let Ok(Webhook::Report(report)) = read(&layout(), &status) else {
            panic!("{word}")
        };
        assert_eq!(report.delivery, delivery, "{word}");
        assert_eq!(report.failure.map(|failure| failure.code), code, "{word}");
    }
}

#[test]
fn a_message_is_read_where_the_layout_says() {
    let sms = json!({"at": "2026-11-22T10:00:00Z", "message": {"id": "8", "from": "+447700900000",
        "to": "+447700900001", "text": "stop", "parts": 2,
        "files": [{"link": "https://x.example/a", "type": "image/png"}, {"type": "lost"}]}});
    let expected = Inbound {
        id: "8".to_owned(),
        from: "+447700900000".to_owned(),
        to: "+447700900001".to_owned(),
        text: "stop".to_owned(),
        media: vec![Media {
            url: "https://x.example/a".to_owned(),
            mime_type: Some("image/png".to_owned()),
        }],
        segments: Some(2),
        at: Some(now()),
        ..Inbound::default()
    };
    assert_eq!(read(&layout(), &sms), Ok(Webhook::Inbound(expected)));

    let mut plain = layout();
    plain.inbound.as_mut().unwrap().media_url.clear();
    let sms =
        json!({"message": {"id": "8", "from": "1", "to": "2", "files": ["https://x.example/b"]}});
    let Ok(Webhook::Inbound(mms)) = read(&plain, &sms) else {
        panic!("no message")
    };
    assert_eq!((mms.text.as_str(), mms.media.len()), ("", 1));
    assert_eq!(mms.media[0].url, "https://x.example/b");
}

#[test]
fn a_kind_tells_statuses_from_messages_if_there_is_one() {
    // Its statuses repeat the text, so that only the kind can tell.
    let layout = Layout {
        kinds: Some(Kinds {
            at: "/type".to_owned(),
            inbound: vec!["mo".to_owned()],
        }),
        ..layout()
    };
    let post = |kind: &str| {
        json!({"type": kind, "message": {"id": "9", "from": "1", "to": "2", "text": "hi",
            "state": "DELIVRD"}})
    };
    assert!(matches!(
        read(&layout, &post("mo")),
        Ok(Webhook::Inbound(_))
    ));
    assert!(matches!(
        read(&layout, &post("dlr")),
        Ok(Webhook::Report(_))
    ));
}

#[test]
fn what_does_not_fit_the_layout_is_refused_with_the_place() {
    let missing = |place: &str| ParseError::Missing(place.to_owned());
    for (post, error) in [
        (json!({}), ParseError::NeitherStatusNorMessage),
        (json!([]), ParseError::NeitherStatusNorMessage),
        (json!({"message": {"state": "x"}}), missing("/message/id")),
        (
            json!({"message": {"text": "x", "from": "1", "to": "2"}}),
            missing("/message/id"),
        ),
        (
            json!({"message": {"text": "x", "from": "1", "id": "2"}}),
            missing("/message/to"),
        ),
    ] {
        assert_eq!(read(&layout(), &post), Err(error), "{post}");
    }
    assert_eq!(parse(&layout(), b"id=7"), Err(ParseError::NotJson));
    let nothing = Layout::default();
    let post = json!({"message": {"state": "x", "id": "1"}});
    assert_eq!(
        read(&nothing, &post),
        Err(ParseError::NeitherStatusNorMessage)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_post_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        header in ".{0,80}",
        place in ".{0,20}",
    ) {
        let _ = check(&stamped(), &bytes, &[("x-signature", &header), ("x-time", &header)], now());
        let mut odd = layout();
        odd.inbound.as_mut().unwrap().media = place;
        let _ = parse(&odd, &bytes);
    }
}

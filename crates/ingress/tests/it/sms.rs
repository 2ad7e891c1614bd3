//! Posts of SMS gateways: verified each in its own way, and the same once they are read.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use casement_domain::id::{BusinessNumber, MessageId};
use casement_event::{Event, v1};
use casement_ingress::{Config, GenericSms, Vonage, VonageAccount};
use casement_shell::SystemClock;
use casement_shell::config::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stage::{self, ONE, PUBLIC_URL, Stage, TWILIO_TOKEN, known, one_text, text, types};

const VONAGE_SECRET: &str = "vonage-signature-secret";
const ACME_SECRET: &str = "acme-key";
const CUSTOMER: &str = "+15550009999";

/// As [`stage::config`], with Vonage and a gateway that is told by configuration.
pub(crate) fn config() -> Config {
    let account = VonageAccount {
        signature_secrets: vec![
            Secret::from_value("newer"),
            Secret::from_value(VONAGE_SECRET),
        ],
        api_key: Some("a1b2c3d".to_owned()),
        application_id: None,
    };
    let acme: GenericSms = serde_json::from_value(json!({
        "secrets": [ACME_SECRET],
        "header": "X-Acme-Signature",
        "prefix": "sha256=",
        "timestamp_header": "X-Acme-Time",
        "status": {"id": "/id", "status": "/state", "to": "/to", "from": "/from",
            "reference": "/ref", "error_code": "/error"},
        "inbound": {"id": "/id", "from": "/from", "to": "/to", "text": "/text",
            "media": "/files", "media_url": "/url", "time": "/at"},
        "words": {"sent": ["ACCEPTD"], "delivered": ["DELIVRD"], "failed": ["UNDELIV"]},
    }))
    .unwrap();
    Config {
        vonage: Vonage {
            accounts: [("default".to_owned(), account)].into(),
            ..Vonage::default()
        },
        generic_sms: [("acme".to_owned(), acme)].into(),
        ..stage::config()
    }
}

pub(crate) async fn start() -> Stage {
    let clock = SystemClock::shared();
    Stage::start_as(config(), clock, Duration::from_secs(10)).await
}

fn now() -> i64 {
    SystemClock::shared().now().as_second()
}

fn request(path: &str, headers: &[(&str, String)], body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

fn hmac_sha256(key: &str, signed: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A webhook as Vonage posts it, its token made by hand.
pub(crate) fn from_vonage(path: &str, body: &Value) -> Request<Body> {
    vonage_with(path, body, |_| {})
}

fn vonage_with(path: &str, body: &Value, change: impl FnOnce(&mut Value)) -> Request<Body> {
    let mut claims = json!({"iat": now(), "iss": "Vonage", "api_key": "a1b2c3d",
        "payload_hash": hex::encode(Sha256::digest(body.to_string()))});
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"})),
        part(&claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(VONAGE_SECRET, &signed));
    let header = format!("Bearer {signed}.{signature}");
    request(path, &[("authorization", header)], body)
}

/// A post of the gateway that configuration tells of.
fn from_acme(body: &Value, second: i64) -> Request<Body> {
    let signature = hmac_sha256(ACME_SECRET, &format!("{second}.{body}"));
    let headers = [
        (
            "x-acme-signature",
            format!("sha256={}", hex::encode(signature)),
        ),
        ("x-acme-time", second.to_string()),
    ];
    request("/webhooks/sms/acme", &headers, body)
}

fn sms(stored: &casement_event::Stored) -> v1::InboundSmsReceived {
    match stored.event().unwrap() {
        Event::InboundSmsReceived(sms) => sms,
        other => panic!("{}", other.event_type()),
    }
}

#[tokio::test]
async fn messages_of_every_gateway_join_one_conversation_and_open_nothing() {
    let stage = start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let vonage = json!({"channel": "mms", "message_uuid": "v1", "from": "15550009999",
        "to": ONE.0, "timestamp": "2026-11-22T10:00:00Z", "message_type": "image",
        "image": {"url": "https://api.nexmo.com/v3/media/1", "caption": "by vonage"}});
    let acme = json!({"id": 7, "from": CUSTOMER, "to": "+15550001111", "text": "by acme",
        "files": [{"url": "https://acme.example/a"}], "at": "2026-11-22T10:00:01Z"});
    for _ in 0..2 {
        assert_eq!(
            stage.send(from_vonage("/webhooks/vonage", &vonage)).await.0,
            200
        );
        stage.settled().await;
        assert_eq!(stage.send(from_acme(&acme, now())).await.0, 200);
        stage.settled().await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored),
        [
            "InboundMessageReceived",
            "InboundSmsReceived",
            "InboundSmsReceived"
        ],
        "repeats were dropped"
    );
    assert!(stored.iter().all(|one| one.subject == stored[0].subject));
    for one in &stored {
        let last = known(one).summary.last_qualifying.unwrap();
        assert_eq!(last.provider_id, "wamid.1", "an SMS opens nothing");
    }
    let (first, second) = (sms(&stored[1]), sms(&stored[2]));
    assert_eq!(
        (first.provider.as_str(), first.text.as_str()),
        ("vonage", "by vonage")
    );
    assert_eq!(first.media[0].url, "https://api.nexmo.com/v3/media/1");
    assert_eq!(
        (second.provider.as_str(), second.text.as_str()),
        ("acme", "by acme")
    );
    assert_eq!(second.media[0].url, "https://acme.example/a");
    assert_eq!(
        stored[1].time(),
        Some("2026-11-22T10:00:00Z".parse().unwrap())
    );
    let raw: Vec<_> = stage.all("RAW", "casement.raw.").await;
    let subjects: Vec<&str> = raw.iter().map(|one| one.subject.as_str()).collect();
    assert!(subjects.contains(&"casement.raw.vonage"), "{subjects:?}");
    assert!(subjects.contains(&"casement.raw.acme"), "{subjects:?}");
    assert_eq!(stage.dead().await, []);
}

#[tokio::test]
async fn an_mms_of_twilio_keeps_its_files_and_its_parts() {
    let stage = Stage::start().await;
    let pairs = [
        ("MessageSid", "MM1"),
        ("From", CUSTOMER),
        ("To", "+15550001111"),
        ("Body", "look"),
        ("NumSegments", "3"),
        ("NumMedia", "1"),
        ("MediaUrl0", "https://api.twilio.com/m/1"),
        ("MediaContentType0", "image/jpeg"),
    ];
    let request = stage::from_twilio("/webhooks/twilio", &pairs);
    assert_eq!(stage.send(request).await.0, 200);
    stage.settled().await;
    let sms = sms(&stage.inbound(ONE.0).await[0]);
    assert_eq!((sms.provider.as_str(), sms.segments), ("twilio", 3));
    let file = &sms.media[0];
    assert_eq!(
        (file.url.as_str(), file.mime_type.as_str()),
        ("https://api.twilio.com/m/1", "image/jpeg")
    );
}

#[tokio::test]
async fn statuses_of_every_gateway_find_our_attempt_or_are_foreign() {
    let stage = start().await;
    let number = BusinessNumber::parse(ONE.0).unwrap();
    let (by_vonage, by_acme) = (MessageId::new(&number, 1), MessageId::new(&number, 2));
    let vonage = |reference: &str, word: &str| {
        json!({"channel": "sms", "message_uuid": "v9", "status": word, "from": ONE.0,
            "to": "15550009999", "client_ref": reference, "timestamp": "2026-11-22T10:00:00Z",
            "error": {"title": "1180", "detail": "Absent Subscriber Temporary"}})
    };
    let ours = vonage(&format!("{by_vonage}.2"), "undeliverable");
    let acme = |word: &str| {
        json!({"id": "a9", "state": word, "from": ONE.0, "to": CUSTOMER,
        "ref": format!("{by_acme}.1"), "error": 13})
    };
    for request in [
        from_vonage("/webhooks/vonage", &ours),
        from_vonage("/webhooks/vonage", &ours),
        from_vonage("/webhooks/vonage", &vonage("order-7", "delivered")),
        from_acme(&acme("ACCEPTD"), now()),
        from_acme(&acme("undeliv"), now()),
    ] {
        assert_eq!(stage.send(request).await.0, 200);
        stage.settled().await;
    }
    let reports = async |id: &MessageId| -> Vec<v1::StatusReported> {
        let subject = casement_event::subject::report(id);
        let stored = stage.all("MESSAGES", &subject).await;
        let read = |one: &casement_event::Stored| match one.event().unwrap() {
            Event::StatusReported(report) => report,
            other => panic!("{}", other.event_type()),
        };
        stored.iter().map(read).collect()
    };
    let told = reports(&by_vonage).await;
    assert_eq!(told.len(), 1, "the repeat was dropped");
    assert_eq!((told[0].attempt, told[0].channel()), (2, v1::Channel::Sms));
    assert_eq!(told[0].sms_provider, "vonage");
    assert_eq!(told[0].status(), v1::DeliveryStatus::Failed);
    assert_eq!(told[0].errors[0].code, 1_180);
    let told = reports(&by_acme).await;
    let words: Vec<_> = told
        .iter()
        .map(|one| (one.sms_provider.as_str(), one.status()))
        .collect();
    assert_eq!(
        words,
        [
            ("acme", v1::DeliveryStatus::Sent),
            ("acme", v1::DeliveryStatus::Failed)
        ]
    );
    assert_eq!(told[1].errors[0].code, 13);
    let foreign = stage.all("EVENTS", "casement.events.foreign.").await;
    assert_eq!(types(&foreign), ["ForeignStatusReported"]);
}

#[tokio::test]
async fn what_a_gateway_did_not_sign_is_refused_and_leaves_nothing() {
    let stage = start().await;
    let body = json!({"message_uuid": "v1", "status": "delivered"});
    let acme = json!({"id": "a1", "state": "DELIVRD"});
    let unsigned = || request("/webhooks/vonage", &[], &body);
    let forged = || {
        let other = from_vonage("/webhooks/vonage", &json!({"message_uuid": "v2"}));
        let (parts, _) = other.into_parts();
        Request::from_parts(parts, Body::from(body.to_string()))
    };
    let table = [
        ("unsigned", unsigned(), 503),
        ("another body", forged(), 401),
        (
            "another account",
            vonage_with("/webhooks/vonage", &body, |claims| {
                claims["api_key"] = json!("x");
            }),
            401,
        ),
        (
            "too old",
            vonage_with("/webhooks/vonage", &body, |claims| {
                claims["iat"] = json!(now() - 26 * 3600);
            }),
            401,
        ),
        (
            "nobody's path",
            from_vonage("/webhooks/vonage/other", &body),
            404,
        ),
        (
            "a gateway nobody knows",
            request("/webhooks/sms/other", &[], &acme),
            404,
        ),
        (
            "no signature",
            request("/webhooks/sms/acme", &[], &acme),
            401,
        ),
        ("a replay", from_acme(&acme, now() - 301), 401),
    ];
    for (name, request, expected) in table {
        let (status, headers, _) = stage.send(request).await;
        assert_eq!(status, expected, "{name}");
        if expected == 503 {
            assert!(headers.contains_key("retry-after"), "{name}");
        }
    }
    assert_eq!(stage.log.state("RAW").await.unwrap().messages, 0);
    // A slow repeat by Vonage is taken: it tries for a day.
    let late = vonage_with("/webhooks/vonage", &body, |claims| {
        claims["iat"] = json!(now() - 23 * 3600);
    });
    assert_eq!(stage.send(late).await.0, 200);
}

#[tokio::test]
async fn a_callback_that_is_no_form_is_vouched_for_by_its_url() {
    use casement_sms::twilio::signature;
    let stage = Stage::start().await;
    let body = json!({"MessageSid": "SM1", "From": CUSTOMER, "To": "+15550001111", "Body": "hi"});
    let text = body.to_string();
    let url = format!("{PUBLIC_URL}/webhooks/twilio");
    let (url, header) =
        signature::sign_body_hash(&url, text.as_bytes(), &TWILIO_TOKEN.to_owned().into());
    let path = url.strip_prefix(PUBLIC_URL).unwrap();
    let headers = [(signature::HEADER, header)];
    assert_eq!(stage.send(request(path, &headers, &body)).await.0, 200);
    assert_eq!(stage.send(request(path, &headers, &json!({}))).await.0, 401);
    stage.settled().await;
    assert_eq!(sms(&stage.inbound(ONE.0).await[0]).text, "hi");
}

#[tokio::test]
async fn a_post_that_no_layout_fits_is_kept_with_the_reason() {
    let stage = start().await;
    let viber = json!({"message_uuid": "v1", "status": "read", "channel": "viber_service"});
    for request in [
        from_vonage("/webhooks/vonage", &viber),
        from_acme(&json!({"news": true}), now()),
    ] {
        assert_eq!(stage.send(request).await.0, 200);
        stage.settled().await;
    }
    let reasons: Vec<String> = stage
        .dead()
        .await
        .iter()
        .map(|stored| match stored.event().unwrap() {
            Event::DeadLetter(letter) => letter.reason,
            other => panic!("{}", other.event_type()),
        })
        .collect();
    assert!(reasons[0].contains("viber_service"), "{reasons:?}");
    assert!(reasons[1].contains("layout"), "{reasons:?}");
}

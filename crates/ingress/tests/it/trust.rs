//! Who is refused, what they are told, and that nothing of it is kept but a counter.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{Request, StatusCode};
use casement_event::subject::stream;
use casement_ingress::{BODY_BYTES_MAX, Config, Limits, Proxy};
use casement_shell::server::Peer;
use casement_shell::telemetry::Metrics;
use casement_shell::{ManualClock, SystemClock};
use casement_testkit::eventually;
use futures::{StreamExt as _, stream as streams};
use jiff::SignedDuration;
use tokio::sync::oneshot;

use crate::stage::{OLD_SECRET, SECRET, Stage, config, get, outcomes, send, signed, signed_by};

const DEADLINE: Duration = Duration::from_secs(10);
const BODY: &str = r#"{"entry":[]}"#;
const CLIENT: &str = "client.webhooks.fbclientcerts.com";

fn with_limits(limits: Limits) -> Config {
    Config { limits, ..config() }
}

/// A clock that stands still, so that rates are exact.
fn standing() -> ManualClock {
    ManualClock::new("2026-11-22T12:00:00Z".parse().unwrap())
}

/// Sets what a post brings with it.
fn with_body(mut request: Request<Body>, body: Body) -> Request<Body> {
    *request.body_mut() = body;
    request
}

fn from(mut request: Request<Body>, address: &str, certificate: &[&str]) -> Request<Body> {
    let names: Vec<String> = certificate.iter().map(|&name| name.to_owned()).collect();
    request.extensions_mut().insert(Peer {
        address: SocketAddr::new(address.parse().unwrap(), 4711),
        certificate: (!names.is_empty()).then(|| Arc::from(names)),
    });
    request
}

/// A body that begins and does not go on; tells when its beginning was taken.
fn begun(beginning: Vec<u8>) -> (Body, oneshot::Receiver<()>) {
    let (taken, is_taken) = oneshot::channel();
    let beginning = streams::once(async { Ok::<_, Infallible>(Bytes::from(beginning)) });
    let rest = streams::once(async {
        taken.send(()).unwrap();
        std::future::pending().await
    });
    (Body::from_stream(beginning.chain(rest)), is_taken)
}

fn unending() -> Body {
    Body::from_stream(streams::pending::<Result<Bytes, Infallible>>())
}

async fn stored(stage: &Stage) -> u64 {
    stage.log.state(stream::RAW).await.unwrap().last_sequence
}

#[tokio::test]
async fn each_refusal_has_its_answer_and_its_reason_and_nothing_is_stored() {
    Metrics::install();
    let limits = Limits {
        body_timeout: SignedDuration::from_millis(100),
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), SystemClock::shared(), DEADLINE).await;
    let path = "/webhooks/whatsapp";
    let other = || Body::from(r#"{"entry":[1]}"#);
    let with_header = |value: &str| {
        let mut request = signed(BODY.to_owned());
        let headers = request.headers_mut();
        headers.insert("x-hub-signature-256", value.parse().unwrap());
        request
    };
    let larger = "x".repeat(BODY_BYTES_MAX + 1);
    let mut told = with_body(signed(String::new()), unending());
    told.headers_mut().insert(
        CONTENT_LENGTH,
        (BODY_BYTES_MAX + 1).to_string().parse().unwrap(),
    );
    let halves = [Bytes::from(larger.clone()), Bytes::from("x")].map(Ok::<_, Infallible>);
    let broken = streams::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("gone"))]);
    let table = [
        (
            "another body under the new secret",
            with_body(signed_by(SECRET, path, BODY.to_owned()), other()),
            (StatusCode::UNAUTHORIZED, "bad_signature"),
        ),
        (
            "another body under the old secret",
            with_body(signed_by(OLD_SECRET, path, BODY.to_owned()), other()),
            (StatusCode::UNAUTHORIZED, "bad_signature"),
        ),
        (
            "a secret that begins as ours",
            signed_by(&SECRET[..4], path, BODY.to_owned()),
            (StatusCode::UNAUTHORIZED, "bad_signature"),
        ),
        (
            "no secret at all",
            signed_by("", path, BODY.to_owned()),
            (StatusCode::UNAUTHORIZED, "bad_signature"),
        ),
        (
            "half a signature",
            with_header("sha256=00ff"),
            (StatusCode::UNAUTHORIZED, "bad_signature"),
        ),
        (
            "an unknown application",
            signed_by(SECRET, "/webhooks/whatsapp/nobody", BODY.to_owned()),
            (StatusCode::NOT_FOUND, "unknown_app"),
        ),
        (
            "too large, and it says so",
            told,
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ),
        (
            "too large, and it does not say so",
            with_body(signed(larger), Body::from_stream(streams::iter(halves))),
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ),
        (
            "a body that does not end",
            with_body(signed(BODY.to_owned()), unending()),
            (StatusCode::REQUEST_TIMEOUT, "too_slow"),
        ),
        (
            "a body that breaks off",
            with_body(signed(BODY.to_owned()), Body::from_stream(broken)),
            (StatusCode::BAD_REQUEST, "broken_body"),
        ),
    ];
    for (name, request, (status, reason)) in table {
        let before = outcomes(reason);
        let (answered, _, text) = stage.send(request).await;
        assert_eq!(answered, status, "{name}");
        assert_eq!(text, "", "{name}");
        assert_eq!(outcomes(reason), before + 1, "{name}");
    }
    assert_eq!(stored(&stage).await, 0);
    for secret in [SECRET, OLD_SECRET] {
        let request = signed_by(secret, path, BODY.to_owned());
        assert_eq!(stage.send(request).await.0, StatusCode::OK);
    }
    assert_eq!(stored(&stage).await, 2);
}

#[tokio::test]
async fn an_application_over_its_rate_comes_again_later_and_takes_nothing_from_others() {
    Metrics::install();
    let clock = standing();
    let limits = Limits {
        posts_per_second: 2,
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), clock.shared(), DEADLINE).await;
    let post = async || stage.send(signed(BODY.to_owned())).await;
    // What others send in its name is not counted.
    for _ in 0..5 {
        let forged = signed_by("wrong", "/webhooks/whatsapp", BODY.to_owned());
        assert_eq!(stage.send(forged).await.0, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..2 {
        assert_eq!(post().await.0, StatusCode::OK);
    }
    let (status, headers, _) = post().await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[RETRY_AFTER], "1");
    assert_eq!(outcomes("too_often"), 1);
    let shop = signed_by("shop-secret", "/webhooks/whatsapp/shop", BODY.to_owned());
    assert_eq!(stage.send(shop).await.0, StatusCode::OK);
    assert_eq!(stored(&stage).await, 3);
    clock.advance(SignedDuration::from_millis(500));
    assert_eq!(post().await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_is_refused_too_often_is_not_heard_for_a_while() {
    Metrics::install();
    let clock = standing();
    let limits = Limits {
        refusals_per_second: 2,
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), clock.shared(), DEADLINE).await;
    let forged = || signed_by("wrong", "/webhooks/whatsapp", BODY.to_owned());
    let (bad, good) = ("198.51.100.7", "203.0.113.9");
    for _ in 0..2 {
        let (status, ..) = stage.send(from(forged(), bad, &[])).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    // Not even its body is read.
    let unheard = with_body(forged(), unending());
    let (status, headers, _) = stage.send(from(unheard, bad, &[])).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[RETRY_AFTER], "1");
    assert_eq!(outcomes("refused_too_often"), 1);
    let guess = "/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1";
    let (status, ..) = stage.send(from(get(guess), bad, &[])).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "nor are its guesses");

    let shop = signed_by("shop-secret", "/webhooks/whatsapp/shop", BODY.to_owned());
    assert_eq!(stage.send(from(shop, bad, &[])).await.0, StatusCode::OK);
    let honest = || signed(BODY.to_owned());
    assert_eq!(
        stage.send(from(honest(), good, &[])).await.0,
        StatusCode::OK
    );
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.send(from(honest(), bad, &[])).await.0, StatusCode::OK);
    assert_eq!(stored(&stage).await, 3);
}

#[tokio::test]
async fn guessed_verify_tokens_count_as_refusals() {
    let limits = Limits {
        refusals_per_second: 1,
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), standing().shared(), DEADLINE).await;
    let guess = |path: &str, token: &str| {
        let query = format!("hub.mode=subscribe&hub.verify_token={token}&hub.challenge=7");
        from(get(&format!("{path}?{query}")), "198.51.100.7", &[])
    };
    let path = "/webhooks/whatsapp";
    assert_eq!(stage.send(guess(path, "a")).await.0, StatusCode::FORBIDDEN);
    let (status, ..) = stage.send(guess(path, crate::stage::VERIFY_TOKEN)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let nobody = "/webhooks/whatsapp/nobody";
    assert_eq!(
        stage.send(guess(nobody, "a")).await.0,
        StatusCode::NOT_FOUND
    );
    let (status, ..) = stage.send(guess(nobody, "a")).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn posts_at_once_are_bounded_and_a_place_comes_back() {
    Metrics::install();
    let limits = Limits {
        concurrency: 1,
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), SystemClock::shared(), DEADLINE).await;
    let (slow, is_taken) = begun(b"{".to_vec());
    let slow = with_body(signed(BODY.to_owned()), slow);
    let slow = tokio::spawn(send(stage.router.clone().unwrap(), slow));
    is_taken.await.unwrap();
    let (status, headers, _) = stage.send(signed(BODY.to_owned())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key(RETRY_AFTER));
    assert_eq!(outcomes("crowded"), 1);
    let shop = signed_by("shop-secret", "/webhooks/whatsapp/shop", BODY.to_owned());
    assert_eq!(stage.send(shop).await.0, StatusCode::OK);
    // It hangs up.
    slow.abort();
    eventually("the place is free", async || {
        stage.send(signed(BODY.to_owned())).await.0 == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn bodies_hold_no_more_memory_than_they_may_together() {
    Metrics::install();
    let limits = Limits {
        held_mib: 4,
        ..Limits::default()
    };
    let stage = Stage::start_as(with_limits(limits), SystemClock::shared(), DEADLINE).await;
    let (slow, is_taken) = begun(vec![b'x'; 2 << 20]);
    let slow = with_body(signed(BODY.to_owned()), slow);
    let slow = tokio::spawn(send(stage.router.clone().unwrap(), slow));
    let large = || signed("x".repeat((2 << 20) + 1));
    is_taken.await.unwrap();
    let (status, headers, _) = stage.send(large()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key(RETRY_AFTER));
    assert_eq!(outcomes("no_memory"), 1);
    slow.abort();
    eventually("memory is given back", async || {
        stage.send(large()).await.0 == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn an_application_that_wants_a_client_certificate_takes_nobody_without() {
    Metrics::install();
    let mut config = Config {
        proxy: Proxy {
            addresses: vec!["10.0.0.0/8".parse().unwrap()],
            client_header: "x-client-subject".to_owned(),
            address_header: String::new(),
        },
        ..config()
    };
    let app = config.apps.get_mut("default").unwrap();
    app.client_name = Some(CLIENT.to_owned());
    let stage = Stage::start_as(config, SystemClock::shared(), DEADLINE).await;
    let with_subject = |subject: &str, peer: &str| {
        let mut request = from(signed(BODY.to_owned()), peer, &[]);
        let headers = request.headers_mut();
        headers.insert("x-client-subject", subject.parse().unwrap());
        request
    };
    let own = |names: &[&str]| from(signed(BODY.to_owned()), "203.0.113.9", names);
    let subject = format!("CN={CLIENT},O=Example");
    for (name, request) in [
        ("nobody knows where from", signed(BODY.to_owned())),
        ("no certificate", own(&[])),
        ("another's certificate", own(&["client.example"])),
        ("a longer name", own(&[&format!("{CLIENT}.evil.example")])),
        ("a header of its own", with_subject(&subject, "203.0.113.9")),
        (
            "the proxy says another",
            with_subject("CN=client.example", "10.1.2.3"),
        ),
        ("the proxy says nothing", with_subject("", "10.1.2.3")),
    ] {
        let before = outcomes("wrong_client");
        assert_eq!(stage.send(request).await.0, StatusCode::FORBIDDEN, "{name}");
        assert_eq!(outcomes("wrong_client"), before + 1, "{name}");
    }
    assert_eq!(stored(&stage).await, 0);
    let unsigned = from(
        signed_by("wrong", "/webhooks/whatsapp", BODY.to_owned()),
        "203.0.113.9",
        &[CLIENT],
    );
    let (status, ..) = stage.send(unsigned).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "it is no replacement");
    for request in [own(&[CLIENT]), with_subject(&subject, "10.1.2.3")] {
        assert_eq!(stage.send(request).await.0, StatusCode::OK);
    }
    let shop = signed_by("shop-secret", "/webhooks/whatsapp/shop", BODY.to_owned());
    assert_eq!(stage.send(shop).await.0, StatusCode::OK, "it wants none");
    assert_eq!(stored(&stage).await, 3);
}

//! What the front door answers, and what it stores.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use casement_event::Event;
use casement_event::subject::stream;
use casement_ingress::BODY_BYTES_MAX;
use casement_shell::http::{ClientOptions, client};
use casement_testkit::eventually;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::stage::{
    OLD_SECRET, ONE, SECRET, Stage, VERIFY_TOKEN, from_twilio, get, one_text, send, signed,
    signed_by, text, webhook,
};

fn handshake(path: &str, token: &str) -> String {
    format!("{path}?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444")
}

#[tokio::test]
async fn the_handshake_answers_the_challenge_to_whoever_knows_the_token() {
    let stage = Stage::start().await;
    for (path, token, status) in [
        ("/webhooks/whatsapp", VERIFY_TOKEN, StatusCode::OK),
        ("/webhooks/whatsapp/default", VERIFY_TOKEN, StatusCode::OK),
        ("/webhooks/whatsapp/shop", "shop-token", StatusCode::OK),
        (
            "/webhooks/whatsapp/shop",
            VERIFY_TOKEN,
            StatusCode::FORBIDDEN,
        ),
        ("/webhooks/whatsapp", "wrong", StatusCode::FORBIDDEN),
        (
            "/webhooks/whatsapp/nobody",
            VERIFY_TOKEN,
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (answered, _, body) = stage.send(get(&handshake(path, token))).await;
        assert_eq!(answered, status, "{path} {token}");
        if status == StatusCode::OK {
            assert_eq!(body, "1158201444");
        }
    }
}

#[tokio::test]
async fn a_process_that_has_not_begun_asks_every_sender_to_come_again() {
    let port = casement_testkit::free_port();
    let config = casement_ingress::Config {
        listen: format!("127.0.0.1:{port}").parse().unwrap(),
        ..crate::stage::config()
    };
    let stopping = CancellationToken::new();
    let closed = stopping.clone();
    let turning_away =
        tokio::spawn(async move { casement_ingress::turn_away(&config, closed).await });
    let client = client(&ClientOptions::default()).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    eventually("it listens", async || {
        let answer = client.post(format!("{url}/webhooks/whatsapp")).body("{}");
        answer
            .send()
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    for request in [
        client.post(format!("{url}/webhooks/whatsapp")).body("{}"),
        client.post(format!("{url}/webhooks/twilio")).body("a=b"),
        client.get(format!(
            "{url}{}",
            handshake("/webhooks/whatsapp", VERIFY_TOKEN)
        )),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "5");
    }
    stopping.cancel();
    turning_away.await.unwrap().unwrap();
    assert!(
        client.get(&url).send().await.is_err(),
        "the port is free again"
    );
}

#[tokio::test]
async fn only_what_a_secret_signed_is_stored_and_byte_for_byte() {
    let stage = Stage::start().await;
    // Escapes and spaces that a rewrite would change.
    let body = "{ \"object\" : \"x\\u00e4\\/\", \"entry\": [] }".to_owned();
    let path = "/webhooks/whatsapp";
    let tampered = {
        let mut request = signed(body.clone());
        *request.body_mut() = body.replace('x', "y").into();
        request
    };
    let unsigned = {
        let mut request = signed(body.clone());
        request.headers_mut().clear();
        request
    };
    for (name, request, status) in [
        (
            "other secret",
            signed_by("wrong", path, body.clone()),
            StatusCode::UNAUTHORIZED,
        ),
        ("tampered", tampered, StatusCode::UNAUTHORIZED),
        ("unsigned", unsigned, StatusCode::UNAUTHORIZED),
        (
            "another app's",
            signed_by(SECRET, "/webhooks/whatsapp/shop", body.clone()),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "unknown app",
            signed_by(SECRET, "/webhooks/whatsapp/x", body.clone()),
            StatusCode::NOT_FOUND,
        ),
    ] {
        assert_eq!(stage.send(request).await.0, status, "{name}");
    }
    assert_eq!(
        stage.log.state(stream::RAW).await.unwrap().last_sequence,
        0,
        "nothing was stored"
    );

    for secret in [SECRET, OLD_SECRET] {
        let request = signed_by(secret, path, body.clone());
        assert_eq!(stage.send(request).await.0, StatusCode::OK);
    }
    let packs = stage.all(stream::RAW, "casement.raw.whatsapp").await;
    assert_eq!(packs.len(), 2);
    for stored in packs {
        let Event::RawPack(pack) = stored.event().unwrap() else {
            panic!("no pack")
        };
        let [post] = &pack.posts[..] else {
            panic!("{} posts", pack.posts.len())
        };
        assert_eq!(post.body, body);
        assert_eq!(post.app, "default");
        assert_eq!(post.traceparent.len(), 55, "{}", post.traceparent);
        assert!(post.received_time.is_some());
    }
}

#[tokio::test]
async fn the_largest_post_is_taken_and_a_larger_one_refused() {
    let stage = Stage::start().await;
    let frame = r#"{"entry":[],"x":""}"#;
    let of_size =
        |size: usize| format!(r#"{{"entry":[],"x":"{}"}}"#, "x".repeat(size - frame.len()));
    let largest = of_size(BODY_BYTES_MAX);
    assert_eq!(largest.len(), BODY_BYTES_MAX);
    assert_eq!(stage.send(signed(largest)).await.0, StatusCode::OK);
    let larger = of_size(BODY_BYTES_MAX + 1);
    assert_eq!(
        stage.send(signed(larger.clone())).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    // A body that tells its length is refused before it is read.
    let mut told = signed(larger);
    let length = (BODY_BYTES_MAX + 1).to_string();
    told.headers_mut()
        .insert("content-length", length.parse().unwrap());
    assert_eq!(stage.send(told).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stage.log.state(stream::RAW).await.unwrap().messages, 1);
}

#[tokio::test]
async fn a_post_is_answered_only_once_it_is_known_to_be_stored() {
    let stage = Stage::start().await;
    stage.proxy.hold_replies();
    let body = webhook(&[]).to_string();
    let router = stage.router.clone().unwrap();
    let asking = tokio::spawn(send(router, signed(body)));
    eventually("the post is stored", async || {
        stage.log.state(stream::RAW).await.unwrap().messages >= 1
    })
    .await;
    assert!(
        !asking.is_finished(),
        "answered before the broker's word came"
    );
    stage.proxy.forward();
    assert_eq!(asking.await.unwrap().0, StatusCode::OK);
    assert_eq!(stage.log.state(stream::RAW).await.unwrap().messages, 1);
}

#[tokio::test]
async fn without_a_broker_the_sender_is_told_to_come_again() {
    let mut stage = Stage::start_with(Duration::from_secs(1)).await;
    let body = one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0));
    stage.nats.pause();
    let (status, headers, _) = stage.send(signed(body.to_string())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key(RETRY_AFTER));
    stage.nats.resume();
    stage.nats.kill();
    assert_eq!(stage.post(&body).await, StatusCode::SERVICE_UNAVAILABLE);
    stage.nats.start_again().await;
    eventually("the post is taken", async || {
        stage.post(&body).await == StatusCode::OK
    })
    .await;
    eventually("the broker answers", async || {
        stage.log.state(stream::RAW).await
    })
    .await;
    stage.settled().await;
    assert_eq!(stage.inbound(ONE.0).await.len(), 1, "however often posted");
}

#[tokio::test]
async fn posts_that_come_together_share_a_write_and_all_are_kept() {
    let stage = Stage::start().await;
    stage.proxy.hold_replies();
    let posts: Vec<_> = (0..40)
        .map(|index| {
            let message = text(
                &format!("wamid.{index}"),
                &format!("1555000{index:04}"),
                "",
                0,
            );
            let request = signed(one_text(ONE, &message).to_string());
            tokio::spawn(send(stage.router.clone().unwrap(), request))
        })
        .collect();
    eventually("the first write is made", async || {
        stage.log.state(stream::RAW).await.unwrap().messages >= 1
    })
    .await;
    stage.proxy.forward();
    for post in posts {
        assert_eq!(post.await.unwrap().0, StatusCode::OK);
    }
    let packs = stage.log.state(stream::RAW).await.unwrap().messages;
    assert!(packs < 40, "{packs} packs");
    stage.settled().await;
    assert_eq!(stage.inbound(ONE.0).await.len(), 40);
}

#[tokio::test]
async fn a_callback_of_twilios_must_be_signed_for_the_public_url() {
    let stage = Stage::start().await;
    let pairs = [
        ("MessageSid", "SM1"),
        ("From", "+15550009999"),
        ("To", "+15550001111"),
        ("Body", "hello"),
        ("AccountSid", "AC1"),
    ];
    let (status, headers, body) = stage.send(from_twilio("/webhooks/twilio", &pairs)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/xml");
    assert!(body.contains("<Response/>"), "no reply to the customer");
    let mut moved = from_twilio("/webhooks/twilio", &pairs);
    *moved.uri_mut() = "/webhooks/twilio?m=1&a=1".parse().unwrap();
    assert_eq!(stage.send(moved).await.0, StatusCode::UNAUTHORIZED);
    let unknown = from_twilio("/webhooks/twilio/x", &pairs);
    assert_eq!(stage.send(unknown).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stage.log.state(stream::RAW).await.unwrap().messages, 1);
}

#[tokio::test]
async fn a_stop_answers_what_is_asked_and_then_takes_no_more() {
    let mut stage = Stage::start().await;
    let client = client(&ClientOptions::default()).unwrap();
    let url = format!("http://{}/webhooks/whatsapp", stage.address);
    let body = json!({"entry": []}).to_string();
    let sign = casement_whatsapp::signature::sign(body.as_bytes(), &SECRET.to_owned().into());
    let request = || {
        client
            .post(&url)
            .header("x-hub-signature-256", sign.clone())
            .body(body.clone())
            .send()
    };
    stage.proxy.hold_replies();
    let asking = tokio::spawn(request());
    eventually("the post is stored", async || {
        stage.log.state(stream::RAW).await.unwrap().messages >= 1
    })
    .await;
    stage.router = None;
    stage.stopping.cancel();
    eventually("no more is taken", async || {
        tokio::net::TcpStream::connect(stage.address).await.is_err()
    })
    .await;
    assert!(!asking.is_finished());
    stage.proxy.forward();
    assert_eq!(asking.await.unwrap().unwrap().status().as_u16(), 200);
    stage.stop().await;
}

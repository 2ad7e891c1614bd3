//! The gateway of no name. Vonage's look-alike is tried by the clients that sign for it.

use casement_simulator::{Channel, Fault, FaultSpec, GENERIC_PATH, Outcome, Status};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::stage::{ANA, Stage};

async fn set() -> Stage {
    let stage = Stage::set_with(|config| {
        config.generic.senders = vec!["ACME".to_owned()];
    });
    stage.await
}

async fn send_as(stage: &Stage, key: &str, unique: &str, body: &Value) -> (u16, Value) {
    let request = stage
        .client
        .post(stage.url(GENERIC_PATH))
        .header("x-api-key", key)
        .header("idempotency-key", unique)
        .json(body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

async fn send(stage: &Stage, unique: &str, body: &Value) -> (u16, Value) {
    send_as(stage, "demo-gateway-key", unique, body).await
}

fn sound(reference: &str) -> Value {
    json!({ "recipient": ANA, "originator": "ACME", "content": "hi", "ref": reference })
}

#[tokio::test]
async fn it_refuses_by_numbers_of_its_own() {
    let stage = set().await;
    let (status, body) = send_as(&stage, "wrong", "u", &sound("u")).await;
    assert_eq!((status, &body["fault"]["code"]), (401, &json!(1)));
    for (key, value, code) in [
        ("recipient", json!("15550001111"), 11),
        ("originator", json!("Shop"), 12),
        ("content", json!(""), 13),
        ("content", json!("x".repeat(766)), 13),
    ] {
        let mut call = sound("u");
        call[key] = value;
        let (status, body) = send(&stage, "u", &call).await;
        assert_eq!(
            (status, &body["fault"]["code"]),
            (400, &json!(code)),
            "{call}"
        );
    }
    stage
        .handle
        .texts_by(Channel::Generic, ANA, "ACME", "stop")
        .unwrap();
    let (_, body) = send(&stage, "u", &sound("u")).await;
    assert_eq!(body["fault"]["code"], 14);
    stage
        .handle
        .texts_by(Channel::Generic, ANA, "ACME", "start")
        .unwrap();
    assert_eq!(send(&stage, "u", &sound("u")).await.0, 200);
    let last = stage.handle.sent().pop().expect("a call");
    assert_eq!(
        (last.channel, last.outcome),
        (Channel::Generic, Outcome::Accepted)
    );
}

#[tokio::test]
async fn a_repeat_under_one_key_is_one_message() {
    let stage = set().await;
    let first = send(&stage, "m.1", &sound("m.1")).await;
    assert_eq!(first, send(&stage, "m.1", &sound("m.1")).await);
    assert_ne!(first, send(&stage, "m.2", &sound("m.2")).await);
    assert_eq!(stage.handle.sent_count(), 2);
}

#[tokio::test]
async fn statuses_are_signed_with_their_time_and_tell_the_reference() {
    let stage = set().await;
    let other = FaultSpec::from(Fault::DropConnection).on(Channel::Vonage);
    stage.handle.inject(other);
    let fails = FaultSpec::from(Fault::FailStatus { code: 30 }).on(Channel::Generic);
    stage.handle.inject(fails);
    let (_, body) = send(&stage, "m.1", &sound("m.1")).await;
    let received = stage.received(1).await.remove(0);
    let told = received.json();
    assert_eq!(told["id"], body["result"]["id"]);
    assert_eq!(
        (&told["state"], &told["code"]),
        (&json!("UNDELIV"), &json!(30))
    );
    assert_eq!(told["ref"], "m.1");
    let time = received.headers["x-gateway-time"].to_str().unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"demo-gateway-signing-key").unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(&received.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(received.headers["x-gateway-signature"], expected.as_str());
    let sent = stage.handle.sent().pop().expect("a call");
    assert!(sent.was_reported(Status::Failed));
}

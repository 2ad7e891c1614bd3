//! Twilio's look-alike.

use base64::Engine as _;
use casement_simulator::{Channel, Fault, FaultSpec, MessageKind, Outcome, Status};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;

use crate::stage::{ANA, Received, SOON, Stage};

const ACCOUNT: &str = "AC00000000000000000000000000000000";
const AUTH_TOKEN: &str = "demo-twilio-token";
const SENDER: &str = "+15559990000";

async fn send_as(stage: &Stage, password: &str, params: &[(&str, &str)]) -> (u16, Value) {
    let url = stage.url(&format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    let request = stage
        .client
        .post(url)
        .basic_auth(ACCOUNT, Some(password))
        .form(params);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

async fn send(stage: &Stage, params: &[(&str, &str)]) -> (u16, Value) {
    send_as(stage, AUTH_TOKEN, params).await
}

fn form(received: &Received) -> Vec<(String, String)> {
    serde_urlencoded::from_bytes(&received.body).expect("a form")
}

fn param(received: &Received, name: &str) -> String {
    let found = form(received).into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

#[tokio::test]
async fn an_sms_is_queued_then_sent_then_delivered() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();

    let (status, body) = send(
        &stage,
        &[("To", ANA), ("From", SENDER), ("Body", "hi & bye")],
    )
    .await;

    assert_eq!(status, 201, "{body}");
    assert_eq!(body["status"], "queued");
    let received = stage.received(2).await;
    assert_eq!(param(&received[0], "MessageStatus"), "sent");
    assert_eq!(param(&received[1], "MessageStatus"), "delivered");
    assert_eq!(
        param(&received[1], "MessageSid"),
        body["sid"].as_str().unwrap()
    );
    assert_eq!(param(&received[1], "To"), ANA);
    let sent = stage.handle.sent().remove(0);
    assert_eq!(sent.channel, Channel::Sms);
    assert_eq!(sent.kind, MessageKind::Sms);
    assert_eq!(sent.text, "hi & bye");
    assert_eq!(sent.customer, Some(ana));
    let sid = body["sid"].as_str().unwrap();
    let url = stage.url(&format!(
        "/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json"
    ));
    let request = stage.client.get(url).basic_auth(ACCOUNT, Some(AUTH_TOKEN));
    let found: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(found["status"], "delivered");
}

#[tokio::test]
async fn callbacks_go_where_the_call_says_and_are_signed_for_that_url() {
    let stage = Stage::set_with(|config| config.twilio.status_callback = None).await;
    let callback = format!("{}?attempt=1", stage.hook);
    send(
        &stage,
        &[
            ("To", ANA),
            ("From", SENDER),
            ("Body", "hi"),
            ("StatusCallback", &callback),
        ],
    )
    .await;

    let received = stage.received(1).await.remove(0);

    let mut params = form(&received);
    params.sort();
    let mut mac = Hmac::<Sha1>::new_from_slice(AUTH_TOKEN.as_bytes()).unwrap();
    mac.update(callback.as_bytes());
    for (key, value) in params {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(received.headers["x-twilio-signature"], expected.as_str());
}

#[tokio::test]
async fn bad_calls_are_refused_with_twilios_codes() {
    let stage = Stage::set().await;
    let sound = [("To", ANA), ("From", SENDER), ("Body", "hi")];
    let (status, body) = send_as(&stage, "wrong", &sound).await;
    assert_eq!((status, body["code"].as_i64()), (401, Some(20_003)));

    let (status, body) = send(
        &stage,
        &[("To", "nobody"), ("From", SENDER), ("Body", "hi")],
    )
    .await;
    assert_eq!((status, body["code"].as_i64()), (400, Some(21_211)));

    assert_eq!(stage.handle.sent()[1].outcome, Outcome::Refused(21_211));
}

#[tokio::test]
async fn stop_is_kept_until_start() {
    let stage = Stage::set().await;
    let sound = [("To", ANA), ("From", SENDER), ("Body", "hi")];

    stage.handle.texts(ANA, SENDER, "STOP").unwrap();
    let (status, body) = send(&stage, &sound).await;
    assert_eq!((status, body["code"].as_i64()), (400, Some(21_610)));
    let inbound = stage.received(1).await.remove(0);
    assert_eq!(param(&inbound, "Body"), "STOP");
    assert_eq!(param(&inbound, "From"), ANA);

    stage.handle.texts(ANA, SENDER, "start").unwrap();
    assert_eq!(send(&stage, &sound).await.0, 201);
}

#[tokio::test]
async fn an_sms_can_fail_and_whatsapps_faults_leave_it_alone() {
    let stage = Stage::set().await;
    stage
        .handle
        .inject(FaultSpec::from(Fault::DropConnection).on(Channel::Whatsapp));
    stage
        .handle
        .inject(FaultSpec::from(Fault::FailStatus { code: 30_005 }).on(Channel::Sms));

    let (status, _) = send(&stage, &[("To", ANA), ("From", SENDER), ("Body", "hi")]).await;

    assert_eq!(status, 201);
    let received = stage.received(1).await.remove(0);
    assert_eq!(param(&received, "MessageStatus"), "undelivered");
    assert_eq!(param(&received, "ErrorCode"), "30005");
    assert!(
        stage
            .handle
            .until_sent(0, SOON, |sent| sent.was_reported(Status::Failed))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn an_account_shows_itself_to_its_own_token_alone() {
    let stage = Stage::set().await;
    let url = stage.url(&format!("/2010-04-01/Accounts/{ACCOUNT}.json"));
    for (password, status) in [(AUTH_TOKEN, 200), ("another-token", 401)] {
        let request = stage.client.get(&url).basic_auth(ACCOUNT, Some(password));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let body: Value = response.json().await.unwrap();
        if status == 200 {
            assert_eq!(body["sid"], ACCOUNT);
            assert_eq!(body["status"], "active");
        } else {
            assert_eq!(body["code"], 20_003);
        }
    }
}

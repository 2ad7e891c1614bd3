//! How webhooks are made, signed, repeated, gathered and shuffled.

use casement_simulator::{
    Device, Fault, FaultSpec, InboundContent, InboundSpec, InboundVia, Reordering, Status,
    WebhookState,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::stage::{ANA, NUMBER, OTHER_NUMBER, SOON, Stage, TOKEN, WABA, items, text};

const BEN: &str = "+15550002222";

fn texts(webhooks: &[Value]) -> Vec<String> {
    webhooks
        .iter()
        .flat_map(|webhook| items(webhook, "messages"))
        .map(|message| {
            message["text"]["body"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_customers_message_arrives_signed_and_as_documented() {
    let stage = Stage::set().await;
    let user_id = "US.13491208655302741918";
    let ana = stage
        .handle
        .customer(Some(ANA), Some(user_id), "Ana")
        .unwrap();

    let wamid = stage.handle.says(&ana, NUMBER, "héllo").unwrap();

    let received = stage.received(1).await.remove(0);
    let mut mac = Hmac::<Sha256>::new_from_slice(b"demo-app-secret").unwrap();
    mac.update(&received.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(received.headers["x-hub-signature-256"], expected.as_str());
    assert_eq!(
        received.json(),
        json!({
            "object": "whatsapp_business_account",
            "entry": [{
                "id": WABA,
                "changes": [{
                    "field": "messages",
                    "value": {
                        "messaging_product": "whatsapp",
                        "metadata": {
                            "display_phone_number": "15550783881",
                            "phone_number_id": NUMBER,
                        },
                        "contacts": [{
                            "profile": {"name": "Ana"},
                            "wa_id": "15550001111",
                            "user_id": user_id,
                        }],
                        "messages": [{
                            "from": "15550001111",
                            "from_user_id": user_id,
                            "id": wamid,
                            "timestamp": stage.clock.now().as_second().to_string(),
                            "type": "text",
                            "text": {"body": "héllo"},
                        }],
                    },
                }],
            }],
        })
    );
}

#[tokio::test]
async fn statuses_carry_callback_data_recipient_and_pricing() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    let (_, body) = stage.send(&text(ANA, "hi")).await;

    let received = stage.received(3).await;

    let sent = items(&received[1].json(), "statuses").remove(0);
    assert_eq!(sent["status"], "sent");
    assert_eq!(sent["id"], body["messages"][0]["id"]);
    assert_eq!(sent["recipient_id"], "15550001111");
    assert!(
        sent["recipient_user_id"]
            .as_str()
            .unwrap()
            .starts_with("US.")
    );
    assert_eq!(sent["biz_opaque_callback_data"], "attempt-1");
    assert_eq!(sent["pricing"]["category"], "service");
    assert!(sent.get("conversation").is_none());
    let delivered = items(&received[2].json(), "statuses").remove(0);
    assert_eq!(delivered["status"], "delivered");
}

#[tokio::test]
async fn old_graph_versions_still_name_a_conversation() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    let url = stage.url(&format!("/v23.0/{NUMBER}/messages"));
    let request = stage.client.post(url).bearer_auth(TOKEN);
    request.json(&text(ANA, "hi")).send().await.unwrap();

    let received = stage.received(3).await;

    let sent = items(&received[1].json(), "statuses").remove(0);
    assert_eq!(sent["conversation"]["origin"]["type"], "service");
    assert!(sent["conversation"]["expiration_timestamp"].is_string());
    let delivered = items(&received[2].json(), "statuses").remove(0);
    assert!(
        delivered["conversation"]
            .get("expiration_timestamp")
            .is_none()
    );
}

#[tokio::test]
async fn calls_standby_and_other_types_come_on_their_own_fields() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let call_id = stage.handle.rings(&ana, NUMBER).unwrap();
    stage.handle.says_on_standby(&ana, NUMBER, "hello").unwrap();
    let location = InboundSpec {
        customer: ana,
        phone_number_id: NUMBER.to_owned(),
        content: InboundContent::Other {
            kind: "location".to_owned(),
            object: json!({"latitude": 52.5, "longitude": 13.4}),
        },
        at: None,
        via: InboundVia::Messages,
        reply_to: Some("wamid.earlier".to_owned()),
        referral: None,
        device: Device::default(),
    };
    stage.handle.inbound(&location).unwrap();

    let received = stage.received(3).await;

    let changes: Vec<Value> = received
        .iter()
        .map(|received| received.json()["entry"][0]["changes"][0].clone())
        .collect();
    assert_eq!(changes[0]["field"], "calls");
    assert_eq!(changes[0]["value"]["calls"][0]["id"], call_id);
    assert_eq!(changes[0]["value"]["calls"][0]["event"], "connect");
    assert_eq!(changes[1]["field"], "standby");
    let standby = &changes[1]["value"]["standby"];
    assert_eq!(standby["messages"][0]["text"]["body"], "hello");
    assert_eq!(standby["contacts"][0]["profile"]["name"], "Ana");
    let message = &changes[2]["value"]["messages"][0];
    assert_eq!(message["location"]["latitude"], json!(52.5));
    assert_eq!(message["context"]["id"], "wamid.earlier");
}

#[tokio::test]
async fn webhooks_are_redelivered_until_answered_with_200() {
    let stage = Stage::set().await;
    stage.inbox.answer_with(&[503, 201, 500]);
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();

    stage.handle.says(&ana, NUMBER, "hello").unwrap();

    let received = stage.received(4).await;
    stage.quiet().await;
    assert!(received.iter().all(|post| post.body == received[0].body));
    let record = stage.handle.webhooks().remove(0);
    assert_eq!(record.state, WebhookState::Delivered);
    let statuses: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| attempt.http_status)
        .collect();
    assert_eq!(statuses, [Some(503), Some(201), Some(500), Some(200)]);
}

#[tokio::test]
async fn webhooks_wait_for_an_application_that_is_down() {
    let stage = Stage::set().await;
    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}/hook", free.local_addr().unwrap());
    drop(free);
    stage.handle.set_webhook_url(Some(nowhere));
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    for text in ["one", "two"] {
        stage.handle.says(&ana, NUMBER, text).unwrap();
    }
    stage
        .handle
        .until(SOON, |handle| {
            let webhooks = handle.webhooks();
            webhooks
                .iter()
                .all(|record| record.attempt_count > 0)
                .then_some(())
        })
        .await
        .unwrap();
    assert_eq!(stage.handle.pending_webhooks(), 2);

    stage.handle.set_webhook_url(Some(stage.hook.clone()));

    stage.quiet().await;
    assert_eq!(stage.inbox.received().len(), 2);
}

#[tokio::test]
async fn a_webhook_is_given_up_after_the_horizon() {
    let stage = Stage::set_with(|config| {
        config.webhook_retry.give_up_after = SignedDuration::from_millis(1);
    })
    .await;
    stage.inbox.answer_with(&[500]);
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();

    stage.handle.says(&ana, NUMBER, "hello").unwrap();

    stage.quiet().await;
    assert_eq!(stage.handle.webhooks()[0].state, WebhookState::GivenUp);
}

#[tokio::test]
async fn batched_webhooks_carry_every_update() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let ben = stage.handle.customer(Some(BEN), None, "Ben").unwrap();
    stage.handle.inject(Fault::BatchWebhooks {
        size: 4,
        linger: SignedDuration::from_hours(1),
    });

    stage.handle.says(&ana, NUMBER, "one").unwrap();
    stage.handle.says(&ben, NUMBER, "two").unwrap();
    stage.handle.says(&ana, OTHER_NUMBER, "three").unwrap();
    stage.handle.rings(&ben, NUMBER).unwrap();

    let webhook = stage.received(1).await[0].json();
    assert_eq!(
        texts(std::slice::from_ref(&webhook)),
        ["one", "two", "three"]
    );
    assert_eq!(items(&webhook, "calls").len(), 1);
    let first = &webhook["entry"][0]["changes"][0]["value"];
    assert_eq!(first["contacts"].as_array().unwrap().len(), 2);
    assert_eq!(stage.handle.webhooks()[0].updates, 4);
}

#[tokio::test]
async fn an_unfinished_batch_goes_out_after_its_linger_and_when_cleared() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.inject(Fault::BatchWebhooks {
        size: 100,
        linger: SignedDuration::from_millis(5),
    });
    stage.handle.says(&ana, NUMBER, "one").unwrap();
    stage.received(1).await;
    stage.handle.clear_faults();
    stage.handle.inject(Fault::BatchWebhooks {
        size: 100,
        linger: SignedDuration::from_hours(1),
    });

    stage.handle.says(&ana, NUMBER, "two").unwrap();
    stage.handle.clear_faults();

    assert_eq!(stage.received(2).await.len(), 2);
}

#[tokio::test]
async fn webhooks_can_be_doubled_and_turned_around() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage
        .handle
        .inject(FaultSpec::from(Fault::DuplicateWebhooks { copies: 1 }).times(1));
    stage.handle.says(&ana, NUMBER, "twice").unwrap();
    let received = stage.received(2).await;
    assert_eq!(received[0].body, received[1].body);

    let reversed = Fault::ReorderWebhooks {
        hold: 3,
        order: Reordering::Reversed,
    };
    stage.handle.inject(FaultSpec::from(reversed).times(1));
    for text in ["one", "two", "three", "four"] {
        stage.handle.says(&ana, NUMBER, text).unwrap();
    }
    let received = stage.received(6).await;
    let webhooks: Vec<Value> = received[2..]
        .iter()
        .map(super::stage::Received::json)
        .collect();
    let mut order = texts(&webhooks);
    order.retain(|text| text != "four");
    assert_eq!(order, ["three", "two", "one"]);
}

#[tokio::test]
async fn webhooks_can_be_late() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let late = Fault::DelayWebhooks {
        by: SignedDuration::from_millis(200),
    };
    stage.handle.inject(FaultSpec::from(late).times(1));

    stage.handle.says(&ana, NUMBER, "first").unwrap();
    stage.handle.says(&ana, NUMBER, "second").unwrap();

    let received = stage.received(2).await;
    let webhooks: Vec<Value> = received.iter().map(super::stage::Received::json).collect();
    assert_eq!(texts(&webhooks), ["second", "first"]);
}

#[tokio::test]
async fn statuses_are_held_until_released() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    stage.handle.inject(Fault::HoldStatuses);
    stage.send(&text(ANA, "hi")).await;
    stage
        .handle
        .until_sent(0, SOON, |message| message.was_reported(Status::Delivered))
        .await
        .unwrap();
    stage.received(1).await;
    assert_eq!(stage.handle.webhooks().len(), 1);

    stage.handle.release_statuses();

    let received = stage.received(3).await;
    assert_eq!(items(&received[1].json(), "statuses").len(), 1);
    stage.quiet().await;
}

#[tokio::test]
async fn anything_can_be_posted_signed() {
    let stage = Stage::set().await;

    stage.handle.raw_body("not json".into()).unwrap();

    let received = stage.received(1).await.remove(0);
    assert_eq!(received.body, "not json");
    assert!(received.headers.contains_key("x-hub-signature-256"));
}

#[tokio::test]
async fn the_handshake_wants_its_challenge_back() {
    let stage = Stage::set().await;
    assert!(stage.handle.verify_webhook().await.unwrap());

    let stage = Stage::set_with(|config| config.verify_token = "another".to_owned()).await;
    assert!(!stage.handle.verify_webhook().await.unwrap());
}

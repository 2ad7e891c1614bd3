//! The Graph API's look-alike: what it lets through and what it refuses.

use casement_simulator::{
    CustomerSpec, MessageKind, Outcome, RefusalStyle, Status, TemplateCategory, TemplateStatus,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, OTHER_NUMBER, SOON, Stage, TOKEN, WABA, template_to, text};

fn code(answer: &(u16, Value)) -> (u16, i64) {
    (
        answer.0,
        answer.1["error"]["code"].as_i64().unwrap_or_default(),
    )
}

#[tokio::test]
async fn free_form_inside_the_window_is_accepted_and_reported() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();

    let (status, body) = stage.send(&text(ANA, "welcome")).await;

    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["contacts"][0],
        json!({"input": ANA, "wa_id": "15550001111"})
    );
    let id = body["messages"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("wamid."));
    let sent = stage
        .handle
        .until_sent(0, SOON, |message| message.was_reported(Status::Delivered))
        .await
        .unwrap();
    assert_eq!(sent.id.as_deref(), Some(id));
    assert_eq!(sent.outcome, Outcome::Accepted);
    assert_eq!(sent.kind, MessageKind::Text);
    assert_eq!(sent.callback_data.as_deref(), Some("attempt-1"));
    assert!(sent.http_answered);
    assert!(sent.was_reported(Status::Sent));
}

#[tokio::test]
async fn free_form_after_the_window_is_refused_with_131047() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();

    stage
        .clock
        .advance(SignedDuration::from_hours(24) - SignedDuration::from_millis(1));
    assert_eq!(stage.send(&text(ANA, "just in time")).await.0, 200);
    stage.clock.advance(SignedDuration::from_millis(1));
    let answer = stage.send(&text(ANA, "too late")).await;

    assert_eq!(code(&answer), (400, 131_047));
    let sent = stage.handle.sent();
    assert_eq!(sent[1].outcome, Outcome::Refused(131_047));
    assert!(sent[1].http_answered);
}

#[tokio::test]
async fn a_window_belongs_to_one_number() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, OTHER_NUMBER, "hello").unwrap();

    let answer = stage.send(&text(ANA, "hello from elsewhere")).await;

    assert_eq!(code(&answer), (400, 131_047));
    assert_eq!(stage.handle.window_ends_at(&ana, NUMBER).unwrap(), None);
    assert!(
        stage
            .handle
            .window_ends_at(&ana, OTHER_NUMBER)
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn calls_and_standby_messages_open_the_window_and_reactions_do_not() {
    let stage = Stage::set_with(|config| config.limits.pair = None).await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();

    stage
        .handle
        .reacts(&ana, NUMBER, "wamid.x", Some("👍"))
        .unwrap();
    assert_eq!(code(&stage.send(&text(ANA, "a")).await), (400, 131_047));
    stage.handle.rings(&ana, NUMBER).unwrap();
    assert_eq!(stage.send(&text(ANA, "b")).await.0, 200);
    stage.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(stage.send(&text(ANA, "c")).await.0, 400);
    stage.handle.says_on_standby(&ana, NUMBER, "hello").unwrap();
    assert_eq!(stage.send(&text(ANA, "d")).await.0, 200);
}

#[tokio::test]
async fn a_late_message_opens_the_window_from_when_it_was_written() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let written_at = stage.clock.now() - SignedDuration::from_hours(25);

    stage
        .handle
        .says_at(&ana, NUMBER, "hello", written_at)
        .unwrap();

    assert_eq!(code(&stage.send(&text(ANA, "hi")).await), (400, 131_047));
}

#[tokio::test]
async fn templates_pass_a_closed_window_if_they_are_usable() {
    let stage = Stage::set().await;

    assert_eq!(
        stage
            .send(&template_to(ANA, "order_update", &["7"]))
            .await
            .0,
        200
    );
    let sent = stage.handle.sent();
    assert_eq!(sent[0].text, "Order 7 is ready");
    assert_eq!(
        code(&stage.send(&template_to(ANA, "order_update", &[])).await),
        (400, 132_000)
    );
    assert_eq!(
        code(&stage.send(&template_to(ANA, "unheard_of", &[])).await),
        (404, 132_001)
    );
    stage
        .handle
        .set_template_status(WABA, "order_update", "en", TemplateStatus::Paused)
        .unwrap();
    assert_eq!(
        code(&stage.send(&template_to(ANA, "order_update", &["7"])).await),
        (400, 132_015)
    );
}

#[tokio::test]
async fn somebody_without_whatsapp_is_refused_with_131026() {
    let stage = Stage::set().await;
    let spec = CustomerSpec {
        on_whatsapp: false,
        ..CustomerSpec::with_phone(ANA, "Ana")
    };
    stage.handle.put_customer(spec).unwrap();

    let answer = stage.send(&template_to(ANA, "order_update", &["7"])).await;

    assert_eq!(code(&answer), (400, 131_026));
}

#[tokio::test]
async fn a_customer_who_stopped_marketing_gets_none() {
    let stage = Stage::set_with(|config| {
        config.limits.pair = None;
        config.templates[0].category = TemplateCategory::Marketing;
    })
    .await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let offer = template_to(ANA, "order_update", &["7"]);
    assert_eq!(stage.send(&offer).await.0, 200);

    stage.handle.prefers_marketing(&ana, NUMBER, false).unwrap();

    assert_eq!(code(&stage.send(&offer).await), (400, 131_050));
}

#[tokio::test]
async fn a_customer_without_a_phone_is_reached_by_user_id() {
    let stage = Stage::set().await;
    let user_id = "US.13491208655302741918";
    let ana = stage.handle.customer(None, Some(user_id), "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    let mut message = text(ANA, "hi");
    message.as_object_mut().unwrap().remove("to");
    message["recipient"] = json!(user_id);

    let (status, body) = stage.send(&message).await;

    assert_eq!(status, 200);
    assert_eq!(
        body["contacts"][0],
        json!({"input": user_id, "user_id": user_id})
    );
    let inbound = stage.received(1).await[0].json();
    let value = &inbound["entry"][0]["changes"][0]["value"];
    assert_eq!(value["contacts"][0]["user_id"], user_id);
    assert!(value["contacts"][0].get("wa_id").is_none());
    assert!(value["messages"][0].get("from").is_none());
    assert_eq!(value["messages"][0]["from_user_id"], user_id);
}

#[tokio::test]
async fn more_than_a_burst_to_one_customer_is_refused_with_131056() {
    let stage = Stage::set_with(|config| config.limits.messages_per_second = None).await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    for message in 0..45 {
        let (status, body) = stage.send(&text(ANA, &message.to_string())).await;
        assert_eq!(status, 200, "{message}: {body}");
    }

    assert_eq!(code(&stage.send(&text(ANA, "45")).await), (400, 131_056));
    stage.clock.advance(SignedDuration::from_secs(45 * 6));
    assert_eq!(stage.send(&text(ANA, "46")).await.0, 200);
}

#[tokio::test]
async fn more_than_a_numbers_throughput_is_refused_with_130429() {
    let stage = Stage::set_with(|config| config.limits.messages_per_second = Some(2)).await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "counts too").unwrap();

    assert_eq!(stage.send(&text(ANA, "a")).await.0, 200);
    assert_eq!(code(&stage.send(&text(ANA, "b")).await), (400, 130_429));
}

#[tokio::test]
async fn only_the_numbers_own_token_may_send() {
    let stage = Stage::set_with(|config| {
        config.numbers[1].token = "token-of-the-other".into();
    })
    .await;
    let call = |number: &'static str, token: &'static str| {
        let url = stage.url(&format!("/v26.0/{number}/messages"));
        let request = stage
            .client
            .post(url)
            .bearer_auth(token)
            .json(&text(ANA, "x"));
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            code(&(status, response.json().await.unwrap()))
        }
    };
    assert_eq!(call(NUMBER, "nobody's").await, (401, 190));
    assert_eq!(call("1", TOKEN).await, (400, 100));
    assert_eq!(call(OTHER_NUMBER, TOKEN).await, (403, 10));
    let outcomes: Vec<_> = stage
        .handle
        .sent()
        .into_iter()
        .map(|sent| sent.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Refused(190),
            Outcome::Refused(100),
            Outcome::Refused(10)
        ]
    );
}

#[tokio::test]
async fn a_refusal_can_come_later_as_a_failed_status() {
    let stage = Stage::set_with(|config| config.refusal = RefusalStyle::Async).await;

    let (status, body) = stage.send(&text(ANA, "too late")).await;

    assert_eq!(status, 200);
    let received = stage.received(1).await[0].json();
    let value = &received["entry"][0]["changes"][0]["value"];
    assert_eq!(value["statuses"][0]["id"], body["messages"][0]["id"]);
    assert_eq!(value["statuses"][0]["status"], "failed");
    assert_eq!(value["statuses"][0]["errors"][0]["code"], 131_047);
    assert!(value.get("contacts").is_none());
    assert!(value["statuses"][0].get("recipient_user_id").is_none());
}

#[tokio::test]
async fn numbers_and_templates_can_be_read() {
    let stage = Stage::set().await;

    let (status, number) = stage.get(&format!("/v26.0/{NUMBER}")).await;
    assert_eq!(status, 200);
    assert_eq!(number["display_phone_number"], "+1 555 078 3881");
    assert_eq!(number["status"], "CONNECTED");
    let (status, list) = stage.get(&format!("/v26.0/{WABA}/message_templates")).await;
    assert_eq!(status, 200);
    assert_eq!(list["data"][0]["name"], "order_update");
    assert_eq!(list["data"][0]["status"], "APPROVED");
    assert_eq!(list["data"][0]["category"], "UTILITY");
    let (_, list) = stage.get(&format!("/v26.0/{WABA}/phone_numbers")).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(stage.get("/v26.0/1").await.0, 400);
}

#[tokio::test]
async fn marking_as_read_sends_nothing() {
    let stage = Stage::set().await;
    let mark = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});

    assert_eq!(stage.send(&mark).await, (200, json!({"success": true})));
    assert_eq!(stage.handle.sent_count(), 0);
    assert_eq!(stage.handle.calls().len(), 1);
}

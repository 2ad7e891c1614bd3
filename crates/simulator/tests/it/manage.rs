//! The management side: what is told about tokens, numbers, accounts, subscriptions, templates.

use casement_simulator::{TemplateConfig, TokenConfig};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, OTHER_NUMBER, Stage, TOKEN, WABA, template, text};

const APP: &str = "620010020030040";

fn code(answer: &(u16, Value)) -> (u16, i64, i64) {
    let error = &answer.1["error"];
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    (
        answer.0,
        number(&error["code"]),
        number(&error["error_subcode"]),
    )
}

async fn call(stage: &Stage, method: &str, path: &str, token: &str) -> (u16, Value) {
    let method = method.parse().expect("a method");
    let request = stage.client.request(method, stage.url(path));
    let response = request.bearer_auth(token).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

async fn debug(stage: &Stage, token: &str) -> (u16, Value) {
    let path = format!("/v26.0/debug_token?input_token={token}");
    call(stage, "GET", &path, &format!("{APP}|demo-app-secret")).await
}

#[tokio::test]
async fn a_numbers_token_may_do_everything_for_ever_unless_said_otherwise() {
    let stage = Stage::set().await;

    let (status, answer) = debug(&stage, TOKEN).await;

    assert_eq!(status, 200, "{answer}");
    let data = &answer["data"];
    assert_eq!(
        (&data["is_valid"], &data["expires_at"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(data["app_id"], APP);
    assert_eq!(data["scopes"].as_array().unwrap().len(), 2);
    assert_eq!(data["granular_scopes"][0]["target_ids"][0], WABA);

    let ends = stage.clock.now() + SignedDuration::from_hours(1);
    stage.handle.put_token(TokenConfig {
        expires_at: Some(ends),
        scopes: vec!["whatsapp_business_management".to_owned()],
        ..TokenConfig::new(TOKEN)
    });
    let (_, answer) = debug(&stage, TOKEN).await;
    assert_eq!(answer["data"]["expires_at"], ends.as_second());
    assert_eq!(code(&stage.send(&text(ANA, "hi")).await).1, 10);
}

#[tokio::test]
async fn an_expired_or_withdrawn_token_is_190_with_its_subcode_everywhere() {
    let stage = Stage::set().await;
    for (token, subcode) in [
        (
            TokenConfig {
                expires_at: Some(stage.clock.now()),
                ..TokenConfig::new(TOKEN)
            },
            463,
        ),
        (
            TokenConfig {
                revoked: true,
                ..TokenConfig::new(TOKEN)
            },
            467,
        ),
    ] {
        stage.handle.put_token(token);
        let (status, answer) = debug(&stage, TOKEN).await;
        assert_eq!(status, 200);
        assert_eq!(answer["data"]["is_valid"], false);
        assert_eq!(answer["data"]["error"]["subcode"], subcode);
        assert_eq!(
            code(&stage.send(&text(ANA, "x")).await),
            (401, 190, subcode)
        );
        for path in ["app", NUMBER, WABA] {
            let answer = stage.get(&format!("/v26.0/{path}")).await;
            assert_eq!(code(&answer), (401, 190, subcode), "{path}");
        }
    }
    let (status, answer) = debug(&stage, "nobodys").await;
    assert_eq!((status, &answer["data"]["is_valid"]), (200, &json!(false)));
}

#[tokio::test]
async fn only_the_app_with_its_secret_is_told_about_its_own_tokens() {
    let stage = Stage::set().await;
    let path = format!("/v26.0/debug_token?input_token={TOKEN}");
    for (asking, expected) in [
        (format!("{APP}|wrong-secret"), (401, 190, 0)),
        ("1|demo-app-secret".to_owned(), (400, 101, 0)),
        (TOKEN.to_owned(), (400, 100, 0)),
    ] {
        let answer = call(&stage, "GET", &path, &asking).await;
        assert_eq!(code(&answer), expected, "{asking}");
    }
    stage.handle.put_token(TokenConfig {
        app_id: Some("777".to_owned()),
        ..TokenConfig::new(TOKEN)
    });
    assert_eq!(code(&debug(&stage, TOKEN).await), (400, 100, 0));
    assert_eq!(stage.get("/v26.0/app").await.1["id"], "777");
}

#[tokio::test]
async fn a_node_shows_the_fields_that_are_asked_for() {
    let stage = Stage::set().await;
    let path = format!("/v26.0/{NUMBER}?fields=status,account_mode");
    let (status, node) = stage.get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(
        node,
        json!({"id": NUMBER, "status": "CONNECTED", "account_mode": "LIVE"})
    );
    let answer = stage.get(&format!("/v26.0/{NUMBER}?fields=colour")).await;
    assert_eq!(code(&answer), (400, 100, 0));
    let path = format!("/v26.0/{WABA}?fields=name,owner_business_info,on_behalf_of_business_info");
    let (_, node) = stage.get(&path).await;
    assert_eq!(node["owner_business_info"]["id"], "900100200300");
    assert!(node.get("on_behalf_of_business_info").is_none());
}

#[tokio::test]
async fn without_the_scope_or_the_account_nothing_is_shown() {
    let stage = Stage::set().await;
    assert_eq!(
        code(&stage.get("/v26.0/800/phone_numbers").await),
        (400, 100, 33)
    );
    stage.handle.put_token(TokenConfig::new("of-no-number"));
    let path = format!("/v26.0/{WABA}/phone_numbers");
    let answer = call(&stage, "GET", &path, "of-no-number").await;
    assert_eq!(code(&answer), (403, 200, 0));
    stage.handle.put_token(TokenConfig {
        scopes: vec!["whatsapp_business_messaging".to_owned()],
        ..TokenConfig::new(TOKEN)
    });
    for path in ["message_templates", "phone_numbers", "subscribed_apps"] {
        let answer = stage.get(&format!("/v26.0/{WABA}/{path}")).await;
        assert_eq!(code(&answer), (403, 200, 0), "{path}");
    }
}

#[tokio::test]
async fn templates_come_in_pages() {
    let stage = Stage::set_with(|config| {
        config.templates = (0..7)
            .map(|index| TemplateConfig {
                name: format!("template_{index}"),
                ..template()
            })
            .collect();
    })
    .await;
    let mut names = Vec::new();
    let mut after = String::new();
    for count in [3, 3, 1] {
        let path = format!("/v26.0/{WABA}/message_templates?limit=3{after}");
        let (status, page) = stage.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let items = page["data"].as_array().unwrap().clone();
        assert_eq!(items.len(), count);
        assert_eq!(page["paging"].get("next").is_some(), count == 3);
        names.extend(items.iter().map(|item| item["name"].to_string()));
        let cursor = page["paging"]["cursors"]["after"].as_str().unwrap();
        after = format!("&after={cursor}");
    }
    names.dedup();
    assert_eq!(names.len(), 7);
    let path = format!("/v26.0/{WABA}/message_templates?after=nonsense");
    assert_eq!(code(&stage.get(&path).await), (400, 100, 0));
}

#[tokio::test]
async fn webhooks_come_only_while_the_app_is_subscribed() {
    let stage = Stage::set().await;
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let path = format!("/v26.0/{WABA}/subscribed_apps");
    let (_, apps) = stage.get(&path).await;
    assert_eq!(apps["data"][0]["whatsapp_business_api_data"]["id"], APP);

    let (status, answer) = call(&stage, "DELETE", &path, TOKEN).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    stage.handle.says(&ana, NUMBER, "unheard").unwrap();
    assert_eq!(stage.get(&path).await.1, json!({"data": []}));
    let (status, _) = call(&stage, "POST", &path, TOKEN).await;
    assert_eq!(status, 200);
    stage.handle.says(&ana, NUMBER, "heard").unwrap();

    let received = stage.received(1).await;
    stage.quiet().await;
    assert_eq!(stage.inbox.received().len(), 1);
    assert!(received[0].json().to_string().contains("heard"));
    // The window is Meta's own book: it opened all the same.
    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
}

#[tokio::test]
async fn a_test_number_writes_to_its_own_recipients_only() {
    let stage = Stage::set().await;
    stage.handle.put_test_number(NUMBER, &[ANA.to_owned()]);
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let ben = stage
        .handle
        .customer(Some("+15550009999"), None, "Ben")
        .unwrap();
    for customer in [&ana, &ben] {
        stage.handle.says(customer, NUMBER, "hello").unwrap();
    }
    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
    let answer = stage.send(&text("+15550009999", "hi")).await;
    assert_eq!(code(&answer), (400, 131_030, 0));
    let (_, node) = stage
        .get(&format!("/v26.0/{NUMBER}?fields=account_mode"))
        .await;
    assert_eq!(node["account_mode"], "SANDBOX");
    let (_, node) = stage
        .get(&format!("/v26.0/{OTHER_NUMBER}?fields=account_mode"))
        .await;
    assert_eq!(node["account_mode"], "LIVE");
}

#[tokio::test]
async fn an_unregistered_number_sends_nothing() {
    let stage = Stage::set().await;
    let put = json!({"phone_number_id": NUMBER, "status": "PENDING"});
    let url = stage.url("/_sim/numbers/status");
    let answer = stage.client.post(url).json(&put).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = stage.send(&text(ANA, "hi")).await;
    assert_eq!(code(&answer), (400, 133_010, 0));
    let (_, node) = stage.get(&format!("/v26.0/{NUMBER}")).await;
    assert_eq!(node["status"], "PENDING");
}

#[tokio::test]
async fn tokens_subscriptions_and_test_numbers_are_driven_from_a_shell() {
    let stage = Stage::set().await;
    let post = async |path: &str, body: Value| {
        let request = stage.client.post(stage.url(path)).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let token = json!({"token": TOKEN, "expires_at": Timestamp::UNIX_EPOCH});
    assert_eq!(post("/_sim/tokens", token).await, 200);
    assert_eq!(stage.get("/v26.0/app").await.0, 401);
    assert_eq!(post("/_sim/tokens", json!({"token": TOKEN})).await, 200);
    assert_eq!(stage.get("/v26.0/app").await.0, 200);
    let test = json!({"phone_number_id": NUMBER, "recipients": []});
    assert_eq!(post("/_sim/numbers/test", test).await, 200);
    assert_eq!(code(&stage.send(&text(ANA, "hi")).await).1, 131_030);
    let path = format!("/_sim/subscriptions/{WABA}");
    assert_eq!(call(&stage, "DELETE", &path, TOKEN).await.0, 200);
    assert!(!stage.handle.is_subscribed(WABA));
}

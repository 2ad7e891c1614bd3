//! The control surface over HTTP.

use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, Stage, text};

async fn call(stage: &Stage, method: &str, path: &str, body: Value) -> (u16, Value) {
    let method = method.parse().expect("a method");
    let request = stage.client.request(method, stage.url(path)).json(&body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

#[tokio::test]
async fn a_conversation_can_be_played_from_a_shell() {
    let stage = Stage::set().await;
    let (status, made) = call(
        &stage,
        "POST",
        "/_sim/customers",
        json!({"name": "Ana", "phone": ANA}),
    )
    .await;
    assert_eq!(status, 200, "{made}");
    let pair = json!({"customer": ANA, "phone_number_id": NUMBER});
    let mut says = pair.clone();
    says["text"] = json!("hello");
    let (status, said) = call(&stage, "POST", "/_sim/says", says).await;
    assert_eq!(status, 200, "{said}");
    assert!(said["id"].as_str().unwrap().starts_with("wamid."));
    let url = format!("/_sim/window?customer=15550001111&phone_number_id={NUMBER}");
    let (_, window) = stage.get(&url).await;
    assert!(window["ends_at"].is_string(), "{window}");

    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);

    let (_, books) = stage.get("/_sim/sent").await;
    assert_eq!(books["sent"][0]["outcome"], "accepted");
    assert_eq!(books["sent"][0]["customer"], made["customer"]);
    let id = &books["sent"][0]["id"];
    let report = json!({"message_id": id, "status": "read"});
    assert_eq!(call(&stage, "POST", "/_sim/report", report).await.0, 200);
    let (_, books) = stage.get("/_sim/sent?since=1").await;
    assert_eq!(books["sent"], json!([]));
    for path in ["/_sim/calls", "/_sim/webhooks", "/_sim/customers"] {
        assert_eq!(stage.get(path).await.0, 200, "{path}");
    }
    assert_eq!(call(&stage, "POST", "/_sim/rings", pair).await.0, 200);
}

#[tokio::test]
async fn faults_and_settings_can_be_changed_from_a_shell() {
    let stage = Stage::set().await;
    let spec = json!({"fault": {"graph_error": {"code": 131_000}}, "channel": "whatsapp"});
    let (status, made) = call(&stage, "POST", "/_sim/faults", spec).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 500);
    let (_, listed) = stage.get("/_sim/faults").await;
    assert_eq!(listed["faults"][0]["id"], made["id"]);
    let one = format!("/_sim/faults/{}", made["id"]);
    let (_, cleared) = call(&stage, "DELETE", &one, json!({})).await;
    assert_eq!(cleared["done"], true);
    assert_eq!(
        call(&stage, "DELETE", "/_sim/faults", json!({})).await.0,
        200
    );

    let settings = json!({"window": "2s", "refusal": "async"});
    let (status, _) = call(&stage, "PUT", "/_sim/settings", settings).await;
    assert_eq!(status, 200);
    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
}

#[tokio::test]
async fn mistakes_are_named() {
    let stage = Stage::set().await;
    let says = json!({"customer": "nobody", "phone_number_id": NUMBER, "text": "x"});
    let (status, body) = call(&stage, "POST", "/_sim/says", says).await;
    assert_eq!((status, &body["error"]), (404, &json!("unknown customer")));
    let nameless = json!({"name": "Ana"});
    let (status, _) = call(&stage, "POST", "/_sim/customers", nameless).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_customer_can_come_from_an_ad_at_the_word_of_a_shell() {
    let stage = Stage::set().await;
    let ana = json!({"name": "Ana", "phone": ANA});
    assert_eq!(call(&stage, "POST", "/_sim/customers", ana).await.0, 200);
    let settings = json!({"free_entry_point": "1h"});
    assert_eq!(call(&stage, "PUT", "/_sim/settings", settings).await.0, 200);
    let entry_point = async || {
        let url = format!("/_sim/entry-point?customer=15550001111&phone_number_id={NUMBER}");
        stage.get(&url).await.1["ends_at"].clone()
    };
    for (device, is_free) in [("desktop", false), ("phone", true)] {
        let clicks = json!({
            "customer": ANA,
            "phone_number_id": NUMBER,
            "text": "Hello",
            "device": device,
        });
        let (status, clicked) = call(&stage, "POST", "/_sim/clicks", clicks).await;
        assert_eq!(status, 200, "{clicked}");
        assert!(clicked["id"].as_str().unwrap().starts_with("wamid."));
        assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
        let ends_at = entry_point().await;
        assert_eq!(ends_at.is_string(), is_free, "{device}: {ends_at}");
    }
}

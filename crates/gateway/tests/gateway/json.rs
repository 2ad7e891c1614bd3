//! Claims about HTTP+JSON through the gateway.

use std::collections::BTreeSet;
use std::sync::Arc;

use casement_gateway::{CONCURRENCY_LIMITED, Config, RATE_LIMITED};
use jiff::SignedDuration;
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};

use crate::stage::{HELD, Stage};

async fn body(response: reqwest::Response) -> Value {
    response.json().await.unwrap()
}

async fn problem(response: reqwest::Response, status: u16) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem = body(response).await;
    assert_eq!(problem["status"], json!(status));
    problem
}

#[tokio::test]
async fn a_window_is_asked_for_by_path_query_and_body_alike() {
    for stage in [
        Stage::remote(Config::default()).await,
        Stage::local(Config::default()).await,
    ] {
        let by_path = stage
            .get("reader-token", "/v1/numbers/+4930/customers/c-1/window")
            .await;
        assert_eq!(by_path.status(), 200);
        assert_eq!(by_path.headers()["content-type"], "application/json");
        let by_path = body(by_path).await;
        let window = &by_path["window"];
        assert_eq!(window["number"], "+4930");
        assert_eq!(window["customerId"], "c-1");
        assert_eq!(window["state"], "WINDOW_STATE_OPEN");
        assert_eq!(window["expireTime"], "2026-01-02T03:04:05Z");
        assert_eq!(window["freeFormAllowed"], json!(false));
        assert_eq!(window["position"], "reader");

        let by_query = stage
            .get(
                "reader-token",
                "/v1/numbers/+4930/window?customer.customerId=c-1",
            )
            .await;
        assert_eq!(body(by_query).await, by_path);
        let by_body = stage
            .post(
                "reader-token",
                "/casement.window.v1.WindowService/GetWindow",
                r#"{"number": "+4930", "customer": {"customerId": "c-1"}}"#,
            )
            .await;
        assert_eq!(body(by_body).await, by_path);
    }
}

#[tokio::test]
async fn large_numbers_are_text_and_bytes_are_base64() {
    let stage = Stage::remote(Config::default()).await;
    let listed = stage
        .get(
            "auditor-token",
            "/v1/events?stream=EVENTS&pageSize=1&page_token=next",
        )
        .await;
    let listed = body(listed).await;
    assert_eq!(
        listed["events"][0]["sequence"],
        json!("18446744073709551615")
    );
    assert_eq!(listed["events"][0]["payload"], json!("/w=="));
    assert_eq!(listed["events"][0]["stream"], json!("EVENTS"));
    assert_eq!(listed["nextPageToken"], json!("next"));
    // Longer than a window of flow control.
    let many = stage.get("auditor-token", "/v1/events?pageSize=5000").await;
    assert_eq!(body(many).await["events"].as_array().unwrap().len(), 5_000);
}

#[tokio::test]
async fn what_is_wrong_with_which_field_is_told() {
    let stage = Stage::remote(Config::default()).await;
    let by_role = stage.get("reader-token", "/v1/numbers/+0/window").await;
    let by_role = problem(by_role, 400).await;
    assert_eq!(by_role["reason"], "INVALID_FIELD");
    assert_eq!(by_role["code"], "INVALID_ARGUMENT");
    assert_eq!(
        by_role["violations"],
        json!([
            {"field": "number", "description": "not E.164"},
            {"field": "customer", "description": "is required"},
        ])
    );
    let by_gateway = stage
        .post(
            "reader-token",
            "/v1/windows:batchGet",
            r#"{"requests": [{"number": {}}]}"#,
        )
        .await;
    let by_gateway = problem(by_gateway, 400).await;
    assert_eq!(by_gateway["reason"], "INVALID_FIELD");
    assert_eq!(by_gateway["violations"][0]["field"], "requests[0].number");
}

#[tokio::test]
async fn what_may_not_be_or_is_not_there_is_refused() {
    let mut config = Config::default();
    config.limits.request_bytes = 1_000;
    let stage = Stage::remote(config).await;
    let window = "/v1/numbers/+49/window";

    let nobody = stage.get("nonsense", window).await;
    assert_eq!(nobody.headers()["www-authenticate"], "Bearer");
    let nobody = problem(nobody, 401).await;
    assert_eq!(nobody["reason"], "UNAUTHENTICATED_TOKEN");
    problem(stage.get("nonsense", "/nowhere").await, 401).await;
    problem(stage.get("nonsense", "/openapi.json").await, 401).await;

    let reader = problem(stage.get("reader-token", "/v1/events").await, 403).await;
    assert_eq!(reader["reason"], "MISSING_SCOPE");
    assert_eq!(reader["metadata"]["scope"], "audit");

    let nowhere = problem(stage.get("reader-token", "/nowhere").await, 404).await;
    assert_eq!(nowhere["reason"], "ROUTE_UNKNOWN");
    let posted = stage.post("reader-token", window, "{}").await;
    assert_eq!(posted.headers()["allow"], "GET");
    problem(posted, 405).await;
    let named = "/casement.window.v1.WindowService/GetWindow";
    problem(stage.get("reader-token", named).await, 405).await;

    let large = format!(r#"{{"requests": [{{"number": "{}"}}]}}"#, "4".repeat(2_000));
    let large = stage
        .post("reader-token", "/v1/windows:batchGet", &large)
        .await;
    assert_eq!(problem(large, 413).await["reason"], "REQUEST_TOO_LARGE");
    let text = Stage::http()
        .post(format!("{}{named}", stage.url))
        .bearer_auth("reader-token")
        .body("number=1")
        .send()
        .await
        .unwrap();
    problem(text, 415).await;

    // Known here, but served by no role.
    problem(stage.get("reader-token", "/v1/brands").await, 501).await;
    stage.wire.refuse();
    casement_testkit::eventually("the role is missed", async || {
        stage.get("reader-token", window).await.status() == 503
    })
    .await;
}

#[tokio::test]
async fn a_brand_is_held_to_its_limits_and_told_when_to_return() {
    let mut config = Config::default();
    config.limits.requests_per_second_per_brand = 2;
    config.limits.concurrency_per_brand = 1;
    let stage = Arc::new(Stage::remote(config).await);
    let window = "/v1/numbers/+49/window";
    for _ in 0..2 {
        assert_eq!(stage.get("reader-token", window).await.status(), 200);
    }
    let limited = stage.get("reader-token", window).await;
    assert_eq!(limited.headers()["retry-after"], "1");
    assert_eq!(problem(limited, 429).await["reason"], RATE_LIMITED);
    assert_eq!(stage.get("auditor-token", window).await.status(), 200);

    stage.clock.advance(SignedDuration::from_secs(1));
    let held = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move {
            let path = format!("/v1/numbers/{HELD}/window");
            stage.get("reader-token", &path).await.status()
        }
    });
    stage.gate.holds(1).await;
    let limited = stage.get("reader-token", window).await;
    assert_eq!(limited.headers()["retry-after"], "1");
    assert_eq!(problem(limited, 429).await["reason"], CONCURRENCY_LIMITED);
    stage.gate.open();
    assert_eq!(held.await.unwrap(), 200);
    casement_testkit::eventually("the place is free again", async || {
        stage.clock.advance(SignedDuration::from_secs(1));
        stage.get("reader-token", window).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn windows_are_watched_a_line_each_and_explained_under_their_own_path() {
    let stage = Stage::remote(Config::default()).await;
    let path = "/v1/windows:watch?numbers=%2B1&numbers=%2B2&afterPosition=p";
    let watched = stage.get("reader-token", path).await;
    assert_eq!(watched.headers()["content-type"], "application/x-ndjson");
    let lines = watched.text().await.unwrap();
    let positions: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"]["position"].clone())
        .collect();
    assert_eq!(positions, ["+1", "+2", "p"]);
    for path in [
        "/v1/numbers/+4930/customers/c-1/window:explain",
        "/v1/numbers/+4930/window:explain?customer.to=%2B49",
    ] {
        let explained = body(stage.get("reader-token", path).await).await;
        assert_eq!(explained["window"]["number"], "+4930", "{path}");
    }
}

#[tokio::test]
async fn health_needs_no_token_and_streams_as_lines() {
    let stage = Stage::remote(Config::default()).await;
    let check = format!("{}/grpc.health.v1.Health/Check", stage.url);
    let checked = Stage::http().post(check).send().await.unwrap();
    assert_eq!(body(checked).await, json!({"status": "SERVING"}));

    let watch = format!("{}/grpc.health.v1.Health/Watch", stage.url);
    let mut watched = Stage::http().post(watch).send().await.unwrap();
    assert_eq!(watched.headers()["content-type"], "application/x-ndjson");
    let first = watched.chunk().await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first, json!({"result": {"status": "SERVING"}}));
    stage.stopping.cancel();
    let mut rest = Vec::new();
    while let Some(chunk) = watched.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    let last = rest.split(|byte| *byte == b'\n').rev().nth(1).unwrap();
    let last: Value = serde_json::from_slice(last).unwrap();
    assert_eq!(last["error"]["reason"], "STOPPING");
}

#[tokio::test]
async fn the_openapi_document_has_every_call_and_refers_to_what_it_has() {
    let stage = Stage::remote(Config::default()).await;
    let document = stage.get("reader-token", "/openapi.json").await;
    assert_eq!(document.status(), 200);
    let document = body(document).await;
    assert_eq!(document["openapi"], "3.1.0");

    let operations: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
    for service in pool.services() {
        for method in service.methods() {
            let id = format!("{}_{}", service.name(), method.name());
            assert!(operations.contains(&id), "{id} is missing");
        }
    }

    let get = &document["paths"]["/v1/numbers/{number}/window"]["get"];
    assert_eq!(get["security"], json!([{"bearer": ["read"]}]));
    let names: Vec<&str> = get["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "number",
            "customer.to",
            "customer.recipient",
            "customer.customerId",
            "notBefore"
        ]
    );
    let put = &document["paths"]["/v1/brands/{brand.brand_id}"]["put"];
    assert_eq!(
        put["requestBody"]["content"]["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/casement.events.v1.Brand"})
    );
    let send = &document["paths"]["/v1/messages"]["post"];
    assert!(
        send["description"]
            .as_str()
            .unwrap()
            .starts_with("Accepts a message."),
        "{send}"
    );

    let mut references = Vec::new();
    refer(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        let found = document.pointer(pointer);
        assert!(found.is_some_and(Value::is_object), "{reference}");
    }
}

fn refer<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str));
            for field in fields.values() {
                refer(field, into);
            }
        }
        Value::Array(items) => {
            for item in items {
                refer(item, into);
            }
        }
        _ => {}
    }
}

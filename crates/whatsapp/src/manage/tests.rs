//! The calls against a socket that answers as told, one answer a connection.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const TOKEN: &str = "EAAG-secret-token";

/// Answers as many requests as there are bodies, and returns the requests' heads.
async fn answers(bodies: Vec<(&'static str, String)>) -> (Manager, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut heads = Vec::new();
        for (status, body) in bodies {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = String::new();
            while !head.contains("\r\n\r\n") {
                let mut chunk = [0; 4096];
                let read = socket.read(&mut chunk).await.unwrap();
                assert!(read > 0, "the request broke off: {head}");
                head.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            heads.push(head);
        }
        heads
    });
    (manager(&base), task)
}

async fn answer(body: Value) -> (Manager, JoinHandle<Vec<String>>) {
    answers(vec![("200 OK", body.to_string())]).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell's client is not to be had here"
)]
pub(super) fn manager(base: &str) -> Manager {
    // Another test of the process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let manager = Manager::new(http, base, "v26.0").unwrap();
    manager.with_timeout(Duration::from_secs(10))
}

fn token() -> SecretString {
    SecretString::from(TOKEN)
}

#[tokio::test]
async fn a_token_is_inspected_by_its_app_and_its_scopes_end_where_they_were_narrowed() {
    let (manager, task) = answer(json!({"data": {
        "app_id": 620, "application": "Shop", "type": "SYSTEM_USER", "is_valid": true,
        "expires_at": 0, "data_access_expires_at": 1_790_000_000,
        "scopes": ["whatsapp_business_messaging", "whatsapp_business_management"],
        "granular_scopes": [
            {"scope": "whatsapp_business_messaging", "target_ids": ["800"]},
            {"scope": "whatsapp_business_management"},
        ],
    }}))
    .await;
    let secret = SecretString::from("app-secret");

    let info = manager
        .inspect_token(&token(), "620", &secret)
        .await
        .unwrap();

    let head = task.await.unwrap().remove(0);
    assert!(head.starts_with("GET /v26.0/debug_token?input_token=EAAG-secret-token "));
    assert!(head.contains("authorization: Bearer 620|app-secret\r\n"));
    assert!(info.is_valid);
    assert_eq!((info.app_id.as_str(), info.expires_at), ("620", None));
    let data_access = Timestamp::from_second(1_790_000_000).unwrap();
    assert_eq!(info.data_access_expires_at, Some(data_access));
    assert!(info.covers("whatsapp_business_messaging", "800"));
    assert!(!info.covers("whatsapp_business_messaging", "801"));
    assert!(info.covers("whatsapp_business_management", "801"));
    assert!(!info.covers("business_management", "800"));
}

#[tokio::test]
async fn a_token_that_is_no_longer_valid_is_an_answer_with_its_reason() {
    let (manager, task) = answer(json!({"data": {
        "is_valid": false, "scopes": [],
        "error": {"code": 190, "subcode": 463, "message": "Session has expired"},
    }}))
    .await;
    let secret = SecretString::from("app-secret");
    let info = manager
        .inspect_token(&token(), "620", &secret)
        .await
        .unwrap();
    task.await.unwrap();
    assert!(!info.is_valid);
    let error = info.error.unwrap();
    assert_eq!((error.code, error.subcode), (190, Some(463)));
}

#[tokio::test]
async fn a_number_is_read_as_far_as_it_is_told() {
    let (manager, task) = answer(json!({
        "id": "700", "display_phone_number": "+1 555-078-3881", "verified_name": "Shop",
        "status": "CONNECTED", "quality_rating": "GREEN", "account_mode": "SANDBOX",
        "throughput": {"level": "HIGH"}, "something_new": {},
    }))
    .await;
    let number = manager.number(&token(), "700").await.unwrap();
    let head = task.await.unwrap().remove(0);
    assert!(head.starts_with("GET /v26.0/700?fields=id%2Cdisplay_phone_number"));
    assert_eq!(number.e164(), "+15550783881");
    assert!(number.is_test());
    assert_eq!(number.throughput_level, "HIGH");
    assert_eq!(number.platform_type, "");
}

#[tokio::test]
async fn lists_are_followed_by_their_cursors_and_never_to_another_address() {
    let page = |names: &[&str], paging: Value| {
        let data: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({"id": "1", "name": name, "language": "en_US", "category": "utility",
                       "status": "APPROVED",
                       "components": [{"type": "HEADER", "text": "no"},
                                      {"type": "BODY", "text": "Hi {{1}}"}]})
            })
            .collect();
        (
            "200 OK",
            json!({"data": data, "paging": paging}).to_string(),
        )
    };
    let next = json!({"cursors": {"after": "QVFI"}, "next": "http://192.0.2.1/stolen"});
    let last = json!({"cursors": {"before": "QVFI", "after": "WkQ"}});
    let (manager, task) = answers(vec![page(&["a", "b"], next), page(&["c"], last)]).await;

    let templates = manager.templates(&token(), "800").await.unwrap();

    let heads = task.await.unwrap();
    assert!(heads[0].contains("limit=100") && !heads[0].contains("after="));
    assert!(heads[1].contains("after=QVFI"), "{}", heads[1]);
    let names: Vec<_> = templates.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(templates[0].body, "Hi {{1}}");
    assert_eq!(templates[0].category, "UTILITY");
}

#[tokio::test]
async fn a_template_is_read_whole_and_without_what_an_older_version_does_not_know() {
    let unknown = json!({"error": {"code": 100, "message": "tried accessing nonexisting field"}});
    let component = json!({"type": "NEWER", "deep": {"er": 1}});
    let page = json!({"data": [
        {
            "id": 1_689_556_908_129_832_u64, "name": "order", "language": "en_US",
            "status": "PAUSED", "category": "utility", "components": [component],
            "quality_score": {"score": "RED", "date": 1_751_247_548}, "parameter_format": "NAMED",
            "message_send_ttl_seconds": -1, "correct_category": "MARKETING",
        },
        {"id": "2", "name": "order_2", "language": "en_US"},
    ]});
    let (manager, task) = answers(vec![
        ("400 Bad Request", unknown.to_string()),
        ("200 OK", page.to_string()),
    ])
    .await;
    let found = manager.full_templates(&token(), "800", Some("order")).await;

    let heads = task.await.unwrap();
    assert!(heads[0].contains("name=order") && heads[0].contains("quality_score"));
    assert!(!heads[1].contains("quality_score"), "{}", heads[1]);
    let found = found.unwrap();
    assert_eq!(found.len(), 1, "the name is compared whole");
    let one = &found[0];
    assert_eq!((&*one.id, &*one.status), ("1689556908129832", "PAUSED"));
    assert_eq!((&*one.quality, one.ttl_seconds), ("RED", Some(-1)));
    assert_eq!(one.correct_category, "MARKETING");
    assert_eq!(one.components, [component]);
}

#[tokio::test]
async fn subscribing_posts_and_the_subscribed_apps_are_named() {
    let apps = json!({"data": [
        {"whatsapp_business_api_data": {"id": "620", "name": "Shop", "link": "https://x"}},
        {"whatsapp_business_api_data": {"id": 621}},
    ]});
    let (manager, task) = answers(vec![
        ("200 OK", json!({"success": true}).to_string()),
        ("200 OK", apps.to_string()),
    ])
    .await;
    manager.subscribe(&token(), "800").await.unwrap();
    let apps = manager.subscribed_apps(&token(), "800").await.unwrap();
    let heads = task.await.unwrap();
    assert!(heads[0].starts_with("POST /v26.0/800/subscribed_apps "));
    assert!(heads[1].starts_with("GET /v26.0/800/subscribed_apps "));
    let told: Vec<_> = apps.iter().map(|app| (&*app.id, &*app.name)).collect();
    assert_eq!(told, [("620", "Shop"), ("621", "")]);
}

#[tokio::test]
async fn the_portfolio_is_the_owner_or_who_it_is_held_for() {
    for (key, id) in [
        ("owner_business_info", "900"),
        ("on_behalf_of_business_info", "901"),
    ] {
        let (manager, task) = answer(json!({"id": "800", key: {"id": id, "name": "Co"}})).await;
        let account = manager.account(&token(), "800").await.unwrap();
        task.await.unwrap();
        assert_eq!(account.portfolio_id.as_deref(), Some(id));
    }
    let (manager, task) = answer(json!({"id": "800"})).await;
    let account = manager.account(&token(), "800").await.unwrap();
    task.await.unwrap();
    assert_eq!(account.portfolio_id, None);
}

#[tokio::test]
async fn a_refusal_is_told_with_code_and_subcode() {
    let body = json!({"error": {"message": "Unsupported get request", "code": 100,
        "error_subcode": 33, "type": "GraphMethodException", "fbtrace_id": "A1"}});
    let (manager, task) = answers(vec![("400 Bad Request", body.to_string())]).await;
    let error = manager.number(&token(), "700").await.unwrap_err();
    task.await.unwrap();
    let CallError::Refused(error) = error else {
        panic!("{error}")
    };
    assert_eq!((error.http_status, error.code), (400, 100));
    assert_eq!(error.subcode, Some(33));
}

#[tokio::test]
async fn what_is_no_graph_answer_is_not_read_as_one() {
    for (status, body) in [
        ("200 OK", "<html>captive portal</html>"),
        ("502 Bad Gateway", "upstream"),
        ("200 OK", "{}"),
        ("302 Found", ""),
    ] {
        let (manager, task) = answers(vec![(status, body.to_owned())]).await;
        let error = manager.numbers(&token(), "800").await.unwrap_err();
        task.await.unwrap();
        assert!(
            matches!(error, CallError::Unreadable { .. }),
            "{status} {body}: {error}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_told_without_the_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let secret = SecretString::from("app-secret");
    let error = manager(&base)
        .inspect_token(&token(), "620", &secret)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

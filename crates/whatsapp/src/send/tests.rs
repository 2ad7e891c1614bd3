//! Bodies against the platform's limits, and the call against a socket that answers as told.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::errors::{Action, NO_CODE};

fn text(body: &str) -> OutgoingMessage {
    OutgoingMessage {
        to: Recipient::Phone("+4915550001".to_owned()),
        content: OutgoingContent::Text {
            body: body.to_owned(),
            preview_url: false,
        },
        context_wamid: None,
        callback_data: "attempt-1".to_owned(),
    }
}

fn template(components: Value) -> OutgoingMessage {
    let content = OutgoingContent::Template {
        name: "order_ready".to_owned(),
        language: "en_US".to_owned(),
        components,
    };
    OutgoingMessage {
        content,
        ..text("")
    }
}

#[test]
fn a_text_body_has_what_the_platform_asks_for() {
    let message = OutgoingMessage {
        context_wamid: Some("wamid.1".to_owned()),
        ..text("hello")
    };
    assert_eq!(
        message.to_json(),
        Ok(json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+4915550001",
            "type": "text", "text": {"body": "hello", "preview_url": false},
            "context": {"message_id": "wamid.1"}, "biz_opaque_callback_data": "attempt-1",
        }))
    );
}

#[test]
fn a_user_id_goes_to_recipient_and_a_template_leaves_out_empty_components() {
    let to = Recipient::UserId("DE.ENT.77aa".to_owned());
    let parameters = json!([{"type": "body", "parameters": [{"type": "text", "text": "7"}]}]);
    for (components, expected) in [
        (
            Value::Null,
            json!({"name": "order_ready", "language": {"code": "en_US"}}),
        ),
        (
            json!([]),
            json!({"name": "order_ready", "language": {"code": "en_US"}}),
        ),
        (
            parameters.clone(),
            json!({"name": "order_ready", "language": {"code": "en_US"}, "components": parameters}),
        ),
    ] {
        let message = OutgoingMessage {
            to: to.clone(),
            ..template(components)
        };
        assert_eq!(
            message.to_json(),
            Ok(json!({
                "messaging_product": "whatsapp", "recipient_type": "individual",
                "recipient": "DE.ENT.77aa", "type": "template", "template": expected,
                "biz_opaque_callback_data": "attempt-1",
            }))
        );
    }
}

#[test]
fn what_breaks_a_limit_is_named_by_its_field() {
    let phone = |phone: &str| OutgoingMessage {
        to: Recipient::Phone(phone.to_owned()),
        ..text("x")
    };
    let user = |id: &str| OutgoingMessage {
        to: Recipient::UserId(id.to_owned()),
        ..text("x")
    };
    let data = |data: String| OutgoingMessage {
        callback_data: data,
        ..text("x")
    };
    let named = |name: &str, language: &str| OutgoingMessage {
        content: OutgoingContent::Template {
            name: name.to_owned(),
            language: language.to_owned(),
            components: Value::Null,
        },
        ..text("x")
    };
    for (message, field) in [
        (text(&"ä".repeat(4096)), None),
        (text(&"ä".repeat(4097)), Some("text.body")),
        (text(""), Some("text.body")),
        (text(" \n"), Some("text.body")),
        (phone("4915550001"), Some("to")),
        (phone("+"), Some("to")),
        (phone("+49 155 50001"), Some("to")),
        (phone("+1234567890123456"), Some("to")),
        (user("DE.7"), None),
        (user("de.7"), Some("recipient")),
        (user("DE."), Some("recipient")),
        (user("+4915550001"), Some("recipient")),
        (data(String::new()), Some("biz_opaque_callback_data")),
        (data("x".repeat(512)), None),
        (data("x".repeat(513)), Some("biz_opaque_callback_data")),
        (named("", "en"), Some("template.name")),
        (named("t", ""), Some("template.language.code")),
        (template(json!({})), Some("template.components")),
        (
            OutgoingMessage {
                context_wamid: Some(String::new()),
                ..text("x")
            },
            Some("context.message_id"),
        ),
    ] {
        assert_eq!(
            message.to_json().err().map(|error| error.field),
            field,
            "{message:?}"
        );
    }
}

/// What the socket does once it has read the whole request.
enum Answer {
    /// Writes these bytes and closes.
    Bytes(String),
    /// Closes without a word.
    Close,
    /// Says nothing and keeps the connection.
    Silence,
}

fn http(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Bytes(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Answers one request, and returns it as text.
async fn answer_once(answer: Answer) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let request = read_request(&mut socket).await;
        match answer {
            Answer::Bytes(bytes) => {
                socket.write_all(bytes.as_bytes()).await.expect("written");
                socket.shutdown().await.expect("closed");
            }
            Answer::Close => drop(socket),
            Answer::Silence => {
                // Until the client gives up.
                let mut rest = [0; 16];
                let _ = socket.read(&mut rest).await;
            }
        }
        request
    });
    (address, task)
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.expect("readable");
        assert!(read > 0, "the request broke off: {text}");
        bytes.extend_from_slice(&chunk[..read]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell's client is not to be had here"
)]
fn client() -> Client {
    // Another test of the process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    Client::new(http).with_timeout(Duration::from_secs(10))
}

async fn send(client: &Client, address: SocketAddr) -> SendOutcome {
    let base_url = format!("http://{address}/");
    let token = SecretString::from("secret-token");
    let target = Target {
        base_url: &base_url,
        graph_version: "v26.0",
        phone_number_id: "7001",
        token: &token,
    };
    client
        .send(target, &text("hello").to_json().expect("valid"))
        .await
}

async fn outcome(answer: Answer) -> SendOutcome {
    let (address, task) = answer_once(answer).await;
    let outcome = send(&client(), address).await;
    task.await.expect("answered");
    outcome
}

#[tokio::test]
async fn an_accepted_message_returns_its_id_and_the_recipients() {
    let body = json!({"messaging_product": "whatsapp",
        "contacts": [{"input": "+4915550001", "wa_id": "4915550001", "user_id": "DE.a"}],
        "messages": [{"id": "wamid.1", "message_status": "accepted"}]});
    let (address, task) = answer_once(http("200 OK", "", &body.to_string())).await;
    let outcome = send(&client(), address).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted(Accepted {
            wamid: "wamid.1".to_owned(),
            wa_id: Some("4915550001".to_owned()),
            user_id: Some("DE.a".to_owned()),
            message_status: Some("accepted".to_owned()),
        })
    );
    let request = task.await.expect("answered");
    assert!(
        request.starts_with("POST /v26.0/7001/messages HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer secret-token\r\n"),
        "{request}"
    );
    assert!(
        request.contains(r#""biz_opaque_callback_data":"attempt-1""#),
        "{request}"
    );
}

#[tokio::test]
async fn a_graph_error_is_a_refusal_whatever_the_http_status() {
    let body = json!({"error": {"message": "(#131056) pair", "type": "OAuthException",
        "code": 131_056, "error_subcode": 7, "is_transient": true, "fbtrace_id": "trace",
        "error_data": {"messaging_product": "whatsapp", "details": "slow down"}}});
    for status in ["400 Bad Request", "500 Internal Server Error", "200 OK"] {
        let outcome = outcome(http(status, "retry-after: 6\r\n", &body.to_string())).await;
        let SendOutcome::Rejected(error) = outcome else {
            panic!("{status}: {outcome:?}")
        };
        assert_eq!(error.http_status.to_string(), status[..3]);
        assert_eq!((error.code, error.subcode), (131_056, Some(7)));
        assert_eq!(error.details.as_deref(), Some("slow down"));
        assert_eq!(error.fbtrace_id.as_deref(), Some("trace"));
        assert_eq!(error.retry_after, Some(Duration::from_secs(6)));
        assert!(error.is_transient);
        assert!(matches!(
            error.rule().action,
            Action::Delay { factor: 4, .. }
        ));
    }
}

#[tokio::test]
async fn a_4xx_without_a_graph_error_is_a_refusal_without_a_code() {
    for (status, known_after) in [("404 Not Found", None), ("429 Too Many Requests", Some(9))] {
        let headers =
            known_after.map_or_else(String::new, |it: u64| format!("retry-after: {it}\r\n"));
        let outcome = outcome(http(status, &headers, "<html>no</html>")).await;
        let SendOutcome::Rejected(error) = outcome else {
            panic!("{status}: {outcome:?}")
        };
        assert_eq!(error.code, NO_CODE);
        assert_eq!(error.retry_after, known_after.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn whatever_may_have_been_taken_on_is_unknown() {
    for (name, answer) in [
        (
            "5xx of a proxy",
            http("502 Bad Gateway", "", "<html>bad gateway</html>"),
        ),
        ("408 of a proxy", http("408 Request Timeout", "", "")),
        (
            "200 that cannot be read",
            http("200 OK", "", "<html>hello</html>"),
        ),
        (
            "200 without an id",
            http("200 OK", "", r#"{"messages":[]}"#),
        ),
        (
            "200 that breaks off",
            Answer::Bytes(
                "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"messages\":[{\"id\":\"wam"
                    .to_owned(),
            ),
        ),
        ("closed after the request", Answer::Close),
        ("no HTTP", Answer::Bytes("SSH-2.0-nonsense\r\n".to_owned())),
        (
            "an endless answer",
            http("200 OK", "", &"x".repeat(300 * 1024)),
        ),
    ] {
        // What is left unread of the endless answer breaks its writer's pipe, which is its affair.
        let (address, _task) = answer_once(answer).await;
        let outcome = send(&client(), address).await;
        assert!(
            matches!(outcome, SendOutcome::Unknown { .. }),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_the_reason_names_nobody() {
    let (address, _task) = answer_once(Answer::Silence).await;
    let client = client().with_timeout(Duration::from_millis(200));
    let SendOutcome::Unknown { reason } = send(&client, address).await else {
        panic!("known")
    };
    assert!(reason.starts_with("timed out"), "{reason}");
    assert!(
        !reason.contains("7001") && !reason.contains("secret"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let outcome = send(&client(), address).await;
    assert!(
        matches!(outcome, SendOutcome::NotSent { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_built_sent_nothing() {
    let client = client();
    let good = SecretString::from("t");
    let bad = SecretString::from("line\nbreak");
    for (base_url, token) in [
        ("nonsense", &good),
        ("data:x", &good),
        ("http://127.0.0.1:9", &bad),
    ] {
        let target = Target {
            base_url,
            graph_version: "v26.0",
            phone_number_id: "7",
            token,
        };
        let outcome = client.send(target, &json!({})).await;
        let SendOutcome::NotSent { reason } = outcome else {
            panic!("{base_url}: {outcome:?}")
        };
        assert!(!reason.contains("break"), "{reason}");
    }
}

//! The calls against a socket that answers as told.

use std::{net::SocketAddr, time::Duration};

use casement_testkit::socket::{Answer, answer_once, http};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::*;
use crate::errors::{Action, NO_CODE};

fn hello() -> Value {
    let message = OutgoingMessage {
        to: Recipient::phone("+4915550001"),
        content: OutgoingContent::Text {
            body: "hello".to_owned(),
            preview_url: false,
        },
        context_wamid: None,
        callback_data: "attempt-1".to_owned(),
        messaging_account_id: None,
    };
    message.to_json().expect("valid")
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

fn target<'a>(base_url: &'a str, token: &'a SecretString) -> Target<'a> {
    Target {
        base_url,
        graph_version: "v26.0",
        phone_number_id: "7001",
        token,
    }
}

async fn send(client: &Client, address: SocketAddr) -> SendOutcome {
    let base_url = format!("http://{address}/");
    let token = SecretString::from("secret-token");
    client.send(target(&base_url, &token), &hello()).await
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

#[tokio::test]
async fn a_message_is_marked_as_read_with_or_without_typing() {
    for (typing, shown) in [
        (
            false,
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1"}),
        ),
        (
            true,
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1",
                "typing_indicator": {"type": "text"}}),
        ),
    ] {
        let (address, task) = answer_once(http("200 OK", "", r#"{"success": true}"#)).await;
        let base_url = format!("http://{address}");
        let token = SecretString::from("secret-token");
        let read = MarkAsRead {
            message_id: "wamid.1".to_owned(),
            typing,
        };
        let outcome = client()
            .mark_as_read(target(&base_url, &token), &read)
            .await;
        assert_eq!(outcome, Outcome::Accepted(()));
        let request = task.await.expect("answered");
        assert!(
            request.starts_with("POST /v26.0/7001/messages HTTP/1.1\r\n"),
            "{request}"
        );
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), shown);
    }
}

#[tokio::test]
async fn only_a_success_marks_as_read() {
    for body in [r#"{"success": false}"#, "{}"] {
        let (address, _task) = answer_once(http("200 OK", "", body)).await;
        let base_url = format!("http://{address}");
        let token = SecretString::from("secret-token");
        let read = MarkAsRead {
            message_id: "wamid.1".to_owned(),
            typing: false,
        };
        let outcome = client()
            .mark_as_read(target(&base_url, &token), &read)
            .await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    }
}

/// Uploads chunks as a file of so many bytes.
async fn upload(address: SocketAddr, size_bytes: u64, chunks: &[&'static str]) -> Outcome<String> {
    let base_url = format!("http://{address}");
    let token = SecretString::from("secret-token");
    let (sender, receiver) = tokio::sync::mpsc::channel(chunks.len().max(1));
    for chunk in chunks {
        let sent = sender
            .send(bytes::Bytes::from_static(chunk.as_bytes()))
            .await;
        sent.expect("there is room");
    }
    drop(sender);
    let file = File {
        mime_type: "text/plain",
        size_bytes,
    };
    client()
        .upload(target(&base_url, &token), &file, receiver)
        .await
}

#[tokio::test]
async fn a_file_is_uploaded_as_a_form_of_known_length() {
    let (address, task) = answer_once(http("200 OK", "", r#"{"id": "4711"}"#)).await;
    let outcome = upload(address, 10, &["hello", "world"]).await;
    assert_eq!(outcome, Outcome::Accepted("4711".to_owned()));
    let request = task.await.expect("answered");
    assert!(
        request.starts_with("POST /v26.0/7001/media HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer secret-token\r\n"),
        "{request}"
    );
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{request}"
    );
    let (_, boundary) = head
        .split_once("multipart/form-data; boundary=")
        .expect("a boundary");
    let boundary = boundary.lines().next().expect("a line");
    let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
    assert_eq!(
        parts,
        [
            "",
            "\r\ncontent-disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n",
            "\r\ncontent-disposition: form-data; name=\"type\"\r\n\r\ntext/plain\r\n",
            "\r\ncontent-disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             content-type: text/plain\r\n\r\nhelloworld\r\n",
            "--\r\n",
        ]
    );
}

#[tokio::test]
async fn a_file_that_is_not_as_large_as_was_said_is_no_upload() {
    for (size_bytes, chunks) in [(11, ["hello", "world"]), (9, ["hello", "world"])] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut bytes = Vec::new();
            let _ = socket.read_to_end(&mut bytes).await;
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let outcome = upload(address, size_bytes, &chunks).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        let request = task.await.expect("read");
        assert!(!request.ends_with("--\r\n"), "{request}");
    }
}

#[test]
fn what_may_be_uploaded_is_known_by_type() {
    for (mime_type, bytes_max) in [
        ("image/jpeg", Some(5 << 20)),
        ("IMAGE/PNG", Some(5 << 20)),
        ("image/webp", Some(500 << 10)),
        ("image/gif", None),
        ("audio/ogg; codecs=opus", Some(16 << 20)),
        ("video/mp4", Some(16 << 20)),
        ("application/pdf", Some(100 << 20)),
        ("application/zip", None),
        ("", None),
    ] {
        assert_eq!(upload_bytes_max(mime_type), bytes_max, "{mime_type}");
    }
}

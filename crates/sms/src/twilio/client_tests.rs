//! Requests against Twilio's limits, and the call against a socket that answers as told.

use casement_testkit::socket::{Answer, answer_once, http};
use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use tokio::net::TcpListener;

use super::{errors::Action, *};
use crate::outcome::{Accepted, Outcome};
use crate::socket::http_client;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn sms() -> SmsRequest {
    SmsRequest {
        to: "+4915550001".to_owned(),
        from: Sender::parse("+49305550100"),
        body: "hello & goodbye".to_owned(),
        status_callback: None,
        validity_seconds: None,
    }
}

#[test]
fn what_breaks_a_limit_is_named_by_its_field() {
    for (request, field) in [
        (sms(), None),
        (
            SmsRequest {
                to: "4915550001".to_owned(),
                ..sms()
            },
            Some("to"),
        ),
        (
            SmsRequest {
                to: "+49 1".to_owned(),
                ..sms()
            },
            Some("to"),
        ),
        (
            SmsRequest {
                to: "+1234567890123456".to_owned(),
                ..sms()
            },
            Some("to"),
        ),
        (
            SmsRequest {
                from: Sender::Number(String::new()),
                ..sms()
            },
            Some("from"),
        ),
        (
            SmsRequest {
                body: "ä".repeat(1600),
                ..sms()
            },
            None,
        ),
        (
            SmsRequest {
                body: "ä".repeat(1601),
                ..sms()
            },
            Some("body"),
        ),
        (
            SmsRequest {
                body: " ".to_owned(),
                ..sms()
            },
            Some("body"),
        ),
        (
            SmsRequest {
                validity_seconds: Some(36_000),
                ..sms()
            },
            None,
        ),
        (
            SmsRequest {
                validity_seconds: Some(0),
                ..sms()
            },
            Some("validity_seconds"),
        ),
        (
            SmsRequest {
                validity_seconds: Some(36_001),
                ..sms()
            },
            Some("validity_seconds"),
        ),
    ] {
        assert_eq!(
            request.check().err().map(|error| error.field),
            field,
            "{request:?}"
        );
    }
}

#[test]
fn a_messaging_service_is_told_by_its_sid() {
    let service = format!("MG{}", "0a".repeat(16));
    assert_eq!(
        Sender::parse(&service),
        Sender::MessagingService(service.clone())
    );
    for number in ["+49305550100", "MGM", "MG0a", "Brand"] {
        assert_eq!(Sender::parse(number), Sender::Number(number.to_owned()));
    }
}

fn client(address: SocketAddr) -> Client {
    let credentials = Credentials {
        base_url: format!("http://{address}"),
        account_sid: "AC1".to_owned(),
        auth_token: SecretString::from("secret-token"),
    };
    Client::new(http_client(), credentials).with_timeout(Duration::from_secs(10))
}

async fn outcome(answer: Answer) -> Outcome {
    let (address, _task) = answer_once(answer).await;
    client(address).send(&sms()).await
}

#[tokio::test]
async fn an_accepted_sms_returns_its_sid_and_segments() {
    for (body, segments) in [
        (
            r#"{"sid":"SM1","status":"queued","num_segments":"2","error_code":null}"#,
            Some(2),
        ),
        (
            r#"{"sid":"SM1","status":"queued","num_segments":"0"}"#,
            None,
        ),
        (
            r#"{"sid":"SM1","status":"queued","num_segments":1}"#,
            Some(1),
        ),
        (r#"{"sid":"SM1"}"#, None),
    ] {
        let accepted = Accepted {
            id: "SM1".to_owned(),
            status: "queued".to_owned(),
            segments,
        };
        assert_eq!(
            outcome(http("201 Created", "", body)).await,
            Outcome::Accepted(accepted)
        );
    }
}

#[tokio::test]
async fn the_request_is_a_form_with_basic_authorization() {
    let (address, task) = answer_once(http("201 Created", "", r#"{"sid":"SM1"}"#)).await;
    let service = format!("MG{}", "0a".repeat(16));
    let sms = SmsRequest {
        from: Sender::parse(&service),
        status_callback: Some("https://brand.example/cb?a=1".to_owned()),
        validity_seconds: Some(600),
        ..sms()
    };
    assert!(matches!(
        client(address).send(&sms).await,
        Outcome::Accepted(_)
    ));
    let request = task.await.expect("answered");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("authorization: Basic QUMxOnNlY3JldC10b2tlbg=="),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/x-www-form-urlencoded"),
        "{head}"
    );
    let sent: Vec<(String, String)> = serde_urlencoded::from_str(body).expect("a form");
    assert_eq!(
        sent,
        pairs(&[
            ("To", "+4915550001"),
            ("Body", "hello & goodbye"),
            ("MessagingServiceSid", &service),
            ("StatusCallback", "https://brand.example/cb?a=1"),
            ("ValidityPeriod", "600"),
        ])
    );
}

#[tokio::test]
async fn a_refusal_carries_twilios_code_and_what_to_do() {
    let ambiguous = Action::Retry { ambiguous: true };
    let retry = Action::Retry { ambiguous: false };
    for (status, body, code, action) in [
        (
            "400 Bad Request",
            r#"{"code":21610,"message":"m","status":400}"#,
            Some(21_610),
            Action::OptOut,
        ),
        (
            "400 Bad Request",
            r#"{"code":21211,"message":"m"}"#,
            Some(21_211),
            Action::Unreachable,
        ),
        (
            "401 Unauthorized",
            r#"{"code":20003,"message":"m"}"#,
            Some(20_003),
            Action::Halt,
        ),
        ("404 Not Found", "<html>m</html>", None, Action::NextGateway),
        (
            "429 Too Many Requests",
            r#"{"code":20429,"message":"m"}"#,
            Some(20_429),
            retry,
        ),
        (
            "503 Service Unavailable",
            r#"{"code":20503,"message":"m"}"#,
            Some(20_503),
            retry,
        ),
        (
            "500 Internal Server Error",
            r#"{"code":20500,"message":"m"}"#,
            Some(20_500),
            ambiguous,
        ),
    ] {
        let outcome = outcome(http(status, "retry-after: 3\r\n", body)).await;
        let Outcome::Rejected(rejected) = outcome else {
            panic!("{status}: {outcome:?}")
        };
        assert_eq!(rejected.http_status.to_string(), status[..3]);
        assert_eq!(rejected.code, code, "{status}");
        assert_eq!(rejected.rule.action, action, "{status}");
        assert_eq!(rejected.retry_after, Some(Duration::from_secs(3)));
        assert_eq!(rejected.message == "m", code.is_some());
    }
}

#[tokio::test]
async fn whatever_may_have_been_taken_on_is_unknown() {
    for (name, answer) in [
        (
            "5xx of a proxy",
            http("502 Bad Gateway", "", "<html>bad gateway</html>"),
        ),
        ("408 of a proxy", http("408 Request Timeout", "", "{}")),
        (
            "201 that cannot be read",
            http("201 Created", "", "<html>hello</html>"),
        ),
        (
            "201 without a sid",
            http("201 Created", "", r#"{"status":"queued"}"#),
        ),
        (
            "201 that breaks off",
            Answer::Bytes(
                "HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{\"sid\":\"SM".to_owned(),
            ),
        ),
        ("closed after the request", Answer::Close),
    ] {
        let outcome = outcome(answer).await;
        assert!(
            matches!(outcome, Outcome::Unknown { .. }),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_the_reason_names_nobody() {
    let (address, _task) = answer_once(Answer::Silence).await;
    let client = client(address).with_timeout(Duration::from_millis(200));
    let Outcome::Unknown { reason } = client.send(&sms()).await else {
        panic!("known")
    };
    assert!(reason.starts_with("timed out"), "{reason}");
    assert!(
        !reason.contains("AC1") && !reason.contains("secret"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_refused_connection_or_request_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let outcome = client(address).send(&sms()).await;
    assert!(matches!(outcome, Outcome::NotSent { .. }), "{outcome:?}");
    let outcome = client(address)
        .send(&SmsRequest {
            body: String::new(),
            ..sms()
        })
        .await;
    assert!(matches!(outcome, Outcome::NotSent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_account_is_read_with_its_credentials_and_nothing_is_sent() {
    let body = r#"{"sid":"AC1","status":"active","type":"Trial","auth_token":"secret-token"}"#;
    let (address, task) = answer_once(http("200 OK", "", body)).await;
    let account = client(address).account().await.expect("an account");
    let request = task.await.expect("answered");
    assert!(request.starts_with("GET /2010-04-01/Accounts/AC1.json HTTP/1.1\r\n"));
    assert!(request.contains("authorization: Basic QUMxOnNlY3JldC10b2tlbg=="));
    assert_eq!(
        account,
        Account {
            status: "active".to_owned(),
            kind: "Trial".to_owned(),
        }
    );
}

#[tokio::test]
async fn credentials_that_are_refused_and_answers_that_are_none_are_told_apart() {
    let refusal = r#"{"code":20003,"message":"Authenticate","status":401}"#;
    let (address, _task) = answer_once(http("401 Unauthorized", "", refusal)).await;
    match client(address).account().await {
        Err(AccountError::Rejected(rejected)) => {
            assert_eq!((rejected.http_status, rejected.code), (401, Some(20_003)));
        }
        other => panic!("{other:?}"),
    }
    for answer in [http("200 OK", "", "<html>"), Answer::Close] {
        let (address, _task) = answer_once(answer).await;
        match client(address).account().await {
            Err(AccountError::NoAnswer { reason }) => {
                assert!(
                    !reason.contains("AC1") && !reason.contains("secret"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

//! The call against a socket that answers as told, and against the simulator's Vonage.

use casement_testkit::socket::{Answer, answer_once, http};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use casement_simulator::{
    Channel, Config, Fault, FaultSpec, Running, Simulator, Status, VONAGE_PRIVATE_KEY, VonageConfig,
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::*;
use crate::errors::Action;
use crate::outcome::{Accepted, Outcome};
use crate::socket::http_client;

const REFERENCE: &str = "15550001111-0190.1";

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn sms() -> SmsRequest {
    SmsRequest {
        to: "+4915550001".to_owned(),
        from: "+49305550100".to_owned(),
        text: "hello & goodbye".to_owned(),
        reference: REFERENCE.to_owned(),
        status_callback: None,
    }
}

fn client_with(base_url: String, private_key: &str) -> Client {
    let credentials = Credentials {
        base_url,
        application_id: VonageConfig::default().application_id,
        private_key: SecretString::from(private_key),
    };
    Client::new(http_client(), credentials).with_timeout(Duration::from_secs(10))
}

fn client(address: SocketAddr) -> Client {
    client_with(format!("http://{address}"), VONAGE_PRIVATE_KEY)
}

async fn outcome(answer: Answer) -> Outcome {
    let (address, _task) = answer_once(answer).await;
    client(address).send(&sms(), now()).await
}

async fn platform() -> Running {
    let mut config = Config::new(Arc::new(now));
    config.vonage.senders = vec!["+49305550100".to_owned()];
    Simulator::start(config).await.expect("a simulator")
}

#[tokio::test]
async fn an_application_proves_itself_and_its_reference_is_kept() {
    let platform = platform().await;
    let client = client(platform.addr());
    let Outcome::Accepted(accepted) = client.send(&sms(), now()).await else {
        panic!("not accepted")
    };
    let sent = platform.handle().sent().remove(0);
    assert_eq!(sent.channel, Channel::Vonage);
    assert_eq!(sent.id.as_deref(), Some(accepted.id.as_str()));
    assert_eq!(sent.to.as_deref(), Some("4915550001"));
    assert_eq!(sent.text, "hello & goodbye");
    assert_eq!(sent.callback_data.as_deref(), Some(REFERENCE));
    platform.stop().await;
}

#[tokio::test]
async fn a_status_that_vonage_posts_is_read_with_our_reference() {
    use crate::webhook::{Delivery, Webhook};
    let mut config = Config::new(Arc::new(now));
    let (hook, posted) = answer_once(http("200 OK", "", "{}")).await;
    config.auto_status = casement_simulator::AutoStatus::none();
    let account = config.vonage.clone();
    let platform = Simulator::start(config).await.expect("a simulator");
    let sms = SmsRequest {
        status_callback: Some(format!("http://{hook}/webhooks/vonage")),
        ..sms()
    };
    let Outcome::Accepted(accepted) = client(platform.addr()).send(&sms, now()).await else {
        panic!("not accepted")
    };
    platform
        .handle()
        .report_failed(&accepted.id, 1_180)
        .unwrap();
    let post = posted.await.expect("a webhook");
    let (head, body) = post.split_once("\r\n\r\n").expect("a head");
    let header = head
        .lines()
        .find_map(|line| line.strip_prefix("authorization: "));
    let account = signature::Account {
        secrets: vec![account.signature_secret],
        api_key: Some(account.api_key),
        application_id: Some(account.application_id),
        tolerance: signature::DEFAULT_TOLERANCE,
    };
    assert_eq!(
        signature::verify(&account, body.as_bytes(), header, now()),
        Ok(())
    );
    let Ok(Webhook::Report(report)) = callback::parse(body.as_bytes()) else {
        panic!("no report: {body}")
    };
    assert_eq!(report.id, accepted.id);
    assert_eq!(report.delivery, Some(Delivery::Failed));
    assert_eq!(report.failure.expect("a failure").code, 1_180);
    assert_eq!(report.reference.as_deref(), Some(REFERENCE));
    platform.stop().await;
}

#[tokio::test]
async fn what_vonage_refuses_comes_with_its_code_and_what_to_do() {
    let platform = platform().await;
    let handle = platform.handle();
    let refused = async |request: SmsRequest, key: &str| {
        let client = client_with(platform.base_url(), key);
        match client.send(&request, now()).await {
            Outcome::Rejected(rejected) => (rejected.http_status, rejected.rule.action),
            other => panic!("{other:?}"),
        }
    };
    let stranger = SmsRequest {
        from: "ACME".to_owned(),
        ..sms()
    };
    assert_eq!(
        refused(stranger, VONAGE_PRIVATE_KEY).await,
        (422, Action::NextGateway)
    );
    for (code, expected) in [
        (1_000, (429, Action::Retry { ambiguous: false })),
        (1_070, (402, Action::Halt)),
        (1_240, (422, Action::OptOut)),
        (1_190, (422, Action::Unreachable)),
    ] {
        handle.inject(FaultSpec::from(Fault::GraphError { code }).times(1));
        assert_eq!(refused(sms(), VONAGE_PRIVATE_KEY).await, expected, "{code}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn a_token_out_of_its_time_or_of_another_application_is_refused() {
    let platform = platform().await;
    let late = now()
        .checked_sub(jiff::SignedDuration::from_hours(1))
        .unwrap();
    let of_another = Credentials {
        base_url: platform.base_url(),
        application_id: "another".to_owned(),
        private_key: SecretString::from(VONAGE_PRIVATE_KEY),
    };
    for (client, at) in [
        (client(platform.addr()), late),
        (Client::new(http_client(), of_another), now()),
    ] {
        match client.send(&sms(), at).await {
            Outcome::Rejected(rejected) => {
                assert_eq!((rejected.http_status, rejected.code), (401, Some(1_110)));
                assert_eq!(rejected.rule.action, Action::Halt);
            }
            other => panic!("{other:?}"),
        }
    }
    platform.stop().await;
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_refused_before_anything_is_sent() {
    for key in [
        "",
        "no key",
        VONAGE_PRIVATE_KEY.trim_end_matches('\n').split_at(900).0,
    ] {
        let client = client_with("http://127.0.0.1:9".to_owned(), key);
        match client.send(&sms(), now()).await {
            Outcome::Rejected(rejected) => {
                assert_eq!(
                    (rejected.http_status, rejected.rule.action),
                    (0, Action::Halt)
                );
                assert!(!rejected.message.contains("BEGIN"), "{}", rejected.message);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_body_says_the_encoding_that_we_count_by() {
    for (text, encoding) in [("plain", "text"), ("it’s", "unicode")] {
        let answer = http("202 Accepted", "", r#"{"message_uuid":"u"}"#);
        let (address, task) = answer_once(answer).await;
        let sms = SmsRequest {
            text: text.to_owned(),
            status_callback: Some("https://brand.example/webhooks/vonage".to_owned()),
            ..sms()
        };
        let outcome = client(address).send(&sms, now()).await;
        let accepted = Accepted {
            id: "u".to_owned(),
            status: "submitted".to_owned(),
            segments: None,
        };
        assert_eq!(outcome, Outcome::Accepted(accepted));
        let request = task.await.expect("answered");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer ey"), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["sms"]["encoding_type"], encoding);
        assert_eq!(body["to"], "4915550001");
        assert_eq!(body["webhook_url"], "https://brand.example/webhooks/vonage");
    }
}

#[tokio::test]
async fn whatever_may_have_been_taken_on_is_unknown() {
    for (name, answer) in [
        ("5xx of a proxy", http("502 Bad Gateway", "", "<html>")),
        (
            "5xx of Vonage without a code",
            http(
                "500 Internal Server Error",
                "",
                r#"{"title":"Internal error"}"#,
            ),
        ),
        ("408 of a proxy", http("408 Request Timeout", "", "{}")),
        ("202 without an id", http("202 Accepted", "", "{}")),
        ("closed after the request", Answer::Close),
    ] {
        let outcome = outcome(answer).await;
        assert!(
            matches!(outcome, Outcome::Unknown { .. }),
            "{name}: {outcome:?}"
        );
    }
    let platform = platform().await;
    let handle = platform.handle();
    handle.inject(FaultSpec::from(Fault::TimeoutAfterAcceptance).on(Channel::Vonage));
    let hurried = client(platform.addr()).with_timeout(Duration::from_millis(300));
    let outcome = hurried.send(&sms(), now()).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert!(handle.sent()[0].is_accepted(), "it went out all the same");
    assert!(!handle.sent()[0].was_reported(Status::Failed));
    platform.stop().await;
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
                from: " ".to_owned(),
                ..sms()
            },
            Some("from"),
        ),
        (
            SmsRequest {
                text: "ä".repeat(1_000),
                ..sms()
            },
            None,
        ),
        (
            SmsRequest {
                text: "ä".repeat(1_001),
                ..sms()
            },
            Some("text"),
        ),
        (
            SmsRequest {
                reference: "x".repeat(101),
                ..sms()
            },
            Some("reference"),
        ),
    ] {
        assert_eq!(request.check().err().map(|error| error.field), field);
    }
}

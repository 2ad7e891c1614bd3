//! The call against a socket that answers as told, and against the simulator's gateway.

use casement_testkit::socket::{Answer, answer_once, http};
use std::sync::Arc;
use std::time::Duration;

use casement_simulator::{Channel, Config, Fault, FaultSpec, GENERIC_PATH, Running, Simulator};
use jiff::Timestamp;
use secrecy::SecretString;

use super::*;
use crate::config::{CodeLists, Format, GenericGateway};
use crate::errors::Action;
use crate::outcome::Outcome;
use crate::socket::http_client;

const REFERENCE: &str = "15550001111-0190.1";

fn sms() -> SmsRequest {
    SmsRequest {
        to: "+4915550001".to_owned(),
        from: "ACME".to_owned(),
        text: "\"hello\" & {{to}}".to_owned(),
        reference: REFERENCE.to_owned(),
        callback_url: String::new(),
    }
}

fn settings(base_url: &str) -> GenericGateway {
    GenericGateway {
        url: format!("{base_url}{GENERIC_PATH}"),
        method: "POST".to_owned(),
        headers: [].into(),
        idempotency_header: Some("Idempotency-Key".to_owned()),
        body: r#"{"recipient": "{{to}}", "originator": "{{from}}", "content": "{{text}}", "ref": "{{reference}}"}"#
            .to_owned(),
        format: Format::Json,
        text_chars_max: 765,
        callback_url: String::new(),
        id: "/result/id".to_owned(),
        success: String::new(),
        success_is: Vec::new(),
        error_code: "/fault/code".to_owned(),
        error_text: "/fault/text".to_owned(),
        retry_statuses: vec![429, 503],
        refuse_statuses: Vec::new(),
        codes: CodeLists {
            unreachable: vec![11],
            fail: vec![13],
            opt_out: vec![14],
            halt: vec![1],
            ..CodeLists::default()
        },
    }
}

fn headers(key: &str) -> Vec<(String, SecretString)> {
    vec![("x-api-key".to_owned(), SecretString::from(key))]
}

fn client() -> Client {
    Client::new(http_client()).with_timeout(Duration::from_secs(10))
}

async fn platform() -> Running {
    let clock = Arc::new(|| Timestamp::from_second(1_795_341_600).expect("an instant"));
    let config = Config::new(clock);
    Simulator::start(config).await.expect("a simulator")
}

async fn send(settings: &GenericGateway, key: &str, sms: &SmsRequest) -> Outcome {
    let plan = settings.plan().expect("fit settings");
    client().send(&plan, &headers(key), sms).await
}

#[tokio::test]
async fn a_request_is_made_by_its_template_in_either_form() {
    let platform = platform().await;
    let form = GenericGateway {
        format: Format::Form,
        body: "recipient={{to}}&originator={{from}}&content={{text}}&ref={{reference}}".to_owned(),
        ..settings(&platform.base_url())
    };
    for (settings, reference) in [(settings(&platform.base_url()), "m.1"), (form, "m.2")] {
        let sms = SmsRequest {
            reference: reference.to_owned(),
            ..sms()
        };
        let Outcome::Accepted(accepted) = send(&settings, "demo-gateway-key", &sms).await else {
            panic!("not accepted")
        };
        let sent = platform.handle().sent().pop().expect("a message");
        assert_eq!(sent.channel, Channel::Generic);
        assert_eq!(sent.id, Some(accepted.id));
        assert_eq!(sent.text, "\"hello\" & {{to}}");
        assert_eq!(sent.callback_data.as_deref(), Some(reference));
    }
    platform.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_is_the_attempts_own() {
    let platform = platform().await;
    let settings = settings(&platform.base_url());
    let ids: Vec<String> = [
        send(&settings, "demo-gateway-key", &sms()).await,
        send(&settings, "demo-gateway-key", &sms()).await,
    ]
    .into_iter()
    .map(|outcome| match outcome {
        Outcome::Accepted(accepted) => accepted.id,
        other => panic!("{other:?}"),
    })
    .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(platform.handle().sent().len(), 1);
    platform.stop().await;
}

#[tokio::test]
async fn what_it_refuses_is_told_by_code_or_else_by_status() {
    let platform = platform().await;
    let settings = settings(&platform.base_url());
    let handle = platform.handle();
    let retry = Action::Retry { ambiguous: false };
    for (code, status, action) in [
        (11, 400, Action::Unreachable),
        (12, 400, Action::NextGateway),
        (13, 400, Action::Fail),
        (14, 400, Action::OptOut),
        (1, 401, Action::Halt),
        (20, 429, retry),
        (21, 503, retry),
    ] {
        handle.inject(FaultSpec::from(Fault::GraphError { code }).times(1));
        match send(&settings, "demo-gateway-key", &sms()).await {
            Outcome::Rejected(rejected) => {
                assert_eq!(rejected.http_status, status, "{code}");
                assert_eq!((rejected.code, rejected.rule.action), (Some(code), action));
            }
            other => panic!("{code}: {other:?}"),
        }
    }
    match send(&settings, "wrong", &sms()).await {
        Outcome::Rejected(rejected) => assert_eq!(rejected.rule.action, Action::Halt),
        other => panic!("{other:?}"),
    }
    platform.stop().await;
}

#[tokio::test]
async fn whatever_may_have_been_taken_on_is_unknown() {
    for (name, answer) in [
        (
            "5xx that is not listed",
            http("500 Internal Server Error", "", "{}"),
        ),
        ("200 without an id", http("200 OK", "", r#"{"result":{}}"#)),
        ("200 that is no JSON", http("200 OK", "", "OK")),
        ("closed after the request", Answer::Close),
    ] {
        let (address, _task) = answer_once(answer).await;
        let outcome = send(&settings(&format!("http://{address}")), "k", &sms()).await;
        assert!(
            matches!(outcome, Outcome::Unknown { .. }),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_says_no_in_its_body_is_a_refusal() {
    let told = async |body: &str, id: &str| {
        let (address, _task) = answer_once(http("200 OK", "", body)).await;
        let settings = GenericGateway {
            success: "/status".to_owned(),
            success_is: vec!["0".to_owned()],
            error_code: "/status".to_owned(),
            id: id.to_owned(),
            ..settings(&format!("http://{address}"))
        };
        send(&settings, "k", &sms()).await
    };
    match told(r#"{"status":"0","result":{"id":7}}"#, "/result/id").await {
        Outcome::Accepted(accepted) => assert_eq!(accepted.id, "7"),
        other => panic!("{other:?}"),
    }
    // Without an id of its own it is known by ours.
    match told(r#"{"status":0}"#, "").await {
        Outcome::Accepted(accepted) => assert_eq!(accepted.id, REFERENCE),
        other => panic!("{other:?}"),
    }
    match told(r#"{"status":"14"}"#, "").await {
        Outcome::Rejected(rejected) => assert_eq!(rejected.rule.action, Action::OptOut),
        other => panic!("{other:?}"),
    }
    assert!(matches!(told("{}", "").await, Outcome::Unknown { .. }));
}

#[tokio::test]
async fn a_get_has_everything_in_its_address_and_secrets_only_in_headers() {
    let (address, task) = answer_once(http("200 OK", "", r#"{"result":{"id":"a"}}"#)).await;
    let settings = GenericGateway {
        url: format!(
            "http://{address}/send/{{{{reference}}}}?to={{{{to_digits}}}}&m={{{{text}}}}&n={{{{segments}}}}&e={{{{encoding}}}}"
        ),
        method: "GET".to_owned(),
        body: String::new(),
        ..settings("")
    };
    let outcome = send(&settings, "whisper", &sms()).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    let request = task.await.expect("answered");
    let expected = "GET /send/15550001111%2D0190%2E1?to=4915550001&m=%22hello%22%20%26%20%7B%7Bto\
                    %7D%7D&n=1&e=gsm7 HTTP/1.1\r\n";
    assert!(request.starts_with(expected), "{request}");
    assert!(request.contains("x-api-key: whisper\r\n"), "{request}");
    assert!(
        request.contains(&format!("idempotency-key: {REFERENCE}\r\n")),
        "{request}"
    );
}

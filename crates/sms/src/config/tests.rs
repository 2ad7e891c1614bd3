//! The section as it is written.

use casement_domain::id::{BusinessNumber, Phone};

use super::*;
use crate::errors::Action;

const GOOD: &str = r#"{
    "gateways": {
        "main": { "kind": "twilio", "account_sid": "AC1", "auth_token": "hush" },
        "spare": { "kind": "vonage", "application_id": "app", "private_key": { "file": "key.pem" } },
        "acme": {
            "kind": "generic",
            "url": "https://sms.acme.example/send?ref={{reference}}",
            "headers": { "authorization": "whisper" },
            "body": "{\"to\": \"{{ to_digits }}\", \"from\": \"{{from}}\", \"text\": \"{{text}}\"}",
            "id": "/id",
            "codes": { "opt_out": [7], "unreachable": [8] }
        }
    },
    "senders": { "1": [{ "gateway": "main", "sender": "MG1" }], "*": [{ "gateway": "acme", "sender": "ACME" }] },
    "numbers": { "15550001111": { "senders": { "49": [
        { "gateway": "number" }, { "gateway": "spare", "sender": "+49305550100" }
    ] } } }
}"#;

fn read(json: &str) -> Result<Config, serde_json::Error> {
    serde_json::from_str(json)
}

fn problems(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
    change(&mut value);
    match read(&value.to_string()) {
        Ok(config) => config.problems().join("; "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_section_reads_and_shows_no_secret() {
    let config = read(GOOD).unwrap();
    assert_eq!(config.problems(), Vec::<String>::new());
    let number = BusinessNumber::parse("15550001111").unwrap();
    let to = Phone::parse("491512345678").unwrap();
    let senders = config.senders();
    let ways = senders.find(&number, &to).unwrap();
    let names: Vec<&str> = ways.iter().map(|way| way.gateway.as_str()).collect();
    assert_eq!(names, [OWN, "spare"]);
    let secrets: Vec<String> = config
        .gateways
        .values()
        .flat_map(|gateway| gateway.secrets().into_iter().map(|(key, _)| key))
        .collect();
    assert_eq!(
        secrets,
        ["headers.authorization", "auth_token", "private_key"]
    );
    let printed = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(
        !printed.contains("hush") && !printed.contains("whisper"),
        "{printed}"
    );
    let again = read(&serde_json::to_string(&Config::default()).unwrap()).unwrap();
    assert!(again.gateways.is_empty());
}

#[test]
fn what_does_not_fit_is_named_with_its_key() {
    use serde_json::json;
    let acme = |key: &'static str, to: serde_json::Value| {
        move |all: &mut serde_json::Value| all["gateways"]["acme"][key] = to
    };
    for (told, found) in [
        (
            "unknown variant `x`",
            problems(|all| all["gateways"]["main"]["kind"] = json!("x")),
        ),
        (
            "unknown field `port`",
            problems(|all| all["gateways"]["main"]["port"] = json!(1)),
        ),
        (
            "there is no `sms.gateways.gone`",
            problems(|all| {
                all["senders"]["44"] = json!([{ "gateway": "gone", "sender": "A" }]);
            }),
        ),
        (
            "`main` has no `sender`",
            problems(|all| {
                all["senders"]["44"] = json!([{ "gateway": "main" }]);
            }),
        ),
        (
            "stands there twice",
            problems(|all| {
                let main = json!({ "gateway": "main", "sender": "A" });
                all["senders"]["44"] = json!([main, main]);
            }),
        ),
        (
            "`sms.senders.44`: nobody sends",
            problems(|all| all["senders"]["44"] = json!([])),
        ),
        (
            "write the digits",
            problems(|all| {
                all["senders"]["+44"] = json!([{ "gateway": "main", "sender": "A" }]);
            }),
        ),
        (
            "without the plus",
            problems(|all| all["numbers"]["+1"] = json!({})),
        ),
        (
            "the name stands for something else",
            problems(|all| {
                all["gateways"]["vonage"] = all["gateways"]["main"].clone();
            }),
        ),
        (
            "lower-case letters",
            problems(|all| {
                all["gateways"]["Main"] = all["gateways"]["main"].clone();
            }),
        ),
        (
            "a host without places",
            problems(acme("url", json!("https://{{to}}.example/?{{text}}"))),
        ),
        ("POST, PUT or GET", problems(acme("method", json!("post")))),
        ("a GET has none", problems(acme("method", json!("GET")))),
        (
            "body is no JSON",
            problems(acme("body", json!("to={{to}}"))),
        ),
        (
            "has the place `{{text}}`",
            problems(acme("body", json!("{\"to\": \"{{to}}\"}"))),
        ),
        (
            "`{{phone}}` is no place",
            problems(acme("body", json!("[\"{{phone}}\"]"))),
        ),
        ("begin it with a slash", problems(acme("id", json!("id")))),
        (
            "belongs with `success`",
            problems(acme("success", json!("/ok"))),
        ),
        (
            "HTTP status 200 cannot refuse",
            problems(acme("retry_statuses", json!([200]))),
        ),
        (
            "no name of a header",
            problems(acme("idempotency_header", json!("a b"))),
        ),
    ] {
        assert!(found.contains(told), "{told}: {found}");
    }
}

#[test]
fn a_code_means_what_its_gateway_says() {
    let config = read(GOOD).unwrap();
    let action = |provider, code| config.rule(provider, code).action;
    assert_eq!(action("acme", 7), Action::OptOut);
    assert_eq!(action("acme", 8), Action::Unreachable);
    assert_eq!(action("acme", 9), Action::NextGateway);
    assert_eq!(action("twilio", 30_006), Action::Unreachable);
    assert_eq!(action("", 21_610), Action::OptOut);
    assert_eq!(action("vonage", 1_240), Action::OptOut);
}

#[test]
fn a_sender_is_known_by_the_numbers_that_use_it() {
    let config = read(GOOD).unwrap();
    for (number, sender, account, expected) in [
        ("15550001111", "49305550100", None, true),
        ("15550001111", "+49305550100", None, true),
        ("15550003333", "49305550100", None, false),
        ("15550003333", "ACME", None, true),
        ("15550003333", "+12025550123", Some("AC1"), true),
        ("15550003333", "+12025550123", Some("AC2"), false),
        ("15550003333", "+12025550123", None, false),
        ("15550001111", "", None, false),
    ] {
        let is_one = config.is_sender_of(number, sender, account);
        assert_eq!(is_one, expected, "{number} {sender} {account:?}");
    }
}

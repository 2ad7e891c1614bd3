//! The gRPC client examples do what they show: ask, send, look back, and read an error.

use std::collections::BTreeSet;
use std::process::Command;

use casement_tests::{API_TOKEN, NUMBER, Role, Stack, node_client, python_client};
use serde_json::Value;
use tempfile::TempDir;

const CUSTOMER: &str = "+15550002222";
const STRANGER: &str = "+15550003333";

#[tokio::test]
async fn the_client_in_python_asks_sends_and_looks_back() {
    asks_sends_and_looks_back(python_client).await;
}

#[tokio::test]
async fn the_client_in_node_asks_sends_and_looks_back() {
    asks_sends_and_looks_back(node_client).await;
}

async fn asks_sends_and_looks_back(example: fn() -> Command) {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let api = Api::of(&stack);
    let customer = stack.customer(CUSTOMER);
    let wamid = stack.says(&customer, "Hello");
    stack.clients().open_window(CUSTOMER).await;

    // Into an open window, free-form.
    let told = call(example(), &api, CUSTOMER, &["--request-id", "order-1"]).await;
    let window = &told[0]["window"];
    assert_eq!(window["state"], "WINDOW_STATE_OPEN");
    assert_eq!(window["freeFormAllowed"], true);
    assert_eq!(window["lastInboundMessageId"], wamid.as_str());
    let message = &told[1]["message"];
    let id = message["messageId"].as_str().unwrap();
    assert_eq!(
        message["attempts"][0]["route"], "ROUTE_FREE_FORM",
        "{message}"
    );
    // At least what had happened when SendMessage answered, in order.
    let names: Vec<&str> = told[2..].iter().map(event_name).collect();
    assert_eq!(names[..2], ["MessageRequested", "AttemptStarted"]);
    for event in &told[2..] {
        assert!(event["event"]["subject"].as_str().unwrap().ends_with(id));
    }
    assert_eq!(stack.simulator.sent_count(), 1);

    // The same request again is the same message, and is not sent again.
    let again = call(example(), &api, CUSTOMER, &["--request-id", "order-1"]).await;
    assert_eq!(again[1]["message"]["messageId"], id);
    let ended = stack.clients().ended(id).await;
    assert_eq!(ended.attempts.len(), 1);
    assert_eq!(stack.simulator.sent_count(), 1);

    // To somebody who never wrote, by SMS.
    stack.customer(STRANGER);
    let told = call(example(), &api, STRANGER, &[]).await;
    assert_eq!(
        told[0]["window"]["closedReason"],
        "CLOSED_REASON_NEVER_WROTE"
    );
    assert_eq!(told[1]["message"]["attempts"][0]["route"], "ROUTE_SMS");
    stack.stop().await;
}

#[tokio::test]
async fn both_clients_read_code_and_reason_of_an_error() {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let api = Api::of(&stack);
    let mut codes = BTreeSet::new();
    for example in [python_client, node_client] {
        let error = refused(example(), &api, "nobody-gave-this-out", NUMBER).await;
        assert_eq!(error["reason"], "UNAUTHENTICATED_TOKEN", "{error}");
        codes.insert(code(&error));

        let error = refused(example(), &api, API_TOKEN, "+1").await;
        assert_eq!(error["reason"], "INVALID_FIELD", "{error}");
        assert!(error["message"].as_str().unwrap().contains("number"));
        codes.insert(code(&error));
    }
    // Each language writes them in its own way.
    assert_eq!(
        codes,
        ["invalidargument", "unauthenticated"]
            .map(str::to_owned)
            .into()
    );
    stack.stop().await;
}

fn code(error: &Value) -> String {
    let code = error["code"].as_str().unwrap();
    code.to_lowercase().replace('_', "")
}

fn event_name(told: &Value) -> &str {
    let name = told["event"]["eventType"].as_str().unwrap();
    name.trim_start_matches("casement.events.v1.")
}

/// Runs the example to a good end, and returns its lines.
async fn call(command: Command, api: &Api, to: &str, more: &[&str]) -> Vec<Value> {
    let args = ["--number", NUMBER, "--to", to];
    let (is_good, lines, log) = run(command, api, API_TOKEN, &[&args, more].concat()).await;
    assert!(is_good, "{lines:#?}\n{log}");
    lines
}

/// Runs the example to an error, and returns that.
async fn refused(command: Command, api: &Api, token: &str, number: &str) -> Value {
    let args = ["--number", number, "--to", CUSTOMER];
    let (is_good, lines, log) = run(command, api, token, &args).await;
    assert!(!is_good);
    assert_eq!(lines.len(), 1, "{lines:#?}\n{log}");
    lines[0]["error"].clone()
}

async fn run(
    mut command: Command,
    api: &Api,
    token: &str,
    args: &[&str],
) -> (bool, Vec<Value>, String) {
    let token_file = api.folder.path().join("token");
    std::fs::write(&token_file, format!("{token}\n")).expect("a file in a folder of ours");
    command
        .args(["--api", &api.url, "--text", "It is on its way."])
        .arg("--token-file")
        .arg(token_file)
        .args(args);
    // On a thread of its own: the simulator answers on this one.
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .expect("the example can be started");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}\n{log}")))
        .collect();
    (output.status.success(), lines, log)
}

/// Where the gateway is, and a place for tokens.
struct Api {
    url: String,
    folder: TempDir,
}

impl Api {
    fn of(stack: &Stack) -> Self {
        Self {
            url: format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0)),
            folder: TempDir::new().expect("a temporary folder"),
        }
    }
}

//! What an operator does about items that were not understood, with the commands alone.

use std::process::Output;

use casement_testkit::eventually;
use casement_tests::{Stack, WABA};
use serde_json::{Value, json};

const CUSTOMER: &str = "+15550002222";

/// Runs a command against the stack's own configuration.
fn casement(stack: &Stack, words: &[&str]) -> Output {
    let mut command = stack.program();
    command.args(words).args(["--config", "casement.toml"]);
    command.output().expect("casement runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn answered(stack: &Stack, words: &[&str]) -> Vec<Value> {
    let output = casement(stack, words);
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {trouble}");
    lines(&output)
}

fn broken_item(phone_number_id: &str, messages: &Value) -> Vec<u8> {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550001111", "phone_number_id": phone_number_id },
        "messages": messages,
    });
    let change = json!({ "field": "messages", "value": value });
    let entry = json!({ "id": WABA, "changes": [change] });
    serde_json::to_vec(&json!({ "object": "whatsapp_business_account", "entry": [entry] }))
        .expect("JSON made of text")
}

#[tokio::test]
async fn an_operator_lists_shows_retries_and_drops_dead_letters_and_replays_posts() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let events = stack.events().await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "hello");
    clients.open_window(CUSTOMER).await;
    let body = broken_item(
        casement_tests::PHONE_NUMBER_ID,
        &json!([{ "type": "text" }]),
    );
    assert_eq!(stack.post(&body).await, Some(200));
    let stranger = json!([{ "id": "wamid.X", "from": "15550007777", "timestamp": "1790000000",
        "type": "text", "text": { "body": "hi" } }]);
    assert_eq!(stack.post(&broken_item("999", &stranger)).await, Some(200));

    let mut letters = Vec::new();
    eventually(
        "the letter is listed and the stranger's item is parked",
        async || {
            letters = answered(&stack, &["dead", "list", "--json"]);
            letters.len() == 1 && answered(&stack, &["parked", "list", "--json"]).len() == 1
        },
    )
    .await;
    let number = letters[0]["sequence"].to_string();
    assert_eq!(letters[0]["role"], "ingress");
    let shown = answered(&stack, &["dead", "show", &number, "--json"]);
    assert_eq!(shown[0]["item"], r#"{"type":"text"}"#);

    let retried = casement(&stack, &["dead", "retry", &number, "--json"]);
    assert!(!retried.status.success(), "it is as bad as it was");
    assert_eq!(lines(&retried)[0]["outcome"], "STILL_DEAD");
    let dropped = answered(
        &stack,
        &["dead", "drop", "--all", "--reason", "no id", "--json"],
    );
    assert_eq!(dropped.len(), 1);
    assert!(answered(&stack, &["dead", "list", "--json"]).is_empty());

    let facts = events.all("InboundMessageReceived").len();
    let replayed = answered(&stack, &["replay", "raw", "--from", "1h", "--json"]);
    assert_eq!(replayed[0]["items"]["message"]["known"], 1, "{replayed:?}");
    assert_eq!(events.all("InboundMessageReceived").len(), facts);

    let released = casement(&stack, &["parked", "release", "999"]);
    let told = String::from_utf8_lossy(&released.stderr).into_owned();
    assert!(told.contains("no account has the number 999"), "{told}");
    stack.stop().await;
}

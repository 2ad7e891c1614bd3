//! Messages as lines of JSON through the gateway: each answered in its place, and each once.

use casement_tests::{API_TOKEN, NUMBER, Role, Stack};
use serde_json::{Value, json};

const CUSTOMER: &str = "+15550002222";

/// More than a call that is no stream may hold.
const COUNT: usize = 501;

#[tokio::test]
async fn lines_are_answered_in_their_places_and_the_same_again_are_the_same_messages() {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    stack.clients().open_window(CUSTOMER).await;
    let mut lines: Vec<String> = (0..COUNT)
        .map(|index| {
            let request = json!({
                "number": NUMBER, "to": CUSTOMER, "purpose": "PURPOSE_SERVICE",
                "requestId": format!("line-{index}"),
                "content": {"freeForm": {"text": format!("Number {index}")}},
            });
            request.to_string()
        })
        .collect();
    // One that is no JSON, and one that the dispatcher refuses.
    lines[7] = "nonsense".to_owned();
    lines[9] = json!({"number": NUMBER, "to": CUSTOMER}).to_string();
    let body = lines.join("\n");

    let url = format!(
        "http://127.0.0.1:{}/v1/messages:sendStream",
        stack.api_port(Role::Gateway, 0)
    );
    let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default());
    let http = http.unwrap();
    let send = async |kind: &str| {
        let request = http.post(&url).bearer_auth(API_TOKEN);
        let request = request.header("content-type", kind).body(body.clone());
        request.send().await.unwrap()
    };
    assert_eq!(send("application/json").await.status(), 415);
    let mut ids: Vec<Vec<String>> = Vec::new();
    for _ in 0..2 {
        let answer = send("application/x-ndjson").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = answer.text().await.unwrap();
        let answers: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), COUNT);
        let mut accepted = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let result = &answer["result"];
            assert_eq!(result["index"], json!(index.to_string()), "{answer}");
            let result = &result["result"];
            if matches!(index, 7 | 9) {
                assert_eq!(result["refused"]["code"], "INVALID_ARGUMENT", "{answer}");
            } else {
                let id = &result["accepted"]["message"]["messageId"];
                accepted.push(id.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
            }
        }
        ids.push(accepted);
    }
    assert_eq!(ids[0], ids[1]);
    let all: std::collections::BTreeSet<&String> = ids[0].iter().collect();
    assert_eq!(all.len(), COUNT - 2);
    stack.stop().await;
}

//! A number that the business's phone app uses, too: what was written before its onboarding, and
//! what the business writes in the app, opens nothing, whatever is configured.

use std::time::Duration;

use casement_ingress::{Config, Qualifying};
use casement_shell::SystemClock;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, config, known, one_text, types, value, webhook};

const CUSTOMER: &str = "15550009999";

fn seconds_ago(seconds: i64) -> String {
    let at = SystemClock::shared().now() - SignedDuration::from_secs(seconds);
    at.as_second().to_string()
}

fn history() -> Value {
    let messages = json!([
        {"from": CUSTOMER, "id": "wamid.before", "timestamp": seconds_ago(3_600), "type": "text",
            "text": {"body": "is it still there?"}, "history_context": {"status": "READ"}},
        {"from": CUSTOMER, "id": "wamid.file", "timestamp": seconds_ago(3_500),
            "type": "media_placeholder", "history_context": {"status": "READ"}},
    ]);
    let chunk = json!([{"metadata": {"phase": 0, "chunk_order": 1, "progress": 100},
        "threads": [{"id": CUSTOMER, "messages": messages}]}]);
    webhook(&[("history", value(ONE, "history", chunk))])
}

fn echo() -> Value {
    let echo = json!([{"from": ONE.0, "to": CUSTOMER, "id": "wamid.echo",
        "timestamp": seconds_ago(10), "type": "text", "text": {"body": "yes"}}]);
    webhook(&[("smb_message_echoes", value(ONE, "message_echoes", echo))])
}

/// A placeholder for a file of the history, which comes on `messages` of all fields.
fn placeholder() -> Value {
    one_text(
        ONE,
        &json!({"id": "wamid.placeholder", "from": CUSTOMER, "timestamp": seconds_ago(5),
            "type": "media_placeholder"}),
    )
}

/// Every row that may be set says that it opens.
fn all_open() -> Config {
    let rows = json!({"reaction": true, "edit": true, "revoke": true, "unsupported": true,
        "automatic": true, "system": true});
    let qualifying: Qualifying = serde_json::from_value(rows).unwrap();
    Config {
        qualifying,
        ..config()
    }
}

#[tokio::test]
async fn nothing_from_before_onboarding_and_no_echo_opens_a_window() {
    for config in [config(), all_open()] {
        let deadline = Duration::from_secs(10);
        let stage = Stage::start_as(config, SystemClock::shared(), deadline).await;
        for post in [history(), echo(), placeholder()] {
            stage.take(&post).await;
        }
        let stored = stage.inbound(ONE.0).await;
        let expected = ["HistoryImported", "EchoReceived", "InboundMessageReceived"];
        assert_eq!(types(&stored), expected);
        for stored in &stored {
            let summary = known(stored).summary;
            assert_eq!(summary.last_qualifying, None, "{}", stored.event_type());
        }

        // It is the customer's own next message that does.
        let message = json!({"id": "wamid.now", "from": CUSTOMER, "timestamp": seconds_ago(0),
            "type": "text", "text": {"body": "thanks"}});
        stage.take(&one_text(ONE, &message)).await;
        let stored = stage.inbound(ONE.0).await;
        let last = known(stored.last().unwrap()).summary.last_qualifying;
        assert_eq!(last.unwrap().provider_id, "wamid.now");
    }
}

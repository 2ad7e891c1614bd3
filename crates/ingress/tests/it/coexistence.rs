//! A number that the business's phone app uses, too: what was written before its onboarding, and
//! what the business writes in the app, opens nothing, whatever is configured.

use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::{Event, Record, Stored, Uuid, subject, v1};
use casement_event_log::Expect;
use casement_ingress::{Config, Qualifying};
use casement_shell::SystemClock;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::stage::{ONE, PORTFOLIO, Stage, at, config, known, one_text, types, value, webhook};

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

/// Comes on record during the test.
const LATER: (&str, &str) = ("15550003333", "333");

/// Records it as a number of which the platform tells us since then.
async fn onboard(stage: &Stage, since: Timestamp) {
    let event = v1::NumberRecorded {
        number: Some(v1::Number {
            number: LATER.0.to_owned(),
            brand_id: "default".to_owned(),
            portfolio_id: PORTFOLIO.to_owned(),
            waba_id: "w1".to_owned(),
            phone_number_id: LATER.1.to_owned(),
            onboard_time: Some(timestamp(since)),
            ..v1::Number::default()
        }),
        ..v1::NumberRecorded::default()
    };
    let place = subject::account("number", LATER.0);
    let record = Record::new(place, Uuid::new_v4(), "casement/test", since, event);
    stage.log.append(record, Expect::Anything).await.unwrap();
}

/// The row that applied, and whether the fact opened the window.
fn rule(stored: &Stored) -> (String, bool) {
    match stored.event().unwrap() {
        Event::InboundMessageReceived(event) => (event.policy_rule, event.qualifies),
        Event::InboundCallReceived(event) => (event.policy_rule, event.qualifies),
        other => panic!("{}", other.event_type()),
    }
}

#[tokio::test]
async fn what_comes_as_if_new_but_is_from_before_onboarding_opens_nothing_and_says_why() {
    let deadline = Duration::from_secs(10);
    let stage = Stage::start_as(all_open(), SystemClock::shared(), deadline).await;
    onboard(&stage, at(100)).await;

    let said = |id: &str, second: i64, kind: Value| {
        let mut message = json!({"id": id, "from": CUSTOMER,
            "timestamp": at(second).as_second().to_string()});
        message
            .as_object_mut()
            .unwrap()
            .extend(kind.as_object().unwrap().clone());
        one_text(LATER, &message)
    };
    let text = || json!({"type": "text", "text": {"body": "hello"}});
    let from_an_ad = json!({"type": "text", "text": {"body": "hello"}, "referral": {
        "source_type": "ad", "source_id": "1", "source_url": "https://fb.me/1"}});
    let reaction = json!({"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "!"}});
    let call = json!([{"id": "wacid.1", "to": LATER.0, "from": CUSTOMER, "event": "connect",
        "timestamp": at(40).as_second().to_string(), "direction": "USER_INITIATED"}]);
    // Whatever reaches the role before the account does is parked until then, and counts alike.
    for post in [
        said("wamid.text", 10, text()),
        said("wamid.ad", 20, from_an_ad),
        said("wamid.reaction", 30, reaction),
        webhook(&[("calls", value(LATER, "calls", call))]),
        said("wamid.last", 99, text()),
        said("wamid.first", 100, text()),
    ] {
        stage.take(&post).await;
    }
    let stored = eventually("all are facts", async || {
        let stored = stage.inbound(LATER.0).await;
        (stored.len() == 6).then_some(stored)
    })
    .await;
    let mut opened = 0;
    for stored in &stored {
        let summary = known(stored).summary;
        assert_eq!(summary.referred_at, None, "no entry point, either");
        if stored.time() < Some(at(100)) {
            assert_eq!(rule(stored), ("before_onboarding".to_owned(), false));
        } else {
            assert_eq!(rule(stored), ("text".to_owned(), true));
            opened += 1;
        }
    }
    assert_eq!(opened, 1);
    let last = known(stored.last().unwrap()).summary.last_qualifying;
    assert_eq!(last.unwrap().provider_id, "wamid.first");
}

//! Repeats after days: the platform repeats a post for up to a week.

use std::time::Duration;

use casement_event::Event;
use casement_event::subject::stream;
use casement_event_log::directory::Directory;
use casement_shell::ManualClock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::stage::{ONE, Stage, config, connect, known, one_text, types, value, webhook};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A message of the customer, at a moment.
fn text(wamid: &str, at: Timestamp) -> Value {
    one_text(
        ONE,
        &json!({"id": wamid, "from": "15550009999", "from_user_id": "US.1",
            "timestamp": at.as_second().to_string(), "type": "text", "text": {"body": wamid}}),
    )
}

/// Ends the role and starts another, which remembers nothing.
async fn restart(stage: &mut Stage, clock: &ManualClock) {
    stage.stop().await;
    let deadline = Duration::from_secs(10);
    let log = connect(&stage.nats, stage.proxy.url("nats"), deadline).await;
    let stopping = CancellationToken::new();
    let directory = Directory::start(&log, stopping.clone()).await;
    let tokens = stage.tokens.clone();
    let role = casement_ingress::start(config(), log, directory, tokens, clock.shared())
        .await
        .unwrap();
    stage.router = Some(role.router());
    stage.stopping = stopping.clone();
    stage.running = tokio::spawn(role.run(stopping));
}

/// The role at a time of its own, which begins now: the broker's own clock cannot be moved.
async fn stage() -> (Stage, ManualClock) {
    let begin = casement_shell::SystemClock::shared().now();
    let clock = ManualClock::new(begin);
    let deadline = Duration::from_secs(10);
    let stage = Stage::start_as(config(), clock.shared(), deadline).await;
    (stage, clock)
}

#[tokio::test]
async fn a_post_that_comes_again_after_a_week_is_known() {
    let (stage, clock) = stage().await;
    let begin = jiff::Timestamp::from_second(clock_second(&clock)).unwrap();
    let first = text("wamid.first", begin);
    stage.take(&first).await;
    // A week of messages, several of each second.
    for day in 1..=7 {
        clock.advance(DAY);
        let messages: Vec<Value> = (0..40)
            .map(|index| {
                let at = begin + DAY * day + SignedDuration::from_secs(index / 10);
                json!({"id": format!("wamid.{day}.{index}"), "from": "15550009999",
                    "from_user_id": "US.1", "timestamp": at.as_second().to_string(),
                    "type": "text", "text": {"body": "x"}})
            })
            .collect();
        let post = webhook(&[("messages", value(ONE, "messages", json!(messages)))]);
        stage.take(&post).await;
        stage.take(&post).await;
    }
    let before = stage.inbound(ONE.0).await;
    assert_eq!(before.len(), 1 + 7 * 40);
    stage.take(&first).await;
    // What was never seen is not taken for known, however late it comes.
    stage
        .take(&text("wamid.other", begin + SignedDuration::from_secs(1)))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(types(&stored[before.len()..]), ["InboundMessageReceived"]);
    let last = known(stored.last().unwrap()).summary;
    let newest = known(before.last().unwrap()).summary;
    assert_eq!(
        last.last_qualifying, newest.last_qualifying,
        "opens nothing"
    );
}

#[tokio::test]
async fn a_post_that_comes_again_when_the_log_forgot_it_is_kept_apart_once() {
    let (mut stage, clock) = stage().await;
    let begin = jiff::Timestamp::from_second(clock_second(&clock)).unwrap();
    let first = text("wamid.first", begin - SignedDuration::from_mins(1));
    stage.take(&first).await;
    let id = stage.inbound(ONE.0).await[0].id().unwrap();
    clock.advance(DAY * 7);
    // The archive has it, and the log forgets it, with all that the customer did until then.
    let last = stage.log.state(stream::EVENTS).await.unwrap().last_sequence;
    stage
        .log
        .purge_up_to(stream::EVENTS, last + 1)
        .await
        .unwrap();
    // Who took it itself knows it all the same.
    stage.take(&first).await;
    assert_eq!(types(&stage.inbound(ONE.0).await), [""; 0]);
    for _ in 0..2 {
        restart(&mut stage, &clock).await;
        stage.take(&first).await;
        stage.take(&first).await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(types(&stored), ["LateFact"]);
    let Event::LateFact(late) = stored[0].event().unwrap() else {
        panic!("{}", stored[0].event_type())
    };
    assert_eq!(stored[0].id(), Some(id), "by which the archive knows it");
    assert_eq!(late.fact_id, id.to_string());
    assert_eq!(late.fact_type, "casement.events.v1.InboundMessageReceived");
    assert_eq!(
        known(&stored[0]).summary.last_qualifying,
        None,
        "opens nothing"
    );

    // What is new is told apart from it, and what was late is still known behind that.
    stage.take(&text("wamid.new", begin + DAY * 7)).await;
    stage.take(&first).await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(types(&stored), ["LateFact", "InboundMessageReceived"]);
    let summary = known(&stored[1]).summary;
    assert_eq!(
        summary.last_qualifying.map(|last| last.provider_id),
        Some("wamid.new".to_owned())
    );
}

fn clock_second(clock: &ManualClock) -> i64 {
    use casement_shell::Clock as _;
    clock.now().as_second()
}

//! Times from the future: they count as of their receipt, once, and what was stated is kept.

use std::time::Duration;

use casement_event::convert::timestamp;
use casement_shell::{ManualClock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, config, known, message, one_text};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn text(wamid: &str, at: Timestamp) -> Value {
    one_text(
        ONE,
        &json!({"id": wamid, "from": "15550009999", "from_user_id": "US.1",
            "timestamp": at.as_second().to_string(), "type": "text", "text": {"body": wamid}}),
    )
}

/// The role at a time of its own, which begins now, in whole seconds.
async fn stage() -> (Stage, ManualClock, Timestamp) {
    let now = SystemClock::shared().now();
    let begin = Timestamp::from_second(now.as_second()).unwrap();
    let clock = ManualClock::new(begin);
    let deadline = Duration::from_secs(10);
    let stage = Stage::start_as(config(), clock.shared(), deadline).await;
    (stage, clock, begin)
}

#[tokio::test]
async fn a_time_within_the_tolerance_counts_as_stated() {
    let (stage, _, begin) = stage().await;
    let ahead = begin + SignedDuration::from_secs(60);
    stage.take(&text("wamid.1", ahead)).await;
    let stored = stage.inbound(ONE.0).await;
    let times = message(&stored[0]).times.unwrap();
    assert_eq!(times.event_time, Some(timestamp(ahead)));
    assert_eq!(times.stated_time, None);
}

#[tokio::test]
async fn a_time_from_the_future_counts_as_of_its_receipt_and_is_flagged() {
    let (stage, _, begin) = stage().await;
    let ahead = begin + 2 * HOUR;
    stage.take(&text("wamid.1", ahead)).await;
    let stored = stage.inbound(ONE.0).await;
    let times = message(&stored[0]).times.unwrap();
    assert_eq!(times.event_time, times.received_time);
    assert_eq!(times.received_time, Some(timestamp(begin)));
    assert_eq!(times.stated_time, Some(timestamp(ahead)));
    assert_eq!(stored[0].time(), Some(begin));
    let summary = known(&stored[0]).summary;
    assert_eq!(summary.last_qualifying.unwrap().at, begin);
    assert_eq!(summary.last_event_at, Some(begin));
    assert_eq!(summary.stated_until, Some(ahead));
}

#[tokio::test]
async fn what_was_put_back_is_known_when_it_comes_again_also_once_its_time_is_possible() {
    let (stage, clock, begin) = stage().await;
    let post = text("wamid.1", begin + 2 * HOUR);
    stage.take(&post).await;
    stage
        .take(&text("wamid.2", begin + SignedDuration::from_secs(1)))
        .await;
    for hours in [0, 1, 1, 22] {
        clock.advance(HOUR * hours);
        stage.take(&post).await;
    }
    assert_eq!(stage.inbound(ONE.0).await.len(), 2);

    // It does not stand in the way of what really happens then.
    stage.take(&text("wamid.3", begin + HOUR)).await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(stored.len(), 3);
    let last = known(&stored[2]).summary.last_qualifying.unwrap();
    assert_eq!(
        (last.at, last.provider_id.as_str()),
        (begin + HOUR, "wamid.3")
    );
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_costs_the_later_facts_nothing() {
    let (stage, clock, begin) = stage().await;
    let post = text("wamid.1", begin + HOUR * (24 * 365));
    stage.take(&post).await;
    clock.advance(HOUR);
    stage.take(&post).await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(known(&stored[0]).summary.stated_until, None);
}

//! What was handed out is taken for the newest event only until something else turns out.

use casement_event::Stored;
use casement_event::subject::stream;
use casement_event_log::Position;
use jiff::SignedDuration;

use super::stage::{Stage, key, noon, window_of};
use crate::Config;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

async fn stored(stage: &Stage, position: &Position) -> Stored {
    let log = stage.tracker().log;
    let stored = log.get(stream::EVENTS, position.sequence).await.unwrap();
    stored.unwrap()
}

#[tokio::test]
async fn a_fact_that_another_one_followed_is_told_with_that_one() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let first = stage.say("ana", noon() - HOUR).await;
    stage.say("ana", noon() - SECOND).await;
    let seen = stored(&stage, &first).await;
    let tracker = stage.tracker();
    tracker
        .advance_as_of(&key("ana"), seen, None)
        .await
        .unwrap();
    let told = stage.told("ana").await;
    assert_eq!(told.len(), 1);
    let end = noon() - SECOND + 24 * HOUR;
    assert_eq!(
        window_of(&told[0]).expires_at,
        end,
        "not the first one's end"
    );
}

#[tokio::test]
async fn a_fact_that_is_handed_out_again_is_told_once() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let position = stage.say("ana", noon() - SECOND).await;
    let seen = stored(&stage, &position).await;
    let tracker = stage.tracker();
    for _ in 0..2 {
        let deadline = tracker
            .advance_as_of(&key("ana"), seen.clone(), None)
            .await
            .unwrap();
        assert_eq!(deadline, Some(noon() - SECOND + 22 * HOUR));
    }
    assert_eq!(stage.told_names("ana").await, ["WindowOpened"]);
}

#[tokio::test]
async fn evidence_that_came_after_a_fact_is_not_overlooked() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let position = stage.say("ana", noon() - HOUR).await;
    let seen = stored(&stage, &position).await;
    let tracker = stage.tracker();
    tracker.advance(&key("ana"), None).await.unwrap();
    stage.refuse("ana", noon() - SECOND).await;
    tracker
        .advance_as_of(&key("ana"), seen, None)
        .await
        .unwrap();
    let told = stage.told_names("ana").await;
    assert_eq!(told, ["WindowOpened", "WindowCorrected"]);
}

#[tokio::test]
async fn a_deadline_whose_customer_wrote_again_ends_no_window() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    stage.say("ana", noon() - HOUR).await;
    let tracker = stage.tracker();
    tracker.advance(&key("ana"), None).await.unwrap();
    let due = stage.told("ana").await.remove(0);
    // Less than the granularity later, so that nothing was told about it.
    stage.say("ana", noon() - HOUR + 30 * SECOND).await;
    clock.set(noon() - HOUR + 24 * HOUR);
    tracker.advance_as_of(&key("ana"), due, None).await.unwrap();
    let told = stage.told_names("ana").await;
    assert!(!told.contains(&"WindowExpired".to_owned()), "{told:?}");
}

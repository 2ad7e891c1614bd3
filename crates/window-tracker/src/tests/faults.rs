//! Deadlines in real time, doubled trackers, and what a crash in between changes: nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use casement_event::subject::{self, Family, stream};
use casement_event::{Extension, Record, Stored, Uuid, v1};
use casement_event_log::Expect;
use casement_shell::Clock as _;
use casement_testkit::{eventually, eventually_within};
use jiff::SignedDuration;

use super::stage::{Stage, customer, key, noon, number, short_name, window_of};
use crate::Config;
use crate::tracker::AdvanceError;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const ALL: [&str; 3] = ["WindowOpened", "WindowExpiring", "WindowExpired"];

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// A window that a test can wait for.
fn short() -> Config {
    Config {
        length: seconds(4),
        leads: vec![seconds(1)],
        guard: SignedDuration::from_millis(200),
        granularity: SignedDuration::from_millis(100),
        ..Config::default()
    }
}

/// Waits for the end of a window. On a slow machine it may end before it was told to have begun,
/// so that only the end is told.
async fn wait_until_expired(stage: &Stage, name: &str) -> Stored {
    eventually(&format!("{name} is told the end"), async || {
        let last = stage.told(name).await.pop();
        last.filter(|stored| short_name(stored) == "WindowExpired")
    })
    .await
}

#[tokio::test]
async fn an_answer_that_lacks_the_fact_that_was_handed_out_is_nothing_to_decide_on() {
    let (stage, _clock) = Stage::with_manual_clock(Config::default()).await;
    let tracker = stage.tracker();
    let first = stage.say("ana", noon()).await.sequence;
    // As of a leader that stood still, and has not heard of the next one yet.
    let advanced = tracker.advance_since(&key("ana"), first + 1, None).await;
    assert!(
        matches!(advanced, Err(AdvanceError::Behind)),
        "{advanced:?}"
    );
    let advanced = tracker.advance_since(&key("ben"), first + 1, None).await;
    assert!(
        matches!(advanced, Err(AdvanceError::Behind)),
        "{advanced:?}"
    );
    assert!(stage.told("ana").await.is_empty());

    // Of ben's nothing is left where somebody else's came later: it has been erased.
    let bens = stage.say("ben", noon()).await.sequence;
    let any = key("ben").any();
    let purged = stage.log.purge_subject(stream::EVENTS, &any, u64::MAX);
    assert_eq!(purged.await.unwrap(), 1);
    stage.say("cem", noon()).await;
    tracker
        .advance_since(&key("ben"), bens, None)
        .await
        .unwrap();
    assert!(stage.told("ben").await.is_empty());

    tracker
        .advance_since(&key("ana"), first, None)
        .await
        .unwrap();
    assert_eq!(stage.told("ana").await.len(), 1);
}

#[tokio::test]
async fn nothing_expires_early_and_each_window_expires_once() {
    let stage = Stage::with_system_clock(short()).await;
    let running = stage.run().await;
    running.wait_until_ready().await;
    let names: Vec<String> = (0..20).map(|index| format!("c{index}")).collect();
    for name in &names {
        stage.say(name, stage.clock.now()).await;
    }
    let mut lateness = Vec::new();
    for name in &names {
        let expired = wait_until_expired(&stage, name).await;
        let late = expired
            .stored_at
            .duration_since(window_of(&expired).expires_at);
        assert!(!late.is_negative(), "{name} expired {late:#}");
        lateness.push(late);
    }
    lateness.sort();
    eprintln!(
        "expired after {:#} (median) to {:#} (latest)",
        lateness[10], lateness[19]
    );
    running.stop().await;
}

#[tokio::test]
async fn two_trackers_on_one_log_tell_everything_once() {
    let stage = Stage::with_system_clock(short()).await;
    let (one, other) = (stage.run().await, stage.run().await);
    one.wait_until_ready().await;
    other.wait_until_ready().await;
    let names: Vec<String> = (0..50).map(|index| format!("c{index}")).collect();
    // One moment for all, so that both trackers have all of them to tell at once.
    let at = stage.clock.now();
    for name in &names {
        stage.say(name, at).await;
    }
    for name in &names {
        wait_until_expired(&stage, name).await;
    }
    // Both have had all of it in hand once they had in hand what came later.
    stage.say("later", stage.clock.now()).await;
    wait_until_expired(&stage, "later").await;
    let mut told = BTreeMap::new();
    for name in &names {
        for stored in stage.told(name).await {
            let window = stored.extension(Extension::WindowId).map(str::to_owned);
            let end = window_of(&stored).expires_at;
            *told.entry((window, end, short_name(&stored))).or_insert(0) += 1;
        }
    }
    assert!(told.values().all(|count| *count == 1), "{told:?}");
    let expired = told.keys().filter(|(.., name)| name == "WindowExpired");
    assert_eq!(expired.count(), names.len());
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_window_that_ended_while_no_tracker_lived_is_told_by_the_next_one() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    running.kill().await;

    clock.set(noon() + 23 * HOUR);
    // A fact that nobody took is not lost either.
    stage.say("ben", clock.now()).await;
    clock.set(noon() + 24 * HOUR);
    let running = stage.run().await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpired"])
        .await;
    stage.wait_for("ben", &["WindowOpened"]).await;
    running.stop().await;
}

#[tokio::test]
async fn windows_that_came_and_went_while_no_tracker_lived_are_told_in_order_by_the_next_one() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    running.kill().await;

    for hours in [30, 40, 70, 100] {
        clock.set(noon() + hours * HOUR);
        stage.say("ana", clock.now()).await;
        // Nobody ever heard of this one.
        stage.say("ben", clock.now()).await;
    }
    // More than a summary keeps, in the newest.
    for minutes in 1..12 {
        clock.set(noon() + 100 * HOUR + SignedDuration::from_mins(minutes));
        stage.say("ben", clock.now()).await;
    }
    let running = stage.run().await;
    for (name, expected) in [
        (
            "ana",
            &[
                "WindowOpened",
                "WindowExpired",
                "WindowExpired",
                "WindowExpired",
                "WindowOpened",
            ][..],
        ),
        ("ben", &["WindowExpired", "WindowExpired", "WindowOpened"]),
    ] {
        stage.wait_for(name, expected).await;
        let told = stage.told(name).await;
        let windows: Vec<_> = told.iter().map(window_of).collect();
        let ends: Vec<_> = windows
            .iter()
            .filter(|window| window.closed.is_some())
            .map(|window| window.expires_at.duration_since(noon()).as_hours())
            .collect();
        assert!([24, 64, 94].ends_with(&ends), "{name}: {ends:?}");
        for (one, next) in windows.iter().zip(&windows[1..]) {
            let is_another = one.opening_fact != next.opening_fact;
            assert!(!is_another || next.previous == Some(one.opening_fact));
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_over_the_end_changes_nothing() {
    let (mut stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    clock.set(noon() + 22 * HOUR);
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpiring"])
        .await;

    stage.nats.kill();
    clock.set(noon() + 24 * HOUR);
    stage.nats.start_again().await;
    eventually("the log answers again", async || {
        stage.log.state(stream::EVENTS).await
    })
    .await;
    stage.wait_for("ana", &ALL).await;
    // The tracker works as before, and went once more through all deadlines that are due.
    stage.say("ben", noon() + HOUR).await;
    stage
        .wait_for("ben", &["WindowOpened", "WindowExpiring"])
        .await;
    assert_eq!(stage.told_names("ana").await, ALL);
    running.stop().await;
}

#[tokio::test]
async fn a_tracker_is_not_ready_while_its_clock_cannot_be_trusted_and_tells_no_end() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    running.wait_until_ready().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    clock.set_drift(seconds(5));
    eventually("not ready", async || !running.readiness.is_ready()).await;
    clock.set(noon() + 24 * HOUR);
    assert_eq!(
        running.readiness.reasons(),
        [(
            "window-tracker",
            "wall clock is 5s ahead of ours".to_owned()
        )]
    );
    assert_eq!(stage.told_names("ana").await, ["WindowOpened"]);
    clock.set_drift(SignedDuration::ZERO);
    running.wait_until_ready().await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpired"])
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_fact_that_can_never_be_read_is_put_aside_and_holds_nobody_up() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let subject = subject::conversation(Family::Inbound, &number(), &customer("odd"));
    let stray = v1::NoteAdded::default();
    let record = Record::new(subject, Uuid::nil(), "casement/test", noon(), stray);
    let position = stage.log.append(record, Expect::Anything).await.unwrap();
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    let dead = eventually_within(Duration::from_secs(20), "a dead letter", async || {
        let subject = subject::dead("window-tracker");
        stage.log.last(stream::DEAD, &subject).await.unwrap()
    })
    .await;
    let Ok(casement_event::Event::DeadLetter(letter)) = dead.event() else {
        panic!("not a dead letter");
    };
    assert_eq!(letter.sequence, position.sequence);
    assert!(letter.reason.contains("NoteAdded"), "{}", letter.reason);
    running.stop().await;
}

//! What is told about a window, and that nothing else is.

use casement_domain::window::{ClosedReason, decide};
use casement_event::{Event, Extension, header, v1};
use casement_event_log::AppendError;
use casement_shell::Clock as _;
use jiff::SignedDuration;

use super::stage::{Stage, key, noon, traceparent, window_of};
use crate::{Config, OfNumber, present};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[tokio::test]
async fn a_number_with_leads_of_its_own_is_told_by_these_each_once_and_by_no_others() {
    let of_number = OfNumber {
        leads: vec![HOUR, 6 * HOUR],
    };
    let config = Config {
        numbers: [(key("ana").number.digits().to_owned(), of_number)].into(),
        ..Config::default()
    };
    let (stage, clock) = Stage::with_manual_clock(config).await;
    let running = stage.run().await;
    running.wait_until_ready().await;
    stage.say("ana", noon() - SECOND).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    let end = noon() - SECOND + 24 * HOUR;
    let mut expected = vec!["WindowOpened"];
    for (lead, told) in [
        (6 * HOUR, "WindowExpiring"),
        (HOUR, "WindowExpiring"),
        (SignedDuration::ZERO, "WindowExpired"),
    ] {
        clock.set(end - lead);
        expected.push(told);
        stage.wait_for("ana", &expected).await;
    }
    let told = stage.told("ana").await;
    let leads = told.iter().filter_map(|stored| match stored.event() {
        Ok(Event::WindowExpiring(event)) => event.lead.map(|lead| lead.seconds),
        _ => None,
    });
    assert_eq!(leads.collect::<Vec<_>>(), [6 * 3600, 3600]);
}

#[tokio::test]
async fn a_window_lives_from_the_first_fact_to_its_end() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    running.wait_until_ready().await;

    stage.say("ana", noon() - SECOND).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    let opened = stage.told("ana").await.remove(0);
    assert_eq!(
        opened.header(header::TRACEPARENT),
        Some(traceparent("ana").as_str()),
        "an event continues the trace of its cause"
    );
    assert_eq!(opened.extension(Extension::Brand), Some("default"));
    assert_eq!(opened.extension(Extension::State), Some("OPEN"));
    let end = noon() - SECOND + 24 * HOUR;
    assert_eq!(window_of(&opened).expires_at, end);

    clock.set(end - 2 * HOUR);
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpiring"])
        .await;
    clock.set(end);
    stage
        .wait_for("ana", &["WindowOpened", "WindowExpiring", "WindowExpired"])
        .await;
    let expired = stage.told("ana").await.remove(2);
    assert_eq!(expired.extension(Extension::State), Some("CLOSED"));
    assert_eq!(expired.deadline(), None);

    // A later message is another window, which names the one before.
    clock.advance(HOUR);
    stage.say("ana", clock.now()).await;
    stage
        .wait_for(
            "ana",
            &[
                "WindowOpened",
                "WindowExpiring",
                "WindowExpired",
                "WindowOpened",
            ],
        )
        .await;
    let again = stage.told("ana").await.remove(3);
    assert_eq!(
        window_of(&again).previous,
        Some(window_of(&opened).opening_fact)
    );
    assert_ne!(
        again.extension(Extension::WindowId),
        opened.extension(Extension::WindowId)
    );
    running.stop().await;
}

#[tokio::test]
async fn a_window_extended_within_the_granularity_writes_nothing_and_ends_at_its_true_end() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    clock.advance(30 * SECOND);
    stage.say("ana", clock.now()).await;
    // Whoever comes later in the queue was handled, so she was, too.
    stage.say("ben", noon() - 23 * HOUR).await;
    stage
        .wait_for("ben", &["WindowOpened", "WindowExpiring"])
        .await;
    assert_eq!(stage.told_names("ana").await, ["WindowOpened"]);

    // Her end as told comes, and her true one 30 s later. Cem's, told exactly, lies between.
    stage.say("cem", noon() + 10 * SECOND).await;
    stage.wait_for("cem", &["WindowOpened"]).await;
    let end = noon() + 24 * HOUR;
    clock.set(end - 2 * HOUR + 30 * SECOND);
    let both = ["WindowOpened", "WindowExpiring"];
    stage.wait_for("cem", &both).await;
    stage.wait_for("ana", &both).await;
    clock.set(end + 10 * SECOND);
    let all = ["WindowOpened", "WindowExpiring", "WindowExpired"];
    stage.wait_for("cem", &all).await;
    assert_eq!(stage.told_names("ana").await, both);

    clock.set(end + 30 * SECOND);
    stage.wait_for("ana", &all).await;
    let expired = window_of(&stage.told("ana").await[2]);
    assert_eq!(expired.expires_at, end + 30 * SECOND);
    running.stop().await;
}

#[tokio::test]
async fn the_end_as_told_never_lags_by_more_than_the_granularity() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon()).await;
    stage.wait_for("ana", &["WindowOpened"]).await;
    clock.advance(61 * SECOND);
    stage.say("ana", clock.now()).await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowExtended"])
        .await;
    let extended = window_of(&stage.told("ana").await[1]);
    assert_eq!(extended.expires_at, noon() + 24 * HOUR + 61 * SECOND);
    running.stop().await;
}

#[tokio::test]
async fn a_refusal_closes_the_window_and_a_delivery_opens_the_same_one_again() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("ana", noon() - HOUR).await;
    stage.wait_for("ana", &["WindowOpened"]).await;

    stage.refuse("ana", noon()).await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowCorrected"])
        .await;
    let closed = window_of(&stage.told("ana").await[1]).closed;
    assert_eq!(
        closed.map(|closed| (closed.reason, closed.at)),
        Some((ClosedReason::Corrected, noon()))
    );

    clock.advance(MINUTE);
    stage.prove("ana", noon() + SECOND).await;
    stage
        .wait_for("ana", &["WindowOpened", "WindowCorrected", "WindowOpened"])
        .await;
    let told = stage.told("ana").await;
    assert_eq!(
        told[2].extension(Extension::WindowId),
        told[0].extension(Extension::WindowId)
    );
    let Ok(Event::WindowOpened(opened)) = told[2].event() else {
        panic!("not an opening");
    };
    assert_eq!(opened.reason(), v1::OpenReason::Proven);
    running.stop().await;
}

#[tokio::test]
async fn a_customer_who_proves_to_be_another_has_the_window_merged_and_not_expired() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let running = stage.run().await;
    stage.say("younger", noon() - HOUR).await;
    stage.wait_for("younger", &["WindowOpened"]).await;
    stage.merge("younger", "older", noon()).await;
    stage
        .wait_for("younger", &["WindowOpened", "WindowCorrected"])
        .await;
    let merged = stage.told("younger").await.remove(1);
    let closed = window_of(&merged).closed.expect("closed");
    assert_eq!(closed.reason, ClosedReason::Merged);
    assert_eq!(merged.deadline(), None);
    running.stop().await;
}

#[tokio::test]
async fn a_fact_that_comes_between_reading_and_telling_makes_it_be_decided_again() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let tracker = stage.tracker();
    stage.say("ana", noon() - HOUR).await;
    // A note counts, too: whatever stands there newly, the decision is taken again.
    for is_note in [false, true] {
        let stale = present::read(&stage.log, &stage.directory, &key("ana"))
            .await
            .unwrap();
        assert!(!stale.is_torn);
        if is_note {
            stage.note("ana").await;
        } else {
            stage.say("ana", noon() - MINUTE).await;
        }
        let event = decide(
            None,
            &stale.facts,
            tracker.policies.of(&key("ana").number),
            noon(),
        )
        .unwrap();
        let refused = tracker
            .tell(&key("ana"), &stale, &event, noon(), None)
            .await;
        assert!(
            matches!(refused, Err(AppendError::Conflict { .. })),
            "{refused:?}"
        );
    }
    assert!(stage.told("ana").await.is_empty());

    let deadline = tracker.advance(&key("ana"), None).await.unwrap();
    let end = noon() - MINUTE + 24 * HOUR;
    assert_eq!(deadline, Some(end - 2 * HOUR));
    assert_eq!(window_of(&stage.told("ana").await[0]).expires_at, end);
}

#[tokio::test]
async fn many_who_look_at_once_tell_it_once() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let (one, other) = (stage.tracker(), stage.tracker());
    for round in 0..20 {
        let name = format!("c{round}");
        let key = key(&name);
        stage.say(&name, noon() - HOUR).await;
        let (a, b, c, position) = tokio::join!(
            one.advance(&key, None),
            other.advance(&key, None),
            one.advance(&key, None),
            stage.say(&name, noon() - SECOND),
        );
        for advanced in [a, b, c] {
            advanced.unwrap();
        }
        // The last fact is told by whoever comes after it.
        one.advance(&key, None).await.unwrap();
        let told = stage.told(&name).await;
        let last = window_of(told.last().unwrap());
        assert_eq!(last.expires_at, noon() - SECOND + 24 * HOUR);
        let names = stage.told_names(&name).await;
        let opened_late = told[0].sequence > position.sequence;
        let expected: &[&str] = if opened_late {
            &["WindowOpened"]
        } else {
            &["WindowOpened", "WindowExtended"]
        };
        assert_eq!(names, expected);
    }
}

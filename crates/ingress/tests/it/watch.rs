//! What is watched of who posts: signatures, and numbers that nobody knows.

use std::time::Duration;

use axum::http::StatusCode;
use casement_event::{Event, v1};
use casement_shell::ManualClock;
use casement_testkit::eventually;
use jiff::SignedDuration;
use serde_json::json;

use crate::stage::{Stage, at, config, one_text, signed_by, text};

use v1::WatchLevel::{Alarming, Fine, Warned};

/// What was told of a check about something, oldest first.
async fn told(stage: &Stage, check: &str, of: &str) -> Vec<v1::WatchLevel> {
    let subject = format!("casement.accounts.watch.{check}.{of}");
    let told = stage.all("ACCOUNTS", &subject).await;
    let levels = told.iter().map(|stored| match stored.event().unwrap() {
        Event::WatchRaised(event) => event.watch.unwrap().level(),
        Event::WatchCleared(event) => event.watch.unwrap().level(),
        other => panic!("{}", other.event_type()),
    });
    levels.collect()
}

async fn stage() -> (Stage, ManualClock) {
    let clock = ManualClock::new(at(0));
    let mut config = config();
    // A test posts faster than anybody who is heard.
    config.limits.refusals_per_second = 1_000;
    let deadline = Duration::from_secs(10);
    (
        Stage::start_as(config, clock.shared(), deadline).await,
        clock,
    )
}

async fn posts(stage: &Stage, secret: &str, count: usize, status: StatusCode) {
    for _ in 0..count {
        let body = json!({"object": "x", "entry": []}).to_string();
        let request = signed_by(secret, "/webhooks/whatsapp/shop", body);
        assert_eq!(stage.send(request).await.0, status);
    }
}

#[tokio::test]
async fn bad_signatures_are_told_of_by_app_and_over_half_an_hour_later() {
    let (stage, clock) = stage().await;
    let of = async || told(&stage, "bad-signatures", "whatsapp-shop").await;
    posts(&stage, "wrong", 9, StatusCode::UNAUTHORIZED).await;
    posts(&stage, "wrong", 11, StatusCode::UNAUTHORIZED).await;
    eventually("it is alarming", async || {
        // Whether the first ones were looked at by themselves does not matter.
        of().await.last() == Some(&Alarming)
    })
    .await;
    let told_count = of().await.len();
    assert!(
        told(&stage, "bad-signatures", "whatsapp-default")
            .await
            .is_empty()
    );

    posts(&stage, "shop-secret", 1, StatusCode::OK).await;
    clock.advance(SignedDuration::from_mins(31));
    eventually("it is fine again", async || {
        clock.advance(SignedDuration::from_mins(1));
        of().await.last() == Some(&Fine)
    })
    .await;
    assert_eq!(of().await.len(), told_count + 1, "and told once");
}

#[tokio::test]
async fn a_number_that_nobody_knows_is_told_of_until_an_account_has_it() {
    let (stage, _) = stage().await;
    let post = one_text(("15550003333", "333"), &text("wamid.1", "", "US.1", 0));
    stage.take(&post).await;
    let of = async || told(&stage, "unknown-number", "333").await;
    eventually("it is warned of", async || of().await == [Warned]).await;
    stage.add_number("15550003333", "333").await;
    eventually("it is over", async || of().await == [Warned, Fine]).await;
    assert!(told(&stage, "unknown-number", "111").await.is_empty());
}

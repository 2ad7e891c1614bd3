//! The broker is slow or away: senders hear of it within a second, memory stays bounded, and it
//! goes on by itself. What was answered 200 is on the log, and once.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use casement_ingress::{Config, Limits};
use casement_shell::SystemClock;
use casement_shell::telemetry::Metrics;
use casement_testkit::{Proxy, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::stage::{Stage, config, outcomes, send, signed};

const DEADLINE: Duration = Duration::from_secs(10);

/// Within a second, and what a busy machine adds.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What is done to the way to the broker, and its name.
type Fault = (&'static str, fn(&Proxy));

fn numbered(index: usize) -> String {
    format!(r#"{{"entry":[],"n":{index}}}"#)
}

/// Posts once; returns the status, checked for what goes with it.
async fn post(stage: &Stage, body: String) -> StatusCode {
    let begun = Instant::now();
    let (status, headers, _) = stage.send(signed(body)).await;
    if status != StatusCode::OK {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(headers.contains_key(RETRY_AFTER));
        assert!(begun.elapsed() < TOLD_WITHIN, "{:?}", begun.elapsed());
    }
    status
}

/// Posts all at once; returns the bodies that were answered 200.
async fn post_all(stage: &Stage, bodies: impl Iterator<Item = usize>) -> Vec<String> {
    let all = bodies.map(|index| async move {
        let body = numbered(index);
        (post(stage, body.clone()).await == StatusCode::OK).then_some(body)
    });
    let answers = futures::future::join_all(all).await;
    answers.into_iter().flatten().collect()
}

/// Each body that was answered 200 stands on the log once: it was posted once.
async fn assert_kept(stage: &Stage, accepted: &[String]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for body in stage.raw_bodies().await {
        *counts.entry(body).or_default() += 1;
    }
    for body in accepted {
        assert_eq!(counts.get(body), Some(&1), "{body}");
    }
}

/// Posts until one is taken, each with another body; returns that.
async fn recovered(stage: &Stage, from: usize) -> String {
    let next = std::cell::Cell::new(from);
    eventually("posts are taken again", async || {
        let body = numbered(next.replace(next.get() + 1));
        (post(stage, body.clone()).await == StatusCode::OK).then_some(body)
    })
    .await
}

#[tokio::test]
async fn whatever_happens_to_the_broker_senders_are_told_and_what_was_accepted_is_there() {
    let stage = Stage::start_as(config(), SystemClock::shared(), DEADLINE).await;
    let mut accepted = post_all(&stage, 0..40).await;
    assert_eq!(accepted.len(), 40);

    let faults: [Fault; 5] = [
        ("requests wait", Proxy::hold_requests),
        ("answers wait", Proxy::hold_replies),
        ("answers are lost", Proxy::drop_replies),
        ("no connection", Proxy::refuse),
        ("slow", |proxy| proxy.delay(Duration::from_millis(1_200))),
    ];
    for (index, (name, fault)) in faults.into_iter().enumerate() {
        let first = 1_000 * (index + 1);
        fault(&stage.proxy);
        let during = post_all(&stage, first..first + 40).await;
        assert!(during.is_empty(), "{name}: {during:?}");
        stage.proxy.forward();
        accepted.push(recovered(&stage, first + 100).await);
        let after = post_all(&stage, first + 500..first + 540).await;
        assert_eq!(after.len(), 40, "{name}");
        accepted.extend(after);
    }
    assert_kept(&stage, &accepted).await;
}

#[tokio::test]
async fn a_broker_that_stands_still_and_goes_on_needs_no_restart_of_ours() {
    let mut stage = Stage::start_as(config(), SystemClock::shared(), DEADLINE).await;
    stage.nats.pause();
    let during = post_all(&stage, 0..40).await;
    assert!(during.is_empty(), "{during:?}");
    stage.nats.resume();
    let mut accepted = vec![recovered(&stage, 100).await];
    stage.nats.kill();
    let during = post_all(&stage, 1_000..1_040).await;
    assert!(during.is_empty(), "{during:?}");
    stage.nats.start_again().await;
    accepted.push(recovered(&stage, 2_000).await);
    let after = post_all(&stage, 3_000..3_040).await;
    assert_eq!(after.len(), 40);
    accepted.extend(after);
    assert_kept(&stage, &accepted).await;
}

#[tokio::test]
async fn posts_that_wait_hold_bounded_memory_and_give_it_back_when_their_senders_are_told() {
    Metrics::install();
    let limits = Limits {
        held_mib: 4,
        ..Limits::default()
    };
    let config = Config { limits, ..config() };
    let stage = Stage::start_as(config, SystemClock::shared(), DEADLINE).await;
    stage.proxy.hold_requests();
    // Four of them fit, but for a byte each.
    let large = |index: usize| {
        let start = numbered(index);
        let rest = (1 << 20) - start.len();
        start + &" ".repeat(rest)
    };
    let all = futures::future::join_all((0..8).map(|index| post(&stage, large(index)))).await;
    assert_eq!(all, [StatusCode::SERVICE_UNAVAILABLE; 8]);
    assert_eq!(outcomes("no_memory"), 4, "the others were held");
    assert_eq!(outcomes("outcome_unknown"), 1, "it was on its way");
    assert_eq!(outcomes("not_begun"), 3, "they waited for it");
    // Only what is on its way is held still.
    let all = futures::future::join_all((8..11).map(|index| post(&stage, large(index)))).await;
    assert_eq!(all, [StatusCode::SERVICE_UNAVAILABLE; 3]);
    assert_eq!(outcomes("no_memory"), 4);
    assert_eq!(outcomes("not_begun"), 6);
    stage.proxy.forward();
    let begun = recovered(&stage, 100).await;
    assert_kept(&stage, &[begun]).await;
    let bodies = stage.raw_bodies().await;
    assert!(
        bodies.iter().filter(|body| body.len() == 1 << 20).count() <= 1,
        "what was not begun is not stored"
    );
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    /// More than the queue takes.
    const POSTS: usize = 5_000;
    Metrics::install();
    let limits = Limits {
        concurrency: 2 * POSTS,
        ..Limits::default()
    };
    let config = Config { limits, ..config() };
    let stage = Stage::start_as(config, SystemClock::shared(), DEADLINE).await;
    stage.proxy.hold_requests();
    let mut posting = JoinSet::new();
    for index in 0..POSTS {
        posting.spawn(send(stage.router.clone().unwrap(), signed(numbered(index))));
    }
    while let Some(answer) = posting.join_next().await {
        assert_eq!(answer.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(outcomes("queue_full") > 0);
    stage.proxy.forward();
    let accepted = recovered(&stage, POSTS).await;
    assert_kept(&stage, &[accepted]).await;
}

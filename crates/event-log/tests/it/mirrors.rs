//! A mirrored stream: an answer is never older than the question.

use casement_event::subject::stream;
use casement_event_log::{Expect, Log};
use casement_testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::stage::{self, Ground, behind, note, notes_of, on_both, stage};

/// Writes, and returns where.
async fn write(log: &Log, name: &str) -> u64 {
    let record = note(&notes_of(name), name);
    log.append(record, Expect::Anything).await.unwrap().sequence
}

async fn last(log: &Log, name: &str) -> u64 {
    let stored = log.last(stream::EVENTS, &notes_of(name)).await.unwrap();
    stored.map_or(0, |stored| stored.sequence)
}

on_both! {
    async fn what_somebody_else_just_wrote_is_found_at_once(ground: &Ground) {
        let log = ground.log().await;
        let other = ground.log().await;
        let stopping = CancellationToken::new();
        let mirroring = tokio::spawn({
            let (log, stopping) = (log.clone(), stopping.clone());
            async move { log.mirror(stream::EVENTS, stopping).await }
        });
        for round in 0..200 {
            let name = ["ana", "bo", "cy"][round % 3];
            if round > 2 {
                assert_ne!(last(&log, name).await, 0, "it is kept before it changes");
            }
            let written = write(&other, name).await;
            assert_eq!(last(&log, name).await, written, "round {round}");
        }
        assert_eq!(last(&log, "nobody").await, 0);
        assert_eq!(last(&log, "nobody").await, 0, "now it is kept");
        let written = write(&other, "nobody").await;
        assert_eq!(last(&log, "nobody").await, written);

        stopping.cancel();
        mirroring.await.unwrap();
        let written = write(&other, "ana").await;
        assert_eq!(last(&log, "ana").await, written);
    }
}

on_both! {
    async fn questions_at_once_find_what_was_written_before_them(ground: &Ground) {
        let log = ground.log().await;
        let other = ground.log().await;
        let stopping = CancellationToken::new();
        let _stopping = stopping.clone().drop_guard();
        tokio::spawn({
            let log = log.clone();
            async move { log.mirror(stream::EVENTS, stopping).await }
        });
        for _ in 0..20 {
            let written = write(&other, "ana").await;
            let questions = (0..50).map(|_| last(&log, "ana"));
            let answers = futures::future::join_all(questions).await;
            assert!(
                answers.iter().all(|answer| *answer == written),
                "{answers:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_away_gives_no_answer_and_afterwards_the_right_one() {
    let (mut server, log) = stage().await;
    let stopping = CancellationToken::new();
    let _stopping = stopping.clone().drop_guard();
    tokio::spawn({
        let log = log.clone();
        async move { log.mirror(stream::EVENTS, stopping).await }
    });
    let first = write(&log, "ana").await;
    assert_eq!(last(&log, "ana").await, first);
    assert_eq!(last(&log, "ana").await, first);
    server.kill();
    assert!(log.last(stream::EVENTS, &notes_of("ana")).await.is_err());
    server.start_again().await;
    let other = stage::log(&server).await;
    let written = write(&other, "ana").await;
    eventually("the broker answers", async || {
        match log.last(stream::EVENTS, &notes_of("ana")).await {
            Ok(Some(stored)) if stored.sequence == written => Ok(()),
            Ok(other) => panic!("an answer that is out of date: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn what_somebody_tells_who_is_behind_is_not_kept() {
    for written_before in [0, 1] {
        let (log, fates) = behind();
        for _ in 0..written_before {
            write(&log, "bo").await;
        }
        let stopping = CancellationToken::new();
        let _stopping = stopping.clone().drop_guard();
        tokio::spawn({
            let log = log.clone();
            async move { log.mirror(stream::EVENTS, stopping).await }
        });
        let written = write(&log, "ana").await;
        eventually("it is kept, and only proven", async || {
            last(&log, "bo").await;
            match fates.last_read().as_str() {
                ">" => Ok(()),
                other => Err(other.to_owned()),
            }
        })
        .await;
        fates.by(1);
        // It may say that nothing stands there, or nothing.
        let _ = log.last(stream::EVENTS, &notes_of("ana")).await;
        assert!(fates.answers() > 0);
        fates.by(0);
        assert_eq!(last(&log, "ana").await, written, "{written_before} before");
    }
}

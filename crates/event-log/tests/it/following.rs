//! Following a stream: nothing missed, nothing twice, and when it has caught up.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::{Expect, Followed, Follower, Log, Start};
use casement_testkit::eventually;
use tokio::sync::mpsc;

use crate::stage::{Ground, note, notes_of, on_both, stage, text, write};

const FILTER: &str = "casement.events.note.>";

fn follow(log: &Log, start: Start) -> Follower {
    log.follow(stream::EVENTS, vec![FILTER.to_owned()], start)
}

/// What comes up to and without the word that it has caught up.
async fn until_caught_up(follower: &mut Follower) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match follower.next().await {
            Followed::Event(stored) => all.push(text(&stored)),
            Followed::CaughtUp { .. } => return all,
        }
    }
}

async fn next_text(follower: &mut Follower) -> String {
    match follower.next().await {
        Followed::Event(stored) => text(&stored),
        Followed::CaughtUp { sequence } => panic!("caught up again at {sequence}"),
    }
}

on_both! {
    async fn a_follower_hands_out_everything_from_its_start_and_then_goes_on(ground: &Ground) {
        let log = ground.log().await;
        for index in 0..5 {
            write(&log, &notes_of("c1"), &index.to_string()).await;
        }
        let mut follower = follow(&log, Start::Sequence(3));
        assert_eq!(until_caught_up(&mut follower).await, ["2", "3", "4"]);
        write(&log, &notes_of("c1"), "later").await;
        assert_eq!(next_text(&mut follower).await, "later");
    }
}

on_both! {
    async fn a_follower_of_the_newest_sees_each_subject_once_and_then_everything(ground: &Ground) {
        let log = ground.log().await;
        for round in 0..3 {
            for name in ["c1", "c2", "c3"] {
                write(&log, &notes_of(name), &format!("{name} {round}")).await;
            }
        }
        write(&log, "casement.events.window.03.1.c1", "of another family").await;
        let mut follower = follow(&log, Start::LastPerSubject);
        assert_eq!(
            until_caught_up(&mut follower).await,
            ["c1 2", "c2 2", "c3 2"]
        );
        for text in ["c1 3", "c1 4"] {
            write(&log, &notes_of("c1"), text).await;
        }
        assert_eq!(next_text(&mut follower).await, "c1 3");
        assert_eq!(next_text(&mut follower).await, "c1 4");
    }
}

on_both! {
    async fn a_follower_of_nothing_has_caught_up_at_once(ground: &Ground) {
        let log = ground.log().await;
        // First with an empty stream, then with one that holds other families only.
        for round in 0..2 {
            for start in [Start::LastPerSubject, Start::Sequence(1), Start::New] {
                let mut follower = follow(&log, start);
                assert_eq!(
                    until_caught_up(&mut follower).await,
                    [""; 0],
                    "{round} {start:?}"
                );
            }
            write(&log, "casement.events.window.03.1.c1", "of another family").await;
        }
        let mut follower = follow(&log, Start::LastPerSubject);
        assert_eq!(until_caught_up(&mut follower).await, [""; 0]);
        write(&log, &notes_of("c1"), "first").await;
        assert_eq!(next_text(&mut follower).await, "first");
    }
}

on_both! {
    async fn a_follower_that_starts_at_the_end_sees_only_what_comes(ground: &Ground) {
        let log = ground.log().await;
        write(&log, &notes_of("c1"), "before").await;
        let mut follower = follow(&log, Start::New);
        assert_eq!(until_caught_up(&mut follower).await, [""; 0]);
        write(&log, &notes_of("c1"), "after").await;
        assert_eq!(next_text(&mut follower).await, "after");
    }
}

on_both! {
    async fn a_follower_catches_up_although_what_it_started_with_was_purged(ground: &Ground) {
        let log = ground.log().await;
        for name in ["c1", "c2"] {
            write(&log, &notes_of(name), name).await;
        }
        log.purge_subject(stream::EVENTS, &notes_of("c2"), u64::MAX)
            .await
            .unwrap();
        let mut follower = follow(&log, Start::LastPerSubject);
        assert_eq!(until_caught_up(&mut follower).await, ["c1"]);
    }
}

on_both! {
    async fn a_caller_that_keeps_giving_up_loses_nothing(ground: &Ground) {
        let log = ground.log().await;
        let all: Vec<String> = (0..500).map(|index| index.to_string()).collect();
        let records = all
            .iter()
            .map(|text| (note(&notes_of("c1"), text), Expect::Anything))
            .collect();
        assert!(log.append_all(records).await.iter().all(Result::is_ok));
        let mut follower = follow(&log, Start::Sequence(1));
        let mut seen = Vec::new();
        while seen.len() < all.len() {
            // Shorter than it takes to begin a delivery.
            let waited = tokio::time::timeout(Duration::from_micros(50), follower.next()).await;
            if let Ok(Followed::Event(stored)) = waited {
                seen.push(text(&stored));
            }
        }
        assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn a_follower_misses_nothing_and_sees_nothing_twice_across_restarts_of_the_broker() {
    for start in [Start::Sequence(1), Start::LastPerSubject, Start::New] {
        let (mut server, log) = stage().await;
        let mut follower = follow(&log, start);
        let (seen_in, mut seen) = mpsc::unbounded_channel();
        let caught_up = until_caught_up(&mut follower).await;
        assert_eq!(caught_up, [""; 0]);
        let following = tokio::spawn(async move {
            loop {
                let _ = seen_in.send(next_text(&mut follower).await);
            }
        });

        let expected: Vec<String> = (0..150).map(|index| index.to_string()).collect();
        let mut all = Vec::new();
        for (index, text) in expected.iter().enumerate() {
            if index % 50 == 25 {
                // Some of what was written may be on its way when the broker is killed.
                server.restart().await;
            }
            eventually("it is written", async || {
                log.append(note(&notes_of("c1"), text), Expect::Anything)
                    .await
            })
            .await;
            if index % 50 == 0 {
                while all.len() <= index {
                    all.push(seen.recv().await.unwrap());
                }
            }
        }
        while all.len() < expected.len() {
            all.push(seen.recv().await.unwrap());
        }
        assert_eq!(all, expected, "{start:?}");
        assert!(seen.is_empty());
        following.abort();
    }
}

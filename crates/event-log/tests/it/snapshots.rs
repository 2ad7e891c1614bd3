//! Streams are saved while they are written, and restored as they were under another life.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use casement_event::subject::stream;
use casement_event_log::snapshot::{SAVED_STREAMS, SavedStream, SnapshotError, Snapshots};
use casement_event_log::{Ancestor, Expect, Log};
use casement_testkit::NatsServer;
use futures::StreamExt as _;

use crate::stage::{config, log, note, notes_of, server, stage, texts, write};

async fn save(server: &NatsServer, name: &str) -> (SavedStream, Vec<u8>) {
    let snapshots = Snapshots::connect(&config(server)).await.unwrap();
    let mut file = Vec::new();
    let saved = snapshots.save(name, &mut file).await.unwrap();
    (saved, file)
}

#[tokio::test]
async fn a_restored_stream_has_its_sequences_and_ids_and_another_life() {
    let (before, first) = stage().await;
    for text in ["one", "two", "three"] {
        write(&first, &notes_of("c1"), text).await;
    }
    first.purge_up_to(stream::EVENTS, 2).await.unwrap();
    let (saved, file) = save(&before, stream::EVENTS).await;
    assert_eq!((saved.first_sequence, saved.last_sequence), (2, 3));
    assert_eq!(saved.bytes, file.len() as u64);
    let stood = first.get(stream::EVENTS, 3).await.unwrap().unwrap();

    let after = server().await;
    let snapshots = Snapshots::connect(&config(&after)).await.unwrap();
    let found = snapshots
        .restore(&saved, "abc1", &mut file.as_slice())
        .await
        .unwrap();
    let common = Ancestor {
        incarnation: first.incarnation(stream::EVENTS),
        through: 3,
    };
    assert_eq!(found.incarnation, "abc1");
    assert_eq!(found.ancestors, std::slice::from_ref(&common));

    let second = log(&after).await;
    assert_eq!(second.incarnation(stream::EVENTS), "abc1");
    assert_eq!(second.ancestors(stream::EVENTS), [common]);
    assert_eq!(texts(&second, &notes_of("c1")).await, ["two", "three"]);
    let stands = second.get(stream::EVENTS, 3).await.unwrap().unwrap();
    assert_eq!(stands.headers, stood.headers);
    assert_eq!(stands.stored_at, stood.stored_at);
    // An expectation from before still holds, and the sequences go on.
    let third = notes_of("c1");
    let position = second
        .append(note(&third, "four"), Expect::last(third.clone(), 3))
        .await
        .unwrap();
    assert_eq!(position.sequence, 4);
    assert_eq!(position.incarnation, "abc1");
}

#[tokio::test]
async fn nothing_that_is_there_is_restored_over() {
    let (server, log) = stage().await;
    write(&log, &notes_of("c1"), "one").await;
    let (saved, file) = save(&server, stream::EVENTS).await;
    write(&log, &notes_of("c1"), "two").await;
    let snapshots = Snapshots::connect(&config(&server)).await.unwrap();
    let mut file = file.as_slice();
    match snapshots.restore(&saved, "abc1", &mut file).await {
        Err(SnapshotError::Exists { messages: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(texts(&log, &notes_of("c1")).await, ["one", "two"]);
}

#[tokio::test]
async fn a_broken_file_makes_no_stream() {
    let (before, first) = stage().await;
    write(&first, &notes_of("c1"), "one").await;
    let (saved, mut file) = save(&before, stream::EVENTS).await;
    file.truncate(file.len() / 2);
    let after = server().await;
    let snapshots = Snapshots::connect(&config(&after)).await.unwrap();
    let mut file = file.as_slice();
    match snapshots.restore(&saved, "abc1", &mut file).await {
        Err(SnapshotError::Refused { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(snapshots.find(stream::EVENTS).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_is_saved_whole_while_it_is_written() {
    let (before, first) = stage().await;
    for at in 0..50 {
        write(&first, &notes_of("c1"), &format!("before {at}")).await;
    }
    let writer = {
        let log = first.clone();
        tokio::spawn(async move {
            for at in 0..400 {
                write(&log, &notes_of("c2"), &format!("meanwhile {at}")).await;
            }
        })
    };
    let (saved, file) = save(&before, stream::EVENTS).await;
    writer.await.unwrap();
    let after = server().await;
    let snapshots = Snapshots::connect(&config(&after)).await.unwrap();
    let found = snapshots
        .restore(&saved, "abc1", &mut file.as_slice())
        .await
        .unwrap();
    assert_eq!(found.messages, found.last_sequence);
    let second = log(&after).await;
    for sequence in 1..=found.last_sequence {
        let (was, is) = (
            first.get(stream::EVENTS, sequence).await.unwrap().unwrap(),
            second.get(stream::EVENTS, sequence).await.unwrap().unwrap(),
        );
        assert_eq!((was.subject, was.payload), (is.subject, is.payload));
    }
    assert!(found.last_sequence >= 50);
}

#[tokio::test]
async fn a_consumer_that_had_come_further_than_what_was_saved_is_set_back() {
    let (before, first) = stage().await;
    for text in ["one", "two", "three"] {
        write(&first, &notes_of("c1"), text).await;
    }
    let take = async |server: &NatsServer, count: usize| {
        let context = jetstream::new(server.client().await);
        let events = context.get_stream(stream::EVENTS).await.unwrap();
        let config = pull::Config {
            durable_name: Some("reader".to_owned()),
            // What one reading took ahead and did not acknowledge comes to the next.
            ack_wait: Duration::from_secs(1),
            ..pull::Config::default()
        };
        let reader = events.create_consumer(config).await.unwrap();
        let mut messages = reader.messages().await.unwrap();
        let mut taken = Vec::new();
        for _ in 0..count {
            let message = messages.next().await.unwrap().unwrap();
            message.double_ack().await.unwrap();
            taken.push(message.info().unwrap().stream_sequence);
        }
        taken
    };
    assert_eq!(take(&before, 1).await, [1]);
    let snapshots = Snapshots::connect(&config(&before)).await.unwrap();
    let noted = snapshots.consumers(stream::EVENTS).await.unwrap();
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].done_through, 1);
    assert_eq!(take(&before, 2).await, [2, 3]);
    let (saved, file) = save(&before, stream::EVENTS).await;

    let after = server().await;
    let snapshots = Snapshots::connect(&config(&after)).await.unwrap();
    snapshots
        .restore(&saved, "abc1", &mut file.as_slice())
        .await
        .unwrap();
    snapshots.set_back(&noted[0]).await.unwrap();
    assert_eq!(take(&after, 2).await, [2, 3]);
}

#[tokio::test]
async fn every_stream_but_leases_and_keys_is_saved() {
    let (server, log) = stage().await;
    let context = jetstream::new(server.client().await);
    let mut names = context.stream_names();
    let mut left = Vec::new();
    while let Some(name) = names.next().await {
        let name = name.unwrap();
        if !SAVED_STREAMS.contains(&name.as_str()) {
            left.push(name);
        }
    }
    left.sort();
    assert_eq!(left, [stream::LEASES, stream::SENSITIVE_KEYS]);
    drop::<Log>(log);
}

//! Looking at a broker tells each trouble apart and changes nothing.

use async_nats::jetstream::{self, stream::DiscardPolicy};
use casement_event::subject::stream;
use casement_event_log::inspect::{InspectError, Inspector};
use casement_event_log::{Config, Log};
use casement_testkit::{NatsServer, free_port};

use crate::stage::{config, notes_of, server, write};

#[tokio::test]
async fn an_empty_broker_is_looked_at_and_stays_empty() {
    let server = server().await;
    let inspector = Inspector::connect(&config(&server)).await.unwrap();
    assert_eq!(inspector.version_problem(), None);
    assert_eq!(inspector.max_payload_problem(), None);
    assert_eq!(inspector.stored_bytes().await.unwrap(), 0);
    let monitored = inspector.monitored().await.unwrap().unwrap();
    assert_eq!(Inspector::sync_problem(Some(&monitored)), None);
    assert!(monitored.now.is_some() && monitored.file_store_bytes.is_some());
    for (name, report) in inspector.streams().await {
        assert_eq!(report.unwrap().found, None, "{name}");
    }
    assert!(inspector.numbers().await.unwrap().is_empty());
    let context = jetstream::new(server.client().await);
    assert!(context.get_stream(stream::EVENTS).await.is_err());
}

#[tokio::test]
async fn every_misfit_of_a_stream_is_told_at_once() {
    let server = server().await;
    let log = Log::connect(&config(&server)).await.unwrap();
    write(&log, &notes_of("c1"), "one").await;
    let context = jetstream::new(server.client().await);
    let mut changed = context
        .get_stream(stream::EVENTS)
        .await
        .unwrap()
        .get_info()
        .await
        .unwrap()
        .config;
    changed.discard = DiscardPolicy::Old;
    changed
        .subjects
        .retain(|subject| !subject.contains("foreign"));
    context.update_stream(changed).await.unwrap();

    let inspector = Inspector::connect(&config(&server)).await.unwrap();
    for (name, report) in inspector.streams().await {
        let found = report.unwrap().found.unwrap();
        assert_eq!(found.copies, (1, 1));
        assert!(found.told_at.is_some());
        if name != stream::EVENTS {
            assert_eq!(found.misfits, Vec::<String>::new(), "{name}");
            continue;
        }
        assert_eq!((found.messages, found.last_sequence), (1, 1));
        assert!(found.misfits[0].contains("set discard to new"));
        assert!(found.misfits[1].contains("casement.events.foreign"));
        let stored_at = inspector.stored_at(stream::EVENTS, 1).await.unwrap();
        assert_eq!(found.last_stored_at, Some(stored_at));
    }
}

#[tokio::test]
async fn a_broker_that_is_away_and_one_without_sync_are_told_apart() {
    let server = NatsServer::builder()
        .monitoring(true)
        .sync_always(false)
        .max_payload("1MB")
        .start()
        .await;
    let inspector = Inspector::connect(&config(&server)).await.unwrap();
    let monitored = inspector.monitored().await.unwrap();
    let problem = Inspector::sync_problem(monitored.as_ref()).unwrap();
    assert!(problem.contains("sync_interval: always"), "{problem}");
    let problem = inspector.max_payload_problem().unwrap();
    assert!(problem.contains("8MB"), "{problem}");
    assert!(
        Inspector::sync_problem(None)
            .unwrap()
            .contains("log.monitoring")
    );

    let away = Config {
        servers: format!("nats://127.0.0.1:{}", free_port()),
        ..config(&server)
    };
    match Inspector::connect(&away).await {
        Err(InspectError::Unreachable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broker_is_found_while_others_of_its_cluster_are_away() {
    let server = server().await;
    let live = config(&server).servers;
    let config = Config {
        servers: format!(
            "nats://127.0.0.1:{}, nats://127.0.0.1:{}, {live}",
            free_port(),
            free_port()
        ),
        ..config(&server)
    };
    // Servers are tried in an order of chance.
    for _ in 0..8 {
        let inspector = Inspector::connect(&config).await.unwrap();
        assert_eq!(inspector.version_problem(), None);
    }
}

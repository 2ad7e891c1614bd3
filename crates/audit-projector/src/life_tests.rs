//! Streams that are recreated, set back or purged by hand under their archive, with a real broker.

use std::sync::Arc;

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{Family, conversation, stream};
use casement_event::{Record, Uuid, v1};
use casement_event_log::{Config, Expect, Log, Position};
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive::Archiver;
use crate::batch::Batch;
use crate::chain::Head;
use crate::fixture;
use crate::store::{SharedStore, Sqlite};
use crate::verify::report::{ChainReport, Gap};
use crate::verify::verify_store;

/// A broker, and an archive beside it.
struct World {
    server: NatsServer,
    store: SharedStore,
    readiness: Readiness,
    clock: ManualClock,
    _folder: TempDir,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.sqlite");
    let store = Sqlite::open(&path, 2, fixture::masters()).await.unwrap();
    World {
        server: NatsServer::builder().start().await,
        store: Arc::new(store),
        readiness: Readiness::new(),
        clock: ManualClock::new(SystemClock::new().now()),
        _folder: folder,
    }
}

impl World {
    /// Connects as a process does that starts.
    async fn connect(&self) -> Log {
        let config = Config {
            servers: self.server.url(),
            accept_unsafe_broker: true,
            ..Config::default()
        };
        Log::connect(&config).await.unwrap()
    }

    /// Archives until the token is cancelled.
    fn archive(&self, log: &Log) -> (CancellationToken, tokio::task::JoinHandle<()>) {
        let archiver = Archiver {
            stream: stream::EVENTS,
            log: log.clone(),
            store: Arc::clone(&self.store),
            clock: self.clock.shared(),
            teller: watch::Sender::new(None),
            latch: self.readiness.latch("archive EVENTS"),
            lag_alarm: SignedDuration::from_mins(5),
        };
        let stopping = CancellationToken::new();
        let run = archiver.run(stopping.clone());
        let task = tokio::spawn(async move { run.await.unwrap() });
        (stopping, task)
    }

    async fn archive_up_to(&self, log: &Log, position: &Position) {
        let (stopping, task) = self.archive(log);
        eventually("the stream is archived", async || {
            let head = self
                .store
                .head(stream::EVENTS, &position.incarnation)
                .await
                .unwrap();
            head.is_some_and(|head| head.last_sequence >= position.sequence)
        })
        .await;
        stopping.cancel();
        task.await.unwrap();
    }

    async fn append(&self, log: &Log, count: usize) -> Position {
        let number = BusinessNumber::parse("15550001111").unwrap();
        let customer = CustomerId::parse("c1").unwrap();
        let mut last = None;
        for _ in 0..count {
            let event = v1::InboundMessageReceived {
                conversation: Some(fixture::conversation()),
                ..Default::default()
            };
            let record = Record::new(
                conversation(Family::Inbound, &number, &customer),
                Uuid::new_v4(),
                "casement/test",
                self.clock.now(),
                event,
            );
            last = Some(log.append(record, Expect::Anything).await.unwrap());
        }
        last.unwrap()
    }

    async fn delete_stream(&self) {
        let client = self.server.client().await;
        let answer = client
            .request("$JS.API.STREAM.DELETE.EVENTS", bytes::Bytes::new())
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(answer.contains("\"success\":true"), "{answer}");
    }

    async fn reports(&self) -> Vec<ChainReport> {
        verify_store(self.store.as_ref(), None, &[]).await.unwrap()
    }
}

#[tokio::test]
async fn a_recreated_stream_has_a_chain_of_its_own_and_says_what_it_came_after() {
    let world = world().await;
    let log = world.connect().await;
    let before = world.append(&log, 3).await;
    world.archive_up_to(&log, &before).await;
    world.delete_stream().await;

    let log = world.connect().await;
    let after = world.append(&log, 2).await;
    assert_ne!(after.incarnation, before.incarnation);
    world.archive_up_to(&log, &after).await;
    let counts: Vec<_> = world
        .reports()
        .await
        .iter()
        .map(|it| it.checked_count)
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 5, "{counts:?}");
    assert!(world.reports().await.iter().all(ChainReport::is_intact));
    let first = world
        .store
        .life("EVENTS", &before.incarnation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.previous_incarnation, "");
    assert_eq!(first.begin_time, world.clock.now());
    let second = world
        .store
        .life("EVENTS", &after.incarnation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.previous_incarnation, before.incarnation);
    assert_eq!(second.common_sequence, 0);
}

#[tokio::test]
async fn a_stream_that_is_recreated_under_a_running_archive_is_told() {
    let world = world().await;
    let log = world.connect().await;
    let before = world.append(&log, 1).await;
    let (stopping, task) = world.archive(&log);
    eventually("the archive has caught up", async || {
        world.readiness.is_ready()
    })
    .await;
    world.delete_stream().await;
    let _recreated = world.connect().await;
    eventually("somebody is asked to restart", async || {
        !world.readiness.is_ready()
    })
    .await;
    stopping.cancel();
    task.await.unwrap();
    let head = world
        .store
        .head("EVENTS", &before.incarnation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.last_sequence, 1, "the chain stays as it was");
}

#[tokio::test]
async fn a_log_that_went_on_from_elsewhere_under_the_same_name_is_not_archived_into_the_chain() {
    let world = world().await;
    let log = world.connect().await;
    world.append(&log, 3).await;
    // What stood under the first two sequences before the log was set back.
    let incarnation = log.incarnation("EVENTS");
    let lost = [1, 2].map(|sequence| casement_event::Stored {
        incarnation: incarnation.clone(),
        ..fixture::stored("EVENTS", sequence)
    });
    let start = Head::start("EVENTS", &incarnation);
    let batch = Batch::seal(start, lost.into(), rand::random);
    world.store.append(&batch).await.unwrap();

    let (stopping, task) = world.archive(&log);
    let told = async || {
        let told = world.readiness.reasons();
        told.iter()
            .any(|(_, told)| told.contains("other events than its archive"))
    };
    eventually("it is told", told).await;
    stopping.cancel();
    task.await.unwrap();
    let head = world
        .store
        .head("EVENTS", &incarnation)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head, batch.after, "nothing was added");
}

#[tokio::test]
async fn what_left_the_log_unarchived_is_a_gap_and_what_left_it_afterwards_is_none() {
    let world = world().await;
    let log = world.connect().await;
    let archived = world.append(&log, 3).await;
    world.archive_up_to(&log, &archived).await;
    // As the purge does, behind the archive.
    log.purge_up_to("EVENTS", 3).await.unwrap();
    let lost = world.append(&log, 2).await;
    assert_eq!(lost.sequence, 5);
    let last = world.append(&log, 1).await;
    // As nobody should.
    log.purge_up_to("EVENTS", 6).await.unwrap();
    world.archive_up_to(&log, &last).await;

    let report = world.reports().await.remove(0);
    assert!(report.is_intact(), "{report:?}");
    let gap = Gap {
        first_sequence: 4,
        last_sequence: 5,
    };
    assert_eq!((report.gaps, report.missing_count), (vec![gap], 2));
    assert_eq!((report.checked_count, report.last_sequence), (4, 6));
}

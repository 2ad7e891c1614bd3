//! Archiving and purging with a real broker.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId, MessageId};
use casement_domain::retention::Standing;
use casement_event::subject::{Family, conversation, message, report, reported, stream};
use casement_event::{Event, Record, Uuid, convert::timestamp, v1};
use casement_event_log::{Config, Expect, Log, Position, WorkSpec};
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::{Archiver, BATCH_INTERVAL};
use crate::fixture;
use crate::progress::{Progress, Teller};
use crate::purge::{Keep, Purged, Purger};
use crate::store::{EventFilter, Limit, SharedStore, Sqlite};

/// A broker, an archive beside it, and a time of our own.
struct World {
    log: Log,
    store: SharedStore,
    database: Arc<Sqlite>,
    readiness: Readiness,
    clock: ManualClock,
    purger: Purger,
    _server: NatsServer,
    _folder: TempDir,
}

/// An archiver that runs until it is stopped.
struct Running {
    stopping: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

const KEEP: SignedDuration = SignedDuration::from_hours(24);

async fn world() -> World {
    let server = NatsServer::builder().monitoring(true).start().await;
    let monitoring = server
        .monitoring_url()
        .trim_start_matches("http://")
        .to_owned();
    let config = Config {
        servers: server.url(),
        monitoring: Some(monitoring),
        ..Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(
        &folder.path().join("archive.sqlite"),
        2,
        crate::fixture::masters(),
    )
    .await;
    let database = Arc::new(database.unwrap());
    let store: SharedStore = Arc::clone(&database) as SharedStore;
    let clock = ManualClock::new(SystemClock::new().now());
    let purger = Purger {
        log: log.clone(),
        store: Arc::clone(&store),
        progress: Progress::new(Duration::from_secs(1)).0,
        clock: clock.shared(),
        keep: Keep {
            events: KEEP,
            messages: KEEP,
            reports: KEEP,
            dead: KEEP,
            posts: KEEP,
        },
        interval: Duration::from_hours(1),
    };
    World {
        log,
        store,
        database,
        readiness: Readiness::new(),
        clock,
        purger,
        _server: server,
        _folder: folder,
    }
}

impl World {
    fn archive(&self, stream: &'static str) -> Running {
        self.archive_telling(stream, watch::Sender::new(None))
    }

    fn archive_telling(&self, stream: &'static str, teller: Teller) -> Running {
        let archiver = Archiver {
            stream,
            log: self.log.clone(),
            store: Arc::clone(&self.store),
            clock: self.clock.shared(),
            teller,
            latch: self.readiness.latch("archive"),
            lag_alarm: SignedDuration::from_mins(5),
        };
        let stopping = CancellationToken::new();
        let task = tokio::spawn(archiver.run(stopping.clone()));
        Running { stopping, task }
    }

    /// Archives all that stands on a stream, and no more.
    async fn archive_up_to(&self, position: &Position, stream: &'static str) {
        let running = self.archive(stream);
        let is_archived = async || self.is_archived(stream, position).await;
        eventually("the stream is archived", is_archived).await;
        running.stop().await;
    }

    async fn is_archived(&self, stream: &str, position: &Position) -> bool {
        let head = self.store.head(stream, &position.incarnation).await;
        let head = head.unwrap();
        head.is_some_and(|head| head.last_sequence >= position.sequence)
    }

    async fn append(&self, subject: &str, event: impl Into<Event>) -> Position {
        let record = Record::new(
            subject.to_owned(),
            Uuid::new_v4(),
            "casement/test",
            self.clock.now(),
            event,
        );
        self.log.append(record, Expect::Anything).await.unwrap()
    }

    async fn append_inbound(&self, count: usize) -> Position {
        let customer = CustomerId::parse("c1").unwrap();
        let subject = conversation(Family::Inbound, &number(), &customer);
        let mut last = None;
        for _ in 0..count {
            let event = v1::InboundMessageReceived {
                conversation: Some(fixture::conversation()),
                ..Default::default()
            };
            last = Some(self.append(&subject, event).await);
        }
        last.unwrap()
    }

    async fn held(&self, stream: &str) -> (u64, u64) {
        let state = self.log.state(stream).await.unwrap();
        (state.first_sequence, state.messages)
    }
}

impl Running {
    async fn stop(self) {
        self.stopping.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn number() -> BusinessNumber {
    BusinessNumber::parse("15550001111").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_never_purged_ahead_of_the_archive() {
    let world = world().await;
    let archived = world.append_inbound(5).await;
    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "nothing is archived"
    );
    world.archive_up_to(&archived, stream::EVENTS).await;

    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "nothing is old"
    );
    assert_eq!(world.held(stream::EVENTS).await, (1, 5));
    world.clock.advance(KEEP + SignedDuration::from_hours(1));
    world.clock.set_drift(SignedDuration::from_hours(-25));
    world.purger.purge().await.unwrap_err();
    assert_eq!(
        world.held(stream::EVENTS).await,
        (1, 5),
        "a clock that was set is not believed"
    );
    world.clock.set_drift(SignedDuration::ZERO);
    let purged = world.purger.purge().await.unwrap();
    assert_eq!(
        purged,
        Purged {
            events_count: 5,
            ..Purged::default()
        }
    );
    assert_eq!(world.held(stream::EVENTS).await, (6, 0));

    let last = world.append_inbound(5).await;
    world.archive_up_to(&last, stream::EVENTS).await;
    let reports = crate::verify::verify_store(world.store.as_ref(), None, &[])
        .await
        .unwrap();
    assert_eq!(
        (reports[0].checked_count, reports[0].is_intact()),
        (10, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_older_than_it_is_kept_leaves_the_log() {
    let world = world().await;
    let old = world.append_inbound(3).await;
    world.archive_up_to(&old, stream::EVENTS).await;
    // Nobody but the broker says when an event was stored: find a moment between the two.
    let stored_at = async |sequence| {
        world
            .log
            .get(stream::EVENTS, sequence)
            .await
            .unwrap()
            .unwrap()
            .stored_at
    };
    let boundary = stored_at(3).await;
    world.clock.set(boundary + KEEP);
    let purged = world.purger.purge().await.unwrap();
    assert_eq!(
        purged.events_count, 2,
        "the third is exactly as old as it is kept"
    );
    world.clock.advance(SignedDuration::from_nanos(1));
    assert_eq!(world.purger.purge().await.unwrap().events_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_leaves_the_log_after_its_end_once_all_of_it_is_archived() {
    let world = world().await;
    let [ended, open] = [1, 2].map(|unique| MessageId::new(&number(), unique));
    for id in [&ended, &open] {
        let event = v1::MessageRequested {
            message_id: id.as_str().to_owned(),
            conversation: Some(fixture::conversation()),
            ..Default::default()
        };
        world.append(&message(id), event).await;
    }
    let end_time = Some(timestamp(world.clock.now()));
    let end = v1::MessageEnded {
        message_id: ended.as_str().to_owned(),
        end_time,
        ..Default::default()
    };
    let last = world.append(&message(&ended), end).await;
    world.archive_up_to(&last, stream::MESSAGES).await;
    world.clock.advance(KEEP + SignedDuration::from_secs(1));

    let status = v1::StatusReported {
        message_id: ended.as_str().to_owned(),
        ..Default::default()
    };
    let late = world.append(&report(&ended), status).await;
    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "the report is not archived"
    );
    assert_eq!(world.held(stream::MESSAGES).await.1, 4);

    world.archive_up_to(&late, stream::MESSAGES).await;
    assert_eq!(world.purger.purge().await.unwrap().messages_count, 3);
    let left = world
        .log
        .last(stream::MESSAGES, "casement.events.>")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left.subject, message(&open), "a message that goes on stays");
    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_reports_about_accounts_leave_the_log_and_accounts_stay() {
    let world = world().await;
    let brand = v1::BrandRecorded::default;
    let report = v1::AccountReported::default;
    world.append("casement.accounts.brand.b1", brand()).await;
    world.append(&reported("parked", "1"), report()).await;
    let last = world.append(&reported("template", "2"), report()).await;
    world.clock.advance(KEEP + SignedDuration::from_hours(1));
    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "nothing is archived"
    );
    world.archive_up_to(&last, stream::ACCOUNTS).await;
    assert_eq!(world.purger.purge().await.unwrap().reports_count, 2);
    world.append(&reported("parked", "1"), report()).await;
    assert_eq!(
        world.held(stream::ACCOUNTS).await,
        (1, 2),
        "the account, and the report that is not archived"
    );
    assert_eq!(
        world.purger.purge().await.unwrap(),
        Purged::default(),
        "once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_of_one_stream_archive_each_event_once() {
    let world = world().await;
    let running = [world.archive(stream::EVENTS), world.archive(stream::EVENTS)];
    let last = world.append_inbound(200).await;
    let is_archived = async || world.is_archived(stream::EVENTS, &last).await;
    eventually("all is archived", is_archived).await;
    for running in running {
        running.stop().await;
    }
    let reports = crate::verify::verify_store(world.store.as_ref(), None, &[])
        .await
        .unwrap();
    assert_eq!(
        (reports[0].checked_count, reports[0].is_intact()),
        (200, true),
        "{reports:?}"
    );
    let limit = Limit {
        rows_max: 1_000,
        bytes_max: usize::MAX,
    };
    let page = world
        .store
        .events(&EventFilter::default(), None, limit)
        .await
        .unwrap();
    let sequences: Vec<_> = page.rows.iter().map(|row| row.stored.sequence).collect();
    assert_eq!(sequences, (1..=200).collect::<Vec<_>>());
    let stored: Timestamp = page.rows[0].stored.stored_at;
    let on_log = world.log.get(stream::EVENTS, 1).await.unwrap().unwrap();
    assert_eq!(stored, on_log.stored_at, "to the nanosecond");
    assert_eq!(page.rows[0].stored, on_log, "a row is what the log held");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_one_after_the_other_gather_into_few_transactions() {
    let world = world().await;
    let teller = watch::Sender::new(None);
    let mut told = teller.subscribe();
    let running = world.archive_telling(stream::EVENTS, teller);
    // Where the archive stands, before anything is in it.
    told.changed().await.unwrap();
    let counted = tokio::spawn(async move {
        let mut count = 0_u128;
        while told.changed().await.is_ok() {
            count += 1;
        }
        count
    });
    let since = Instant::now();
    let last = world.append_inbound(200).await;
    let is_archived = async || world.is_archived(stream::EVENTS, &last).await;
    eventually("all is archived", is_archived).await;
    let passed = since.elapsed();
    running.stop().await;
    let count = counted.await.unwrap();
    // One at once, and one for each interval that has begun.
    let most = passed.as_millis() / BATCH_INTERVAL.as_millis() + 2;
    assert!((1..=most).contains(&count), "{count} in {passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_is_waited_for_and_nothing_is_skipped() {
    let world = world().await;
    let archived = world.append_inbound(3).await;
    let running = world.archive(stream::EVENTS);
    let reached = async |position: &Position| world.is_archived(stream::EVENTS, position).await;
    eventually("all is archived", async || reached(&archived).await).await;
    eventually("the archive is ready", async || world.readiness.is_ready()).await;

    let refuse = "CREATE TRIGGER full BEFORE INSERT ON archive
        BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    world.database.tamper(refuse).await;
    let last = world.append_inbound(3).await;
    eventually("the archive is not ready", async || {
        !world.readiness.is_ready()
    })
    .await;
    assert!(!reached(&last).await);
    world.database.tamper("DROP TRIGGER full").await;
    eventually("all is archived", async || reached(&last).await).await;
    eventually("the archive is ready again", async || {
        world.readiness.is_ready()
    })
    .await;
    running.stop().await;
    let reports = crate::verify::verify_store(world.store.as_ref(), None, &[])
        .await
        .unwrap();
    assert_eq!(
        (reports[0].checked_count, reports[0].is_intact()),
        (6, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_the_log_while_the_archive_is_half_a_retention_behind() {
    let world = world().await;
    let archived = world.append_inbound(5).await;
    world.archive_up_to(&archived, stream::EVENTS).await;
    let subject = message(&MessageId::new(&number(), Uuid::new_v4().as_u128()));
    let waits = world.append(&subject, v1::MessageHeld::default()).await;
    let stored = world.log.get(stream::MESSAGES, waits.sequence).await;
    let stored_at = stored.unwrap().unwrap().stored_at;
    for (age_hours, expected) in [
        (0, Standing::Sound),
        (5, Standing::Sound),
        (6, Standing::AtRisk),
        (12, Standing::Stopped),
        (25, Standing::Stopped),
    ] {
        let now = stored_at + SignedDuration::from_hours(age_hours);
        let found = world.purger.standing(now).await.unwrap();
        assert_eq!(found, expected, "{age_hours} h");
    }
    world.clock.set(stored_at + SignedDuration::from_hours(25));
    assert_eq!(world.purger.purge().await.unwrap(), Purged::default());
    assert_eq!(
        world.held(stream::EVENTS).await,
        (1, 5),
        "one stream behind keeps all of them"
    );
    world.archive_up_to(&waits, stream::MESSAGES).await;
    assert_eq!(world.purger.purge().await.unwrap().events_count, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_leave_once_they_are_taken_apart_and_old() {
    let world = world().await;
    for _ in 0..3 {
        world
            .append("casement.raw.whatsapp", v1::RawPack::default())
            .await;
    }
    let stored = world.log.get(stream::RAW, 3).await.unwrap().unwrap();
    world.clock.set(stored.stored_at + KEEP / 3);
    assert_eq!(
        world.purger.standing(world.clock.now()).await.unwrap(),
        Standing::AtRisk,
        "nobody works on them"
    );
    let spec = WorkSpec {
        name: "normalise",
        stream: stream::RAW,
        filters: vec!["casement.raw.>".to_owned()],
        in_hand_max: 1,
        ack_wait: Duration::from_secs(5),
    };
    let stopping = CancellationToken::new();
    let work = {
        let (log, stopping) = (world.log.clone(), stopping.clone());
        tokio::spawn(async move { log.work(spec, stopping, async |_| Ok(())).await })
    };
    eventually("all posts are taken apart", async || {
        world.log.worked_through(stream::RAW).await.unwrap() == Some(3)
    })
    .await;
    stopping.cancel();
    work.await.unwrap();
    assert_eq!(world.purger.purge().await.unwrap(), Purged::default());
    world.clock.set(stored.stored_at + KEEP);
    let purged = world.purger.purge().await.unwrap();
    assert_eq!(
        purged.posts_count, 2,
        "the third is exactly as old as it is kept"
    );
    assert_eq!(world.held(stream::RAW).await, (3, 1));
}

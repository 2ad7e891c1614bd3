//! What the archive watches, with a real broker: alone, and by the role as a whole.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::convert::timestamp;
use casement_event::subject::{Family, account, conversation};
use casement_event::{Event, Record, Uuid};
use casement_event_log::{Config as LogConfig, Expect};
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use futures::future::try_join_all;
use tempfile::TempDir;

use super::*;
use crate::progress::{Progress, Reached};
use crate::store::Sqlite;
use crate::{Config, fixture, start};

use v1::WatchLevel::{Alarming, Fine};

const DIGITS: &str = "15550001111";

struct World {
    log: Log,
    clock: ManualClock,
    folder: TempDir,
    _server: NatsServer,
}

impl World {
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let config = LogConfig {
            servers: server.url(),
            accept_unsafe_broker: true,
            ..LogConfig::default()
        };
        let world = Self {
            log: Log::connect(&config).await.unwrap(),
            clock: ManualClock::new(SystemClock::new().now()),
            folder: tempfile::tempdir().unwrap(),
            _server: server,
        };
        let number = v1::Number {
            number: DIGITS.to_owned(),
            brand_id: "default".to_owned(),
            ..v1::Number::default()
        };
        let event = v1::NumberRecorded {
            number: Some(number),
            ..v1::NumberRecorded::default()
        };
        world.append(account("number", DIGITS), event.into()).await;
        world
    }

    /// Runs the role until the token is cancelled.
    async fn role(&self) -> tokio_util::sync::DropGuard {
        let config = Config {
            database_path: self.folder.path().join("archive.sqlite"),
            ..Config::default()
        };
        let (log, clock) = (self.log.clone(), self.clock.shared());
        let readiness = Readiness::new();
        let role = start(config, fixture::masters(), log, clock, &readiness);
        let role = role.await.unwrap();
        let stopping = CancellationToken::new();
        tokio::spawn(role.run(stopping.clone()));
        stopping.drop_guard()
    }

    async fn append(&self, subject: String, event: Event) {
        let at = self.clock.now();
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", at, event);
        self.log.append(record, Expect::Anything).await.unwrap();
    }

    /// The customer writes at a time.
    async fn hears(&self, at: Timestamp) -> Result<(), std::convert::Infallible> {
        let number = BusinessNumber::parse(DIGITS).unwrap();
        let customer = CustomerId::parse("c1").unwrap();
        let event = v1::InboundMessageReceived {
            conversation: Some(fixture::conversation()),
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                received_time: Some(timestamp(at)),
                ..v1::Times::default()
            }),
            ..v1::InboundMessageReceived::default()
        };
        let subject = conversation(Family::Inbound, &number, &customer);
        self.append(subject, event.into()).await;
        Ok(())
    }

    async fn told(&self, check: Check, of: &str) -> Vec<v1::WatchLevel> {
        let subject = casement_event::subject::watch(check.as_str(), of);
        let told = self.log.read_subject(stream::ACCOUNTS, &subject).await;
        let levels = told.unwrap().into_iter().map(|stored| {
            let (watch, _) = convert::watch::told(stored.event().unwrap()).unwrap();
            watch.level()
        });
        levels.collect()
    }
}

#[tokio::test]
async fn a_number_that_always_hears_and_now_does_not_is_told_of_until_it_does() {
    let world = World::new().await;
    let start = world.clock.now();
    let quarters = (0..3 * WEEK + 4).map(|ago| start - SignedDuration::from_mins(15 * ago));
    let quarters: Vec<Timestamp> = quarters.collect();
    for some in quarters.chunks(200) {
        let heard = some.iter().map(|at| world.hears(*at));
        try_join_all(heard).await.unwrap();
    }
    let _role = world.role().await;
    let of = async || world.told(Check::WebhookSilence, DIGITS).await;

    world.clock.advance(SignedDuration::from_mins(25));
    assert_eq!(of().await, []);
    world.clock.advance(SignedDuration::from_hours(2));
    eventually("the silence is alarming", async || of().await == [Alarming]).await;

    world.hears(world.clock.now()).await.unwrap();
    eventually("it is over", async || {
        // So slowly that it is no silence again.
        world.clock.advance(SignedDuration::from_secs(6));
        of().await == [Alarming, Fine]
    })
    .await;
}

fn taken(message_id: &str, at: Timestamp) -> [Event; 3] {
    let mut started = v1::AttemptStarted {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt: 1,
        start_time: Some(timestamp(at)),
        ..v1::AttemptStarted::default()
    };
    started.set_route(v1::Route::FreeForm);
    let requested = v1::MessageRequested {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        request_time: Some(timestamp(at)),
        ..v1::MessageRequested::default()
    };
    let accepted = v1::AttemptAccepted {
        message_id: message_id.to_owned(),
        conversation: Some(fixture::conversation()),
        attempt: 1,
        ..v1::AttemptAccepted::default()
    };
    [requested.into(), started.into(), accepted.into()]
}

#[tokio::test]
async fn messages_that_nothing_is_reported_of_are_told_of_by_their_number() {
    let world = World::new().await;
    let subject = |id: &str| format!("casement.events.message.03.{DIGITS}.{id}");
    let ids: Vec<String> = (0..6).map(|one| format!("{DIGITS}-{one:032}")).collect();
    for id in &ids {
        for event in taken(id, world.clock.now()) {
            world.append(subject(id), event).await;
        }
    }
    let _role = world.role().await;
    let of = async || world.told(Check::UnreportedSends, DIGITS).await;
    world.clock.advance(SignedDuration::from_mins(14));
    assert_eq!(of().await, []);
    world.clock.advance(SignedDuration::from_mins(6));
    eventually("it is alarming", async || of().await == [Alarming]).await;

    for id in &ids {
        let mut event = v1::DeliveryAdvanced {
            message_id: id.clone(),
            conversation: Some(fixture::conversation()),
            attempt: 1,
            ..v1::DeliveryAdvanced::default()
        };
        event.set_status(v1::DeliveryStatus::Sent);
        world.append(subject(id), event.into()).await;
    }
    eventually("it is over", async || {
        world.clock.advance(SignedDuration::from_secs(12));
        of().await == [Alarming, Fine]
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_nobody_archives_is_told_of_until_it_is() {
    let world = World::new().await;
    let path = world.folder.path().join("archive.sqlite");
    let store = Sqlite::open(&path, 2, fixture::masters()).await.unwrap();
    let (progress, tellers) = Progress::new(Duration::from_secs(1));
    let backend = Backend {
        store: Arc::new(store),
        counted: progress.clone(),
        progress,
        clock: world.clock.shared(),
    };
    let state = world.log.state(stream::EVENTS).await.unwrap();
    let reach = |sequence| {
        for (_, teller) in &tellers {
            teller.send_replace(Some(Reached {
                incarnation: state.incarnation.clone(),
                sequence,
            }));
        }
    };
    let mut watcher = Watcher::new(world.log.clone(), backend);
    let mut watches = Watches::new(world.log.clone(), SOURCE, CHECKS);
    let of = async || world.told(Check::ArchiveLag, stream::EVENTS).await;
    reach(0);
    world.hears(world.clock.now()).await.unwrap();
    world.clock.advance(SignedDuration::from_mins(6));
    watcher.look(&mut watches).await.unwrap();
    assert_eq!(of().await, [], "it may be on its way");
    watcher.look(&mut watches).await.unwrap();
    assert_eq!(of().await, [Alarming]);
    watcher.look(&mut watches).await.unwrap();
    assert_eq!(of().await, [Alarming], "it is told once");

    reach(u64::MAX);
    watcher.look(&mut watches).await.unwrap();
    world.clock.advance(SignedDuration::from_secs(119));
    watcher.look(&mut watches).await.unwrap();
    assert_eq!(of().await, [Alarming]);
    world.clock.advance(SignedDuration::from_secs(1));
    watcher.look(&mut watches).await.unwrap();
    assert_eq!(of().await, [Alarming, Fine]);

    // Another process finds it told, and tells nothing again.
    let mut others = Watches::new(world.log.clone(), SOURCE, CHECKS);
    watcher.look(&mut others).await.unwrap();
    assert_eq!(of().await, [Alarming, Fine]);
}

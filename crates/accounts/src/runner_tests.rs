//! The runner against a real broker: what is due comes, once, again after failures, and to its end.

use std::sync::Mutex;

use casement_event::{Record, Uuid, v1};
use casement_event_log::Expect;
use casement_shell::ManualClock;
use casement_testkit::{NatsServer, eventually};
use tokio::sync::Notify;

use super::*;

const KIND: &str = "probe";

struct House {
    _server: NatsServer,
    log: Log,
    clock: ManualClock,
    stopping: CancellationToken,
}

impl House {
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let config = casement_event_log::Config {
            servers: server.url(),
            accept_unsafe_broker: true,
            ..casement_event_log::Config::default()
        };
        Self {
            log: Log::connect(&config).await.unwrap(),
            clock: ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap()),
            stopping: CancellationToken::new(),
            _server: server,
        }
    }

    fn now(&self) -> Timestamp {
        use casement_shell::Clock as _;
        self.clock.now()
    }

    async fn record(&self, key: &str, deadline: Option<Timestamp>) {
        record(&self.log, key, deadline).await;
    }

    fn start<F, R>(&self, handler: F) -> tokio::task::JoinHandle<()>
    where
        F: Fn(Ripe) -> R + Send + Sync + 'static,
        R: Future<Output = anyhow::Result<Next>> + Send + 'static,
    {
        let runner = Runner::new(self.log.clone(), self.clock.shared());
        tokio::spawn(runner.on(KIND, handler).run(self.stopping.clone()))
    }
}

async fn record(log: &Log, key: &str, deadline: Option<Timestamp>) {
    let subject = casement_event::subject::account(KIND, key);
    let event = v1::BrandRecorded::default();
    let record = Record::new(
        subject,
        Uuid::new_v4(),
        "casement/test",
        Timestamp::UNIX_EPOCH,
        event,
    )
    .with_deadline(deadline);
    log.append(record, Expect::Anything).await.unwrap();
}

/// Who was called, in order.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, key: &str) -> usize {
        let mut calls = self.0.lock().unwrap();
        calls.push(key.to_owned());
        calls.len()
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn reach(&self, count: usize, clock: &ManualClock, step: SignedDuration) {
        eventually("handlers are called", async || {
            clock.advance(step);
            let calls = self.all();
            (calls.len() >= count)
                .then_some(())
                .ok_or(format!("{calls:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_record_comes_at_its_time_whoever_wrote_it_and_once() {
    let house = House::new().await;
    let hour = SignedDuration::from_hours(1);
    house.record("late", Some(house.now() + hour)).await;
    house.record("never", None).await;
    let calls = Calls::default();
    let (noted, log) = (calls.clone(), house.log.clone());
    let running = house.start(move |ripe| {
        let (noted, log) = (noted.clone(), log.clone());
        async move {
            noted.note(&ripe.key);
            record(&log, &ripe.key, None).await;
            Ok(Next::Done)
        }
    });
    house.record("soon", Some(house.now())).await;
    calls.reach(1, &house.clock, SignedDuration::ZERO).await;
    assert_eq!(calls.all(), ["soon"]);
    house.clock.advance(hour);
    calls.reach(2, &house.clock, SignedDuration::ZERO).await;
    // Long after all that could come again would have.
    house.clock.advance(SignedDuration::from_hours(100));
    house.record("last", Some(house.now())).await;
    calls.reach(3, &house.clock, SignedDuration::ZERO).await;
    assert_eq!(calls.all(), ["soon", "late", "last"]);
    house.stopping.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_handler_that_fails_or_breaks_is_called_again_and_one_that_waits_is_too() {
    let house = House::new().await;
    house.record("a", Some(house.now())).await;
    let calls = Calls::default();
    let (noted, clock) = (calls.clone(), house.clock.shared());
    let running = house.start(move |ripe| {
        let (noted, clock) = (noted.clone(), clock.clone());
        async move {
            match noted.note(&ripe.key) {
                1 => anyhow::bail!("platform is away"),
                2 => panic!("a broken handler"),
                3 => Ok(Next::Later(clock.now() + SignedDuration::from_secs(30))),
                _ => Ok(Next::Done),
            }
        }
    });
    let step = SignedDuration::from_millis(100);
    calls.reach(3, &house.clock, step).await;
    let before = house.now();
    calls.reach(4, &house.clock, step).await;
    // Told at its end that it waits, which takes a moment of ours and at most one step of theirs.
    assert!(house.now().duration_since(before) >= SignedDuration::from_secs(29));
    house.stopping.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_in_hand_at_the_stop_comes_to_its_end_and_is_never_in_hand_twice() {
    let house = House::new().await;
    house.record("a", Some(house.now())).await;
    let (calls, gate) = (Calls::default(), Arc::new(Notify::new()));
    let (noted, open) = (calls.clone(), Arc::clone(&gate));
    let running = house.start(move |ripe| {
        let (noted, open) = (noted.clone(), Arc::clone(&open));
        async move {
            noted.note(&ripe.key);
            if ripe.key == "a" {
                open.notified().await;
                noted.note("end");
            }
            Ok(Next::Done)
        }
    });
    calls.reach(1, &house.clock, SignedDuration::ZERO).await;
    // Due again while it is in hand; when the other one is called, it was handed out before.
    house.record("a", Some(house.now())).await;
    house.record("b", Some(house.now())).await;
    calls.reach(2, &house.clock, SignedDuration::ZERO).await;
    assert_eq!(calls.all(), ["a", "b"]);
    house.stopping.cancel();
    gate.notify_one();
    running.await.unwrap();
    assert_eq!(calls.all(), ["a", "b", "end"]);
}

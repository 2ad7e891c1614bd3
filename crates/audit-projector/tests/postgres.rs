//! The role with a real broker and a real PostgreSQL, which is killed under it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which is where unwrap is allowed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use casement_audit_projector::{ChainReport, Config, DatabaseUrl, start, verify_url};
use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{Family, conversation};
use casement_event::{Record, id, v1};
use casement_event_log::{Expect, Log};
use casement_secrets::keys::MasterKeys;
use casement_shell::config::Secret;
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, SystemClock};
use casement_testkit::{NatsServer, Postgres, eventually};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running role.
struct Running {
    stopping: CancellationToken,
    readiness: Readiness,
    role: JoinHandle<anyhow::Result<()>>,
}

/// The master keys of these tests.
fn masters() -> Arc<MasterKeys> {
    let text = Secret::from_value("a key that nobody but these tests knows");
    let keys = MasterKeys::read("secrets.master_key", Some(&text), "customers");
    Arc::new(keys.unwrap())
}

async fn run(log: &Log, url: &str) -> Running {
    let config = Config {
        database_url: Some(DatabaseUrl(Secret::from_value(url))),
        ..Config::default()
    };
    let readiness = Readiness::new();
    let role = start(
        config,
        masters(),
        log.clone(),
        SystemClock::shared(),
        &readiness,
    )
    .await
    .unwrap();
    let stopping = CancellationToken::new();
    let role = tokio::spawn(role.run(stopping.clone()));
    Running {
        stopping,
        readiness,
        role,
    }
}

impl Running {
    async fn becomes_ready(&self, is_ready: bool) {
        let what = format!("readiness is {is_ready}");
        eventually(&what, async || self.readiness.is_ready() == is_ready).await;
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.role.await.unwrap().unwrap();
    }
}

fn inbound(index: u32) -> Record {
    let number = BusinessNumber::parse("15550001111").unwrap();
    let customer = CustomerId::parse(&format!("c{}", index % 7)).unwrap();
    let event = v1::InboundMessageReceived {
        conversation: Some(v1::Conversation {
            number: number.digits().to_owned(),
            customer_id: customer.as_str().to_owned(),
            brand_id: "default".to_owned(),
            ..Default::default()
        }),
        text: format!("message {index}\0"),
        ..Default::default()
    };
    let fact = id::inbound(&number, &format!("wamid.{index}"));
    let subject = conversation(Family::Inbound, &number, &customer);
    Record::new(
        subject,
        fact,
        "casement/test",
        SystemClock::new().now(),
        event,
    )
}

async fn events_chain(url: &str) -> Option<ChainReport> {
    let reports = verify_url(&SecretString::from(url), masters())
        .await
        .unwrap();
    reports.into_iter().find(|report| report.stream == "EVENTS")
}

/// Events that keep coming until they are asked to stop.
struct Customers {
    stopping: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Customers {
    fn start(log: &Log) -> Self {
        let (stopping, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let task = tokio::spawn({
            let (log, stopping, count) = (log.clone(), Arc::clone(&stopping), Arc::clone(&count));
            async move {
                while !stopping.load(Ordering::Relaxed) {
                    let index = count.load(Ordering::Relaxed);
                    log.append(inbound(index), Expect::Anything).await.unwrap();
                    count.store(index + 1, Ordering::Relaxed);
                }
            }
        });
        Self {
            stopping,
            count,
            task,
        }
    }

    async fn write(&self, more: u32) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        eventually("customers write", async || {
            self.count.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    async fn stop(self) -> u32 {
        self.stopping.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.count.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_fills_up_and_comes_back_has_everything_once() {
    let broker = NatsServer::builder().monitoring(true).start().await;
    let monitoring = broker.monitoring_url();
    let config = casement_event_log::Config {
        servers: broker.url(),
        monitoring: Some(monitoring.trim_start_matches("http://").to_owned()),
        ..casement_event_log::Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let mut server = Postgres::start().await;
    let url = server.fresh_database().await;
    let customers = Customers::start(&log);

    // Started before its database.
    server.stop().await;
    let running = run(&log, &url).await;
    customers.write(20).await;
    assert!(!running.readiness.is_ready());
    server.start_again().await;
    running.becomes_ready(true).await;

    // Killed in the middle of archiving, in both ways.
    for _ in 0..2 {
        customers.write(50).await;
        server.kill9();
        running.becomes_ready(false).await;
        customers.write(20).await;
        server.start_again().await;
        running.becomes_ready(true).await;
        customers.write(50).await;
        server.stop_immediately();
        server.start_again().await;
    }

    // Full: everything is refused with what the server says then.
    running.becomes_ready(true).await;
    let fill = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON archive EXECUTE FUNCTION refuse()";
    server.sql(&url, fill).await;
    running.becomes_ready(false).await;
    customers.write(20).await;
    server.sql(&url, "DROP TRIGGER full_disk ON archive").await;
    running.becomes_ready(true).await;

    let count = u64::from(customers.stop().await);
    let state = log.state("EVENTS").await.unwrap();
    assert_eq!(state.messages, count);
    let report = eventually("all is archived", async || {
        events_chain(&url)
            .await
            .filter(|report| report.last_sequence == state.last_sequence)
    })
    .await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.checked_count, count);
    let counted = "SELECT sum(inbound_count) FROM conversations";
    assert_eq!(server.sql(&url, counted).await, count.to_string());

    // And a restart goes on from there.
    running.stop().await;
    log.append(inbound(u32::MAX), Expect::Anything)
        .await
        .unwrap();
    let running = run(&log, &url).await;
    running.becomes_ready(true).await;
    let report = events_chain(&url).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.checked_count, count + 1);
    running.stop().await;
}

#[tokio::test]
async fn an_archive_in_two_places_or_behind_a_wrong_address_is_refused() {
    let broker = NatsServer::builder().monitoring(true).start().await;
    let config = casement_event_log::Config {
        servers: broker.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let url = |text: &str| Some(DatabaseUrl(Secret::from_value(text)));
    for (config, words) in [
        (
            Config {
                database_path: "elsewhere.sqlite".into(),
                database_url: url("postgres://u:hunter2@127.0.0.1/d"),
                ..Config::default()
            },
            "both given",
        ),
        (
            Config {
                database_url: url("file:hunter2"),
                ..Config::default()
            },
            "postgres://",
        ),
    ] {
        let readiness = Readiness::new();
        let refused = start(
            config,
            masters(),
            log.clone(),
            SystemClock::shared(),
            &readiness,
        )
        .await;
        let error = format!("{:#}", refused.unwrap_err());
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

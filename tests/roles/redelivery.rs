//! A webhook that comes again after a week, from the post to the window's events.

use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::{Record, Stored, Uuid, v1};
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_event_log::{Config as LogConfig, Expect, Log};
use casement_ingress::App;
use casement_shell::clock::Clock as _;
use casement_shell::config::Secret;
use casement_shell::health::Readiness;
use casement_shell::http::{ClientOptions, client};
use casement_shell::{ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::Sha256;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NUMBER: &str = "15550001111";
const PHONE_NUMBER_ID: &str = "111";
const SECRET: &str = "app-secret";
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Ingress and tracker on one broker, by one clock.
struct Stage {
    nats: NatsServer,
    log: Log,
    clock: ManualClock,
    http: reqwest::Client,
    ingress: Ingress,
    stopping: CancellationToken,
    tracker: JoinHandle<anyhow::Result<()>>,
}

struct Ingress {
    address: std::net::SocketAddr,
    stopping: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Ingress {
    async fn start(nats: &NatsServer, clock: &ManualClock) -> Self {
        let log = connect(nats).await;
        let stopping = CancellationToken::new();
        let directory = Directory::start(&log, stopping.clone()).await;
        let app = App {
            secrets: vec![Secret::from_value(SECRET)],
            verify_token: Secret::from_value("sesame"),
            client_name: None,
        };
        let config = casement_ingress::Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            apps: [("default".to_owned(), app)].into(),
            ..casement_ingress::Config::default()
        };
        let role = casement_ingress::start(config, log, directory, tokens(), clock.shared())
            .await
            .expect("a fit configuration");
        Self {
            address: role.address(),
            running: tokio::spawn(role.run(stopping.clone())),
            stopping,
        }
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.running.await.expect("no panic").expect("a good end");
    }
}

impl Stage {
    /// Begins now: the broker's own clock cannot be moved.
    async fn set() -> Self {
        let nats = NatsServer::builder().monitoring(true).start().await;
        let clock = ManualClock::new(SystemClock::shared().now());
        let log = connect(&nats).await;
        let account = v1::NumberRecorded {
            number: Some(v1::Number {
                number: NUMBER.to_owned(),
                brand_id: "default".to_owned(),
                portfolio_id: "p1".to_owned(),
                waba_id: "w1".to_owned(),
                phone_number_id: PHONE_NUMBER_ID.to_owned(),
                ..v1::Number::default()
            }),
            ..v1::NumberRecorded::default()
        };
        let subject = subject::account("number", NUMBER);
        let record = Record::new(subject, Uuid::nil(), "casement/test", clock.now(), account);
        log.append(record, Expect::Anything)
            .await
            .expect("an append");
        let stopping = CancellationToken::new();
        let tracker_log = connect(&nats).await;
        let directory = Directory::start(&tracker_log, stopping.clone()).await;
        let tracker = casement_window_tracker::start(
            casement_window_tracker::Config::default(),
            tracker_log,
            directory,
            tokens(),
            clock.shared(),
            &Readiness::new(),
        )
        .expect("a fit configuration");
        Self {
            ingress: Ingress::start(&nats, &clock).await,
            tracker: tokio::spawn(tracker.run(stopping.clone())),
            nats,
            log,
            clock,
            http: client(&ClientOptions::default()).expect("an HTTP client"),
            stopping,
        }
    }

    async fn stop(self) {
        self.ingress.stop().await;
        self.stopping.cancel();
        self.tracker.await.expect("no panic").expect("a good end");
    }

    /// Posts a customer's message as Meta does, and waits until ingress is done with it.
    async fn take(&self, wamid: &str, at: Timestamp) {
        let message = json!({"id": wamid, "from": "15550009999", "from_user_id": "US.1",
            "timestamp": at.as_second().to_string(), "type": "text", "text": {"body": "hello"}});
        let value = json!({"messaging_product": "whatsapp", "messages": [message],
            "metadata": {"display_phone_number": NUMBER, "phone_number_id": PHONE_NUMBER_ID}});
        let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "w1",
            "changes": [{"field": "messages", "value": value}]}]})
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let url = format!("http://{}/webhooks/whatsapp", self.ingress.address);
        let answer = self.http.post(url).header("x-hub-signature-256", signature);
        let answer = answer.body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), reqwest::StatusCode::OK);
        self.done("RAW", "ingress-normaliser").await;
    }

    /// Waits until a durable consumer has done all there is.
    async fn done(&self, stream: &str, consumer: &str) {
        let last = self.log.state(stream).await.expect("a read").last_sequence;
        let url = format!("{}/jsz?consumers=true", self.nats.monitoring_url());
        eventually(&format!("{consumer} is done"), async || {
            let page = self
                .http
                .get(&url)
                .send()
                .await
                .map_err(|e| e.to_string())?;
            let page = page.text().await.map_err(|e| e.to_string())?;
            let page: serde_json::Value = serde_json::from_str(&page).map_err(|e| e.to_string())?;
            let streams = page["account_details"][0]["stream_detail"].as_array();
            let state = streams
                .into_iter()
                .flatten()
                .filter(|one| one["name"] == stream)
                .flat_map(|one| one["consumer_detail"].as_array().into_iter().flatten())
                .find(|one| one["name"] == consumer)
                .ok_or("no such consumer")?;
            let is_done = state["num_pending"] == 0
                && state["num_ack_pending"] == 0
                && state["delivered"]["stream_seq"].as_u64() <= Some(last);
            is_done.then_some(()).ok_or_else(|| state.to_string())
        })
        .await;
    }

    /// The names of all that stands of a family, oldest first.
    async fn names(&self, family: &str) -> Vec<String> {
        let state = self.log.state(stream::EVENTS).await.expect("a read");
        let mut all = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let stored: Option<Stored> = self
                .log
                .get(stream::EVENTS, sequence)
                .await
                .expect("a read");
            let prefix = format!("casement.events.{family}.");
            all.extend(stored.filter(|one| one.subject.starts_with(&prefix)));
        }
        let name = |one: &Stored| one.event_type().rsplit('.').next().map(str::to_owned);
        all.iter().filter_map(name).collect()
    }

    /// Waits until so many windows were opened and have ended.
    async fn windows(&self, opened: usize, expired: usize) {
        eventually("the windows", async || {
            let told = self.names("window").await;
            let count = |name: &str| told.iter().filter(|one| *one == name).count();
            let found = (count("WindowOpened"), count("WindowExpired"));
            (found == (opened, expired))
                .then_some(())
                .ok_or_else(|| format!("{told:?}"))
        })
        .await;
    }
}

fn tokens() -> Tokens {
    Tokens::new("key-of-the-test".to_owned().into())
}

async fn connect(nats: &NatsServer) -> Log {
    let config = LogConfig {
        servers: nats.url(),
        accept_unsafe_broker: true,
        append_deadline: Duration::from_secs(10),
        ..LogConfig::default()
    };
    Log::connect(&config).await.expect("a broker that is ready")
}

#[tokio::test]
async fn a_message_that_comes_again_after_a_week_opens_no_window() {
    let mut stage = Stage::set().await;
    let begin = stage.clock.now() - SignedDuration::from_secs(60);
    stage.take("wamid.first", begin).await;
    stage.windows(1, 0).await;
    stage.clock.advance(DAY);
    stage.windows(1, 1).await;

    // It stands on the log: a repeat is known.
    stage.clock.advance(DAY * 6);
    stage.take("wamid.first", begin).await;
    assert_eq!(stage.names("inbound").await, ["InboundMessageReceived"]);

    // The log has forgotten it, and whoever takes it again, too: it is kept as late.
    let last = stage.log.state(stream::EVENTS).await.expect("a read");
    let purged = stage
        .log
        .purge_up_to(stream::EVENTS, last.last_sequence + 1)
        .await;
    purged.expect("a purge");
    let ingress = Ingress::start(&stage.nats, &stage.clock).await;
    std::mem::replace(&mut stage.ingress, ingress).stop().await;
    stage.take("wamid.first", begin).await;
    stage.take("wamid.first", begin).await;
    assert_eq!(stage.names("inbound").await, ["LateFact"]);

    // The tracker takes facts in their order: what it makes of this one comes after whatever it
    // made of the others.
    stage.take("wamid.new", stage.clock.now()).await;
    stage.windows(1, 0).await;
    assert_eq!(
        stage.names("inbound").await,
        ["LateFact", "InboundMessageReceived"]
    );
    stage.done(stream::EVENTS, "window-tracker").await;
    assert_eq!(stage.names("window").await, ["WindowOpened"]);
    stage.stop().await;
}

//! The role on a broker of its own, and what tests do with it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use casement_domain::id::BusinessNumber;
use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Stored, Uuid, v1};
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_event_log::{Config as LogConfig, Expect, Log};
use casement_ingress::{App, Config, MediaApi, Twilio, TwilioAccount};
use casement_proto::media::v1::media_service_server::MediaServiceServer;
use casement_shell::config::Secret;
use casement_shell::http::{ClientOptions, client};
use casement_shell::{SharedClock, SystemClock};
use casement_testkit::{NatsServer, Proxy, eventually};
use casement_whatsapp::signature;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) const SECRET: &str = "app-secret";
pub(crate) const OLD_SECRET: &str = "app-secret-before";
pub(crate) const VERIFY_TOKEN: &str = "sesame";
pub(crate) const TWILIO_TOKEN: &str = "twilio-token";
pub(crate) const PUBLIC_URL: &str = "https://hooks.example.com";
/// The access token of the numbers: what cargo tells every test, read where the account says.
pub(crate) const ACCESS_TOKEN: &str = env!("CARGO_MANIFEST_DIR");
pub(crate) const PORTFOLIO: &str = "p1";

/// A number and Meta's id of it, known from the start.
pub(crate) const ONE: (&str, &str) = ("15550001111", "111");
/// Another of the same portfolio.
pub(crate) const TWO: (&str, &str) = ("15550002222", "222");

pub(crate) struct Stage {
    pub(crate) nats: NatsServer,
    pub(crate) proxy: Proxy,
    pub(crate) log: Log,
    pub(crate) tokens: Tokens,
    pub(crate) router: Option<Router>,
    pub(crate) media: MediaServiceServer<MediaApi>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stopping: CancellationToken,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(Duration::from_secs(10)).await
    }

    pub(crate) async fn start_with(append_deadline: Duration) -> Self {
        Self::start_as(config(), SystemClock::shared(), append_deadline).await
    }

    /// Starts everything, with the role behind a proxy to the broker.
    pub(crate) async fn start_as(
        config: Config,
        clock: SharedClock,
        append_deadline: Duration,
    ) -> Self {
        let nats = NatsServer::builder().monitoring(true).start().await;
        let proxy = Proxy::start(nats.addr()).await;
        let log = connect(&nats, nats.url(), append_deadline).await;
        for (number, id) in [ONE, TWO] {
            add_number(&log, number, id).await;
        }
        let stopping = CancellationToken::new();
        let role_log = connect(&nats, proxy.url("nats"), append_deadline).await;
        let directory = Directory::start(&role_log, stopping.clone()).await;
        let tokens = Tokens::new("key".to_owned().into());
        let role = casement_ingress::start(config, role_log, directory, tokens.clone(), clock)
            .await
            .unwrap();
        let (router, address, media) = (role.router(), role.address(), role.service());
        let running = tokio::spawn(role.run(stopping.clone()));
        Self {
            nats,
            proxy,
            log,
            tokens,
            router: Some(router),
            media,
            address,
            stopping,
            running,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        send(self.router.clone().unwrap(), request).await
    }

    /// Posts a webhook as Meta does.
    pub(crate) async fn post(&self, body: &Value) -> StatusCode {
        self.send(signed(body.to_string())).await.0
    }

    /// Posts, expects a 200, and waits until everything received is normalised.
    pub(crate) async fn take(&self, body: &Value) {
        assert_eq!(self.post(body).await, StatusCode::OK);
        self.settled().await;
    }

    /// Waits until every pack is done.
    pub(crate) async fn settled(&self) {
        let last = self.log.state(stream::RAW).await.unwrap().last_sequence;
        let url = format!("{}/jsz?consumers=true", self.nats.monitoring_url());
        let client = client(&ClientOptions::default()).unwrap();
        eventually("all packs are done", async || {
            let text = client.get(&url).send().await.map_err(|e| e.to_string())?;
            let text = text.text().await.map_err(|e| e.to_string())?;
            let page: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            let streams = page["account_details"][0]["stream_detail"].as_array();
            let consumer = streams
                .into_iter()
                .flatten()
                .filter(|one| one["name"] == stream::RAW)
                .flat_map(|one| one["consumer_detail"].as_array().into_iter().flatten())
                .find(|one| one["name"] == "ingress-normaliser")
                .ok_or("no consumer")?;
            let done = consumer["num_pending"] == 0
                && consumer["num_ack_pending"] == 0
                && consumer["ack_floor"]["stream_seq"].as_u64() >= Some(last);
            done.then_some(())
                .ok_or_else(|| format!("{last}: {consumer}"))
        })
        .await;
    }

    /// Returns all that stands on a stream under a prefix.
    pub(crate) async fn all(&self, stream: &str, prefix: &str) -> Vec<Stored> {
        let state = self.log.state(stream).await.unwrap();
        let mut all = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let stored = self.log.get(stream, sequence).await.unwrap();
            all.extend(stored.filter(|stored| stored.subject.starts_with(prefix)));
        }
        all
    }

    pub(crate) async fn inbound(&self, number: &str) -> Vec<Stored> {
        let number = BusinessNumber::parse(number).unwrap();
        let prefix = format!("casement.events.inbound.{}.{number}.", number.partition());
        self.all(stream::EVENTS, &prefix).await
    }

    /// Returns the bodies of all posts that were taken.
    pub(crate) async fn raw_bodies(&self) -> Vec<String> {
        let packs = self.all(stream::RAW, "casement.raw.").await;
        let posts = packs
            .iter()
            .flat_map(|stored| match stored.event().unwrap() {
                Event::RawPack(pack) => pack.posts,
                other => panic!("{}", other.event_type()),
            });
        posts
            .map(|post| String::from_utf8(post.body.to_vec()).unwrap())
            .collect()
    }

    pub(crate) async fn dead(&self) -> Vec<Stored> {
        self.all(stream::DEAD, "casement.dead.").await
    }

    pub(crate) async fn add_number(&self, number: &str, phone_number_id: &str) {
        add_number(&self.log, number, phone_number_id).await;
    }

    /// Stops the role, which must end well.
    pub(crate) async fn stop(&mut self) {
        self.router = None;
        self.stopping.cancel();
        (&mut self.running).await.unwrap().unwrap();
    }
}

pub(crate) async fn send(
    router: Router,
    request: Request<Body>,
) -> (StatusCode, HeaderMap, String) {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, text)
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

pub(crate) fn signed(body: String) -> Request<Body> {
    signed_by(SECRET, "/webhooks/whatsapp", body)
}

pub(crate) fn signed_by(secret: &str, path: &str, body: String) -> Request<Body> {
    let header = signature::sign(body.as_bytes(), &secret.to_owned().into());
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(signature::HEADER, header)
        .body(Body::from(body))
        .unwrap()
}

/// A callback as Twilio posts it.
pub(crate) fn from_twilio(path: &str, pairs: &[(&str, &str)]) -> Request<Body> {
    use casement_sms::twilio::signature;
    let pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let url = format!("{PUBLIC_URL}{path}");
    let header = signature::sign_form(&url, &pairs, &TWILIO_TOKEN.to_owned().into());
    let body = serde_urlencoded::to_string(&pairs).unwrap();
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(signature::HEADER, header)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap()
}

pub(crate) async fn connect(nats: &NatsServer, url: String, append_deadline: Duration) -> Log {
    connect_to(nats.monitoring_url(), url, append_deadline).await
}

/// [`connect`], for a task that outlives its caller's borrows.
pub(crate) async fn connect_to(
    monitoring_url: String,
    url: String,
    append_deadline: Duration,
) -> Log {
    let config = LogConfig {
        servers: url,
        monitoring: Some(monitoring_url.replace("http://", "")),
        append_deadline,
        ack_timeout: Duration::from_millis(500).min(append_deadline),
        ..LogConfig::default()
    };
    Log::connect(&config).await.unwrap()
}

pub(crate) fn config() -> Config {
    let secret = |text: &str| Secret::from_value(text);
    let app = App {
        secrets: vec![secret(SECRET), secret(OLD_SECRET)],
        verify_token: secret(VERIFY_TOKEN),
        client_name: None,
    };
    let shop = App {
        secrets: vec![secret("shop-secret")],
        verify_token: secret("shop-token"),
        client_name: None,
    };
    let account = TwilioAccount {
        auth_tokens: vec![secret(TWILIO_TOKEN)],
    };
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        apps: [("default".to_owned(), app), ("shop".to_owned(), shop)].into(),
        twilio: Twilio {
            public_url: Some(PUBLIC_URL.to_owned()),
            accounts: [("default".to_owned(), account)].into(),
        },
        ..Config::default()
    }
}

async fn add_number(log: &Log, number: &str, phone_number_id: &str) {
    let event = v1::NumberRecorded {
        number: Some(v1::Number {
            number: number.to_owned(),
            brand_id: "default".to_owned(),
            portfolio_id: PORTFOLIO.to_owned(),
            waba_id: "w1".to_owned(),
            phone_number_id: phone_number_id.to_owned(),
            token: Some(v1::SecretRef {
                source: Some(v1::secret_ref::Source::Env("CARGO_MANIFEST_DIR".to_owned())),
            }),
            sms: Some(v1::SmsSender {
                sender: format!("+{number}"),
                account_sid: "AC1".to_owned(),
                auth_token: None,
            }),
            ..v1::Number::default()
        }),
        time: Some(timestamp(jiff::Timestamp::UNIX_EPOCH)),
        caller: "test".to_owned(),
    };
    let subject = subject::account("number", number);
    let record = Record::new(
        subject,
        Uuid::new_v4(),
        "casement/test",
        jiff::Timestamp::UNIX_EPOCH,
        event,
    );
    log.append(record, Expect::Anything).await.unwrap();
}

/// A post of several changes, each a field and its value.
pub(crate) fn webhook(changes: &[(&str, Value)]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(field, value)| json!({"field": field, "value": value}))
        .collect();
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "w1", "changes": changes}]})
}

/// A value with a number's metadata and one more key.
pub(crate) fn value(number: (&str, &str), key: &str, content: Value) -> Value {
    let (digits, id) = number;
    let mut value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": digits, "phone_number_id": id}});
    value[key] = content;
    value
}

/// A text message; an empty phone or user id is left out, as Meta does.
pub(crate) fn text(wamid: &str, phone: &str, user_id: &str, second: i64) -> Value {
    let mut message = json!({"id": wamid, "timestamp": at(second).as_second().to_string(),
        "type": "text", "text": {"body": format!("text of {wamid}")}});
    if !phone.is_empty() {
        message["from"] = json!(phone);
    }
    if !user_id.is_empty() {
        message["from_user_id"] = json!(user_id);
    }
    message
}

/// A post with one text message.
pub(crate) fn one_text(number: (&str, &str), message: &Value) -> Value {
    webhook(&[("messages", value(number, "messages", json!([message])))])
}

pub(crate) fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// Returns what an inbound event's summary says.
pub(crate) fn known(stored: &Stored) -> casement_event::convert::inbound::Known {
    casement_event::convert::inbound::known(&stored.event().unwrap())
        .unwrap()
        .unwrap()
}

pub(crate) fn message(stored: &Stored) -> v1::InboundMessageReceived {
    match stored.event().unwrap() {
        Event::InboundMessageReceived(message) => message,
        other => panic!("{}", other.event_type()),
    }
}

pub(crate) fn types(stored: &[Stored]) -> Vec<&str> {
    stored
        .iter()
        .map(|one| one.event_type().trim_start_matches("casement.events.v1."))
        .collect()
}

/// How many posts had this outcome so far, in this process.
pub(crate) fn outcomes(outcome: &str) -> u64 {
    let label = format!("outcome=\"{outcome}\"");
    let page = casement_shell::telemetry::Metrics::install().render();
    page.lines()
        .filter(|line| line.starts_with("casement_ingress_posts_total{") && line.contains(&label))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

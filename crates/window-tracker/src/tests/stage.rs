//! A broker with accounts on it, customers who write, and trackers that can be killed.

use std::sync::Arc;

use casement_domain::id::{BusinessNumber, CustomerId, Phone};
use casement_domain::inbound::{
    Addresses, Fact, Kind, Marks, QualifyingPolicy, Summary, ThreadOwner,
};
use casement_event::convert::{inbound, timestamp, window};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Stored, Uuid, id, v1};
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_event_log::{Expect, Log, Position};
use casement_proto::window::v1 as api;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_shell::auth::{self, TokenConfig, protect};
use casement_shell::health::Readiness;
use casement_shell::{ManualClock, SharedClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::present::Key;
use crate::tracker::Tracker;
use crate::{Config, Role, start};

mod evidence;

pub(super) const NUMBER: &str = "15550001111";
/// Belongs to another brand.
pub(super) const OTHER_NUMBER: &str = "15550002222";
pub(super) const PORTFOLIO: &str = "p1";

/// Any moment will do.
pub(super) fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("an instant")
}

pub(super) fn number() -> BusinessNumber {
    BusinessNumber::parse(NUMBER).expect("a number")
}

pub(super) fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).expect("a customer id")
}

pub(super) fn key(name: &str) -> Key {
    Key {
        number: number(),
        customer: customer(name),
    }
}

pub(super) struct Stage {
    pub(super) nats: NatsServer,
    pub(super) log: Log,
    pub(super) directory: Directory,
    pub(super) clock: SharedClock,
    pub(super) tokens: Tokens,
    config: Config,
}

impl Stage {
    /// With time that moves when the test says so.
    pub(super) async fn with_manual_clock(config: Config) -> (Self, ManualClock) {
        let clock = ManualClock::new(noon());
        (Self::build(config, clock.shared()).await, clock)
    }

    /// With real time.
    pub(super) async fn with_system_clock(config: Config) -> Self {
        Self::build(config, SystemClock::shared()).await
    }

    async fn build(config: Config, clock: SharedClock) -> Self {
        let nats = NatsServer::start().await;
        let log = connect(&nats).await;
        for (number, brand) in [(NUMBER, "default"), (OTHER_NUMBER, "other")] {
            let account = v1::NumberRecorded {
                number: Some(v1::Number {
                    number: number.to_owned(),
                    brand_id: brand.to_owned(),
                    portfolio_id: PORTFOLIO.to_owned(),
                    ..v1::Number::default()
                }),
                ..v1::NumberRecorded::default()
            };
            let subject = subject::account("number", number);
            let record = Record::new(subject, Uuid::nil(), "casement/test", clock.now(), account);
            log.append(record, Expect::Anything)
                .await
                .expect("an append");
        }
        let directory = Directory::start(&log, CancellationToken::new()).await;
        Self {
            nats,
            log,
            directory,
            clock,
            tokens: Tokens::new("key-of-the-test".to_owned().into()),
            config,
        }
    }

    pub(super) fn role(&self, readiness: &Readiness) -> Role {
        start(
            self.config.clone(),
            self.log.clone(),
            self.directory.clone(),
            self.tokens.clone(),
            Arc::clone(&self.clock),
            readiness,
        )
        .expect("a fit configuration")
    }

    /// A tracker of nobody's: it does what it is told to.
    pub(super) fn tracker(&self) -> Tracker {
        Tracker {
            log: self.log.clone(),
            directory: self.directory.clone(),
            clock: Arc::clone(&self.clock),
            policies: self.config.policies(),
        }
    }

    /// Runs the role, with a connection of its own, until it is killed.
    pub(super) async fn run(&self) -> Running {
        self.run_by(Arc::clone(&self.clock)).await
    }

    /// The same, by a clock of its own.
    pub(super) async fn run_by(&self, clock: SharedClock) -> Running {
        let readiness = Readiness::new();
        let log = connect(&self.nats).await;
        let role = start(
            self.config.clone(),
            log,
            self.directory.clone(),
            self.tokens.clone(),
            clock,
            &readiness,
        )
        .expect("a fit configuration");
        let stopping = CancellationToken::new();
        Running {
            task: tokio::spawn(role.run(stopping.clone())),
            stopping,
            readiness,
        }
    }

    /// Serves the role's queries, without its loops, to callers of two brands.
    pub(super) async fn serve(&self) -> WindowServiceClient<Channel> {
        let tokens: Vec<TokenConfig> = [
            ("read", "default", "read"),
            ("other", "other", "read"),
            ("every", "*", "read"),
            ("send", "default", "send"),
        ]
        .map(|(name, brand, scope)| {
            let text = format!(
                "name = '{name}'\ntoken = 'token-{name}'\nbrand = '{brand}'\nscopes = ['{scope}']"
            );
            toml::from_str(&text).expect("a token")
        })
        .into();
        let tokens = auth::Tokens::from_config(&tokens).expect("fit tokens");
        let role = self.role(&Readiness::new());
        let routes = protect(Routes::new(role.service()), tokens);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(casement_shell::grpc::serve(
            listener,
            routes,
            CancellationToken::new(),
        ));
        WindowServiceClient::connect(format!("http://{address}"))
            .await
            .expect("a server that listens")
    }

    /// A customer writes, and it reaches us now.
    pub(super) async fn say(&self, name: &str, at: Timestamp) -> Position {
        self.happen(name, at, Kind::Content, None).await
    }

    /// The thread passes to another responder.
    pub(super) async fn hand_over(&self, name: &str, at: Timestamp) -> Position {
        self.happen(name, at, Kind::ThreadHandover, Some(ThreadOwner::Other))
            .await
    }

    /// The customer writes from an ad.
    pub(super) async fn come_from_ad(&self, name: &str, at: Timestamp) -> Position {
        let marks = Marks {
            is_referral: true,
            ..Marks::default()
        };
        self.happen_marked(name, at, (Kind::Content, marks), None)
            .await
    }

    /// The business answers from its phone.
    pub(super) async fn answer_elsewhere(&self, name: &str, at: Timestamp) -> Position {
        let marks = Marks {
            answered_at: Some(at),
            ..Marks::default()
        };
        self.happen_marked(name, at, (Kind::Echo, marks), None)
            .await
    }

    /// The platform gives the customer another user id.
    pub(super) async fn rename(&self, name: &str, at: Timestamp) -> Position {
        let marks = Marks {
            changes_user_id: true,
            ..Marks::default()
        };
        self.append_inbound(name, at, (Kind::System, marks), None, |times, summary| {
            v1::CustomerIdentityChanged {
                conversation: Some(conversation(name)),
                times: Some(times),
                summary: Some(summary),
                ..v1::CustomerIdentityChanged::default()
            }
            .into()
        })
        .await
    }

    pub(super) async fn happen(
        &self,
        name: &str,
        at: Timestamp,
        kind: Kind,
        owner: Option<ThreadOwner>,
    ) -> Position {
        self.happen_marked(name, at, (kind, Marks::default()), owner)
            .await
    }

    async fn happen_marked(
        &self,
        name: &str,
        at: Timestamp,
        (kind, marks): (Kind, Marks),
        owner: Option<ThreadOwner>,
    ) -> Position {
        self.append_inbound(name, at, (kind, marks), owner, |times, summary| {
            v1::InboundMessageReceived {
                conversation: Some(conversation(name)),
                times: Some(times),
                summary: Some(summary),
                kind: "text".to_owned(),
                policy_rule: casement_domain::inbound::rule_of(kind).name.to_owned(),
                qualifies: QualifyingPolicy::default().qualifies(kind),
                ..v1::InboundMessageReceived::default()
            }
            .into()
        })
        .await
    }

    /// The customer proves to be another one.
    pub(super) async fn merge(&self, name: &str, survivor: &str, at: Timestamp) -> Position {
        let system = (Kind::System, Marks::default());
        self.append_inbound(name, at, system, None, |times, summary| {
            v1::MovedTo {
                conversation: Some(conversation(name)),
                times: Some(times),
                summary: Some(summary),
                survivor_customer_id: survivor.to_owned(),
            }
            .into()
        })
        .await
    }

    async fn append_inbound(
        &self,
        name: &str,
        at: Timestamp,
        (kind, marks): (Kind, Marks),
        owner: Option<ThreadOwner>,
        event: impl Fn(v1::Times, v1::InboundSummary) -> Event,
    ) -> Position {
        let subject = subject::conversation(Family::Inbound, &number(), &customer(name));
        let last = self
            .log
            .last(stream::EVENTS, &subject)
            .await
            .expect("a read");
        let (known, newest) = match &last {
            None => (Summary::default(), 0),
            Some(stored) => {
                let known = inbound::known(&stored.event().expect("an event")).expect("readable");
                (known.expect("an inbound fact").summary, stored.sequence)
            }
        };
        let provider_id = match kind {
            Kind::Echo => format!("wamid.{name}.{at}.echo"),
            _ => format!("wamid.{name}.{at}"),
        };
        let event_id = id::inbound(&number(), &provider_id);
        let now = self.clock.now();
        let fact = Fact {
            id: id::fact(event_id),
            at,
            received_at: now,
            kind,
            provider_id,
            addresses: Addresses::default(),
            thread_owner: owner,
            marks,
        };
        let summary = known.join(fact.summary(&QualifyingPolicy::default()));
        let times = v1::Times {
            event_time: Some(timestamp(at)),
            received_time: Some(timestamp(now)),
            ..v1::Times::default()
        };
        let event = event(times, inbound::summary(&summary));
        let record = Record::new(subject.clone(), event_id, "casement/test", at, event)
            .caused_by(Some(traceparent(name)));
        self.log
            .append(record, Expect::last(subject, newest))
            .await
            .expect("an append")
    }

    /// A colleague remarks on the customer.
    pub(super) async fn note(&self, name: &str) {
        let subject = subject::conversation(Family::Note, &number(), &customer(name));
        let now = self.clock.now();
        let note = v1::NoteAdded::default();
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", now, note);
        self.log
            .append(record, Expect::Anything)
            .await
            .expect("an append");
    }

    /// All that was told about a customer's window, oldest first.
    pub(super) async fn told(&self, name: &str) -> Vec<Stored> {
        let subject = subject::conversation(Family::Window, &number(), &customer(name));
        self.log
            .read_subject(stream::EVENTS, &subject)
            .await
            .expect("a read")
    }

    /// The names of all that was told about a customer's window.
    pub(super) async fn told_names(&self, name: &str) -> Vec<String> {
        let told = self.told(name).await;
        told.iter().map(short_name).collect()
    }

    /// Waits until exactly this was told about a customer's window.
    pub(super) async fn wait_for(&self, name: &str, expected: &[&str]) {
        eventually(&format!("{name} is told {expected:?}"), async || {
            let told = self.told_names(name).await;
            if told == expected {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await;
    }

    /// Tells the customer of a phone and a user id, linking what is new; either may be empty.
    pub(super) async fn link(&self, phone: &str, user_id: &str) -> CustomerId {
        let portfolio = casement_domain::id::PortfolioId::parse(PORTFOLIO).expect("a portfolio");
        let addresses = Addresses {
            phone: Phone::parse(phone).ok(),
            user_id: Some(user_id.to_owned()).filter(|user_id| !user_id.is_empty()),
            parent_user_id: None,
        };
        let now = self.clock.now();
        casement_event_log::customers::resolve(
            &self.log,
            &self.tokens,
            "casement/test",
            &portfolio,
            &addresses,
            now,
        )
        .await
        .expect("a customer")
        .customer
    }
}

async fn connect(nats: &NatsServer) -> Log {
    let config = casement_event_log::Config {
        servers: nats.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    Log::connect(&config).await.expect("a broker that is ready")
}

fn conversation(name: &str) -> v1::Conversation {
    v1::Conversation {
        number: NUMBER.to_owned(),
        customer_id: name.to_owned(),
        brand_id: "default".to_owned(),
        portfolio_id: PORTFOLIO.to_owned(),
    }
}

/// The trace context of all that a customer does.
pub(super) fn traceparent(name: &str) -> String {
    let trace = Uuid::new_v5(&Uuid::nil(), name.as_bytes()).simple();
    format!("00-{trace}-00f067aa0ba902b7-01")
}

pub(super) fn short_name(stored: &Stored) -> String {
    stored
        .event_type()
        .trim_start_matches("casement.events.v1.")
        .to_owned()
}

/// The window as a stored window event carries it.
pub(super) fn window_of(stored: &Stored) -> casement_domain::window::Published {
    let event = stored.event().expect("an event");
    let window = window::read(&event).expect("readable");
    window.expect("a window event")
}

/// A running tracker. Dropping it leaves it running.
pub(super) struct Running {
    pub(super) readiness: Readiness,
    stopping: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Ends it between any two steps, as a crash does.
    pub(super) async fn kill(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }

    /// Asks it to stop, and waits for the orderly end.
    pub(super) async fn stop(self) {
        self.stopping.cancel();
        self.task.await.expect("no panic").expect("an orderly end");
    }

    pub(super) async fn wait_until_ready(&self) {
        let mut ready = self.readiness.watch();
        ready
            .wait_for(|ready| *ready)
            .await
            .expect("readiness lives");
    }
}

/// A request about a customer, with the token of that name.
pub(super) fn ask(
    token: &str,
    number: &str,
    customer: api::customer_ref::Customer,
) -> tonic::Request<api::GetWindowRequest> {
    with_token(
        token,
        api::GetWindowRequest {
            number: number.to_owned(),
            customer: Some(api::CustomerRef {
                customer: Some(customer),
            }),
            not_before: String::new(),
        },
    )
}

pub(super) fn with_token<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer token-{token}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

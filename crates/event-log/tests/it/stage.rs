//! A broker and a log for one test, and the events that the tests write.
//!
//! The events mean nothing; the log does not look inside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Stored, Uuid, id, v1};
use casement_event_log::{Config, Expect, Log, Position};

use casement_event_log::memory::{Broker, Calm, Fate, Fates, Operation};
use casement_shell::SystemClock;
use casement_testkit::NatsServer;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// What logs stand on: the contract is one, whoever keeps it.
pub(crate) enum Ground {
    Nats(NatsServer),
    Memory(Broker),
}

impl Ground {
    pub(crate) async fn nats() -> Self {
        Self::Nats(server().await)
    }

    /// By the time of the machine, as a server's.
    pub(crate) fn memory() -> Self {
        let clock = SystemClock::shared();
        Self::Memory(Broker::new(&Config::default(), move || clock.now()))
    }

    /// Another connection.
    pub(crate) async fn log(&self) -> Log {
        match self {
            Self::Nats(server) => log(server).await,
            Self::Memory(broker) => broker.connect(&Config::default(), Calm),
        }
    }
}

/// A connection that is answered, for as long as it is told to be, by a broker that has not heard of
/// the newest messages. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Behind {
    unheard: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    last_read: Arc<Mutex<String>>,
}

impl Behind {
    /// From now on whoever answers has not heard of so many.
    pub(crate) fn by(&self, unheard: u64) {
        self.unheard.store(unheard, Ordering::SeqCst);
    }

    /// How often somebody answered who was behind.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// What was asked for last.
    pub(crate) fn last_read(&self) -> String {
        self.last_read.lock().unwrap().clone()
    }
}

impl Fates for Behind {
    fn going<'a>(&'a self, operation: Operation, what: &'a str) -> BoxFuture<'a, Fate> {
        if operation == Operation::Read {
            what.clone_into(&mut self.last_read.lock().unwrap());
        }
        let unheard = self.unheard.load(Ordering::SeqCst);
        if operation != Operation::Read || unheard == 0 {
            return std::future::ready(Fate::Done).boxed();
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Fate::Behind(unheard)).boxed()
    }

    fn coming<'a>(&'a self, _: Operation, _: &'a str) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}

/// A log in memory, and what makes those who answer for it be behind.
pub(crate) fn behind() -> (Log, Behind) {
    let clock = SystemClock::shared();
    let broker = Broker::new(&Config::default(), move || clock.now());
    let behind = Behind::default();
    (broker.connect(&Config::default(), behind.clone()), behind)
}

/// Holds a claim against a real broker, and against the one in memory.
macro_rules! on_both {
    (async fn $name:ident($ground:ident: &Ground) $body:block) => {
        mod $name {
            use super::*;

            async fn holds($ground: &Ground) $body

            #[tokio::test]
            async fn on_nats() {
                holds(&Ground::nats().await).await;
            }

            #[tokio::test]
            async fn in_memory() {
                holds(&Ground::memory()).await;
            }
        }
    };
}
pub(crate) use on_both;

/// A server as production is asked to have it, which can be asked whether it syncs.
pub(crate) async fn server() -> NatsServer {
    NatsServer::builder().monitoring(true).start().await
}

/// A configuration that fits the server. Acknowledgements are given up early, so that what
/// follows a lost one comes soon.
pub(crate) fn config(server: &NatsServer) -> Config {
    Config {
        servers: server.url(),
        monitoring: Some(monitoring(server)),
        ack_timeout: Duration::from_millis(400),
        append_deadline: Duration::from_secs(15),
        ..Config::default()
    }
}

/// The server's monitoring address, without the scheme.
pub(crate) fn monitoring(server: &NatsServer) -> String {
    server
        .monitoring_url()
        .trim_start_matches("http://")
        .to_owned()
}

pub(crate) async fn log(server: &NatsServer) -> Log {
    Log::connect(&config(server)).await.unwrap()
}

pub(crate) async fn stage() -> (NatsServer, Log) {
    let server = server().await;
    let log = log(&server).await;
    (server, log)
}

pub(crate) fn number() -> BusinessNumber {
    BusinessNumber::parse("15550001111").unwrap()
}

pub(crate) fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

/// The subject of one customer's notes.
pub(crate) fn notes_of(name: &str) -> String {
    subject::conversation(Family::Note, &number(), &customer(name))
}

/// All families of one customer.
pub(crate) fn any_of(name: &str) -> String {
    subject::conversation_any(&number(), &customer(name))
}

/// A note. The same subject and text make the same event id.
pub(crate) fn note(subject: &str, text: &str) -> Record {
    let event = v1::NoteAdded {
        text: text.to_owned(),
        ..v1::NoteAdded::default()
    };
    let id = Uuid::new_v5(&id::NAMESPACE, format!("{subject} {text}").as_bytes());
    let time = Timestamp::UNIX_EPOCH;
    Record::new(subject.to_owned(), id, "casement/test", time, event)
}

/// Appends a note that expects nothing, and returns where it stands.
pub(crate) async fn write(log: &Log, subject: &str, text: &str) -> Position {
    log.append(note(subject, text), Expect::Anything)
        .await
        .unwrap()
}

/// What a note says.
pub(crate) fn text(stored: &Stored) -> String {
    match stored.event() {
        Ok(Event::NoteAdded(note)) => note.text,
        other => panic!("no note: {other:?}"),
    }
}

/// What the notes of a subject say, oldest first.
pub(crate) async fn texts(log: &Log, subject: &str) -> Vec<String> {
    let all = log.read_subject(stream::EVENTS, subject).await.unwrap();
    all.iter().map(text).collect()
}

/// How many messages the stream of conversations holds.
pub(crate) async fn count(log: &Log) -> u64 {
    log.state(stream::EVENTS).await.unwrap().messages
}

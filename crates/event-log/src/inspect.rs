//! Looking at a broker without touching it: what it is, how it is set up, what its streams hold.
//!
//! It creates, changes and appends nothing, and tells each trouble apart where [`Log::connect`]
//! stops at the first. What to make of it is for whoever asks.
//!
//! [`Log::connect`]: crate::Log::connect

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream;
use async_nats::jetstream::stream::{Config as StreamConfig, Info};
use casement_event::convert::watch::told;
use casement_event::subject::{ALL_WATCHES, stream};
use casement_event::{Event, v1};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Config, cluster, connect, lineage, streams, wire};

/// How many numbers are read at most. A business portfolio has tens.
pub const NUMBERS_MAX: usize = 1_000;

/// The broker's word for a stream that is not there.
const STREAM_NOT_FOUND: u64 = 10059;

/// Why something could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Nobody answered.
    #[error("no broker answers at {servers}")]
    Unreachable {
        /// The servers that were tried.
        servers: String,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker does not let us in.
    #[error("the broker at {servers} does not take us {as_whom}")]
    Refused {
        /// The servers that were tried.
        servers: String,
        /// As whom, and what to change.
        as_whom: String,
    },
    /// TLS with the broker fails.
    #[error("no TLS with the broker at {servers}: {problem}")]
    Tls {
        /// The servers that were tried.
        servers: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// A setting of the client cannot be used, such as a file of credentials.
    #[error("setting of the broker's client cannot be used")]
    Setting(#[source] std::io::Error),
    /// A question was not answered, which is also how a missing right shows.
    #[error("the broker did not tell {what} within {within:?}")]
    Silent {
        /// What was asked for.
        what: String,
        /// How long was waited.
        within: Duration,
    },
    /// An answer was no good.
    #[error("the broker did not tell {what}: {problem}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What came instead.
        problem: String,
    },
}

/// A connection that only looks.
#[derive(Debug)]
pub struct Inspector {
    client: async_nats::Client,
    config: Config,
}

/// How the server is set up, as its monitoring address tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitored {
    /// Whether each write is on disk before it is acknowledged.
    pub syncs: bool,
    /// What all streams together may reserve, in bytes.
    pub file_store_bytes: Option<u64>,
    /// Its clock.
    pub now: Option<Timestamp>,
}

/// A stream as it is wanted and, if it is there, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// The size at which it shall refuse, in bytes.
    pub wanted_bytes: u64,
    /// Whether it refuses when full; the others forget what is old.
    pub refuses_when_full: bool,
    /// What is there.
    pub found: Option<StreamFound>,
}

/// A stream that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFound {
    /// Which life of the stream.
    pub incarnation: String,
    /// How many messages it holds.
    pub messages: u64,
    /// How much it holds.
    pub bytes: u64,
    /// The size at which it refuses; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Sequence of the newest message ever stored.
    pub last_sequence: u64,
    /// When that was stored; `None` if nothing ever was.
    pub last_stored_at: Option<Timestamp>,
    /// How many copies are up to date, of how many; one of one without a cluster.
    pub copies: (usize, usize),
    /// What makes it unfit, each in words that say what to change.
    pub misfits: Vec<String>,
    /// The broker's clock when it told this.
    pub told_at: Option<Timestamp>,
}

impl Inspector {
    /// Tries each server once, and says why if none takes us.
    pub async fn connect(config: &Config) -> Result<Self, InspectError> {
        let addresses = connect::servers(config);
        // Each server counts as an attempt: one that is away must not hide the others.
        let options = connect::options(config)
            .await
            .map_err(InspectError::Setting)?
            .max_reconnects(addresses.len());
        let servers = config.servers.clone();
        let unreachable = |source| InspectError::Unreachable {
            servers: servers.clone(),
            source,
        };
        let connecting = options.connect(addresses);
        let client = match timeout(config.connect_timeout, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                if let Some(problem) = config.tls.problem(&error) {
                    return Err(InspectError::Tls { servers, problem });
                }
                if connect::is_refusal(&error) {
                    let as_whom = connect::as_whom(config);
                    return Err(InspectError::Refused { servers, as_whom });
                }
                return Err(unreachable(error.into()));
            }
            Err(elapsed) => return Err(unreachable(elapsed.into())),
        };
        Ok(Self {
            client,
            config: config.clone(),
        })
    }

    /// Returns the server's version.
    pub fn version(&self) -> String {
        self.client.server_info().version
    }

    /// Returns the server's name.
    pub fn server_name(&self) -> String {
        self.client.server_info().server_name
    }

    /// Returns the size of the largest message it takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Returns what is wrong with its version, in words that say what to change.
    pub fn version_problem(&self) -> Option<String> {
        Self::problem_of_version(&self.version())
    }

    /// Returns what is wrong with a version such as `2.15.1`, in words that say what to change.
    pub fn problem_of_version(version: &str) -> Option<String> {
        connect::too_old(version)
    }

    /// Returns what is wrong with the size of messages, in words that say what to change.
    pub fn max_payload_problem(&self) -> Option<String> {
        connect::too_small(self.max_payload())
    }

    /// Returns what is wrong with when writes are acknowledged, in words that say what to change.
    /// Without a monitoring address that is not known, which is wrong as well.
    pub fn sync_problem(monitored: Option<&Monitored>) -> Option<&'static str> {
        match monitored {
            None => Some(connect::SYNC_UNKNOWN),
            Some(monitored) if monitored.syncs => None,
            Some(_) => Some(connect::NOT_SYNCED),
        }
    }

    /// Returns how many bytes are stored on file, or why streams cannot be kept at all.
    pub async fn stored_bytes(&self) -> Result<u64, InspectError> {
        let what = "what JetStream holds";
        let answer = self.ask("$JS.API.INFO", what, "").await?;
        answer["storage"]
            .as_u64()
            .ok_or_else(|| unreadable(what, &answer))
    }

    /// Asks the monitoring address, if one is configured.
    pub async fn monitored(&self) -> Result<Option<Monitored>, InspectError> {
        let mut all: Option<Monitored> = None;
        let addresses = self.config.monitoring.as_deref().unwrap_or_default();
        for address in cluster::addresses(addresses) {
            let varz = connect::varz(address, self.config.read_timeout)
                .await
                .map_err(|error| InspectError::Answer {
                    what: format!("how it is set up, at its monitoring address {address}"),
                    problem: error.to_string(),
                })?;
            let one = Monitored {
                syncs: connect::syncs(&varz),
                file_store_bytes: varz["jetstream"]["config"]["max_storage"].as_u64(),
                now: time(&varz["now"]),
            };
            // Of several servers the worst counts.
            all = Some(match all {
                None => one,
                Some(worst) => Monitored {
                    syncs: worst.syncs && one.syncs,
                    file_store_bytes: worst.file_store_bytes.min(one.file_store_bytes),
                    now: worst.now,
                },
            });
        }
        Ok(all)
    }

    /// Looks at every stream, in the order in which they are created.
    pub async fn streams(&self) -> Vec<(String, Result<StreamReport, InspectError>)> {
        let mut reports = Vec::new();
        for wanted in streams::all(&self.config.sizes, self.config.replicas) {
            reports.push((wanted.name.clone(), self.stream(&wanted).await));
        }
        reports
    }

    async fn stream(&self, wanted: &StreamConfig) -> Result<StreamReport, InspectError> {
        let name = &wanted.name;
        let what = format!("stream {name}");
        let answer = self.ask_of_stream(name, &what, "").await?;
        let found = match answer {
            None => None,
            Some(answer) => Some(found(&answer, wanted).ok_or_else(|| unreadable(&what, &answer))?),
        };
        Ok(StreamReport {
            name: name.clone(),
            wanted_bytes: u64::try_from(wanted.max_bytes).unwrap_or(0),
            refuses_when_full: wanted.discard == jetstream::stream::DiscardPolicy::New,
            found,
        })
    }

    /// Returns the numbers on record, at most [`NUMBERS_MAX`].
    pub async fn numbers(&self) -> Result<Vec<v1::Number>, InspectError> {
        let what = "the numbers on record";
        let filter = json!({"subjects_filter": "casement.accounts.number.>"}).to_string();
        let Some(answer) = self.ask_of_stream(stream::ACCOUNTS, what, &filter).await? else {
            return Ok(Vec::new());
        };
        let mut subjects: Vec<&String> = answer["state"]["subjects"]
            .as_object()
            .map(|subjects| subjects.keys().collect())
            .unwrap_or_default();
        subjects.sort();
        let mut numbers = Vec::new();
        for subject in subjects.into_iter().take(NUMBERS_MAX) {
            let accounts = self.open(stream::ACCOUNTS, what).await?;
            let newest = accounts.raw_message_builder().last_by_subject(subject);
            let message = self.in_time(what, newest.send()).await?;
            let stored = wire::from_stream(stream::ACCOUNTS, "", message)
                .map_err(|error| unreadable(what, error))?;
            match stored.event().map_err(|error| unreadable(what, error))? {
                Event::NumberRecorded(v1::NumberRecorded { number, .. })
                | Event::NumberPaused(v1::NumberPaused { number, .. })
                | Event::NumberResumed(v1::NumberResumed { number, .. }) => numbers.extend(number),
                _ => {}
            }
        }
        Ok(numbers)
    }

    /// Returns the last verdict of every check about everything, as told.
    pub async fn verdicts(&self) -> Result<Vec<v1::Watch>, InspectError> {
        let what = "the verdicts of what is watched";
        let filter = json!({"subjects_filter": ALL_WATCHES}).to_string();
        let Some(answer) = self.ask_of_stream(stream::ACCOUNTS, what, &filter).await? else {
            return Ok(Vec::new());
        };
        let subjects = answer["state"]["subjects"].as_object();
        let subjects: Vec<&String> = subjects.map(|all| all.keys().collect()).unwrap_or_default();
        let mut verdicts = Vec::new();
        for subject in subjects.into_iter().take(NUMBERS_MAX) {
            let accounts = self.open(stream::ACCOUNTS, what).await?;
            let newest = accounts.raw_message_builder().last_by_subject(subject);
            let message = self.in_time(what, newest.send()).await?;
            let stored = wire::from_stream(stream::ACCOUNTS, "", message)
                .map_err(|error| unreadable(what, error))?;
            let event = stored.event().map_err(|error| unreadable(what, error))?;
            verdicts.extend(told(event).map(|(watch, _)| watch));
        }
        Ok(verdicts)
    }

    /// Returns when the first message at or after a sequence was stored.
    pub async fn stored_at(&self, stream: &str, from: u64) -> Result<Timestamp, InspectError> {
        let what = format!("what stands at {from} of stream {stream}");
        let open = self.open(stream, &what).await?;
        let next = open
            .raw_message_builder()
            .sequence(from.max(1))
            .next_by_subject(">");
        let message = self.in_time(&what, next.send()).await?;
        Timestamp::from_nanosecond(message.time.unix_timestamp_nanos())
            .map_err(|error| unreadable(&what, error))
    }

    async fn open(
        &self,
        stream: &str,
        what: &str,
    ) -> Result<jetstream::stream::Stream<()>, InspectError> {
        let context = jetstream::new(self.client.clone());
        self.in_time(what, context.get_stream_no_info(stream)).await
    }

    /// Asks for a stream; `None` if there is none.
    async fn ask_of_stream(
        &self,
        name: &str,
        what: &str,
        question: &str,
    ) -> Result<Option<Value>, InspectError> {
        let subject = format!("$JS.API.STREAM.INFO.{name}");
        let answer = self.ask_raw(&subject, what, question).await?;
        if answer["error"]["err_code"].as_u64() == Some(STREAM_NOT_FOUND) {
            return Ok(None);
        }
        refused(what, answer).map(Some)
    }

    async fn ask(&self, subject: &str, what: &str, question: &str) -> Result<Value, InspectError> {
        refused(what, self.ask_raw(subject, what, question).await?)
    }

    async fn ask_raw(
        &self,
        subject: &str,
        what: &str,
        question: &str,
    ) -> Result<Value, InspectError> {
        let within = self.config.read_timeout;
        let asking = self
            .client
            .request(subject.to_owned(), question.to_owned().into());
        match timeout(within, asking).await {
            Ok(Ok(answer)) => {
                serde_json::from_slice(&answer.payload).map_err(|error| unreadable(what, error))
            }
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(unreadable(what, "JetStream is off"))
            }
            Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                Err(unreadable(what, error))
            }
            Ok(Err(_)) | Err(_) => Err(InspectError::Silent {
                what: what.to_owned(),
                within,
            }),
        }
    }

    async fn in_time<T, E: std::fmt::Display>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, InspectError> {
        let within = self.config.read_timeout;
        match timeout(within, answer).await {
            Ok(answer) => answer.map_err(|error| unreadable(what, error)),
            Err(_) => Err(InspectError::Silent {
                what: what.to_owned(),
                within,
            }),
        }
    }
}

fn refused(what: &str, answer: Value) -> Result<Value, InspectError> {
    match answer["error"]["description"].as_str() {
        Some(description) => Err(unreadable(what, description)),
        None => Ok(answer),
    }
}

fn unreadable(what: &str, problem: impl std::fmt::Display) -> InspectError {
    InspectError::Answer {
        what: what.to_owned(),
        problem: problem.to_string(),
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn found(answer: &Value, wanted: &StreamConfig) -> Option<StreamFound> {
    let info = Info::deserialize(answer).ok()?;
    let stored_at = info.state.last_timestamp.unix_timestamp_nanos();
    // Beside those that follow there is the leader itself.
    let followers = info
        .cluster
        .as_ref()
        .map(|cluster| cluster.replicas.as_slice())
        .unwrap_or_default();
    let current = followers
        .iter()
        .filter(|peer| peer.current && !peer.offline)
        .count();
    Some(StreamFound {
        incarnation: lineage::incarnation(&info),
        messages: info.state.messages,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(info.config.max_bytes).ok(),
        last_sequence: info.state.last_sequence,
        last_stored_at: Timestamp::from_nanosecond(stored_at)
            .ok()
            .filter(|_| info.state.last_sequence > 0),
        copies: (1 + current, 1 + followers.len()),
        misfits: streams::misfits(&info.config, wanted),
        told_at: time(&answer["ts"]),
    })
}

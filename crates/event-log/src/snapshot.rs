//! Streams as files: saved from a broker that goes on working, and restored into one that has
//! none of them, with their sequences, times and append ids.
//!
//! JetStream's own snapshots. What is in such a file is the broker's affair; what belongs
//! together, and what a restored stream means to an archive, is for whoever keeps the files. Two
//! streams are no backups' business: leases, which are worth nothing an hour later, and the keys
//! of sensitive messages, whose erasure must end all copies.

mod saved;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{Config as StreamConfig, Info};
use async_nats::{Message, Request, RequestErrorKind, Subject, jetstream};
use bytes::Bytes;
use casement_event::Stored;
use casement_event::subject::stream;
use futures::StreamExt as _;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use crate::error::chain;
use crate::lineage;
use crate::{Config, connect, wire};

use saved::{CHUNK_BYTES, fill};
pub use saved::{FoundStream, SavedConsumer, SavedStream, fingerprint};

/// The streams of a backup, in the order in which they are saved.
///
/// What others were made from comes after them: commands before the messages that they become,
/// facts before the links of the customers that they are about, and posts last of all. So no
/// restored event is about anything that was not restored, and what became of a post too late to
/// be saved becomes of it once more.
pub const SAVED_STREAMS: [&str; 8] = [
    stream::COMMANDS,
    stream::MESSAGES,
    stream::EVENTS,
    stream::DEAD,
    stream::ACCOUNTS,
    stream::SECRETS,
    stream::CUSTOMERS,
    stream::RAW,
];

/// How long the broker may be silent in the middle of a transfer: it reads or writes files.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// How long the broker may take to make a stream of what it was sent.
const RESTORE_MAX: Duration = Duration::from_mins(30);

/// How long several servers may take to agree on who leads what is restored.
const AGREED_MAX: Duration = Duration::from_secs(30);

/// How soon they are asked again.
const AGREED_DELAY: Duration = Duration::from_millis(250);

/// The broker's word for a stream that is not there.
const STREAM_NOT_FOUND: u64 = 10059;

/// Consumers on a page of their list; the broker's own size.
const CONSUMERS_PAGE: usize = 256;

/// Most consumers of a stream that are set back.
const CONSUMERS_MAX: usize = 10_000;

/// A stream could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Nobody answered, or nobody was let in.
    #[error("no broker lets us in at {servers}")]
    Unreachable {
        /// The servers that were tried.
        servers: String,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A question was not answered, which is also how a missing right shows.
    #[error(
        "the broker did not answer {what}: either it is away, or our user may not ask for it (the \
         user `operator` of deploy/nats/nats-server.conf may)"
    )]
    Silent {
        /// What was asked for.
        what: String,
    },
    /// The broker refused.
    #[error("the broker refused {what}: {problem}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Its words.
        problem: String,
    },
    /// A stream of that name is there already.
    #[error(
        "stream {stream} is on the broker already, with {messages} messages: restore into a broker \
         that has none of ours, or delete it there first"
    )]
    Exists {
        /// The stream.
        stream: String,
        /// How much would have been lost.
        messages: u64,
    },
    /// A file could not be written or read.
    #[error("file of stream {stream} cannot be written or read")]
    File {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A connection for saving and restoring.
#[derive(Debug)]
pub struct Snapshots {
    client: async_nats::Client,
    within: Duration,
    replicas: usize,
}

impl Snapshots {
    /// Connects. The broker may be otherwise empty, and nothing is created there.
    pub async fn connect(config: &Config) -> Result<Self, SnapshotError> {
        let unreachable = |source| SnapshotError::Unreachable {
            servers: config.servers.clone(),
            source,
        };
        let options = connect::options(config)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let connecting = options.connect(connect::servers(config));
        let client = timeout(config.connect_timeout, connecting)
            .await
            .map_err(|elapsed| unreachable(elapsed.into()))?
            .map_err(|error| match config.tls.problem(&error) {
                Some(problem) => unreachable(problem.into()),
                None => unreachable(error.into()),
            })?;
        Ok(Self {
            client,
            within: config.read_timeout,
            replicas: config.replicas,
        })
    }

    /// Returns the server's version.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Returns a stream as it is; `None` if there is none.
    pub async fn find(&self, stream: &str) -> Result<Option<FoundStream>, SnapshotError> {
        let what = format!("what stream {stream} is");
        let answer = self
            .ask_raw(&format!("$JS.API.STREAM.INFO.{stream}"), &what, "")
            .await?;
        if answer["error"]["err_code"].as_u64() == Some(STREAM_NOT_FOUND) {
            return Ok(None);
        }
        let answer = accepted(&what, answer)?;
        let info = Info::deserialize(&answer).map_err(|error| refused(&what, error))?;
        Ok(Some(FoundStream {
            incarnation: lineage::incarnation(&info),
            ancestors: lineage::ancestors(&info.config),
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
        }))
    }

    /// Returns the newest message of each subject that a filter matches.
    pub async fn newest_of_each(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<Stored>, SnapshotError> {
        let what = format!("what stands on {filter}");
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let mut subjects: BTreeSet<String> = BTreeSet::new();
        loop {
            let question = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let answer = self.ask_raw(&subject, &what, &question.to_string()).await?;
            if answer["error"]["err_code"].as_u64() == Some(STREAM_NOT_FOUND) {
                return Ok(Vec::new());
            }
            let answer = accepted(&what, answer)?;
            let known = subjects.len();
            if let Some(page) = answer["state"]["subjects"].as_object() {
                subjects.extend(page.keys().cloned());
            }
            let all = answer["total"].as_u64().unwrap_or_default();
            if subjects.len() == known || subjects.len() as u64 >= all {
                break;
            }
        }
        let context = jetstream::new(self.client.clone());
        let open = context
            .get_stream_no_info(stream)
            .await
            .map_err(|error| refused(&what, chain(&error)))?;
        let mut found = Vec::new();
        for subject in subjects {
            let newest = open.raw_message_builder().last_by_subject(&subject);
            let message = timeout(self.within, newest.send()).await;
            let message = message.map_err(|_| SnapshotError::Silent { what: what.clone() })?;
            let message = message.map_err(|error| refused(&what, chain(&error)))?;
            let stored = wire::from_stream(stream, "", message);
            found.push(stored.map_err(|error| refused(&what, error))?);
        }
        Ok(found)
    }

    /// Returns how far the durable consumers of a stream have come.
    pub async fn consumers(&self, stream: &str) -> Result<Vec<SavedConsumer>, SnapshotError> {
        let what = format!("who reads stream {stream}");
        let subject = format!("$JS.API.CONSUMER.LIST.{stream}");
        let mut found = Vec::new();
        let mut offset = 0;
        loop {
            let question = json!({ "offset": offset }).to_string();
            let answer = accepted(&what, self.ask_raw(&subject, &what, &question).await?)?;
            // Of several servers one that should have told of a consumer did not: what is not said
            // is not that there is none.
            if answer["missing"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
            {
                return Err(SnapshotError::Silent { what });
            }
            let page = answer["consumers"].as_array().cloned().unwrap_or_default();
            found.extend(page.iter().filter_map(|consumer| {
                Some(SavedConsumer {
                    stream: stream.to_owned(),
                    name: consumer["config"]["durable_name"].as_str()?.to_owned(),
                    done_through: consumer["ack_floor"]["stream_seq"].as_u64()?,
                })
            }));
            offset += page.len();
            if page.len() < CONSUMERS_PAGE || offset >= CONSUMERS_MAX {
                return Ok(found);
            }
        }
    }

    /// Saves a stream as it stands, with its consumers. The broker goes on working.
    pub async fn save(
        &self,
        stream: &str,
        file: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<SavedStream, SnapshotError> {
        let what = format!("a snapshot of stream {stream}");
        let found = self.find(stream).await?.ok_or_else(|| {
            refused(
                &what,
                "there is no such stream: start Casement once, or name its broker",
            )
        })?;
        let inbox = self.client.new_inbox();
        let mut chunks = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| refused(&what, error))?;
        let question = json!({
            "deliver_subject": inbox, "no_consumers": false, "chunk_size": CHUNK_BYTES,
        })
        .to_string();
        let subject = format!("$JS.API.STREAM.SNAPSHOT.{stream}");
        let answer = accepted(&what, self.ask_raw(&subject, &what, &question).await?)?;

        let failed = |source| SnapshotError::File {
            stream: stream.to_owned(),
            source,
        };
        let mut hash = Sha256::new();
        let mut bytes = 0;
        loop {
            let chunk = timeout(SILENCE_MAX, chunks.next()).await;
            let Ok(Some(chunk)) = chunk else {
                return Err(SnapshotError::Silent { what });
            };
            if chunk.payload.is_empty() {
                ended(&what, &chunk)?;
                break;
            }
            file.write_all(&chunk.payload).await.map_err(failed)?;
            hash.update(&chunk.payload);
            bytes += chunk.payload.len() as u64;
            if let Some(reply) = chunk.reply {
                let taken = self.client.publish(reply, Bytes::new()).await;
                taken.map_err(|error| refused(&what, error))?;
            }
        }
        file.flush().await.map_err(failed)?;
        let state = answer["state"].clone();
        let sequence = |name: &str| state[name].as_u64().unwrap_or_default();
        Ok(SavedStream {
            name: stream.to_owned(),
            incarnation: found.incarnation,
            first_sequence: sequence("first_seq"),
            last_sequence: sequence("last_seq"),
            messages: sequence("messages"),
            bytes,
            sha256: hex::encode(hash.finalize()),
            config: answer["config"].clone(),
            state,
        })
    }

    /// Restores a stream under a new life, which `name` tells apart from all others, and returns
    /// it as it is then. The file was found to be what `saved` says.
    ///
    /// # Errors
    /// [`SnapshotError::Exists`] if there is such a stream, which is left as it is. After any other
    /// error there may be none, or a whole one.
    pub async fn restore(
        &self,
        saved: &SavedStream,
        name: &str,
        file: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<FoundStream, SnapshotError> {
        let stream = saved.name.as_str();
        let what = format!("to restore stream {stream}");
        if let Some(found) = self.agreed(async || self.find(stream).await).await? {
            return Err(SnapshotError::Exists {
                stream: stream.to_owned(),
                messages: found.messages,
            });
        }
        let mut config =
            StreamConfig::deserialize(&saved.config).map_err(|error| refused(&what, error))?;
        config.num_replicas = self.replicas;
        config.metadata = lineage::continued(
            &config.metadata,
            &saved.incarnation,
            saved.last_sequence,
            name,
        );
        let question = json!({ "config": config, "state": saved.state }).to_string();
        let subject = format!("$JS.API.STREAM.RESTORE.{stream}");
        // Several servers answer once they have chosen who leads the stream to be. Asked twice they
        // would make it twice.
        let within = match self.replicas {
            1 => self.within,
            _ => AGREED_MAX,
        };
        let answer = self.ask_within(&subject, &what, &question, within).await?;
        let answer = accepted(&what, answer)?;
        let target = answer["deliver_subject"]
            .as_str()
            .ok_or_else(|| refused(&what, "it did not say where to send the file"))?;

        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = fill(file, &mut chunk)
                .await
                .map_err(|source| SnapshotError::File {
                    stream: stream.to_owned(),
                    source,
                })?;
            if read == 0 {
                break;
            }
            let payload = Bytes::copy_from_slice(&chunk[..read]);
            let taken = self.hand_over(target, payload, SILENCE_MAX, &what).await?;
            if !taken.payload.is_empty() {
                // It says nothing about a chunk that it took.
                return Err(refused(&what, String::from_utf8_lossy(&taken.payload)));
            }
        }
        let answer = self
            .hand_over(target, Bytes::new(), RESTORE_MAX, &what)
            .await?;
        let answer =
            serde_json::from_slice(&answer.payload).map_err(|error| refused(&what, error))?;
        accepted(&what, answer)?;
        self.agreed(async || {
            let found = self.find(stream).await?;
            found.ok_or_else(|| refused(&what, "the stream is not there afterwards"))
        })
        .await
    }

    /// Sets a consumer back, so that everything after `saved.done_through` is handed out again.
    /// One that has gone is left gone.
    pub async fn set_back(&self, saved: &SavedConsumer) -> Result<(), SnapshotError> {
        self.agreed(async || self.try_set_back(saved).await).await
    }

    /// Asks again while several servers still agree on who leads what.
    async fn agreed<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let until = Instant::now() + AGREED_MAX;
        loop {
            match ask().await {
                Err(error) if self.replicas > 1 && Instant::now() < until => {
                    tracing::debug!(error = %error, "not agreed on yet");
                    sleep(AGREED_DELAY).await;
                }
                answer => return answer,
            }
        }
    }

    async fn try_set_back(&self, saved: &SavedConsumer) -> Result<(), SnapshotError> {
        let SavedConsumer { stream, name, .. } = saved;
        let what = format!("to set consumer {name} of stream {stream} back");
        let present = self.consumers(stream).await?;
        let Some(present) = present.iter().find(|present| present.name == *name) else {
            return Ok(());
        };
        if present.done_through <= saved.done_through {
            return Ok(());
        }
        let subject = format!("$JS.API.CONSUMER.RESET.{stream}.{name}");
        let question = json!({ "seq": saved.done_through + 1 }).to_string();
        let answer = self.ask_raw(&subject, &what, &question).await?;
        accepted(&what, answer).map(drop)
    }

    async fn hand_over(
        &self,
        target: &str,
        payload: Bytes,
        within: Duration,
        what: &str,
    ) -> Result<Message, SnapshotError> {
        let until = Instant::now() + AGREED_MAX;
        let answer = loop {
            let request = Request::new().payload(payload.clone());
            let request = request.timeout(Some(within));
            let target = Subject::from(target);
            match self.client.send_request(target, request).await {
                // Of several servers ours may not have heard yet who takes it: then nobody did.
                Err(error)
                    if error.kind() == RequestErrorKind::NoResponders
                        && self.replicas > 1
                        && Instant::now() < until =>
                {
                    sleep(AGREED_DELAY).await;
                }
                answer => break answer,
            }
        };
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut | RequestErrorKind::NoResponders => SnapshotError::Silent {
                what: what.to_owned(),
            },
            _ => refused(what, chain(&error)),
        })
    }

    /// How often each stream is to be kept.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    pub(crate) async fn ask_raw(
        &self,
        subject: &str,
        what: &str,
        question: &str,
    ) -> Result<Value, SnapshotError> {
        self.ask_within(subject, what, question, self.within).await
    }

    async fn ask_within(
        &self,
        subject: &str,
        what: &str,
        question: &str,
        within: Duration,
    ) -> Result<Value, SnapshotError> {
        let payload = Bytes::copy_from_slice(question.as_bytes());
        let answer = self.hand_over(subject, payload, within, what).await?;
        serde_json::from_slice(&answer.payload).map_err(|error| refused(what, error))
    }
}

/// The end of a snapshot may be a failure.
fn ended(what: &str, last: &Message) -> Result<(), SnapshotError> {
    match last.status {
        None => Ok(()),
        Some(status) if (200..300).contains(&status.as_u16()) => Ok(()),
        Some(status) => {
            let words = last.description.clone().unwrap_or_default();
            Err(refused(what, format!("{status} {words}")))
        }
    }
}

pub(crate) fn accepted(what: &str, answer: Value) -> Result<Value, SnapshotError> {
    match answer["error"]["description"].as_str() {
        Some(description) => Err(refused(what, description)),
        None => Ok(answer),
    }
}

pub(crate) fn refused(what: &str, problem: impl std::fmt::Display) -> SnapshotError {
    SnapshotError::Refused {
        what: what.to_owned(),
        problem: problem.to_string(),
    }
}

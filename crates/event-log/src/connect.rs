//! Connecting, and refusing a broker that cannot keep what it promises.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Event;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, stream::Stream};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster;
use crate::erasure::Graves;
use crate::follow::PATIENCE_MAX;
use crate::group::Group;
use crate::leave::{self, Leave};
use crate::lineage::{self, Ancestor, incarnation};
use crate::link::{Link, Nats};
use crate::mirror::Mirror;
use crate::{Config, streams};

/// Oldest server whose replicated streams commit in groups and whose batches are atomic.
const SERVER_VERSION_MIN: (u32, u32) = (2, 15);

/// Smallest `max_payload` that takes every event and pack.
const MAX_PAYLOAD_MIN: usize = 8_000_000;

/// Longest answer that is read from the monitoring address.
const MONITORING_ANSWER_MAX: u64 = 1024 * 1024;

/// Pause before a stream that could not be opened is tried again.
const OPEN_RETRY_DELAY: Duration = Duration::from_millis(250);

/// Pause before each attempt to reach the broker again.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No broker answered.
    #[error(
        "no broker answered at {servers} within {timeout:?}: start it, or name another with log.servers"
    )]
    Unreachable {
        /// The servers that were tried.
        servers: String,
        /// How long.
        timeout: Duration,
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
    /// A setting of the client cannot be used.
    #[error("setting of the broker's client cannot be used")]
    Setting(#[source] std::io::Error),
    /// The broker would break a promise.
    #[error(
        "broker at {servers} is not fit to keep the log: {problem} (log.accept_unsafe_broker overrides)"
    )]
    Unfit {
        /// The servers.
        servers: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// A stream could not be created or looked at.
    #[error("stream {stream} could not be created or checked")]
    Stream {
        /// The stream.
        stream: String,
        /// What the broker said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) config: Config,
    /// How often the connection was made; moves with each time it is made anew.
    pub(crate) connections: watch::Receiver<u64>,
    pub(crate) incarnations: HashMap<String, String>,
    pub(crate) ancestors: HashMap<String, Vec<Ancestor>>,
    pub(crate) groups: Mutex<HashMap<String, Group>>,
    pub(crate) mirrors: Mutex<HashMap<&'static str, Arc<Mirror>>>,
    pub(crate) graves: Graves,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Log")
            .field("servers", &self.inner.config.servers)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Connects, refuses an unfit broker, and creates or checks the streams.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        crate::metrics::start();
        let (connected, connections) = watch::channel(0);
        let client = connect(config, connected).await?;
        let problem = unfitness(&client, config).await;
        match problem {
            Some(problem) if config.accept_unsafe_broker => {
                tracing::warn!(
                    problem,
                    "broker is not fit to keep the log, accepted by setting"
                );
            }
            Some(problem) => {
                return Err(ConnectError::Unfit {
                    servers: config.servers.clone(),
                    problem,
                });
            }
            None => {}
        }

        let mut context = jetstream::new(client.clone());
        context.set_timeout(config.read_timeout);
        let mut patient = jetstream::new(client.clone());
        patient.set_timeout(PATIENCE_MAX);
        let mut opened = HashMap::new();
        let mut incarnations = HashMap::new();
        let mut ancestors = HashMap::new();
        for wanted in streams::all(&config.sizes, config.replicas) {
            let name = wanted.name.clone();
            let failed = |source| ConnectError::Stream {
                stream: name.clone(),
                source,
            };
            let stream = open(&context, &wanted, config.connect_timeout)
                .await
                .map_err(failed)?;
            let info = stream.cached_info();
            if let Some(problem) = streams::misfit(&info.config, &wanted) {
                if !config.accept_unsafe_broker {
                    return Err(ConnectError::Unfit {
                        servers: config.servers.clone(),
                        problem,
                    });
                }
                tracing::warn!(problem, "stream is not as it must be, accepted by setting");
            }
            incarnations.insert(name.clone(), incarnation(info));
            ancestors.insert(name.clone(), lineage::ancestors(&info.config));
            opened.insert(name, stream);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                link: Link::Nats(Nats {
                    client,
                    patient,
                    streams: opened,
                    leave: Leave::new(config),
                }),
                config: config.clone(),
                connections,
                incarnations,
                ancestors,
                groups: Mutex::default(),
                mirrors: Mutex::default(),
                graves: Graves::default(),
            }),
        })
    }

    /// Returns which life of a stream this connection found: another one after a restore.
    pub fn incarnation(&self, stream: &str) -> String {
        self.inner
            .incarnations
            .get(stream)
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the lives that a stream continues since it was restored, newest first.
    pub fn ancestors(&self, stream: &str) -> &[Ancestor] {
        self.inner.ancestors.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the connection stands right now.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }
}

/// Opens a stream, or creates it, for as long as brokers that have just started may take to agree
/// on who leads.
async fn open(
    context: &jetstream::Context,
    wanted: &jetstream::stream::Config,
    within: Duration,
) -> Result<Stream, Box<dyn std::error::Error + Send + Sync>> {
    let begun = Instant::now();
    loop {
        let error = match context.get_or_create_stream(wanted.clone()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let is_passing = match error.kind() {
            CreateStreamErrorKind::TimedOut
            | CreateStreamErrorKind::JetStreamUnavailable
            | CreateStreamErrorKind::Response => true,
            CreateStreamErrorKind::JetStream(error) => {
                error.code() >= 500 || error.error_code() == ErrorCode::CLUSTER_NO_PEERS
            }
            _ => false,
        };
        if !is_passing || begun.elapsed() >= within {
            return Err(error.into());
        }
        tracing::info!(stream = wanted.name, error = %error, "stream cannot be opened yet");
        tokio::time::sleep(OPEN_RETRY_DELAY).await;
    }
}

async fn connect(
    config: &Config,
    connected: watch::Sender<u64>,
) -> Result<async_nats::Client, ConnectError> {
    let connected = Arc::new(connected);
    let options = options(config)
        .await
        .map_err(ConnectError::Setting)?
        .max_reconnects(None)
        .retry_on_initial_connect()
        .reconnect_delay_callback(|attempt| {
            let step = u64::try_from(attempt)
                .unwrap_or(u64::MAX)
                .saturating_mul(50);
            Duration::from_millis(step).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            tracing::info!(event = %event, "broker connection");
            if event == Event::Connected {
                connected.send_modify(|count| *count += 1);
            }
            std::future::ready(())
        });
    let unreachable = |source| ConnectError::Unreachable {
        servers: config.servers.clone(),
        timeout: config.connect_timeout,
        source,
    };
    let client = leave::in_turn(options)
        .connect(servers(config))
        .await
        .map_err(|error| unreachable(error.into()))?;
    // The client connects in the background; a round trip tells when it stands.
    let stands = tokio::time::timeout(config.connect_timeout, async {
        loop {
            match client.flush().await {
                Ok(()) if !client.server_info().version.is_empty() => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    match stands {
        Ok(()) => Ok(client),
        // The background does not tell why it could not; one attempt of our own does.
        Err(elapsed) => Err(refusal(config)
            .await
            .unwrap_or_else(|| unreachable(elapsed.into()))),
    }
}

/// Returns why the broker does not let us in, if it is that.
async fn refusal(config: &Config) -> Option<ConnectError> {
    match once(config).await {
        Err(error @ (ConnectError::Refused { .. } | ConnectError::Tls { .. })) => Some(error),
        _ => None,
    }
}

/// Connects without another try, and says why if that fails. Nothing is asked of what is stored.
pub(crate) async fn once(config: &Config) -> Result<async_nats::Client, ConnectError> {
    let options = options(config).await.map_err(ConnectError::Setting)?;
    let servers_named = config.servers.clone();
    let unreachable = |source| ConnectError::Unreachable {
        servers: config.servers.clone(),
        timeout: config.connect_timeout,
        source,
    };
    let attempt = options.connect(servers(config));
    let error = match tokio::time::timeout(config.connect_timeout, attempt).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => error,
        Err(elapsed) => return Err(unreachable(elapsed.into())),
    };
    if let Some(problem) = config.tls.problem(&error) {
        let servers = servers_named;
        return Err(ConnectError::Tls { servers, problem });
    }
    if is_refusal(&error) {
        return Err(ConnectError::Refused {
            servers: servers_named,
            as_whom: as_whom(config),
        });
    }
    Err(unreachable(error.into()))
}

/// Whether a connection was made and we were not wanted.
pub(crate) fn is_refusal(error: &async_nats::ConnectError) -> bool {
    matches!(
        error.kind(),
        async_nats::ConnectErrorKind::AuthorizationViolation
            | async_nats::ConnectErrorKind::Authentication
    )
}

/// Says as whom we ask to be let in, and which setting says so.
pub(crate) fn as_whom(config: &Config) -> String {
    if config.nkey.is_some() {
        "by the key in log.nkey: its public half must stand at one of the broker's users".to_owned()
    } else if let Some(file) = &config.credentials_file {
        format!(
            "by the credentials in log.credentials_file ({})",
            file.display()
        )
    } else if let Some((user, _)) = &config.user {
        format!("as the user {user} with log.password")
    } else {
        "as nobody: give log.nkey, or log.user and log.password, or log.credentials_file".to_owned()
    }
}

/// How any connection is made: as whom, and how patiently.
pub(crate) async fn options(config: &Config) -> Result<async_nats::ConnectOptions, std::io::Error> {
    let mut options = async_nats::ConnectOptions::new()
        .name(&config.name)
        .custom_inbox_prefix(&config.inbox_prefix)
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(config.read_timeout));
    if let Some((user, password)) = &config.user {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(file) = &config.credentials_file {
        options = options.credentials_file(file).await?;
    }
    if let Some(seed) = &config.nkey {
        options = options.nkey(seed.expose_secret().to_owned());
    }
    config.tls.apply(options)
}

pub(crate) fn servers(config: &Config) -> Vec<&str> {
    config.servers.split(',').map(str::trim).collect()
}

/// Returns why a broker cannot keep the log's promises, in words that say what to change.
async fn unfitness(client: &async_nats::Client, config: &Config) -> Option<String> {
    let info = client.server_info();
    if let Some(problem) = too_old(&info.version).or_else(|| too_small(info.max_payload)) {
        return Some(problem);
    }
    let name = info.cluster.as_deref();
    if let Some(problem) = cluster::mismatch(name, None, config.replicas) {
        return Some(problem);
    }
    let Some(monitoring) = &config.monitoring else {
        return Some(SYNC_UNKNOWN.to_owned());
    };
    let mut silent = Some(SYNC_UNKNOWN.to_owned());
    let mut size = None;
    for address in cluster::addresses(monitoring) {
        match varz(address, config.read_timeout).await {
            Ok(varz) if !syncs(&varz) => return Some(NOT_SYNCED.to_owned()),
            Ok(varz) => {
                size = size.max(cluster::size(&varz));
                silent = None;
            }
            // Of several servers one may be away.
            Err(error) => {
                tracing::info!(address, error = %error, "monitoring address does not answer");
                silent = silent.map(|_| {
                    format!(
                        "its monitoring address {address} did not say whether it syncs each \
                         write: {error}"
                    )
                });
            }
        }
    }
    silent.or_else(|| cluster::mismatch(name, size, config.replicas))
}

/// What is told where nobody can be asked for the sync.
pub(crate) const SYNC_UNKNOWN: &str = "whether it syncs each write is not known: name its \
                                       monitoring address with log.monitoring";

/// What is told of a broker that loses acknowledged writes when its machine does.
pub(crate) const NOT_SYNCED: &str = "it acknowledges writes before they are on disk: set \
                                     `sync_interval: always` in its jetstream block";

pub(crate) fn too_small(max_payload: usize) -> Option<String> {
    (max_payload < MAX_PAYLOAD_MIN).then(|| {
        format!(
            "max_payload is {max_payload} bytes: set `max_payload: 8MB` in the server's \
             configuration"
        )
    })
}

pub(crate) fn too_old(version: &str) -> Option<String> {
    let mut parts = version
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let (major, minor) = SERVER_VERSION_MIN;
    (found < SERVER_VERSION_MIN)
        .then(|| format!("it is version {version}: run nats-server {major}.{minor} or newer"))
}

/// Asks the monitoring address what the server is and how it is set up. One plain request.
pub(crate) async fn varz(
    address: &str,
    timeout: Duration,
) -> Result<serde_json::Value, std::io::Error> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET /varz HTTP/1.0\r\nHost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket
            .take(MONITORING_ANSWER_MAX)
            .read_to_end(&mut answer)
            .await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(timeout, ask).await??;
    let body = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(&[][..], |end| &answer[end + 4..]);
    Ok(serde_json::from_slice(body)?)
}

/// Returns whether each write is synced before it is acknowledged.
pub(crate) fn syncs(varz: &serde_json::Value) -> bool {
    varz["jetstream"]["config"]["sync_always"]
        .as_bool()
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_2_15_is_told_to_be_upgraded() {
        for (version, is_old) in [
            ("2.15.0", false),
            ("2.15.1-beta", false),
            ("3.0.0", false),
            ("2.14.9", true),
            ("", true),
        ] {
            assert_eq!(too_old(version).is_some(), is_old, "{version}");
        }
    }
}

//! A `nats-server` of our own: found, configured, started, kept alive and stopped.
//!
//! For one machine. It has no users, since it listens on a local address; a broker for production
//! is described by `deploy/nats/nats-server.conf` and named with `log.servers`. What is stored in
//! it is the log's affair.

mod left_behind;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use casement_shell::backoff::Schedule;
use casement_shell::config::{ConfigError, env_var};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::OwnServer;
use crate::ports;

/// The program.
const PROGRAM: &str = "nats-server";

/// Names the program where it is neither in `.dev/bin` nor on the path.
const PROGRAM_VARIABLE: &str = "CASEMENT_NATS_SERVER";

/// How long it may take to answer: reading a large store included.
const READY_MAX: Duration = Duration::from_mins(2);

/// How long it gets to stop in order before it is killed. Every write it acknowledged is on disk.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A server that ran for this long was no false start.
const STEADY_AFTER: Duration = Duration::from_secs(30);

/// The flag that moves its port.
const FLAG: &str = "--nats-listen";

/// Its configuration, which is written at each start.
const CONF: &str = "nats-server.conf";

/// How it calls itself.
pub(crate) const SERVER_NAME: &str = "casement";

/// A running server. It is kept alive until [`Nats::stop`]; dropping it kills it.
pub(crate) struct Nats {
    address: SocketAddr,
    monitoring: SocketAddr,
    stopping: CancellationToken,
    keeper: JoinHandle<()>,
}

/// What is needed to start it, again and again.
struct Recipe {
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nats {
    /// Starts a server with its store under `data_dir`, and returns once it answers.
    pub(crate) async fn start(config: &OwnServer, data_dir: &Path) -> anyhow::Result<Self> {
        let program = program(config)?;
        let folder = folder(data_dir);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("folder {} cannot be created", folder.display()))?;
        let conf = folder.join(CONF);
        left_behind::end(&folder, &conf).await;
        let address = match config.listen.port() {
            0 => SocketAddr::new(config.listen.ip(), ports::free_address().await?.port()),
            _ => config.listen,
        };
        ports::require_free(address, "the broker", FLAG).await?;
        let monitoring = ports::free_address().await?;
        std::fs::write(
            &conf,
            configuration(address, monitoring, &folder, config.max_file_store_gib),
        )
        .with_context(|| format!("{} cannot be written", conf.display()))?;

        let recipe = Recipe {
            program,
            folder,
            address,
        };
        let mut child = recipe.spawn()?;
        if let Err(error) = recipe.ready(&mut child).await {
            end(&mut child).await;
            return Err(error);
        }
        let stopping = CancellationToken::new();
        let keeper = tokio::spawn(keep(recipe, child, stopping.clone()));
        Ok(Self {
            address,
            monitoring,
            stopping,
            keeper,
        })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where it says how it is set up.
    pub(crate) fn monitoring(&self) -> String {
        self.monitoring.to_string()
    }

    /// Stops it in order; kills it if that takes too long.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        if let Err(error) = self.keeper.await {
            tracing::error!(%error, "keeper of the broker failed");
        }
    }
}

/// Starts the server again whenever it ends, until the stop.
async fn keep(recipe: Recipe, mut child: Child, stopping: CancellationToken) {
    let mut waits = Schedule::DEFAULT.waits();
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = stopping.cancelled() => {
                end(&mut child).await;
                left_behind::forget(&recipe.folder);
                return;
            }
            ended = child.wait() => ended,
        };
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        if began.elapsed() > STEADY_AFTER {
            waits.reset();
        }
        let wait = waits.next_wait();
        tracing::error!(
            status,
            wait_ms = wait.as_millis(),
            "broker ended, is started again"
        );
        tokio::select! {
            () = stopping.cancelled() => return,
            () = sleep(wait) => {}
        }
        match recipe.spawn() {
            Ok(again) => child = again,
            // Then the old one, which has ended, is found to have ended again.
            Err(error) => tracing::error!(error = format!("{error:#}"), "broker does not start"),
        }
    }
}

impl Recipe {
    fn conf(&self) -> PathBuf {
        self.folder.join(CONF)
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = self.folder.join("nats-server.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("{} cannot be opened", log.display()))?;
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.conf())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for us: the broker has to outlive the drain.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", self.program.display()))?;
        if let Some(id) = child.id() {
            left_behind::note(&self.folder, id);
        }
        Ok(child)
    }

    async fn ready(&self, child: &mut Child) -> anyhow::Result<()> {
        let answers = async {
            let mut pauses = Schedule::DEFAULT.waits();
            while !greets(self.address).await {
                sleep(pauses.next_wait().min(Duration::from_millis(100))).await;
            }
        };
        tokio::select! {
            ended = child.wait() => {
                let status = ended?;
                bail!("the broker ended at once ({status}):\n{}", self.log_tail())
            }
            answered = timeout(READY_MAX, answers) => answered.map_err(|_| {
                anyhow!("the broker did not answer within {READY_MAX:?}:\n{}", self.log_tail())
            }),
        }
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("nats-server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

/// Whether a broker greets whoever connects.
async fn greets(address: SocketAddr) -> bool {
    let greeting = async {
        let mut socket = TcpStream::connect(address).await?;
        let mut start = [0; 4];
        socket.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start == *b"INFO")
    };
    matches!(
        timeout(Duration::from_secs(1), greeting).await,
        Ok(Ok(true))
    )
}

/// Asks a server to stop, and kills it if it does not.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(pid_of) {
        // An error says that it has ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(STOP_MAX, child.wait()).await.is_err() {
        tracing::warn!("broker did not stop in time, is killed");
        if let Err(error) = child.kill().await {
            tracing::error!(%error, "broker cannot be killed");
        }
    }
}

fn pid_of(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("nats")
}

/// Returns the monitoring address of the server that was last started with this folder for data.
pub(crate) fn monitoring_of(data_dir: &Path) -> Option<String> {
    let conf = std::fs::read_to_string(folder(data_dir).join(CONF)).ok()?;
    let address = conf.lines().find_map(|line| line.strip_prefix("http: "))?;
    Some(address.trim_matches('"').to_owned())
}

/// Finds the program.
pub(crate) fn program(config: &OwnServer) -> anyhow::Result<PathBuf> {
    let named = env_var(PROGRAM_VARIABLE);
    find(config.binary.as_deref(), named.as_deref())
}

/// Finds the program: as configured, as the variable says, in `.dev/bin`, on the path.
fn find(configured: Option<&Path>, variable: Option<&str>) -> anyhow::Result<PathBuf> {
    if let Some(path) = configured.or(variable.map(Path::new)) {
        if path.is_file() {
            return Ok(path.to_owned());
        }
        let by = if configured.is_some() {
            "log.own_server.binary"
        } else {
            PROGRAM_VARIABLE
        };
        let problem = format!("{by} names {}, which is no file", path.display());
        return Err(ConfigError::check(problem).into());
    }
    let path = env_var("PATH").unwrap_or_default();
    std::iter::once(PathBuf::from(".dev/bin"))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(PROGRAM))
        .find(|candidate| candidate.is_file())
        .and_then(|found| std::path::absolute(found).ok())
        .ok_or_else(|| {
            anyhow!(
                "there is no {PROGRAM} in .dev/bin or on the path: `./dev setup` installs it, \
                 {PROGRAM_VARIABLE} names one elsewhere, and log.servers names a broker that runs"
            )
        })
}

fn configuration(
    address: SocketAddr,
    monitoring: SocketAddr,
    folder: &Path,
    max_file_store_gib: u32,
) -> String {
    let store = folder.join("store");
    // As a JSON string, which the server reads, too: a path may hold anything.
    let store = serde_json::Value::from(store.display().to_string());
    format!(
        "# Written by `casement up` at each start; changes are lost.\n\
         server_name: {SERVER_NAME}\n\
         listen: \"{address}\"\n\
         http: \"{monitoring}\"\n\
         max_payload: 8MB\n\
         max_pending: 256MB\n\
         jetstream {{\n    \
             store_dir: {store}\n    \
             # A write is acknowledged once it is on disk.\n    \
             sync_interval: always\n    \
             max_memory_store: 256MB\n    \
             max_file_store: {max_file_store_gib}GB\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests;

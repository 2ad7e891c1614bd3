//! A real `nats-server` for one test, with a store of its own.
//!
//! It starts, kills and restarts the server; streams and subjects are for the log's own crate.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::eventually::{EVENTUALLY_MAX, Wait};
use crate::process::{read_lossy, signal_child, tail};

/// How long a server may take to be ready: recovery of a large store included.
const READY_MAX: Duration = Duration::from_mins(1);

/// How often a start is repeated because the port is still taken.
const START_ATTEMPTS_MAX: u32 = 50;

/// What a test may choose about its server. The defaults are what production is asked to have.
#[derive(Debug, Clone)]
pub struct NatsServerBuilder {
    sync_always: bool,
    max_payload: String,
    max_file_store: String,
    store_dir: Option<PathBuf>,
    monitoring: bool,
}

/// A running server. Dropping it kills it and removes its store, unless the store was given.
#[derive(Debug)]
pub struct NatsServer {
    child: Option<Child>,
    settings: NatsServerBuilder,
    /// Configuration, log, ports file and, unless given, the store.
    folder: TempDir,
    /// 0 before the first start.
    port: u16,
    monitoring_port: u16,
}

impl NatsServerBuilder {
    /// Whether every write is synced before it is acknowledged. On by default.
    #[must_use]
    pub fn sync_always(mut self, on: bool) -> Self {
        self.sync_always = on;
        self
    }

    /// Largest message, as in `8MB`, the default.
    #[must_use]
    pub fn max_payload(mut self, size: impl Into<String>) -> Self {
        self.max_payload = size.into();
        self
    }

    /// What all streams may reserve, as in `100GB`, the default; nothing is taken from the disk
    /// before it is written.
    #[must_use]
    pub fn max_file_store(mut self, size: impl Into<String>) -> Self {
        self.max_file_store = size.into();
        self
    }

    /// Keeps the store in `folder`, which outlives the server.
    #[must_use]
    pub fn store_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(folder.into());
        self
    }

    /// Whether the server answers HTTP at [`NatsServer::monitoring_url`]. Off by default.
    #[must_use]
    pub fn monitoring(mut self, on: bool) -> Self {
        self.monitoring = on;
        self
    }

    /// Starts the server and waits until JetStream answers.
    ///
    /// # Panics
    /// When there is no `nats-server`, or it does not become ready.
    pub async fn start(self) -> NatsServer {
        let folder = TempDir::with_prefix("casement-nats-").expect("a folder for temporary files");
        let mut server = NatsServer {
            child: None,
            settings: self,
            folder,
            port: 0,
            monitoring_port: 0,
        };
        server.start_again().await;
        server
    }
}

impl NatsServer {
    /// A server as production is asked to have it.
    ///
    /// # Panics
    /// When there is no `nats-server`, or it does not become ready.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server with choices.
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder {
            sync_always: true,
            max_payload: "8MB".to_owned(),
            max_file_store: "100GB".to_owned(),
            store_dir: None,
            monitoring: false,
        }
    }

    /// Where clients connect; the same for the server's whole life.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The operating system's id of it; 0 while it is stopped.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The port of [`NatsServer::url`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for a [`crate::Proxy`] in front of it.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where HTTP answers, with [`NatsServerBuilder::monitoring`].
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring_port)
    }

    /// Where its store is.
    pub fn store_dir(&self) -> PathBuf {
        self.settings
            .store_dir
            .clone()
            .unwrap_or_else(|| self.folder.path().join("store"))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        read_lossy(&self.folder.path().join("log"))
    }

    /// Publishes as a service would that is not Casement's, and returns what a stream answers: its
    /// acknowledgement, or why there is none.
    pub async fn publish(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: Vec<u8>,
    ) -> String {
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let client = self.client().await;
        let answer = client
            .request_with_headers(subject.to_owned(), map, payload.into())
            .await
            .expect("a stream takes this subject");
        String::from_utf8_lossy(&answer.payload).into_owned()
    }

    /// A client of it.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url())
            .await
            .expect("a server that is ready takes connections")
    }

    /// SIGKILL and start again, on the same port and store.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// SIGKILL: nothing is flushed that was not.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Errors say that it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the orderly end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal_child(&child, Signal::TERM);
            let mut wait = Wait::new(EVENTUALLY_MAX, "nats-server ends");
            while child
                .try_wait()
                .expect("a child of ours can be waited for")
                .is_none()
            {
                wait.not_yet("it still runs".to_owned()).await;
            }
        }
    }

    /// Starts a server that was stopped or killed, on the same port and store; one that runs is
    /// left alone.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_again(&mut self) {
        let mut attempts_count = 0;
        while self.child.is_none() {
            attempts_count += 1;
            self.spawn();
            if let Err(error) = self.become_ready().await {
                let log = self.log();
                self.kill();
                let port_taken = log.contains("address already in use");
                assert!(
                    port_taken && attempts_count < START_ATTEMPTS_MAX,
                    "nats-server does not become ready: {error:#}; its log ends:\n{}",
                    tail(&log)
                );
                // The kernel frees a killed server's port in its own time.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// SIGSTOP: connections stay, nothing is answered.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        signal_child(
            self.child.as_ref().expect("a server that runs"),
            Signal::STOP,
        );
    }

    /// SIGCONT after [`NatsServer::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        signal_child(
            self.child.as_ref().expect("a server that runs"),
            Signal::CONT,
        );
    }

    fn spawn(&mut self) {
        let folder = self.folder.path();
        let conf = folder.join("nats.conf");
        std::fs::write(&conf, self.conf()).expect("a writable folder");
        let log = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(folder.join("log"))
            .expect("a writable folder");
        let child = Command::new(nats_server_bin())
            .arg("--config")
            .arg(&conf)
            .arg("--ports_file_dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a nats-server that was found can be started");
        self.child = Some(child);
    }

    fn conf(&self) -> String {
        // A port of -1 lets the server choose; after the first start it keeps what it got.
        let port = |known: u16| {
            if known == 0 {
                "-1".to_owned()
            } else {
                known.to_string()
            }
        };
        let monitoring = if self.settings.monitoring {
            format!("http: \"127.0.0.1:{}\"\n", port(self.monitoring_port))
        } else {
            String::new()
        };
        format!(
            "server_name: testkit\n\
             listen: \"127.0.0.1:{port}\"\n\
             {monitoring}\
             max_payload: {max_payload}\n\
             jetstream {{\n  \
               store_dir: \"{store_dir}\"\n  \
               sync_interval: {sync}\n  \
               max_file_store: {max_file_store}\n  \
               max_mem: 256MB\n\
             }}\n",
            port = port(self.port),
            max_payload = self.settings.max_payload,
            store_dir = self.store_dir().display(),
            sync = if self.settings.sync_always {
                "always"
            } else {
                "2m"
            },
            max_file_store = self.settings.max_file_store,
        )
    }

    /// Fails if the server ends; panics if it neither ends nor becomes ready.
    async fn become_ready(&mut self) -> anyhow::Result<()> {
        let mut wait = Wait::new(READY_MAX, "nats-server is ready");
        loop {
            let Err(not_yet) = self.probe().await else {
                return Ok(());
            };
            let child = self.child.as_mut().context("not started")?;
            if let Some(exit) = child.try_wait().context("wait for nats-server")? {
                return Err(not_yet.context(format!("it ended with {exit}")));
            }
            wait.not_yet(format!("{not_yet:#}")).await;
        }
    }

    async fn probe(&mut self) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("not started")?;
        let ports_file = self
            .folder
            .path()
            .join(format!("nats-server_{}.ports", child.id()));
        let ports = std::fs::read(&ports_file).context("no ports file yet")?;
        let ports: serde_json::Value =
            serde_json::from_slice(&ports).context("half a ports file")?;
        self.port = port_of(&ports, "nats")?;
        if self.settings.monitoring {
            self.monitoring_port = port_of(&ports, "monitoring")?;
        }
        let options = async_nats::ConnectOptions::new().connection_timeout(Duration::from_secs(1));
        let client = options
            .connect(self.url())
            .await
            .context("no connection yet")?;
        async_nats::jetstream::new(client)
            .query_account()
            .await
            .context("no JetStream yet")?;
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server's program: `CASEMENT_NATS_SERVER`, else `.dev/bin/nats-server` of the checkout, else
/// the one on the path.
///
/// # Panics
/// When there is none, saying how to get it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their tools through the environment"
)]
pub fn nats_server_bin() -> PathBuf {
    if let Some(given) = std::env::var_os("CASEMENT_NATS_SERVER") {
        let given = PathBuf::from(given);
        assert!(
            given.is_file(),
            "CASEMENT_NATS_SERVER is {}, which is no file",
            given.display()
        );
        return given;
    }
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_default();
    let in_checkout = here
        .ancestors()
        .map(|folder| folder.join(".dev/bin/nats-server"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    in_checkout
        .chain(on_path)
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "there is no nats-server: run ./dev setup in the checkout (above {})",
                show(&here)
            )
        })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// The port in the first URL of the ports file's list `kind`.
fn port_of(ports: &serde_json::Value, kind: &str) -> anyhow::Result<u16> {
    let url = ports[kind][0]
        .as_str()
        .with_context(|| format!("no {kind} port"))?;
    let Some((_, port)) = url.rsplit_once(':') else {
        bail!("no port in {url}");
    };
    port.trim_end_matches('/')
        .parse()
        .with_context(|| format!("no port in {url}"))
}

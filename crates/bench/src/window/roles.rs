//! A broker, and roles beside it as processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use casement_event_log::Log;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_testkit::{NatsServer, Process, free_port};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::measure::page;
use crate::posts::SECRET;
use crate::stage;

/// How often a role that is to come is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a role may take to be ready, a million windows to be read included.
const READY_MAX: Duration = Duration::from_mins(5);

/// The token of this process.
const TOKEN: &str = "bench-api-token-0123456789";

/// A role that runs as a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Accounts,
    Ingress,
    WindowTracker,
    Dispatcher,
    AuditProjector,
}

impl Role {
    pub(super) const ALL: [Self; 5] = [
        Self::Accounts,
        Self::Ingress,
        Self::WindowTracker,
        Self::Dispatcher,
        Self::AuditProjector,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Ingress => "ingress",
            Self::WindowTracker => "window-tracker",
            Self::Dispatcher => "dispatcher",
            Self::AuditProjector => "audit-projector",
        }
    }
}

/// The broker, and how roles are run beside it.
pub(super) struct System {
    pub(super) nats: NatsServer,
    pub(super) log: Log,
    /// Where webhooks are taken.
    pub(super) webhooks: u16,
    program: PathBuf,
    folder: TempDir,
}

/// A role that was started.
pub(super) struct Running {
    pub(super) process: Process,
    api: u16,
    health: u16,
    name: &'static str,
}

impl System {
    /// Starts the broker; it knows one business number.
    ///
    /// `database_url` is where the archive is to be kept, if not in a file.
    pub(super) async fn start(program: &Path, database_url: Option<&str>) -> anyhow::Result<Self> {
        let nats = stage::server(true).await;
        let log = stage::log(&nats).await?;
        stage::record_number(&log).await?;
        let system = Self {
            nats,
            log,
            webhooks: free_port(),
            program: program.to_owned(),
            folder: TempDir::with_prefix("casement-bench-")?,
        };
        system.write_config(database_url)?;
        Ok(system)
    }

    /// Starts a role without waiting for it.
    pub(super) fn spawn(&self, role: Role) -> Running {
        let (api, health) = (free_port(), free_port());
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path());
        command.args([role.name(), "--config", "casement.toml"]);
        command.args(["--api-listen", &format!("127.0.0.1:{api}")]);
        command.args(["--health-listen", &format!("127.0.0.1:{health}")]);
        Running {
            process: Process::start(&mut command),
            api,
            health,
            name: role.name(),
        }
    }

    /// Starts roles, and returns once all are ready.
    pub(super) async fn start_roles(&self, roles: &[Role]) -> anyhow::Result<Vec<Running>> {
        let mut all: Vec<Running> = roles.iter().map(|role| self.spawn(*role)).collect();
        for running in &mut all {
            running.ready().await?;
        }
        Ok(all)
    }

    fn write_config(&self, database_url: Option<&str>) -> anyhow::Result<()> {
        let folder = self.folder.path().display();
        let archive = match database_url {
            Some(url) => format!("database_url = \"{url}\""),
            None => format!("database_path = \"{folder}/archive.sqlite\""),
        };
        let sizes = stage::sizes();
        let config = format!(
            r#"data_dir = "{folder}"
[log]
servers = "{servers}"
monitoring = "{monitoring}"
[log.sizes_mib]
raw = {raw}
events = {events}
[customers]
token_key = "bench-token-key-of-some-length"
[[api.tokens]]
name = "bench"
token = "{TOKEN}"
scopes = ["read"]
brand = "*"
[ingress]
listen = "127.0.0.1:{webhooks}"
[ingress.apps.default]
secrets = ["{SECRET}"]
verify_token = "bench-verify-token"
[ingress.limits]
posts_per_second = 1000000
[ingress.media]
enabled = false
[archive]
{archive}
"#,
            servers = self.nats.url(),
            monitoring = stage::monitoring(&self.nats),
            raw = sizes.raw_mib,
            events = sizes.events_mib,
            webhooks = self.webhooks,
        );
        std::fs::write(self.folder.path().join("casement.toml"), config).context("configuration")
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let address = format!("127.0.0.1:{}", self.health);
        loop {
            // An error says that it does not listen yet.
            if let Ok((200, _)) = page(&address, "/readyz").await {
                return Ok(());
            }
            ensure!(
                self.process.is_running() && begun.elapsed() < READY_MAX,
                "{} does not become ready; its log:\n{}",
                self.name,
                self.process.stderr()
            );
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Returns a value of the role's page of metrics, all its series together.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = page(&format!("127.0.0.1:{}", self.health), "/metrics").await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labelled) => labelled.split_once("} ")?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    /// Asks for windows; `None` as long as nobody listens.
    pub(super) async fn windows(&self) -> Option<WindowServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.api)).ok()?;
        Some(WindowServiceClient::new(endpoint.connect().await.ok()?))
    }
}

/// A request with our token.
pub(super) fn authorised<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let value = format!("Bearer {TOKEN}").parse()?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

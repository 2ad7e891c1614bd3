//! A broker, and roles beside it as processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use casement_event::subject::stream;
use casement_event_log::Log;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_secrets::keys::MasterKeys;
use casement_shell::config::Secret;
use casement_testkit::{NatsServer, Process, free_port};
use futures::TryStreamExt as _;
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

/// How often what waits is counted while it is waited for.
const WAIT_INTERVAL: Duration = Duration::from_millis(100);

/// The streams that a message passes.
const STREAMS: [&str; 4] = [
    stream::RAW,
    stream::CUSTOMERS,
    stream::EVENTS,
    stream::MESSAGES,
];

/// The token of this process.
const TOKEN: &str = "bench-api-token-0123456789";

/// What the archive is sealed under.
const MASTER_KEY: &str = "bench-master-key-of-some-length-012";

/// Returns the keys that open the archive of a system.
pub(crate) fn customer_keys() -> anyhow::Result<MasterKeys> {
    let config = casement_secrets::Config {
        master_key: Some(Secret::from_value(MASTER_KEY)),
    };
    Ok(config.customer_keys()?)
}

/// Returns where the program is whose roles are run: the one that was named, or the one beside this
/// program.
pub(crate) fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match named {
        Some(named) => named.to_owned(),
        None => std::env::current_exe()
            .context("where this program is")?
            .with_file_name("casement"),
    };
    // Roles run in a folder of their own.
    program.canonicalize().with_context(|| {
        format!(
            "there is no {}: build it with `cargo build --release --package casement`",
            program.display()
        )
    })
}

/// A role that runs as a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Accounts,
    Ingress,
    WindowTracker,
    Dispatcher,
    AuditProjector,
}

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Accounts,
        Self::Ingress,
        Self::WindowTracker,
        Self::Dispatcher,
        Self::AuditProjector,
    ];

    pub(crate) fn name(self) -> &'static str {
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
pub(crate) struct System {
    pub(crate) nats: NatsServer,
    pub(crate) log: Log,
    /// Where webhooks are taken.
    pub(crate) webhooks: u16,
    program: PathBuf,
    folder: TempDir,
}

/// A role that was started.
pub(crate) struct Running {
    pub(crate) process: Process,
    api: u16,
    health: u16,
    /// Where it takes webhooks, if it is an ingress.
    webhooks: u16,
    name: &'static str,
}

impl System {
    /// Starts the broker; it knows one business number.
    ///
    /// `database_url` is where the archive is to be kept, if not in a file.
    pub(crate) async fn start(program: &Path, database_url: Option<&str>) -> anyhow::Result<Self> {
        Self::start_with(program, database_url, "").await
    }

    /// As [`Self::start`]; `more` is further sections of the roles' configuration.
    pub(crate) async fn start_with(
        program: &Path,
        database_url: Option<&str>,
        more: &str,
    ) -> anyhow::Result<Self> {
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
        system.write_config(database_url, more)?;
        Ok(system)
    }

    /// Starts a role without waiting for it.
    pub(crate) fn spawn(&self, role: Role) -> Running {
        self.spawn_at(role, self.webhooks)
    }

    /// Starts one more process of a role that runs already, without waiting for it.
    pub(crate) fn spawn_another(&self, role: Role) -> Running {
        self.spawn_at(role, free_port())
    }

    fn spawn_at(&self, role: Role, webhooks: u16) -> Running {
        let (api, health) = (free_port(), free_port());
        Running {
            process: self.process(role.name(), api, health, webhooks),
            api,
            health,
            webhooks,
            name: role.name(),
        }
    }

    /// Kills a role with no chance to tidy up, and starts it again where it was, without waiting
    /// for it.
    pub(crate) fn kill_and_start(&self, running: &mut Running) {
        running.process.kill9();
        running.process = self.process(running.name, running.api, running.health, running.webhooks);
    }

    fn process(&self, name: &str, api: u16, health: u16, webhooks: u16) -> Process {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path());
        command.args([name, "--config", "casement.toml"]);
        command.args(["--api-listen", &format!("127.0.0.1:{api}")]);
        command.args(["--health-listen", &format!("127.0.0.1:{health}")]);
        command.args(["--webhooks-listen", &format!("127.0.0.1:{webhooks}")]);
        Process::start(&mut command)
    }

    /// Where roles keep files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Messages that some consumer was not given yet, or is working on, all consumers together.
    pub(crate) async fn waiting(&self, context: &jetstream::Context) -> anyhow::Result<usize> {
        let mut all = 0;
        for name in STREAMS {
            let stream = context.get_stream_no_info(name).await?;
            let consumers: Vec<_> = stream.consumers().try_collect().await?;
            for info in consumers {
                // What a killed process followed by is still there for a while.
                let is_left = info.config.durable_name.is_none() && info.num_waiting == 0;
                if is_left {
                    continue;
                }
                all += usize::try_from(info.num_pending)? + info.num_ack_pending;
            }
        }
        Ok(all)
    }

    /// Waits until nothing waits anywhere, and the archive, if there is one, has it all.
    pub(crate) async fn drained(
        &self,
        context: &jetstream::Context,
        projector: Option<&Running>,
        within: Duration,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.waiting(context).await? > 0 || !self.is_archived(projector).await? {
            ensure!(
                begun.elapsed() < within,
                "the roles take too long; {} messages wait",
                self.waiting(context).await?
            );
            sleep(WAIT_INTERVAL).await;
        }
        Ok(())
    }

    async fn is_archived(&self, projector: Option<&Running>) -> anyhow::Result<bool> {
        let Some(projector) = projector else {
            return Ok(true);
        };
        self.is_archived_by(std::slice::from_ref(projector)).await
    }

    /// Whether all that is on the log was archived by some of these projectors.
    pub(crate) async fn is_archived_by(&self, projectors: &[Running]) -> anyhow::Result<bool> {
        let mut stored = 0;
        // Posts as received may or may not be archived; nothing else is left out.
        for name in [
            stream::CUSTOMERS,
            stream::EVENTS,
            stream::MESSAGES,
            stream::ACCOUNTS,
        ] {
            stored += self.log.state(name).await?.messages;
        }
        let mut archived = 0.0;
        for projector in projectors {
            archived += projector.metric("casement_archive_rows_total").await?;
        }
        let stored = u32::try_from(stored)?;
        Ok(archived >= f64::from(stored))
    }

    /// Starts roles, and returns once all are ready.
    pub(crate) async fn start_roles(&self, roles: &[Role]) -> anyhow::Result<Vec<Running>> {
        let mut all: Vec<Running> = roles.iter().map(|role| self.spawn(*role)).collect();
        for running in &mut all {
            running.ready().await?;
        }
        Ok(all)
    }

    fn write_config(&self, database_url: Option<&str>, more: &str) -> anyhow::Result<()> {
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
[secrets]
master_key = "{MASTER_KEY}"
[[api.tokens]]
name = "bench"
token = "{TOKEN}"
scopes = ["read", "send"]
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
{more}
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
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it takes webhooks, if it is an ingress.
    pub(crate) fn webhooks(&self) -> u16 {
        self.webhooks
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
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
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
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

    /// Sends messages; connects when it is first used, and again when the role was away.
    pub(crate) fn messages(&self) -> anyhow::Result<MessageServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.api))?;
        Ok(MessageServiceClient::new(endpoint.connect_lazy()))
    }

    /// Asks for conversations; connects when it is first used.
    pub(crate) fn conversations(&self) -> anyhow::Result<ConversationServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.api))?;
        Ok(ConversationServiceClient::new(endpoint.connect_lazy()))
    }

    /// Asks for windows; `None` as long as nobody listens.
    pub(crate) async fn windows(&self) -> Option<WindowServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.api)).ok()?;
        Some(WindowServiceClient::new(endpoint.connect().await.ok()?))
    }
}

/// A request with our token.
pub(crate) fn authorised<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let value = format!("Bearer {TOKEN}").parse()?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

//! Starting, stopping and breaking the system.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::{
    Config as SimulatorConfig, CustomerId, Handle, NumberConfig, Running, Simulator,
    TemplateCategory, TemplateConfig, TemplateStatus,
};
use casement_testkit::{NatsServer, Process, casement_bin, eventually, free_port};
use jiff::SignedDuration;
use tempfile::TempDir;

use crate::clients::Clients;
use crate::events::Events;

/// The business number.
pub const NUMBER: &str = "+15550001111";

/// Meta's id of the business number.
pub const PHONE_NUMBER_ID: &str = "106540352242922";

/// The business account that owns the templates.
pub const WABA: &str = "102290129340398";

/// The sender of the number's SMS.
pub const SMS_SENDER: &str = "+15550009999";

/// The number's access token at Meta.
pub const ACCESS_TOKEN: &str = "test-access-token";

/// The Meta app that businesses sign up with: the simulator's own.
const META_APP: &str = "620010020030040";
const APP_SECRET: &str = "test-app-secret";
const TWILIO_ACCOUNT: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const TWILIO_TOKEN: &str = "test-twilio-token";

/// A role that runs as a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Brands, numbers, templates.
    Accounts,
    /// Webhooks.
    Ingress,
    /// Windows.
    WindowTracker,
    /// Messages.
    Dispatcher,
    /// Archive and queries.
    AuditProjector,
    /// One address for all of them; not started unless asked for.
    Gateway,
}

impl Role {
    /// Every role that each stack has, in the order they are started.
    pub const ALL: [Self; 5] = [
        Self::Accounts,
        Self::Ingress,
        Self::WindowTracker,
        Self::Dispatcher,
        Self::AuditProjector,
    ];

    /// The role as the program, its users at the broker and its containers are named.
    pub fn command(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Ingress => "ingress",
            Self::WindowTracker => "window-tracker",
            Self::Dispatcher => "dispatcher",
            Self::AuditProjector => "audit-projector",
            Self::Gateway => "gateway",
        }
    }
}

/// What differs between stacks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of the window, here and at the simulator.
    pub window_seconds: u32,
    /// How long an attempt of unknown outcome waits for a report.
    pub reconcile_after: &'static str,
    /// How long a call to a provider may take.
    pub call_timeout: &'static str,
    /// Whether windows outlive a move of the number and another user id.
    pub carries_over: bool,
    /// When an opt-in is needed, for every purpose: `never` but where that is what is claimed.
    pub requires_opt_in: &'static str,
    /// Lease of the active dispatcher; `0s` for none.
    pub lease: &'static str,
    /// The `[telemetry]` section.
    pub telemetry: String,
    /// Servers of a broker of the test's own and copies of each stream there, in place of the
    /// stack's broker.
    pub cluster: Option<(String, usize)>,
    /// The `[log]` section, in place of one that names the stack's broker or that cluster.
    pub log: Option<String>,
    /// A PostgreSQL database for the archive, in place of a file.
    pub database_url: Option<String>,
    /// Where the broker keeps its store, in place of a folder of its own.
    pub store_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_seconds: 3600,
            reconcile_after: "4s",
            call_timeout: "2s",
            carries_over: false,
            requires_opt_in: "never",
            lease: "1s",
            telemetry: String::new(),
            cluster: None,
            log: None,
            database_url: None,
            store_dir: None,
        }
    }
}

/// The whole system.
pub struct Stack {
    /// The broker.
    pub nats: NatsServer,
    /// Meta, Twilio and the customers.
    pub simulator: Handle,
    running: Running,
    folder: TempDir,
    processes: BTreeMap<(Role, usize), Process>,
    ports: BTreeMap<(Role, usize), Ports>,
    webhooks_port: u16,
    http: reqwest::Client,
    environment: BTreeMap<(Role, usize), Vec<(String, String)>>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    api: u16,
    health: u16,
    console: u16,
}

impl Stack {
    /// Starts everything with the defaults.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts everything, and returns once every role is ready.
    pub async fn with(options: Options) -> Self {
        let mut stack = Self::without_roles(&options).await;
        for role in Role::ALL {
            stack.spawn(role, 0);
        }
        for role in Role::ALL {
            stack.ready(role, 0).await;
        }
        stack
    }

    /// Starts all but the roles, which are configured and not started.
    pub async fn without_roles(options: &Options) -> Self {
        let mut nats = NatsServer::builder().sync_always(true).monitoring(true);
        if let Some(folder) = &options.store_dir {
            nats = nats.store_dir(folder);
        }
        let nats = nats.start().await;
        let folder = TempDir::new().expect("a temporary folder");
        let webhooks_port = free_port();
        let running = Simulator::start(simulator(options, webhooks_port))
            .await
            .expect("simulator");
        let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default())
            .expect("an HTTP client");
        let stack = Self {
            nats,
            simulator: running.handle(),
            running,
            folder,
            processes: BTreeMap::new(),
            ports: BTreeMap::new(),
            webhooks_port,
            http,
            environment: BTreeMap::new(),
        };
        stack.write_files(options);
        stack
    }

    /// Returns the address where webhooks are taken, without a path.
    pub fn webhooks_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.webhooks_port)
    }

    /// Returns the address of the simulator: Meta, Twilio and other gateways.
    pub fn simulator_url(&self) -> String {
        self.running.base_url()
    }

    /// Returns the path of a file in the system's folder: `casement.toml`, `accounts.toml`, and
    /// the secrets `access-token` and `twilio-token`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a role again, or for the first time under another copy's number.
    pub async fn start_role(&mut self, role: Role, copy: usize) {
        self.spawn(role, copy);
        self.ready(role, copy).await;
    }

    /// Sets a variable of the environment that a role is started with from now on.
    pub fn set_variable(&mut self, role: Role, copy: usize, name: &str, value: &str) {
        let variables = self.environment.entry((role, copy)).or_default();
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value.to_owned()));
    }

    /// As [`Self::set_variable`], of settings as they are named in the configuration.
    pub fn set(&mut self, role: Role, copy: usize, settings: &[(&str, String)]) {
        for (setting, value) in settings {
            let name = setting.to_uppercase().replace('.', "__");
            self.set_variable(role, copy, &format!("CASEMENT__{name}"), value);
        }
    }

    /// Starts a role, in place of what ran, and does not wait until it is ready.
    pub fn launch(&mut self, role: Role, copy: usize) {
        self.spawn(role, copy);
    }

    /// Returns whether a role runs and is ready, or why it is not.
    ///
    /// # Errors
    /// What is not ready yet, as the role or the connection to it says.
    pub async fn look(&mut self, role: Role, copy: usize) -> Result<(), String> {
        let url = format!(
            "http://127.0.0.1:{}/readyz",
            self.ports[&(role, copy)].health
        );
        let process = self.process(role, copy);
        if !process.is_running() {
            return Err("ended".to_owned());
        }
        let answer = self.http.get(&url).timeout(Duration::from_secs(2)).send();
        let answer = answer.await.map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(answer.text().await.unwrap_or_default())
    }

    /// Kills a role with no chance to tidy up.
    pub fn kill9(&mut self, role: Role, copy: usize) {
        self.process(role, copy).kill9();
    }

    /// Returns a role's process, to pause, stop or read it.
    pub fn process(&mut self, role: Role, copy: usize) -> &mut Process {
        self.processes
            .get_mut(&(role, copy))
            .expect("the role was started")
    }

    /// Kills the broker and starts it again on the same store and port.
    pub async fn restart_broker(&mut self) {
        self.nats.kill();
        self.nats.start_again().await;
    }

    /// Returns clients of the services; they reconnect by themselves.
    pub fn clients(&self) -> Clients {
        self.clients_of(0)
    }

    /// Returns clients whose dispatcher is another copy.
    pub fn clients_of(&self, dispatcher: usize) -> Clients {
        let port = |role, copy| self.ports[&(role, copy)].api;
        Clients::new(
            port(Role::WindowTracker, 0),
            port(Role::Dispatcher, dispatcher),
            port(Role::Accounts, 0),
            port(Role::AuditProjector, 0),
        )
    }

    /// Returns clients of another copy of every role, which need not have been started.
    pub fn clients_at(&mut self, copy: usize) -> Clients {
        let mut port = |role| self.ports_of(role, copy).api;
        Clients::new(
            port(Role::WindowTracker),
            port(Role::Dispatcher),
            port(Role::Accounts),
            port(Role::AuditProjector),
        )
    }

    /// Returns clients whose archive is another copy.
    pub fn clients_of_archive(&self, archive: usize) -> Clients {
        let port = |role, copy| self.ports[&(role, copy)].api;
        Clients::new(
            port(Role::WindowTracker, 0),
            port(Role::Dispatcher, 0),
            port(Role::Accounts, 0),
            port(Role::AuditProjector, archive),
        )
    }

    /// Returns the port where a role answers.
    pub fn api_port(&self, role: Role, copy: usize) -> u16 {
        self.ports[&(role, copy)].api
    }

    /// Returns where people find the console of the gateway, which was started.
    pub fn console_url(&self) -> String {
        format!(
            "http://127.0.0.1:{}",
            self.ports[&(Role::Gateway, 0)].console
        )
    }

    /// Returns clients that call the gateway, which was started.
    pub fn clients_of_gateway(&self) -> Clients {
        self.clients_by_gateway(0)
    }

    /// Returns clients that call another copy of the gateway, which was started.
    pub fn clients_by_gateway(&self, copy: usize) -> Clients {
        let port = self.ports[&(Role::Gateway, copy)].api;
        Clients::new(port, port, port, port)
    }

    /// Returns the metrics page of a role.
    pub async fn metrics(&self, role: Role) -> String {
        let port = self.ports[&(role, 0)].health;
        let answer = self
            .http
            .get(format!("http://127.0.0.1:{port}/metrics"))
            .send()
            .await
            .expect("a page of metrics");
        answer.text().await.expect("a page of text")
    }

    /// Returns the `HOST:PORT` of a role's health and metrics pages.
    pub fn pages(&self, role: Role) -> String {
        format!("127.0.0.1:{}", self.ports[&(role, 0)].health)
    }

    /// Subscribes to every event with a plain NATS client.
    pub async fn events(&self) -> Events {
        self.events_of("casement.events.>").await
    }

    /// Subscribes to some events, by their subject.
    pub async fn events_of(&self, subject: &str) -> Events {
        Events::subscribe(self.nats.client().await, subject).await
    }

    /// Adds a customer with a phone.
    pub fn customer(&self, phone: &str) -> CustomerId {
        self.simulator
            .customer(Some(phone), None, "Customer")
            .expect("a customer")
    }

    /// Adds a customer who shows a user id and no phone.
    pub fn nameless_customer(&self, user_id: &str) -> CustomerId {
        self.simulator
            .customer(None, Some(user_id), "Customer")
            .expect("a customer")
    }

    /// Lets a customer write to the number; returns the platform's message id.
    pub fn says(&self, customer: &CustomerId, text: &str) -> String {
        self.simulator
            .says(customer, PHONE_NUMBER_ID, text)
            .expect("a message")
    }

    /// Posts bytes to the webhook as Meta would, signed, and returns the status.
    pub async fn post(&self, body: &[u8]) -> Option<u16> {
        self.poster().post(body).await
    }

    /// Returns what posts webhooks, to be used while the stack is broken.
    pub fn poster(&self) -> Poster {
        Poster {
            url: self.webhook_url(),
            http: self.http.clone(),
        }
    }

    /// Returns where webhooks are taken.
    pub fn webhook_url(&self) -> String {
        format!("http://127.0.0.1:{}/webhooks/whatsapp", self.webhooks_port)
    }

    /// Returns where the archive is kept.
    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("archive.sqlite")
    }

    /// Returns the built program, to be used as an operator would.
    pub fn program(&self) -> Command {
        let mut command = Command::new(casement_bin());
        command.current_dir(self.folder.path());
        command
    }

    /// Stops the simulator and everything else.
    pub async fn stop(self) {
        drop(self.processes);
        self.running.stop().await;
    }

    fn spawn(&mut self, role: Role, copy: usize) {
        let ports = self.ports_of(role, copy);
        let mut command = self.program();
        command
            .arg(role.command())
            .arg("--config")
            .arg(self.folder.path().join("casement.toml"))
            .arg("--api-listen")
            .arg(format!("127.0.0.1:{}", ports.api))
            .arg("--health-listen")
            .arg(format!("127.0.0.1:{}", ports.health));
        for (name, value) in self.environment.get(&(role, copy)).into_iter().flatten() {
            command.env(name, value);
        }
        if role == Role::Gateway {
            command
                .arg("--console-listen")
                .arg(format!("127.0.0.1:{}", ports.console));
            for (area, role) in [
                ("WINDOWS", Role::WindowTracker),
                ("MESSAGES", Role::Dispatcher),
                ("ACCOUNTS", Role::Accounts),
                ("ARCHIVE", Role::AuditProjector),
                ("MEDIA", Role::Ingress),
            ] {
                let url = format!("http://127.0.0.1:{}", self.ports[&(role, 0)].api);
                command.env(format!("CASEMENT__GATEWAY__UPSTREAMS__{area}"), url);
            }
        }
        self.processes
            .insert((role, copy), Process::start(&mut command));
    }

    fn ports_of(&mut self, role: Role, copy: usize) -> Ports {
        *self.ports.entry((role, copy)).or_insert_with(|| Ports {
            api: free_port(),
            health: free_port(),
            console: free_port(),
        })
    }

    async fn ready(&mut self, role: Role, copy: usize) {
        let url = format!(
            "http://127.0.0.1:{}/readyz",
            self.ports[&(role, copy)].health
        );
        let http = self.http.clone();
        let process = self.process(role, copy);
        eventually(&format!("{role:?} is ready"), async || {
            assert!(process.is_running(), "{role:?} ended: {}", process.stderr());
            let answer = http
                .get(&url)
                .send()
                .await
                .map_err(|error| error.to_string())?;
            if answer.status().is_success() {
                return Ok(());
            }
            Err(answer.text().await.unwrap_or_default())
        })
        .await;
    }

    fn write_files(&self, options: &Options) {
        let write = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("a file in a folder of ours");
            // Each of them holds a secret, or says where one is.
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            path.display().to_string()
        };
        let token = write("access-token", ACCESS_TOKEN);
        let twilio = write("twilio-token", TWILIO_TOKEN);
        let accounts = write("accounts.toml", &accounts(&token, &twilio));
        let monitoring = self.nats.monitoring_url();
        let monitoring = monitoring.trim_start_matches("http://");
        let simulator = self.running.base_url();
        let webhooks = format!("http://127.0.0.1:{}", self.webhooks_port);
        let Options {
            window_seconds,
            reconcile_after,
            call_timeout,
            carries_over,
            requires_opt_in,
            lease,
            telemetry,
            cluster,
            log,
            database_url,
            store_dir: _,
        } = options;
        let archive = match database_url {
            Some(url) => format!("database_url = \"{url}\""),
            None => format!("database_path = \"{}\"", self.archive().display()),
        };
        let alone = (self.nats.url(), 1);
        let (servers, replicas) = cluster.as_ref().unwrap_or(&alone);
        let log = log.clone().unwrap_or_else(|| {
            format!("servers = \"{servers}\"\nreplicas = {replicas}\nmonitoring = \"{monitoring}\"")
        });
        write(
            "casement.toml",
            &format!(
                r#"
data_dir = "{folder}"
[log]
{log}
[customers]
token_key = "test-token-key-of-some-length"
[[api.tokens]]
name = "test"
token = "{token}"
scopes = ["read", "send", "colleague", "admin", "audit", "erase"]
brand = "*"
[accounts]
file = "{accounts}"
[accounts.graph]
url = "{simulator}"
[accounts.apps.default]
id = "{META_APP}"
secret = "{APP_SECRET}"
[secrets]
master_key = "test-master-key-of-some-length-0123"
[ingress]
listen = "127.0.0.1:{webhooks_port}"
[ingress.apps.default]
secrets = ["{APP_SECRET}"]
verify_token = "test-verify-token"
[ingress.media]
graph_url = "{simulator}"
retry_schedule = ["200ms", "1s"]
[ingress.twilio]
public_url = "{webhooks}"
[ingress.twilio.accounts.default]
auth_tokens = ["{TWILIO_TOKEN}"]
[window]
length = "{window_seconds}s"
leads = ["1s"]
guard = "1s"
granularity = "1s"
[window.carry_over]
migration = {carries_over}
user_id = {carries_over}
[dispatcher]
call_by = "1s"
call_timeout = "{call_timeout}"
reconcile_after = "{reconcile_after}"
recheck_after = "1s"
retry_schedule = ["100ms", "500ms", "1s", "2s", "4s"]
sensitive_key = "test-sensitive-key-of-some-length"
lease = "{lease}"
[dispatcher.require_opt_in]
service = "{requires_opt_in}"
utility = "{requires_opt_in}"
authentication = "{requires_opt_in}"
marketing = "{requires_opt_in}"
[dispatcher.providers]
graph_url = "{simulator}"
twilio_url = "{simulator}"
twilio_callback_url = "{webhooks}/webhooks/twilio"
[archive]
{archive}
signing_key = "test-archive-key-of-some-length-01"
signing_interval = "500ms"
[telemetry]
{telemetry}
"#,
                folder = self.folder.path().display(),
                token = crate::clients::API_TOKEN,
                webhooks_port = self.webhooks_port,
            ),
        );
    }
}

/// Posts webhooks as Meta would. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Poster {
    url: String,
    http: reqwest::Client,
}

impl Poster {
    /// Returns what posts to another copy of `ingress`, by the port where it listens.
    #[must_use]
    pub fn at(&self, port: u16) -> Self {
        Self {
            url: format!("http://127.0.0.1:{port}/webhooks/whatsapp"),
            http: self.http.clone(),
        }
    }

    /// Posts bytes, signed, and returns the status; `None` if nobody answered.
    pub async fn post(&self, body: &[u8]) -> Option<u16> {
        let request = self
            .http
            .post(&self.url)
            .header("X-Hub-Signature-256", sign(body))
            .header("content-type", "application/json")
            .body(body.to_vec());
        request
            .send()
            .await
            .ok()
            .map(|answer| answer.status().as_u16())
    }
}

fn simulator(options: &Options, webhooks_port: u16) -> SimulatorConfig {
    let clock = Arc::new(SystemClock::new());
    let mut config = SimulatorConfig::new(Arc::new(move || clock.now()));
    config.window = SignedDuration::from_secs(i64::from(options.window_seconds));
    config.webhook_url = Some(format!(
        "http://127.0.0.1:{webhooks_port}/webhooks/whatsapp"
    ));
    config.app_secret = APP_SECRET.into();
    config.verify_token = String::from("test-verify-token");
    config.numbers = vec![NumberConfig {
        phone_number_id: PHONE_NUMBER_ID.to_owned(),
        display_phone_number: NUMBER.to_owned(),
        waba_id: WABA.to_owned(),
        token: ACCESS_TOKEN.into(),
    }];
    let template = |name: &str, status| TemplateConfig {
        waba_id: WABA.to_owned(),
        name: name.to_owned(),
        language: "en_US".to_owned(),
        category: TemplateCategory::Utility,
        body: "Your order {{1}} is on its way.".to_owned(),
        parameter_count: 1,
        status,
    };
    config.templates = vec![
        template("order_update", TemplateStatus::Approved),
        template("order_paused", TemplateStatus::Paused),
    ];
    config.twilio.account_sid = String::from(TWILIO_ACCOUNT);
    config.twilio.auth_token = TWILIO_TOKEN.into();
    config.twilio.senders = vec![SMS_SENDER.to_owned()];
    config.twilio.inbound_url = Some(format!("http://127.0.0.1:{webhooks_port}/webhooks/twilio"));
    let hook = |path: &str| Some(format!("http://127.0.0.1:{webhooks_port}/webhooks/{path}"));
    config.vonage.inbound_url = hook("vonage");
    config.generic.status_url = hook("sms/acme");
    config.limits.pair = None;
    config.webhook_retry.first = SignedDuration::from_millis(50);
    config.webhook_retry.longest = SignedDuration::from_millis(500);
    config.webhook_retry.answer_within = SignedDuration::from_secs(5);
    config
}

fn accounts(token: &str, twilio: &str) -> String {
    let template = |name: &str, status: &str| {
        format!(
            r#"
[[template]]
waba_id = "{WABA}"
name = "{name}"
language = "en_US"
category = "utility"
status = "{status}"
body = "Your order {{{{1}}}} is on its way."
"#
        )
    };
    format!(
        r#"
[[number]]
number = "{NUMBER}"
portfolio_id = "506914307656634"
waba_id = "{WABA}"
phone_number_id = "{PHONE_NUMBER_ID}"
display_name = "The Shop"
token_file = "{token}"
[number.sms]
sender = "{SMS_SENDER}"
account_sid = "{TWILIO_ACCOUNT}"
auth_token_file = "{twilio}"
{}{}"#,
        template("order_update", "approved"),
        template("order_paused", "paused"),
    )
}

fn sign(body: &[u8]) -> String {
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(APP_SECRET.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// How long a fault may last before a claim about recovery fails.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(30);

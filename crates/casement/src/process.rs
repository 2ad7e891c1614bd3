//! A process from its configuration to its end: ports, broker, roles, drain.
//!
//! Ports are taken, the broker is reached and agrees on the time before any role works, so that what
//! cannot start does not look as if it had. The broker outlives the roles, which need it to finish.

mod lock;
mod refusals;
mod signals;
mod story_api;
mod waiting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use casement_event_log::Log;
use casement_gateway::Upstreams;
use casement_shell::config::{ConfigError, print};
use casement_shell::server::Door;
use casement_shell::telemetry::{self, Metrics};
use casement_shell::tls::{For, Tls, TlsConfig};
use casement_shell::{Shell, auth, clock, grpc, health, http};
use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::cli::{ConfigArgs, RoleArgs, UpArgs};
use crate::config::{Config, Mode};
use crate::demo::Demo;
use crate::nats::Nats;
use crate::roles::{self, Parts};
use crate::story::{self, Places, Platform, Stage};
use crate::{output, ports};

/// Which roles a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Ingress,
    WindowTracker,
    Dispatcher,
    Accounts,
    AuditProjector,
    Gateway,
}

impl Which {
    /// Whether one of the roles is this one.
    pub(crate) fn runs(self, role: Self) -> bool {
        self == Self::All || self == role
    }

    pub(crate) fn has_webhooks(self) -> bool {
        self.runs(Self::Ingress)
    }

    /// Whether the gateway is in it, with the console.
    pub(crate) fn has_console(self) -> bool {
        self.runs(Self::Gateway)
    }

    /// Whether it reads or writes the log; the gateway meets the others over the API only.
    pub(crate) fn has_log(self) -> bool {
        self != Self::Gateway
    }

    /// Whether customers have to be found by phone or user id.
    pub(crate) fn has_customers(self) -> bool {
        matches!(
            self,
            Self::All | Self::Ingress | Self::WindowTracker | Self::Dispatcher
        )
    }

    /// Whether it makes the names that customers have in subjects.
    pub(crate) fn names_customers(self) -> bool {
        self.has_customers() || self == Self::Accounts
    }

    /// Whether it calls the platform with tokens, which may be stored secrets.
    pub(crate) fn has_secrets(self) -> bool {
        matches!(
            self,
            Self::All | Self::Ingress | Self::Dispatcher | Self::Accounts
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "casement",
            Self::Ingress => "casement-ingress",
            Self::WindowTracker => "casement-window-tracker",
            Self::Dispatcher => "casement-dispatcher",
            Self::Accounts => "casement-accounts",
            Self::AuditProjector => "casement-audit-projector",
            Self::Gateway => "casement-gateway",
        }
    }
}

/// What is run, and how.
struct Plan {
    which: Which,
    mode: Mode,
    config: Config,
    exit_after_story: bool,
}

/// `casement up`.
pub(crate) async fn up(args: UpArgs) -> anyhow::Result<()> {
    let mode = if args.demo { Mode::Demo } else { Mode::Real };
    let mut overrides = args.config.overrides();
    let ephemeral = args.ephemeral.then(temporary_folder).transpose()?;
    if let Some(folder) = &ephemeral {
        overrides.insert(
            0,
            ("data_dir".to_owned(), folder.path().display().to_string()),
        );
    }
    let Some(config) = configured(&args.config, &overrides, Which::All, mode)? else {
        return Ok(());
    };
    let plan = Plan {
        which: Which::All,
        mode,
        config,
        exit_after_story: args.exit_after_story,
    };
    run(plan).await
}

/// A role alone.
pub(crate) async fn role(which: Which, args: RoleArgs) -> anyhow::Result<()> {
    let overrides = args.config.overrides();
    let Some(config) = configured(&args.config, &overrides, which, Mode::Real)? else {
        return Ok(());
    };
    run(Plan {
        which,
        mode: Mode::Real,
        config,
        exit_after_story: false,
    })
    .await
}

/// Loads and checks; `None` if that was all that was asked for.
fn configured(
    args: &ConfigArgs,
    overrides: &[(String, String)],
    which: Which,
    mode: Mode,
) -> anyhow::Result<Option<Config>> {
    let config = Config::load(mode, args.config.as_deref(), overrides)?;
    if args.print_config {
        // Before the checks: what is printed helps to find what they complain about.
        output::line(casement_ingress::cite(&print(&config)?).trim_end())?;
        return Ok(None);
    }
    config.check(which, mode)?;
    if args.check_config {
        output::talk("the configuration is good");
        return Ok(None);
    }
    Ok(Some(config))
}

fn temporary_folder() -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("casement-")
        .tempdir()
        .context("no temporary folder")
}

async fn run(plan: Plan) -> anyhow::Result<()> {
    http::install_tls_provider();
    // First of all: what is counted before is lost.
    Metrics::install();
    let telemetry = telemetry::init(plan.which.name(), &plan.config.telemetry)
        .map_err(|error| ConfigError::check(format!("`telemetry`: {error}")))?;
    let outcome = if plan.which.has_log() {
        Box::pin(with_broker(plan)).await
    } else {
        gateway_alone(plan).await
    };
    telemetry.shutdown().await;
    outcome
}

/// Runs around a broker: ours, if none was named.
async fn with_broker(mut plan: Plan) -> anyhow::Result<()> {
    let mut stops = signals::listen()?;
    let listeners = Listeners::bind(&mut plan).await?;
    if !plan.config.log.servers.is_empty() {
        return Box::pin(with_demo(plan, None, listeners, stops)).await;
    }
    let folder = data_folder(&plan.config.data_dir)?;
    plan.config.data_dir.clone_from(&folder);
    let _lock = lock::take(&folder)?;
    // The broker is ours alone: after a kill there is nobody whose lease must run out first.
    plan.config.dispatcher.lease = SignedDuration::ZERO;
    let starting = Nats::start(&plan.config.log.own_server, &folder);
    let nats = tokio::select! {
        nats = starting => nats?,
        _ = stops.recv() => return Ok(()),
    };
    let own = (nats.url(), nats.monitoring());
    let outcome = Box::pin(with_demo(plan, Some(own), listeners, stops)).await;
    nats.stop().await;
    outcome
}

/// A broker of our own, for a command that works on what it holds while no role does.
pub(crate) struct OwnBroker {
    nats: Nats,
    /// Nobody else uses the folder meanwhile.
    _lock: std::fs::File,
}

impl OwnBroker {
    /// Where it is, and where it says how it is set up.
    pub(crate) fn address(&self) -> (String, String) {
        (self.nats.url(), self.nats.monitoring())
    }

    pub(crate) async fn stop(self) {
        self.nats.stop().await;
    }
}

/// Starts the broker that `up` would run, unless another one is named.
pub(crate) async fn own_broker(config: &mut Config) -> anyhow::Result<Option<OwnBroker>> {
    if !config.log.servers.is_empty() {
        return Ok(None);
    }
    let folder = data_folder(&config.data_dir)?;
    config.data_dir.clone_from(&folder);
    let lock = lock::take(&folder)?;
    let nats = Nats::start(&config.log.own_server, &folder).await?;
    Ok(Some(OwnBroker { nats, _lock: lock }))
}

/// Runs around the simulator, in the demo.
async fn with_demo(
    mut plan: Plan,
    own_broker: Option<(String, String)>,
    listeners: Listeners,
    stops: mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    if plan.mode == Mode::Real {
        return Box::pin(with_roles(plan, own_broker, None, listeners, stops)).await;
    }
    plan.config.data_dir = data_folder(&plan.config.data_dir)?;
    let demo = Demo::start(&mut plan.config).await?;
    let running = with_roles(plan, own_broker, Some(&demo), listeners, stops);
    let outcome = Box::pin(running).await;
    demo.stop().await;
    outcome
}

/// Runs the gateway before roles that run elsewhere.
async fn gateway_alone(mut plan: Plan) -> anyhow::Result<()> {
    let stops = signals::listen()?;
    let listeners = Listeners::bind(&mut plan).await?;
    let config = &plan.config;
    let mut shell = Shell::new(config.grace());
    let upstreams = Upstreams::from_config(&config.gateway)
        .map_err(|error| ConfigError::check(error.to_string()))?;
    let doors = (listeners.api, listeners.console);
    serve_gateway(&plan, upstreams, doors, &mut shell).await?;
    let health = serve_pages(listeners.health, &mut shell)?;
    tracing::info!(%health, "running");
    let (stop, asked) = mpsc::channel(2);
    tokio::spawn(signals::forward(stops, stop));
    shell.run_until(asked).await
}

/// Serves gRPC and HTTP+JSON of what is behind the gateway, and the console.
async fn serve_gateway(
    plan: &Plan,
    upstreams: Upstreams,
    (api, console): (TcpListener, Option<TcpListener>),
    shell: &mut Shell,
) -> anyhow::Result<auth::Tokens> {
    let tokens = tokens(plan, shell)?;
    let parts = casement_gateway::Parts {
        upstreams,
        tokens: tokens.clone(),
        // It meets the roles only, and stores nothing.
        clock: clock::for_process(plan.mode == Mode::Demo)?.without_broker(),
        readiness: shell.readiness(),
        stopping: shell.stopping(),
    };
    let gateway = casement_gateway::start(&plan.config.gateway, parts)
        .await
        .map_err(|error| ConfigError::check(error.to_string()))?;
    let config = &plan.config;
    if let Some(console) = console {
        let door = door(For::Console, console, config.console.tls.as_ref(), config)?;
        shell.spawn("console", gateway.serve_console(door));
    }
    let door = door(For::Api, api, config.api.tls.as_ref(), config)?;
    shell.spawn("gateway", gateway.serve(door));
    Ok(tokens)
}

/// Returns a port with what it lets in.
fn door(
    whom: For,
    listener: TcpListener,
    tls: Option<&TlsConfig>,
    config: &Config,
) -> Result<Door, ConfigError> {
    let tls = tls.cloned().map(|tls| Tls::load_for(whom, tls)).transpose();
    let tls = tls.map_err(|error| {
        let key = if whom == For::Console {
            "console.tls"
        } else {
            "api.tls"
        };
        ConfigError::check(format!("`{key}`: {error}"))
    })?;
    Ok(Door {
        listener,
        tls: tls.map(Arc::new),
        limits: config.gateway.limits.doors(),
    })
}

/// Returns who may call; reads them anew where they stand.
fn tokens(plan: &Plan, shell: &mut Shell) -> Result<auth::Tokens, ConfigError> {
    let tokens = plan.config.tokens(plan.mode)?;
    if tokens.is_empty() {
        tracing::warn!("no token is configured: nobody can call the API (api.tokens)");
    }
    let plain = tokens.plain();
    if plan.mode == Mode::Real && !plain.is_empty() {
        tracing::warn!(
            tokens = plain.join(", "),
            "tokens stand in clear where they are checked: `casement token hash` makes hashes of them"
        );
    }
    shell.spawn("tokens", tokens.clone().watch(shell.stopping()));
    Ok(tokens)
}

/// Serves health and metrics; returns where.
fn serve_pages(listener: TcpListener, shell: &mut Shell) -> anyhow::Result<SocketAddr> {
    let metrics = Metrics::install();
    shell.spawn("metrics", metrics.clone().upkeep(shell.stopping()));
    let address = listener.local_addr()?;
    let pages = health::router(shell.readiness(), metrics);
    let serving = http::serve(listener, pages, shell.stopping());
    shell.spawn("health", async move { Ok(serving.await?) });
    Ok(address)
}

async fn with_roles(
    plan: Plan,
    own_broker: Option<(String, String)>,
    demo: Option<&Demo>,
    listeners: Listeners,
    mut stops: mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let config = &plan.config;
    let mut shell = Shell::new(config.grace());
    let broker_url = own_broker
        .as_ref()
        .map_or_else(|| config.log.servers.clone(), |(url, _)| url.clone());
    let log_config = config.log(own_broker)?;
    let unproven = clock::for_process(plan.mode == Mode::Demo)?;
    // From now on somebody can ask what is waited for.
    shell.readiness().latch("broker").hold("not reached yet");
    let health_address = serve_pages(listeners.health, &mut shell)?;
    let starting = async {
        let log = Log::connect(&log_config).await?;
        let readiness = shell.readiness();
        let clock = waiting::for_time(&plan, &unproven, &log, &listeners.api, &readiness).await?;
        let parts = Parts {
            log,
            clock,
            readiness,
            stopping: shell.stopping(),
        };
        let wired = roles::start(plan.which, config, &parts, &mut shell).await?;
        anyhow::Ok((parts, wired))
    };
    let (parts, mut wired) = tokio::select! {
        started = starting => started?,
        _ = stops.recv() => return Ok(()),
    };
    shell.spawn(
        "broker watch",
        waiting::watch_broker(wired.log.clone(), &shell),
    );
    let api = listeners.api.local_addr()?;
    let console = listeners.console.as_ref().map(TcpListener::local_addr);
    let console = console.transpose()?;
    let mut api_url = format!("http://{api}");
    let tokens = if plan.which == Which::All {
        if demo.is_some() && config.api.tls.is_some() {
            api_url = story_api::serve(&plan, &wired, &mut shell).await?;
        }
        let upstreams = Upstreams::local(&telemetry::observe(wired.routes.routes()));
        let doors = (listeners.api, listeners.console);
        serve_gateway(&plan, upstreams, doors, &mut shell).await?
    } else {
        let (health, keep_health) =
            health::grpc(&shell.readiness(), &wired.services, shell.stopping());
        shell.spawn("gRPC health", keep_health);
        wired.reflect()?;
        wired.routes.add_service(health);
        let tokens = tokens(&plan, &mut shell)?;
        let routes = auth::protect(wired.routes.routes(), tokens.clone());
        let routes = telemetry::observe(routes);
        let door = door(For::Api, listeners.api, config.api.tls.as_ref(), config)?;
        let serving = grpc::serve(door, routes, shell.stopping());
        shell.spawn("gRPC", async move { Ok(serving.await?) });
        tokens
    };
    let (log, clock) = (wired.log.clone(), parts.clock.clone());
    let refused = refusals::record(tokens.refusals(), log, clock, plan.which, shell.stopping());
    shell.spawn("refusals", refused);

    let (stop, asked) = mpsc::channel(2);
    tokio::spawn(signals::forward(stops, stop.clone()));
    if let Some(demo) = demo {
        let stage = Stage {
            platform: Platform::Here(demo.handle.clone()),
            window: demo.window,
            log: wired.log.clone(),
            clock: parts.clock.clone(),
            api: api_url,
            token: SecretString::from(auth::DEMO_TOKEN),
            readiness: Some(shell.readiness()),
            places: console.map(|console| Places {
                api,
                api_scheme: if config.api.tls.is_some() {
                    "https"
                } else {
                    "http"
                },
                console,
                webhooks: demo.webhooks,
                simulator: demo.simulator,
                health: health_address,
                broker_url,
            }),
            stopping: shell.stopping(),
        };
        shell.spawn(
            "story",
            story::play(stage, plan.exit_after_story.then_some(stop)),
        );
    }
    tracing::info!(%api, health = %health_address, "running");
    shell.run_until(asked).await
}

/// The ports of a process, taken. That for webhooks is only known to be free: the role takes it.
struct Listeners {
    api: TcpListener,
    console: Option<TcpListener>,
    health: TcpListener,
}

impl Listeners {
    async fn bind(plan: &mut Plan) -> anyhow::Result<Self> {
        let Plan {
            which,
            mode,
            config,
            ..
        } = plan;
        if which.has_webhooks() {
            let listen = &mut config.ingress.listen;
            if listen.port() == 0 {
                // Others have to be told.
                listen.set_port(ports::free_address().await?.port());
            }
            ports::require_free(*listen, "the door for webhooks", "--webhooks-listen").await?;
        }
        let api = ports::bind(config.api.listen, "the API", "--api-listen").await?;
        let console = if which.has_console() {
            let listen = config.console.listen;
            Some(ports::bind(listen, "the console", "--console-listen").await?)
        } else {
            None
        };
        let listen = config.health.listen;
        let health = ports::bind(listen, "the health page", "--health-listen").await?;
        if *mode == Mode::Demo {
            let listen = config.demo.simulator_listen;
            ports::require_free(listen, "the simulator", "--simulator-listen").await?;
        }
        Ok(Self {
            api,
            console,
            health,
        })
    }
}

/// Creates the folder for data, and returns its full path: what is written down must not depend on
/// where somebody stands.
fn data_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("folder {} cannot be created", folder.display()))?;
    folder
        .canonicalize()
        .with_context(|| format!("folder {} cannot be found", folder.display()))
}

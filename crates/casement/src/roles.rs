//! Which roles run in this process, wired to the log, to each other's tokens and to the shell.
//!
//! Roles meet only on the log: what they share here is the connection, the directory, the clock
//! and the key of customers, never each other.

use std::sync::Arc;

use anyhow::Context as _;
use casement_event_log::directory::Directory;
use casement_event_log::{Log, customers};
use casement_secrets::Secrets;
use casement_secrets::vault::LocalVault;
use casement_shell::health::Readiness;
use casement_shell::{SharedClock, Shell};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;

use crate::config::Config;
use crate::process::Which;

/// What every role is given.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) clock: SharedClock,
    pub(crate) readiness: Readiness,
    pub(crate) stopping: CancellationToken,
}

/// The roles, running once the shell does.
pub(crate) struct Wired {
    pub(crate) log: Log,
    pub(crate) routes: RoutesBuilder,
    /// Full names of the services, for health and reflection.
    pub(crate) services: Vec<&'static str>,
}

/// Starts the roles.
pub(crate) async fn start(
    which: Which,
    config: &Config,
    parts: &Parts,
    shell: &mut Shell,
) -> anyhow::Result<Wired> {
    let log = parts.log.clone();
    let mut wired = Wired {
        log: log.clone(),
        routes: RoutesBuilder::default(),
        services: Vec::new(),
    };
    let secrets = secrets(which, config, &log, parts).await?;
    // First, so that the directory finds what the accounts file says.
    if which.runs(Which::Accounts) {
        let (section, clock) = (config.accounts.clone(), parts.clock.clone());
        let role = casement_accounts::start(section, log.clone(), secrets.clone(), clock)
            .await
            .context("role accounts")?;
        let service = role.service();
        wired.services.push(name_of(&service));
        wired.routes.add_service(service);
        let applications = role.applications();
        wired.services.push(name_of(&applications));
        wired.routes.add_service(applications);
        let templates = role.templates();
        wired.services.push(name_of(&templates));
        wired.routes.add_service(templates);
        let migrations = role.migrations();
        wired.services.push(name_of(&migrations));
        wired.routes.add_service(migrations);
        let onboardings = role.onboardings();
        wired.services.push(name_of(&onboardings));
        wired.routes.add_service(onboardings);
        let shelf = role.shelf();
        wired.services.push(name_of(&shelf));
        wired.routes.add_service(shelf);
        let tokens = customers::Tokens::new(config.token_key()?);
        let consents = role.consents(tokens, parts.stopping.clone());
        wired.services.push(name_of(&consents));
        wired.routes.add_service(consents);
        shell.spawn("accounts", role.run(parts.stopping.clone()));
    }
    if which.has_customers() {
        with_customers(which, config, parts, shell, (&mut wired, secrets)).await?;
    }
    if which.runs(Which::AuditProjector) {
        let (section, clock) = (config.archive.clone(), parts.clock.clone());
        let masters = config.secrets.customer_keys();
        let masters = Arc::new(masters.context("secrets.master_key")?);
        let role = casement_audit_projector::start(section, masters, log, clock, &parts.readiness)
            .await
            .context("role audit-projector")?;
        let role = match &config.customers.token_key {
            Some(_) => role.with_tokens(customers::Tokens::new(config.token_key()?)),
            None => role,
        };
        let (conversations, audit, messages) = role.services();
        wired.services.push(name_of(&conversations));
        wired.routes.add_service(conversations);
        wired.services.push(name_of(&audit));
        wired.routes.add_service(audit);
        wired.services.push(name_of(&messages));
        wired.routes.add_service(messages);
        let figures = role.figures_service();
        wired.services.push(name_of(&figures));
        wired.routes.add_service(figures);
        shell.spawn("audit-projector", role.run(parts.stopping.clone()));
    }
    Ok(wired)
}

/// Starts the roles that have to find customers.
async fn with_customers(
    which: Which,
    config: &Config,
    parts: &Parts,
    shell: &mut Shell,
    (wired, secrets): (&mut Wired, Secrets),
) -> anyhow::Result<()> {
    let log = wired.log.clone();
    let directory = Directory::start(&log, parts.stopping.clone()).await;
    let tokens = customers::Tokens::new(config.token_key()?);
    if which.runs(Which::Ingress) {
        let role = casement_ingress::start(
            config.ingress.clone(),
            log.clone(),
            directory.clone(),
            tokens.clone(),
            parts.clock.clone(),
        )
        .await
        .context("role ingress")?
        .with_secrets(secrets.clone());
        let service = role.service();
        wired.services.push(name_of(&service));
        wired.routes.add_service(service);
        let repairs = role.repairs();
        wired.services.push(name_of(&repairs));
        wired.routes.add_service(repairs);
        shell.spawn("ingress", role.run(parts.stopping.clone()));
    }
    if which.runs(Which::WindowTracker) {
        let role = casement_window_tracker::start(
            config.window.clone(),
            log.clone(),
            directory.clone(),
            tokens.clone(),
            parts.clock.clone(),
            &parts.readiness,
        )
        .context("role window-tracker")?;
        let service = role.service();
        wired.services.push(name_of(&service));
        wired.routes.add_service(service);
        shell.spawn("window-tracker", role.run(parts.stopping.clone()));
    }
    if which.runs(Which::Dispatcher) {
        let role = casement_dispatcher::start(
            config.dispatcher.clone(),
            config.window.policy(),
            log,
            directory,
            tokens,
            parts.clock.clone(),
            parts.readiness.latch("dispatcher"),
        )
        .context("role dispatcher")?
        .with_secrets(secrets);
        let service = role.service();
        wired.services.push(name_of(&service));
        wired.routes.add_service(service);
        shell.spawn("dispatcher", role.run(parts.stopping.clone()));
    }
    Ok(())
}

/// Follows the stored secrets, for the roles that need them and if a key opens them.
async fn secrets(
    which: Which,
    config: &Config,
    log: &Log,
    parts: &Parts,
) -> anyhow::Result<Secrets> {
    if !which.has_secrets() {
        return Ok(Secrets::default());
    }
    let keys = config.secrets.keys().context("secrets.master_key")?;
    Ok(match LocalVault::new(keys) {
        Some(vault) => Secrets::start(log, Arc::new(vault), parts.stopping.clone()).await,
        None => Secrets::default(),
    })
}

impl Wired {
    /// Lets tools such as grpcurl ask what there is, in both versions of the protocol.
    pub(crate) fn reflect(&mut self) -> anyhow::Result<()> {
        let builder = || {
            let all = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(casement_proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name("grpc.health.v1.Health");
            self.services
                .iter()
                .fold(all, |builder, name| builder.with_service_name(*name))
        };
        let (current, old) = (builder().build_v1()?, builder().build_v1alpha()?);
        self.routes.add_service(current).add_service(old);
        Ok(())
    }
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

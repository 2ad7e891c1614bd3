//! The server's side, in a process of its own: ingress as it is, its front door alone, or the same
//! HTTP server with nothing behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_event_log::{Config as LogConfig, Log};
use casement_ingress::{App, BODY_BYTES_MAX, Config, Limits, MediaConfig, Role};
use casement_shell::SystemClock;
use casement_shell::config::Secret;
use casement_shell::server::{self, Server};
use casement_shell::telemetry::{self, Metrics, TelemetryConfig};
use casement_whatsapp::signature;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::posts::SECRET;

/// What the process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Checks the signature, answers 200, stores nothing.
    Nothing,
    /// Ingress without its normaliser.
    Door,
    /// Ingress.
    Whole,
}

/// Options of the inner command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long)]
    part: Part,
    /// The broker, and its monitoring address.
    #[arg(long)]
    servers: String,
    #[arg(long)]
    monitoring: String,
}

/// What the process prints before its address, once it is there.
pub(crate) const READY: &str = "listening on ";

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let _telemetry = telemetry::init("casement-ingress", &TelemetryConfig::default())?;
    let metrics = Metrics::install();
    let stopping = CancellationToken::new();
    tokio::spawn(metrics.upkeep(stopping.clone()));
    match options.part {
        Part::Nothing => serve(nothing(), stopping).await,
        Part::Door => {
            let role = ingress(options, &stopping).await?;
            // The role is not run, so nobody normalises; its writers write.
            serve(role.router(), stopping).await
        }
        Part::Whole => {
            let role = ingress(options, &stopping).await?;
            println!("{READY}{}", role.address());
            Box::pin(role.run(stopping)).await
        }
    }
}

async fn serve(router: Router, stopping: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
    println!("{READY}{}", listener.local_addr()?);
    let limits = Limits::default();
    let server = Server {
        listener,
        router,
        tls: None,
        limits: server::Limits {
            connections: limits.connections,
            header_timeout: limits.header_timeout.unsigned_abs(),
        },
    };
    server.run(stopping).await;
    Ok(())
}

fn nothing() -> Router {
    let secrets = Arc::new([SecretString::from(SECRET)]);
    let answer =
        async |State(secrets): State<Arc<[SecretString; 1]>>, headers: HeaderMap, body: Bytes| {
            let header = headers.get(signature::HEADER);
            let header = header.and_then(|value| value.to_str().ok());
            match signature::verify(&body, header, &secrets[..]) {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::UNAUTHORIZED,
            }
        };
    Router::new()
        .route("/webhooks/whatsapp", post(answer))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(secrets)
}

async fn ingress(options: &Options, stopping: &CancellationToken) -> anyhow::Result<Role> {
    let log = Log::connect(&LogConfig {
        servers: options.servers.clone(),
        monitoring: Some(options.monitoring.clone()),
        sizes: crate::stage::sizes(),
        ..LogConfig::default()
    })
    .await?;
    let directory = Directory::start(&log, stopping.clone()).await;
    let app = App {
        secrets: vec![Secret::from_value(SECRET)],
        verify_token: Secret::from_value("bench-verify-token"),
        client_name: None,
    };
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        apps: [("default".to_owned(), app)].into(),
        limits: Limits {
            // What is measured is the server, not its limit.
            posts_per_second: 1_000_000,
            ..Limits::default()
        },
        media: MediaConfig {
            enabled: false,
            ..MediaConfig::default()
        },
        ..Config::default()
    };
    let tokens = Tokens::new(SecretString::from("bench-token-key"));
    casement_ingress::start(config, log, directory, tokens, SystemClock::shared()).await
}

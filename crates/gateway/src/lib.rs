//! The gateway: one public address, in every shape of deployment.
//!
//! It routes gRPC by the name of the service, streams and trailers included, to roles in this
//! process or behind connections; offers the same calls as HTTP+JSON on the same port; answers
//! reflection and health for all of them; checks tokens and scopes, and holds brands to their
//! limits. On a port of its own it serves the console, which goes through the same checks.
//!
//! It keeps no state but what is in flight, repeats no call, and decides nothing about windows or
//! messages. Services check tokens again: the gateway passes on the caller's.

mod body;
mod codec;
mod config;
mod console;
mod file;
mod front;
mod health;
mod limits;
mod metrics;
mod ndjson;
mod openapi;
mod problem;
mod refusals;
mod routes;
mod trace;
mod transcode;
mod upload;
mod upstream;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use casement_shell::SharedClock;
use casement_shell::auth::Tokens;
use casement_shell::grpc::{
    HEADER_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAMS_PER_CONNECTION_MAX,
};
use casement_shell::health::Readiness;
use casement_shell::server::Door;
use prost_reflect::DescriptorPool;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;

use console::Pages;
use front::Front;
use health::Keeper;
use limits::Limits;
use refusals::Refusals;
use routes::Table;
use upstream::Target;

pub use body::STOPPING;
pub use config::{Config, LimitsConfig, UpstreamUrls};
pub use console::ConsoleConfig;
pub use limits::{ADDRESS_LIMITED, CONCURRENCY_LIMITED, RATE_LIMITED};
pub use problem::REQUEST_TOO_LARGE;
pub use upstream::{Area, CALL_TIMED_OUT, UPSTREAM_UNREACHABLE, Upstream, Upstreams};

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of a role is not understood.
    #[error(
        "`gateway.upstreams.{area}` is no `http://HOST:PORT`, nor `https://` with \
         `gateway.upstreams_tls`: `{url}`"
    )]
    Url {
        /// Whose address.
        area: Area,
        /// As it was given.
        url: String,
    },
    /// There is nothing behind the gateway.
    #[error("`gateway.upstreams` names no role")]
    NoUpstream,
    /// A limit that allows nothing, or no time.
    #[error("`gateway.{0}` must be above zero")]
    NotPositive(&'static str),
    /// The key of the console's sessions has no value.
    #[error("`gateway.console.session_key` has no value")]
    SessionKey(#[source] casement_shell::config::SecretError),
    /// What the connections to roles are encrypted with is of no use.
    #[error("`gateway.upstreams_tls`")]
    UpstreamsTls(#[source] casement_shell::tls::TlsError),
    /// Somebody could guess it.
    #[error(
        "`gateway.console.session_key` has fewer than {0} characters: take what \
         `openssl rand -hex 32` prints"
    )]
    SessionKeyShort(usize),
}

/// What the gateway is given by its process.
#[derive(Debug)]
pub struct Parts {
    /// What is behind it.
    pub upstreams: Upstreams,
    /// Who may call.
    pub tokens: Tokens,
    /// Counts calls a second.
    pub clock: SharedClock,
    /// Where it takes a latch until every role behind a connection answered once.
    pub readiness: Readiness,
    /// Ends streams; calls in flight are awaited.
    pub stopping: CancellationToken,
}

/// A gateway that is ready to be served.
pub struct Gateway {
    router: Router,
    console: Pages,
    keeper: Keeper,
    refusals: Arc<Refusals>,
    stopping: CancellationToken,
}

/// Puts a gateway together. Connects to nothing yet.
///
/// # Errors
/// When the configuration allows nothing, or nothing is behind the gateway.
pub async fn start(config: &Config, parts: Parts) -> Result<Gateway, Error> {
    config.check()?;
    metrics::start();
    if parts.upstreams.is_empty() {
        return Err(Error::NoUpstream);
    }
    let mut targets: BTreeMap<&'static str, Target> = BTreeMap::new();
    for target in parts.upstreams.targets() {
        let services = target.area.map(Area::services).unwrap_or_default();
        targets.extend(services.iter().map(|service| (*service, target.clone())));
    }

    let (reporter, health) = tonic_health::server::health_reporter();
    let keeper = Keeper::new(reporter, parts.readiness, &targets).await;
    add_own(&mut targets, health);

    let pool = pool();
    let document = openapi::document(&pool);
    let limits = &config.limits;
    let clock = parts.clock.clone();
    let archive = targets.get("casement.audit.v1.AuditService").cloned();
    let refusals = Arc::new(Refusals::new(parts.tokens.clone(), archive));
    let front = Arc::new(Front {
        targets,
        refusals: Arc::clone(&refusals),
        table: Table::new(),
        pool,
        tokens: parts.tokens,
        limits: Limits::new(limits, parts.clock),
        request_bytes: limits.request_bytes,
        call_timeout: limits.call_timeout.unsigned_abs(),
        openapi: Bytes::from(document.to_string()),
        stopping: parts.stopping.clone(),
    });
    let console = Pages::new(front.clone(), clock, &config.console)?;
    Ok(Gateway {
        router: Router::new().fallback(front::answer).with_state(front),
        console,
        keeper,
        refusals,
        stopping: parts.stopping,
    })
}

impl Gateway {
    /// Serves the console, on a port of its own, until the stop; requests in flight end.
    pub fn serve_console<D: Into<Door>>(
        &self,
        door: D,
    ) -> impl Future<Output = anyhow::Result<()>> + use<D> {
        self.console.clone().serve(door.into())
    }

    /// Serves HTTP/1.1 and HTTP/2 on one port until the stop, then lets calls in flight end.
    pub fn serve<D: Into<Door>>(
        self,
        door: D,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + use<D> {
        self.serve_behind(door.into())
    }

    async fn serve_behind(self, door: Door) -> anyhow::Result<()> {
        let Self {
            router,
            keeper,
            refusals,
            stopping,
            ..
        } = self;
        let serving = Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_adaptive_window(Some(true))
            .add_routes(Routes::from(router))
            .serve_with_incoming_shutdown(
                door.open(stopping.clone()),
                stopping.clone().cancelled_owned(),
            );
        let telling = refusals.run(stopping.clone());
        let (served, (), ()) = tokio::join!(serving, keeper.run(stopping), telling);
        Ok(served?)
    }
}

/// Reflection of all that is behind the gateway, in both versions of the protocol, and health.
fn add_own<H>(targets: &mut BTreeMap<&'static str, Target>, health: H)
where
    H: tonic::codegen::Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    H::Future: Send + 'static,
{
    let builder = || {
        let all = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(casement_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(H::NAME);
        targets
            .keys()
            .fold(all, |builder, name| builder.with_service_name(*name))
    };
    let described = "the descriptor sets were compiled with this program";
    let (current, old) = (
        builder().build_v1().expect(described),
        builder().build_v1alpha().expect(described),
    );
    let names = [name_of(&current), name_of(&old), H::NAME];
    let routes = Routes::new(current).add_service(old).add_service(health);
    let own = Target::own(routes);
    targets.extend(names.map(|name| (name, own.clone())));
}

/// Everything that is offered as JSON.
fn pool() -> DescriptorPool {
    let described = "the descriptor sets were compiled with this program";
    let mut pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).expect(described);
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .expect(described);
    pool
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

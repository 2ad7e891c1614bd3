//! Where the services are: in this process, or behind a connection to a role.
//!
//! Calls pass through as they are, streams and trailers included; nothing is retried, since only
//! the caller knows whether a call may be repeated.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use casement_shell::grpc::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, refusal, refuse};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, TimeoutExpired};
use tower::{ServiceExt as _, service_fn};
use tracing::Instrument as _;

use crate::body::Mended;
use crate::{Config, Error, trace};

/// The reason of a refusal because the role behind the gateway does not answer.
pub const UPSTREAM_UNREACHABLE: &str = "UPSTREAM_UNREACHABLE";

/// The reason of a refusal because the time for the call is over.
pub const CALL_TIMED_OUT: &str = "CALL_TIMED_OUT";

/// What one role serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The window-tracker's.
    Windows,
    /// The dispatcher's.
    Messages,
    /// The accounts role's.
    Accounts,
    /// The audit-projector's.
    Archive,
    /// The ingress role's.
    Media,
}

impl Area {
    /// Every area there is.
    pub const ALL: [Self; 5] = [
        Self::Windows,
        Self::Messages,
        Self::Accounts,
        Self::Archive,
        Self::Media,
    ];

    /// As written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Messages => "messages",
            Self::Accounts => "accounts",
            Self::Archive => "archive",
            Self::Media => "media",
        }
    }

    /// Full names of its services.
    pub fn services(self) -> &'static [&'static str] {
        match self {
            Self::Windows => &["casement.window.v1.WindowService"],
            Self::Messages => &["casement.message.v1.MessageService"],
            Self::Accounts => &[
                "casement.account.v1.AccountService",
                "casement.account.v1.ApplicationService",
                "casement.account.v1.SecretService",
                "casement.account.v1.OnboardingService",
                "casement.account.v1.ConsentService",
                "casement.account.v1.MigrationService",
                "casement.account.v1.TemplateService",
            ],
            Self::Media => &[
                "casement.media.v1.MediaService",
                "casement.repair.v1.RepairService",
            ],
            Self::Archive => &[
                "casement.conversation.v1.ConversationService",
                "casement.audit.v1.AuditService",
                "casement.message.v1.MessageQueryService",
                "casement.figures.v1.FiguresService",
            ],
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place where services are.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// In this process. The gateway has checked the token, and says who calls with a
    /// [`casement_shell::auth::Caller`] among the request's extensions.
    Local(Routes),
    /// Behind a connection that is made when needed, and again when lost. The token goes along.
    Remote(Channel),
}

/// Which area is where.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    places: BTreeMap<Area, Upstream>,
}

impl Upstreams {
    /// Every area in this process.
    pub fn local(routes: &Routes) -> Self {
        Area::ALL.into_iter().fold(Self::default(), |all, area| {
            all.with(area, Upstream::Local(routes.clone()))
        })
    }

    /// The addresses of a configuration. Connects to none of them yet; needs a runtime.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let urls = &config.upstreams;
        let mut upstreams = Self::default();
        for (area, url) in [
            (Area::Windows, &urls.windows),
            (Area::Messages, &urls.messages),
            (Area::Accounts, &urls.accounts),
            (Area::Archive, &urls.archive),
            (Area::Media, &urls.media),
        ] {
            if !url.is_empty() {
                let channel = channel(area, url, config)?;
                upstreams = upstreams.with(area, Upstream::Remote(channel));
            }
        }
        Ok(upstreams)
    }

    /// Puts an area somewhere.
    #[must_use]
    pub fn with(mut self, area: Area, upstream: Upstream) -> Self {
        self.places.insert(area, upstream);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn targets(self) -> impl Iterator<Item = Target> {
        self.places.into_iter().map(|(area, upstream)| Target {
            area: Some(area),
            upstream,
            is_reachable: Arc::new(AtomicBool::new(true)),
        })
    }
}

fn channel(area: Area, url: &str, config: &Config) -> Result<Channel, Error> {
    let refused = || Error::Url {
        area,
        url: url.to_owned(),
    };
    let (secured, rest) = match (url.strip_prefix("https://"), &config.upstreams_tls) {
        (Some(rest), Some(tls)) => (Some(tls.clone()), rest),
        (Some(_), None) => return Err(refused()),
        (None, _) => (None, url.strip_prefix("http://").ok_or_else(refused)?),
    };
    // The connector makes the connection, encrypted or not.
    let endpoint = Endpoint::from_shared(format!("http://{rest}")).map_err(|_| refused())?;
    let Some(authority) = endpoint.uri().authority().cloned() else {
        return Err(refused());
    };
    let connect_timeout = config.connect_timeout.unsigned_abs();
    let endpoint = endpoint
        .connect_timeout(connect_timeout)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .tcp_nodelay(true);
    let Some(tls) = secured else {
        return Ok(endpoint.connect_lazy());
    };
    tls.check().map_err(Error::UpstreamsTls)?;
    let port = authority.port_u16().unwrap_or(443);
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    Ok(
        endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (tls, host) = (tls.clone(), host.clone());
            async move {
                let connecting = tls.connect(&host, port);
                let connected = tokio::time::timeout(connect_timeout, connecting).await;
                let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        })),
    )
}

/// An upstream, and whether it answered when last asked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// None for what the gateway serves itself.
    pub(crate) area: Option<Area>,
    upstream: Upstream,
    is_reachable: Arc<AtomicBool>,
}

impl Target {
    pub(crate) fn own(routes: Routes) -> Self {
        Self {
            area: None,
            upstream: Upstream::Local(routes),
            is_reachable: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(crate) fn channel(&self) -> Option<&Channel> {
        match &self.upstream {
            Upstream::Local(_) => None,
            Upstream::Remote(channel) => Some(channel),
        }
    }

    /// While it is not, calls fail at once instead of one by one after the time for a connection.
    pub(crate) fn set_reachable(&self, is_reachable: bool) {
        if self.is_reachable.swap(is_reachable, Ordering::Relaxed) != is_reachable {
            let area = self.area.map_or("own", Area::as_str);
            if is_reachable {
                tracing::info!(upstream = area, "upstream answers");
            } else {
                tracing::warn!(upstream = area, "upstream does not answer");
            }
        }
    }

    /// Whether it is in this process.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.upstream, Upstream::Local(_))
    }

    /// Passes a call on. What goes wrong on the way is an answer, too.
    pub(crate) async fn call(&self, mut request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let span = trace::passing_on(&path, request.headers_mut());
        self.pass_on(request).instrument(span).await
    }

    async fn pass_on(&self, request: Request<Body>) -> Response<Body> {
        match &self.upstream {
            Upstream::Local(routes) => match routes.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Upstream::Remote(channel) => {
                if !self.is_reachable.load(Ordering::Relaxed) {
                    return self.unreachable().into_http();
                }
                match channel.clone().oneshot(request).await {
                    Ok(response) => Mended::wrap(response, self.unreachable()),
                    Err(error) if is_timeout(&error) => timed_out().into_http(),
                    Err(error) => {
                        tracing::debug!(
                            upstream = self.area.map(Area::as_str),
                            error = chain(&error),
                            "call did not reach upstream"
                        );
                        self.unreachable().into_http()
                    }
                }
            }
        }
    }

    fn unreachable(&self) -> Status {
        let area = self.area.map_or("own", Area::as_str);
        refusal(
            Code::Unavailable,
            UPSTREAM_UNREACHABLE,
            "the role that serves this does not answer; try again",
            [("upstream", area)],
        )
    }
}

pub(crate) fn timed_out() -> Status {
    refuse(
        Code::DeadlineExceeded,
        CALL_TIMED_OUT,
        "the time for this call is over; its outcome is unknown",
    )
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(<dyn StdError>::is::<TimeoutExpired>)
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The error itself, then what is behind it.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_service_has_its_area() {
        let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        let described: BTreeSet<String> = pool
            .services()
            .map(|service| service.full_name().to_owned())
            .collect();
        let routed: BTreeSet<String> = Area::ALL
            .iter()
            .flat_map(|area| area.services())
            .map(|&service| service.to_owned())
            .collect();
        assert_eq!(routed, described);
    }

    #[tokio::test]
    async fn an_address_is_an_http_url() {
        let mut config = Config::default();
        config.upstreams.archive = "http://projector:8081".to_owned();
        let upstreams = Upstreams::from_config(&config).unwrap();
        assert_eq!(upstreams.targets().count(), 1);
        for wrong in ["projector:8081", "https://projector", "/x", "http://"] {
            wrong.clone_into(&mut config.upstreams.archive);
            let error = Upstreams::from_config(&config).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "`gateway.upstreams.archive` is no `http://HOST:PORT`, nor `https://` with `gateway.upstreams_tls`: `{wrong}`"
                )
            );
        }
    }
}

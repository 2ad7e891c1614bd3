//! The webhooks' front door: who may post, how much, and what they are told.
//!
//! A post is answered 200 once it is on disk, and not before. What it says is not looked at. Of a
//! post that is refused, nothing is kept but a counter with the reason.

mod caller;
mod gate;
mod sms;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::http::header::{self, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use casement_event::convert::timestamp;
use casement_event::v1::RawPost;
use casement_shell::{SharedClock, telemetry};
use casement_sms::vonage;
use casement_whatsapp::signature as meta_signature;
use casement_whatsapp::webhook::{SubscriptionParams, verify_subscription};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::config::{DEFAULT_NAME, Keys, Limits};
use crate::pack::{Packer, StoreError};
use crate::watch::Posts;
use crate::{metrics, trace};

pub(crate) use caller::{Caller, Trust};
use gate::{Gate, Gates};

/// WhatsApp Cloud API: a post is at most 3 MB.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The unit in which held memory is counted.
const HELD_UNIT: usize = 1024;

/// When a sender should come again whom we had no room or no log for.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The source of Meta's posts, as it stands in subjects.
pub(crate) const WHATSAPP: &str = "whatsapp";

/// The source of Twilio's posts, as it stands in subjects.
pub(crate) const TWILIO: &str = "twilio";

/// How posts of gateways that are told by configuration are counted, all together.
const GENERIC: &str = "generic_sms";

const TRACEPARENT: &str = "traceparent";

/// Twilio takes text in an answer for a reply to the customer; this says that there is none.
const NO_REPLY: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) keys: Keys,
    /// What stands before the path in the URL that Twilio signs.
    pub(crate) twilio_base_url: String,
    pub(crate) whatsapp: Packer,
    /// Those of the SMS gateways, by their names.
    pub(crate) sms: HashMap<String, Packer>,
    pub(crate) clock: SharedClock,
    /// Who had which signatures.
    pub(crate) posts: Posts,
    trust: Trust,
    gates: Gates,
    body_timeout: Duration,
    /// What all bodies together may hold, in [`HELD_UNIT`]s.
    held: Arc<Semaphore>,
}

/// What the role has around its handlers.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) trust: Trust,
    pub(crate) limits: Limits,
    pub(crate) clock: SharedClock,
}

impl Door {
    pub(crate) fn new(
        keys: Keys,
        twilio_base_url: String,
        whatsapp: Packer,
        sms: HashMap<String, Packer>,
        house: House,
    ) -> Self {
        let limits = house.limits;
        Self {
            keys,
            twilio_base_url,
            whatsapp,
            sms,
            clock: house.clock,
            posts: Posts::default(),
            trust: house.trust,
            gates: Gates::new(
                limits.posts_per_second,
                limits.concurrency,
                limits.refusals_per_second,
            ),
            body_timeout: limits.body_timeout.unsigned_abs(),
            held: Arc::new(Semaphore::new(
                limits.held_mib.saturating_mul(1024 * 1024 / HELD_UNIT),
            )),
        }
    }

    /// Reserves memory for a part of a body.
    fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(HELD_UNIT)).unwrap_or(u32::MAX);
        Arc::clone(&self.held).try_acquire_many_owned(units).ok()
    }

    /// Reads a body within the limits. What it holds is counted until the permit is dropped.
    async fn read(&self, body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Outcome> {
        let mut parts = body.into_data_stream();
        let mut whole = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| Outcome::BrokenBody)?;
            if whole.len() + part.len() > BODY_BYTES_MAX {
                return Err(Outcome::TooLarge);
            }
            let more = self.reserve(part.len()).ok_or(Outcome::NoMemory)?;
            match &mut held {
                None => held = Some(more),
                Some(held) => held.merge(more),
            }
            whole.extend_from_slice(&part);
        }
        Ok((whole.freeze(), held))
    }
}

/// Which gateway posts.
#[derive(Debug, Clone, Copy)]
enum Gateway {
    Meta,
    Twilio,
    Vonage,
    /// One that is told by configuration.
    Generic,
}

impl Gateway {
    fn label(self) -> &'static str {
        match self {
            Self::Meta => WHATSAPP,
            Self::Twilio => TWILIO,
            Self::Vonage => vonage::NAME,
            Self::Generic => GENERIC,
        }
    }
}

/// What became of a post.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Stored,
    UnknownApp,
    WrongClient,
    TooLarge,
    TooSlow,
    BadSignature,
    /// A gateway that signs did not, and will if it is asked to come again.
    Unsigned,
    BrokenBody,
    /// The application has posted too much; it may come again at that time.
    TooOften(Timestamp),
    /// The address was refused too often; it is heard again at that time.
    NotHeard(Timestamp),
    Crowded,
    NoMemory,
    QueueFull,
    NotBegun,
    NotStored,
    Unknown,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::UnknownApp => "unknown_app",
            Self::WrongClient => "wrong_client",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BadSignature => "bad_signature",
            Self::Unsigned => "unsigned",
            Self::BrokenBody => "broken_body",
            Self::TooOften(_) => "too_often",
            Self::NotHeard(_) => "refused_too_often",
            Self::Crowded => "crowded",
            Self::NoMemory => "no_memory",
            Self::QueueFull => "queue_full",
            Self::NotBegun => "not_begun",
            Self::NotStored => "not_stored",
            Self::Unknown => "outcome_unknown",
        }
    }

    /// Whether the sender did wrong, and is heard less if it goes on.
    fn is_earned(self) -> bool {
        match self {
            Self::UnknownApp
            | Self::WrongClient
            | Self::TooLarge
            | Self::TooSlow
            | Self::BadSignature
            | Self::Unsigned
            | Self::BrokenBody => true,
            Self::Stored
            | Self::TooOften(_)
            | Self::NotHeard(_)
            | Self::Crowded
            | Self::NoMemory
            | Self::QueueFull
            | Self::NotBegun
            | Self::NotStored
            | Self::Unknown => false,
        }
    }

    /// Whether the signature was good, if it was looked at.
    fn shows_signature(self) -> Option<bool> {
        match self {
            Self::BadSignature => Some(false),
            Self::Stored | Self::QueueFull | Self::NotBegun | Self::NotStored | Self::Unknown => {
                Some(true)
            }
            _ => None,
        }
    }

    fn response(self, gateway: Gateway, now: Timestamp) -> Response {
        match self {
            Self::Stored => match gateway {
                Gateway::Meta | Gateway::Vonage | Gateway::Generic => {
                    StatusCode::OK.into_response()
                }
                Gateway::Twilio => ([(CONTENT_TYPE, "text/xml")], NO_REPLY).into_response(),
            },
            Self::UnknownApp => StatusCode::NOT_FOUND.into_response(),
            Self::WrongClient => StatusCode::FORBIDDEN.into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::BadSignature => StatusCode::UNAUTHORIZED.into_response(),
            Self::BrokenBody => StatusCode::BAD_REQUEST.into_response(),
            Self::TooOften(ready_at) | Self::NotHeard(ready_at) => {
                let wait = ready_at.duration_since(now).unsigned_abs();
                later(StatusCode::TOO_MANY_REQUESTS, wait)
            }
            Self::Unsigned
            | Self::Crowded
            | Self::NoMemory
            | Self::QueueFull
            | Self::NotBegun
            | Self::NotStored
            | Self::Unknown => later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER),
        }
    }
}

/// Tells when to come again, in whole seconds: rounded up, so that nobody comes too early.
fn later(status: StatusCode, wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    (status, [(header::RETRY_AFTER, seconds.to_string())]).into_response()
}

/// Returns the routes while nothing can be taken: whoever comes is to come again.
pub(crate) fn closed() -> Router {
    Router::new().fallback(async || later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER))
}

/// Returns the webhooks' routes.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route(
            "/webhooks/whatsapp",
            get(async |door, query, request: Request| {
                handshake(door, DEFAULT_NAME, query, &request)
            })
            .post(async |door, uri, request| meta(door, DEFAULT_NAME, uri, request).await),
        )
        .route(
            "/webhooks/whatsapp/{app}",
            get(
                async |door, Path(app): Path<String>, query, request: Request| {
                    handshake(door, &app, query, &request)
                },
            )
            .post(async |door, Path(app): Path<String>, uri, request| {
                meta(door, &app, uri, request).await
            }),
        )
        .merge(sms::routes())
        .with_state(door)
}

fn handshake(
    State(door): State<Arc<Door>>,
    app: &str,
    Query(params): Query<SubscriptionParams>,
    request: &Request,
) -> Response {
    let now = door.clock.now();
    let address = door.trust.caller(request).address;
    let keys = door.keys.apps.get(app);
    let gate = match keys {
        Some(_) => door.gates.of(WHATSAPP, app),
        None => door.gates.strangers(),
    };
    let answer = match door.gates.is_heard(&gate, address, now) {
        Err(ready_at) => Err((Outcome::NotHeard(ready_at).label(), {
            Outcome::NotHeard(ready_at).response(Gateway::Meta, now)
        })),
        Ok(()) => match keys.map(|keys| verify_subscription(&params, &keys.verify_token)) {
            Some(Ok(challenge)) => Ok(challenge.to_owned().into_response()),
            Some(Err(error)) => {
                tracing::warn!(app, error = %error, "handshake refused");
                door.gates.count_refusal(&gate, address, now);
                Err(("wrong_token", StatusCode::FORBIDDEN.into_response()))
            }
            None => {
                door.gates.count_refusal(&gate, address, now);
                Err(("unknown_app", StatusCode::NOT_FOUND.into_response()))
            }
        },
    };
    let outcome = answer
        .as_ref()
        .map_or_else(|(label, _)| *label, |_| "answered");
    metrics::shook_hands(outcome);
    answer.unwrap_or_else(|(_, refusal)| refusal)
}

async fn meta(
    State(door): State<Arc<Door>>,
    app: &str,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let verify = |headers: &HeaderMap, body: &[u8]| {
        let keys = door.keys.apps.get(app).ok_or(Outcome::UnknownApp)?;
        let header = text(headers, meta_signature::HEADER);
        meta_signature::verify(body, header, &keys.secrets).map_err(|error| {
            tracing::warn!(app, error = %error, "post refused");
            Outcome::BadSignature
        })
    };
    let keys = door.keys.apps.get(app);
    let knock = Knock {
        gateway: Gateway::Meta,
        app,
        is_known: keys.is_some(),
        client_name: keys.and_then(|keys| keys.client_name.as_deref()),
        query: uri.query(),
        packer: Some(&door.whatsapp),
    };
    take(&door, &knock, request, verify).await
}

/// Who posts, by the path alone.
struct Knock<'a> {
    gateway: Gateway,
    app: &'a str,
    is_known: bool,
    /// The name that the caller's certificate must have.
    client_name: Option<&'a str>,
    query: Option<&'a str>,
    /// What stores the posts; there is one for whoever is known.
    packer: Option<&'a Packer>,
}

async fn take(
    door: &Door,
    knock: &Knock<'_>,
    request: Request,
    verify: impl FnOnce(&HeaderMap, &[u8]) -> Result<(), Outcome>,
) -> Response {
    let label = knock.gateway.label();
    let since = Instant::now();
    let span = trace::webhook(label, text(request.headers(), TRACEPARENT));
    let now = door.clock.now();
    let caller = door.trust.caller(&request);
    let gate = if knock.is_known {
        door.gates.of(label, knock.app)
    } else {
        door.gates.strangers()
    };
    let outcome = match door.gates.is_heard(&gate, caller.address, now) {
        Err(ready_at) => Outcome::NotHeard(ready_at),
        Ok(()) => admit(door, knock, &gate, &caller, request, verify)
            .instrument(span.clone())
            .await
            .map_or_else(|outcome| outcome, |()| Outcome::Stored),
    };
    if outcome.is_earned() {
        door.gates.count_refusal(&gate, caller.address, now);
    }
    if let Some(is_good) = outcome.shows_signature() {
        let app = match knock.gateway {
            Gateway::Meta => knock.app,
            Gateway::Twilio | Gateway::Vonage | Gateway::Generic => "",
        };
        door.posts.count(label, app, is_good, now);
    }
    metrics::answered(label, outcome.label(), since.elapsed());
    let response = outcome.response(knock.gateway, now);
    trace::answered(&span, outcome.label(), response.status());
    response
}

async fn admit(
    door: &Door,
    knock: &Knock<'_>,
    gate: &Gate,
    caller: &Caller,
    request: Request,
    verify: impl FnOnce(&HeaderMap, &[u8]) -> Result<(), Outcome>,
) -> Result<(), Outcome> {
    if !knock.is_known {
        return Err(Outcome::UnknownApp);
    }
    if knock.client_name.is_some_and(|name| !caller.is(name)) {
        return Err(Outcome::WrongClient);
    }
    let _place = gate.enter().ok_or(Outcome::Crowded)?;
    let content_length = text(request.headers(), CONTENT_LENGTH.as_str())
        .and_then(|length| length.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Outcome::TooLarge);
    }
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(door.body_timeout, door.read(body)).await;
    let (body, held) = read.map_err(|_| Outcome::TooSlow)??;
    verify(&parts.headers, &body)?;
    metrics::taken(knock.gateway.label(), body.len());
    let now = door.clock.now();
    door.gates
        .count_post(gate, now)
        .map_err(Outcome::TooOften)?;
    let span = trace::storing(knock.gateway.label());
    let post = RawPost {
        body,
        received_time: Some(timestamp(now)),
        app: knock.app.to_owned(),
        query: knock.query.unwrap_or_default().to_owned(),
        traceparent: telemetry::traceparent_of(&span)
            .unwrap_or_else(casement_event::new_traceparent),
    };
    let packer = knock.packer.ok_or(Outcome::UnknownApp)?;
    let stored = packer.store(post, held).instrument(span).await;
    stored.map_err(|error| match error {
        StoreError::QueueFull => Outcome::QueueFull,
        StoreError::NotBegun => Outcome::NotBegun,
        StoreError::Refused => Outcome::NotStored,
        StoreError::Unknown => Outcome::Unknown,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_new_trace_is_a_valid_traceparent() {
        let made = casement_event::new_traceparent();
        let parts: Vec<_> = made.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{made}");
    }
}

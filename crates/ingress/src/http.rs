//! The webhooks' front door: who may post, how much, and what they are told.
//!
//! A post is answered 200 once it is on disk, and not before. What it says is not looked at.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use casement_event::convert::timestamp;
use casement_event::v1::RawPost;
use casement_shell::{SharedClock, telemetry};
use casement_sms::twilio::signature as twilio_signature;
use casement_whatsapp::signature as meta_signature;
use casement_whatsapp::webhook::{SubscriptionParams, verify_subscription};
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use crate::config::{DEFAULT_NAME, Keys};
use crate::pack::{Packer, StoreError};

/// WhatsApp Cloud API: a post is at most 3 MB.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How much of all bodies together is held in memory.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The unit in which held memory is counted.
const HELD_UNIT: usize = 1024;

/// How long a body may take to arrive.
const BODY_READ_MAX: Duration = Duration::from_secs(10);

/// When a refused sender should come again.
const RETRY_AFTER_SECONDS: &str = "5";

/// The source of Meta's posts, as it stands in subjects.
pub(crate) const WHATSAPP: &str = "whatsapp";

/// The source of Twilio's posts, as it stands in subjects.
pub(crate) const TWILIO: &str = "twilio";

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
    pub(crate) twilio: Packer,
    pub(crate) clock: SharedClock,
    held: Semaphore,
}

impl Door {
    pub(crate) fn new(
        keys: Keys,
        twilio_base_url: String,
        whatsapp: Packer,
        twilio: Packer,
        clock: SharedClock,
    ) -> Self {
        Self {
            keys,
            twilio_base_url,
            whatsapp,
            twilio,
            clock,
            held: Semaphore::new(HELD_BYTES_MAX / HELD_UNIT),
        }
    }

    /// Reserves memory for a part of a body.
    fn reserve(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(HELD_UNIT)).unwrap_or(u32::MAX);
        self.held.try_acquire_many(units).ok()
    }

    /// Reads a body within the limits. What it holds is counted until the permit is dropped.
    async fn read(&self, body: Body) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Outcome> {
        let mut parts = body.into_data_stream();
        let mut whole = BytesMut::new();
        let mut held: Option<SemaphorePermit<'_>> = None;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| Outcome::BrokenBody)?;
            if whole.len() + part.len() > BODY_BYTES_MAX {
                return Err(Outcome::TooLarge);
            }
            let more = self.reserve(part.len()).ok_or(Outcome::Busy)?;
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
}

impl Gateway {
    fn label(self) -> &'static str {
        match self {
            Self::Meta => WHATSAPP,
            Self::Twilio => TWILIO,
        }
    }
}

/// What became of a post.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Stored,
    UnknownApp,
    TooLarge,
    TooSlow,
    BadSignature,
    BrokenBody,
    Busy,
    NotStored,
    Unknown,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::UnknownApp => "unknown_app",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BadSignature => "bad_signature",
            Self::BrokenBody => "broken_body",
            Self::Busy => "busy",
            Self::NotStored => "not_stored",
            Self::Unknown => "outcome_unknown",
        }
    }

    fn response(self, gateway: Gateway) -> Response {
        let unavailable = (
            StatusCode::SERVICE_UNAVAILABLE,
            [(RETRY_AFTER, RETRY_AFTER_SECONDS)],
        );
        match self {
            Self::Stored => match gateway {
                Gateway::Meta => StatusCode::OK.into_response(),
                Gateway::Twilio => ([(CONTENT_TYPE, "text/xml")], NO_REPLY).into_response(),
            },
            Self::UnknownApp => StatusCode::NOT_FOUND.into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::BadSignature => StatusCode::UNAUTHORIZED.into_response(),
            Self::BrokenBody => StatusCode::BAD_REQUEST.into_response(),
            Self::Busy | Self::NotStored | Self::Unknown => unavailable.into_response(),
        }
    }
}

/// Returns the webhooks' routes.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route(
            "/webhooks/whatsapp",
            get(async |door, query| handshake(door, DEFAULT_NAME, query))
                .post(async |door, uri, request| meta(door, DEFAULT_NAME, uri, request).await),
        )
        .route(
            "/webhooks/whatsapp/{app}",
            get(async |door, Path(app): Path<String>, query| handshake(door, &app, query)).post(
                async |door, Path(app): Path<String>, uri, request| {
                    meta(door, &app, uri, request).await
                },
            ),
        )
        .route(
            "/webhooks/twilio",
            post(async |door, uri, request| twilio(door, DEFAULT_NAME, uri, request).await),
        )
        .route(
            "/webhooks/twilio/{account}",
            post(async |door, Path(account): Path<String>, uri, request| {
                twilio(door, &account, uri, request).await
            }),
        )
        .with_state(door)
}

fn handshake(
    State(door): State<Arc<Door>>,
    app: &str,
    Query(params): Query<SubscriptionParams>,
) -> Response {
    let Some(keys) = door.keys.apps.get(app) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match verify_subscription(&params, &keys.verify_token) {
        Ok(challenge) => challenge.to_owned().into_response(),
        Err(error) => {
            tracing::warn!(app, error = %error, "handshake refused");
            StatusCode::FORBIDDEN.into_response()
        }
    }
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
    let is_known = door.keys.apps.contains_key(app);
    let knock = Knock {
        gateway: Gateway::Meta,
        app,
        is_known,
        query: uri.query(),
        packer: &door.whatsapp,
    };
    take(&door, &knock, request, verify).await
}

async fn twilio(
    State(door): State<Arc<Door>>,
    account: &str,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let url = signed_url(&door.twilio_base_url, &uri);
    let verify = |headers: &HeaderMap, body: &[u8]| {
        let tokens = door.keys.twilio.get(account).ok_or(Outcome::UnknownApp)?;
        let header = text(headers, twilio_signature::HEADER);
        twilio_signature::verify_form(&url, body, header, tokens).map_err(|error| {
            tracing::warn!(account, error = %error, "callback refused");
            Outcome::BadSignature
        })
    };
    let is_known = door.keys.twilio.contains_key(account);
    let knock = Knock {
        gateway: Gateway::Twilio,
        app: account,
        is_known,
        query: uri.query(),
        packer: &door.twilio,
    };
    take(&door, &knock, request, verify).await
}

/// Who posts, by the path alone.
struct Knock<'a> {
    gateway: Gateway,
    app: &'a str,
    is_known: bool,
    query: Option<&'a str>,
    packer: &'a Packer,
}

async fn take(
    door: &Door,
    knock: &Knock<'_>,
    request: Request,
    verify: impl FnOnce(&HeaderMap, &[u8]) -> Result<(), Outcome>,
) -> Response {
    let label = knock.gateway.label();
    let span = tracing::info_span!("webhook", source = label);
    if let Some(parent) = text(request.headers(), TRACEPARENT) {
        telemetry::parent_from(&span, parent);
    }
    let outcome = admit(door, knock, request, verify)
        .instrument(span)
        .await
        .map_or_else(|outcome| outcome, |()| Outcome::Stored);
    metrics::counter!("casement_ingress_posts_total", "source" => label, "outcome" => outcome.label())
        .increment(1);
    outcome.response(knock.gateway)
}

async fn admit(
    door: &Door,
    knock: &Knock<'_>,
    request: Request,
    verify: impl FnOnce(&HeaderMap, &[u8]) -> Result<(), Outcome>,
) -> Result<(), Outcome> {
    if !knock.is_known {
        return Err(Outcome::UnknownApp);
    }
    let content_length = text(request.headers(), CONTENT_LENGTH.as_str())
        .and_then(|length| length.parse::<usize>().ok());
    if content_length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Outcome::TooLarge);
    }
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(BODY_READ_MAX, door.read(body)).await;
    // Counted until the answer: the body stays in memory as long.
    let (body, _held) = read.map_err(|_| Outcome::TooSlow)??;
    verify(&parts.headers, &body)?;
    let post = RawPost {
        body,
        received_time: Some(timestamp(door.clock.now())),
        app: knock.app.to_owned(),
        query: knock.query.unwrap_or_default().to_owned(),
        traceparent: telemetry::current_traceparent()
            .unwrap_or_else(casement_event::new_traceparent),
    };
    knock.packer.store(post).await.map_err(|error| match error {
        StoreError::QueueFull => Outcome::Busy,
        StoreError::Refused => Outcome::NotStored,
        StoreError::Unknown => Outcome::Unknown,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The URL as Twilio was given it: behind a proxy the request no longer tells.
fn signed_url(base: &str, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{}{path}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_url_is_the_public_one() {
        let uri: Uri = "/webhooks/twilio?m=1&a=2".parse().unwrap();
        for base in ["https://x.example/in", "https://x.example/in/"] {
            assert_eq!(
                signed_url(base, &uri),
                "https://x.example/in/webhooks/twilio?m=1&a=2"
            );
        }
    }

    #[test]
    fn a_new_trace_is_a_valid_traceparent() {
        let made = casement_event::new_traceparent();
        let parts: Vec<_> = made.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{made}");
    }
}

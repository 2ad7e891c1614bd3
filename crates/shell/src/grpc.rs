//! Serving gRPC with limits, and refusing in a way that programs can read.
//!
//! It knows no service; who may call is settled by [`crate::auth`].

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::server::Door;

pub mod watch;

/// The domain of every reason.
pub const ERROR_DOMAIN: &str = "casement";

/// Largest request, in bytes. For each service's `max_decoding_message_size`.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest response, in bytes: a page of events. For each service's `max_encoding_message_size`.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Calls in flight on one connection; further ones wait at the client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;

/// Largest header block of a request, in bytes.
pub const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// How long a call may take to its answer, or a stream to its first message. Longer than the
/// longest wait a caller can ask for.
pub const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// A connection that is silent for this long is asked for a sign of life.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long the sign of life may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `stopping`, then lets calls in flight end.
///
/// Streams are in flight, too: they end by watching `stopping` themselves.
pub async fn serve(
    door: impl Into<Door>,
    routes: Routes,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            door.into().open(stopping.clone()),
            stopping.cancelled_owned(),
        )
        .await
}

/// Answers every call with UNAVAILABLE until `stopping`, for a process that cannot begin yet.
pub async fn turn_away(
    door: impl Into<Door>,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let away = async || {
        let text = "this process has not begun: its health page says what it waits for";
        let mut response = refuse(Code::Unavailable, "NOT_BEGUN", text).into_http::<Body>();
        // For those on the way who do not look at the status of gRPC.
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    serve(door, Routes::from(Router::new().fallback(away)), stopping).await
}

/// A refusal with a stable reason (`UPPER_SNAKE_CASE`) and facts about it, as ErrorInfo.
///
/// Callers branch on code and reason; the message is for people and may change.
pub fn refusal<K, V>(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (K, V)>,
) -> Status
where
    K: Into<String>,
    V: Into<String>,
{
    let metadata: std::collections::HashMap<String, String> = metadata
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

/// [`refusal`] with nothing more to tell.
pub fn refuse(code: Code, reason: &str, message: impl Into<String>) -> Status {
    refusal::<String, String>(code, reason, message, [])
}

/// INVALID_ARGUMENT for one field, named as in the proto (`template.language`).
pub fn bad_field(field: impl Into<String>, description: impl Into<String>) -> Status {
    bad_fields([(field, description)])
}

/// INVALID_ARGUMENT for several fields, each with what is wrong with it.
pub fn bad_fields<F, D>(violations: impl IntoIterator<Item = (F, D)>) -> Status
where
    F: Into<String>,
    D: Into<String>,
{
    let violations: Vec<FieldViolation> = violations
        .into_iter()
        .map(|(field, description)| FieldViolation::new(field, description))
        .collect();
    let message = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect::<Vec<_>>()
        .join("; ");
    let mut details = ErrorDetails::with_bad_request(violations);
    details.set_error_info(
        "INVALID_FIELD",
        ERROR_DOMAIN,
        std::collections::HashMap::new(),
    );
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The reason a [`refusal`] carries, as a client reads it.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// What a refusal says, in plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The code's name.
    pub code: &'static str,
    /// The stable reason; empty if it carries none.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Facts about it.
    pub metadata: std::collections::HashMap<String, String>,
    /// Fields of the request, each with what is wrong with it.
    pub fields: Vec<(String, String)>,
}

/// Returns what a [`refusal`] says, as a client reads it.
pub fn said(status: &Status) -> Said {
    let info = status.get_details_error_info();
    let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unzip();
    let fields = status.get_details_bad_request().into_iter();
    Said {
        code: code_name(status.code()),
        reason: reason.unwrap_or_default(),
        message: status.message().to_owned(),
        metadata: metadata.unwrap_or_default(),
        fields: fields
            .flat_map(|request| request.field_violations)
            .map(|violation| (violation.field, violation.description))
            .collect(),
    }
}

/// Returns the name of a gRPC code, as `google.rpc.Code` writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_refusal_carries_its_reason_and_facts() {
        let status = refusal(
            Code::FailedPrecondition,
            "WINDOW_CLOSED",
            "window is closed",
            [("closed_reason", "EXPIRED")],
        );
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "window is closed");
        assert_eq!(reason(&status).as_deref(), Some("WINDOW_CLOSED"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, ERROR_DOMAIN);
        assert_eq!(info.metadata["closed_reason"], "EXPIRED");
    }

    #[test]
    fn bad_fields_are_named_one_by_one() {
        let status = bad_fields([("to", "not E.164"), ("ttl", "longer than 30 days")]);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "to: not E.164; ttl: longer than 30 days");
        let fields: Vec<String> = status
            .get_details_bad_request()
            .unwrap()
            .field_violations
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(fields, ["to", "ttl"]);
        assert_eq!(
            reason(&bad_field("number", "is required")).as_deref(),
            Some("INVALID_FIELD")
        );
    }

    #[tokio::test]
    async fn whoever_is_turned_away_is_told_to_try_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(turn_away(listener, stopping.clone()));
        let channel = tonic::transport::Channel::from_shared(url).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        let asked = tonic_health::pb::HealthCheckRequest::default();
        let refused = health.check(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(reason(&refused).as_deref(), Some("NOT_BEGUN"));
        stopping.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Routes::default(), stopping.clone()));
        stopping.cancel();
        serving.await.unwrap().unwrap();
    }
}

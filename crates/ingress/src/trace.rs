//! Spans of posts: at the door, on their way to the log, and taken apart.
//!
//! They tell of a post what its path and its place say, never what is in it.

use axum::http::StatusCode;
use casement_shell::telemetry;
use tracing::{Span, field};

/// A post at the door. A sender's trace goes on, if it has one.
pub(crate) fn webhook(source: &str, traceparent: Option<&str>) -> Span {
    let route = format!("/webhooks/{source}");
    let span = tracing::info_span!(
        parent: None,
        "webhook",
        otel.name = format!("POST {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = "POST",
        http.route = route,
        http.response.status_code = field::Empty,
        casement.outcome = field::Empty,
    );
    if let Some(traceparent) = traceparent {
        telemetry::parent_from(&span, traceparent);
    }
    span
}

/// Says how a post was answered.
pub(crate) fn answered(span: &Span, outcome: &str, status: StatusCode) {
    span.record("casement.outcome", outcome);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// A post that waits for its pack, and for the disk. What is taken from the log comes under it:
/// the pack that carries it is of its first post's trace.
pub(crate) fn storing(source: &str) -> Span {
    tracing::info_span!(
        "store",
        otel.name = format!("create casement.raw.{source}"),
        otel.kind = "producer",
        messaging.system = "nats",
        messaging.operation.name = "create",
        "messaging.operation.type" = "create",
        messaging.destination.name = format!("casement.raw.{source}"),
    )
}

/// A post that is taken apart, under the span that stored it.
pub(crate) fn normalising(
    subject: &str,
    sequence: u64,
    index: u32,
    traceparent: Option<&str>,
) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "normalise",
        otel.name = format!("process {subject}"),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "process",
        "messaging.operation.type" = "process",
        messaging.destination.name = subject,
        messaging.consumer.group.name = "ingress-normaliser",
        casement.sequence = sequence,
        casement.post = index,
    );
    if let Some(traceparent) = traceparent {
        telemetry::parent_from(&span, traceparent);
    }
    span
}

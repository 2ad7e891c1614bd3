//! Spans of calls: from who calls, and on to the service.
//!
//! A call is named once its method is known to be one there is: before that, its path is its
//! caller's to invent.

use casement_shell::telemetry;
use http::{HeaderMap, HeaderValue, Request};
use tracing::{Span, field};

const TRACEPARENT: &str = "traceparent";

/// A call that came in.
pub(crate) fn serving<B>(request: &Request<B>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "call",
        otel.name = request.method().as_str(),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = request.method().as_str(),
        http.response.status_code = field::Empty,
        rpc.system = "grpc",
        rpc.service = field::Empty,
        rpc.method = field::Empty,
    );
    let parent = request.headers().get(TRACEPARENT);
    if let Some(parent) = parent.and_then(|value| value.to_str().ok()) {
        telemetry::parent_from(&span, parent);
    }
    span
}

/// Names the current call.
pub(crate) fn name(service: &str, method: &str) {
    let span = Span::current();
    telemetry::rename(&span, format!("{service}/{method}"));
    span.record("rpc.service", service);
    span.record("rpc.method", method);
}

/// Says how the call was answered.
pub(crate) fn answered<B>(span: &Span, response: &http::Response<B>) {
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The call on to a service, which finds its parent in the headers.
pub(crate) fn passing_on(path: &str, headers: &mut HeaderMap) -> Span {
    let name = path.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    // The service is one there is. Letters name a method; whatever else is somebody's own.
    let is_name = method.bytes().all(|byte| byte.is_ascii_alphabetic());
    let method = if is_name { method } else { "unknown" };
    let span = tracing::info_span!(
        "pass on",
        otel.name = format!("{service}/{method}"),
        otel.kind = "client",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
    );
    let value = telemetry::traceparent_of(&span).and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(value) = value {
        headers.insert(TRACEPARENT, value);
    }
    span
}

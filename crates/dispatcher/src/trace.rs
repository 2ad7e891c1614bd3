//! Spans of what the dispatcher does for a message, all in the trace of its request.
//!
//! They name routes and attempts; never whom a message is for, nor what it says.

use casement_domain::routing::Route;
use casement_shell::telemetry;
use tracing::{Span, field};

use crate::aggregate::Loaded;
use crate::metrics::labels;
use crate::provider::Answer;

/// A claim with its call and its outcome.
pub(crate) fn attempt(message: &Loaded, attempt: u32, route: Route) -> Span {
    let span = tracing::info_span!(
        "attempt",
        casement.message_id = %message.context.id,
        casement.attempt = attempt,
        casement.route = labels(route).1,
    );
    telemetry::belongs_to(&span, message.traceparent.as_deref());
    span
}

/// The call to a provider.
pub(crate) fn call(attempt: u32, route: Route) -> Span {
    let (channel, route) = labels(route);
    tracing::info_span!(
        "call",
        otel.name = format!("POST {channel}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        "error.type" = field::Empty,
        http.request.method = "POST",
        casement.channel = channel,
        casement.route = route,
        casement.attempt = attempt,
        casement.answer = field::Empty,
    )
}

/// Says what a call came to.
pub(crate) fn tell(span: &Span, answer: &Answer) {
    span.record("casement.answer", answer.label());
    if !matches!(answer, Answer::Accepted { .. }) {
        span.record("error.type", answer.label());
        span.record("otel.status_code", "ERROR");
    }
}

/// A report folded into its message: in the message's trace, with a link to the report's.
pub(crate) fn folding(message: &Loaded, attempt: u32) -> Span {
    let span = tracing::info_span!(
        "fold report",
        casement.message_id = %message.context.id,
        casement.attempt = attempt,
    );
    telemetry::belongs_to(&span, message.traceparent.as_deref());
    span
}

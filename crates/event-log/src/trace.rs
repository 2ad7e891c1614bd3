//! Spans of what goes to the log and what comes from it, named by OpenTelemetry's conventions for
//! messaging.
//!
//! Subjects hold ids, so a destination is named by its first tokens only, and what an event says is
//! never looked at.

use casement_event::{Record, Stored, header};
use casement_shell::telemetry;
use tracing::{Span, field};

use crate::AppendError;

/// How many tokens of a subject say what kind of thing it is for.
const FAMILY_TOKENS: usize = 3;

/// A span for an append, in the trace that its record names, or else in the current one.
pub(crate) fn publishing(stream: &str, record: &Record) -> Span {
    if stream == casement_event::subject::stream::LEASES {
        // Renewed every few seconds, for nobody's sake.
        return Span::none();
    }
    let destination = family(&record.subject);
    let span = tracing::info_span!(
        "publish",
        otel.name = format!("publish {destination}"),
        otel.kind = "producer",
        otel.status_code = field::Empty,
        "error.type" = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "publish",
        "messaging.operation.type" = "send",
        messaging.destination.name = destination,
        messaging.message.id = %record.id,
        casement.stream = stream,
        casement.event = name(record.event.event_type()),
        casement.sequence = field::Empty,
    );
    telemetry::belongs_to(&span, record.traceparent.as_deref());
    span
}

/// A span for the handling of an event by a consumer of this name, under the span that appended
/// it. Enter it, or have the handling instrumented by it.
pub fn processing(consumer: &str, stored: &Stored) -> Span {
    let destination = family(&stored.subject);
    let span = tracing::info_span!(
        parent: None,
        "process",
        otel.name = format!("process {destination}"),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "process",
        "messaging.operation.type" = "process",
        messaging.destination.name = destination,
        messaging.consumer.group.name = consumer,
        messaging.message.id = stored.header(header::ID),
        casement.stream = stored.stream,
        casement.event = name(stored.event_type()),
        casement.sequence = stored.sequence,
    );
    if let Some(traceparent) = stored.header(header::TRACEPARENT) {
        telemetry::parent_from(&span, traceparent);
    }
    span
}

/// Says what an append came to.
pub(crate) fn tell(span: &Span, result: &Result<crate::Position, AppendError>) {
    match result {
        Ok(position) => {
            span.record("casement.sequence", position.sequence);
        }
        Err(error) => {
            span.record("error.type", label(error));
            // Somebody else was faster: that is how appends are meant to go.
            if !matches!(error, AppendError::Conflict { .. }) {
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}

/// A failed append in one word.
pub(crate) fn label(error: &AppendError) -> &'static str {
    match error {
        AppendError::Conflict { .. } => "conflict",
        AppendError::Refused { .. } => "refused",
        AppendError::TooLarge { .. } => "too_large",
        AppendError::Unknown { .. } => "unknown",
    }
}

/// The tokens of a subject that are of a closed set.
fn family(subject: &str) -> &str {
    let end = subject
        .match_indices('.')
        .nth(FAMILY_TOKENS - 1)
        .map_or(subject.len(), |(end, _)| end);
    &subject[..end]
}

fn name(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_named_without_ids() {
        for (subject, expected) in [
            (
                "casement.events.inbound.03.15550001111.c1",
                "casement.events.inbound",
            ),
            ("casement.raw.whatsapp", "casement.raw.whatsapp"),
            (
                "casement.customers.link.5069.abc",
                "casement.customers.link",
            ),
        ] {
            assert_eq!(family(subject), expected);
        }
    }
}

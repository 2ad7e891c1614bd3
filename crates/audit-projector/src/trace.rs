//! Spans of archiving: each event's own, in its own trace, and one for the transaction of a batch.

use casement_event::header;
use casement_shell::telemetry;
use tracing::{Span, field};

use crate::batch::Batch;
use crate::store::{Error, SharedStore};

/// The name under which the archive consumes.
const CONSUMER: &str = "audit-projector";

/// How many events of a batch its transaction links to.
const LINKS_MAX: usize = 64;

/// The spans of one batch.
pub(crate) struct Traces {
    events: Vec<Span>,
    insert: Span,
}

impl Traces {
    /// Begins them. The transaction belongs to the event's trace if there is one event only.
    pub(crate) fn begin(batch: &Batch, store: &SharedStore) -> Self {
        let stored = || batch.entries.iter().map(|entry| &entry.row.stored);
        let events: Vec<Span> = stored()
            .map(|stored| casement_event_log::processing(CONSUMER, stored))
            .collect();
        let span = || {
            tracing::info_span!(
                "insert",
                otel.name = "INSERT archive",
                otel.kind = "client",
                otel.status_code = field::Empty,
                db.system.name = store.system(),
                db.operation.name = "INSERT",
                db.operation.batch.size = batch.entries.len(),
            )
        };
        let insert = if let [only] = events.as_slice() {
            only.in_scope(span)
        } else {
            let insert = span();
            for traceparent in stored()
                .filter_map(|stored| stored.header(header::TRACEPARENT))
                .take(LINKS_MAX)
            {
                telemetry::link_to(&insert, traceparent);
            }
            insert
        };
        Self { events, insert }
    }

    /// The span of the transaction.
    pub(crate) fn insert(&self) -> Span {
        self.insert.clone()
    }

    /// Ends them.
    pub(crate) fn end(self, appended: &Result<(), Error>) {
        // A batch that another writer was faster with is no failure.
        if matches!(appended, Ok(()) | Err(Error::Moved)) {
            return;
        }
        for span in self.events.iter().chain([&self.insert]) {
            span.record("otel.status_code", "ERROR");
        }
    }
}

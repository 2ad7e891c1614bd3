//! What the archive counts.

use casement_shell::telemetry::{Metric, describe};
use tokio::time::Instant;

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_archive_rows_total",
        "Events archived, by stream.",
    )
    .with(&[]),
    Metric::histogram(
        "casement_archive_insert_seconds",
        "How long the transaction of a batch took, by stream.",
    )
    .with(&[]),
    Metric::histogram(
        "casement_archive_insert_records",
        "How many events were archived in one transaction, by stream.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_archive_lag_seconds",
        "How old the oldest event had become that was last archived, or waits for the database, by stream.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_archive_pending_messages",
        "Messages on the log that are not archived yet, by stream.",
    )
    .with(&[]),
    Metric::counter(
        "casement_archive_refusals_total",
        "Times that the database did not take a batch, which was then tried again, by stream.",
    )
    .with(&[]),
    Metric::counter(
        "casement_archive_unprojected_total",
        "Events archived that changed no read model because they could not be read, by reason.",
    )
    .with(&[&[("reason", "unknown_type")], &[("reason", "malformed")]]),
    Metric::counter(
        "casement_log_purged_messages_total",
        "Archived messages that left the log, by stream.",
    )
    .with(&[
        &[("stream", "EVENTS")],
        &[("stream", "MESSAGES")],
        &[("stream", "ACCOUNTS")],
    ]),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// The series of a stream, before anything of it is archived.
pub(crate) fn stream_exists(stream: &'static str) {
    metrics::counter!("casement_archive_rows_total", "stream" => stream).increment(0);
    metrics::counter!("casement_archive_refusals_total", "stream" => stream).increment(0);
    drop(metrics::histogram!("casement_archive_insert_seconds", "stream" => stream));
    drop(metrics::histogram!("casement_archive_insert_records", "stream" => stream));
    lag(stream, 0.0);
    pending(stream, 0);
}

/// A batch stands in the archive.
#[expect(clippy::cast_precision_loss, reason = "some hundred at most")]
pub(crate) fn archived(stream: &'static str, count: u64, since: Instant) {
    metrics::counter!("casement_archive_rows_total", "stream" => stream).increment(count);
    metrics::histogram!("casement_archive_insert_records", "stream" => stream).record(count as f64);
    metrics::histogram!("casement_archive_insert_seconds", "stream" => stream)
        .record(since.elapsed().as_secs_f64());
}

/// The database did not take a batch.
pub(crate) fn refused(stream: &'static str) {
    metrics::counter!("casement_archive_refusals_total", "stream" => stream).increment(1);
}

/// How old an event has become, unarchived.
pub(crate) fn lag(stream: &'static str, seconds: f64) {
    metrics::gauge!("casement_archive_lag_seconds", "stream" => stream).set(seconds.max(0.0));
}

/// So many messages are not archived yet.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn pending(stream: &'static str, count: u64) {
    metrics::gauge!("casement_archive_pending_messages", "stream" => stream).set(count as f64);
}

/// An event changes no read model.
pub(crate) fn unprojected(reason: &'static str) {
    metrics::counter!("casement_archive_unprojected_total", "reason" => reason).increment(1);
}

/// Archived messages left the log.
pub(crate) fn purged(stream: &'static str, count: u64) {
    metrics::counter!("casement_log_purged_messages_total", "stream" => stream).increment(count);
}

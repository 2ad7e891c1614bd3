//! What the archive counts.

use casement_shell::telemetry::{Metric, describe};
use jiff::SignedDuration;
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
        "casement_archive_missed_messages_total",
        "Messages that left the log before they were archived, by stream; each is lost to the archive.",
    )
    .with(&[]),
    Metric::counter(
        "casement_archive_heads_signed_total",
        "Heads of chains signed, by stream.",
    )
    .with(&[]),
    Metric::counter(
        "casement_archive_signing_refusals_total",
        "Times that a head was not signed because the archive does not go on from what was signed before, by stream.",
    )
    .with(&[]),
    Metric::counter(
        "casement_archive_unprojected_total",
        "Events archived that changed no read model because they could not be read, by reason.",
    )
    .with(&[&[("reason", "unknown_type")], &[("reason", "malformed")]]),
    Metric::gauge(
        "casement_erasures_pending_customers",
        "Erasures of customers that are not done, by state: running, or done but for what leaves by its age.",
    )
    .with(&[&[("state", "running")], &[("state", "done_but_raw")]]),
    Metric::gauge(
        "casement_read_models_rebuild_ratio",
        "How much of the archive went into the read models that are being made anew, from 0 to 1; 1 when the served ones are new.",
    )
    .with(&[&[]]),
    Metric::counter(
        "casement_read_models_rebuilds_total",
        "Times that new read models took the place of old ones.",
    )
    .with(&[&[]]),
    Metric::counter(
        "casement_log_purged_messages_total",
        "Archived messages that left the log, by stream.",
    )
    .with(&[
        &[("stream", "EVENTS")],
        &[("stream", "MESSAGES")],
        &[("stream", "ACCOUNTS")],
        &[("stream", "DEAD")],
        &[("stream", "RAW")],
    ]),
    Metric::gauge(
        "casement_log_retention_seconds",
        "How long a stream keeps what may leave it, as configured.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_log_unarchived_seconds",
        "Age of the oldest message of a stream that is not archived yet, of `RAW` that is not taken apart yet, when the log was last looked over.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_log_purging_stopped",
        "1 while nothing leaves the log, since the archive is too far behind.",
    ),
    Metric::counter(
        "casement_figures_rows_total",
        "Archived events that were counted in figures.",
    )
    .with(&[&[]]),
    Metric::gauge(
        "casement_figures_lag_seconds",
        "How old the oldest event had become that was last counted in the figures that are served; 0 when all are.",
    )
    .with(&[&[]]),
    Metric::counter(
        "casement_figures_refusals_total",
        "Times that figures could not be read or written, which was then tried again.",
    )
    .with(&[&[]]),
    Metric::gauge(
        "casement_archive_unsealed_records",
        "Rows that were archived before there were keys of customers and are not sealed yet.",
    ),
    Metric::gauge(
        "casement_archive_old_keys",
        "Keys of customers that are wrapped under another master key than the first.",
    ),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// A head of a chain was signed.
pub(crate) fn head_signed(stream: &str) {
    metrics::counter!("casement_archive_heads_signed_total", "stream" => stream.to_owned())
        .increment(1);
}

/// A head of a chain was not signed, since it does not go on from what was signed before.
pub(crate) fn signing_refused(stream: &str) {
    metrics::counter!("casement_archive_signing_refusals_total", "stream" => stream.to_owned())
        .increment(1);
}

/// Messages left the log before they were archived.
pub(crate) fn missed(stream: &'static str, count: u64) {
    metrics::counter!("casement_archive_missed_messages_total", "stream" => stream)
        .increment(count);
}

pub(crate) fn figures_counted(row_count: u64) {
    metrics::counter!("casement_figures_rows_total").increment(row_count);
}

pub(crate) fn figures_lag(seconds: f64) {
    metrics::gauge!("casement_figures_lag_seconds").set(seconds);
}

pub(crate) fn figures_refused() {
    metrics::counter!("casement_figures_refusals_total").increment(1);
}

/// The series of a stream, before anything of it is archived.
pub(crate) fn stream_exists(stream: &'static str) {
    metrics::counter!("casement_archive_rows_total", "stream" => stream).increment(0);
    metrics::counter!("casement_archive_refusals_total", "stream" => stream).increment(0);
    metrics::counter!("casement_archive_missed_messages_total", "stream" => stream).increment(0);
    metrics::counter!("casement_archive_heads_signed_total", "stream" => stream).increment(0);
    metrics::counter!("casement_archive_signing_refusals_total", "stream" => stream).increment(0);
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

/// So much of the archive went into new read models; all, if none are being made.
pub(crate) fn rebuild(ratio: Option<f64>) {
    metrics::gauge!("casement_read_models_rebuild_ratio").set(ratio.unwrap_or(1.0));
}

/// New read models took the place of old ones.
pub(crate) fn rebuilt() {
    metrics::counter!("casement_read_models_rebuilds_total").increment(1);
}

/// Archived messages left the log.
pub(crate) fn purged(stream: &'static str, count: u64) {
    metrics::counter!("casement_log_purged_messages_total", "stream" => stream).increment(count);
}

/// A stream keeps what may leave it for so long.
pub(crate) fn retention(stream: &'static str, keep: SignedDuration) {
    metrics::gauge!("casement_log_retention_seconds", "stream" => stream).set(keep.as_secs_f64());
    unarchived(stream, SignedDuration::ZERO);
}

/// How old the oldest message of a stream is that is not archived.
pub(crate) fn unarchived(stream: &'static str, age: SignedDuration) {
    metrics::gauge!("casement_log_unarchived_seconds", "stream" => stream)
        .set(age.as_secs_f64().max(0.0));
}

/// So many rows stand in the open.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn unsealed(count: u64) {
    metrics::gauge!("casement_archive_unsealed_records").set(count as f64);
}

/// So many keys are wrapped under another master key than the first.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn old_keys(count: u64) {
    metrics::gauge!("casement_archive_old_keys").set(count as f64);
}

/// Whether anything leaves the log.
pub(crate) fn purging_stopped(is_stopped: bool) {
    metrics::gauge!("casement_log_purging_stopped").set(f64::from(u8::from(is_stopped)));
}

/// So many erasures are not done.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn erasures(states: &[casement_event::v1::ErasureState]) {
    let aging = states
        .iter()
        .filter(|state| **state == casement_event::v1::ErasureState::DoneButRaw)
        .count();
    let running = states.len() - aging;
    metrics::gauge!("casement_erasures_pending_customers", "state" => "running")
        .set(running as f64);
    metrics::gauge!("casement_erasures_pending_customers", "state" => "done_but_raw")
        .set(aging as f64);
}

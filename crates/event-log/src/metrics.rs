//! What the log counts, in every role that uses it.

use std::time::Duration;

use casement_event::subject::stream;
use casement_shell::telemetry::{Metric, age_seconds, describe};
use tokio::time::Instant;

use crate::append::Prepared;
use crate::{AppendError, Position, StreamState, trace};

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_append_records_total",
        "Appends, by stream and outcome: stored; conflict, somebody else was faster; refused; too_large; unknown.",
    )
    .with(&[
        &[("stream", "EVENTS"), ("outcome", "stored")],
        &[("stream", "EVENTS"), ("outcome", "conflict")],
        &[("stream", "EVENTS"), ("outcome", "unknown")],
    ]),
    Metric::histogram(
        "casement_append_wait_seconds",
        "How long callers waited for their append, by stream.",
    )
    .with(&[&[("stream", "EVENTS")]]),
    Metric::histogram(
        "casement_append_group_records",
        "How many appends were committed together, by stream.",
    )
    .with(&[&[("stream", "EVENTS")]]),
    Metric::histogram(
        "casement_append_group_seconds",
        "How long a commit took, by stream.",
    )
    .with(&[&[("stream", "EVENTS")]]),
    Metric::histogram(
        "casement_read_wait_seconds",
        "How long a reader waited for one message from the stream's leader, by stream.",
    )
    .with(&[&[("stream", "EVENTS")]]),
    Metric::counter(
        "casement_append_unanswered_total",
        "Publishes that the broker did not answer in time, and that were settled afterwards.",
    ),
    Metric::counter(
        "casement_dead_letters_total",
        "Items that can never succeed, put among the dead letters, by role.",
    )
    .with(&[
        &[("role", "ingress")],
        &[("role", "window-tracker")],
        &[("role", "dispatcher")],
    ]),
    Metric::gauge(
        "casement_work_pending_messages",
        "Messages that no worker has been handed yet, by queue of work.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_work_unacknowledged_messages",
        "Messages in the hands of workers of all replicas, by queue of work.",
    )
    .with(&[]),
    Metric::histogram(
        "casement_work_lag_seconds",
        "How long a message had been on the log when work on it began, by queue of work.",
    )
    .with(&[]),
    Metric::counter(
        "casement_work_repeats_total",
        "Messages that could not be handled yet and will be handed out again, by queue of work.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_deadline_index_deadlines",
        "Deadlines that the index of a family of events knows.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_deadline_rebuild_seconds",
        "How long the index of a family of events took to catch up after the last start.",
    )
    .with(&[]),
    Metric::gauge(
        "casement_log_stream_messages",
        "Messages that a stream holds, as last looked at.",
    )
    .with(&[]),
];

/// Describes all this. Again does no harm.
pub(crate) fn start() {
    describe(METRICS);
}

/// An append is settled.
pub(crate) fn appended(
    stream_name: &'static str,
    subject: &str,
    took: Duration,
    result: &Result<Position, AppendError>,
) {
    let outcome = result.as_ref().map_or_else(trace::label, |_| "stored");
    metrics::counter!(
        "casement_append_records_total", "stream" => stream_name, "outcome" => outcome
    )
    .increment(1);
    metrics::histogram!("casement_append_wait_seconds", "stream" => stream_name)
        .record(took.as_secs_f64());
    if stream_name == stream::DEAD
        && result.is_ok()
        && let Some(role) = subject.rsplit('.').next()
    {
        metrics::counter!("casement_dead_letters_total", "role" => role.to_owned()).increment(1);
    }
}

/// So many appends were committed together.
#[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
pub(crate) fn committed(append: &Prepared, len: usize, since: Instant) {
    let stream = append.stream;
    metrics::histogram!("casement_append_group_records", "stream" => stream).record(len as f64);
    metrics::histogram!("casement_append_group_seconds", "stream" => stream)
        .record(since.elapsed().as_secs_f64());
}

/// A reader was answered, or gave up.
pub(crate) fn read(stream: &str, took: Duration) {
    metrics::histogram!("casement_read_wait_seconds", "stream" => stream.to_owned())
        .record(took.as_secs_f64());
}

/// Work on a message begins.
pub(crate) fn begun(work: &'static str, stored_at: jiff::Timestamp) {
    metrics::histogram!("casement_work_lag_seconds", "work" => work).record(age_seconds(stored_at));
}

/// A message will be handed out again.
pub(crate) fn repeated(work: &'static str) {
    metrics::counter!("casement_work_repeats_total", "work" => work).increment(1);
}

/// How much work there is.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn waiting(work: &'static str, pending: u64, unacknowledged: usize) {
    metrics::gauge!("casement_work_pending_messages", "work" => work).set(pending as f64);
    metrics::gauge!("casement_work_unacknowledged_messages", "work" => work)
        .set(unacknowledged as f64);
}

/// The series of a queue of work, before there is any.
pub(crate) fn work_exists(work: &'static str) {
    waiting(work, 0, 0);
    drop(metrics::histogram!("casement_work_lag_seconds", "work" => work));
    metrics::counter!("casement_work_repeats_total", "work" => work).increment(0);
}

/// How many deadlines an index knows.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn deadlines(family: &str, len: usize) {
    metrics::gauge!("casement_deadline_index_deadlines", "family" => family.to_owned())
        .set(len as f64);
}

/// An index has caught up.
pub(crate) fn rebuilt(family: &str, took: Duration) {
    metrics::gauge!("casement_deadline_rebuild_seconds", "family" => family.to_owned())
        .set(took.as_secs_f64());
}

/// A stream was looked at.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn looked_at(stream: &str, state: &StreamState) {
    metrics::gauge!("casement_log_stream_messages", "stream" => stream.to_owned())
        .set(state.messages as f64);
}

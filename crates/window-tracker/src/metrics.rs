//! What the tracker counts.

use casement_domain::window::{ClosedReason, Event, OpenReason};
use casement_shell::telemetry::{Metric, describe};
use jiff::{SignedDuration, Timestamp};

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_window_events_total",
        "Window events told, by event and, for openings and corrections, by reason.",
    )
    .with(&[
        &[("event", "opened"), ("reason", "customer")],
        &[("event", "extended"), ("reason", "")],
        &[("event", "expiring"), ("reason", "")],
        &[("event", "expired"), ("reason", "")],
        &[("event", "corrected"), ("reason", "corrected")],
    ]),
    Metric::gauge(
        "casement_window_open_windows",
        "Windows that are open now, by the deadline index.",
    ),
    Metric::histogram(
        "casement_window_expiry_lateness_seconds",
        "How long after its second an expiry stood on the log.",
    ),
    Metric::histogram(
        "casement_window_deadline_lateness_seconds",
        "How long after its time a deadline was seen to, told or not.",
    ),
    Metric::counter(
        "casement_window_conflicts_total",
        "Window events decided anew because something newer stood on the log.",
    ),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// An event stands on the log.
pub(crate) fn told(event: &Event, now: Timestamp) {
    let (name, reason) = match event {
        Event::Opened { reason, .. } => ("opened", opening(*reason)),
        Event::Extended { .. } => ("extended", ""),
        Event::Expiring { .. } => ("expiring", ""),
        Event::Expired { window } => {
            metrics::histogram!("casement_window_expiry_lateness_seconds")
                .record(seconds(now.duration_since(window.expires_at)));
            ("expired", "")
        }
        Event::Corrected { window } => (
            "corrected",
            window.closed.map_or("", |closed| closing(closed.reason)),
        ),
    };
    metrics::counter!("casement_window_events_total", "event" => name, "reason" => reason)
        .increment(1);
}

/// Something newer stood there.
pub(crate) fn overtaken() {
    metrics::counter!("casement_window_conflicts_total").increment(1);
}

/// A deadline was seen to.
pub(crate) fn seen_to(deadline: Timestamp, now: Timestamp) {
    metrics::histogram!("casement_window_deadline_lateness_seconds")
        .record(seconds(now.duration_since(deadline)));
}

/// So many windows are open.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn open(len: usize) {
    metrics::gauge!("casement_window_open_windows").set(len as f64);
}

fn opening(reason: OpenReason) -> &'static str {
    match reason {
        OpenReason::Customer => "customer",
        OpenReason::LateEvidence => "late_evidence",
        OpenReason::Proven => "proven",
    }
}

fn closing(reason: ClosedReason) -> &'static str {
    match reason {
        ClosedReason::NeverWrote => "never_wrote",
        ClosedReason::Expired => "expired",
        ClosedReason::Corrected => "corrected",
        ClosedReason::Merged => "merged",
        ClosedReason::NumberMigrated => "number_migrated",
        ClosedReason::UserIdChanged => "user_id_changed",
        ClosedReason::Erased => "erased",
    }
}

fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64().max(0.0)
}

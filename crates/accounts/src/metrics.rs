//! What this role counts.

use casement_shell::telemetry::{Metric, describe};

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_account_changes_total",
        "Changes to brands, numbers and templates that were stored, by kind of record.",
    )
    .with(&[
        &[("kind", "brand")],
        &[("kind", "number")],
        &[("kind", "template")],
        &[("kind", "sync")],
        &[("kind", "application")],
        &[("kind", "migration")],
        &[("kind", "health")],
        &[("kind", "downgrade")],
        &[("kind", "deregistration")],
        &[("kind", "registration")],
    ]),
    Metric::counter(
        "casement_account_deadlines_taken_total",
        "Account records whose time came and that were taken care of, by kind of record and \
         outcome: done, or failed, to be taken up again.",
    )
    .with(&[]),
    Metric::counter(
        "casement_account_template_reads_total",
        "Times that templates were read from the platform, by cause and outcome: read, or failed.",
    )
    .with(&[
        &[("cause", "SCHEDULE"), ("outcome", "read")],
        &[("cause", "SCHEDULE"), ("outcome", "failed")],
        &[("cause", "WEBHOOK"), ("outcome", "read")],
        &[("cause", "REFUSAL"), ("outcome", "read")],
    ]),
    Metric::counter(
        "casement_account_number_polls_total",
        "Times that the platform was to be asked about a number, by outcome: changed, same, \
         failed, or spent, when no management call was left.",
    )
    .with(&[
        &[("outcome", "changed")],
        &[("outcome", "same")],
        &[("outcome", "failed")],
        &[("outcome", "spent")],
    ]),
];

/// How taking care of a record ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Done,
    Failed,
}

pub(crate) fn start() {
    describe(METRICS);
}

/// A change stands on the log.
pub(crate) fn changed(kind: &'static str) {
    metrics::counter!("casement_account_changes_total", "kind" => kind).increment(1);
}

/// Templates were read from the platform, or could not be.
pub(crate) fn templates_read(cause: &'static str, has_failed: bool) {
    let outcome = if has_failed { "failed" } else { "read" };
    let labels = [("cause", cause), ("outcome", outcome)];
    metrics::counter!("casement_account_template_reads_total", &labels).increment(1);
}

/// The platform was to be asked about a number.
pub(crate) fn polled(outcome: &'static str) {
    metrics::counter!("casement_account_number_polls_total", "outcome" => outcome).increment(1);
}

/// Begins the counts of a kind of records that come due.
pub(crate) fn duty(kind: &'static str) {
    for outcome in ["done", "failed"] {
        let labels = [("kind", kind), ("outcome", outcome)];
        metrics::counter!("casement_account_deadlines_taken_total", &labels).increment(0);
    }
}

/// A record whose time had come was taken care of.
pub(crate) fn taken(kind: &'static str, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
    };
    let labels = [("kind", kind), ("outcome", outcome)];
    metrics::counter!("casement_account_deadlines_taken_total", &labels).increment(1);
}

//! What this role counts.

use casement_shell::telemetry::{Metric, describe};

const METRICS: &[Metric] = &[Metric::counter(
    "casement_account_changes_total",
    "Changes to brands, numbers and templates that were stored, by kind of record.",
)
.with(&[
    &[("kind", "brand")],
    &[("kind", "number")],
    &[("kind", "template")],
])];

pub(crate) fn start() {
    describe(METRICS);
}

/// A change stands on the log.
pub(crate) fn changed(kind: &'static str) {
    metrics::counter!("casement_account_changes_total", "kind" => kind).increment(1);
}

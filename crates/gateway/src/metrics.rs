//! What the gateway counts.

use std::time::Duration;

use casement_shell::grpc::code_name;
use casement_shell::telemetry::{Metric, describe};
use tonic::Code;

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_gateway_calls_total",
        "Calls that are over, by protocol (grpc, json), service and code; service `none` for a call that reached none.",
    )
    .with(&[
        &[("protocol", "grpc"), ("service", "none"), ("code", "UNIMPLEMENTED")],
        &[("protocol", "json"), ("service", "none"), ("code", "NOT_FOUND")],
    ]),
    Metric::histogram(
        "casement_gateway_call_seconds",
        "How long calls took to their end, by protocol and service.",
    )
    .with(&[
        &[("protocol", "grpc"), ("service", "none")],
        &[("protocol", "json"), ("service", "none")],
    ]),
    Metric::gauge(
        "casement_gateway_open_calls",
        "Calls and streams in flight.",
    ),
    Metric::counter(
        "casement_gateway_limited_total",
        "Calls refused because their brand, token or address is over a limit, by reason.",
    )
    .with(&[
        &[("reason", crate::limits::RATE_LIMITED)],
        &[("reason", crate::limits::CONCURRENCY_LIMITED)],
        &[("reason", crate::limits::ADDRESS_LIMITED)],
    ]),
    Metric::counter(
        "casement_gateway_console_sign_ins_total",
        "Attempts to sign in to the console, by outcome: accepted, refused, limited.",
    )
    .with(&[
        &[("outcome", "accepted")],
        &[("outcome", "refused")],
        &[("outcome", "limited")],
    ]),
    Metric::gauge(
        "casement_gateway_console_live_pages",
        "Pages of the console that are kept up to date.",
    ),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// A call begins.
pub(crate) fn begun() {
    metrics::gauge!("casement_gateway_open_calls").increment(1.0);
}

/// A call is over.
pub(crate) fn over(protocol: &'static str, service: &'static str, code: Code, took: Duration) {
    metrics::gauge!("casement_gateway_open_calls").decrement(1.0);
    metrics::counter!(
        "casement_gateway_calls_total",
        "protocol" => protocol, "service" => service, "code" => code_name(code)
    )
    .increment(1);
    metrics::histogram!(
        "casement_gateway_call_seconds", "protocol" => protocol, "service" => service
    )
    .record(took.as_secs_f64());
}

/// A call was refused by a limit.
pub(crate) fn limited(reason: &'static str) {
    metrics::counter!("casement_gateway_limited_total", "reason" => reason).increment(1);
}

/// Somebody tried to sign in to the console.
pub(crate) fn signed_in(outcome: &'static str) {
    metrics::counter!("casement_gateway_console_sign_ins_total", "outcome" => outcome).increment(1);
}

/// A page of the console that is kept up to date, until it is dropped.
#[derive(Debug)]
pub(crate) struct LivePage(());

/// A page begins to be kept up to date.
pub(crate) fn live_page() -> LivePage {
    metrics::gauge!("casement_gateway_console_live_pages").increment(1.0);
    LivePage(())
}

impl Drop for LivePage {
    fn drop(&mut self) {
        metrics::gauge!("casement_gateway_console_live_pages").decrement(1.0);
    }
}

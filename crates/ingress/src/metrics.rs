//! What the role counts.

use std::time::Duration;

use casement_shell::telemetry::{Metric, describe};

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_ingress_posts_total",
        "Posts, by source and by what became of them: stored, or why not.",
    )
    .with(&[
        &[("source", "whatsapp"), ("outcome", "stored")],
        &[("source", "whatsapp"), ("outcome", "bad_signature")],
        &[("source", "whatsapp"), ("outcome", "not_stored")],
        &[("source", "twilio"), ("outcome", "stored")],
        &[("source", "twilio"), ("outcome", "bad_signature")],
    ]),
    Metric::counter(
        "casement_ingress_post_bytes_total",
        "Bytes of the bodies of posts whose signature was good, by source.",
    )
    .with(&[&[("source", "whatsapp")], &[("source", "twilio")]]),
    Metric::histogram(
        "casement_ingress_answer_seconds",
        "How long posts waited for their answer, the disk included, by source.",
    )
    .with(&[&[("source", "whatsapp")], &[("source", "twilio")]]),
    Metric::histogram(
        "casement_ingress_pack_posts",
        "How many posts were stored together, by source.",
    )
    .with(&[&[("source", "whatsapp")], &[("source", "twilio")]]),
    Metric::counter(
        "casement_ingress_items_total",
        "Items of posts, by kind and by what became of them.",
    )
    .with(&[&[("kind", "message"), ("outcome", "stored")]]),
    Metric::counter(
        "casement_ingress_handshakes_total",
        "Handshakes by which Meta checks the callback URL, by outcome.",
    )
    .with(&[&[("outcome", "answered")], &[("outcome", "wrong_token")]]),
    Metric::counter(
        "casement_http_connections_refused_total",
        "Connections that ended without a request, by why: too many, a failed handshake, a bad head.",
    )
    .with(&[&[("reason", "too_many")], &[("reason", "handshake")]]),
    Metric::counter(
        "casement_ingress_media_total",
        "Files that came with messages, by what became of them.",
    )
    .with(&[&[("outcome", "stored")]]),
    Metric::counter(
        "casement_ingress_media_bytes_total",
        "Bytes of such files that were stored.",
    ),
    Metric::counter(
        "casement_ingress_replayed_total",
        "Parked items that were taken up because their number became known.",
    ),
    Metric::counter(
        "casement_ingress_customers_merged_total",
        "Customers who proved to be the same as another.",
    ),
    Metric::counter(
        "casement_ingress_facts_put_back_total",
        "Facts whose stated time lay too far ahead, and that count as of their receipt.",
    ),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// A post's body is whole and its signature good.
pub(crate) fn taken(source: &'static str, bytes: usize) {
    metrics::counter!("casement_ingress_post_bytes_total", "source" => source)
        .increment(bytes as u64);
}

/// Meta checked the callback URL.
pub(crate) fn shook_hands(outcome: &'static str) {
    metrics::counter!("casement_ingress_handshakes_total", "outcome" => outcome).increment(1);
}

/// A post was answered.
pub(crate) fn answered(source: &'static str, outcome: &'static str, took: Duration) {
    metrics::counter!(
        "casement_ingress_posts_total", "source" => source, "outcome" => outcome
    )
    .increment(1);
    metrics::histogram!("casement_ingress_answer_seconds", "source" => source)
        .record(took.as_secs_f64());
}

//! What the dispatcher counts. No label names a customer, a message or a number.

use std::time::Duration;

use casement_domain::halt::{Halt, Scope};
use casement_domain::message::{Event, Message, Outcome};
use casement_domain::money::Category;
use casement_domain::routing::Route;
use casement_domain::routing::hold::HOLD_QUEUE_FULL;
use casement_domain::turns::Priority;
use casement_event::v1;
use casement_event_log::directory::{Directory, Halt as KnownHalt};
use casement_shell::telemetry::{Metric, describe};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::provider::Answer;

const METRICS: &[Metric] = &[
    Metric::counter(
        "casement_dispatcher_requests_total",
        "Messages accepted and durable.",
    ),
    Metric::counter(
        "casement_dispatcher_attempts_total",
        "Claims, by channel and route.",
    )
    .with(&[
        &[("channel", "whatsapp"), ("route", "free_form")],
        &[("channel", "whatsapp"), ("route", "template")],
        &[("channel", "sms"), ("route", "sms")],
    ]),
    Metric::counter(
        "casement_dispatcher_sends_total",
        "What attempts came to, by channel, route and outcome: accepted, rejected, unknown, or abandoned after having been unknown.",
    )
    .with(&[
        &[("channel", "whatsapp"), ("route", "free_form"), ("outcome", "accepted")],
        &[("channel", "whatsapp"), ("route", "template"), ("outcome", "accepted")],
        &[("channel", "sms"), ("route", "sms"), ("outcome", "accepted")],
        &[("channel", "whatsapp"), ("route", "free_form"), ("outcome", "unknown")],
        &[("channel", "whatsapp"), ("route", "template"), ("outcome", "unknown")],
        &[("channel", "sms"), ("route", "sms"), ("outcome", "unknown")],
    ]),
    Metric::counter(
        "casement_dispatcher_messages_total",
        "Messages that are over, by outcome.",
    )
    .with(&[
        &[("outcome", "delivered")],
        &[("outcome", "failed")],
        &[("outcome", "expired")],
        &[("outcome", "cancelled")],
        &[("outcome", "unknown")],
    ]),
    Metric::histogram(
        "casement_dispatcher_provider_call_seconds",
        "How long calls to a provider took, by channel and answer: accepted, refused, or unknown.",
    )
    .with(&[
        &[("channel", "whatsapp"), ("answer", "accepted")],
        &[("channel", "sms"), ("answer", "accepted")],
    ]),
    Metric::counter(
        "casement_dispatcher_sms_calls_total",
        "Calls to SMS gateways, by gateway (`number` for the accounts of numbers' own records) and answer: accepted, refused, or unknown.",
    )
    .with(&[&[("gateway", "number"), ("answer", "accepted")]]),
    Metric::counter(
        "casement_dispatcher_holds_total",
        "Messages held until their customer writes, released, or expired while they were held; refused, or ended, since too many were held.",
    )
    .with(&[
        &[("event", "held")],
        &[("event", "released")],
        &[("event", "expired")],
        &[("event", "refused")],
    ]),
    Metric::counter(
        "casement_dispatcher_nudges_total",
        "Templates requested to ask a customer to write, for whom messages are held.",
    ),
    Metric::gauge(
        "casement_dispatcher_held_messages",
        "Messages that are held now.",
    ),
    Metric::gauge(
        "casement_dispatcher_waiting_messages",
        "Messages that no provider has accepted yet, those held among them.",
    ),
    Metric::gauge(
        "casement_dispatcher_deferred_messages",
        "Messages that wait for the end of a halt, or of quiet hours.",
    ),
    Metric::gauge(
        "casement_dispatcher_standing_halts",
        "Halts that stand, by scope: brand, portfolio, waba, token, number, template, label, gateway.",
    )
    .with(&[
        &[("scope", "brand")],
        &[("scope", "portfolio")],
        &[("scope", "waba")],
        &[("scope", "token")],
        &[("scope", "number")],
        &[("scope", "template")],
        &[("scope", "label")],
        &[("scope", "gateway")],
    ]),
    Metric::counter(
        "casement_dispatcher_deferrals_total",
        "Messages put off for a halt, by what set it: hand or platform.",
    )
    .with(&[&[("by", "hand")], &[("by", "platform")]]),
    Metric::counter(
        "casement_dispatcher_overdue_deliveries_total",
        "Messages whose delivery was not reported in time, by what follows: next, next_at_risk, \
         wait.",
    )
    .with(&[
        &[("then", "next")],
        &[("then", "next_at_risk")],
        &[("then", "wait")],
    ]),
    Metric::counter(
        "casement_dispatcher_double_exposures_total",
        "Messages that their customer got twice, by reports that came after a fallback.",
    ),
    Metric::gauge(
        "casement_dispatcher_paused_numbers",
        "Business numbers that are paused now: their messages wait.",
    ),
    Metric::gauge(
        "casement_dispatcher_active_replicas",
        "1 on the replica that sends, 0 on one that stands by.",
    ),
    Metric::counter(
        "casement_dispatcher_deliveries_total",
        "What customers' devices did with messages, by channel and status.",
    )
    .with(&[
        &[("channel", "whatsapp"), ("status", "delivered")],
        &[("channel", "sms"), ("status", "delivered")],
    ]),
    Metric::gauge(
        "casement_dispatcher_queued_messages",
        "Messages that wait for their turn in a number's rate, by priority: reply, transactional, bulk.",
    )
    .with(&[
        &[("priority", "reply")],
        &[("priority", "transactional")],
        &[("priority", "bulk")],
    ]),
    Metric::counter(
        "casement_dispatcher_first_words_total",
        "Templates outside the window for which a portfolio with a messaging limit had room, by whether it still had at the claim: taken or late.",
    )
    .with(&[&[("room", "taken")], &[("room", "late")]]),
    Metric::counter(
        "casement_dispatcher_turns_total",
        "Turns given to messages that waited in line for a number's rate, by priority.",
    )
    .with(&[
        &[("priority", "reply")],
        &[("priority", "transactional")],
        &[("priority", "bulk")],
    ]),
    Metric::counter(
        "casement_dispatcher_spent_micros_total",
        "What messages were billed at by the rate card, in millionths of its currency, by brand and category: what reports told, and SMS once a gateway took them.",
    )
    // The code of no currency: with a rate card, the card's.
    .with(&[&[("brand", "default"), ("category", "service"), ("currency", "XXX")]]),
    Metric::gauge(
        "casement_dispatcher_month_spend_micros",
        "What a brand has spent this month, with what is reserved for messages under way, in millionths of the rate card's currency.",
    )
    .with(&[&[("brand", "default")]]),
    Metric::counter(
        "casement_dispatcher_over_quota_total",
        "Messages that the quota of their brand had no room for, by brand and outcome: refused, or waits.",
    )
    .with(&[
        &[("brand", "default"), ("outcome", "refused")],
        &[("brand", "default"), ("outcome", "waits")],
    ]),
    Metric::counter(
        "casement_dispatcher_unmatched_reports_total",
        "Reports about messages that are no longer on the log.",
    ),
];

pub(crate) fn start() {
    describe(METRICS);
}

/// A message was accepted.
pub(crate) fn requested() {
    metrics::counter!("casement_dispatcher_requests_total").increment(1);
}

/// An event stands on the log; `before` and `after` are its message around it.
pub(crate) fn happened(event: &Event, before: &Message, after: &Message) {
    let routed = |attempt: u32| after.attempt(attempt).map(|attempt| labels(attempt.route));
    let sent = |attempt: u32, outcome: &'static str| {
        if let Some((channel, route)) = routed(attempt) {
            metrics::counter!(
                "casement_dispatcher_sends_total",
                "channel" => channel, "route" => route, "outcome" => outcome
            )
            .increment(1);
        }
    };
    match event {
        Event::Held { .. } => held("held"),
        Event::Released { .. } => held("released"),
        Event::AttemptStarted { route, .. } => {
            let (channel, route) = labels(*route);
            metrics::counter!(
                "casement_dispatcher_attempts_total", "channel" => channel, "route" => route
            )
            .increment(1);
        }
        Event::AttemptAccepted { attempt, .. } => sent(*attempt, "accepted"),
        Event::AttemptRejected { attempt, .. } => sent(*attempt, "rejected"),
        Event::AttemptUnknown { attempt, .. } => sent(*attempt, "unknown"),
        Event::AttemptAbandoned { attempt, .. } => sent(*attempt, "abandoned"),
        Event::DeliveryAdvanced {
            attempt, status, ..
        } => {
            if let Some((channel, _)) = routed(*attempt) {
                let status = format!("{status:?}").to_lowercase();
                metrics::counter!(
                    "casement_dispatcher_deliveries_total", "channel" => channel, "status" => status
                )
                .increment(1);
            }
        }
        Event::Ended {
            outcome, reason, ..
        } => {
            if reason == HOLD_QUEUE_FULL {
                found_queue_full();
            }
            ended(label(*outcome));
        }
        Event::Expired { .. } => {
            if matches!(before.phase, casement_domain::message::Phase::Held { .. }) {
                held("expired");
            }
            ended("expired");
        }
        Event::Cancelled { .. } => ended("cancelled"),
        Event::Deferred { cause, .. } => {
            let by = if cause.ends_with("_PAUSED") {
                "hand"
            } else {
                "platform"
            };
            metrics::counter!("casement_dispatcher_deferrals_total", "by" => by).increment(1);
        }
        Event::DeliveryOverdue {
            moves_on, is_risky, ..
        } => {
            let then = match (moves_on, is_risky) {
                (true, true) => "next_at_risk",
                (true, false) => "next",
                (false, _) => "wait",
            };
            metrics::counter!("casement_dispatcher_overdue_deliveries_total", "then" => then)
                .increment(1);
        }
        Event::DoubleExposure { .. } => {
            metrics::counter!("casement_dispatcher_double_exposures_total").increment(1);
        }
        Event::Requested { .. } | Event::DeliveryContradicted { .. } | Event::Billed { .. } => {}
    }
}

/// A nudge was requested.
pub(crate) fn nudged() {
    metrics::counter!("casement_dispatcher_nudges_total").increment(1);
}

/// A message found no place to wait in.
pub(crate) fn found_queue_full() {
    held("refused");
}

/// An attempt is billed, for good.
pub(crate) fn spent(brand: &str, cost: &v1::Cost) {
    let Some(amount) = &cost.amount else { return };
    let category = Category::parse(&cost.category).map_or("other", Category::as_str);
    metrics::counter!(
        "casement_dispatcher_spent_micros_total", "brand" => brand.to_owned(),
        "category" => category, "currency" => amount.currency.clone()
    )
    .increment(amount.micros);
}

/// So much was spent or reserved for a brand in its newest month.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn month(brand: &str, micros: u64) {
    metrics::gauge!("casement_dispatcher_month_spend_micros", "brand" => brand.to_owned())
        .set(micros as f64);
}

/// A provider was called.
pub(crate) fn called(route: Route, answer: &Answer, took: Duration) {
    let (channel, _) = labels(route);
    metrics::histogram!(
        "casement_dispatcher_provider_call_seconds",
        "channel" => channel, "answer" => answer.label()
    )
    .record(took.as_secs_f64());
}

/// An SMS gateway of the configuration was called.
pub(crate) fn called_gateway(gateway: &str, answer: &Answer) {
    metrics::counter!(
        "casement_dispatcher_sms_calls_total",
        "gateway" => gateway.to_owned(), "answer" => answer.label()
    )
    .increment(1);
}

/// A report found no message.
pub(crate) fn unmatched() {
    metrics::counter!("casement_dispatcher_unmatched_reports_total").increment(1);
}

/// So many messages wait; so many of them are held, and so many put off for a halt.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(crate) fn waiting(waiting: usize, held: usize, deferred: usize) {
    metrics::gauge!("casement_dispatcher_waiting_messages").set(waiting as f64);
    metrics::gauge!("casement_dispatcher_held_messages").set(held as f64);
    metrics::gauge!("casement_dispatcher_deferred_messages").set(deferred as f64);
}

/// A place in a portfolio's budget was wanted; it was taken, or gone.
pub(crate) fn budget(is_taken: bool) {
    let room = if is_taken { "taken" } else { "late" };
    metrics::counter!("casement_dispatcher_first_words_total", "room" => room).increment(1);
}

/// A message in line got its turn.
pub(crate) fn turn_given(priority: Priority) {
    let priority = priority.as_str().to_ascii_lowercase();
    metrics::counter!("casement_dispatcher_turns_total", "priority" => priority).increment(1);
}

/// So many messages wait in line, by priority.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(crate) fn in_line(waiting: &[(Priority, usize)]) {
    for (priority, count) in waiting {
        let priority = priority.as_str().to_ascii_lowercase();
        metrics::gauge!("casement_dispatcher_queued_messages", "priority" => priority)
            .set(*count as f64);
    }
}

/// So many halts stand.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(crate) fn halts(standing: &[(Halt, KnownHalt)]) {
    for scope in Scope::ALL {
        let of_scope = |halt: &&(Halt, KnownHalt)| halt.0.target.scope == scope;
        let count = standing.iter().filter(of_scope).count();
        if scope != Scope::Pair {
            let scope = scope.as_str().to_ascii_lowercase();
            metrics::gauge!("casement_dispatcher_standing_halts", "scope" => scope)
                .set(count as f64);
        }
    }
}

/// Shows what is paused and who is active, until stopped.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) async fn watch(
    directory: Directory,
    mut is_active: watch::Receiver<bool>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let mut accounts = directory.changed();
    // A sender that is gone has said its last.
    let (mut follows_accounts, mut follows_lease) = (true, true);
    loop {
        let is_on = *is_active.borrow_and_update();
        metrics::gauge!("casement_dispatcher_active_replicas").set(f64::from(u8::from(is_on)));
        accounts.borrow_and_update();
        let numbers = directory.numbers();
        let paused = numbers.iter().filter(|number| number.paused).count();
        metrics::gauge!("casement_dispatcher_paused_numbers").set(paused as f64);
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            changed = accounts.changed(), if follows_accounts => follows_accounts = changed.is_ok(),
            changed = is_active.changed(), if follows_lease => follows_lease = changed.is_ok(),
        }
    }
}

/// The quota of a brand had no room for a message: it was `refused`, or `waits`.
pub(crate) fn over_quota(brand: &str, outcome: &'static str) {
    metrics::counter!(
        "casement_dispatcher_over_quota_total", "brand" => brand.to_owned(), "outcome" => outcome
    )
    .increment(1);
}

fn held(event: &'static str) {
    metrics::counter!("casement_dispatcher_holds_total", "event" => event).increment(1);
}

fn ended(outcome: &'static str) {
    metrics::counter!("casement_dispatcher_messages_total", "outcome" => outcome).increment(1);
}

/// Channel and route in the words of a label.
pub(crate) fn labels(route: Route) -> (&'static str, &'static str) {
    match route {
        Route::FreeForm => ("whatsapp", "free_form"),
        Route::Template => ("whatsapp", "template"),
        Route::Sms => ("sms", "sms"),
        Route::Hold => ("none", "hold"),
    }
}

fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Unconfirmed => "unconfirmed",
        Outcome::Failed => "failed",
        Outcome::Expired => "expired",
        Outcome::Cancelled => "cancelled",
        Outcome::Unknown => "unknown",
        Outcome::UnreachableBySms => "unreachable_by_sms",
    }
}

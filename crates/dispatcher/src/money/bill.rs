//! What becomes of an attempt's cost: what a report says of the bill, what a refusal gives back,
//! and how both are shown.
//!
//! The first report with a bill decides. What is not delivered is not billed, so a WhatsApp
//! message that fails costs nothing; an SMS that failed after a gateway took it is paid for.

use casement_domain::id::Phone;
use casement_domain::message::{Event as MessageEvent, Report};
use casement_domain::money::{Bill, Spend};
use casement_domain::routing::Route;
use casement_event::convert::message::money::{self, amount, cost_of, read_spend, spend};
use casement_event::{Event, v1};
use jiff::Timestamp;

use super::{Money, Plan};
use crate::aggregate::Loaded;
use crate::metrics;

/// Returns the latest that is known of an attempt's cost.
pub(crate) fn current(events: &[Event], attempt: u32) -> Option<&v1::Cost> {
    let told = events.iter().rev().filter_map(cost_of);
    let mut of_attempt = told.filter(|(number, _)| *number == attempt);
    of_attempt.next().map(|(_, cost)| cost)
}

/// Returns an attempt's cost as the API shows it.
pub(crate) fn shown(events: &[Event], attempt: u32) -> Option<v1::Cost> {
    current(events, attempt).map(money::shown)
}

/// Returns what all attempts cost together; `None` if nothing is known of any.
pub(crate) fn total(of: &Loaded) -> Option<v1::Money> {
    let attempts = of.message.attempts.iter();
    money::total(attempts.filter_map(|attempt| current(&of.events, attempt.number)))
}

/// Returns the event for a report that says nothing new but what is billed; `None` if that is
/// known, too.
pub(crate) fn billed(
    money: &Money,
    of: &Loaded,
    report: &Report,
    reported: &v1::StatusReported,
) -> Option<MessageEvent> {
    let attempt = of.message.attempt(report.attempt)?.number;
    let is_news = report.status.is_ok()
        && money.plan.is_some()
        && reported.pricing.is_some()
        && !is_reported(current(&of.events, attempt));
    is_news.then_some(MessageEvent::Billed {
        attempt,
        at: report.at,
    })
}

fn is_reported(cost: Option<&v1::Cost>) -> bool {
    cost.is_some_and(|cost| cost.basis() == v1::CostBasis::Reported)
}

impl Money {
    /// Returns what a report makes of an attempt's cost, for the event that the report becomes.
    pub(crate) fn on_report(
        &self,
        of: &Loaded,
        event: &MessageEvent,
        report: &Report,
        reported: &v1::StatusReported,
    ) -> Option<v1::Cost> {
        let plan = self.plan.as_ref()?;
        match event {
            MessageEvent::DeliveryAdvanced { attempt, .. }
            | MessageEvent::Billed { attempt, .. } => {
                let known = current(&of.events, *attempt);
                let pricing = reported.pricing.as_ref()?;
                (!is_reported(known)).then(|| {
                    let phone = phone(of, reported);
                    let claimed_at = of.message.attempt(*attempt).map(|one| one.started_at);
                    let at = Times {
                        claimed: claimed_at.unwrap_or(report.at),
                        reported: report.at,
                    };
                    priced(plan, known, pricing, phone.as_ref(), &at)
                })
            }
            MessageEvent::AttemptRejected { attempt, .. } => {
                let is_sms = of
                    .message
                    .attempt(*attempt)
                    .is_some_and(|one| one.route == Route::Sms);
                if is_sms {
                    return None;
                }
                given_back(plan, current(&of.events, *attempt)?)
            }
            _ => None,
        }
    }

    /// Returns what a refused call makes of an attempt's cost: nothing is billed.
    pub(crate) fn on_refusal(&self, of: &Loaded, attempt: u32) -> Option<v1::Cost> {
        let plan = self.plan.as_ref()?;
        given_back(plan, current(&of.events, attempt)?)
    }

    /// Counts what an event that stands on the log says was spent for good.
    pub(crate) fn count(before: &[Event], event: &Event, brand: &str) {
        match event {
            Event::AttemptAccepted(accepted) => {
                let estimated = current(before, accepted.attempt);
                if let Some(cost) = estimated.filter(|cost| cost.category == "sms") {
                    metrics::spent(brand, cost);
                }
            }
            _ => {
                if let Some((_, cost)) = cost_of(event)
                    && is_reported(Some(cost))
                {
                    metrics::spent(brand, cost);
                }
            }
        }
    }
}

/// When an attempt was claimed, and when what is billed happened.
struct Times {
    claimed: Timestamp,
    reported: Timestamp,
}

fn priced(
    plan: &Plan,
    known: Option<&v1::Cost>,
    pricing: &v1::Pricing,
    phone: Option<&Phone>,
    at: &Times,
) -> v1::Cost {
    let bill = Bill {
        category: &pricing.category,
        kind: &pricing.r#type,
        billable: pricing.billable,
    };
    let billed = bill.price(&plan.card, phone.map(Phone::digits), plan.day(at.reported));
    let before = known.and_then(|cost| read_spend(cost.counted.as_ref()?));
    let month = before.map_or_else(|| plan.month(at.claimed), |(month, _)| month);
    let reserved = before.map(|(_, spend)| spend.micros).unwrap_or_default();
    let counted = Spend {
        // Billed at a price that is not known: what was reserved is the best guess.
        micros: billed.amount.map_or(reserved, |amount| amount.micros),
        free_service_messages: u64::from(billed.counts_to_free_tier),
    };
    v1::Cost {
        basis: v1::CostBasis::Reported.into(),
        category: pricing.category.clone(),
        r#type: pricing.r#type.clone(),
        billable: billed.is_billable,
        amount: billed.amount.map(amount),
        counted: Some(spend(&(month, counted))),
        replaced: before.as_ref().map(spend),
    }
}

/// Nothing is billed; `None` if that is what stands there.
fn given_back(plan: &Plan, known: &v1::Cost) -> Option<v1::Cost> {
    if known.basis() == v1::CostBasis::NotDelivered {
        return None;
    }
    let before = known.counted.as_ref().and_then(read_spend)?;
    Some(v1::Cost {
        basis: v1::CostBasis::NotDelivered.into(),
        category: known.category.clone(),
        r#type: known.r#type.clone(),
        billable: false,
        amount: Some(amount(plan.card.amount(0))),
        counted: Some(spend(&(before.0, Spend::default()))),
        replaced: Some(spend(&before)),
    })
}

/// The phone that the message went to, by the report or else by its request.
fn phone(of: &Loaded, reported: &v1::StatusReported) -> Option<Phone> {
    let read = |addresses: &Option<v1::Addresses>| {
        let phone = &addresses.as_ref()?.phone;
        Phone::parse(phone).ok()
    };
    read(&reported.recipient).or_else(|| read(&of.request.addresses))
}

//! What messages cost, to and from what is stored.

use casement_domain::money::{Amount, Category, Costs, Estimate, Free, Month, Owner, Spend};
use casement_domain::routing::Route;
use casement_proto::events::v1;

use super::route;

/// A part of a month's cost, as an event carries it.
pub type Part = (Month, Spend);

/// Returns an amount as stored.
pub fn amount(of: Amount) -> v1::Money {
    v1::Money {
        currency: of.currency.to_string(),
        micros: of.micros,
    }
}

/// Returns what the routes of a message would cost, as stored; nothing without a rate card.
pub fn estimates(of: &Costs) -> Vec<v1::CostEstimate> {
    let known = Route::ALL
        .into_iter()
        .filter_map(|one| Some((one, of.estimate(one)?)));
    known
        .map(|(one, estimate)| {
            let unpriced = estimate.err().map(|why| why.code().to_owned());
            let estimate = estimate.ok();
            v1::CostEstimate {
                route: route(one).into(),
                category: word(estimate.map(|one| one.category.as_str())),
                amount: estimate.map(|one| amount(one.amount)),
                free: word(estimate.and_then(|one| one.free).map(Free::as_str)),
                unpriced: unpriced.unwrap_or_default(),
            }
        })
        .collect()
}

fn word(of: Option<&'static str>) -> String {
    of.unwrap_or_default().to_owned()
}

/// Returns what a claim is expected to cost and reserves of its month.
pub fn reserved(estimate: &Estimate, month: Month) -> v1::Cost {
    let free = estimate.free.map(Free::as_str);
    v1::Cost {
        basis: v1::CostBasis::Estimated.into(),
        category: estimate.category.as_str().to_owned(),
        r#type: word(free.filter(|_| estimate.category != Category::Sms)),
        billable: estimate.free.is_none(),
        amount: Some(amount(estimate.amount)),
        counted: Some(spend(&(month, reserve(estimate)))),
        replaced: None,
    }
}

/// Returns what an estimate reserves.
pub fn reserve(estimate: &Estimate) -> Spend {
    Spend {
        micros: estimate.amount.micros,
        free_service_messages: u64::from(estimate.free == Some(Free::FreeTier)),
    }
}

/// Returns a part of a month's cost as stored.
pub fn spend((month, of): &Part) -> v1::Spend {
    v1::Spend {
        month: month.to_string(),
        micros: of.micros,
        free_service_messages: of.free_service_messages,
    }
}

/// Reads a part of a month's cost; `None` if its month is none.
pub fn read_spend(stored: &v1::Spend) -> Option<Part> {
    let spend = Spend {
        micros: stored.micros,
        free_service_messages: stored.free_service_messages,
    };
    Some((Month::parse(&stored.month)?, spend))
}

/// Returns the cost that an event of a message carries, and of which attempt.
pub fn cost_of(event: &crate::Event) -> Option<(u32, &v1::Cost)> {
    use crate::Event;
    let (attempt, cost) = match event {
        Event::AttemptStarted(event) => (event.attempt, &event.cost),
        Event::AttemptRejected(event) => (event.attempt, &event.cost),
        Event::DeliveryAdvanced(event) => (event.attempt, &event.cost),
        Event::MessageBilled(event) => (event.attempt, &event.cost),
        _ => return None,
    };
    Some((attempt, cost.as_ref()?))
}

/// Returns a cost as the API shows it: without how it was counted.
pub fn shown(of: &v1::Cost) -> v1::Cost {
    v1::Cost {
        counted: None,
        replaced: None,
        ..of.clone()
    }
}

/// Returns what attempts cost together; `None` if no amount is known of any.
pub fn total<'a>(costs: impl Iterator<Item = &'a v1::Cost>) -> Option<v1::Money> {
    let amounts = costs.filter_map(|cost| cost.amount.clone());
    amounts.reduce(|sum, one| v1::Money {
        micros: sum.micros.saturating_add(one.micros),
        ..sum
    })
}

/// Returns whose money an event of a message is about.
pub fn owner_of(event: &crate::Event) -> Option<Owner> {
    use crate::Event;
    let conversation = match event {
        Event::AttemptStarted(event) => &event.conversation,
        Event::AttemptRejected(event) => &event.conversation,
        Event::DeliveryAdvanced(event) => &event.conversation,
        Event::MessageBilled(event) => &event.conversation,
        _ => return None,
    };
    let conversation = conversation.as_ref()?;
    Some(Owner {
        number: conversation.number.clone(),
        brand: conversation.brand_id.clone(),
    })
}

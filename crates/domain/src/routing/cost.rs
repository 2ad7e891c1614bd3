//! What the month's caps say about a route that would otherwise do.

use super::{Finding, Input, Route, against, capital, sms};
use crate::money::{Allowance, Free};

impl<'a> Input<'a> {
    /// Returns the SMS gateway that would be tried first, which an estimate goes by; one that is
    /// halted if all are.
    pub fn first_gateway(&self) -> Option<&'a str> {
        let open = sms::open_gateways(self).into_iter().next();
        open.or_else(|| sms::gateways(self).into_iter().next())
    }
}

/// Weighs what a route would cost against the caps that the message counts against.
pub(super) fn weigh(route: Route, mut finding: Finding, input: &Input<'_>) -> Finding {
    if !finding.is_eligible {
        return finding;
    }
    if let Some(Ok(estimate)) = input.costs.estimate(route) {
        finding.facts.push(format!("cost={}", estimate.amount));
        finding.facts.extend(
            estimate
                .free
                .map(|free| format!("free={}", Free::as_str(free))),
        );
    }
    match input.costs.allowance(route) {
        Allowance::Within => finding,
        Allowance::Passed(cap) => {
            finding.facts.push(format!("cap_of={}", cap.of));
            finding.facts.push(format!("cap={}", cap.limit));
            finding.facts.push(format!("spent={}", cap.spent));
            let text = format!(
                "{} would pass the {}'s cap of {} a month, of which {} is spent or reserved.",
                capital(route.as_str()),
                cap.of,
                cap.limit,
                cap.spent,
            );
            against("MONTHLY_CAP", finding.facts, text)
        }
        Allowance::Unknown(why) => {
            let text = format!(
                "There is a monthly cap, and {} cannot be held to it: {}.",
                route.as_str(),
                why.as_str(),
            );
            against("PRICE_UNKNOWN", finding.facts, text)
        }
    }
}

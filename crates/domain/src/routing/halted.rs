//! What halts do to a decision: a route that is halted is ruled out, and what comes after it in
//! the policy's order waits, unless the halt lets it go.

use jiff::Timestamp;

use super::{Finding, Input, Route, against, sms};
use crate::halt::{PORTFOLIO_LIMIT, Stop};
use crate::number_health::{PLATFORM_RESTRICTION, PLATFORM_STATUS};

/// The halts met before a route was chosen, in the policy's order of routes.
#[derive(Debug, Default)]
pub(super) struct Halted {
    /// The first one that is worth waiting for.
    pub(super) first: Option<Stop>,
    /// One of them does not let the message take another channel.
    keeps_channel: bool,
}

impl Halted {
    /// Returns when the portfolio's budget has room again, if that is what is waited for.
    pub(super) fn limited_until(&self) -> Option<Timestamp> {
        let by_budget = self
            .first
            .as_ref()
            .filter(|stop| stop.cause == PORTFOLIO_LIMIT);
        by_budget.and_then(|stop| stop.until)
    }

    /// Returns what is left of a finding: halts only count against what would otherwise do.
    pub(super) fn weigh(
        &mut self,
        route: Route,
        finding: Finding,
        input: &Input<'_>,
        is_decided: bool,
    ) -> Finding {
        if !finding.is_eligible {
            return finding;
        }
        let by_gateways = || (route == Route::Sms).then(|| sms::all_halted(input))?;
        if let Some(stop) = input.stops.on(route).cloned().or_else(by_gateways) {
            if !is_decided {
                self.keeps_channel |= !stop.lets_go_elsewhere(input.expires_at);
                if stop.is_waited_for {
                    self.first.get_or_insert_with(|| stop.clone());
                }
            }
            let own = [PORTFOLIO_LIMIT, PLATFORM_STATUS, PLATFORM_RESTRICTION];
            let reason = own.into_iter().find(|own| stop.cause == *own);
            let reason = reason.unwrap_or("HALTED");
            return against(reason, stop.facts.clone(), stop.text.clone());
        }
        let waits = match route {
            Route::FreeForm | Route::Template => false,
            Route::Sms => self.keeps_channel,
            // It waits for the halt already, and then needs no customer to write.
            Route::Hold => true,
        };
        match &self.first {
            Some(stop) if waits => {
                let facts = vec![format!("halt={}", stop.halt)];
                against("WAITS_FOR_HALT", facts, "It waits for the end of a halt.")
            }
            _ => finding,
        }
    }
}

//! What halts stop for one message: routes, and gateways.
//!
//! What a message does then is for routing to say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Halt, Sending};
use crate::routing::Route;

/// Why a template waits that would be the first word to one customer too many in a day.
pub const PORTFOLIO_LIMIT: &str = "PORTFOLIO_LIMIT";

/// Why a route is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The halt's id.
    pub halt: String,
    /// Stable, for programs: [`Halt::word`].
    pub cause: String,
    /// One sentence, for people.
    pub text: String,
    /// What it rests on, as name=value.
    pub facts: Vec<String>,
    /// Until when; `None` if time does not end it.
    pub until: Option<Timestamp>,
    /// When one message may be let through to see.
    pub probe_at: Option<Timestamp>,
    /// Whether another channel may be taken meanwhile.
    pub may_go_elsewhere: bool,
    /// Whether it is worth waiting for its end: not for a template that is gone for good.
    pub is_waited_for: bool,
}

impl Stop {
    /// Returns what stops a template while a portfolio may not write to another customer first.
    pub fn by_budget(limit: u32, until: Timestamp) -> Self {
        Self {
            halt: String::new(),
            cause: PORTFOLIO_LIMIT.to_owned(),
            text: format!(
                "The portfolio has written first to {limit} customers in a day; there is room again at {until}."
            ),
            facts: vec![format!("messaging_limit={limit}"), format!("until={until}")],
            until: Some(until),
            probe_at: None,
            may_go_elsewhere: true,
            is_waited_for: true,
        }
    }

    /// Returns whether waiting for its end is of no use to a message that ends at `expires_at`.
    fn outlasts(&self, expires_at: Timestamp) -> bool {
        self.until.is_some_and(|until| until >= expires_at)
    }

    /// Returns whether a message may take another channel rather than wait.
    pub fn lets_go_elsewhere(&self, expires_at: Timestamp) -> bool {
        self.may_go_elsewhere || self.outlasts(expires_at)
    }

    /// Returns when to look again at a message that waits, if nothing is heard before.
    pub fn look_again_at(&self, expires_at: Timestamp) -> Timestamp {
        self.until.map_or(expires_at, |until| until.min(expires_at))
    }

    /// Returns what holds if the end of either will do.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let may_end = |stop: &Self| stop.until.or(stop.probe_at).unwrap_or(Timestamp::MAX);
        let may_go_elsewhere = self.may_go_elsewhere || other.may_go_elsewhere;
        let is_waited_for = self.is_waited_for || other.is_waited_for;
        let sooner = if may_end(&other) < may_end(&self) {
            other
        } else {
            self
        };
        Self {
            may_go_elsewhere,
            is_waited_for,
            ..sooner
        }
    }

    /// What holds if both stop a route.
    fn and(self, other: Self) -> Self {
        let lasts = |stop: &Self| stop.until.unwrap_or(Timestamp::MAX);
        let may_go_elsewhere = self.may_go_elsewhere && other.may_go_elsewhere;
        let is_waited_for = self.is_waited_for && other.is_waited_for;
        let longer = if lasts(&other) > lasts(&self) {
            other
        } else {
            self
        };
        Self {
            may_go_elsewhere,
            is_waited_for,
            // Letting one through shows nothing while another stands.
            probe_at: None,
            ..longer
        }
    }
}

/// Which routes and gateways are stopped for a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stops {
    free_form: Option<Stop>,
    template: Option<Stop>,
    sms: Option<Stop>,
    /// By the gateway's name.
    gateways: BTreeMap<String, Stop>,
}

impl Stops {
    /// Joins the halts, each with its id, that are in force for a message.
    pub fn of<'a>(
        halts: impl IntoIterator<Item = (&'a str, &'a Halt)>,
        sending: &Sending,
        now: Timestamp,
    ) -> Self {
        let mut stops = Self::default();
        for (id, halt) in halts {
            if !halt.is_in_force(now) {
                continue;
            }
            if let Some(gateway) = halt.stops_gateway(sending) {
                let stop = halt.stop(id);
                let stop = match stops.gateways.remove(gateway) {
                    Some(before) => before.and(stop),
                    None => stop,
                };
                stops.gateways.insert(gateway.to_owned(), stop);
            }
            for (route, place) in [
                (Route::FreeForm, &mut stops.free_form),
                (Route::Template, &mut stops.template),
                (Route::Sms, &mut stops.sms),
            ] {
                if halt.stops(route, sending) {
                    let stop = halt.stop(id);
                    *place = Some(match place.take() {
                        Some(before) => before.and(stop),
                        None => stop,
                    });
                }
            }
        }
        stops
    }

    /// Adds what stops templates besides halts.
    #[must_use]
    pub fn with_template(mut self, stop: Stop) -> Self {
        self.template = Some(match self.template.take() {
            Some(before) => before.and(stop),
            None => stop,
        });
        self
    }

    /// Adds what stops every WhatsApp message besides halts.
    #[must_use]
    pub fn with_whatsapp(mut self, stop: Stop) -> Self {
        self.free_form = Some(match self.free_form.take() {
            Some(before) => before.and(stop.clone()),
            None => stop.clone(),
        });
        self.with_template(stop)
    }

    /// Returns what stops SMS through a gateway, besides what stops all SMS.
    pub fn on_gateway(&self, name: &str) -> Option<&Stop> {
        self.gateways.get(name)
    }

    /// Returns what stops a call: its route, or the gateway that it is to go through.
    pub fn on_call(&self, route: Route, gateway: &str) -> Option<&Stop> {
        let by_gateway = || (route == Route::Sms).then(|| self.on_gateway(gateway))?;
        self.on(route).or_else(by_gateway)
    }

    /// Returns what stops a route; nothing ever stops a message from being held.
    pub fn on(&self, route: Route) -> Option<&Stop> {
        match route {
            Route::FreeForm => self.free_form.as_ref(),
            Route::Template => self.template.as_ref(),
            Route::Sms => self.sms.as_ref(),
            Route::Hold => None,
        }
    }
}

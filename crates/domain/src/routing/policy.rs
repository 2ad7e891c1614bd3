//! Policies: named orders of routes, each route with conditions of the team's own.
//!
//! A condition only ever rules out: what the platform, the window or the customer forbids stays
//! forbidden whatever a policy says. Names, and which policy is whose, are not known here.

use jiff::Timestamp;

use super::quiet::QuietHours;
use super::{Finding, Input, Purpose, Route, against, capital, opt_in};
use crate::consent::Channel;
use crate::money::Amount;

/// A named order of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What to try, first one first. A route may be there more than once, under other conditions.
    pub steps: Vec<Step>,
}

/// A route, and when a policy takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The route.
    pub route: Route,
    /// All of these have to hold.
    pub conditions: Conditions,
}

/// What has to hold, besides what always has, for a route to be taken. Nothing, by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// How the window is.
    pub window: Option<WindowIs>,
    /// What the message is for: one of these, or anything if there are none.
    pub purposes: Vec<Purpose>,
    /// The customer must not have stopped any of these.
    pub unless_stopped: Vec<Stoppable>,
    /// The customer must have opted in to what the message is for, on the route's channel, from one
    /// of these sources, or from any if it names none; in an open window, too.
    pub opt_in: Option<Vec<String>>,
    /// Not in these hours of the customer's day.
    pub quiet_hours: Option<QuietHours>,
    /// It must cost no more, and the cost be known.
    pub max_cost: Option<Amount>,
}

/// A state of the window. One that ends within the guard band counts as closed: free-form is not
/// sure to be taken any more, and waiting would leave nothing to take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowIs {
    /// Open.
    Open,
    /// Closed, or never opened.
    Closed,
}

/// What a customer can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stoppable {
    /// What sells, on any channel.
    Marketing,
    /// SMS, whatever for.
    Sms,
}

impl From<Route> for Step {
    fn from(route: Route) -> Self {
        Self {
            route,
            conditions: Conditions::default(),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            steps: Route::ALL.map(Step::from).to_vec(),
        }
    }
}

impl Policy {
    /// Returns whether any of its routes has quiet hours: only then does it matter where the
    /// customer is.
    pub fn has_quiet_hours(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.conditions.quiet_hours.is_some())
    }
}

impl Purpose {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Utility => "UTILITY",
            Self::Authentication => "AUTHENTICATION",
            Self::Marketing => "MARKETING",
        }
    }
}

/// Returns what is left of a finding under a step's conditions, quiet hours excepted.
pub(super) fn weigh(step: &Step, finding: Finding, input: &Input<'_>, now: Timestamp) -> Finding {
    if !finding.is_eligible {
        return finding;
    }
    let conditions = &step.conditions;
    let mut finding = finding;
    if let Some(wanted) = conditions.window
        && wanted != window_is(input, now)
    {
        let word = match wanted {
            WindowIs::Open => "open",
            WindowIs::Closed => "closed",
        };
        finding.facts.push(format!("policy_window={word}"));
        let text = format!(
            "The policy takes {} only while the window is {word}.",
            step.route.as_str()
        );
        return against("POLICY_WINDOW", finding.facts, text);
    }
    if !conditions.purposes.is_empty() && !conditions.purposes.contains(&input.purpose) {
        let words: Vec<_> = conditions.purposes.iter().map(|one| one.as_str()).collect();
        finding
            .facts
            .push(format!("purpose={}", input.purpose.as_str()));
        finding
            .facts
            .push(format!("policy_purposes={}", words.join(",")));
        let text = format!(
            "The policy takes {} only for {}.",
            step.route.as_str(),
            words.join(", ")
        );
        return against("POLICY_PURPOSE", finding.facts, text);
    }
    for stoppable in &conditions.unless_stopped {
        let (is_stopped, reason, text) = match stoppable {
            Stoppable::Marketing => (
                input.consent.refusals.marketing,
                "MARKETING_STOPPED",
                "The customer stopped marketing, and the policy heeds that here.",
            ),
            Stoppable::Sms => (
                input.consent.refusals.sms,
                "SMS_STOPPED",
                "The customer stopped SMS, and the policy heeds that here.",
            ),
        };
        if is_stopped {
            finding.facts.push(input.consent.fact());
            return against(reason, finding.facts, text);
        }
    }
    if let Some(sources) = &conditions.opt_in
        && let Some(channel) = channel(step.route)
    {
        finding = opt_in::needed(finding, input, input.consent.on(channel), sources);
        if !finding.is_eligible {
            return finding;
        }
    }
    match conditions.max_cost {
        Some(limit) => within(step.route, limit, finding, input),
        None => finding,
    }
}

/// The channel that a route goes by; `None` for a hold, which goes nowhere.
fn channel(route: Route) -> Option<Channel> {
    match route {
        Route::FreeForm | Route::Template => Some(Channel::Whatsapp),
        Route::Sms => Some(Channel::Sms),
        Route::Hold => None,
    }
}

fn within(route: Route, limit: Amount, mut finding: Finding, input: &Input<'_>) -> Finding {
    finding.facts.push(format!("policy_max_cost={limit}"));
    let name = capital(route.as_str());
    match input.costs.of(route) {
        Some(cost) if cost.currency == limit.currency && cost.micros <= limit.micros => finding,
        Some(cost) if cost.currency == limit.currency => {
            finding.facts.push(format!("cost={cost}"));
            let text = format!("{name} would cost {cost}; the policy allows {limit}.");
            against("POLICY_COST", finding.facts, text)
        }
        Some(cost) => {
            finding.facts.push(format!("cost={cost}"));
            let text = format!("{name} would cost {cost}, which cannot be held against {limit}.");
            against("COST_UNKNOWN", finding.facts, text)
        }
        None => {
            let text = format!(
                "What {} costs is not known; the policy allows {limit}.",
                route.as_str()
            );
            against("COST_UNKNOWN", finding.facts, text)
        }
    }
}

fn window_is(input: &Input<'_>, now: Timestamp) -> WindowIs {
    let is_open = input.window.is_open(input.window_policy, now);
    match window_end(input) {
        Some(end) if is_open && now < end => WindowIs::Open,
        _ => WindowIs::Closed,
    }
}

/// When the window counts as closed here.
fn window_end(input: &Input<'_>) -> Option<Timestamp> {
    let expires_at = input.window.expires_at(input.window_policy)?;
    expires_at.checked_sub(input.window_policy.guard).ok()
}

/// Returns when time alone changes what the policy's conditions say.
pub(super) fn next_change(input: &Input<'_>, now: Timestamp) -> Option<Timestamp> {
    let conditions = || input.policy.steps.iter().map(|step| &step.conditions);
    let heeds_window = conditions().any(|one| one.window.is_some());
    let closes = window_end(input)
        .filter(|end| heeds_window && *end > now && window_is(input, now) == WindowIs::Open);
    let hours = conditions().filter_map(|one| one.quiet_hours);
    hours
        .filter_map(|hours| hours.next_change(input.zones.all(), now))
        .chain(closes)
        .min()
}

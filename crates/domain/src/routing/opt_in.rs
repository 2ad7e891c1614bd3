//! What the customer's consent does to a route: refusals, and opt-ins where one is needed.
//!
//! A reply in an open window needs no opt-in: the customer asked for it. Whoever writes outside a
//! window writes first, whatever for. Which words are in force is `consent`'s to say.

use jiff::Timestamp;

use super::{Finding, Input, Purpose, Route, against};
use crate::consent::{Channel, OnChannel, Scope};

/// When an opt-in has to be on record, or vouched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Need {
    /// Never. Refusals count all the same.
    Never,
    /// While the window is closed.
    #[default]
    BusinessInitiated,
    /// Always, in an open window, too.
    Always,
}

/// What is asked of an opt-in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// When there has to be one.
    pub need: Need,
    /// The sources that count; any, if none is named.
    pub sources: Vec<String>,
}

impl From<Purpose> for Scope {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Service => Self::Service,
            Purpose::Utility => Self::Utility,
            Purpose::Authentication => Self::Authentication,
            Purpose::Marketing => Self::Marketing,
        }
    }
}

/// Returns what is left of a finding under what the customer allows.
pub(super) fn weigh(route: Route, finding: Finding, input: &Input<'_>, now: Timestamp) -> Finding {
    if !finding.is_eligible {
        return finding;
    }
    let channel = match route {
        Route::FreeForm | Route::Template => Channel::Whatsapp,
        Route::Sms => Channel::Sms,
        Route::Hold => return weigh_hold(finding, input),
    };
    let on = input.consent.on(channel);
    if let Some(scope) = on.refused
        && !is_answer(route, scope, input.purpose)
    {
        return refused(finding, input, channel, scope);
    }
    let requirement = input.opt_in;
    let is_needed = match requirement.need {
        Need::Never => false,
        Need::BusinessInitiated => !input.window.is_open(input.window_policy, now),
        Need::Always => true,
    };
    if is_needed {
        needed(finding, input, on, &requirement.sources)
    } else {
        finding
    }
}

/// Whether it answers a customer in an open window who refused something else: whoever stopped
/// everything and writes again is answered, but gets no templates and nothing that sells.
fn is_answer(route: Route, refused: Scope, purpose: Purpose) -> bool {
    route == Route::FreeForm
        && match purpose {
            Purpose::Marketing => false,
            Purpose::Service => true,
            Purpose::Utility | Purpose::Authentication => refused == Scope::Everything,
        }
}

/// What is held goes out over WhatsApp once the customer writes, and would be refused there.
fn weigh_hold(finding: Finding, input: &Input<'_>) -> Finding {
    let on = input.consent.on(Channel::Whatsapp);
    match on.refused {
        Some(scope) if input.purpose == Purpose::Marketing => {
            refused(finding, input, Channel::Whatsapp, scope)
        }
        _ => finding,
    }
}

fn refused(mut finding: Finding, input: &Input<'_>, channel: Channel, scope: Scope) -> Finding {
    rest_on_record(&mut finding, input);
    let (reason, text) = match (scope, channel) {
        (Scope::Marketing, _) => ("MARKETING_STOPPED", "The customer stopped marketing."),
        (Scope::Everything, Channel::Sms) => ("SMS_STOPPED", "The customer stopped SMS."),
        (Scope::Everything, Channel::Whatsapp) => (
            "OPTED_OUT",
            "The customer opted out of messages on WhatsApp.",
        ),
        _ => (
            "OPTED_OUT",
            "The customer opted out of messages of this kind.",
        ),
    };
    against(reason, finding.facts, text)
}

/// Returns what is left of a finding where an opt-in is needed.
pub(super) fn needed(
    mut finding: Finding,
    input: &Input<'_>,
    on: &OnChannel,
    sources: &[String],
) -> Finding {
    rest_on_record(&mut finding, input);
    if let Some(opt_in) = on.opt_in(sources) {
        finding.facts.push(format!("opt_in={}", opt_in.source));
        finding.facts.push(format!("opt_in_time={}", opt_in.at));
        if opt_in.is_asserted {
            finding.facts.push("opt_in_asserted=true".to_owned());
        }
        return finding;
    }
    let purpose = input.purpose.as_str();
    finding.facts.push(format!("purpose={purpose}"));
    if !sources.is_empty() {
        let sources = sources.join(",");
        finding.facts.push(format!("opt_in_sources={sources}"));
    }
    let text = if on.opt_ins.is_empty() {
        format!("No opt-in of the customer to {purpose} messages here is on record.")
    } else {
        format!("The customer's opt-in to {purpose} messages is from no source that counts here.")
    };
    against("NO_OPT_IN", finding.facts, text)
}

fn rest_on_record(finding: &mut Finding, input: &Input<'_>) {
    let fact = input.consent.fact();
    if !finding.facts.contains(&fact) {
        finding.facts.push(fact);
    }
}

//! Routing: which way a message goes, and why not the others.
//!
//! `route` is pure and total: for any input it gives every route of the policy a verdict with
//! a reason, and chooses at most one. It does not send, wait or count; what it needs to know
//! comes in, the time included.

mod cost;
mod halted;
pub mod hold;
mod opt_in;
mod policy;
mod quiet;
mod template;
mod us;
mod zones;

use jiff::Timestamp;

use crate::consent::Standing;
use crate::halt::{Stop, Stops};
use crate::money::Costs;
use crate::sms::Offer;
use crate::window::{ClosedReason, Facts, FreeForm, Policy as WindowPolicy};
use halted::Halted;
use quiet::Quiet;

pub use opt_in::{Need, Requirement};
pub use policy::{Conditions, Policy, Step, Stoppable, WindowIs};
pub use quiet::QuietHours;
pub use us::is_of_the_us;
pub use zones::{KnownBy, Zones, zone};

mod sms;

/// A way to reach the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// A free-form WhatsApp message; needs an open window.
    FreeForm,
    /// An approved WhatsApp template.
    Template,
    /// An SMS.
    Sms,
    /// Not yet: wait until the customer writes.
    Hold,
}

impl Route {
    /// Every route, in the order of the default policy.
    pub const ALL: [Self; 4] = [Self::FreeForm, Self::Template, Self::Sms, Self::Hold];

    /// Routes that go out over WhatsApp.
    pub const WHATSAPP: [Self; 2] = [Self::FreeForm, Self::Template];

    /// Returns the word for people and facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FreeForm => "free-form",
            Self::Template => "template",
            Self::Sms => "SMS",
            Self::Hold => "hold",
        }
    }
}

/// What became of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message goes this way.
    Chosen,
    /// Would have done, but one before it was chosen.
    Eligible,
    /// Cannot be used.
    RuledOut,
}

/// One route that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: Route,
    /// What became of it.
    pub verdict: Verdict,
    /// Stable, for programs.
    pub reason: &'static str,
    /// What it rests on, as name=value. Nothing personal.
    pub facts: Vec<String>,
    /// One sentence, for people.
    pub text: String,
}

/// Which way a message goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The route; `None` if none is eligible.
    pub chosen: Option<Route>,
    /// Every step of the policy, in its order.
    pub candidates: Vec<Candidate>,
    /// Name of the policy.
    pub policy: String,
    /// As of when.
    pub decided_at: Timestamp,
    /// When time alone changes it; `None` if it does not.
    pub next_change_at: Option<Timestamp>,
    /// When rates allow the call.
    pub earliest_send_at: Timestamp,
    /// Whether the window was open.
    pub window_open: bool,
    /// When the window ends or ended.
    pub window_expires_at: Option<Timestamp>,
    /// The template's category, if one was asked for and is known.
    pub template_category: Option<TemplateCategory>,
    /// Encoding and number of segments, if it could go as SMS.
    pub sms: Option<SmsSize>,
    /// The country that the SMS would go to, by its calling code: with the segments, what it is
    /// priced by.
    pub sms_calling_code: Option<String>,
    /// The gateways that could carry it, the one that will first; empty if it cannot go as SMS.
    pub sms_gateways: Vec<String>,
    /// Until when it would be held.
    pub hold_until: Timestamp,
    /// The halt that stands before the first route that would otherwise do. If nothing is chosen,
    /// its end is waited for.
    pub halted_by: Option<Stop>,
    /// When the quiet hours end that stand before a route that would otherwise do, if that is
    /// before the message's own end. If nothing is chosen, that is waited for.
    pub quiet_until: Option<Timestamp>,
    /// What each route would cost.
    pub costs: Costs,
}

impl Decision {
    /// Returns whether a message for which nothing is chosen has something to wait for: the end of
    /// a halt, or of quiet hours.
    pub fn can_wait(&self) -> bool {
        self.halted_by.is_some() || self.quiet_until.is_some()
    }

    /// Returns what became of a route, the best if the policy has it more than once; `None` if it
    /// does not have it.
    pub fn candidate(&self, route: Route) -> Option<&Candidate> {
        let all = || self.candidates.iter().filter(move |one| one.route == route);
        [Verdict::Chosen, Verdict::Eligible, Verdict::RuledOut]
            .into_iter()
            .find_map(|verdict| all().find(|one| one.verdict == verdict))
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answering a customer.
    Service,
    /// About something agreed on, such as an order.
    Utility,
    /// A code to sign in with.
    Authentication,
    /// Anything that sells.
    Marketing,
}

/// The category that the platform gave a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateCategory {
    /// About something agreed on.
    Utility,
    /// Codes.
    Authentication,
    /// Anything that sells.
    Marketing,
}

impl TemplateCategory {
    /// Returns the platform's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utility => "UTILITY",
            Self::Authentication => "AUTHENTICATION",
            Self::Marketing => "MARKETING",
        }
    }
}

/// A template as the message asks for it, and as the account has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Name and language, for the reason given.
    pub name: String,
    /// How many body parameters the message gives.
    pub given_parameters: usize,
    /// What does not fit of what it is filled in with, for people; `None` if all does, or nobody
    /// knows what the template is made of.
    pub misfit: Option<String>,
    /// The customer's phone is a number of the United States.
    pub is_to_us: bool,
    /// What the account knows of it; `None` if nothing.
    pub known: Option<KnownTemplate>,
}

/// A template as the account has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTemplate {
    /// Its category; `None` if never said.
    pub category: Option<TemplateCategory>,
    /// Whether the platform approved it and has not paused it since.
    pub is_usable: bool,
    /// The platform's word for its status.
    pub status: String,
    /// How many body parameters it takes.
    pub parameters: usize,
    /// It hands out a one-time code by a button.
    pub has_code: bool,
    /// When the pause that it is in ends by itself, as far as is known.
    pub paused_until: Option<Timestamp>,
    /// What else is on record that a decision should show, as name=value.
    pub facts: Vec<String>,
}

/// How large an SMS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsSize {
    /// GSM-7 or UCS-2.
    pub encoding: &'static str,
    /// Segments that are paid for.
    pub segments: u32,
    /// Units of the text: septets, or UTF-16 units.
    pub units: u32,
}

/// The account's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The number can send WhatsApp messages: it has an id and a token.
    pub has_whatsapp: bool,
    /// Why it never will again; `None` if it may.
    pub gone: Option<Gone>,
}

/// Why a number sends nothing on WhatsApp any more, whatever a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It was deregistered through Casement.
    Deregistered,
    /// It went to a business account or provider that is not here.
    MigratedAway,
}

impl Gone {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deregistered => "NUMBER_DEREGISTERED",
            Self::MigratedAway => "NUMBER_MIGRATED_AWAY",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Deregistered => "The number was deregistered from the platform.",
            Self::MigratedAway => "The number went to another business account or provider.",
        }
    }
}

/// All that a decision rests on.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The order of routes.
    pub policy: &'a Policy,
    /// The zones that the customer may be in; only looked at for quiet hours.
    pub zones: &'a Zones,
    /// What is true of the window.
    pub window: &'a Facts,
    /// How the window is counted.
    pub window_policy: &'a WindowPolicy,
    /// What the message is for.
    pub purpose: Purpose,
    /// The message has free-form content.
    pub has_free_form: bool,
    /// The template that the message gives.
    pub template: Option<&'a Template>,
    /// Size of the text that would go as SMS.
    pub sms: Option<SmsSize>,
    /// The customer's phone is known.
    pub has_phone: bool,
    /// The calling code of the customer's country, if the phone is known.
    pub calling_code: Option<&'a str>,
    /// Who could send an SMS there.
    pub sms_offer: &'a Offer,
    /// Gateways that have failed for this message and are not tried again.
    pub exhausted_gateways: &'a [String],
    /// The customer can be addressed on WhatsApp, by phone or user id.
    pub has_whatsapp_address: bool,
    /// The account's side.
    pub sender: Sender,
    /// How the customer stands to messages of this purpose.
    pub consent: &'a Standing,
    /// What is asked of an opt-in to them.
    pub opt_in: &'a Requirement,
    /// Routes that have failed for this message and are not tried again.
    pub exhausted: &'a [Route],
    /// What is halted for this message.
    pub stops: &'a Stops,
    /// What each route would cost, and what is left of the caps.
    pub costs: &'a Costs,
    /// The messages to the customer that are held.
    pub hold: hold::Queue,
    /// When rates allow the next call.
    pub ready_at: Timestamp,
    /// When the message is no longer worth sending.
    pub expires_at: Timestamp,
}

/// What can be said for or against one route.
struct Finding {
    is_eligible: bool,
    reason: &'static str,
    facts: Vec<String>,
    text: String,
}

fn for_it(reason: &'static str, facts: Vec<String>, text: impl Into<String>) -> Finding {
    Finding {
        is_eligible: true,
        reason,
        facts,
        text: text.into(),
    }
}

fn against(reason: &'static str, facts: Vec<String>, text: impl Into<String>) -> Finding {
    Finding {
        is_eligible: false,
        reason,
        facts,
        text: text.into(),
    }
}

/// Decides which way a message goes now.
pub fn route(input: &Input<'_>, now: Timestamp) -> Decision {
    let mut chosen = None;
    let mut halts = Halted::default();
    let mut quiet = Quiet::default();
    let mut candidates = Vec::with_capacity(input.policy.steps.len());
    for step in &input.policy.steps {
        let (route, is_decided) = (step.route, chosen.is_some());
        let finding = opt_in::weigh(route, consider(route, input, now), input, now);
        let finding = policy::weigh(step, finding, input, now);
        let finding = cost::weigh(route, finding, input);
        let finding = quiet.weigh(step, finding, input, is_decided, now);
        let finding = halts.weigh(route, finding, input, is_decided);
        let verdict = match (finding.is_eligible, chosen) {
            (false, _) => Verdict::RuledOut,
            (true, None) => {
                chosen = Some(route);
                Verdict::Chosen
            }
            (true, Some(_)) => Verdict::Eligible,
        };
        candidates.push(Candidate {
            route,
            verdict,
            reason: finding.reason,
            facts: finding.facts,
            text: finding.text,
        });
    }
    let can_go_as_sms = candidates
        .iter()
        .any(|one: &Candidate| one.route == Route::Sms && one.verdict != Verdict::RuledOut);
    let sms_gateways = if can_go_as_sms {
        let left = sms::open_gateways(input);
        left.into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let next_change_at = match input.window.free_form(input.window_policy, now) {
        FreeForm::Allowed { until } => Some(until),
        FreeForm::Refused(_) => None,
    };
    let next_change_at = next_change_at
        .into_iter()
        .chain(policy::next_change(input, now))
        .min();
    // Rates are the platform's; another channel does not wait for them.
    let earliest_send_at = match chosen {
        Some(Route::FreeForm | Route::Template) => input.ready_at.max(now),
        Some(Route::Sms | Route::Hold) => now,
        None => quiet.until.or(halts.limited_until()).unwrap_or(now),
    };
    Decision {
        chosen,
        candidates,
        policy: input.policy.name.clone(),
        decided_at: now,
        next_change_at,
        earliest_send_at,
        window_open: input.window.is_open(input.window_policy, now),
        window_expires_at: input.window.expires_at(input.window_policy),
        template_category: input.template.and_then(|one| one.known.as_ref()?.category),
        sms: input.sms.clone(),
        sms_calling_code: input.calling_code.map(str::to_owned),
        sms_gateways,
        hold_until: input.expires_at,
        halted_by: halts.first,
        quiet_until: quiet.until,
        costs: input.costs.clone(),
    }
}

fn consider(route: Route, input: &Input<'_>, now: Timestamp) -> Finding {
    if input.exhausted.contains(&route) {
        let text = format!(
            "{} is not tried again for this message.",
            capital(route.as_str())
        );
        return against("ROUTE_EXHAUSTED", Vec::new(), text);
    }
    match route {
        Route::FreeForm => free_form(input, now),
        Route::Template => template::consider(input),
        Route::Sms => sms::consider(input),
        Route::Hold => hold::consider(input, now),
    }
}

fn free_form(input: &Input<'_>, now: Timestamp) -> Finding {
    if !input.has_free_form {
        return against(
            "NO_FREE_FORM_CONTENT",
            Vec::new(),
            "The message has no free-form content.",
        );
    }
    if let Some(finding) = no_whatsapp(input) {
        return finding;
    }
    let expires_at = input.window.expires_at(input.window_policy);
    let fact = |at: Option<Timestamp>| match at {
        Some(at) => vec![format!("window_expire_time={at}")],
        None => vec!["window=never_opened".to_owned()],
    };
    match input.window.free_form(input.window_policy, now) {
        FreeForm::Allowed { until } => for_it(
            "WINDOW_OPEN",
            fact(expires_at),
            format!("The window is open; free-form is permitted until {until}."),
        ),
        FreeForm::Refused(refusal) => {
            let text = match (refusal.as_str(), expires_at) {
                ("GUARD_BAND", _) => "The window ends too soon to be sure of it.".to_owned(),
                ("THREAD_OWNED_BY_OTHER", _) => "Another responder owns the thread.".to_owned(),
                (_, None) => "The customer has never written to this number.".to_owned(),
                (_, Some(at)) => closed_text(input, at),
            };
            against(refusal.as_str(), fact(expires_at), text)
        }
    }
}

/// Says how a window closed that ran, or would have run, until a time.
fn closed_text(input: &Input<'_>, until: Timestamp) -> String {
    let Some((at, reason)) = input.window.cut(input.window_policy) else {
        return format!("The window closed at {until}.");
    };
    match reason {
        ClosedReason::NumberMigrated => format!(
            "The number moved to another account at {at}, and whether a window outlives that is not documented."
        ),
        ClosedReason::UserIdChanged => format!(
            "The customer got another user id at {at}, and whether a window outlives that is not documented."
        ),
        _ => format!("Meta refused free-form although the window ran until {until}."),
    }
}

fn no_whatsapp(input: &Input<'_>) -> Option<Finding> {
    if let Some(gone) = input.sender.gone {
        return Some(against(gone.as_str(), Vec::new(), gone.text()));
    }
    if !input.sender.has_whatsapp {
        let text = "The number is not set up to send on WhatsApp.";
        return Some(against("NUMBER_NOT_CONNECTED", Vec::new(), text));
    }
    (!input.has_whatsapp_address).then(|| {
        against(
            "NO_WHATSAPP_ADDRESS",
            Vec::new(),
            "Neither phone nor user id of the customer is known.",
        )
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests;

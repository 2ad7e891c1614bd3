//! Routing: which way a message goes, and why not the others.
//!
//! `route` is pure and total: for any input it gives every route of the policy a verdict with
//! a reason, and chooses at most one. It does not send, wait or count; what it needs to know
//! comes in, the time included.

mod halted;

use jiff::Timestamp;

use crate::consent::Refusals;
use crate::halt::{Stop, Stops};
use crate::sms::Offer;
use crate::window::{ClosedReason, Facts, FreeForm, Policy as WindowPolicy};
use halted::Halted;

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
    /// Every route of the policy, in its order.
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
}

impl Decision {
    /// Returns what became of a route; `None` if the policy does not have it.
    pub fn candidate(&self, route: Route) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|candidate| candidate.route == route)
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
}

/// A named order of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Routes to try, first one first.
    pub routes: Vec<Route>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            routes: Route::ALL.to_vec(),
        }
    }
}

/// All that a decision rests on.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The order of routes.
    pub policy: &'a Policy,
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
    /// What the customer refuses.
    pub consent: Refusals,
    /// Routes that have failed for this message and are not tried again.
    pub exhausted: &'a [Route],
    /// What is halted for this message.
    pub stops: &'a Stops,
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
    let mut candidates = Vec::with_capacity(input.policy.routes.len());
    for route in input.policy.routes.iter().copied() {
        let finding = halts.weigh(route, consider(route, input, now), input, chosen.is_some());
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
        let left = sms::gateways(input);
        left.into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let next_change_at = match input.window.free_form(input.window_policy, now) {
        FreeForm::Allowed { until } => Some(until),
        FreeForm::Refused(_) => None,
    };
    // Rates are the platform's; another channel does not wait for them.
    let earliest_send_at = match chosen {
        Some(Route::FreeForm | Route::Template) => input.ready_at.max(now),
        Some(Route::Sms | Route::Hold) | None => now,
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
        Route::Template => template(input),
        Route::Sms => sms::consider(input),
        Route::Hold => hold(input, now),
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

fn template(input: &Input<'_>) -> Finding {
    let Some(asked) = input.template else {
        return against(
            "NO_TEMPLATE_CONTENT",
            Vec::new(),
            "The message names no template.",
        );
    };
    if let Some(finding) = no_whatsapp(input) {
        return finding;
    }
    let name = &asked.name;
    let Some(known) = &asked.known else {
        let text = format!("The account has no template {name}.");
        return against("TEMPLATE_UNKNOWN", vec![format!("template={name}")], text);
    };
    let category = known.category.map_or("UNKNOWN", TemplateCategory::as_str);
    let mut facts = vec![
        format!("template={name}"),
        format!("status={}", known.status),
        format!("category={category}"),
    ];
    if known.category == Some(TemplateCategory::Marketing) {
        facts.push(input.consent.fact());
    }
    if !known.is_usable {
        let text = format!("Template {name} is {}.", known.status);
        return against("TEMPLATE_NOT_USABLE", facts, text);
    }
    if known.parameters != asked.given_parameters {
        let (takes, given) = (known.parameters, asked.given_parameters);
        let text = format!("Template {name} takes {takes} body parameters, and {given} are given.");
        return against("TEMPLATE_PARAMETERS", facts, text);
    }
    match known.category {
        Some(TemplateCategory::Marketing) if input.purpose != Purpose::Marketing => {
            let text = format!("Template {name} is marketing, and the message is not.");
            against("TEMPLATE_IS_MARKETING", facts, text)
        }
        Some(TemplateCategory::Marketing) if input.consent.marketing => against(
            "MARKETING_STOPPED",
            facts,
            "The customer stopped marketing.",
        ),
        Some(_) => for_it(
            "TEMPLATE_USABLE",
            facts,
            format!("Template {name} is approved."),
        ),
        None => {
            let text = format!("The category of template {name} is not known.");
            against("TEMPLATE_CATEGORY_UNKNOWN", facts, text)
        }
    }
}

fn hold(input: &Input<'_>, now: Timestamp) -> Finding {
    let facts = vec![format!("expire_time={}", input.expires_at)];
    if !input.has_free_form {
        let text = "The message has no free-form content to send once the customer writes.";
        return against("NO_FREE_FORM_CONTENT", facts, text);
    }
    if !input.sender.has_whatsapp || input.exhausted.contains(&Route::FreeForm) {
        let text = "Free-form could not be sent even if the customer wrote.";
        return against("FREE_FORM_IMPOSSIBLE", facts, text);
    }
    if now >= input.expires_at {
        return against(
            "TTL_PASSED",
            facts,
            "The message is no longer worth sending.",
        );
    }
    let text = format!("It can wait for the customer until {}.", input.expires_at);
    for_it("CAN_WAIT", facts, text)
}

fn no_whatsapp(input: &Input<'_>) -> Option<Finding> {
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

//! A message of ours as people read it: what it says, how far it has come, by which attempts, and
//! why it went that way.
//!
//! Pure. [`Sent::take`] is given what happened to it, oldest first.

use std::collections::HashMap;

use casement_proto::conversation::v1::{TimelineDetail, TimelineItem};
use casement_proto::events::v1::{
    DeliveryStatus, MessageOutcome, Purpose, Route, TemplateContent, template_parameter,
};
use jiff::Timestamp;

use super::conversation_advice::{self as advice, Failure, words};
use super::conversation_clock::{Moment, moment};
use super::conversation_decision::{DecisionView, money, route_word};
use super::conversation_timeline::{capital, kind};

/// Bodies of templates by name and language, to show what was said by them.
pub(super) type Bodies = HashMap<(String, String), String>;

/// A message of ours with all that came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) message_id: String,
    pub(super) at: Option<Moment>,
    pub(super) author: String,
    /// What it is unless text.
    pub(super) kind: String,
    pub(super) text: String,
    /// Name and language of the template; empty if it has none.
    pub(super) template: String,
    /// What it says as a template, as the customer reads it.
    pub(super) template_text: String,
    /// What it would say as SMS, if that is something else.
    pub(super) sms_text: String,
    pub(super) purpose: &'static str,
    pub(super) is_sensitive: bool,
    /// Requested before what is shown here begins.
    pub(super) is_cut: bool,
    pub(super) quoted: String,
    pub(super) reactions: Vec<String>,
    pub(super) state: State,
    pub(super) attempts: Vec<AttemptView>,
    pub(super) decisions: Vec<DecisionView>,
    /// What to do; empty if there is nothing.
    pub(super) advice: &'static str,
    /// Notable things: contradictions, a double delivery.
    pub(super) remarks: Vec<String>,
}

/// How a message of ours stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) text: String,
    /// `wait`, `ok`, `bad` or `off`: how it is painted.
    pub(super) class: &'static str,
}

impl State {
    fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            class,
        }
    }
}

/// One call to a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AttemptView {
    pub(super) number: u32,
    pub(super) route: &'static str,
    pub(super) gateway: String,
    pub(super) started: Option<Moment>,
    pub(super) result: String,
    pub(super) provider_message_id: String,
    pub(super) failures: Vec<Failure>,
    pub(super) cost: String,
    pub(super) status: DeliveryStatus,
}

impl Sent {
    /// Takes in what happened next.
    pub(super) fn take(
        &mut self,
        at: Option<Moment>,
        event: &str,
        item: &TimelineItem,
        detail: &TimelineDetail,
        bodies: &Bodies,
        now: Timestamp,
    ) {
        if event == "MessageRequested" {
            requested(self, detail, bodies);
        }
        step(self, at, event, item, detail, now);
        let of = match event {
            "AttemptStarted" => format!("Attempt {}", detail.attempt),
            "MessageHeld" => "Held".to_owned(),
            "MessageDeferred" => "Put off".to_owned(),
            "DeliveryOverdue" => "No delivery in time".to_owned(),
            _ => "End".to_owned(),
        };
        let Some(decision) = &detail.decision else {
            return;
        };
        let view = DecisionView::new(of, decision, now);
        // An end repeats the decision that it came by.
        let is_told = event == "MessageEnded"
            && self
                .decisions
                .last()
                .is_some_and(|last| last.decided == view.decided);
        if !view.rows.is_empty() && !is_told {
            self.decisions.push(view);
        }
    }
}

fn requested(sent: &mut Sent, detail: &TimelineDetail, bodies: &Bodies) {
    sent.is_cut = false;
    sent.author.clone_from(&detail.author);
    sent.is_sensitive = detail.sensitive;
    sent.kind = kind(&detail.kind);
    sent.text.clone_from(&detail.text);
    sent.purpose = match detail.purpose() {
        Purpose::Unspecified => "",
        Purpose::Service => "service",
        Purpose::Utility => "utility",
        Purpose::Authentication => "authentication",
        Purpose::Marketing => "marketing",
    };
    if let Some(template) = &detail.template {
        sent.template = format!("{} ({})", template.name, template.language);
        if !detail.sensitive {
            let key = (template.name.clone(), template.language.clone());
            sent.template_text = bodies
                .get(&key)
                .map(|body| filled(body, template))
                .unwrap_or_default();
        }
        if sent.text.is_empty() {
            sent.text.clone_from(&sent.template_text);
        }
    }
    if detail.sms_text != sent.text {
        sent.sms_text.clone_from(&detail.sms_text);
    }
}

/// A template's body with what it was filled in with; what nothing was given for keeps its place.
pub(super) fn filled(body: &str, template: &TemplateContent) -> String {
    let component = template
        .components
        .iter()
        .find(|component| component.r#type.eq_ignore_ascii_case("body"));
    let parameters = component.map_or(&[][..], |component| component.parameters.as_slice());
    let value = |name: &str| {
        let number = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let parameter = number.map_or_else(
            || parameters.iter().find(|parameter| parameter.name == name),
            |index| parameters.get(index),
        )?;
        match parameter.value.as_ref()? {
            template_parameter::Value::Text(text) | template_parameter::Value::DateTime(text) => {
                Some(text.as_str())
            }
            template_parameter::Value::Currency(money) => Some(money.fallback_value.as_str()),
            _ => None,
        }
    };
    let mut text = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            text.push_str("{{");
            rest = after;
            continue;
        };
        if let Some(value) = value(name) {
            text.push_str(value);
        } else {
            text.push_str("{{");
            text.push_str(name);
            text.push_str("}}");
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// What an event changes of a message.
fn step(
    sent: &mut Sent,
    at: Option<Moment>,
    event: &str,
    item: &TimelineItem,
    detail: &TimelineDetail,
    now: Timestamp,
) {
    let until = |what: &str| {
        let until = moment(detail.until_time.as_ref(), now);
        until.map_or_else(String::new, |until| format!("{what}{}", until.text))
    };
    let is_over = |sent: &Sent| matches!(sent.state.class, "bad" | "off");
    match event {
        "MessageRequested" | "MessageReleased" => {
            sent.state = State::new("wait", "Waits for its turn");
        }
        "MessageHeld" => {
            let text = format!("Held until the customer writes{}", until(", until "));
            sent.state = State::new("wait", text);
        }
        "MessageDeferred" => {
            let text = format!("Put off: {}{}", words(&detail.reason), until(", until "));
            sent.state = State::new("wait", text);
        }
        "AttemptStarted" => {
            sent.state = State::new("wait", "Being sent");
            // What is shown is what the customer gets, whatever else was given for other ways.
            match detail.route() {
                Route::Template if !sent.template_text.is_empty() => {
                    sent.text.clone_from(&sent.template_text);
                }
                Route::Sms if !sent.sms_text.is_empty() => {
                    sent.text = std::mem::take(&mut sent.sms_text);
                }
                _ => {}
            }
            let attempt = attempt(sent, detail.attempt);
            attempt.route = route_word(detail.route());
            attempt.gateway = match detail.sms_gateway.as_str() {
                "number" => String::new(),
                gateway => gateway.to_owned(),
            };
            attempt.started = at;
            "being sent".clone_into(&mut attempt.result);
        }
        "AttemptAccepted" => {
            let text = match detail.reason.as_str() {
                "" | "accepted" => "Accepted by the provider".to_owned(),
                other => format!("Taken and kept back by the platform: {}", words(other)),
            };
            let attempt = attempt(sent, detail.attempt);
            attempt
                .provider_message_id
                .clone_from(&detail.provider_message_id);
            if attempt.status == DeliveryStatus::Unspecified {
                "accepted".clone_into(&mut attempt.result);
                sent.state = State::new("wait", text);
            }
        }
        "AttemptRejected" => {
            let attempt = attempt(sent, detail.attempt);
            let by_sms = attempt.route == route_word(Route::Sms);
            let failures = detail.errors.iter();
            attempt.failures = failures
                .map(|error| advice::failure(error, by_sms))
                .collect();
            attempt.result = match until("is tried again at ") {
                again if again.is_empty() => "refused".to_owned(),
                again => format!("refused, {again}"),
            };
            if !is_over(sent) {
                sent.state = State::new("wait", "Refused; what follows is being decided");
            }
        }
        "AttemptUnknown" => {
            let text = format!(
                "Not known whether it went out{}",
                until("; a report may tell until ")
            );
            "outcome not known".clone_into(&mut attempt(sent, detail.attempt).result);
            sent.state = State::new("bad", text);
        }
        "AttemptAbandoned" => {
            attempt(sent, detail.attempt).result =
                format!("outcome not known; by policy: {}", words(&detail.reason));
        }
        "DeliveryAdvanced" => delivered(sent, detail),
        "DeliveryOverdue" | "DoubleExposure" | "DeliveryContradicted" => {
            sent.remarks.push(capital(&item.summary));
        }
        "MessageEnded" => {
            let outcome = detail.outcome();
            sent.advice = advice::after(outcome, &detail.reason);
            if outcome != MessageOutcome::Delivered {
                let reason = match detail.reason.as_str() {
                    "" => String::new(),
                    reason => format!(": {}", words(reason)),
                };
                let class = match outcome {
                    MessageOutcome::Cancelled => "off",
                    _ => "bad",
                };
                let text = format!("{}{reason}", advice::outcome(outcome));
                sent.state = State::new(class, text);
            } else if sent.state.class != "ok" {
                sent.state = State::new("ok", "Delivered");
            }
        }
        "MessageExpired" => sent.state = State::new("bad", "Expired before it could go"),
        "MessageCancelled" => {
            let text = format!("Cancelled by {}", detail.author);
            sent.state = State::new("off", text);
        }
        _ => {}
    }
    if let Some(amount) = detail.cost.as_ref().and_then(|cost| cost.amount.as_ref()) {
        attempt(sent, detail.attempt).cost = money(amount);
    }
}

/// A report moves a message forward, never back: a late `sent` does not undo `delivered`.
fn delivered(sent: &mut Sent, detail: &TimelineDetail) {
    let status = detail.delivery_status();
    let rank = |status: DeliveryStatus| match status {
        DeliveryStatus::Unspecified => 0,
        DeliveryStatus::Sent => 1,
        DeliveryStatus::Failed => 2,
        DeliveryStatus::Delivered => 3,
        DeliveryStatus::Read => 4,
        DeliveryStatus::Played => 5,
    };
    let attempt = attempt(sent, detail.attempt);
    if rank(status) <= rank(attempt.status) {
        return;
    }
    attempt.status = status;
    let word = status_word(status);
    word.to_lowercase().clone_into(&mut attempt.result);
    let best = sent
        .attempts
        .iter()
        .map(|attempt| rank(attempt.status))
        .max();
    if best == Some(rank(status)) {
        let class = match status {
            DeliveryStatus::Failed => "bad",
            DeliveryStatus::Sent => "wait",
            _ => "ok",
        };
        sent.state = State::new(class, word);
    }
}

/// The word for how far a message has come.
pub(super) fn status_word(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Unspecified => "",
        DeliveryStatus::Sent => "Sent",
        DeliveryStatus::Delivered => "Delivered",
        DeliveryStatus::Read => "Read",
        DeliveryStatus::Played => "Played",
        DeliveryStatus::Failed => "Failed",
    }
}

/// The view of an attempt, made if it is new.
fn attempt(sent: &mut Sent, number: u32) -> &mut AttemptView {
    let index = sent.attempts.iter().position(|one| one.number == number);
    let index = index.unwrap_or_else(|| {
        sent.attempts.push(AttemptView {
            number,
            ..AttemptView::default()
        });
        sent.attempts.len() - 1
    });
    &mut sent.attempts[index]
}

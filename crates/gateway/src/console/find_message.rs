//! A message of ours as it is found: how it stands, every attempt, what it cost, why it went that
//! way, and what to do.
//!
//! Pure.

use casement_proto::events::v1::{Cost, CostBasis, DeliveryStatus, MessageOutcome, Route};
use casement_proto::message::v1::{Attempt, Message, MessageState};
use jiff::Timestamp;

use super::conversation_advice::{self as advice, Failure, words};
use super::conversation_clock::{Moment, moment};
use super::conversation_decision::{DecisionView, money, route_word};
use super::conversation_message::status_word;
use super::conversation_timeline::capital;
use super::conversations::href;
use super::view::{Chip, When};

/// A message, for people.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) message_id: String,
    pub(super) href: String,
    pub(super) number: String,
    pub(super) customer_id: String,
    /// The conversation that it belongs to.
    pub(super) conversation: String,
    pub(super) state: Chip,
    /// Stable, for programs.
    pub(super) reason: String,
    /// What is to be done; empty if nothing is.
    pub(super) advice: String,
    pub(super) requested: Option<When>,
    pub(super) ended: Option<When>,
    pub(super) expires: Option<Moment>,
    pub(super) send_at: Option<Moment>,
    pub(super) client_reference: String,
    pub(super) labels: Vec<String>,
    pub(super) cost: String,
    pub(super) attempts: Vec<Tried>,
    /// One for each attempt, and the last if it is another.
    pub(super) decisions: Vec<DecisionView>,
    pub(super) is_sensitive: bool,
    /// Told where it matters: what it waits for, that it arrived twice, its nudge.
    pub(super) remarks: Vec<String>,
    pub(super) nudge: String,
    pub(super) held: String,
}

/// One attempt of it.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) number: u32,
    pub(super) route: &'static str,
    pub(super) gateway: String,
    pub(super) started: Option<Moment>,
    pub(super) state: String,
    pub(super) status: &'static str,
    pub(super) provider_message_id: String,
    pub(super) failure: Option<Failure>,
    pub(super) cost: String,
    pub(super) remark: &'static str,
}

impl Found {
    pub(super) fn new(of: &Message, now: Timestamp) -> Self {
        let attempts: Vec<_> = of.attempts.iter().map(|one| tried(one, now)).collect();
        let mut decisions: Vec<DecisionView> = of
            .attempts
            .iter()
            .filter_map(|attempt| {
                let decision = attempt.decision.as_ref()?;
                let of = format!("Attempt {}", attempt.number);
                Some(DecisionView::new(of, decision, now))
            })
            .collect();
        if let Some(latest) = &of.decision {
            let latest = DecisionView::new("Latest", latest, now);
            let is_told = decisions
                .last()
                .is_some_and(|last| last.decided == latest.decided);
            if !is_told && !latest.rows.is_empty() {
                decisions.push(latest);
            }
        }
        let labels = of.labels.iter().map(|label| match label.value.as_str() {
            "" => label.key.clone(),
            value => format!("{}={value}", label.key),
        });
        Self {
            message_id: of.message_id.clone(),
            href: format!("/messages/{}", of.message_id),
            number: of.number.clone(),
            customer_id: of.customer_id.clone(),
            conversation: href(&of.number, &of.customer_id),
            state: state(of),
            reason: of.reason.clone(),
            advice: what_to_do(of),
            requested: When::of(of.request_time.as_ref(), now),
            ended: When::of(of.end_time.as_ref(), now),
            expires: moment(of.expire_time.as_ref(), now)
                .filter(|_| of.state() != MessageState::Ended),
            send_at: moment(of.send_time.as_ref(), now),
            client_reference: of.client_reference.clone(),
            labels: labels.collect(),
            cost: of.cost.as_ref().map(money).unwrap_or_default(),
            attempts,
            decisions,
            is_sensitive: of.sensitive,
            remarks: remarks(of, now),
            nudge: of.nudge_message_id.clone(),
            held: of.held_message_id.clone(),
        }
    }
}

fn tried(of: &Attempt, now: Timestamp) -> Tried {
    let by_sms = of.route() == Route::Sms;
    Tried {
        number: of.number,
        route: route_word(of.route()),
        gateway: match of.sms_gateway.as_str() {
            "number" => String::new(),
            gateway => gateway.to_owned(),
        },
        started: moment(of.start_time.as_ref(), now),
        state: words(&of.state),
        status: status_word(of.delivery_status()),
        provider_message_id: of.provider_message_id.clone(),
        failure: of
            .error
            .as_ref()
            .map(|error| advice::failure(error, by_sms)),
        cost: of.cost.as_ref().map(cost).unwrap_or_default(),
        remark: match (of.duplicate_risk, of.may_still_arrive) {
            (true, _) => "The customer may get it twice: that risk was accepted.",
            (false, true) => "Another channel was taken; it may still arrive.",
            (false, false) => "",
        },
    }
}

/// What an attempt cost, and by whose word.
fn cost(of: &Cost) -> String {
    let basis = match of.basis() {
        CostBasis::Unspecified => "",
        CostBasis::Estimated => ", expected",
        CostBasis::Reported => ", as reported",
        CostBasis::NotDelivered => return "not billed: not delivered".to_owned(),
    };
    let amount = match &of.amount {
        Some(amount) => money(amount),
        None if of.billable => "no price known".to_owned(),
        None => "not billed".to_owned(),
    };
    let category = match of.category.as_str() {
        "" => String::new(),
        category => format!(" ({category})"),
    };
    format!("{amount}{category}{basis}")
}

fn state(of: &Message) -> Chip {
    if of.state() == MessageState::Ended {
        let text = match (of.outcome(), of.delivery_status()) {
            (MessageOutcome::Delivered, DeliveryStatus::Read | DeliveryStatus::Played) => {
                status_word(of.delivery_status())
            }
            (outcome, _) => advice::outcome(outcome),
        };
        let tone = match of.outcome() {
            MessageOutcome::Delivered => "ok",
            MessageOutcome::Cancelled => "quiet",
            MessageOutcome::Unconfirmed => "warn",
            _ => "bad",
        };
        return Chip::new(tone, text);
    }
    let (tone, text) = match of.state() {
        MessageState::Held => ("warn", "Held until the customer writes"),
        MessageState::Attempting => ("quiet", "Being sent"),
        MessageState::Unknown => ("bad", "Not known whether it went out"),
        MessageState::Accepted => match of.delivery_status() {
            DeliveryStatus::Unspecified => ("quiet", "Accepted by the provider"),
            status => ("quiet", status_word(status)),
        },
        MessageState::Deferred => ("warn", "Put off"),
        MessageState::HeldForQualityAssessment => ("warn", "Kept back by the platform: quality"),
        MessageState::Paused => ("warn", "Kept back by the platform: template paused"),
        MessageState::Pending | MessageState::Unspecified | MessageState::Ended => {
            ("quiet", "Waits for its turn")
        }
    };
    Chip::new(tone, text)
}

fn what_to_do(of: &Message) -> String {
    let words = match of.state() {
        MessageState::Ended => {
            let last = of.attempts.last().and_then(|last| {
                let error = last.error.as_ref()?;
                Some(advice::failure(error, last.route() == Route::Sms).advice)
            });
            match (of.outcome(), last) {
                // What the provider said is closer to the cause.
                (MessageOutcome::Failed, Some(words)) if !words.is_empty() => words,
                (outcome, _) => advice::after(outcome, &of.reason),
            }
        }
        MessageState::Held => {
            "Nothing: it goes when the customer writes. Cancel it if it no longer matters."
        }
        MessageState::Unknown => {
            "Wait: a report may still tell. Do not send it again before that, or the customer may \
             get it twice."
        }
        MessageState::Deferred => "It goes once what stops it is over: see Stuck work.",
        MessageState::HeldForQualityAssessment | MessageState::Paused => {
            "The platform decides. Use another template if it is urgent."
        }
        MessageState::Unspecified
        | MessageState::Pending
        | MessageState::Attempting
        | MessageState::Accepted => "",
    };
    words.to_owned()
}

fn remarks(of: &Message, now: Timestamp) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(deferral) = &of.deferral {
        let until = moment(deferral.until_time.as_ref(), now);
        let until = until.map_or_else(String::new, |until| format!(", until {}", until.text));
        remarks.push(format!("Put off: {}{until}.", words(&deferral.cause)));
    }
    if !of.double_exposure.is_empty() {
        remarks.push("The customer got it twice.".to_owned());
    }
    if let Some(overdue) = moment(of.overdue_time.as_ref(), now) {
        remarks.push(format!(
            "If no delivery is reported by {}, another channel is taken.",
            overdue.text
        ));
    }
    let is_bad = !matches!(
        of.outcome(),
        MessageOutcome::Delivered | MessageOutcome::Unspecified
    );
    if is_bad && !of.reason.is_empty() {
        remarks.push(format!("{}.", capital(&words(&of.reason))));
    }
    remarks
}

#[cfg(test)]
#[path = "find_message_tests.rs"]
mod tests;

//! Holding: whether a message may wait for its customer, and what asks the customer to write.
//!
//! It counts nothing and keeps no queue: how many are held already comes in.

use jiff::Timestamp;

use super::{Decision, Finding, Input, Route, against, for_it};
use crate::window::{Facts, FreeForm, Policy as WindowPolicy};

/// Why a message may not wait: as many as may be are held for its customer.
pub const HOLD_QUEUE_FULL: &str = "HOLD_QUEUE_FULL";

/// The messages to one customer that are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many there are, this message not among them.
    pub held: usize,
    /// How many there may be; `None` for any number.
    pub max: Option<usize>,
    /// This message has its place already, and keeps it.
    pub is_in: bool,
}

impl Queue {
    /// Returns whether there is no place left for this message.
    pub fn is_full(&self) -> bool {
        !self.is_in && self.max.is_some_and(|max| self.held >= max)
    }
}

/// What becomes of the template that asks a customer to write, when a message is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nudge {
    /// It is requested.
    Sent,
    /// The customer was asked already, and has not written since.
    SentBefore,
    /// It cannot go, or would be of no use.
    RuledOut {
        /// Stable, for programs.
        reason: &'static str,
        /// One sentence, for people.
        text: String,
    },
}

impl Nudge {
    /// Returns the stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Sent => "NUDGE_SENT",
            Self::SentBefore => "NUDGE_SENT_BEFORE",
            Self::RuledOut { reason, .. } => reason,
        }
    }

    /// Returns one sentence for people.
    pub fn text(&self) -> &str {
        match self {
            Self::Sent => "A template asks the customer to write.",
            Self::SentBefore => "The customer was asked to write and has not written since.",
            Self::RuledOut { text, .. } => text,
        }
    }
}

pub(super) fn consider(input: &Input<'_>, now: Timestamp) -> Finding {
    let mut facts = vec![format!("expire_time={}", input.expires_at)];
    if !input.has_free_form {
        let text = "The message has no free-form content to send once the customer writes.";
        return against("NO_FREE_FORM_CONTENT", facts, text);
    }
    if let Some(gone) = input.sender.gone {
        return against(gone.as_str(), facts, gone.text());
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
    if let Some(max) = input.hold.max {
        facts.push(format!("held={}", input.hold.held));
        facts.push(format!("held_max={max}"));
    }
    if input.hold.is_full() {
        let text = format!(
            "{} messages to the customer are held already, and no more may be.",
            input.hold.held
        );
        return against(HOLD_QUEUE_FULL, facts, text);
    }
    let text = format!("It can wait for the customer until {}.", input.expires_at);
    for_it("CAN_WAIT", facts, text)
}

/// Returns what becomes of the nudge when a message is held by a decision. `own` is the decision
/// about the nudge itself, which is a message as any other; `None` if the customer was asked since
/// they last wrote.
pub fn nudge(held_by: &Decision, own: Option<&Decision>) -> Nudge {
    const OWNED: &str = "THREAD_OWNED_BY_OTHER";
    let is_owned = held_by
        .candidate(Route::FreeForm)
        .is_some_and(|free_form| free_form.reason == OWNED);
    if is_owned {
        let text = "Another responder owns the thread, whatever the customer writes.".to_owned();
        return Nudge::RuledOut {
            reason: OWNED,
            text,
        };
    }
    let Some(own) = own else {
        return Nudge::SentBefore;
    };
    // What is halted now goes once the halt is over; so with quiet hours.
    if own.chosen.is_some() || own.can_wait() {
        return Nudge::Sent;
    }
    let (reason, text) = own.candidate(Route::Template).map_or(
        ("NO_ROUTE", "No route is open for the nudge.".to_owned()),
        |template| (template.reason, template.text.clone()),
    );
    Nudge::RuledOut { reason, text }
}

/// Returns why a nudge that has not gone yet is of no use any more; `None` if it is.
pub fn needless(
    facts: &Facts,
    policy: &WindowPolicy,
    is_anything_held: bool,
    now: Timestamp,
) -> Option<&'static str> {
    match facts.free_form(policy, now) {
        FreeForm::Allowed { .. } => Some("CUSTOMER_WROTE"),
        FreeForm::Refused(_) if !is_anything_held => Some("NOTHING_HELD"),
        FreeForm::Refused(_) => None,
    }
}

//! The platform's error codes as data: what each means, how far it reaches, what a sender does.
//!
//! Meta asks to branch on `code` alone, never on titles or HTTP status; the same code may come as
//! the answer to a call or in a `failed` status (Meta: error codes). The actions are our own
//! reading. This module advises; policies, back-off and budgets belong to the dispatcher.

mod refused;
mod table;

use std::time::Duration;

pub use refused::{Refused, refused};
pub use table::{Row, rules};

/// Stands where an error carries no code. Zero is a code: a rejected token.
pub const NO_CODE: i64 = -1;

/// What one code means to a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule {
    /// The code that was looked up.
    pub code: i64,
    /// What it says, in our words; fit for people.
    pub meaning: &'static str,
    /// How far it reaches: what else would fail in the same way.
    pub scope: Scope,
    /// What a sender does.
    pub action: Action,
    /// True if an operator should hear of it: nothing gets better by itself.
    pub alert: bool,
    /// False if the code is not in the table, so that the rest is a guess.
    pub known: bool,
}

/// How far an error reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This message alone.
    Message,
    /// This business number with this customer.
    Pair,
    /// This template.
    Template,
    /// This business number.
    Number,
    /// The WhatsApp business account.
    Waba,
    /// The access token.
    Token,
    /// The Meta app.
    App,
}

/// What a sender does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Try the same route again after a back-off, a bounded number of times.
    Retry {
        /// True if the message may have gone out all the same: reconcile before repeating.
        ambiguous: bool,
        /// True if, the retries spent, another route may be taken.
        then_next_route: bool,
    },
    /// Try the same route again, not before `first`; each time `factor` times as long. Holds for
    /// the whole [`Scope`].
    Delay {
        /// The first wait.
        first: Duration,
        /// By how much each wait is longer than the one before.
        factor: u32,
    },
    /// The window is closed, whatever we thought: use a template, else the next route.
    SwitchToTemplate,
    /// The recipient's user id cannot get this: address the phone, else take the next route.
    SwitchToPhone,
    /// Not by this route; another (another template, SMS) may do.
    NextRoute,
    /// Stop for the template, then as [`Action::NextRoute`].
    TemplateUnusable {
        /// What makes it usable again, besides the platform's word that it is approved.
        lift: Lift,
    },
    /// Somebody else has the thread: a template may go, free-form may not.
    ThreadControl,
    /// The customer gets no more marketing for now: not again before `not_before`, and by another
    /// channel only with consent for marketing there.
    MarketingCapped {
        /// How long to wait at least.
        not_before: Duration,
    },
    /// The customer wants no marketing: record it and never send them any.
    SuppressMarketing,
    /// Stop for the whole [`Scope`].
    Halt {
        /// What stops.
        traffic: Traffic,
        /// True if what is stopped may take another channel (SMS) meanwhile.
        next_route: bool,
        /// What ends it, besides an operator.
        lift: Lift,
    },
    /// Not at this endpoint (Meta's marketing endpoint and the ordinary one exclude each other).
    OtherEndpoint,
    /// Give this message up.
    Fail,
    /// Nothing to do: it concerns no message of ours.
    Ignore,
}

/// What a [`Action::Halt`] stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// Every message.
    Everything,
    /// Marketing messages.
    Marketing,
    /// Templates of any category.
    Templates,
}

/// What ends a halt, besides an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lift {
    /// Nothing that we hear of by ourselves.
    Operator,
    /// Another access token.
    NewToken,
    /// Time.
    After(Duration),
    /// One message that is let through after `first`, and accepted. After each that is not, the
    /// next waits `factor` times as long.
    Probe {
        /// The first wait.
        first: Duration,
        /// By how much each wait is longer than the one before.
        factor: u32,
    },
}

impl Action {
    /// Returns whether another route (template, SMS) may carry the message after this.
    pub fn allows_next_route(self) -> bool {
        match self {
            Self::SwitchToTemplate
            | Self::SwitchToPhone
            | Self::NextRoute
            | Self::ThreadControl
            | Self::TemplateUnusable { .. }
            | Self::Retry {
                then_next_route: true,
                ..
            }
            | Self::Halt {
                next_route: true, ..
            } => true,
            Self::Retry {
                then_next_route: false,
                ..
            }
            | Self::Halt {
                next_route: false, ..
            }
            | Self::Delay { .. }
            | Self::MarketingCapped { .. }
            | Self::SuppressMarketing
            | Self::OtherEndpoint
            | Self::Fail
            | Self::Ignore => false,
        }
    }

    /// Returns whether the same route may be tried again without anybody's help.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Delay { .. })
    }
}

/// Returns the rule for a code; for a code that is in no row, [`Action::Fail`] with
/// `known: false`.
///
/// Right for `failed` statuses. For the answer to a call, see [`lookup_response`].
pub fn lookup(code: i64) -> ErrorRule {
    rules().iter().find(|row| row.codes.contains(&code)).map_or(
        ErrorRule {
            code,
            meaning: "code unknown to us",
            scope: Scope::Message,
            action: Action::Fail,
            alert: true,
            known: false,
        },
        |row| ErrorRule {
            code,
            meaning: row.meaning,
            scope: row.scope,
            action: row.action,
            alert: row.alert,
            known: true,
        },
    )
}

/// Returns the rule for the answer to a call: as [`lookup`], but where the code is unknown the
/// HTTP status and Meta's `is_transient` are heard too. Only what surely went nowhere is retried
/// blindly: a 5xx stays ambiguous.
pub fn lookup_response(http_status: u16, code: i64, is_transient: bool) -> ErrorRule {
    let rule = lookup(code);
    if rule.known {
        return rule;
    }
    let action = match http_status {
        429 => Action::Delay {
            first: Duration::from_secs(1),
            factor: 2,
        },
        401 => Action::Halt {
            traffic: Traffic::Everything,
            next_route: false,
            lift: Lift::NewToken,
        },
        500.. => Action::Retry {
            ambiguous: true,
            then_next_route: true,
        },
        _ if is_transient => Action::Retry {
            ambiguous: false,
            then_next_route: true,
        },
        _ => Action::Fail,
    };
    let scope = match http_status {
        429 => Scope::Number,
        401 => Scope::Token,
        _ => Scope::Message,
    };
    ErrorRule {
        scope,
        action,
        ..rule
    }
}

#[cfg(test)]
mod tests;

//! Error codes of gateways: what each means, and what a sender does. The tables stand with the
//! gateways.
//!
//! This module advises; bounds and back-off belong to the dispatcher.

use crate::{twilio, vonage};

/// Stands where an error carries no code.
pub const NO_CODE: i64 = -1;

/// What one code means to a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule {
    /// The code that was looked up.
    pub code: i64,
    /// What it says, in our words; fit for people.
    pub meaning: &'static str,
    /// What a sender does.
    pub action: Action,
    /// False if the code is not in the table, so that the rest is a guess.
    pub known: bool,
}

/// What a sender does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Try again after a back-off, or by another gateway at once.
    Retry {
        /// True if the message may have gone out all the same: reconcile before repeating.
        ambiguous: bool,
    },
    /// One more try is all that is worth it.
    RetryOnce {
        /// True if a second failure proves that no SMS reaches this phone.
        unreachable: bool,
    },
    /// This gateway cannot, by its account, its sender or its routes; another one may.
    NextGateway,
    /// No SMS reaches this phone, whoever sends it: a landline, or a number that is not in use.
    Unreachable,
    /// Give this message up: another gateway would, or should, refuse it, too.
    Fail,
    /// Give it up and record that the customer wants no SMS from this sender.
    OptOut,
    /// Nothing more by this account, whatever the message: its credentials are refused, or it is
    /// suspended or has no money. Another gateway may.
    Halt,
}

pub(crate) const RETRY: Action = Action::Retry { ambiguous: false };

pub(crate) const RETRY_ONCE: Action = Action::RetryOnce { unreachable: false };

/// For now, or for good.
pub(crate) const ABSENT: Action = Action::RetryOnce { unreachable: true };

/// A row of a gateway's table: code, meaning, action.
pub(crate) type Row = (i64, &'static str, Action);

/// Returns the rule for a code of a gateway; [`Action::Fail`] with `known: false` for a code that
/// is in no row, or of a gateway without a table. No name stands for Twilio.
pub fn lookup(gateway: &str, code: i64) -> ErrorRule {
    match gateway {
        "" | twilio::NAME => twilio::errors::lookup(code),
        vonage::NAME => vonage::errors::lookup(code),
        _ => in_table(&[], code),
    }
}

/// Returns the rule for the answer to a call: where the code is unknown the HTTP status decides. A
/// 5xx with an unknown code stays ambiguous.
pub(crate) fn of_answer(rule: ErrorRule, http_status: u16) -> ErrorRule {
    if rule.known {
        return rule;
    }
    let action = match http_status {
        401..=403 => Action::Halt,
        429 => RETRY,
        500.. => Action::Retry { ambiguous: true },
        _ => Action::NextGateway,
    };
    ErrorRule { action, ..rule }
}

pub(crate) fn in_table(rows: &[Row], code: i64) -> ErrorRule {
    rows.iter().find(|row| row.0 == code).map_or(
        ErrorRule {
            code,
            meaning: "code unknown to us",
            action: Action::Fail,
            known: false,
        },
        |&(code, meaning, action)| ErrorRule {
            code,
            meaning,
            action,
            known: true,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_has_codes_of_its_own() {
        assert_eq!(lookup("twilio", 21_610).action, Action::OptOut);
        assert_eq!(lookup("", 21_610).action, Action::OptOut);
        assert_eq!(lookup("vonage", 1_240).action, Action::OptOut);
        for (gateway, code) in [("vonage", 21_610), ("twilio", 1_240), ("acme", 21_610)] {
            let rule = lookup(gateway, code);
            assert_eq!(
                (rule.action, rule.known),
                (Action::Fail, false),
                "{gateway}"
            );
        }
    }
}

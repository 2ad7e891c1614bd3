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
    /// Try again after a back-off.
    Retry {
        /// True if the message may have gone out all the same: reconcile before repeating.
        ambiguous: bool,
        /// True if one more try is all that is worth it.
        once: bool,
    },
    /// Give this message up.
    Fail,
    /// Give it up and record that the customer wants no SMS from this sender.
    OptOut,
    /// Nothing more by this account until an operator has seen to it.
    Halt,
}

pub(crate) const RETRY: Action = Action::Retry {
    ambiguous: false,
    once: false,
};

pub(crate) const RETRY_ONCE: Action = Action::Retry {
    ambiguous: false,
    once: true,
};

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

//! Twilio's error codes as data: what each means and what a sender does.
//!
//! The same codes come in answers to calls and in status callbacks. This module advises; bounds
//! and back-off belong to the dispatcher.

use crate::errors::{ABSENT, RETRY, RETRY_ONCE, Row, in_table, of_answer};
pub use crate::errors::{Action, ErrorRule, NO_CODE};

static ROWS: &[Row] = &[
    (20_003, "credentials are wrong", Action::Halt),
    (20_005, "account is not active", Action::Halt),
    (20_429, "too many requests", RETRY),
    (20_503, "the service is unavailable", RETRY),
    (
        21_211,
        "recipient is no valid phone number",
        Action::Unreachable,
    ),
    (
        21_408,
        "account may not send to this region",
        Action::NextGateway,
    ),
    (21_602, "text is missing", Action::Fail),
    (
        21_606,
        "sender is no number of this account that can send SMS",
        Action::NextGateway,
    ),
    (21_610, "recipient has opted out with STOP", Action::OptOut),
    (21_611, "the sender's queue is full", RETRY),
    (
        21_612,
        "this sender cannot reach this recipient",
        Action::NextGateway,
    ),
    (21_614, "recipient is no mobile number", Action::Unreachable),
    (21_617, "text is too long", Action::Fail),
    (30_001, "queue overflowed", RETRY),
    (30_002, "account is suspended", Action::Halt),
    (30_003, "handset is unreachable", ABSENT),
    (30_004, "message was blocked", Action::Fail),
    (30_005, "handset is unknown", Action::Unreachable),
    (
        30_006,
        "landline or unreachable carrier",
        Action::Unreachable,
    ),
    (30_007, "carrier filtered it", Action::Fail),
    (30_008, "unknown error at the carrier", RETRY_ONCE),
    (
        30_034,
        "sender is not registered for the United States",
        Action::NextGateway,
    ),
];

/// Returns the rule for a code; for a code that is in no row, [`Action::Fail`] with
/// `known: false`.
///
/// Right for status callbacks. For the answer to a call, see [`lookup_response`].
pub fn lookup(code: i64) -> ErrorRule {
    in_table(ROWS, code)
}

/// Returns the rule for the answer to a call: as [`lookup`], but where the code is unknown the
/// HTTP status decides. A 5xx with an unknown code stays ambiguous.
pub fn lookup_response(http_status: u16, code: Option<i64>) -> ErrorRule {
    of_answer(lookup(code.unwrap_or(NO_CODE)), http_status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_action() {
        let rows: &[(&[i64], Action)] = &[
            (&[20_003, 20_005, 30_002], Action::Halt),
            (&[20_429, 20_503, 21_611, 30_001], RETRY),
            (&[30_003], ABSENT),
            (&[30_008], RETRY_ONCE),
            (&[21_610], Action::OptOut),
            (&[21_211, 21_614, 30_005, 30_006], Action::Unreachable),
            (&[21_408, 21_606, 21_612, 30_034], Action::NextGateway),
            (&[21_602, 21_617, 30_004, 30_007], Action::Fail),
        ];
        for (codes, action) in rows {
            for &code in *codes {
                let rule = lookup(code);
                assert_eq!((rule.code, rule.action, rule.known), (code, *action, true));
            }
        }
        let tested: usize = rows.iter().map(|(codes, _)| codes.len()).sum();
        assert_eq!(tested, ROWS.len());
    }

    #[test]
    fn an_unknown_code_in_an_answer_is_judged_by_its_http_status() {
        for (status, action) in [
            (400, Action::NextGateway),
            (401, Action::Halt),
            (403, Action::Halt),
            (404, Action::NextGateway),
            (429, RETRY),
            (500, Action::Retry { ambiguous: true }),
            (503, Action::Retry { ambiguous: true }),
        ] {
            for code in [None, Some(99_999)] {
                let rule = lookup_response(status, code);
                assert_eq!((rule.action, rule.known), (action, false), "{status}");
            }
        }
        assert_eq!(lookup_response(500, Some(21_610)).action, Action::OptOut);
    }
}

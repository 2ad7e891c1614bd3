//! Vonage's error codes as data: what each means and what a sender does.
//!
//! The codes of the Messages API, which come in the `error` of a status. Source: API Errors,
//! Messages API. Codes of other channels than SMS and MMS are left out.

use crate::errors::{
    ABSENT, Action, ErrorRule, NO_CODE, RETRY, RETRY_ONCE, Row, in_table, of_answer,
};

static ROWS: &[Row] = &[
    (1_000, "account sends faster than it may", RETRY),
    (1_010, "a parameter is missing", Action::Fail),
    (1_020, "a parameter is not valid", Action::Fail),
    (1_030, "internal error of the gateway", RETRY),
    (1_040, "message cannot be processed", Action::Fail),
    (1_050, "recipient is barred by the gateway", Action::Fail),
    (1_060, "account is barred", Action::Halt),
    (1_070, "account has no credit left", Action::Halt),
    (1_080, "account may not send this way", Action::Halt),
    (1_090, "message is too long", Action::Fail),
    (1_100, "communication failed", RETRY),
    (1_110, "signature of the call is wrong", Action::Halt),
    (1_120, "sender is not permitted there", Action::NextGateway),
    (1_130, "time to live is not valid", Action::Fail),
    (
        1_140,
        "account may not use this feature",
        Action::NextGateway,
    ),
    (1_150, "message class is not valid", Action::Fail),
    (
        1_160,
        "recipient is not among those the account may write to",
        Action::NextGateway,
    ),
    (
        1_170,
        "recipient is no valid phone number",
        Action::Unreachable,
    ),
    (1_180, "handset is unreachable for now", ABSENT),
    (1_190, "phone number is out of use", Action::Unreachable),
    (1_200, "carrier of the number changed", Action::NextGateway),
    (1_210, "carrier took it for spam", Action::Fail),
    (1_220, "handset is busy", RETRY_ONCE),
    (1_230, "network failed", RETRY),
    (1_240, "recipient has opted out with STOP", Action::OptOut),
    (1_241, "too many messages to this number", RETRY_ONCE),
    (1_250, "no route to this number", Action::NextGateway),
    (
        1_251,
        "routing rules forbid this destination",
        Action::NextGateway,
    ),
    (1_260, "destination is unreachable", Action::Unreachable),
    (
        1_270,
        "recipient is too young for this content",
        Action::Fail,
    ),
    (1_280, "carrier blocked the number", Action::Fail),
    (1_282, "provider blocked the message", Action::Fail),
    (1_290, "recipient has no credit to receive it", Action::Fail),
    (
        1_300,
        "number is not in the provider's network",
        Action::NextGateway,
    ),
    (1_310, "device cannot receive it", Action::Unreachable),
    (1_320, "message was sent already", Action::Fail),
    (1_330, "unknown error at the carrier", RETRY_ONCE),
    (1_331, "provider does not respond", RETRY),
    (
        1_360,
        "message expired before it was delivered",
        Action::Fail,
    ),
    (1_380, "file cannot be fetched", Action::Fail),
    (1_381, "file is too large", Action::Fail),
    (1_382, "file is of a wrong type", Action::Fail),
    (1_400, "channel is not supported", Action::Fail),
    (
        1_410,
        "a parameter of the channel is not valid",
        Action::Fail,
    ),
    (1_420, "sender is not valid", Action::NextGateway),
    (1_430, "recipient is not valid", Action::Unreachable),
    (1_440, "message type is not supported", Action::Fail),
    (1_450, "client reference is not valid", Action::Fail),
    (1_460, "daily limit is used up", Action::NextGateway),
    (1_470, "fraud protection blocks this prefix", Action::Fail),
    (1_472, "fraud protection saw a burst", RETRY_ONCE),
    (1_473, "fraud protection blocks this traffic", Action::Fail),
    (1_480, "entity id is missing or wrong", Action::NextGateway),
    (1_481, "header id is missing or wrong", Action::NextGateway),
    (1_482, "content id is missing or wrong", Action::NextGateway),
    (1_483, "regulator knows of no consent", Action::Fail),
    (1_484, "regulation forbids it", Action::Fail),
];

/// Returns the rule for a code; for a code that is in no row, [`Action::Fail`] with
/// `known: false`.
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
    fn every_code_stands_once_and_in_order() {
        assert!(ROWS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn codes_that_pass_are_tried_again_and_a_stop_is_an_opt_out() {
        let rows: &[(&[i64], Action)] = &[
            (&[1_000, 1_030, 1_100, 1_230, 1_331], RETRY),
            (&[1_180], ABSENT),
            (&[1_220, 1_241, 1_330, 1_472], RETRY_ONCE),
            (&[1_170, 1_190, 1_260, 1_310, 1_430], Action::Unreachable),
            (
                &[
                    1_120, 1_140, 1_160, 1_200, 1_250, 1_251, 1_300, 1_420, 1_460, 1_480, 1_481,
                    1_482,
                ],
                Action::NextGateway,
            ),
            (&[1_060, 1_070, 1_080, 1_110], Action::Halt),
            (&[1_240], Action::OptOut),
        ];
        let mut told = 0;
        for (codes, action) in rows {
            for &code in *codes {
                let rule = lookup(code);
                assert_eq!((rule.action, rule.known), (*action, true), "{code}");
                told += 1;
            }
        }
        let fails = ROWS.iter().filter(|row| row.2 == Action::Fail).count();
        assert_eq!(told + fails, ROWS.len(), "nothing else is tried again");
        assert!(!lookup(9_999).known);
    }
}

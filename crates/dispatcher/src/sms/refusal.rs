//! From a gateway's error table to what a message does next.

use std::time::Duration;

use casement_domain::message::Refusal;
use casement_sms::errors::{Action, ErrorRule};
use casement_sms::gateways::Gateways;
use jiff::SignedDuration;

/// Longest pause that a gateway can ask for; a longer one goes to the next.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Returns what follows from a refusal by a gateway. `tries` counts earlier attempts by SMS,
/// `retry_after` is the pause that the answer itself asked for.
pub(crate) fn refusal(rule: &ErrorRule, tries: usize, retry_after: Option<Duration>) -> Refusal {
    match rule.action {
        Action::Retry { .. } => again(retry_after),
        Action::RetryOnce { .. } if tries == 0 => again(retry_after),
        Action::RetryOnce { unreachable: true } | Action::Unreachable => Refusal::UnreachableBySms,
        Action::RetryOnce { unreachable: false } | Action::NextGateway => Refusal::NextGateway,
        // Which halt that sets is said in `halts::gateways`; the next gateway goes meanwhile.
        Action::Halt => Refusal::Halted,
        Action::Fail | Action::OptOut => Refusal::NextChannel,
    }
}

/// The same for a code that a provider reported.
pub(crate) fn refusal_of_code(
    gateways: &Gateways,
    provider: &str,
    code: i64,
    tries: usize,
) -> Refusal {
    refusal(&gateways.rule(provider, code), tries, None)
}

fn again(retry_after: Option<Duration>) -> Refusal {
    match retry_after.and_then(|pause| SignedDuration::try_from(pause).ok()) {
        None => Refusal::Retry,
        Some(pause) if pause > PAUSE_MAX => Refusal::NextGateway,
        Some(pause) => Refusal::RetryAfter(pause),
    }
}

#[cfg(test)]
mod tests {
    use casement_sms::errors::lookup;

    use super::*;

    #[test]
    fn each_class_of_error_has_its_consequence() {
        for (provider, code, first, second) in [
            ("twilio", 20_429, Refusal::Retry, Refusal::Retry),
            ("twilio", 30_003, Refusal::Retry, Refusal::UnreachableBySms),
            ("twilio", 30_008, Refusal::Retry, Refusal::NextGateway),
            (
                "twilio",
                30_005,
                Refusal::UnreachableBySms,
                Refusal::UnreachableBySms,
            ),
            (
                "twilio",
                30_006,
                Refusal::UnreachableBySms,
                Refusal::UnreachableBySms,
            ),
            ("twilio", 20_003, Refusal::Halted, Refusal::Halted),
            ("twilio", 21_606, Refusal::NextGateway, Refusal::NextGateway),
            ("vonage", 1_070, Refusal::Halted, Refusal::Halted),
            ("twilio", 21_610, Refusal::NextChannel, Refusal::NextChannel),
            ("twilio", 30_007, Refusal::NextChannel, Refusal::NextChannel),
            ("vonage", 1_180, Refusal::Retry, Refusal::UnreachableBySms),
            ("vonage", 1_250, Refusal::NextGateway, Refusal::NextGateway),
        ] {
            let rule = lookup(provider, code);
            assert_eq!(refusal(&rule, 0, None), first, "{code}");
            assert_eq!(refusal(&rule, 1, None), second, "{code}");
        }
    }

    #[test]
    fn the_pause_that_an_answer_asks_for_is_kept_unless_it_is_too_long() {
        let rule = lookup("twilio", 20_429);
        for (seconds, expected) in [
            (30, Refusal::RetryAfter(SignedDuration::from_secs(30))),
            (3_601, Refusal::NextGateway),
        ] {
            let asked = Some(Duration::from_secs(seconds));
            assert_eq!(refusal(&rule, 0, asked), expected);
        }
    }
}

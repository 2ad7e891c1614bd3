//! From the providers' error tables to what a message does next.

use casement_domain::message::Refusal;
use casement_whatsapp::errors::{Action, ErrorRule, Lift, Scope};
use jiff::SignedDuration;

/// Longest pause that a provider can ask for; longer ones fail over.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Returns what follows from a refusal by Meta. `tries` counts earlier attempts by this route,
/// `retry_after` is the pause that the answer itself asked for.
pub(crate) fn of_meta(
    rule: &ErrorRule,
    tries: usize,
    retry_after: Option<std::time::Duration>,
) -> Refusal {
    let asked = retry_after.and_then(|pause| SignedDuration::try_from(pause).ok());
    match rule.action {
        Action::Retry { .. } => asked.map_or(Refusal::Retry, pause),
        Action::Delay { first, factor } => {
            let doublings = u32::try_from(tries).unwrap_or(u32::MAX);
            let first = SignedDuration::try_from(first).unwrap_or(PAUSE_MAX);
            let times = factor.saturating_pow(doublings);
            let wait = first
                .checked_mul(i32::try_from(times).unwrap_or(i32::MAX))
                .unwrap_or(PAUSE_MAX);
            pause(asked.map_or(wait, |asked| asked.max(wait)))
        }
        Action::SwitchToTemplate => Refusal::SwitchToTemplate,
        // Which halt that sets is said in `halts::orders`; this message waits for it, too.
        Action::TemplateUnusable {
            lift: Lift::Operator,
        } => Refusal::TemplateUnusable,
        Action::Halt { .. } | Action::TemplateUnusable { .. } => Refusal::Halted,
        Action::ThreadControl => Refusal::ThreadControl,
        Action::MarketingCapped { not_before } => {
            Refusal::Capped(SignedDuration::try_from(not_before).unwrap_or(SignedDuration::MAX))
        }
        // A template that will not do says nothing against the other routes.
        Action::NextRoute if rule.scope == Scope::Template => Refusal::TemplateUnusable,
        Action::SwitchToPhone | Action::NextRoute => Refusal::NextChannel,
        // What the customer stopped is stopped on every channel.
        Action::SuppressMarketing | Action::OtherEndpoint | Action::Fail | Action::Ignore => {
            Refusal::Fail
        }
    }
}

fn pause(wait: SignedDuration) -> Refusal {
    if wait > PAUSE_MAX {
        Refusal::NextChannel
    } else {
        Refusal::RetryAfter(wait)
    }
}

#[cfg(test)]
mod tests {
    use casement_whatsapp::errors::lookup;

    use super::*;

    #[test]
    fn each_class_of_error_has_its_consequence() {
        let table = [
            (131_047, Refusal::SwitchToTemplate),
            (131_026, Refusal::NextChannel),
            (132_001, Refusal::Halted),
            (132_015, Refusal::Halted),
            (132_016, Refusal::TemplateUnusable),
            (2_494_191, Refusal::ThreadControl),
            (131_049, Refusal::Capped(SignedDuration::from_hours(24))),
            (131_042, Refusal::Halted),
            (131_016, Refusal::Retry),
            (131_021, Refusal::Fail),
            (100, Refusal::Fail),
            (190, Refusal::Halted),
            (131_050, Refusal::Fail),
        ];
        for (code, expected) in table {
            assert_eq!(of_meta(&lookup(code), 0, None), expected, "{code}");
        }
    }

    #[test]
    fn a_pair_rate_waits_longer_each_time() {
        let waits: Vec<_> = (0..3)
            .map(|tries| match of_meta(&lookup(131_056), tries, None) {
                Refusal::RetryAfter(wait) => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    }

    #[test]
    fn the_pause_that_an_answer_asks_for_is_kept() {
        let asked = Some(std::time::Duration::from_secs(30));
        let refusal = of_meta(&lookup(131_016), 0, asked);
        assert_eq!(refusal, Refusal::RetryAfter(SignedDuration::from_secs(30)));
    }
}

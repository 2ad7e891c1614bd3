//! Halts of SMS gateways: an account whose credentials are refused, or that has no money.
//!
//! It stops one gateway alone: while another is left, SMS go through that. What routing makes of
//! it is decided in the domain, and which codes say so stands with the gateways.

use std::collections::BTreeSet;

use casement_domain::halt::{Cause, Channels, End, Order, Target, Traffic};
use casement_domain::sms::Senders;
use casement_event::v1;
use casement_sms::config::OWN;
use casement_sms::errors::{Action, ErrorRule};
use jiff::{SignedDuration, Timestamp};

use super::orders::digest;
use crate::engine::Engine;

/// After how long one message tries whether a gateway is back, as for an account of Meta's that
/// owes money.
const PROBE_FIRST: SignedDuration = SignedDuration::from_mins(15);

/// By how much longer the next one waits.
const PROBE_FACTOR: u32 = 2;

/// What can be said of a gateway's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// No number, and no configuration, has this gateway any more.
    Gone,
    /// They cannot be read.
    Unreadable,
    /// A few digits that tell them from others.
    Known(String),
}

impl Credentials {
    /// Returns the digits, if there are any.
    pub(crate) fn known(self) -> Option<String> {
        match self {
            Self::Known(digits) => Some(digits),
            Self::Gone | Self::Unreadable => None,
        }
    }

    /// Whether they are others than those that were refused, of which none could be read if
    /// `refused` is empty.
    pub(crate) fn are_others(&self, refused: &str) -> bool {
        match self {
            Self::Gone => true,
            Self::Unreadable => false,
            Self::Known(digits) => digits != refused,
        }
    }
}

/// Returns every gateway that SMS of a number can go through.
pub(crate) fn targets(account: &v1::Number, senders: &Senders) -> BTreeSet<Target> {
    let named = senders.of_number(&account.number);
    let named = named.map(|way| way.gateway.as_str());
    named
        .chain([OWN])
        .filter_map(|gateway| target(gateway, account))
        .collect()
}

/// Returns the halt that follows from what a gateway said.
pub(crate) fn order(
    rule: &ErrorRule,
    gateway: &str,
    account: &v1::Number,
    met_at: Timestamp,
) -> Option<Order> {
    if rule.action != Action::Halt {
        return None;
    }
    Some(Order {
        target: target(gateway, account)?,
        traffic: Traffic::Everything,
        channels: Channels::Every,
        may_go_elsewhere: true,
        cause: Cause::Code {
            code: rule.code,
            meaning: rule.meaning.to_owned(),
        },
        end: End::Probe {
            first: PROBE_FIRST,
            factor: PROBE_FACTOR,
        },
        met_at,
    })
}

/// Returns what can be said of the credentials of a gateway that is halted under this key.
pub(crate) fn credentials(engine: &Engine, key: &str) -> Credentials {
    let found = match key.split_once('/') {
        None => engine.caller.sms.secrets(key).map(Result::ok),
        Some((_, account)) => {
            let numbers = engine.directory.numbers();
            let record = numbers
                .iter()
                .filter_map(|number| number.sms.as_ref())
                .find(|record| record.account_sid == account);
            record.map(|record| {
                let secrets = &engine.caller.secrets;
                let token = secrets.resolve(record.auth_token.as_ref()).ok();
                token.map(|token| vec![token])
            })
        }
    };
    match found {
        None => Credentials::Gone,
        Some(None) => Credentials::Unreadable,
        Some(Some(secrets)) => Credentials::Known(digest(&secrets)),
    }
}

/// A gateway of the configuration is one account; the one in a number's record is told by it.
fn target(gateway: &str, account: &v1::Number) -> Option<Target> {
    if !matches!(gateway, "" | OWN) {
        return Some(Target::gateway(gateway, ""));
    }
    let record = account.sms.as_ref()?;
    let is_set = !record.account_sid.is_empty();
    is_set.then(|| Target::gateway(OWN, &record.account_sid))
}

#[cfg(test)]
mod tests {
    use casement_domain::sms::Way;
    use casement_sms::errors::lookup;

    use super::*;

    fn account(sid: &str) -> v1::Number {
        v1::Number {
            number: "15550001111".to_owned(),
            sms: Some(v1::SmsSender {
                sender: "+15550009999".to_owned(),
                account_sid: sid.to_owned(),
                auth_token: None,
            }),
            ..v1::Number::default()
        }
    }

    fn halted(provider: &str, code: i64, gateway: &str, account: &v1::Number) -> Option<Target> {
        let rule = lookup(provider, code);
        let order = order(&rule, gateway, account, Timestamp::UNIX_EPOCH)?;
        assert!(order.may_go_elsewhere);
        Some(order.target)
    }

    #[test]
    fn an_account_that_is_refused_or_without_money_is_halted_and_nothing_else_is() {
        let account = account("AC1");
        for (provider, code) in [
            ("twilio", 20_003),
            ("twilio", 20_005),
            ("twilio", 30_002),
            ("vonage", 1_060),
            ("vonage", 1_070),
        ] {
            let target = halted(provider, code, "main", &account);
            assert_eq!(target, Some(Target::gateway("main", "")), "{code}");
        }
        for (provider, code) in [
            ("twilio", 21_606),
            ("twilio", 21_610),
            ("twilio", 20_429),
            ("vonage", 1_420),
            ("acme", 7),
        ] {
            assert_eq!(halted(provider, code, "main", &account), None, "{code}");
        }
    }

    #[test]
    fn the_account_in_a_numbers_record_is_halted_for_all_that_share_it() {
        let (one, other, none) = (account("AC1"), account("AC2"), account(""));
        let senders = Senders {
            all: [(
                "1".to_owned(),
                vec![Way {
                    gateway: "main".to_owned(),
                    sender: "ACME".to_owned(),
                }],
            )]
            .into(),
            ..Senders::default()
        };
        let target = halted("twilio", 20_003, OWN, &one).unwrap();
        assert_eq!(target, Target::gateway(OWN, "AC1"));
        // Of a claim from before there were several.
        assert_eq!(halted("twilio", 20_003, "", &one), Some(target.clone()));
        assert_eq!(halted("twilio", 20_003, OWN, &none), None);
        assert!(targets(&one, &senders).contains(&target));
        assert!(!targets(&other, &senders).contains(&target));
        let main = [Target::gateway("main", "")];
        assert_eq!(targets(&none, &senders), main.into());
    }

    #[test]
    fn other_credentials_or_none_at_all_end_what_the_refused_ones_began() {
        let known = |digits: &str| Credentials::Known(digits.to_owned());
        for (now, refused, ends) in [
            (known("1"), "1", false),
            (known("2"), "1", true),
            // They could not be read, and now they can.
            (known("2"), "", true),
            (Credentials::Unreadable, "", false),
            (Credentials::Unreadable, "1", false),
            (Credentials::Gone, "1", true),
        ] {
            assert_eq!(now.are_others(refused), ends, "{now:?} {refused}");
        }
    }
}

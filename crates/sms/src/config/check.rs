//! What is wrong with the section, in words that say what to change.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::sms::ELSEWHERE;

use super::{Config, Gateway, OWN, Sender};
use crate::{twilio, vonage};

/// Longest name of a gateway: it stands in events and labels.
const NAME_LEN_MAX: usize = 32;

/// Longest prefix of a phone.
const PREFIX_LEN_MAX: usize = 15;

impl Config {
    /// Returns everything that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, gateway) in &self.gateways {
            let found = name_problem(name, gateway).or_else(|| match gateway {
                Gateway::Twilio(gateway) => gateway
                    .account_sid
                    .is_empty()
                    .then(|| "`account_sid` is empty".to_owned()),
                Gateway::Vonage(gateway) => gateway
                    .application_id
                    .is_empty()
                    .then(|| "`application_id` is empty".to_owned()),
                Gateway::Generic(gateway) => gateway.plan().err(),
            });
            problems.extend(found.map(|found| format!("`sms.gateways.{name}`: {found}")));
        }
        self.check_senders("sms.senders", &self.senders, &mut problems);
        for (number, own) in &self.numbers {
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                problems.push(format!(
                    "`sms.numbers.{number}`: a number is written as its digits, without the plus"
                ));
            }
            let at = format!("sms.numbers.{number}.senders");
            self.check_senders(&at, &own.senders, &mut problems);
        }
        problems
    }

    fn check_senders(
        &self,
        at: &str,
        rows: &BTreeMap<String, Vec<Sender>>,
        problems: &mut Vec<String>,
    ) {
        for (prefix, senders) in rows {
            let at = format!("`{at}.{prefix}`");
            let is_prefix = (1..=PREFIX_LEN_MAX).contains(&prefix.len())
                && prefix.bytes().all(|byte| byte.is_ascii_digit())
                && !prefix.starts_with('0');
            if prefix != ELSEWHERE && !is_prefix {
                problems.push(format!(
                    "{at}: write the digits that phones begin with, such as a calling code, or \
                     \"{ELSEWHERE}\" for any other"
                ));
            }
            if senders.is_empty() {
                problems.push(format!("{at}: nobody sends"));
            }
            let mut seen = BTreeSet::new();
            for sender in senders {
                let gateway = &sender.gateway;
                if gateway != OWN && !self.gateways.contains_key(gateway) {
                    problems.push(format!("{at}: there is no `sms.gateways.{gateway}`"));
                }
                if gateway != OWN && sender.sender.is_empty() {
                    problems.push(format!("{at}: `{gateway}` has no `sender`"));
                }
                if !seen.insert(gateway) {
                    problems.push(format!("{at}: `{gateway}` stands there twice"));
                }
            }
        }
    }
}

fn name_problem(name: &str, gateway: &Gateway) -> Option<String> {
    let is_fit = (1..=NAME_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_fit {
        return Some(format!(
            "a name is 1 to {NAME_LEN_MAX} lower-case letters, digits and hyphens"
        ));
    }
    let is_taken = match name {
        twilio::NAME => !matches!(gateway, Gateway::Twilio(_)),
        vonage::NAME => !matches!(gateway, Gateway::Vonage(_)),
        OWN | "whatsapp" => true,
        _ => false,
    };
    is_taken.then(|| "the name stands for something else already".to_owned())
}

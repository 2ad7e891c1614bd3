//! SMS: who could send one, the one call that sends it, and what follows from a refusal.
//!
//! How gateways are spoken to is the business of `casement-sms`.

mod call;
mod refusal;

use casement_domain::halt::Stop;
use casement_domain::id::{BusinessNumber, Phone};
use casement_domain::routing::{Decision, Input, Route};
use casement_domain::sms::{Offer, Senders, Way};
use casement_event::v1;
use casement_sms::config::OWN;

pub(crate) use refusal::{refusal, refusal_of_code};

/// Returns who could send an SMS to a phone, the best first: by the configuration's rows for the
/// country, or else by the account in the number's own record.
///
/// A sender that the caller names narrows this down to the gateways that list it; if none does, it
/// replaces the sender at each.
pub(crate) fn offer(
    senders: &Senders,
    content: &v1::Content,
    account: &v1::Number,
    phone: Option<&Phone>,
) -> Offer {
    let record = account
        .sms
        .as_ref()
        .filter(|record| !record.account_sid.is_empty());
    let own = |sender: &str| {
        let record = record?;
        let sender = if sender.is_empty() {
            &record.sender
        } else {
            sender
        };
        Some(Way {
            gateway: OWN.to_owned(),
            sender: sender.to_owned(),
        })
    };
    let rows = BusinessNumber::parse(&account.number)
        .ok()
        .zip(phone)
        .and_then(|(number, phone)| senders.find(&number, phone));
    let mut ways: Vec<Way> = match rows {
        Some(rows) => rows
            .iter()
            .filter_map(|way| match way.gateway.as_str() {
                OWN => own(&way.sender),
                _ => Some(way.clone()),
            })
            .collect(),
        None => own("").into_iter().collect(),
    };
    let named = content.sms.as_ref().map(|sms| sms.sender.as_str());
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        if ways.iter().any(|way| way.sender == named) {
            ways.retain(|way| way.sender == named);
        } else {
            for way in &mut ways {
                named.clone_into(&mut way.sender);
            }
        }
    }
    ways.retain(|way| !way.sender.is_empty());
    let has_any = senders.of_number(&account.number).next().is_some();
    let otherwise = if has_any {
        Offer::NoSenderThere
    } else {
        Offer::NoSender
    };
    Offer::of(ways, otherwise)
}

/// Returns what stops a gateway that goes before the one that a decision is for: only a message
/// that goes through it shows whether that is over.
pub(crate) fn passed_over<'a>(decision: &Decision, input: &Input<'a>) -> Option<&'a Stop> {
    let chosen = decision.sms_gateways.first();
    let chosen = chosen.filter(|_| decision.chosen == Some(Route::Sms))?;
    let Offer::Ways(ways) = input.sms_offer else {
        return None;
    };
    let before = ways.iter().map(|way| &way.gateway);
    before
        .take_while(|gateway| *gateway != chosen)
        .filter(|gateway| !input.exhausted_gateways.contains(gateway))
        .find_map(|gateway| input.stops.on_gateway(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(sender: &str) -> v1::Number {
        v1::Number {
            number: "15550001111".to_owned(),
            sms: (!sender.is_empty()).then(|| v1::SmsSender {
                sender: sender.to_owned(),
                account_sid: "AC1".to_owned(),
                auth_token: None,
            }),
            ..v1::Number::default()
        }
    }

    fn rows() -> Senders {
        let way = |(gateway, sender): &(&str, &str)| Way {
            gateway: (*gateway).to_owned(),
            sender: (*sender).to_owned(),
        };
        let row = |prefix: &str, ways: &[(&str, &str)]| {
            (prefix.to_owned(), ways.iter().map(way).collect::<Vec<_>>())
        };
        Senders {
            all: [
                row(
                    "49",
                    &[("main", "ACME"), ("spare", "+49305550100"), (OWN, "")],
                ),
                row("44", &[(OWN, "+447700900001")]),
            ]
            .into(),
            ..Senders::default()
        }
    }

    fn offered(senders: &Senders, named: &str, record: &str, phone: &str) -> Result<String, Offer> {
        let content = v1::Content {
            sms: Some(v1::SmsContent {
                text: String::new(),
                sender: named.to_owned(),
            }),
            ..v1::Content::default()
        };
        let phone = Phone::parse(phone).unwrap();
        match offer(senders, &content, &account(record), Some(&phone)) {
            Offer::Ways(ways) => Ok(ways
                .iter()
                .map(|way| format!("{}:{}", way.gateway, way.sender))
                .collect::<Vec<_>>()
                .join(" ")),
            other => Err(other),
        }
    }

    #[test]
    fn the_country_says_who_sends_and_else_the_numbers_own_account() {
        let (rows, none) = (rows(), Senders::default());
        let (german, british, french) = ("491512345678", "447700900000", "33612345678");
        for (senders, named, record, phone, expected) in [
            (
                &rows,
                "",
                "+1555",
                german,
                Ok("main:ACME spare:+49305550100 number:+1555"),
            ),
            (&rows, "", "", german, Ok("main:ACME spare:+49305550100")),
            (&rows, "", "+1555", british, Ok("number:+447700900001")),
            (&rows, "", "", british, Err(Offer::NoSenderThere)),
            (&rows, "", "+1555", french, Ok("number:+1555")),
            (&rows, "", "", french, Err(Offer::NoSenderThere)),
            (&none, "", "+1555", french, Ok("number:+1555")),
            (&none, "", "", french, Err(Offer::NoSender)),
            (&rows, "ACME", "+1555", german, Ok("main:ACME")),
            (&rows, "Shop", "", german, Ok("main:Shop spare:Shop")),
            (&none, "Shop", "+1555", french, Ok("number:Shop")),
            (&none, "Shop", "", french, Err(Offer::NoSender)),
        ] {
            let found = offered(senders, named, record, phone);
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{named} {record} {phone}"
            );
        }
    }
}

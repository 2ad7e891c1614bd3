//! One word of a customer's, checked and recorded.

use casement_domain::consent::{Channel, Choice, Consent, Scope, Topic};
use casement_domain::customer::is_user_id;
use casement_domain::erasure::is_erased;
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::convert;
use casement_event::convert::message::read_purpose;
use casement_event::v1;
use casement_event_log::consent::{self, Change};
use casement_event_log::{customers, erasure};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::consent_item::Customer;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_fields, refuse};
use casement_shell::telemetry::current_traceparent;
use jiff::Timestamp;
use tonic::{Code, Status};

use super::{Consents, unresolved, unusable};
use crate::book::SOURCE;

/// Longest item id, and name of who recorded it, in characters.
const TEXT_CHARS_MAX: usize = 256;

/// What is wrong with a field, and which.
type Violation = (&'static str, String);

/// A customer as a caller named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// By phone or user id.
    Addresses(Addresses),
    /// By our own id.
    Id(CustomerId),
}

impl Named {
    pub(super) fn phone(to: &str) -> Result<Self, Violation> {
        if !to.starts_with('+') {
            return Err(("to", "phone number is not E.164 with the plus".to_owned()));
        }
        let phone = Phone::parse(to).map_err(|error| ("to", error.to_string()))?;
        Ok(Self::Addresses(Addresses {
            phone: Some(phone),
            ..Addresses::default()
        }))
    }

    pub(super) fn user_id(user_id: &str) -> Result<Self, Violation> {
        if !is_user_id(user_id) {
            return Err(("recipient", "user id is not of the form `US.…`".to_owned()));
        }
        Ok(Self::Addresses(Addresses {
            user_id: Some(user_id.to_owned()),
            ..Addresses::default()
        }))
    }

    pub(super) fn id(id: &str) -> Result<Self, Violation> {
        let id = CustomerId::parse(id).map_err(|error| ("customer_id", error.to_string()))?;
        Ok(Self::Id(id))
    }
}

/// An item that can be recorded.
#[derive(Debug, Clone, PartialEq)]
struct Checked {
    named: Named,
    consent: Consent,
}

/// Checks an item, every problem at once.
fn check(item: &api::ConsentItem, cause: &str, now: Timestamp) -> Result<Checked, Vec<Violation>> {
    let mut problems: Vec<Violation> = Vec::new();
    let named = match &item.customer {
        Some(Customer::To(to)) => Named::phone(to),
        Some(Customer::Recipient(user_id)) => Named::user_id(user_id),
        Some(Customer::CustomerId(id)) => Named::id(id),
        None => Err((
            "to",
            "name the customer by one of to, recipient, customer_id".to_owned(),
        )),
    };
    let named = named.map_err(|problem| problems.push(problem)).ok();
    let is_refused = match item.state() {
        api::ConsentState::OptedIn => false,
        api::ConsentState::OptedOut => true,
        api::ConsentState::Silent | api::ConsentState::Unspecified => {
            problems.push(("state", "say OPTED_IN or OPTED_OUT".to_owned()));
            true
        }
    };
    let told = v1::ConsentAssertion {
        source: item.source,
        time: item.time,
        wording: item.wording.clone(),
        wording_version: item.wording_version.clone(),
        language: item.language.clone(),
        evidence: item.evidence.clone(),
        channels: item.channels.clone(),
        record: true,
    };
    problems.extend(convert::consent::problems(&told, now));
    for (field, text) in [
        ("recorded_by", &item.recorded_by),
        ("item_id", &item.item_id),
    ] {
        if text.chars().count() > TEXT_CHARS_MAX {
            problems.push((field, format!("at most {TEXT_CHARS_MAX} characters")));
        }
    }
    let mut scopes: Vec<Scope> = Vec::new();
    for purpose in &item.purposes {
        let known = v1::Purpose::try_from(*purpose).ok().and_then(read_purpose);
        match known {
            Some(purpose) => scopes.push(purpose.into()),
            None => problems.push((
                "purposes",
                "name SERVICE, UTILITY, AUTHENTICATION or MARKETING, or none for all".to_owned(),
            )),
        }
    }
    if scopes.is_empty() {
        scopes.push(Scope::Everything);
    }
    let read = convert::consent::read_assertion(&told);
    let (Some(named), Ok(asserted), true) = (named, read, problems.is_empty()) else {
        return Err(problems);
    };
    let mut choice = Choice {
        is_refused,
        ..asserted.choice
    };
    cause.clone_into(&mut choice.provenance.reference);
    item.recorded_by
        .clone_into(&mut choice.provenance.recorded_by);
    Ok(Checked {
        named,
        consent: words(&asserted.channels, &scopes, &choice),
    })
}

fn words(channels: &[Channel], scopes: &[Scope], choice: &Choice) -> Consent {
    let topics = channels.iter().flat_map(|channel| {
        scopes.iter().map(|scope| Topic {
            channel: *channel,
            scope: *scope,
        })
    });
    topics.map(|topic| (topic, choice.clone())).collect()
}

impl Consents {
    /// Refuses what was said before its customer was erased, and all that names an id of theirs.
    async fn refuse_erased(
        &self,
        portfolio: &PortfolioId,
        checked: &Checked,
    ) -> Result<(), Status> {
        let log = &self.log;
        let is_erased = match &checked.named {
            Named::Id(id) => {
                let tombstone = erasure::of_customer(log, portfolio, id).await;
                tombstone
                    .map_err(|error| unresolved(&error.into()))?
                    .is_some()
            }
            Named::Addresses(addresses) => {
                let erased_at = customers::erased_at(log, &self.tokens, portfolio, addresses).await;
                let erased_at = erased_at.map_err(|error| unresolved(&error))?;
                let said_at = checked.consent.choices().map(|(_, choice)| choice.at).max();
                said_at.is_some_and(|at| is_erased(at, erased_at))
            }
        };
        if is_erased {
            let text = "the customer was erased after this was said: it is not written down";
            return Err(refuse(Code::FailedPrecondition, "CUSTOMER_ERASED", text));
        }
        Ok(())
    }

    /// Records an item, taking up its customer if nobody knows them. `at` is where the item stands
    /// in the request.
    pub(super) async fn record(
        &self,
        caller: &Caller,
        item: api::ConsentItem,
        at: &str,
    ) -> Result<api::RecordConsentResponse, Status> {
        let now = self.clock.now();
        let cause = match item.item_id.as_str() {
            "" => String::new(),
            id => consent::cause(&format!("item\n{}\n{id}", caller.brand)),
        };
        let checked = check(&item, &cause, now).map_err(|problems| {
            let problems = problems.into_iter();
            bad_fields(problems.map(|(field, what)| (format!("{at}.{field}"), what)))
        })?;
        let portfolio = self.portfolio(caller, &item.number).await?;
        self.refuse_erased(&portfolio, &checked).await?;
        let customer = match &checked.named {
            Named::Id(_) => self.find(&portfolio, &checked.named).await?,
            Named::Addresses(addresses) => {
                let (log, tokens) = (&self.log, &self.tokens);
                let resolved =
                    customers::resolve(log, tokens, SOURCE, &portfolio, addresses, now).await;
                Some(resolved.map_err(|error| unresolved(&error))?.customer)
            }
        };
        let customer = customer.ok_or_else(|| Status::internal("a customer has no id"))?;
        let change = Change {
            consent: checked.consent,
            cause,
            traceparent: current_traceparent(),
            caller: caller.name.clone(),
            is_kept: true,
        };
        let settled = consent::settle(&self.log, SOURCE, &portfolio, &customer, &change, now).await;
        let recorded = settled.map_err(|error| unusable(&error))?;
        if recorded.is_written {
            crate::metrics::changed("consent");
        }
        Ok(api::RecordConsentResponse {
            customer_id: customer.to_string(),
            is_recorded: recorded.is_written,
            words: convert::consent::consents(&recorded.known.consent),
            position: self.position(recorded.known.sequence),
        })
    }
}

#[cfg(test)]
mod tests {
    use casement_event::convert::timestamp;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn sound() -> api::ConsentItem {
        api::ConsentItem {
            number: "+15550001111".to_owned(),
            customer: Some(Customer::To("+15550002222".to_owned())),
            state: api::ConsentState::OptedIn.into(),
            source: v1::ConsentSource::WebForm.into(),
            time: Some(timestamp(now())),
            ..api::ConsentItem::default()
        }
    }

    #[test]
    fn an_item_is_about_all_purposes_and_channels_unless_it_names_some() {
        let topics = |item: &api::ConsentItem| -> Vec<Topic> {
            let checked = check(item, "", now()).unwrap();
            checked.consent.choices().map(|(topic, _)| topic).collect()
        };
        assert_eq!(topics(&sound()), [Topic::WHATSAPP, Topic::SMS]);
        let narrow = api::ConsentItem {
            purposes: vec![v1::Purpose::Marketing.into()],
            channels: vec![v1::Channel::Whatsapp.into()],
            ..sound()
        };
        assert_eq!(topics(&narrow), [Topic::WHATSAPP_MARKETING]);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let fields = |item: &api::ConsentItem| -> Vec<&str> {
            let problems = check(item, "", now()).err().unwrap_or_default();
            problems.into_iter().map(|(field, _)| field).collect()
        };
        assert!(fields(&sound()).is_empty());
        assert_eq!(
            fields(&api::ConsentItem::default()),
            ["to", "state", "source", "time"]
        );
        let wrong = api::ConsentItem {
            customer: Some(Customer::Recipient("somebody".to_owned())),
            state: api::ConsentState::Silent.into(),
            purposes: vec![0],
            item_id: "x".repeat(257),
            ..sound()
        };
        assert_eq!(
            fields(&wrong),
            ["recipient", "state", "item_id", "purposes"]
        );
    }
}

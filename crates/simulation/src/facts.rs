//! What the ingress and the accounts would have stored: whose the number is, what customers wrote, and
//! what providers reported. They are stored as those roles store them; no code of theirs runs here.

use std::path::Path;

use casement_domain::id::{BusinessNumber, CustomerId, MessageId, Phone, PortfolioId};
use casement_domain::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy, Summary};
use casement_event::convert::{inbound, timestamp};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Uuid, id, v1};
use casement_event_log::customers::{self, Tokens};
use casement_event_log::{Expect, Log};
use casement_shell::clock::Clock as _;
use jiff::Timestamp;

use crate::time::Time;

/// What all this is written by.
const SOURCE: &str = "casement/simulation";
const PORTFOLIO: &str = "p1";
const WABA: &str = "102290129340398";
/// The digits of the number.
pub(crate) const NUMBER: &str = "15550001111";
/// The template, approved.
pub(crate) const TEMPLATE: &str = "order_update";

/// Writes facts. Clones write to the same log.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) log: Log,
    pub(crate) tokens: Tokens,
    time: Time,
}

/// A message that a customer wrote.
#[derive(Debug, Clone)]
pub(crate) struct Wrote {
    pub(crate) customer: CustomerId,
    pub(crate) at: Timestamp,
    pub(crate) received_at: Timestamp,
    /// Where it stands on EVENTS.
    pub(crate) sequence: u64,
}

pub(crate) fn number() -> BusinessNumber {
    BusinessNumber::parse(NUMBER).expect("digits")
}

/// A customer's phone: E.164.
pub(crate) fn phone(customer: u64) -> String {
    format!("+1555000200{customer}")
}

impl Facts {
    pub(crate) fn new(log: Log, time: &Time) -> Self {
        Self {
            log,
            tokens: Tokens::new("key-of-the-simulation".to_owned().into()),
            time: time.clone(),
        }
    }

    /// Records the number and its template.
    pub(crate) async fn accounts(&self, token: &Path, has_sms: bool) {
        let secret = || v1::SecretRef {
            source: Some(v1::secret_ref::Source::File(token.display().to_string())),
        };
        let sms = has_sms.then(|| v1::SmsSender {
            sender: "+15550009999".to_owned(),
            account_sid: "AC0123456789".to_owned(),
            auth_token: Some(secret()),
        });
        let number = v1::Number {
            number: NUMBER.to_owned(),
            brand_id: "default".to_owned(),
            portfolio_id: PORTFOLIO.to_owned(),
            waba_id: WABA.to_owned(),
            phone_number_id: "106540352242922".to_owned(),
            token: Some(secret()),
            sms,
            ..v1::Number::default()
        };
        let recorded = v1::NumberRecorded {
            number: Some(number),
            ..v1::NumberRecorded::default()
        };
        self.append(subject::account("number", NUMBER), recorded)
            .await;
        let template = v1::TemplateRecorded {
            template: Some(v1::Template {
                waba_id: WABA.to_owned(),
                name: TEMPLATE.to_owned(),
                language: "en".to_owned(),
                category: v1::TemplateCategory::Utility.into(),
                status: v1::TemplateStatus::Approved.into(),
                body: "Order {{1}} is ready".to_owned(),
                body_parameter_count: 1,
                ..v1::Template::default()
            }),
            ..v1::TemplateRecorded::default()
        };
        let token = subject::template_token(WABA, TEMPLATE, "en");
        self.append(subject::account("template", &token), template)
            .await;
    }

    /// Who a customer is.
    pub(crate) async fn customer(&self, customer: u64) -> CustomerId {
        let portfolio = PortfolioId::parse(PORTFOLIO).expect("a portfolio");
        let addresses = addresses(customer);
        customers::resolve(
            &self.log,
            &self.tokens,
            SOURCE,
            &portfolio,
            &addresses,
            self.time.now(),
        )
        .await
        .expect("a log without faults")
        .customer
    }

    /// A customer's message is stored.
    pub(crate) async fn wrote(&self, customer: u64, provider_id: &str, at: Timestamp) -> Wrote {
        let addresses = addresses(customer);
        let customer = self.customer(customer).await;
        let number = number();
        let subject = subject::conversation(Family::Inbound, &number, &customer);
        let last = self.log.last(stream::EVENTS, &subject).await;
        let last = last.expect("a log without faults");
        let (known, newest) = match &last {
            None => (Summary::default(), 0),
            Some(stored) => {
                let event = stored.event().expect("an event of ours");
                let known = inbound::known(&event).expect("a readable event");
                (known.expect("an inbound fact").summary, stored.sequence)
            }
        };
        let received_at = self.time.now();
        let event_id = id::inbound(&number, provider_id);
        let fact = Fact {
            id: id::fact(event_id),
            at,
            received_at,
            kind: Kind::Content,
            provider_id: provider_id.to_owned(),
            addresses,
            thread_owner: None,
            marks: Marks::default(),
        };
        let summary = known.join(fact.summary(&QualifyingPolicy::default()));
        let event = v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                number: NUMBER.to_owned(),
                customer_id: customer.to_string(),
                brand_id: "default".to_owned(),
                portfolio_id: PORTFOLIO.to_owned(),
            }),
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                received_time: Some(timestamp(received_at)),
                ..v1::Times::default()
            }),
            summary: Some(inbound::summary(&summary)),
            provider_message_id: provider_id.to_owned(),
            kind: "text".to_owned(),
            qualifies: true,
            ..v1::InboundMessageReceived::default()
        };
        let record = Record::new(subject.clone(), event_id, SOURCE, at, event);
        let stored = self.log.append(record, Expect::last(subject, newest)).await;
        Wrote {
            customer,
            at,
            received_at,
            sequence: stored.expect("a log without faults").sequence,
        }
    }

    /// A provider reports on an attempt; a code makes it a failure.
    pub(crate) async fn report(
        &self,
        message: &str,
        attempt: u32,
        is_sms: bool,
        said: Result<v1::DeliveryStatus, i64>,
    ) {
        let id = MessageId::parse(message).expect("a message id of ours");
        let channel = if is_sms {
            v1::Channel::Sms
        } else {
            v1::Channel::Whatsapp
        };
        let status = said.unwrap_or(v1::DeliveryStatus::Failed);
        let errors = said.err().map(|code| v1::ProviderError {
            code,
            ..v1::ProviderError::default()
        });
        let now = self.time.now();
        let report = v1::StatusReported {
            message_id: message.to_owned(),
            number: NUMBER.to_owned(),
            attempt,
            channel: channel.into(),
            provider_message_id: format!("wamid.of.{message}.{attempt}"),
            provider_status: status.as_str_name().to_lowercase(),
            status: status.into(),
            times: Some(v1::Times {
                event_time: Some(timestamp(now)),
                received_time: Some(timestamp(now)),
                ..v1::Times::default()
            }),
            errors: errors.into_iter().collect(),
            ..v1::StatusReported::default()
        };
        self.append(subject::report(&id), report).await;
    }

    async fn append(&self, subject: String, event: impl Into<Event>) {
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, self.time.now(), event);
        let stored = self.log.append(record, Expect::Anything).await;
        stored.expect("a log without faults");
    }
}

fn addresses(customer: u64) -> Addresses {
    Addresses {
        phone: Some(Phone::parse(&phone(customer)).expect("a phone")),
        ..Addresses::default()
    }
}

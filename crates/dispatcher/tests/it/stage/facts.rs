//! What other roles would have stored: accounts, what customers did, what providers reported.

use casement_domain::id::{BusinessNumber, CustomerId, MessageId, Phone, PortfolioId};
use casement_domain::inbound::{Addresses, Fact, Kind, Marks, QualifyingPolicy, Summary};
use casement_event::convert::{duration, inbound, timestamp};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Stored, Uuid, id, v1};
use casement_event_log::{Expect, Position, customers};
use casement_simulator::Device;
use jiff::{SignedDuration, Timestamp};

use super::{NUMBER, SILENT_NUMBER, SMS_SENDER, Stage, WABA, digits, phone_number_id};

const PORTFOLIO: &str = "p1";

impl Stage {
    /// A number's account.
    pub(crate) fn number(&self, number: &str, brand: &str) -> v1::Number {
        let secret = |file: &str| v1::SecretRef {
            source: Some(v1::secret_ref::Source::File(
                self.folder.path().join(file).display().to_string(),
            )),
        };
        let sms = v1::SmsSender {
            sender: SMS_SENDER.to_owned(),
            account_sid: casement_simulator::TwilioConfig::default().account_sid,
            auth_token: Some(secret("twilio")),
        };
        v1::Number {
            number: digits(number).to_owned(),
            brand_id: brand.to_owned(),
            portfolio_id: PORTFOLIO.to_owned(),
            waba_id: WABA.to_owned(),
            phone_number_id: phone_number_id(number),
            token: Some(secret("meta")),
            sms: (number != SILENT_NUMBER).then_some(sms),
            ..v1::Number::default()
        }
    }

    pub(crate) async fn record_number(&self, number: v1::Number) {
        let subject = subject::account("number", &number.number);
        let event = v1::NumberRecorded {
            number: Some(number),
            ..v1::NumberRecorded::default()
        };
        self.append(subject, event).await;
    }

    /// Pauses [`NUMBER`], or lets it go on.
    pub(crate) async fn pause(&self, is_paused: bool) {
        let number = v1::Number {
            paused: is_paused,
            ..self.number(NUMBER, "default")
        };
        let subject = subject::account("number", &number.number);
        let event: Event = if is_paused {
            v1::NumberPaused {
                number: Some(number),
                ..v1::NumberPaused::default()
            }
            .into()
        } else {
            v1::NumberResumed {
                number: Some(number),
                ..v1::NumberResumed::default()
            }
            .into()
        };
        self.append(subject, event).await;
    }

    pub(crate) async fn record_template(&self, name: &str, is_approved: bool) {
        let category = v1::TemplateCategory::Utility;
        self.record_template_of(category, name, is_approved).await;
    }

    /// A template of any category.
    pub(crate) async fn record_template_of(
        &self,
        category: v1::TemplateCategory,
        name: &str,
        is_approved: bool,
    ) {
        let status = if is_approved {
            v1::TemplateStatus::Approved
        } else {
            v1::TemplateStatus::Paused
        };
        let event = v1::TemplateRecorded {
            template: Some(v1::Template {
                waba_id: WABA.to_owned(),
                name: name.to_owned(),
                language: "en".to_owned(),
                category: category.into(),
                status: status.into(),
                body: "Order {{1}} is ready".to_owned(),
                body_parameter_count: 1,
                ..v1::Template::default()
            }),
            ..v1::TemplateRecorded::default()
        };
        let token = subject::template_token(WABA, name, "en");
        self.append(subject::account("template", &token), event)
            .await;
    }

    /// A utility template that the platform tries to deliver for so long.
    pub(crate) async fn record_template_for(&self, name: &str, ttl: SignedDuration) {
        let event = v1::TemplateRecorded {
            template: Some(v1::Template {
                waba_id: WABA.to_owned(),
                name: name.to_owned(),
                language: "en".to_owned(),
                category: v1::TemplateCategory::Utility.into(),
                status: v1::TemplateStatus::Approved.into(),
                body: "Order {{1}} is ready".to_owned(),
                body_parameter_count: 1,
                message_send_ttl: Some(duration(ttl)),
                ..v1::Template::default()
            }),
            ..v1::TemplateRecorded::default()
        };
        let token = subject::template_token(WABA, name, "en");
        self.append(subject::account("template", &token), event)
            .await;
    }

    /// Everybody knows: the customer writes to [`NUMBER`] now.
    pub(crate) async fn writes(&self, who: &str) -> Position {
        self.wrote(NUMBER, who, self.now()).await
    }

    /// Everybody knows: the customer wrote to a number at a time.
    pub(crate) async fn wrote(&self, number: &str, who: &str, at: Timestamp) -> Position {
        let (phone, user_id) = match who.strip_prefix('+') {
            Some(_) => (Some(who), None),
            None => (None, Some(who)),
        };
        let known = self
            .platform
            .customer(phone, user_id, "")
            .expect("a customer");
        self.platform
            .says_at(&known, &phone_number_id(number), "Hello", at)
            .expect("the customer may write");
        self.heard(number, who, at).await
    }

    /// Everybody knows: the customer clicks on an ad of [`NUMBER`] and writes now.
    pub(crate) async fn comes_from_ad(&self, who: &str) -> Position {
        let marks = Marks {
            is_referral: true,
            ..Marks::default()
        };
        let known = self.platform.customer(Some(who), None, "");
        let (known, number) = (known.expect("a customer"), phone_number_id(NUMBER));
        self.platform
            .clicks(&known, &number, "Hello", Device::Phone)
            .expect("the customer may write");
        self.heard_as(NUMBER, who, self.now(), marks).await
    }

    /// Only we know: the platform takes the customer for silent.
    pub(crate) async fn heard(&self, number: &str, who: &str, at: Timestamp) -> Position {
        self.heard_as(number, who, at, Marks::default()).await
    }

    async fn heard_as(&self, number: &str, who: &str, at: Timestamp, marks: Marks) -> Position {
        let customer = self.customer(who).await;
        let number = business(number);
        let subject = subject::conversation(Family::Inbound, &number, &customer);
        let last = self
            .log
            .last(stream::EVENTS, &subject)
            .await
            .expect("a read");
        let (known, newest) = match &last {
            None => (Summary::default(), 0),
            Some(stored) => {
                let known = inbound::known(&stored.event().expect("an event")).expect("readable");
                (known.expect("an inbound fact").summary, stored.sequence)
            }
        };
        let provider_id = format!("wamid.{}", Uuid::new_v4().simple());
        let event_id = id::inbound(&number, &provider_id);
        let fact = Fact {
            id: id::fact(event_id),
            at,
            received_at: self.now(),
            kind: Kind::Content,
            provider_id: provider_id.clone(),
            addresses: addresses(who),
            thread_owner: None,
            marks,
        };
        let summary = known.join(fact.summary(&QualifyingPolicy::default()));
        let event = v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                number: number.digits().to_owned(),
                customer_id: customer.to_string(),
                brand_id: "default".to_owned(),
                portfolio_id: PORTFOLIO.to_owned(),
            }),
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                received_time: Some(timestamp(self.now())),
                ..v1::Times::default()
            }),
            summary: Some(inbound::summary(&summary)),
            provider_message_id: provider_id,
            kind: "text".to_owned(),
            qualifies: true,
            ..v1::InboundMessageReceived::default()
        };
        let record = Record::new(subject.clone(), event_id, "casement/test", at, event);
        self.log
            .append(record, Expect::last(subject, newest))
            .await
            .expect("an append")
    }

    /// Whom a phone or user id belongs to.
    pub(crate) async fn customer(&self, who: &str) -> CustomerId {
        let portfolio = PortfolioId::parse(PORTFOLIO).expect("a portfolio");
        let addresses = addresses(who);
        let resolved = customers::resolve(
            &self.log,
            &self.tokens,
            "casement/test",
            &portfolio,
            &addresses,
            self.now(),
        );
        resolved.await.expect("a customer").customer
    }

    /// A customer shows a phone with a user id now; returns who that is.
    pub(crate) async fn shows(&self, phone: &str, user_id: &str) -> CustomerId {
        let both = addresses(phone).or(&addresses(user_id));
        let portfolio = PortfolioId::parse(PORTFOLIO).expect("a portfolio");
        let source = "casement/test";
        customers::resolve(
            &self.log,
            &self.tokens,
            source,
            &portfolio,
            &both,
            self.now(),
        )
        .await
        .expect("a customer")
        .customer
    }

    /// Two prove to be one, and the log has forgotten all about it but the links. Returns who
    /// ended and who carries on.
    pub(crate) async fn prove_same(&self, phone: &str, user_id: &str) -> (CustomerId, CustomerId) {
        let of = [self.customer(phone).await, self.customer(user_id).await];
        let survivor = self.shows(phone, user_id).await;
        let ended = of.into_iter().find(|id| *id != survivor);
        (ended.expect("one of them"), survivor)
    }

    /// A provider reports on an attempt; a code makes it a failure.
    pub(crate) async fn report(
        &self,
        message_id: &str,
        attempt: u32,
        said: Result<v1::DeliveryStatus, i64>,
    ) {
        let report = self.status_report(message_id, attempt, said);
        self.append_report(message_id, report).await;
    }

    pub(crate) fn status_report(
        &self,
        message_id: &str,
        attempt: u32,
        said: Result<v1::DeliveryStatus, i64>,
    ) -> v1::StatusReported {
        let status = said.unwrap_or(v1::DeliveryStatus::Failed);
        let errors = said.err().map(|code| v1::ProviderError {
            code,
            ..v1::ProviderError::default()
        });
        v1::StatusReported {
            message_id: message_id.to_owned(),
            number: digits(NUMBER).to_owned(),
            attempt,
            channel: v1::Channel::Whatsapp.into(),
            provider_message_id: format!("wamid.of.{message_id}.{attempt}"),
            provider_status: status.as_str_name().to_lowercase(),
            status: status.into(),
            times: Some(v1::Times {
                event_time: Some(timestamp(self.now())),
                received_time: Some(timestamp(self.now())),
                ..v1::Times::default()
            }),
            errors: errors.into_iter().collect(),
            ..v1::StatusReported::default()
        }
    }

    /// The platform reports on an attempt and says what it billed it as, and perhaps until when
    /// it bills nothing.
    pub(crate) async fn report_bill(
        &self,
        message_id: &str,
        attempt: u32,
        said: v1::DeliveryStatus,
        (kind, until): (&str, Option<Timestamp>),
    ) {
        let report = v1::StatusReported {
            pricing: Some(v1::Pricing {
                r#type: kind.to_owned(),
                ..v1::Pricing::default()
            }),
            conversation: until.map(|until| v1::BilledConversation {
                expire_time: Some(timestamp(until)),
                ..v1::BilledConversation::default()
            }),
            ..self.status_report(message_id, attempt, Ok(said))
        };
        self.append_report(message_id, report).await;
    }

    pub(crate) async fn append_report(&self, message_id: &str, report: v1::StatusReported) {
        let id = MessageId::parse(message_id).expect("a message id");
        self.append(subject::report(&id), report).await;
    }

    /// The events of a message's life.
    pub(crate) async fn life(&self, message_id: &str) -> Vec<Event> {
        let id = MessageId::parse(message_id).expect("a message id");
        let stored = self
            .log
            .read_subject(stream::MESSAGES, &subject::message(&id))
            .await
            .expect("a read");
        stored.iter().map(event).collect()
    }

    /// The names of them.
    pub(crate) async fn life_names(&self, message_id: &str) -> Vec<String> {
        let life = self.life(message_id).await;
        let name = |event: &Event| event.event_type().rsplit('.').next().map(str::to_owned);
        life.iter().filter_map(name).collect()
    }

    /// What was proved about a customer's window at [`NUMBER`].
    pub(crate) async fn evidence(&self, who: &str) -> Vec<Event> {
        let customer = self.customer(who).await;
        let subject = subject::conversation(Family::Evidence, &business(NUMBER), &customer);
        let stored = self
            .log
            .read_subject(stream::EVENTS, &subject)
            .await
            .expect("a read");
        stored.iter().map(event).collect()
    }

    /// How much stands on a stream.
    pub(crate) async fn count(&self, stream: &str) -> u64 {
        self.log.state(stream).await.expect("a read").messages
    }

    async fn append(&self, subject: String, event: impl Into<Event>) {
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", self.now(), event);
        self.log
            .append(record, Expect::Anything)
            .await
            .expect("an append");
    }
}

fn business(number: &str) -> BusinessNumber {
    BusinessNumber::parse(number).expect("a number")
}

fn event(stored: &Stored) -> Event {
    stored.event().expect("an event")
}

fn addresses(who: &str) -> Addresses {
    if who.starts_with('+') {
        Addresses {
            phone: Some(Phone::parse(who).expect("a phone")),
            ..Addresses::default()
        }
    } else {
        Addresses {
            user_id: Some(who.to_owned()),
            ..Addresses::default()
        }
    }
}

//! Reports about messages that went out through Casement: they carry the attempt that the
//! sender gave the provider, and stand on the message's own subject.
//!
//! Whether a report moves its message forward is the dispatcher's to decide.

use casement_domain::erasure;
use casement_domain::id::MessageId;
use casement_domain::inbound::Addresses;
use casement_event::subject::{self, stream};
use casement_event::{Event, Extension, Record, Uuid, convert, id, v1};
use casement_event_log::{AppendError, Expect, customers};
use casement_sms::errors::NO_CODE;
use casement_sms::webhook::{Delivery, Report};
use casement_whatsapp::webhook::{Item, StatusReport};
use jiff::Timestamp;

use crate::aside::status_id;
use crate::conversation::ROUNDS_MAX;
use crate::draft::addresses;
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::recent::{Line, Page};
use crate::stored;

/// How many reports of a message are looked at for a repeat; a message has a handful.
const REPORTS_LEN_MAX: usize = 1_000;

/// An attempt to send a message, as it travels with the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) message: MessageId,
    pub(crate) number: u32,
}

impl Attempt {
    /// Reads `<message id>.<attempt>`; `None` if it is somebody else's data.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (message, attempt) = text.rsplit_once('.')?;
        Self::of(message, attempt)
    }

    /// Reads the query of a status callback's URL: `m=<message id>&a=<attempt>`.
    pub(crate) fn of_query(query: &str) -> Option<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
        let value = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        Self::of(value("m")?, value("a")?)
    }

    fn of(message: &str, attempt: &str) -> Option<Self> {
        let number: u32 = attempt.parse().ok()?;
        // One spelling only, so that the data reads back as it was given.
        if number.to_string() != attempt {
            return None;
        }
        Some(Self {
            message: MessageId::parse(message).ok()?,
            number,
        })
    }
}

/// Whether a report is about something that was erased: a message of which nothing is left on the log,
/// to somebody who was erased; or, of somebody else's message, what happened before.
pub(crate) async fn is_erased(
    desk: &Desk,
    home: &Home,
    recipient: &Addresses,
    message: Option<&MessageId>,
    at: Timestamp,
) -> Result<bool, Setback> {
    let (log, portfolio) = (&desk.log, &home.portfolio);
    let erased_at = customers::erased_at(log, &desk.tokens, portfolio, recipient).await?;
    if erased_at.is_none() {
        return Ok(false);
    }
    match message {
        Some(message) => {
            let life = log
                .last(stream::MESSAGES, &subject::message(message))
                .await?;
            Ok(life.is_none())
        }
        None => Ok(erasure::is_erased(at, erased_at)),
    }
}

/// A status of a message of ours on WhatsApp.
pub(crate) async fn whatsapp(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    report: &StatusReport,
    attempt: &Attempt,
) -> Result<bool, Setback> {
    let event = v1::StatusReported {
        message_id: attempt.message.as_str().to_owned(),
        number: home.number.digits().to_owned(),
        attempt: attempt.number,
        times: Some(post.times(report.at)),
        origin: Some(post.origin(&item.origin.path)),
        content_json: item.raw.to_string(),
        ..stored::reported(report)
    };
    let id = status_id(home, report);
    let record = home.mark(record(post, attempt, id, report.at, event));
    append_once(desk, record).await
}

/// A status of an SMS of ours. Few gateways tell a time, so each status counts once.
pub(crate) async fn sms(
    desk: &Desk,
    post: &Post,
    attempt: &Attempt,
    gateway: &str,
    told: &Report,
    content_json: String,
) -> Result<bool, Setback> {
    let number = attempt.message.number();
    let to = told.to.as_deref().unwrap_or_default();
    let id = id::status(number, &told.id, &told.word, to, Timestamp::UNIX_EPOCH);
    let errors = told.failure.as_ref().filter(|failure| {
        // A failure without a reason is told by the status.
        failure.code != NO_CODE || !failure.detail.is_empty()
    });
    let errors = errors.map(|failure| v1::ProviderError {
        code: failure.code,
        details: failure.detail.clone(),
        ..v1::ProviderError::default()
    });
    let at = told.at.unwrap_or(post.received);
    let event = v1::StatusReported {
        message_id: attempt.message.as_str().to_owned(),
        number: number.digits().to_owned(),
        attempt: attempt.number,
        channel: v1::Channel::Sms.into(),
        provider_message_id: told.id.clone(),
        provider_status: told.word.clone(),
        status: of_gateway(told.delivery).into(),
        times: Some(post.times(at)),
        origin: Some(post.origin("")),
        errors: errors.into_iter().collect(),
        pricing: None,
        recipient: Some(convert::inbound::addresses(&addresses(
            Some(to),
            None,
            None,
        ))),
        content_json,
        sms_provider: gateway.to_owned(),
        ..v1::StatusReported::default()
    };
    let record = record(post, attempt, id, at, event).with(Extension::Number, number.digits());
    let record = match desk.directory.number(number) {
        Some(account) => record.with(Extension::Brand, account.brand_id),
        None => record,
    };
    append_once(desk, record).await
}

fn record(
    post: &Post,
    attempt: &Attempt,
    id: Uuid,
    at: Timestamp,
    event: impl Into<Event>,
) -> Record {
    post.record(subject::report(&attempt.message), id, at, event)
        .about(attempt.message.as_str())
}

/// Appends a report unless it stands there; returns whether it was new.
async fn append_once(desk: &Desk, record: Record) -> Result<bool, Setback> {
    let subject = record.subject.clone();
    // Several of a message often come in one post.
    let _turn = desk.report_turns.turn(&subject).await;
    // A subject without a page is taken for empty: most reports are a message's first, and where
    // it is not so the append is refused.
    let mut page = desk.reports.take(&subject).unwrap_or_default();
    for _ in 0..ROUNDS_MAX {
        if page.has(record.id) {
            desk.reports.put(&subject, page);
            return Ok(false);
        }
        let expect = Expect::last(subject.clone(), page.newest());
        match desk.log.append(record.clone(), expect).await {
            Ok(position) => {
                page.push(line(position.sequence, Some(record.id)));
                desk.reports.put(&subject, page);
                return Ok(true);
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // From the start: what stood there may be gone since, too.
        page = Page::default();
        for _ in 0..REPORTS_LEN_MAX {
            let from = page.newest() + 1;
            let Some(stored) = desk.log.next(stream::MESSAGES, &subject, from).await? else {
                break;
            };
            page.push(line(stored.sequence, stored.id()));
        }
    }
    Err(Setback::Contended { subject })
}

/// A report on a page: what a message's reports say of customers stands elsewhere.
fn line(sequence: u64, id: Option<Uuid>) -> Line {
    Line {
        sequence,
        id,
        last_event_at: None,
        merged: None,
    }
}

/// Returns how far an SMS came, in the stored form.
fn of_gateway(delivery: Option<Delivery>) -> v1::DeliveryStatus {
    match delivery {
        Some(Delivery::Sent) => v1::DeliveryStatus::Sent,
        Some(Delivery::Delivered) => v1::DeliveryStatus::Delivered,
        Some(Delivery::Read) => v1::DeliveryStatus::Read,
        Some(Delivery::Failed) => v1::DeliveryStatus::Failed,
        None => v1::DeliveryStatus::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use casement_whatsapp::webhook::DeliveryStatus;

    use super::*;

    const ID: &str = "15550001111-00000000000000000000000000000abc";

    #[test]
    fn callback_data_names_message_and_attempt_or_is_not_ours() {
        let ours = Attempt {
            message: MessageId::parse(ID).unwrap(),
            number: 2,
        };
        assert_eq!(Attempt::parse(&format!("{ID}.2")), Some(ours.clone()));
        assert_eq!(Attempt::of_query(&format!("m={ID}&a=2")), Some(ours));
        for foreign in [
            String::new(),
            ID.to_owned(),
            format!("{ID}."),
            format!("{ID}.02"),
            format!("{ID}.+2"),
            format!("{ID}.-1"),
            format!("{ID}.4294967296"),
            format!("{ID}.x"),
            "order-7.2".to_owned(),
            format!("+{ID}.2"),
        ] {
            assert_eq!(Attempt::parse(&foreign), None, "{foreign}");
        }
        for foreign in ["", "m=", "a=1", &format!("m={ID}"), &format!("m={ID}&a=x")] {
            assert_eq!(Attempt::of_query(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn statuses_of_both_gateways_have_one_meaning() {
        use v1::DeliveryStatus as Ours;
        for (name, expected) in [
            ("sent", Ours::Sent),
            ("delivered", Ours::Delivered),
            ("read", Ours::Read),
            ("played", Ours::Played),
            ("failed", Ours::Failed),
            ("vanished", Ours::Unspecified),
        ] {
            assert_eq!(
                stored::of_meta(&DeliveryStatus::parse(name)),
                expected,
                "{name}"
            );
        }
        for (name, expected) in [
            ("queued", Ours::Sent),
            ("sending", Ours::Sent),
            ("sent", Ours::Sent),
            ("delivered", Ours::Delivered),
            ("undelivered", Ours::Failed),
            ("failed", Ours::Failed),
            ("canceled", Ours::Failed),
            ("read", Ours::Read),
            ("received", Ours::Unspecified),
            ("vanished", Ours::Unspecified),
        ] {
            let delivery = casement_sms::twilio::callback::Status::parse(name).delivery();
            assert_eq!(of_gateway(delivery), expected, "{name}");
        }
    }
}

//! Reports about messages that went out through Casement: they carry the attempt that the
//! sender gave the provider, and stand on the message's own subject.
//!
//! Whether a report moves its message forward is the dispatcher's to decide.

use casement_domain::id::MessageId;
use casement_event::subject::{self, stream};
use casement_event::{Event, Extension, Record, Uuid, convert, id, v1};
use casement_event_log::{AppendError, Expect};
use casement_sms::twilio::callback::{Status, StatusCallback};
use casement_whatsapp::webhook::{DeliveryStatus, Item, ReportedError, StatusReport};
use jiff::Timestamp;

use crate::aside::status_id;
use crate::conversation::ROUNDS_MAX;
use crate::draft::addresses;
use crate::error::Setback;
use crate::place::{Desk, Home, Post};

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

/// A status of a message of ours on WhatsApp.
pub(crate) async fn whatsapp(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    report: &StatusReport,
    attempt: &Attempt,
) -> Result<bool, Setback> {
    let recipient = addresses(
        report.recipient_phone.as_deref(),
        report.recipient_user_id.as_deref(),
        report.recipient_parent_user_id.as_deref(),
    );
    let event = v1::StatusReported {
        message_id: attempt.message.as_str().to_owned(),
        number: home.number.digits().to_owned(),
        attempt: attempt.number,
        channel: v1::Channel::Whatsapp.into(),
        provider_message_id: report.wamid.clone(),
        provider_status: report.status.as_str().to_owned(),
        status: of_meta(&report.status).into(),
        times: Some(post.times(report.at)),
        origin: Some(post.origin(&item.origin.path)),
        errors: report.errors.iter().map(error).collect(),
        pricing: report.pricing.as_ref().map(|pricing| v1::Pricing {
            billable: pricing.billable.unwrap_or_default(),
            model: pricing.model.clone().unwrap_or_default(),
            r#type: pricing.pricing_type.clone().unwrap_or_default(),
            category: pricing.category.clone().unwrap_or_default(),
        }),
        recipient: Some(convert::inbound::addresses(&recipient)),
        content_json: item.raw.to_string(),
    };
    let id = status_id(home, report);
    let record = home.mark(record(post, attempt, id, report.at, event));
    append_once(desk, record).await
}

/// A status of an SMS of ours. Twilio tells no time, so each status counts once.
pub(crate) async fn sms(
    desk: &Desk,
    post: &Post,
    attempt: &Attempt,
    callback: &StatusCallback,
    content_json: String,
) -> Result<bool, Setback> {
    let number = attempt.message.number();
    let to = callback.to.as_deref().unwrap_or_default();
    let status = callback.status.as_str();
    let id = id::status(number, &callback.sid, status, to, Timestamp::UNIX_EPOCH);
    let errors = callback.error_code.map(|code| v1::ProviderError {
        code,
        ..v1::ProviderError::default()
    });
    let event = v1::StatusReported {
        message_id: attempt.message.as_str().to_owned(),
        number: number.digits().to_owned(),
        attempt: attempt.number,
        channel: v1::Channel::Sms.into(),
        provider_message_id: callback.sid.clone(),
        provider_status: status.to_owned(),
        status: of_twilio(&callback.status).into(),
        times: Some(post.times(post.received)),
        origin: Some(post.origin("")),
        errors: errors.into_iter().collect(),
        pricing: None,
        recipient: Some(convert::inbound::addresses(&addresses(
            Some(to),
            None,
            None,
        ))),
        content_json,
    };
    let record =
        record(post, attempt, id, post.received, event).with(Extension::Number, number.digits());
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
    let (mut from, mut newest) = (1, 0);
    for _ in 0..ROUNDS_MAX {
        for _ in 0..REPORTS_LEN_MAX {
            let Some(stored) = desk.log.next(stream::MESSAGES, &subject, from).await? else {
                break;
            };
            if stored.id() == Some(record.id) {
                return Ok(false);
            }
            newest = stored.sequence;
            from = newest + 1;
        }
        let expect = Expect::last(subject.clone(), newest);
        match desk.log.append(record.clone(), expect).await {
            Ok(_) => return Ok(true),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Setback::Contended { subject })
}

/// Returns a status of Meta's in the stored form.
pub(crate) fn of_meta(status: &DeliveryStatus) -> v1::DeliveryStatus {
    match status {
        DeliveryStatus::Sent => v1::DeliveryStatus::Sent,
        DeliveryStatus::Delivered => v1::DeliveryStatus::Delivered,
        DeliveryStatus::Read => v1::DeliveryStatus::Read,
        DeliveryStatus::Played => v1::DeliveryStatus::Played,
        DeliveryStatus::Failed => v1::DeliveryStatus::Failed,
        DeliveryStatus::Other(_) => v1::DeliveryStatus::Unspecified,
    }
}

/// Returns a status of Twilio's in the stored form. On its way is as good as sent: Twilio has it.
pub(crate) fn of_twilio(status: &Status) -> v1::DeliveryStatus {
    match status {
        Status::Accepted | Status::Scheduled | Status::Queued | Status::Sending | Status::Sent => {
            v1::DeliveryStatus::Sent
        }
        Status::Delivered | Status::PartiallyDelivered => v1::DeliveryStatus::Delivered,
        Status::Read => v1::DeliveryStatus::Read,
        Status::Undelivered | Status::Failed | Status::Canceled => v1::DeliveryStatus::Failed,
        Status::Receiving | Status::Received | Status::Other(_) => v1::DeliveryStatus::Unspecified,
    }
}

fn error(error: &ReportedError) -> v1::ProviderError {
    v1::ProviderError {
        code: error.code,
        title: error.title.clone().unwrap_or_default(),
        message: error.message.clone().unwrap_or_default(),
        details: error.details.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(of_meta(&DeliveryStatus::parse(name)), expected, "{name}");
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
            assert_eq!(of_twilio(&Status::parse(name)), expected, "{name}");
        }
    }
}

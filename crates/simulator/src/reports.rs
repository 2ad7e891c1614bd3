//! Reports about messages: when the platform makes them of its own accord, and what they look like
//! to each channel.
//!
//! Whether a report goes out at once, late, twice or not yet is the outbox's business.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::books::Sent;
use crate::config::AutoStatusStep;
use crate::error::Error;
use crate::faults::Fault;
use crate::outbox::{self, Parcel};
use crate::payload::{self, Shown};
use crate::records::{Channel, CustomerId, MessageKind, Report, Status};
use crate::shared::{Shared, State, pause};
use crate::{generic, vonage};

/// How many reports the books keep of one message.
const REPORTS_KEPT_MAX: usize = 64;
/// When a failure is reported if nothing else would have been.
const FAILS_AFTER: SignedDuration = SignedDuration::from_millis(15);

/// Schedules what the platform reports of its own accord about an accepted message.
pub(crate) fn schedule(shared: &Arc<Shared>, state: &mut State, seq: u64, fails_with: Option<i64>) {
    let steps = match fails_with {
        None => state.auto_status.steps.clone(),
        Some(_) => vec![AutoStatusStep {
            status: Status::Failed,
            after: state
                .auto_status
                .steps
                .first()
                .map_or(FAILS_AFTER, |step| step.after),
        }],
    };
    if steps.is_empty() {
        return;
    }
    let channel = state.books.sent(seq).map(|sent| sent.message.channel);
    let late = channel.and_then(|channel| state.faults.take(channel, late));
    let later = Arc::clone(shared);
    shared.spawn(async move {
        if let Some(by) = late {
            tokio::time::sleep(pause(by)).await;
        }
        for step in steps {
            tokio::time::sleep(pause(step.after)).await;
            let made = later.change(|state| {
                let sent = state.books.sent(seq)?;
                if !applies(sent, step.status) {
                    return None;
                }
                make(&later, state, seq, step.status, fails_with).err()
            });
            if let Some(error) = made {
                tracing::warn!(message.seq = seq, %error, "report dropped");
            }
        }
    });
}

/// Makes a report about an accepted message and sends it.
pub(crate) fn make(
    shared: &Arc<Shared>,
    state: &mut State,
    seq: u64,
    status: Status,
    code: Option<i64>,
) -> Result<(), Error> {
    let report = Report {
        status,
        at: shared.now(),
        code,
    };
    let sent = state.books.sent_mut(seq).ok_or(Error::UnknownMessage)?;
    if sent.message.reports.len() >= REPORTS_KEPT_MAX {
        sent.message.reports.remove(0);
    }
    sent.message.reports.push(report);
    let sent = sent.clone();
    let parcel = match sent.message.channel {
        Channel::Whatsapp => whatsapp(state, &sent, report)?,
        Channel::Sms | Channel::Vonage | Channel::Generic => {
            let parcel = match sent.message.channel {
                Channel::Vonage => vonage::status(shared, &sent, report),
                Channel::Generic => generic::status(shared, &sent, report),
                Channel::Whatsapp | Channel::Sms => sms(shared, &sent, report),
            };
            match parcel {
                Some(parcel) => parcel,
                None => return Ok(()),
            }
        }
    };
    outbox::publish(shared, state, parcel, true)
}

/// Returns what keeps the order of one conversation's webhooks.
pub(crate) fn lane(phone_number_id: &str, customer: &CustomerId) -> String {
    format!("{phone_number_id}/{customer}")
}

/// Returns true if the platform makes such a report about such a message: reactions are only ever
/// `sent` (Meta: reaction messages), SMS are never read.
fn applies(sent: &Sent, status: Status) -> bool {
    match (sent.message.channel, status) {
        (Channel::Sms | Channel::Vonage | Channel::Generic, Status::Read | Status::Played) => false,
        (Channel::Whatsapp, Status::Delivered | Status::Read | Status::Played) => {
            sent.message.kind
                != MessageKind::Other {
                    kind: "reaction".to_owned(),
                }
        }
        _ => true,
    }
}

fn whatsapp(state: &State, sent: &Sent, report: Report) -> Result<Parcel, Error> {
    let books = &state.books;
    let number = books
        .number(&sent.message.from)
        .ok_or(Error::UnknownNumber)?;
    let customer = sent
        .message
        .customer
        .as_ref()
        .and_then(|id| books.customer(id.as_str()))
        .ok_or(Error::UnknownCustomer)?;
    let who = Shown {
        customer,
        shows_phone: books.shows_phone(&sent.message.from, customer),
    };
    Ok(Parcel::Change {
        change: payload::status(number, who, sent, report, books.window),
        lane: lane(&sent.message.from, &customer.id),
    })
}

fn sms(shared: &Shared, sent: &Sent, report: Report) -> Option<Parcel> {
    let url = sent
        .route
        .status_callback
        .clone()
        .or_else(|| shared.twilio.status_callback.clone())?;
    let sid = sent.message.id.clone()?;
    let word = match report.status {
        Status::Failed => "undelivered",
        Status::Sent | Status::Delivered | Status::Read | Status::Played => report.status.as_str(),
    };
    let mut params = vec![
        ("AccountSid".to_owned(), shared.twilio.account_sid.clone()),
        ("ApiVersion".to_owned(), "2010-04-01".to_owned()),
        ("From".to_owned(), sent.message.from.clone()),
        ("MessageSid".to_owned(), sid.clone()),
        ("MessageStatus".to_owned(), word.to_owned()),
        ("SmsSid".to_owned(), sid.clone()),
        ("SmsStatus".to_owned(), word.to_owned()),
        (
            "To".to_owned(),
            format!("+{}", sent.message.to.as_deref().unwrap_or_default()),
        ),
    ];
    if let Some(service) = &sent.route.messaging_service {
        params.push(("MessagingServiceSid".to_owned(), service.clone()));
    }
    if report.status == Status::Failed {
        params.push((
            "ErrorCode".to_owned(),
            report.code.unwrap_or(30_008).to_string(),
        ));
    }
    Some(Parcel::Form {
        url,
        params,
        lane: sid,
    })
}

fn late(fault: &Fault) -> Option<SignedDuration> {
    match fault {
        Fault::DelayReports { by } => Some(*by),
        _ => None,
    }
}

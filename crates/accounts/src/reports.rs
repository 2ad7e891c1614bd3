//! What the platform reports of templates.
//!
//! Only statuses are taken up here; other reports about accounts stay on the log for who needs
//! them.

use std::time::Duration;

use casement_event::convert::{instant, timestamp};
use casement_event::subject::{self, stream};
use casement_event::v1::account_facts::Facts;
use casement_event::{Event, Record, Stored, id, v1};
use casement_event_log::{Delivery, Expect, Failure, Log, WorkSpec};
use jiff::Timestamp;
use serde_json::Value;

use crate::book::{Book, SOURCE};
use crate::decide::{self, Cause};
use crate::template::language;

/// Stands on events that a report caused.
pub(crate) const REPORTER: &str = "platform";

/// The webhook field that tells a template's status (Meta: webhooks, message template status).
const STATUS_FIELD: &str = "message_template_status_update";

/// Reports in hand at once. They are applied one by one anyway.
const IN_HAND_MAX: usize = 16;

/// How long one may take before another process gets it.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// The durable queue of reports.
pub(crate) fn work() -> WorkSpec {
    WorkSpec {
        name: "accounts-reports",
        stream: stream::ACCOUNTS,
        filters: vec!["casement.accounts.reported.template.>".to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: ACK_WAIT,
    }
}

/// A template's status, as reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Names the template; its other fields are empty.
    pub(crate) template: v1::Template,
    pub(crate) status: v1::TemplateStatus,
    pub(crate) time: Timestamp,
}

/// Takes up one report. It is done with, too, if there is nothing in it for us.
pub(crate) async fn take_up(log: &Log, book: &Book, delivery: Delivery) -> Result<(), Failure> {
    let stored = delivery.stored;
    let reported = match stored.event() {
        Ok(Event::AccountReported(reported)) => reported,
        Ok(_) => return Ok(()),
        Err(error) => return bury(log, book, &stored, error.to_string()).await,
    };
    let Some(report) = read(&reported, stored.stored_at) else {
        return Ok(());
    };
    let cause = Cause {
        time: report.time,
        caller: REPORTER.to_owned(),
    };
    let mut desk = book.desk().await?;
    desk.settle(&cause, |ledger| {
        let present = ledger.template(&report.template);
        let reported_at = present
            .filter(|entry| entry.caller == REPORTER)
            .and_then(|entry| entry.time);
        let present = present.map(|entry| &entry.record);
        let event = decide::template_status(present, reported_at, report.status, &cause);
        Ok(event)
    })
    .await?;
    Ok(())
}

/// Reads a report, if it tells a status that matters for sending. A report without its own time
/// counts from when it was stored.
pub(crate) fn read(reported: &v1::AccountReported, stored_at: Timestamp) -> Option<Report> {
    if reported.field != STATUS_FIELD {
        return None;
    }
    let facts = facts(reported)?;
    let event = match reported.event.as_str() {
        "" => facts.event.as_str(),
        event => event,
    };
    let template = facts.template.unwrap_or_default();
    if template.name.is_empty() {
        return None;
    }
    let time = reported.times.as_ref().and_then(|times| {
        let time = times.event_time.as_ref().or(times.received_time.as_ref());
        instant("times", time).ok().flatten()
    });
    Some(Report {
        template: v1::Template {
            waba_id: reported.entry_id.clone(),
            language: language(&template.language)?,
            name: template.name,
            ..v1::Template::default()
        },
        status: status(event)?,
        time: time.unwrap_or(stored_at),
    })
}

/// Returns what a report says of a template's status. Reports from before facts were stored as
/// such are read from what was received.
fn facts(reported: &v1::AccountReported) -> Option<v1::TemplateStatusFacts> {
    match reported.facts.clone().and_then(|facts| facts.facts) {
        Some(Facts::TemplateStatus(facts)) => return Some(facts),
        Some(_) => return None,
        None => {}
    }
    let value: Value = serde_json::from_str(&reported.content_json).ok()?;
    let text = |key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Some(v1::TemplateStatusFacts {
        template: Some(v1::TemplateName {
            name: text("message_template_name"),
            language: text("message_template_language"),
            ..v1::TemplateName::default()
        }),
        event: text("event"),
        ..v1::TemplateStatusFacts::default()
    })
}

/// Returns the status that an event leaves a template in, if it changes whether it can be sent.
///
/// A warning (FLAGGED), a lock against edits (LOCKED) and an appeal (IN_APPEAL) change nothing
/// yet. A template that is to be deleted, or archived, takes no new messages. One that is brought
/// back from the archive counts as approved: if it is not, the first send says so.
fn status(event: &str) -> Option<v1::TemplateStatus> {
    match event.to_ascii_uppercase().as_str() {
        "APPROVED" | "REINSTATED" | "UNARCHIVED" => Some(v1::TemplateStatus::Approved),
        "PENDING" => Some(v1::TemplateStatus::Pending),
        "REJECTED" => Some(v1::TemplateStatus::Rejected),
        "PAUSED" => Some(v1::TemplateStatus::Paused),
        "DISABLED" | "ARCHIVED" => Some(v1::TemplateStatus::Disabled),
        "DELETED" | "PENDING_DELETION" => Some(v1::TemplateStatus::Deleted),
        _ => None,
    }
}

/// Puts what can never be read aside, so that the next report gets its turn.
async fn bury(log: &Log, book: &Book, stored: &Stored, reason: String) -> Result<(), Failure> {
    const ROLE: &str = "accounts";
    let time = book.cause(ROLE).time;
    let letter = v1::DeadLetter {
        role: ROLE.to_owned(),
        reason,
        time: Some(timestamp(time)),
        stream: stored.stream.clone(),
        sequence: stored.sequence,
        item: stored.payload.to_vec(),
        ..v1::DeadLetter::default()
    };
    let id = id::dead(ROLE, &stored.stream, stored.sequence, "");
    let record = Record::new(subject::dead(ROLE), id, SOURCE, time, letter);
    log.append(record, Expect::Anything).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED_AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn reported(event: &str, content: &Value) -> v1::AccountReported {
        v1::AccountReported {
            entry_id: "800".to_owned(),
            field: STATUS_FIELD.to_owned(),
            event: event.to_owned(),
            content_json: content.to_string(),
            ..v1::AccountReported::default()
        }
    }

    fn content() -> Value {
        serde_json::json!({
            "event": "PAUSED",
            "message_template_id": 1_689_556_908_129_832_u64,
            "message_template_name": "order_ready",
            "message_template_language": "en-US",
            "reason": null,
        })
    }

    #[test]
    fn a_report_names_the_template_as_it_is_on_record() {
        let report = read(&reported("", &content()), STORED_AT).unwrap();
        assert_eq!(report.template.waba_id, "800");
        assert_eq!(report.template.name, "order_ready");
        assert_eq!(report.template.language, "en_US");
        assert_eq!(report.status, v1::TemplateStatus::Paused);
        assert_eq!(report.time, STORED_AT);
    }

    #[test]
    fn facts_that_are_stored_as_such_count_and_not_what_was_received() {
        let facts = v1::TemplateStatusFacts {
            template: Some(v1::TemplateName {
                name: "order_ready".to_owned(),
                language: "en_US".to_owned(),
                ..v1::TemplateName::default()
            }),
            event: "REJECTED".to_owned(),
            ..v1::TemplateStatusFacts::default()
        };
        let with = |facts| v1::AccountReported {
            facts: Some(v1::AccountFacts { facts: Some(facts) }),
            ..reported("", &Value::Null)
        };
        let report = read(&with(Facts::TemplateStatus(facts)), STORED_AT).unwrap();
        assert_eq!(report.template.name, "order_ready");
        assert_eq!(report.status, v1::TemplateStatus::Rejected);
        let of_quality = Facts::TemplateQuality(v1::TemplateQualityFacts::default());
        assert_eq!(read(&with(of_quality), STORED_AT), None);
    }

    #[test]
    fn a_report_counts_from_its_own_time() {
        let at = Timestamp::from_second(1_751_247_548).unwrap();
        let reported = v1::AccountReported {
            times: Some(v1::Times {
                event_time: Some(timestamp(at)),
                received_time: None,
                ..v1::Times::default()
            }),
            ..reported("APPROVED", &content())
        };
        let report = read(&reported, STORED_AT).unwrap();
        assert_eq!(
            (report.time, report.status),
            (at, v1::TemplateStatus::Approved)
        );
    }

    #[test]
    fn what_does_not_change_whether_a_template_can_be_sent_is_left_alone() {
        for event in [
            "FLAGGED",
            "LOCKED",
            "IN_APPEAL",
            "LIMIT_EXCEEDED",
            "SOMETHING_NEW",
        ] {
            assert_eq!(
                read(&reported(event, &content()), STORED_AT),
                None,
                "{event}"
            );
        }
        let other_field = v1::AccountReported {
            field: "account_update".to_owned(),
            ..reported("DISABLED", &content())
        };
        assert_eq!(read(&other_field, STORED_AT), None);
        let nameless = serde_json::json!({ "event": "APPROVED" });
        assert_eq!(read(&reported("APPROVED", &nameless), STORED_AT), None);
    }
}

//! What the platform reports of businesses: their verification, for the applications of theirs that
//! are open.

use std::sync::Arc;

use casement_domain::application::{Command, Durations, Report, Source, Status};
use casement_event::convert::instant;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event::v1::account_facts::Facts;
use casement_event::{Event, Stored};
use casement_event_log::{Delivery, Failure, WorkSpec};
use jiff::Timestamp;

use super::{Wish, carry_out};
use crate::book::{Book, BookError};
use crate::decide::Authority;
use crate::ledger::Ledger;
use crate::reports::REPORTER;

/// The webhook field (Meta: webhooks, account update).
const UPDATE_FIELD: &str = "account_update";

/// What tells how a partner's client is doing (Meta: partner-led business verification).
const CERTIFICATION_EVENT: &str = "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE";

/// The durable queue of reports about accounts.
pub(crate) fn work() -> WorkSpec {
    WorkSpec {
        name: "accounts-verifications",
        filters: vec!["casement.accounts.reported.account.>".to_owned()],
        stream: stream::ACCOUNTS,
        ..crate::reports::work()
    }
}

/// What a report says of a business.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    business_id: String,
    report: Report,
}

/// Takes up one report. It is done with, too, if there is nothing in it for us.
pub(crate) async fn take_up(
    book: Arc<Book>,
    durations: Durations,
    delivery: Delivery,
) -> Result<(), Failure> {
    let Some(verdict) = read(&delivery.stored) else {
        return Ok(());
    };
    Ok(settle(&book, &durations, &verdict).await?)
}

/// Takes up what a business account of theirs tells (`business_verification_status`). Whoever read
/// it has other things to do: what goes wrong is told in the logs, and a webhook tells it again.
pub(crate) async fn told(book: &Book, durations: &Durations, business_id: &str, word: &str) {
    let Some(status) = Status::of_platform(word) else {
        return;
    };
    let at = book.cause(REPORTER).time;
    let verdict = Verdict {
        business_id: business_id.to_owned(),
        report: platforms(status, at, word.to_owned(), Vec::new()),
    };
    if let Err(error) = settle(book, durations, &verdict).await {
        tracing::warn!(%error, "verification of a business was not taken up");
    }
}

async fn settle(book: &Book, durations: &Durations, verdict: &Verdict) -> Result<(), BookError> {
    let cause = book.cause(REPORTER);
    let mut desk = book.desk().await?;
    for id in of_business(desk.ledger(), &verdict.business_id) {
        let wish = Wish {
            id: &id,
            authority: &Authority::Every,
            etag: "",
        };
        carry_out(&mut desk, wish, durations, &cause, |_| {
            Ok(Command::Report(verdict.report.clone()))
        })
        .await?;
    }
    Ok(())
}

/// The open applications of a business.
fn of_business(ledger: &Ledger, business_id: &str) -> Vec<String> {
    let all = ledger.applications.iter();
    all.filter(|(_, entry)| {
        let kept = &entry.record;
        kept.known.is_open() && kept.stored.business_id == business_id
    })
    .map(|(id, _)| id.clone())
    .collect()
}

/// Reads a report, if it tells how a verification stands. One without its own time counts from when
/// it was stored.
fn read(stored: &Stored) -> Option<Verdict> {
    let Ok(Event::AccountReported(reported)) = stored.event() else {
        return None;
    };
    verdict(&reported, stored.stored_at)
}

fn verdict(reported: &v1::AccountReported, stored_at: Timestamp) -> Option<Verdict> {
    if reported.field != UPDATE_FIELD {
        return None;
    }
    let Some(Facts::AccountUpdate(facts)) = reported.facts.clone()?.facts else {
        return None;
    };
    if facts.event != CERTIFICATION_EVENT || facts.client_business_id.is_empty() {
        return None;
    }
    let time = reported.times.as_ref().and_then(|times| {
        let time = times.event_time.as_ref().or(times.received_time.as_ref());
        instant("times", time).ok().flatten()
    });
    Some(Verdict {
        business_id: facts.client_business_id,
        report: platforms(
            Status::of_platform(&facts.verification_status)?,
            time.unwrap_or(stored_at),
            facts.verification_status,
            facts.rejection_reasons,
        ),
    })
}

fn platforms(
    status: Status,
    at: Timestamp,
    platform_status: String,
    reasons: Vec<String>,
) -> Report {
    Report {
        status,
        source: Source::Platform,
        at,
        caller: String::new(),
        evidence: String::new(),
        platform_status,
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(event: &str, business: &str, status: &str) -> v1::AccountReported {
        v1::AccountReported {
            entry_id: "800".to_owned(),
            field: UPDATE_FIELD.to_owned(),
            facts: Some(v1::AccountFacts {
                facts: Some(Facts::AccountUpdate(v1::AccountUpdateFacts {
                    event: event.to_owned(),
                    client_business_id: business.to_owned(),
                    verification_status: status.to_owned(),
                    rejection_reasons: vec!["LEGAL_NAME_NOT_FOUND".to_owned()],
                    ..v1::AccountUpdateFacts::default()
                })),
            }),
            ..v1::AccountReported::default()
        }
    }

    #[test]
    fn only_what_tells_an_outcome_is_taken_up() {
        let at = Timestamp::UNIX_EPOCH;
        let read = |event, business, status| verdict(&reported(event, business, status), at);
        let rejected = read(CERTIFICATION_EVENT, "900", "REJECTED").unwrap();
        assert_eq!(rejected.business_id, "900");
        assert_eq!(rejected.report.status, Status::Rejected);
        assert_eq!(rejected.report.reasons, ["LEGAL_NAME_NOT_FOUND"]);
        assert_eq!(rejected.report.at, at);
        assert_eq!(read(CERTIFICATION_EVENT, "", "APPROVED"), None);
        assert_eq!(read(CERTIFICATION_EVENT, "900", "SOMETHING_NEW"), None);
        assert_eq!(read("ACCOUNT_DELETED", "900", "APPROVED"), None);
    }
}

//! What customers said over time, and what all of them allow now: the records of consent read as a
//! ledger.
//!
//! Read from the log, which keeps them for ever. It writes nothing.

use std::collections::HashMap;

use casement_domain::consent::Consent;
use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::subject::{self, stream};
use casement_event::{Event, Stored, convert, v1};
use jiff::Timestamp;

use super::ConsentError;
use crate::connect::Log;
use crate::{Followed, Follower, Start};

/// Kinds of links, as they are stored.
const PHONE: &str = "phone";
const USER_ID: &str = "user_id";

/// One record of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place on CUSTOMERS.
    pub sequence: u64,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// The whole record, with what it added.
    pub record: v1::ConsentRecorded,
}

/// By what a customer can be found in another system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// E.164 digits, without the plus; empty if unknown.
    pub phone: String,
    /// The business-scoped user id; empty if unknown.
    pub user_id: String,
}

/// Returns the records about a customer after a sequence, oldest first, at most `len_max`.
pub async fn history(
    log: &Log,
    portfolio: &PortfolioId,
    customer: &CustomerId,
    after: u64,
    len_max: usize,
) -> Result<Vec<Entry>, ConsentError> {
    let subject = subject::consent(portfolio, customer);
    let Some(newest) = log.last(stream::CUSTOMERS, &subject).await? else {
        return Ok(Vec::new());
    };
    // What stood there before, so that what the first one added can be told.
    let mut before = Consent::default();
    if after > 0
        && let Some(stored) = log.get(stream::CUSTOMERS, after).await?
        && stored.subject == subject
    {
        before = read(&stored)?.1;
    }
    let range = log.read_range(
        stream::CUSTOMERS,
        &subject,
        after + 1,
        newest.sequence,
        len_max,
    );
    let mut entries = Vec::new();
    for stored in range.await? {
        let (mut record, consent) = read(&stored)?;
        if record.changes.is_empty() {
            record.changes = super::changes(&consent, &before, false);
        }
        before = consent;
        entries.push(Entry {
            sequence: stored.sequence,
            stored_at: stored.stored_at,
            record,
        });
    }
    Ok(entries)
}

fn read(stored: &Stored) -> Result<(v1::ConsentRecorded, Consent), ConsentError> {
    let sequence = stored.sequence;
    let unreadable = |problem: String| ConsentError::Unreadable { sequence, problem };
    match stored.event() {
        Ok(Event::ConsentRecorded(record)) => {
            let consent = convert::consent::read_record(&record);
            let consent = consent.map_err(|error| unreadable(error.to_string()))?;
            Ok((record, consent))
        }
        Ok(other) => Err(unreadable(format!("{} is no consent", other.event_type()))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// All records in force of a portfolio, one a customer, as they stood when it began or later.
pub struct Present {
    records: Follower,
}

impl Present {
    /// Begins to read.
    pub fn of(log: &Log, portfolio: &PortfolioId) -> Self {
        let filter = subject::consents(portfolio);
        Self {
            records: log.follow(stream::CUSTOMERS, vec![filter], Start::LastPerSubject),
        }
    }

    /// Returns the next record; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<v1::ConsentRecorded>, ConsentError> {
        match self.records.next().await {
            Followed::Event(stored) => Ok(Some(read(&stored)?.0)),
            Followed::CaughtUp { .. } => Ok(None),
        }
    }
}

/// Returns the phones and user ids of some customers, by the portfolio's links as they are now.
///
/// Links are read one after another and only what belongs to one of `customers` is kept.
pub async fn names(
    log: &Log,
    portfolio: &PortfolioId,
    customers: impl IntoIterator<Item = String>,
) -> Result<HashMap<String, Names>, ConsentError> {
    let mut names: HashMap<String, Names> = customers
        .into_iter()
        .map(|customer| (customer, Names::default()))
        .collect();
    if names.is_empty() {
        return Ok(names);
    }
    let filter = subject::links(portfolio);
    let mut links = log.follow(stream::CUSTOMERS, vec![filter], Start::LastPerSubject);
    while let Followed::Event(stored) = links.next().await {
        let Ok(Event::CustomerLinked(link)) = stored.event() else {
            continue;
        };
        let is_given_up = link.standing() == v1::PhoneStanding::GivenUp;
        let Some(known) = names.get_mut(&link.customer_id) else {
            continue;
        };
        match link.kind.as_str() {
            PHONE if !is_given_up => known.phone = link.identifier,
            USER_ID => known.user_id = link.identifier,
            _ => {}
        }
    }
    Ok(names)
}

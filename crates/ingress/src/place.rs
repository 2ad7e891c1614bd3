//! Where a post's items belong: what every event made from them carries.
//!
//! It stamps events; which event an item becomes is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use casement_domain::id::{BusinessNumber, CustomerId, InvalidId, PortfolioId};
use casement_domain::inbound::QualifyingPolicy;
use casement_event::convert::{instant, timestamp};
use casement_event::{Event, Extension, Record, Uuid, v1};
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Expect, Log, Position};
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::SOURCE;
use crate::heads::Heads;
use crate::queue::Queues;
use crate::recent::Recent;
use crate::search::Horizon;
use crate::sms::Readers;

/// What the normaliser works with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) tokens: Tokens,
    pub(crate) clock: SharedClock,
    pub(crate) policy: QualifyingPolicy,
    /// How far a fact's time may lie ahead of its receipt.
    pub(crate) future_tolerance: SignedDuration,
    pub(crate) horizon: Horizon,
    pub(crate) recent: Recent,
    /// The same for what was reported about messages.
    pub(crate) reports: Recent,
    pub(crate) report_turns: Queues,
    pub(crate) heads: Heads,
    pub(crate) queues: Queues,
    /// Told when something was parked whose number has become known meanwhile.
    pub(crate) replay: Arc<Notify>,
    pub(crate) tally: Tally,
    pub(crate) sms: Readers,
}

/// What became of items so far, by their kind.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Tally {
    /// Returns how many items of each kind had each outcome.
    pub(crate) fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count(&self, kind: &'static str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((kind, outcome)).or_default() += 1;
    }
}

impl Desk {
    /// Counts what became of an item.
    pub(crate) fn count(&self, kind: &'static str, outcome: &'static str) {
        metrics::counter!("casement_ingress_items_total", "kind" => kind, "outcome" => outcome)
            .increment(1);
        self.tally.count(kind, outcome);
    }

    /// Appends what needs no expectation.
    pub(crate) async fn append(&self, record: Record) -> Result<Position, AppendError> {
        self.log.append(record, Expect::Anything).await
    }
}

/// One post on its way.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// Sequence of its pack on RAW.
    pub(crate) sequence: u64,
    /// Its index inside the pack.
    pub(crate) index: u32,
    pub(crate) app: String,
    pub(crate) received: Timestamp,
    pub(crate) traceparent: Option<String>,
}

impl Post {
    pub(crate) fn origin(&self, path: &str) -> v1::RawOrigin {
        v1::RawOrigin {
            sequence: self.sequence,
            post: self.index,
            path: path.to_owned(),
        }
    }

    pub(crate) fn times(&self, at: Timestamp) -> v1::Times {
        v1::Times {
            event_time: Some(timestamp(at)),
            received_time: Some(timestamp(self.received)),
            stated_time: None,
        }
    }

    pub(crate) fn record(
        &self,
        subject: String,
        id: Uuid,
        at: Timestamp,
        event: impl Into<Event>,
    ) -> Record {
        Record::new(subject, id, SOURCE, at, event).caused_by(self.traceparent.clone())
    }
}

/// A business number that an account knows.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) number: BusinessNumber,
    pub(crate) portfolio: PortfolioId,
    pub(crate) brand: String,
    /// What happened before opens nothing.
    pub(crate) onboarded_at: Option<Timestamp>,
}

impl Home {
    pub(crate) fn of(account: &v1::Number) -> Result<Self, InvalidId> {
        Ok(Self {
            number: BusinessNumber::parse(&account.number)?,
            portfolio: PortfolioId::parse(&account.portfolio_id)?,
            brand: account.brand_id.clone(),
            // Accounts checks it before it is stored.
            onboarded_at: instant("onboard_time", account.onboard_time.as_ref())
                .ok()
                .flatten(),
        })
    }

    pub(crate) fn conversation(&self, customer: &CustomerId) -> v1::Conversation {
        v1::Conversation {
            number: self.number.digits().to_owned(),
            customer_id: customer.as_str().to_owned(),
            brand_id: self.brand.clone(),
            portfolio_id: self.portfolio.as_str().to_owned(),
        }
    }

    /// Adds what a subscriber filters by.
    pub(crate) fn mark(&self, record: Record) -> Record {
        record
            .with(Extension::Number, self.number.digits())
            .with(Extension::Brand, self.brand.as_str())
    }

    /// Adds whom it is about, too.
    pub(crate) fn mark_customer(&self, record: Record, customer: &CustomerId) -> Record {
        self.mark(record)
            .about(customer.as_str())
            .with(Extension::Customer, customer.as_str())
    }
}

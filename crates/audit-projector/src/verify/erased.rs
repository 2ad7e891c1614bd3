//! Whether what was erased was erased by the book: each erasure is on record, in the chain of
//! CUSTOMERS, so that nobody makes rows unreadable and calls it an erasure.

use std::collections::{BTreeMap, BTreeSet};

use casement_event::Event;
use casement_event::subject::stream;

use super::report::{Finding, FindingKind};
use crate::model::Content;
use crate::store::{Error, EventFilter, EventKey, Limit, Store};

/// The type of what is on record of an erasure.
const RECORD: &str = "casement.events.v1.ErasureAdvanced";

/// Customers of one chain that are looked for.
const CUSTOMERS_MAX: usize = 100_000;

/// Rows read at once.
const LIMIT: Limit = Limit {
    rows_max: 1_000,
    bytes_max: 16 * 1024 * 1024,
};

/// Customers whose rows were erased, each with the first of them.
#[derive(Debug, Default)]
pub(super) struct Erased(BTreeMap<String, u64>);

impl Erased {
    /// Takes note of a row. Those of no customer have a record that does not name them.
    pub(super) fn add(&mut self, customer_id: &str, sequence: u64) {
        if !customer_id.is_empty() && self.0.len() < CUSTOMERS_MAX {
            self.0.entry(customer_id.to_owned()).or_insert(sequence);
        }
    }

    /// Returns what was erased without a record.
    pub(super) fn findings(self, on_record: &BTreeSet<String>) -> impl Iterator<Item = Finding> {
        let missing = self.0.into_iter();
        let missing = missing.filter(|(customer_id, _)| !on_record.contains(customer_id));
        missing.map(|(customer_id, sequence)| Finding {
            kind: FindingKind::ErasedOffRecord,
            sequence,
            last_sequence: sequence,
            explanation: format!(
                "content is gone with the key of customer {customer_id}, and no erasure of that \
                 customer is on record"
            ),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the customers of whom an erasure is on record; `None` if records cannot be opened here.
pub(super) async fn on_record(store: &dyn Store) -> Result<Option<BTreeSet<String>>, Error> {
    let filter = EventFilter {
        stream: Some(stream::CUSTOMERS.to_owned()),
        event_type: Some(RECORD.to_owned()),
        ..EventFilter::default()
    };
    let mut customers = BTreeSet::new();
    let mut after: Option<EventKey> = None;
    loop {
        let page = match store.events(&filter, after.as_ref(), LIMIT).await {
            Ok(page) => page,
            // A finding of its own chain.
            Err(Error::Inconsistent { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        for row in &page.rows {
            if row.content == Content::Sealed {
                return Ok(None);
            }
            if let Some(Event::ErasureAdvanced(event)) = row.event() {
                customers.extend(event.erasure.unwrap_or_default().customer_ids);
            }
        }
        after = page.rows.last().map(EventKey::of).or(after);
        if !page.has_more {
            return Ok(Some(customers));
        }
    }
}

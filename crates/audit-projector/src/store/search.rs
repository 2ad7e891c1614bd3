//! What was said, found by its words: which SQL asks for it, for every database alike.
//!
//! The words stand here as keyed digests. What is found is read from the archive, opened and
//! compared with what was looked for by whoever asks: digests say nothing of where words stand.

use std::collections::BTreeMap;

use casement_proto::conversation::v1::{CustomerConsent, CustomerConsents, Direction};
use jiff::Timestamp;

use super::backend::{Backend, all, event_key};
use super::sql::{self, Query, Value};
use super::{Answer, Error, EventKey, Limit, read};
use crate::fold::Document;
use crate::keys::{CustomerKeys, KeyError, Keyring};
use crate::model::{Row, nanoseconds};

/// How many rows of the archive are read by one statement.
const ROWS_AT_ONCE: usize = 50;

/// Which of what was said is asked for. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SearchFilter {
    /// All of them: [`crate::words`].
    pub(crate) terms: Vec<String>,
    pub(crate) number: Option<String>,
    pub(crate) customer_id: Option<String>,
    pub(crate) brand_id: Option<String>,
    /// Any of them; all if empty.
    pub(crate) directions: Vec<Direction>,
    pub(crate) since: Option<Timestamp>,
    /// Before this.
    pub(crate) before: Option<Timestamp>,
}

/// Place of something that was said in the order of what is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchKey {
    pub(crate) place: i64,
    pub(crate) event: EventKey,
}

/// Something that has all the words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) key: SearchKey,
    /// `None` if the same fact stands in an earlier row, too.
    pub(crate) row: Option<Row>,
}

/// How a database is asked.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Places of what was said, `d`.
    pub(super) select: &'static str,
    /// That it has words, as [`Backend::all_words`] writes them.
    pub(super) has_words: &'static str,
    pub(super) since: &'static str,
    pub(super) until: &'static str,
    /// That it comes after something in the order.
    pub(super) before: &'static str,
    pub(super) order: &'static str,
}

/// Where a number, or a customer, is a word as well: so that a rare one is found by it.
fn of_number(keys: &CustomerKeys, number: &str) -> Result<String, KeyError> {
    Ok(keys.search()?.lookup("search number", number))
}

fn of_customer(keys: &CustomerKeys, customer_id: &str) -> Result<String, KeyError> {
    Ok(keys.search()?.lookup("search customer", customer_id))
}

/// Returns what stands in the index of something that was said, with a space between; nothing of
/// an erased customer's.
pub(super) fn digests(
    keys: &CustomerKeys,
    keyring: &Keyring,
    of: &Document,
) -> Result<Option<String>, Error> {
    let customer_id = &of.key.customer_id;
    if keyring.seal(customer_id, "", &[])?.is_none() {
        return Ok(None);
    }
    let search = keys.search()?;
    let mut digests = vec![
        of_number(keys, &of.key.number)?,
        of_customer(keys, customer_id)?,
    ];
    digests.extend(of.terms.iter().map(|term| search.term(term)));
    Ok(Some(digests.join(" ")))
}

/// Returns what a customer allows, as it is written.
pub(super) fn consents(of: &[CustomerConsent]) -> Vec<u8> {
    let consents = of.to_vec();
    prost::Message::encode_to_vec(&CustomerConsents { consents })
}

/// Returns what is to stand in an index, each of it.
fn wanted(keys: &CustomerKeys, filter: &SearchFilter) -> Result<Vec<String>, Error> {
    let search = keys.search()?;
    let mut wanted = Vec::new();
    if let Some(customer_id) = &filter.customer_id {
        wanted.push(of_customer(keys, customer_id)?);
    }
    if let Some(number) = &filter.number {
        wanted.push(of_number(keys, number)?);
    }
    wanted.extend(filter.terms.iter().map(|term| search.term(term)));
    Ok(wanted)
}

/// Returns what has all the words, newest first.
pub(super) fn search<'a, B: Backend>(
    backend: &'a B,
    filter: &'a SearchFilter,
    before: Option<&'a SearchKey>,
    rows_max: usize,
) -> Answer<'a, Vec<Found>> {
    Box::pin(async move {
        let wanted = wanted(backend.keys(), filter)?;
        let dialect = B::SEARCH;
        let mut query = Query::new(dialect.select);
        query.and(dialect.has_words, [Value::Text(B::all_words(&wanted))]);
        query.and_text("d.brand_id = ?", filter.brand_id.as_ref());
        query.and_text("d.number = ?", filter.number.as_ref());
        query.and_text("d.customer_id = ?", filter.customer_id.as_ref());
        let directions: Vec<i32> = filter
            .directions
            .iter()
            .map(|one| i32::from(*one))
            .collect();
        query.and_any("d.direction", &directions);
        let time = |at: Timestamp| [Value::Integer(nanoseconds(at))];
        if let Some(since) = filter.since {
            query.and(dialect.since, time(since));
        }
        if let Some(before) = filter.before {
            query.and(dialect.until, time(before));
        }
        if let Some(before) = before {
            let key = std::iter::once(Value::Integer(before.place));
            let key = key.chain(event_key(&before.event));
            query.and(dialect.before, key);
        }
        query.order(dialect.order, rows_max);
        let keys = all(backend, "search", query, read::search_key).await?;
        let mut rows = BTreeMap::new();
        for some in keys.chunks(ROWS_AT_ONCE) {
            for row in archived(backend, some).await? {
                let key = EventKey::of(&row);
                rows.insert((key.stream, key.incarnation, key.sequence), row);
            }
        }
        let found = keys.into_iter().map(|key| {
            let event = key.event.clone();
            let row = rows.remove(&(event.stream, event.incarnation, event.sequence));
            Found { key, row }
        });
        Ok(found.collect())
    })
}

async fn archived<B: Backend>(backend: &B, keys: &[SearchKey]) -> Result<Vec<Row>, Error> {
    let mut query = Query::new(sql::ROW_COLUMNS);
    query.and("is_repeat = FALSE", []);
    let one = "stream = ? AND incarnation = ? AND sequence = ?";
    let each = keys.iter().map(|key| (one, event_key(&key.event).to_vec()));
    query.and_one_of(each.collect());
    query.order(
        "stream, incarnation, sequence",
        keys.len().saturating_add(1),
    );
    let limit = Limit {
        rows_max: keys.len(),
        bytes_max: usize::MAX,
    };
    Ok(super::backend::page(backend, query, limit).await?.rows)
}

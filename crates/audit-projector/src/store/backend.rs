//! What differs between databases, and the store that stands on it.
//!
//! A backend runs queries and writes batches; which queries, and what their rows mean, is the
//! same for all.

use std::collections::BTreeSet;
use std::fmt::Debug;

use casement_event::v1::WindowState;
use jiff::Timestamp;

use super::read::Columns;
use super::sql::{self, Query, Value};
use super::{
    Answer, Chain, ConversationFilter, EndKey, Error, EventFilter, EventKey, Figure, Found, Limit,
    ListKey, MessageFilter, Page, Rebuild, Rebuilding, RequestKey, SearchFilter, SearchKey, Store,
    TimelineKey, conversations, messages, read, rebuild, sealed, search,
};
use crate::batch::Batch;
use crate::chain::Head;
use crate::keys::{CustomerKeys, Keyring};
use crate::model::{Conversation, ConversationKey, Message, Row, nanoseconds};

/// Takes a row, and tells whether it wants more.
pub(super) type Visitor<'a, R> = &'a mut (dyn FnMut(&R) -> Result<bool, Error> + Send);

/// A database.
pub(super) trait Backend: Rebuilding + Debug + Send + Sync {
    /// The name of the database system, as traces have it.
    const SYSTEM: &'static str;

    /// Whether the words of documents stand in a table of their own.
    const HAS_WORDS_APART: bool;

    /// What it answers with.
    type Row: Columns;

    /// How what was said is asked for.
    const SEARCH: search::Dialect;

    /// Asks for all of some digests.
    fn all_words(digests: &[String]) -> String;

    /// Runs a query that changes nothing, and shows its rows.
    fn visit<'a>(
        &'a self,
        operation: &'static str,
        query: Query,
        visitor: Visitor<'a, Self::Row>,
    ) -> Answer<'a, ()>;

    /// Runs a statement of its own.
    fn change<'a>(&'a self, operation: &'static str, statement: Query) -> Answer<'a, ()> {
        self.change_all(operation, vec![statement])
    }

    /// Runs statements in one transaction.
    fn change_all<'a>(&'a self, operation: &'static str, statements: Vec<Query>) -> Answer<'a, ()>;

    /// What opens and seals.
    fn keys(&self) -> &CustomerKeys;

    /// Looks keys up, and makes those that are missing, in a transaction of its own.
    fn keyring(&self, owners: BTreeSet<String>) -> Answer<'_, Keyring>;

    /// Leaves as little as it can of what was overwritten.
    fn scrub(&self) -> Answer<'_, ()>;

    /// Does what [`Store::close`] promises.
    fn end(&self) -> Answer<'_, ()>;

    /// Does what [`Store::append`] promises.
    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()>;
}

/// Sequences fit: the broker counts up to 2^63 only.
pub(super) fn integer(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// How headers are written: JSON, an array of pairs.
pub(super) fn headers(row: &Row) -> String {
    serde_json::to_string(&row.stored.headers).expect("pairs of strings are JSON")
}

pub(super) async fn all<B: Backend, T: Send>(
    backend: &B,
    operation: &'static str,
    query: Query,
    read: impl Fn(&B::Row) -> Result<T, Error> + Send + Sync,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    let mut take = |row: &B::Row| {
        found.push(read(row)?);
        Ok(true)
    };
    backend.visit(operation, query, &mut take).await?;
    Ok(found)
}

pub(super) async fn optional<B: Backend, T: Send>(
    backend: &B,
    operation: &'static str,
    query: Query,
    read: impl Fn(&B::Row) -> Result<T, Error> + Send + Sync,
) -> Result<Option<T>, Error> {
    Ok(all(backend, operation, query, read).await?.pop())
}

/// How far read models are made anew.
pub(super) async fn rebuild_state<B: Backend>(backend: &B) -> Result<Rebuild, Error> {
    let query = Query::whole(rebuild::STATE, []);
    let found = optional(
        backend,
        "read how new read models are",
        query,
        read::rebuild,
    )
    .await?;
    Ok(found.unwrap_or_default())
}

/// How far into each chain that has come.
pub(super) async fn rebuild_marks<B: Backend>(backend: &B) -> Result<Vec<EventKey>, Error> {
    let query = Query::whole(rebuild::MARKS, []);
    all(
        backend,
        "read how new read models are",
        query,
        read::rebuild_mark,
    )
    .await
}

/// Reads rows one by one until a limit is reached. `query` asks for one row more.
pub(super) async fn page<B: Backend>(
    backend: &B,
    query: Query,
    limit: Limit,
) -> Result<Page<Row>, Error> {
    let mut page = Page {
        rows: Vec::new(),
        has_more: false,
    };
    let mut bytes_count = 0;
    let mut take = |row: &B::Row| {
        if page.rows.len() >= limit.rows_max {
            page.has_more = true;
            return Ok(false);
        }
        let row = read::archived(row, backend.keys())?;
        let header_bytes = row
            .stored
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        bytes_count += row.stored.payload.len() + header_bytes.sum::<usize>();
        if bytes_count > limit.bytes_max && !page.rows.is_empty() {
            page.has_more = true;
            return Ok(false);
        }
        page.rows.push(row);
        Ok(true)
    };
    backend.visit("list events", query, &mut take).await?;
    Ok(page)
}

/// Finds the chains that have rows, from one to the next: whoever asked for all distinct ones
/// would read every row.
async fn chains_with_rows<B: Backend>(backend: &B) -> Result<Vec<(String, String)>, Error> {
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        let mut query = Query::new(sql::CHAIN_OF_ROW);
        if let Some((stream, incarnation)) = found.last() {
            let after = [stream, incarnation].map(|text| Value::Text(text.clone()));
            query.and("(stream, incarnation) > (?, ?)", after);
        }
        query.order("stream, incarnation", 1);
        match optional(backend, "list chains", query, read::chain_of_row).await? {
            Some(chain) => found.push(chain),
            None => return Ok(found),
        }
    }
}

pub(super) fn event_key(key: &EventKey) -> [Value; 3] {
    [
        Value::Text(key.stream.clone()),
        Value::Text(key.incarnation.clone()),
        Value::Integer(integer(key.sequence)),
    ]
}

impl<B: Backend> Store for B {
    fn system(&self) -> &'static str {
        B::SYSTEM
    }

    fn head<'a>(&'a self, stream: &'a str, incarnation: &'a str) -> Answer<'a, Option<Head>> {
        let values = [stream, incarnation].map(|text| Value::Text(text.to_owned()));
        let query = Query::whole(sql::HEAD, values);
        Box::pin(optional(self, "read the position", query, read::head))
    }

    fn append<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        self.write(batch)
    }

    fn chains<'a>(&'a self, stream: Option<&'a str>) -> Answer<'a, Vec<Chain>> {
        Box::pin(async move {
            // Rows first: what is archived meanwhile may have a head and no rows here, not rows
            // and no head.
            let with_rows = chains_with_rows(self).await?;
            let heads = Query::whole(sql::HEADS, []);
            let heads = all(self, "list chains", heads, read::head).await?;
            let mut chains: Vec<Chain> = heads
                .into_iter()
                .map(|head| Chain {
                    stream: head.stream.clone(),
                    incarnation: head.incarnation.clone(),
                    head: Some(head),
                })
                .collect();
            for (stream, incarnation) in with_rows {
                let is_known =
                    |chain: &Chain| chain.stream == stream && chain.incarnation == incarnation;
                if !chains.iter().any(is_known) {
                    chains.push(Chain {
                        stream,
                        incarnation,
                        head: None,
                    });
                }
            }
            chains.retain(|chain| stream.is_none_or(|stream| chain.stream == stream));
            Ok(chains)
        })
    }

    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
        after: Option<&'a EventKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>> {
        let mut query = Query::new(sql::ROW_COLUMNS);
        query.and_text("stream = ?", filter.stream.as_ref());
        query.and_text("incarnation = ?", filter.incarnation.as_ref());
        query.and_text("event_type = ?", filter.event_type.as_ref());
        query.and_text("event_id = ?", filter.event_id.as_ref());
        query.and_text("customer_id = ?", filter.customer_id.as_ref());
        query.and_text("message_id = ?", filter.message_id.as_ref());
        query.and_text("brand_id = ?", filter.brand_id.as_ref());
        if let Some(prefix) = &filter.subject_prefix {
            let prefix = || Value::Text(prefix.clone());
            query.and("substr(subject, 1, length(?)) = ?", [prefix(), prefix()]);
        }
        if let Some(sequence_max) = filter.sequence_max {
            query.and("sequence <= ?", [Value::Integer(integer(sequence_max))]);
        }
        if let Some(after) = after {
            query.and(
                "(stream, incarnation, sequence) > (?, ?, ?)",
                event_key(after),
            );
        }
        query.order(
            "stream, incarnation, sequence",
            limit.rows_max.saturating_add(1),
        );
        Box::pin(page(self, query, limit))
    }

    fn timeline<'a>(
        &'a self,
        of: &'a ConversationKey,
        before: Option<&'a TimelineKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>> {
        let mut query = Query::new(sql::ROW_COLUMNS);
        query.and_text("number = ?", Some(&of.number));
        query.and_text("customer_id = ?", Some(&of.customer_id));
        query.and("is_repeat = FALSE", []);
        if let Some(before) = before {
            let time = Value::Integer(nanoseconds(before.stored_time));
            let key = std::iter::once(time).chain(event_key(&before.event));
            query.and(
                "(stored_time_ns, stream, incarnation, sequence) < (?, ?, ?, ?)",
                key,
            );
        }
        let order = "stored_time_ns DESC, stream DESC, incarnation DESC, sequence DESC";
        query.order(order, limit.rows_max.saturating_add(1));
        Box::pin(page(self, query, limit))
    }

    fn conversation<'a>(&'a self, key: &'a ConversationKey) -> Answer<'a, Option<Conversation>> {
        let query = conversations::one(key);
        Box::pin(optional(
            self,
            "read a conversation",
            query,
            |row: &B::Row| read::conversation(row, self.keys()),
        ))
    }

    fn conversations<'a>(
        &'a self,
        filter: &'a ConversationFilter,
        after: Option<&'a ListKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Conversation>> {
        Box::pin(async move {
            let operation = "list conversations";
            let read = |row: &B::Row| read::conversation(row, self.keys());
            let query = conversations::listed(filter, after, rows_max);
            let mut rows = all(self, operation, query, read).await?;
            if let Some(as_of) = filter.as_of {
                // After the others, so that whoever moves meanwhile is in the one or the other.
                let moved = conversations::moved(filter, as_of);
                let moved = all(self, operation, moved, read).await?;
                if !conversations::are_all_moved(&moved) {
                    return Err(Error::Outrun);
                }
                conversations::merge(&mut rows, moved, filter, after, rows_max);
            }
            Ok(rows)
        })
    }

    fn search<'a>(
        &'a self,
        filter: &'a SearchFilter,
        before: Option<&'a SearchKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Found>> {
        search::search(self, filter, before, rows_max)
    }

    fn numbers(&self, numbers_max: usize) -> Answer<'_, Vec<(String, String)>> {
        Box::pin(async move {
            // From one to the next: whoever asked for all distinct ones would read every row.
            let mut found: Vec<(String, String)> = Vec::new();
            while found.len() < numbers_max {
                let mut query = Query::new(sql::NUMBERS);
                query.and_text("number > ?", found.last().map(|(number, _)| number));
                query.order("number, customer_id", 1);
                match optional(self, "list numbers", query, read::number_of_brand).await? {
                    Some(next) => found.push(next),
                    None => break,
                }
            }
            Ok(found)
        })
    }

    fn mentions<'a>(
        &'a self,
        colleague: &'a str,
        brand_id: Option<&'a str>,
        before: Option<&'a TimelineKey>,
        limit: Limit,
    ) -> Answer<'a, Page<Row>> {
        let query = conversations::mentioning(colleague, brand_id, before, limit.rows_max);
        Box::pin(page(self, query, limit))
    }

    fn message<'a>(&'a self, message_id: &'a str) -> Answer<'a, Option<Message>> {
        let query = Query::whole(sql::MESSAGE, [Value::Text(message_id.to_owned())]);
        let read = |row: &B::Row| read::message(row, self.keys());
        Box::pin(optional(self, "read a message", query, read))
    }

    fn messages<'a>(
        &'a self,
        filter: &'a MessageFilter,
        before: Option<&'a RequestKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Message>> {
        Box::pin(async move {
            let keys = self.keys();
            // Terms from before there were keys stand in what is served until it is made anew.
            if !filter.terms.is_empty() && !keys.has_digests_only() {
                let state = rebuild_state(self).await?;
                keys.set_digests_only(!state.served.is_empty());
            }
            let query = messages::listed(keys, filter, before, rows_max)?;
            let read = |row: &B::Row| read::message(row, self.keys());
            all(self, "list messages", query, read).await
        })
    }

    fn figures<'a>(
        &'a self,
        brand_id: &'a str,
        from: Timestamp,
        until: Timestamp,
    ) -> Answer<'a, Vec<Figure>> {
        let values = [
            Value::Text(brand_id.to_owned()),
            Value::Integer(nanoseconds(from)),
            Value::Integer(nanoseconds(until)),
        ];
        let query = Query::whole(sql::FIGURES, values);
        Box::pin(all(self, "count messages", query, read::figure))
    }

    fn open_windows<'a>(&'a self, brand_id: &'a str, now: Timestamp) -> Answer<'a, u64> {
        let values = [
            Value::Text(brand_id.to_owned()),
            Value::Integer(i64::from(i32::from(WindowState::Open))),
            Value::Integer(nanoseconds(now)),
        ];
        let query = Query::whole(sql::OPEN_WINDOWS, values);
        Box::pin(async move {
            let count = optional(self, "count windows", query, read::window_count).await?;
            Ok(count.unwrap_or_default())
        })
    }

    fn ended_messages<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a EndKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<EndKey>> {
        let values = [
            Value::Integer(nanoseconds(before)),
            Value::Integer(after.map_or(i64::MIN, |key| nanoseconds(key.end_time))),
            Value::Text(after.map_or_else(String::new, |key| key.message_id.clone())),
            Value::Integer(i64::try_from(rows_max).unwrap_or(i64::MAX)),
        ];
        let query = Query::whole(sql::ENDED_MESSAGES, values);
        Box::pin(all(self, "list ended messages", query, read::end_key))
    }

    fn mark_purged<'a>(&'a self, message_id: &'a str, archived: u64) -> Answer<'a, ()> {
        let values = [
            Value::Text(message_id.to_owned()),
            Value::Integer(integer(archived)),
        ];
        self.change("mark a message", Query::whole(sql::MARK_PURGED, values))
    }

    fn number_after<'a>(&'a self, number: &'a str) -> Answer<'a, Option<String>> {
        let mut query = Query::new("SELECT number FROM archive");
        query.and_text("number > ?", Some(&number.to_owned()));
        query.order("number", 1);
        Box::pin(optional(self, "list numbers", query, read::number))
    }

    #[cfg(test)]
    fn destroy_keys<'a>(&'a self, customers: &'a [String], at: Timestamp) -> Answer<'a, ()> {
        Box::pin(sealed::destroy(self, customers, at))
    }

    fn old_keys_count(&self) -> Answer<'_, u64> {
        Box::pin(sealed::count_old_keys(self))
    }

    fn rewrap_keys(&self, keys_max: usize) -> Answer<'_, usize> {
        Box::pin(sealed::rewrap(self, keys_max))
    }

    fn seal_next(&self, rows_max: usize) -> Answer<'_, usize> {
        Box::pin(sealed::seal_next(self, rows_max))
    }

    fn unsealed_count(&self) -> Answer<'_, u64> {
        Box::pin(sealed::count_left(self))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.end()
    }
}

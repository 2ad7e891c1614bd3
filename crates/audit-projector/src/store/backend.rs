//! What differs between databases, and the store that stands on it.
//!
//! A backend runs queries and writes batches; which queries, and what their rows mean, is the
//! same for all.

use std::fmt::Debug;

use casement_event::convert;
use casement_event::v1::WindowState;
use casement_proto::message::v1 as proto;
use jiff::Timestamp;

use super::read::Columns;
use super::sql::{self, Query, Value};
use super::{
    Answer, Chain, ConversationFilter, EndKey, Error, EventFilter, EventKey, Figure, Limit,
    ListKey, MessageFilter, Page, Rebuild, RequestKey, Store, TimelineKey, conversations, read,
};
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::model::{Conversation, ConversationKey, Message, Row, nanoseconds};

/// Takes a row, and tells whether it wants more.
pub(super) type Visitor<'a, R> = &'a mut (dyn FnMut(&R) -> Result<bool, Error> + Send);

/// A database.
pub(super) trait Backend: Debug + Send + Sync {
    /// The name of the database system, as traces have it.
    const SYSTEM: &'static str;

    /// What it answers with.
    type Row: Columns;

    /// Runs a query that changes nothing, and shows its rows.
    fn visit<'a>(
        &'a self,
        operation: &'static str,
        query: Query,
        visitor: Visitor<'a, Self::Row>,
    ) -> Answer<'a, ()>;

    /// Runs a statement of its own.
    fn change<'a>(&'a self, operation: &'static str, statement: Query) -> Answer<'a, ()>;

    /// Does what [`Store::append`] promises.
    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()>;

    /// Does what [`Store::project_again`] promises, for rows.
    fn write_again<'a>(
        &'a self,
        version: i64,
        from: &'a Rebuild,
        rows: &'a [Entry],
    ) -> Answer<'a, ()>;
}

/// Sequences fit: the broker counts up to 2^63 only.
pub(super) fn integer(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// How headers are written: JSON, an array of pairs.
pub(super) fn headers(row: &Row) -> String {
    serde_json::to_string(&row.stored.headers).expect("pairs of strings are JSON")
}

async fn all<B: Backend, T: Send>(
    backend: &B,
    operation: &'static str,
    query: Query,
    read: fn(&B::Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    let mut take = |row: &B::Row| {
        found.push(read(row)?);
        Ok(true)
    };
    backend.visit(operation, query, &mut take).await?;
    Ok(found)
}

async fn optional<B: Backend, T: Send>(
    backend: &B,
    operation: &'static str,
    query: Query,
    read: fn(&B::Row) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    Ok(all(backend, operation, query, read).await?.pop())
}

/// Reads rows one by one until a limit is reached. `query` asks for one row more.
async fn page<B: Backend>(backend: &B, query: Query, limit: Limit) -> Result<Page<Row>, Error> {
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
        let row = read::archived(row)?;
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
            read::conversation,
        ))
    }

    fn conversations<'a>(
        &'a self,
        filter: &'a ConversationFilter,
        after: Option<&'a ListKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Conversation>> {
        let query = conversations::listed(filter, after, rows_max);
        Box::pin(all(self, "list conversations", query, read::conversation))
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
        Box::pin(optional(self, "read a message", query, read::message))
    }

    fn messages<'a>(
        &'a self,
        filter: &'a MessageFilter,
        before: Option<&'a RequestKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Message>> {
        let query = messages_query(filter, before, rows_max);
        Box::pin(all(self, "list messages", query, read::message))
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

    fn rebuild(&self, version: i64) -> Answer<'_, Rebuild> {
        Box::pin(async move {
            let ask = || Query::whole(sql::REBUILD, [Value::Integer(version)]);
            let operation = "read how far messages were projected again";
            if let Some(found) = optional(self, operation, ask(), read::rebuild).await? {
                return Ok(found);
            }
            let begin = Query::whole(sql::BEGIN_REBUILD, [Value::Integer(version)]);
            self.change("begin to project messages again", begin)
                .await?;
            let found = optional(self, operation, ask(), read::rebuild).await?;
            Ok(found.unwrap_or_default())
        })
    }

    fn project_again<'a>(
        &'a self,
        version: i64,
        from: &'a Rebuild,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        if !rows.is_empty() {
            return self.write_again(version, from, rows);
        }
        let values = [
            Value::Integer(version),
            Value::Text(from.incarnation.clone()),
            Value::Integer(integer(from.sequence)),
        ];
        let end = Query::whole(sql::END_REBUILD, values);
        self.change("end to project messages again", end)
    }

    fn first_since<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        since: Timestamp,
    ) -> Answer<'a, Option<u64>> {
        let values = [
            Value::Text(stream.to_owned()),
            Value::Text(incarnation.to_owned()),
            Value::Integer(nanoseconds(since)),
        ];
        let query = Query::whole(sql::FIRST_SINCE, values);
        let operation = "find the oldest young row";
        Box::pin(optional(self, operation, query, read::sequence))
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
}

/// Asks for messages, the newest request first.
fn messages_query(filter: &MessageFilter, before: Option<&RequestKey>, rows_max: usize) -> Query {
    let mut terms = filter.terms.iter();
    let by_term = terms.next();
    let mut query = Query::new(if by_term.is_some() {
        sql::MESSAGES_BY_TERM
    } else {
        sql::MESSAGES
    });
    query.and_text("t.term = ?", by_term);
    for term in terms {
        query.and_text(sql::HAS_TERM, Some(term));
    }
    query.and_text("m.brand_id = ?", filter.brand_id.as_ref());
    query.and_text("m.number = ?", filter.number.as_ref());
    query.and_text("m.customer_id = ?", filter.customer_id.as_ref());
    query.and_text("m.reason = ?", filter.reason.as_ref());
    let states: Vec<i32> = filter.states.iter().map(|one| i32::from(*one)).collect();
    query.and_any("m.state", &states);
    let outcomes: Vec<i32> = filter.outcomes.iter().map(|one| i32::from(*one)).collect();
    query.and_any("m.outcome", &outcomes);
    let (since, until, key, order) = if by_term.is_some() {
        (
            "t.request_time_ns >= ?",
            "t.request_time_ns < ?",
            "(t.request_time_ns, t.message_id) < (?, ?)",
            "t.request_time_ns DESC, t.message_id DESC",
        )
    } else {
        (
            "m.request_time_ns >= ?",
            "m.request_time_ns < ?",
            "(m.request_time_ns, m.message_id) < (?, ?)",
            "m.request_time_ns DESC, m.message_id DESC",
        )
    };
    let time = |at: Timestamp| [Value::Integer(nanoseconds(at))];
    if let Some(min) = filter.request_time_min {
        query.and(since, time(min));
    }
    if let Some(end) = filter.request_time_end {
        query.and(until, time(end));
    }
    if let Some(before) = before {
        let [at] = time(before.request_time);
        query.and(key, [at, Value::Text(before.message_id.clone())]);
    }
    query.order(order, rows_max);
    query
}

/// What a message cost so far, and in which currency; nothing if none of its attempts has a price.
pub(super) fn cost(message: &Message) -> (i64, &str) {
    let costs = message.attempts.iter().filter_map(|it| it.cost.as_ref());
    let amounts: Vec<_> = costs.filter_map(|cost| cost.amount.as_ref()).collect();
    let micros = amounts.iter().map(|amount| amount.micros);
    let micros = micros.fold(0, |sum: i64, one| {
        sum.saturating_add(i64::try_from(one).unwrap_or(i64::MAX))
    });
    let currency = amounts.first().map(|amount| amount.currency.as_str());
    (micros, currency.unwrap_or_default())
}

/// What is kept of a message and looked up by nothing.
pub(super) fn details(message: &Message) -> Vec<u8> {
    let details = proto::Message {
        labels: message.labels.clone(),
        sensitive: message.is_sensitive,
        send_time: message.send_time.map(convert::timestamp),
        attempts: message.attempts.clone(),
        deferral: message.deferral.clone(),
        double_exposure: message.double_exposure.clone(),
        nudge_message_id: message.nudge_message_id.clone(),
        held_message_id: message.held_message_id.clone(),
        ..proto::Message::default()
    };
    prost::Message::encode_to_vec(&details)
}

/// Notes how far messages are projected again with the last of some rows, if nobody else has gone
/// on from there.
pub(super) fn advance_rebuild(version: i64, from: &Rebuild, last: &Row) -> Query {
    let values = [
        Value::Integer(version),
        Value::Text(last.stored.incarnation.clone()),
        Value::Integer(integer(last.stored.sequence)),
        Value::Text(from.incarnation.clone()),
        Value::Integer(integer(from.sequence)),
    ];
    Query::whole(sql::ADVANCE_REBUILD, values)
}

/// Where a message stands in the order of requests, as it is written.
pub(super) fn requested_ns(message: &Message) -> i64 {
    message.request_time.map_or(0, nanoseconds)
}

//! The archive in one SQLite file.
//!
//! One connection writes, a few read beside it (write-ahead log). A commit is on disk when it
//! returns (`synchronous = FULL`).

use std::path::Path;
use std::time::Duration;

use casement_event::v1::WindowState;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Sqlite as Driver};

use super::sql::{self, Query, Value};
use super::write::{failed, integer};
use super::{
    Answer, Chain, ConversationFilter, EndKey, Error, EventFilter, EventKey, ExpiryKey, Limit,
    Page, Store, TimelineKey, read, write,
};
use crate::batch::Batch;
use crate::chain::Head;
use crate::model::{Conversation, ConversationKey, Message, Row, nanoseconds};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// An archive in a file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, creates it if absent, and brings its tables up to date.
    pub(crate) async fn open(path: &Path, readers_count: u32) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(failed("open"))?;
        MIGRATIONS
            .run(&writer)
            .await
            .map_err(|error| Error::Database {
                operation: "migrate",
                source: error.into(),
            })?;
        let readers = pool(readers_count.max(1))
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed("open"))?;
        Ok(Self { writer, readers })
    }

    /// Opens a file for reading alone. Another process may write it meanwhile.
    pub(crate) async fn open_read_only(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT);
        let readers = pool(1)
            .connect_with(options)
            .await
            .map_err(failed("open"))?;
        Ok(Self {
            writer: readers.clone(),
            readers,
        })
    }

    /// Changes the database behind the store's back.
    #[cfg(test)]
    pub(crate) async fn tamper(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.writer).await.unwrap();
    }

    async fn optional<T>(
        &self,
        operation: &'static str,
        query: sqlx::query::Query<'_, Driver, SqliteArguments>,
        read: impl FnOnce(&SqliteRow) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let row = query
            .fetch_optional(&self.readers)
            .await
            .map_err(failed(operation))?;
        row.as_ref().map(read).transpose()
    }

    async fn all<T>(
        &self,
        operation: &'static str,
        query: sqlx::query::Query<'_, Driver, SqliteArguments>,
        read: impl FnMut(&SqliteRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = query
            .fetch_all(&self.readers)
            .await
            .map_err(failed(operation))?;
        rows.iter().map(read).collect()
    }

    /// Reads rows one by one until a limit is reached. `query` asks for one row more.
    async fn page(&self, query: Query, limit: Limit) -> Result<Page<Row>, Error> {
        let query = bound(query);
        let mut stream = query.fetch(&self.readers);
        let (mut rows, mut bytes_count) = (Vec::new(), 0);
        while let Some(row) = stream.try_next().await.map_err(failed("list events"))? {
            if rows.len() >= limit.rows_max {
                return Ok(Page {
                    rows,
                    has_more: true,
                });
            }
            let row = read::archived(&row)?;
            let header_bytes = row
                .stored
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len());
            bytes_count += row.stored.payload.len() + header_bytes.sum::<usize>();
            if bytes_count > limit.bytes_max && !rows.is_empty() {
                return Ok(Page {
                    rows,
                    has_more: true,
                });
            }
            rows.push(row);
        }
        Ok(Page {
            rows,
            has_more: false,
        })
    }
}

fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
}

fn bound(query: Query) -> sqlx::query::Query<'static, Driver, SqliteArguments> {
    // Put together from constants; see `Query`.
    let mut bound = sqlx::query(AssertSqlSafe(query.sql));
    for value in query.values {
        bound = match value {
            Value::Text(text) => bound.bind(text),
            Value::Integer(integer) => bound.bind(integer),
        };
    }
    bound
}

fn event_key(key: &EventKey) -> [Value; 3] {
    [
        Value::Text(key.stream.clone()),
        Value::Text(key.incarnation.clone()),
        Value::Integer(integer(key.sequence)),
    ]
}

fn expiry(time: Option<Timestamp>) -> Value {
    Value::Integer(time.map_or(sql::NEVER_NS, nanoseconds))
}

impl Store for Sqlite {
    fn head<'a>(&'a self, stream: &'a str, incarnation: &'a str) -> Answer<'a, Option<Head>> {
        let query = sqlx::query(sql::HEAD).bind(stream).bind(incarnation);
        Box::pin(self.optional("read the position", query, read::head))
    }

    fn append<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            write::append(&mut connection, batch).await
        })
    }

    fn chains<'a>(&'a self, stream: Option<&'a str>) -> Answer<'a, Vec<Chain>> {
        Box::pin(async move {
            // Rows first: what is archived meanwhile may have a head and no rows here, not rows
            // and no head.
            let with_rows = sqlx::query(sql::CHAINS_WITH_ROWS);
            let with_rows = self
                .all("list chains", with_rows, read::stream_and_incarnation)
                .await?;
            let heads = self
                .all("list chains", sqlx::query(sql::HEADS), read::head)
                .await?;
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
        Box::pin(self.page(query, limit))
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
            let time = Value::Integer(nanoseconds(before.event_time));
            let key = std::iter::once(time).chain(event_key(&before.event));
            query.and(
                "(event_time_ns, stream, incarnation, sequence) < (?, ?, ?, ?)",
                key,
            );
        }
        let order = "event_time_ns DESC, stream DESC, incarnation DESC, sequence DESC";
        query.order(order, limit.rows_max.saturating_add(1));
        Box::pin(self.page(query, limit))
    }

    fn conversation<'a>(&'a self, key: &'a ConversationKey) -> Answer<'a, Option<Conversation>> {
        let mut query = Query::new(sql::CONVERSATION_COLUMNS);
        query.and_text("number = ?", Some(&key.number));
        query.and_text("customer_id = ?", Some(&key.customer_id));
        Box::pin(self.optional("read a conversation", bound(query), read::conversation))
    }

    fn conversations<'a>(
        &'a self,
        filter: &'a ConversationFilter,
        after: Option<&'a ExpiryKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Conversation>> {
        let mut query = Query::new(sql::CONVERSATION_COLUMNS);
        query.and_text("number = ?", filter.number.as_ref());
        query.and_text("brand_id = ?", filter.brand_id.as_ref());
        let open = || {
            let open = Value::Integer(i64::from(i32::from(WindowState::Open)));
            [open, Value::Integer(nanoseconds(filter.now))]
        };
        match filter.window_state {
            Some(WindowState::Open) => {
                query.and("window_state = ? AND expire_time_ns > ?", open());
            }
            Some(WindowState::Closed) => {
                query.and("(window_state <> ? OR expire_time_ns <= ?)", open());
            }
            Some(WindowState::Unspecified) | None => {}
        }
        if let Some(expire_time_max) = filter.expire_time_max {
            query.and(
                "expire_time_ns <= ?",
                [Value::Integer(nanoseconds(expire_time_max))],
            );
        }
        if let Some(after) = after {
            let key = [
                expiry(after.expire_time),
                Value::Text(after.key.number.clone()),
                Value::Text(after.key.customer_id.clone()),
            ];
            query.and("(expire_time_ns, number, customer_id) > (?, ?, ?)", key);
        }
        query.order("expire_time_ns, number, customer_id", rows_max);
        Box::pin(self.all("list conversations", bound(query), read::conversation))
    }

    fn message<'a>(&'a self, message_id: &'a str) -> Answer<'a, Option<Message>> {
        let query = sqlx::query(sql::MESSAGE).bind(message_id);
        Box::pin(self.optional("read a message", query, read::message))
    }

    fn first_since<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        since: Timestamp,
    ) -> Answer<'a, Option<u64>> {
        let query = sqlx::query(sql::FIRST_SINCE)
            .bind(stream)
            .bind(incarnation)
            .bind(nanoseconds(since));
        Box::pin(self.optional("find the oldest young row", query, read::sequence))
    }

    fn ended_messages<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a EndKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<EndKey>> {
        let query = sqlx::query(sql::ENDED_MESSAGES)
            .bind(nanoseconds(before))
            .bind(after.map_or(i64::MIN, |key| nanoseconds(key.end_time)))
            .bind(after.map_or("", |key| &key.message_id))
            .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
        Box::pin(self.all("list ended messages", query, read::end_key))
    }

    fn mark_purged<'a>(&'a self, message_id: &'a str, archived: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let query = sqlx::query(sql::MARK_PURGED)
                .bind(message_id)
                .bind(integer(archived));
            query
                .execute(&self.writer)
                .await
                .map_err(failed("mark a message"))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contract::{self, Fixture};
    use super::*;

    async fn make() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let store = Sqlite::open(&path, 2).await.unwrap();
        let tamper = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(false);
        let tamper = pool(1).connect_with(tamper).await.unwrap();
        Fixture {
            store: Arc::new(store),
            tamper: Box::new(move |sql| {
                let (tamper, query) = (tamper.clone(), sqlx::query(AssertSqlSafe(sql.to_owned())));
                Box::pin(async move {
                    query.execute(&tamper).await.unwrap();
                })
            }),
            folder,
        }
    }

    contract::suite!(make);

    #[tokio::test]
    async fn a_file_is_opened_again_and_also_for_reading_alone() {
        let fixture = make().await;
        let path = fixture.folder.path().join("archive.sqlite");
        Sqlite::open(&path, 1).await.unwrap();
        let reader = Sqlite::open_read_only(&path).await.unwrap();
        assert_eq!(reader.chains(None).await.unwrap(), []);
        let absent = Sqlite::open_read_only(&fixture.folder.path().join("absent")).await;
        assert!(matches!(
            absent,
            Err(Error::Database {
                operation: "open",
                ..
            })
        ));
    }
}

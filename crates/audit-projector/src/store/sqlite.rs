//! The archive in one SQLite file.
//!
//! One connection writes, a few read beside it (write-ahead log). A commit is on disk when it
//! returns (`synchronous = FULL`).

mod inspect;
mod write;

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Sqlite as Driver};

use super::backend::{Backend, Visitor};
use super::sql::{Query, Value};
use super::{Answer, Error, Rebuild, failed, text};
use crate::batch::{Batch, Entry};

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
        MIGRATIONS.run(&writer).await.map_err(failed("migrate"))?;
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
            Value::Text(text) => bound.bind(text::escape(&text).into_owned()),
            Value::Integer(integer) => bound.bind(integer),
        };
    }
    bound
}

impl Backend for Sqlite {
    const SYSTEM: &'static str = "sqlite";

    type Row = SqliteRow;

    fn visit<'a>(
        &'a self,
        operation: &'static str,
        query: Query,
        visitor: Visitor<'a, SqliteRow>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut rows = bound(query).fetch(&self.readers);
            while let Some(row) = rows.try_next().await.map_err(failed(operation))? {
                if !visitor(&row)? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn change<'a>(&'a self, operation: &'static str, statement: Query) -> Answer<'a, ()> {
        Box::pin(async move {
            let done = bound(statement).execute(&self.writer).await;
            done.map_err(failed(operation))?;
            Ok(())
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            write::append(&mut connection, batch).await
        })
    }

    fn write_again<'a>(
        &'a self,
        version: i64,
        from: &'a Rebuild,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            write::again(&mut connection, version, from, rows).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contract::{self, Fixture};
    use super::*;

    async fn make_in(folder: tempfile::TempDir) -> Fixture {
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
            _keeps: Box::new(folder),
        }
    }

    async fn make() -> Fixture {
        make_in(tempfile::tempdir().unwrap()).await
    }

    contract::suite!(make);

    #[tokio::test]
    async fn a_file_is_opened_again_and_also_for_reading_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let absent = Sqlite::open_read_only(&path).await;
        assert!(matches!(
            absent,
            Err(Error::Database {
                operation: "open",
                ..
            })
        ));
        let fixture = make_in(folder).await;
        Sqlite::open(&path, 1).await.unwrap();
        let reader: contract::SharedStore = Arc::new(Sqlite::open_read_only(&path).await.unwrap());
        assert_eq!(reader.chains(None).await.unwrap(), []);
        drop(fixture);
    }
}

//! The archive in one SQLite file.
//!
//! One connection writes, a few read beside it (write-ahead log). A commit is on disk when it
//! returns (`synchronous = FULL`).

mod copy;
mod inspect;
mod many;
mod rebuild;
mod search;
mod write;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use casement_secrets::keys::MasterKeys;
use futures::TryStreamExt as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Sqlite as Driver};
use tokio::sync::RwLock;

use super::backend::{Backend, Visitor};
use super::search::Dialect;
use super::sql::{Query, Value};
use super::{Answer, Error, failed, text};
use crate::batch::Batch;
use crate::keys::{CustomerKeys, Keyring, SEARCH_OWNER};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that the writing connection keeps, in KiB (negative: SQLite's word for bytes instead of
/// pages). With its 2 MiB of default, what a batch touches of a dozen indexes was read again from
/// the file for each batch.
const WRITER_CACHE: &str = "-65536";

/// Pages of the write-ahead log after which it goes into the file; SQLite's default is 1,000. A page
/// that many batches touch is then copied and synced once for all of them. So much (16 MiB) the log
/// may hold, and so much is read again after a kill.
const CHECKPOINT_PAGES: &str = "4000";

/// How long a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// An archive in a file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    keys: CustomerKeys,
    /// Held by whoever archives; and whole, by whoever exchanges tables.
    writing: Arc<RwLock<()>>,
}

impl Sqlite {
    /// Opens the file, creates it if absent, and brings its tables up to date.
    pub(crate) async fn open(
        path: &Path,
        readers_count: u32,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, Error> {
        let keys = CustomerKeys::new(masters);
        keys.master_key_id()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writing = options
            .clone()
            // So that a destroyed key, and what was in the open, is not left in free pages.
            .pragma("secure_delete", "ON")
            .pragma("cache_size", WRITER_CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            // What a statement may have to take back is not worth a file of its own.
            .pragma("temp_store", "MEMORY")
            .statement_cache_capacity(many::STATEMENTS_KEPT);
        let writer = pool(1)
            .connect_with(writing)
            .await
            .map_err(failed("open"))?;
        MIGRATIONS.run(&writer).await.map_err(failed("migrate"))?;
        let readers = pool(readers_count.max(1))
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed("open"))?;
        let store = Self {
            writer,
            readers,
            keys,
            writing: Arc::default(),
        };
        store.prepare().await?;
        Ok(store)
    }

    /// Makes the search key ready. Also proves that the master keys are those of this file: it is
    /// wrapped anew after all others.
    async fn prepare(&self) -> Result<(), Error> {
        let owners = BTreeSet::from([SEARCH_OWNER.to_owned()]);
        let mut transaction = self.writer.begin().await.map_err(failed("begin"))?;
        let found = write::wrapped_keys(&mut transaction, &self.keys, &owners).await?;
        for wrapped in found.values() {
            self.keys.set_search(wrapped)?;
        }
        transaction.commit().await.map_err(failed("commit"))
    }

    /// Opens a file for reading alone. Another process may write it meanwhile. Without master
    /// keys, what is sealed stays so.
    pub(crate) async fn open_read_only(
        path: &Path,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, Error> {
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
            keys: CustomerKeys::new(masters),
            writing: Arc::default(),
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
            Value::Bytes(bytes) => bound.bind(bytes),
        };
    }
    bound
}

impl Backend for Sqlite {
    const SYSTEM: &'static str = "sqlite";

    const HAS_WORDS_APART: bool = true;

    type Row = SqliteRow;

    const SEARCH: Dialect = Dialect {
        select: "\
SELECT d.place, d.stream, d.incarnation, d.sequence
FROM search_words JOIN search_documents d ON d.place = search_words.rowid",
        has_words: "search_words MATCH ?",
        since: "search_words.rowid >= ?",
        until: "search_words.rowid < ?",
        // A place is of one document alone.
        before: "search_words.rowid < ?",
        order: "search_words.rowid DESC",
    };

    fn all_words(digests: &[String]) -> String {
        digests.join(" AND ")
    }

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

    fn change_all<'a>(&'a self, operation: &'static str, statements: Vec<Query>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.writer.begin().await.map_err(failed("begin"))?;
            for statement in statements {
                let done = bound(statement).execute(&mut *transaction).await;
                done.map_err(failed(operation))?;
            }
            transaction.commit().await.map_err(failed("commit"))
        })
    }

    fn keys(&self) -> &CustomerKeys {
        &self.keys
    }

    fn keyring(&self, owners: BTreeSet<String>) -> Answer<'_, Keyring> {
        Box::pin(async move {
            let mut transaction = self.writer.begin().await.map_err(failed("begin"))?;
            let keyring = write::keyring(&mut transaction, &self.keys, &owners).await?;
            transaction.commit().await.map_err(failed("commit"))?;
            Ok(keyring)
        })
    }

    /// What is overwritten in the file is gone (`secure_delete`); the write-ahead log is emptied
    /// if nobody reads from it, else soon after.
    fn scrub(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&self.writer)
                .await;
            emptied.map_err(failed("empty the write-ahead log"))?;
            Ok(())
        })
    }

    /// The last connection that ends puts the write-ahead log into the file, and removes it.
    fn end(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            let _writes = self.writing.read().await;
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            write::append(&mut connection, batch, &self.keys).await
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use casement_event::v1;

    use super::super::Store;
    use super::super::contract::{self, Fixture};
    use super::*;
    use crate::chain::Head;
    use crate::fixture;

    pub(in crate::store) async fn make_in(folder: tempfile::TempDir) -> Fixture {
        let path = folder.path().join("archive.sqlite");
        let store = Sqlite::open(&path, 2, fixture::masters()).await.unwrap();
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
            literal: |bytes| format!("X'{}'", hex::encode(bytes)),
            again: {
                let path = path.clone();
                Box::new(move || {
                    let path = path.clone();
                    Box::pin(async move {
                        let store = Sqlite::open(&path, 1, fixture::masters()).await;
                        Arc::new(store.unwrap()) as contract::SharedStore
                    })
                })
            },
            under: {
                let path = path.clone();
                Box::new(move |masters| {
                    let path = path.clone();
                    Box::pin(async move {
                        let store = Sqlite::open(&path, 1, masters).await?;
                        Ok(Arc::new(store) as contract::SharedStore)
                    })
                })
            },
            files: {
                let folder = folder.path().to_owned();
                Box::new(move || {
                    let folder = folder.clone();
                    Box::pin(async move {
                        let files = std::fs::read_dir(folder).unwrap();
                        let read = |file: std::io::Result<std::fs::DirEntry>| {
                            std::fs::read(file.unwrap().path()).unwrap()
                        };
                        files.flat_map(read).collect()
                    })
                })
            },
            _keeps: Box::new(folder),
        }
    }

    async fn make() -> Fixture {
        make_in(tempfile::tempdir().unwrap()).await
    }

    contract::suite!(make);

    /// Prints what sealing costs beside the writing; `--no-capture` shows it.
    #[tokio::test]
    async fn a_batch_of_a_thousand_customers_is_sealed_by_one_lookup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let store = Sqlite::open(&path, 2, fixture::masters()).await.unwrap();
        let events = |from: u64| {
            let event = |sequence: u64| {
                let customer = format!("c{}", sequence % 1_000);
                let text = v1::InboundMessageReceived {
                    conversation: Some(v1::Conversation {
                        customer_id: customer.clone(),
                        ..fixture::conversation()
                    }),
                    text: "Where is my parcel? It was to come on Monday.".to_owned(),
                    ..Default::default()
                };
                let subject = format!("casement.events.inbound.03.15550001111.{customer}");
                fixture::record_on(&subject, "EVENTS", sequence, &text.into())
            };
            (from..from + 1_000).map(event).collect::<Vec<_>>()
        };
        let mut head = Head::start("EVENTS", "1a");
        for (from, what) in [(1, "of new customers"), (1_001, "of known ones")] {
            let batch = Batch::seal(head, events(from), rand::random);
            let since = tokio::time::Instant::now();
            Store::append(&store, &batch).await.unwrap();
            let whole = since.elapsed();
            let owners = || (0..1_000).map(|number| format!("c{number}")).collect();
            let since = tokio::time::Instant::now();
            let keyring = store.keyring(owners()).await.unwrap();
            let lookup = since.elapsed();
            let since = tokio::time::Instant::now();
            for entry in &batch.entries {
                let owner = &entry.row.index.customer_id;
                let sealed = super::super::sealed::row(&keyring, owner, &entry.row).unwrap();
                assert!(sealed.len() > entry.row.stored.payload.len());
            }
            let sealing = since.elapsed();
            println!("1,000 rows {what}: {whole:?}, keys {lookup:?}, sealing {sealing:?}");
            head = batch.after;
        }
        assert_eq!(head.row_count, 2_000);
    }

    #[tokio::test]
    async fn a_file_is_opened_again_and_also_for_reading_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let absent = Sqlite::open_read_only(&path, Arc::default()).await;
        assert!(matches!(
            absent,
            Err(Error::Database {
                operation: "open",
                ..
            })
        ));
        let fixture = make_in(folder).await;
        Sqlite::open(&path, 1, fixture::masters()).await.unwrap();
        let reader = Sqlite::open_read_only(&path, Arc::default()).await;
        let reader: contract::SharedStore = Arc::new(reader.unwrap());
        assert_eq!(reader.chains(None).await.unwrap(), []);
        drop(fixture);
    }
}

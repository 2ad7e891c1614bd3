//! The databases, looked at beside the projector, and loaded in bulk for comparison.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

/// Rows of a transaction, as many as the projector archives in one at most.
const BATCH_ROWS: usize = 256;

/// Where a database is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    Url(String),
}

/// An archive, read beside its projector.
#[derive(Debug)]
pub(super) enum Store {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A row, as it stands.
struct Archived {
    texts: [String; 9],
    sequence: i64,
    times: [i64; 2],
    blobs: [Vec<u8>; 4],
    is_repeat: bool,
}

const TEXTS: [&str; 9] = [
    "stream",
    "incarnation",
    "subject",
    "event_type",
    "event_id",
    "number",
    "customer_id",
    "brand_id",
    "headers",
];
const BLOBS: [&str; 4] = ["payload", "salt", "commitment", "link"];

const ROWS: &str = "\
SELECT stream, incarnation, sequence, subject, event_type, event_id, number, customer_id, brand_id,
    headers, event_time_ns, stored_time_ns, payload, salt, commitment, link, is_repeat
FROM archive WHERE stream = 'EVENTS' ORDER BY incarnation, sequence LIMIT $1";

const SQLITE_TABLE: &str = "\
CREATE TABLE bulk (
    stream TEXT NOT NULL, incarnation TEXT NOT NULL, sequence BIGINT NOT NULL,
    subject TEXT NOT NULL, event_type TEXT NOT NULL, event_id TEXT NOT NULL, number TEXT NOT NULL,
    customer_id TEXT NOT NULL, brand_id TEXT NOT NULL, headers TEXT NOT NULL,
    event_time_ns BIGINT NOT NULL, stored_time_ns BIGINT NOT NULL, payload BLOB NOT NULL,
    salt BLOB NOT NULL, commitment BLOB NOT NULL, link BLOB NOT NULL, is_repeat BOOLEAN NOT NULL,
    PRIMARY KEY (stream, incarnation, sequence)
)";

const SQLITE_INSERT: &str = "\
INSERT INTO bulk VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

const POSTGRES_TABLE: &str = "\
CREATE TABLE bulk (
    stream TEXT NOT NULL, incarnation TEXT NOT NULL, sequence BIGINT NOT NULL,
    subject TEXT NOT NULL, event_type TEXT NOT NULL, event_id TEXT NOT NULL, number TEXT NOT NULL,
    customer_id TEXT NOT NULL, brand_id TEXT NOT NULL, headers TEXT NOT NULL,
    event_time_ns BIGINT NOT NULL, stored_time_ns BIGINT NOT NULL, payload BYTEA NOT NULL,
    salt BYTEA NOT NULL, commitment BYTEA NOT NULL, link BYTEA NOT NULL, is_repeat BOOLEAN NOT NULL,
    PRIMARY KEY (stream, incarnation, sequence)
)";

const POSTGRES_INSERT: &str = "\
INSERT INTO bulk SELECT * FROM UNNEST(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bytea[], $14::bytea[],
    $15::bytea[], $16::bytea[], $17::boolean[]
)";

impl Store {
    /// Opens an archive that is there.
    pub(super) async fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(match place {
            Place::File(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(false)
                    .busy_timeout(Duration::from_secs(30));
                let pool = SqlitePoolOptions::new().max_connections(1);
                Self::Sqlite(pool.connect_with(options).await?)
            }
            Place::Url(url) => {
                let pool = PgPoolOptions::new().max_connections(1);
                Self::Postgres(pool.connect(url).await?)
            }
        })
    }

    /// Returns how far a stream's chain has come.
    pub(super) async fn head(&self, stream: &str) -> anyhow::Result<u64> {
        let head = "SELECT COALESCE(MAX(last_sequence), 0) FROM archive_heads WHERE stream = $1";
        let found: i64 = match self {
            Self::Sqlite(pool) => {
                sqlx::query_scalar(head)
                    .bind(stream)
                    .fetch_one(pool)
                    .await?
            }
            Self::Postgres(pool) => {
                sqlx::query_scalar(head)
                    .bind(stream)
                    .fetch_one(pool)
                    .await?
            }
        };
        Ok(u64::try_from(found)?)
    }

    /// Returns how many events of conversations are archived.
    pub(super) async fn rows(&self) -> anyhow::Result<u64> {
        self.count("SELECT COUNT(*) FROM archive WHERE stream = 'EVENTS'")
            .await
    }

    /// Returns the bytes of their headers and payloads.
    pub(super) async fn content_bytes(&self) -> anyhow::Result<u64> {
        self.count(
            "SELECT CAST(COALESCE(SUM(LENGTH(headers) + LENGTH(payload)), 0) AS BIGINT) \
             FROM archive WHERE stream = 'EVENTS'",
        )
        .await
    }

    /// Returns the bytes of the archive's table with its indexes, and of the whole database.
    pub(super) async fn bytes(&self) -> anyhow::Result<(u64, u64)> {
        Ok(match self {
            Self::Sqlite(_) => (
                self.count(
                    "SELECT COALESCE(SUM(pgsize), 0) FROM dbstat \
                     WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = 'archive')",
                )
                .await?,
                self.count(
                    "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
                )
                .await?,
            ),
            Self::Postgres(_) => (
                self.count("SELECT pg_total_relation_size('archive')")
                    .await?,
                self.count("SELECT pg_database_size(current_database())")
                    .await?,
            ),
        })
    }

    async fn count(&self, statement: &'static str) -> anyhow::Result<u64> {
        let found: i64 = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(pool).await?,
            Self::Postgres(pool) => sqlx::query_scalar(statement).fetch_one(pool).await?,
        };
        Ok(u64::try_from(found)?)
    }

    /// Loads rows of this archive into a table of another database, and returns how many and how
    /// long the writing took.
    pub(super) async fn bulk_into(
        &self,
        place: &Place,
        rows_max: usize,
    ) -> anyhow::Result<(usize, Duration)> {
        let limit = i64::try_from(rows_max)?;
        let mut target = Target::make(place).await?;
        let (mut count, mut time) = (0, Duration::ZERO);
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut rows = match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query(ROWS).bind(limit).fetch(pool);
                rows.map(|row| read(&row?)).boxed()
            }
            Self::Postgres(pool) => {
                let rows = sqlx::query(ROWS).bind(limit).fetch(pool);
                rows.map(|row| read(&row?)).boxed()
            }
        };
        loop {
            let row = rows.try_next().await?;
            let is_last = row.is_none();
            batch.extend(row);
            if !batch.is_empty() && (is_last || batch.len() == BATCH_ROWS) {
                let begun = Instant::now();
                target.write(&batch).await?;
                time += begun.elapsed();
                count += batch.len();
                batch.clear();
            }
            if is_last {
                return Ok((count, time));
            }
        }
    }
}

fn read<'r, R>(row: &'r R) -> anyhow::Result<Archived>
where
    R: sqlx::Row,
    &'static str: sqlx::ColumnIndex<R>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    bool: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let mut texts: [String; 9] = Default::default();
    for (text, column) in texts.iter_mut().zip(TEXTS) {
        *text = row.try_get(column)?;
    }
    let mut blobs: [Vec<u8>; 4] = Default::default();
    for (blob, column) in blobs.iter_mut().zip(BLOBS) {
        *blob = row.try_get(column)?;
    }
    Ok(Archived {
        texts,
        sequence: row.try_get("sequence")?,
        times: [
            row.try_get("event_time_ns")?,
            row.try_get("stored_time_ns")?,
        ],
        blobs,
        is_repeat: row.try_get("is_repeat")?,
    })
}

/// A bare table.
enum Target {
    Sqlite(sqlx::SqliteConnection),
    Postgres(Box<sqlx::PgConnection>),
}

impl Target {
    /// Makes one that syncs each transaction, as the archive does.
    async fn make(place: &Place) -> anyhow::Result<Self> {
        Ok(match place {
            Place::File(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full);
                let mut connection = options.connect().await?;
                sqlx::query(SQLITE_TABLE).execute(&mut connection).await?;
                Self::Sqlite(connection)
            }
            Place::Url(url) => {
                let options: PgConnectOptions = url.parse().context("address")?;
                let options = options.options([("synchronous_commit", "on")]);
                let mut connection = options.connect().await?;
                sqlx::query(POSTGRES_TABLE).execute(&mut connection).await?;
                Self::Postgres(Box::new(connection))
            }
        })
    }

    /// Writes rows in one transaction.
    async fn write(&mut self, rows: &[Archived]) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut transaction = connection.begin().await?;
                for row in rows {
                    let [stream, incarnation, rest @ ..] = &row.texts;
                    let mut insert = sqlx::query(SQLITE_INSERT)
                        .bind(stream)
                        .bind(incarnation)
                        .bind(row.sequence);
                    for text in rest {
                        insert = insert.bind(text);
                    }
                    for time in row.times {
                        insert = insert.bind(time);
                    }
                    for blob in &row.blobs {
                        insert = insert.bind(blob);
                    }
                    insert
                        .bind(row.is_repeat)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
            }
            Self::Postgres(connection) => {
                let texts = |at: usize| -> Vec<&str> {
                    rows.iter().map(|row| row.texts[at].as_str()).collect()
                };
                let times =
                    |at: usize| -> Vec<i64> { rows.iter().map(|row| row.times[at]).collect() };
                let blobs = |at: usize| -> Vec<&[u8]> {
                    rows.iter().map(|row| row.blobs[at].as_slice()).collect()
                };
                let sequences: Vec<i64> = rows.iter().map(|row| row.sequence).collect();
                let repeats: Vec<bool> = rows.iter().map(|row| row.is_repeat).collect();
                let mut insert = sqlx::query(POSTGRES_INSERT)
                    .bind(texts(0))
                    .bind(texts(1))
                    .bind(sequences);
                for at in 2..TEXTS.len() {
                    insert = insert.bind(texts(at));
                }
                for at in 0..2 {
                    insert = insert.bind(times(at));
                }
                for at in 0..BLOBS.len() {
                    insert = insert.bind(blobs(at));
                }
                insert.bind(repeats).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }
}

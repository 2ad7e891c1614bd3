//! Every table of one moment into files, and files into tables that are empty.
//!
//! The tables of a database are those in the schema that the role uses; it shares that with nobody.
//! Read models that are being made anew stand in another one, and are made anew again.

use std::collections::BTreeSet;
use std::path::Path;

use futures::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::super::{Error, applied, copy, failed, rebuild};
use super::{ACQUIRE_TIMEOUT, MIGRATIONS, Postgres, session};
use crate::backup::{
    BackupError, Database, SavedArchive, SavedFile, SavedHead, known_migrations, saved_migrations,
};

/// Bytes of a file sent at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Which migrations were applied is recorded by applying them.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// Tables in the order in which they can be filled: what others refer to comes first, which the
/// depth of references tells.
const TABLES: &str = "\
WITH RECURSIVE tables AS (
    SELECT oid, relname FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind = 'r'
), depth (oid, level) AS (
    SELECT oid, 0 FROM tables
    UNION
    SELECT c.conrelid, d.level + 1
    FROM pg_constraint c JOIN depth d ON c.confrelid = d.oid
    WHERE c.contype = 'f' AND c.conrelid <> c.confrelid AND d.level < 64
)
SELECT t.relname::text FROM tables t JOIN depth d ON d.oid = t.oid
GROUP BY t.relname ORDER BY MAX(d.level), t.relname";

/// Columns that hold something of their own.
const COLUMNS: &str = "\
SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0 AND NOT attisdropped
    AND attgenerated = ''
ORDER BY attnum";

impl Postgres {
    /// Saves every table as of one moment.
    pub(crate) async fn save(
        url: &SecretString,
        folder: &Path,
    ) -> Result<SavedArchive, BackupError> {
        let options = session::for_reading(&session::parse(url.expose_secret())?);
        let mut connection = connect(&options).await?;
        let mut moment = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(failed("begin"))?;
        let migrated = session::migrated(&mut moment)
            .await
            .map_err(failed("tell its version"))?;
        let Some(migrated) = migrated.filter(|migrated| !migrated.is_empty()) else {
            return Err(BackupError::Absent { place: place() });
        };
        let migrations = saved_migrations(&migrated);
        known_migrations(&applied(&MIGRATIONS), &migrations)
            .map_err(|_| BackupError::OtherVersion { what: "archive" })?;
        let mut files = Vec::new();
        for table in tables(&mut moment).await? {
            files.push(write_table(&mut moment, folder, table).await?);
        }
        let heads = heads(&mut moment).await?;
        moment.rollback().await.map_err(failed("end"))?;
        connection.close().await.map_err(failed("close"))?;
        Ok(SavedArchive {
            database: Database::Postgres,
            migrations,
            files,
            heads,
        })
    }

    /// Whether tables can be filled there: nothing is archived, and the tables are of the same
    /// version, or not there.
    pub(crate) async fn can_restore(
        url: &SecretString,
        saved: &SavedArchive,
    ) -> Result<(), BackupError> {
        let wanted = known_migrations(&applied(&MIGRATIONS), &saved.migrations)?;
        let options = session::for_reading(&session::parse(url.expose_secret())?);
        let mut connection = connect(&options).await?;
        let migrated = session::migrated(&mut connection)
            .await
            .map_err(failed("tell its version"))?;
        let Some(migrated) = migrated else {
            return if tables(&mut connection).await?.is_empty() {
                Ok(())
            } else {
                Err(BackupError::Occupied { place: place() })
            };
        };
        let is_empty: bool = sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM archive) AND NOT EXISTS (SELECT 1 FROM archive_heads)",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(failed("tell whether it is empty"))?;
        if !is_empty {
            return Err(BackupError::Occupied { place: place() });
        }
        if migrated != wanted {
            return Err(BackupError::OtherVersion {
                what: "empty database",
            });
        }
        Ok(())
    }

    /// Makes the tables as they were, and fills them, all or none.
    pub(crate) async fn restore(
        url: &SecretString,
        folder: &Path,
        saved: &SavedArchive,
    ) -> Result<(), BackupError> {
        Self::can_restore(url, saved).await?;
        let options = session::parse(url.expose_secret())?;
        session::migrate(&options, &migrations_of(saved)).await?;
        let options = options.options([("synchronous_commit", "on")]);
        let mut connection = connect(&options).await?;
        let mut filling = connection.begin().await.map_err(failed("begin"))?;
        let known: BTreeSet<String> = tables(&mut filling).await?.into_iter().collect();
        for table in &known {
            // Some begin with rows of their own; what is archived was found to be nothing.
            let empty = format!("TRUNCATE {} CASCADE", quoted(table));
            run(&mut filling, empty, "empty a table").await?;
        }
        for file in &saved.files {
            if !known.contains(&file.table) {
                return Err(BackupError::OtherVersion { what: "backup" });
            }
            read_table(&mut filling, folder, file).await?;
        }
        if heads(&mut filling).await? != saved.heads {
            return Err(BackupError::Changed {
                name: "archive_heads".to_owned(),
            });
        }
        if known.contains("read_models") {
            run(
                &mut filling,
                rebuild::RESTART.to_owned(),
                "begin read models again",
            )
            .await?;
        }
        filling.commit().await.map_err(failed("commit"))?;
        connection.close().await.map_err(failed("close"))?;
        Ok(())
    }
}

/// The address holds a password.
fn place() -> String {
    "the database of archive.database_url".to_owned()
}

/// No time is set for all of it: an archive may be large.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    let options = options.clone().options([
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
    ]);
    let connection = timeout(ACQUIRE_TIMEOUT, options.connect()).await;
    connection
        .map_err(failed("connect in time"))?
        .map_err(failed("connect"))
}

/// The migrations of a backup, which are some of ours.
fn migrations_of(saved: &SavedArchive) -> Migrator {
    let is_saved = |version| {
        saved
            .migrations
            .iter()
            .any(|migration| migration.version == version)
    };
    let migrations = MIGRATIONS
        .iter()
        .filter(|migration| is_saved(migration.version));
    Migrator::with_migrations(migrations.cloned().collect())
}

async fn tables(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES)
        .fetch_all(connection)
        .await
        .map_err(failed("list its tables"))?;
    let own = tables.into_iter().filter(|table| table != MIGRATIONS_TABLE);
    Ok(own.collect())
}

async fn heads(connection: &mut PgConnection) -> Result<Vec<SavedHead>, Error> {
    let rows = sqlx::query_as(copy::HEADS).fetch_all(connection).await;
    Ok(copy::heads(rows.map_err(failed("read the heads"))?))
}

async fn run(
    connection: &mut PgConnection,
    statement: String,
    operation: &'static str,
) -> Result<(), Error> {
    // Put together from constants and quoted names of tables.
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map_err(failed(operation))?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn listed(columns: &[String]) -> String {
    let quoted: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
    quoted.join(", ")
}

async fn write_table(
    connection: &mut PgConnection,
    folder: &Path,
    table: String,
) -> Result<SavedFile, BackupError> {
    let columns: Vec<String> = sqlx::query_scalar(COLUMNS)
        .bind(&table)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed("list columns"))?;
    let name = format!("{table}.copy");
    let file = |source| BackupError::File {
        name: name.clone(),
        source,
    };
    let mut out = File::create_new(folder.join(&name)).await.map_err(file)?;
    let statement = format!("COPY {} ({}) TO STDOUT", quoted(&table), listed(&columns));
    let (mut hash, mut bytes, mut rows) = (Sha256::new(), 0, 0);
    {
        let copying = connection.copy_out_raw(&statement).await;
        let mut copying = copying.map_err(failed("copy a table"))?;
        while let Some(chunk) = copying.try_next().await.map_err(failed("copy a table"))? {
            out.write_all(&chunk).await.map_err(file)?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            // A row is a line: line ends inside of values are escaped.
            rows += chunk.split(|byte| *byte == b'\n').skip(1).count() as u64;
        }
    }
    out.sync_all().await.map_err(file)?;
    Ok(SavedFile {
        name,
        table,
        columns,
        rows,
        bytes,
        sha256: hex::encode(hash.finalize()),
    })
}

async fn read_table(
    connection: &mut PgConnection,
    folder: &Path,
    saved: &SavedFile,
) -> Result<(), BackupError> {
    let file = |source| BackupError::File {
        name: saved.name.clone(),
        source,
    };
    let mut source = File::open(folder.join(&saved.name)).await.map_err(file)?;
    let columns = listed(&saved.columns);
    let statement = format!("COPY {} ({columns}) FROM STDIN", quoted(&saved.table));
    let copying = connection.copy_in_raw(&statement).await;
    let mut copying = copying.map_err(failed("fill a table"))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = source.read(&mut buffer).await.map_err(file)?;
        if read == 0 {
            break;
        }
        copying
            .send(&buffer[..read])
            .await
            .map_err(failed("fill a table"))?;
    }
    let rows = copying.finish().await.map_err(failed("fill a table"))?;
    if rows != saved.rows {
        return Err(BackupError::Changed {
            name: saved.name.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use casement_event::subject::stream;
    use casement_shell::config::Secret;
    use casement_testkit::Postgres as Server;

    use super::*;
    use crate::backup::{restore, save};
    use crate::batch::Batch;
    use crate::chain::Head;
    use crate::fixture::{masters, stored};
    use crate::store::Store as _;
    use crate::{Config, DatabaseUrl};

    fn config(url: &str) -> Config {
        Config {
            database_url: Some(DatabaseUrl(Secret::from_value(url))),
            ..Config::default()
        }
    }

    async fn archived(url: &str, sequence: u64) {
        let url = SecretString::from(url);
        let store = Postgres::open(&url, 1, masters()).await.unwrap();
        let head = store.head(stream::EVENTS, "1a").await.unwrap();
        let head = head.unwrap_or_else(|| Head::start(stream::EVENTS, "1a"));
        let batch = Batch::seal(head, vec![stored(stream::EVENTS, sequence)], rand::random);
        store.append(&batch).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tables_are_saved_as_of_one_moment_and_restored_into_an_empty_database() {
        let server = Server::start().await;
        let (from, to) = (server.fresh_database().await, server.fresh_database().await);
        let folder = tempfile::tempdir().unwrap();
        match save(&config(&from), folder.path()).await {
            Err(BackupError::Absent { .. }) => {}
            other => panic!("{other:?}"),
        }
        for sequence in 1..=3 {
            archived(&from, sequence).await;
        }
        let saved = save(&config(&from), folder.path()).await.unwrap();
        archived(&from, 4).await;
        let rows = |table: &str| saved.files.iter().find(|file| file.table == table);
        assert_eq!(rows("archive").unwrap().rows, 3);
        // Nothing counts rows in a way that a copy would not take along.
        let counters = "SELECT COUNT(*) FROM pg_class WHERE relkind = 'S'";
        assert_eq!(server.sql(&from, counters).await.trim(), "0");

        restore(&config(&to), folder.path(), &saved).await.unwrap();
        for file in &saved.files {
            let count = format!("SELECT COUNT(*) FROM \"{}\"", file.table);
            let found = server.sql(&to, &count).await;
            assert_eq!(found.trim(), file.rows.to_string(), "{}", file.table);
        }
        // Whoever archived goes on where the backup ends.
        archived(&to, 4).await;
        let reader = Postgres::open(&SecretString::from(to.as_str()), 1, masters()).await;
        let head = reader.unwrap().head(stream::EVENTS, "1a").await;
        assert_eq!(head.unwrap().unwrap().row_count, 4);

        match restore(&config(&to), folder.path(), &saved).await {
            Err(BackupError::Occupied { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_restore_that_breaks_off_leaves_a_database_that_can_be_restored_into() {
        let server = Server::start().await;
        let (from, to) = (server.fresh_database().await, server.fresh_database().await);
        let folder = tempfile::tempdir().unwrap();
        archived(&from, 1).await;
        let saved = save(&config(&from), folder.path()).await.unwrap();
        let mut short = saved.clone();
        for file in &mut short.files {
            file.rows += u64::from(file.table == "archive");
        }
        match restore(&config(&to), folder.path(), &short).await {
            Err(BackupError::Changed { name }) => assert_eq!(name, "archive.copy"),
            other => panic!("{other:?}"),
        }
        let found = server.sql(&to, "SELECT COUNT(*) FROM archive_heads").await;
        assert_eq!(found.trim(), "0");
        restore(&config(&to), folder.path(), &saved).await.unwrap();
        let found = server.sql(&to, "SELECT COUNT(*) FROM archive").await;
        assert_eq!(found.trim(), "1");
    }
}

//! Looking at a file that another process may be writing.

use std::path::Path;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::super::{Applied, Error, applied, failed, heads};
use super::{BUSY_TIMEOUT, MIGRATIONS, Sqlite};
use crate::inspect::{Inspection, Tables, tables};

impl Sqlite {
    /// Looks at a file, and makes none.
    pub(crate) async fn inspect(path: &Path) -> Result<Inspection, Error> {
        let mut inspection = Inspection {
            database: "SQLite".to_owned(),
            tables: Tables::Absent,
            not_writable: None,
            heads: Vec::new(),
        };
        if !path.try_exists().map_err(failed("open"))? {
            return Ok(inspection);
        }
        let store = Self::open_read_only(path, Arc::default()).await?;
        inspection.tables = tables(&applied(&MIGRATIONS), store.migrated().await?.as_ref());
        inspection.not_writable = write_lock(path).await.err().map(|error| error.to_string());
        if inspection.tables == Tables::Current {
            inspection.heads = heads(&store).await?;
        }
        Ok(inspection)
    }

    /// Returns whether the tables are those of this version.
    pub(crate) async fn is_current(&self) -> Result<bool, Error> {
        let found = self.migrated().await?;
        Ok(tables(&applied(&MIGRATIONS), found.as_ref()) == Tables::Current)
    }

    async fn migrated(&self) -> Result<Option<Applied>, Error> {
        let there = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
        let tables: i64 = sqlx::query_scalar(there)
            .fetch_one(&self.readers)
            .await
            .map_err(failed("tell its version"))?;
        if tables == 0 {
            return Ok(None);
        }
        let migrated = "SELECT version, checksum FROM _sqlx_migrations WHERE success";
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(migrated)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("tell its version"))?;
        Ok(Some(rows.into_iter().collect()))
    }
}

/// Takes the lock of a writer and gives it back: nothing is written, and a file or a disk that
/// may not be written is refused.
async fn write_lock(path: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
        .execute(&mut connection)
        .await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_and_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let found = Sqlite::inspect(&path).await.unwrap();
        assert_eq!(found.tables, Tables::Absent);
        assert!(!path.exists());

        // Its writer goes on beside it.
        let _store = Sqlite::open(&path, 1, crate::fixture::masters())
            .await
            .unwrap();
        let found = Sqlite::inspect(&path).await.unwrap();
        assert_eq!((found.tables, found.not_writable), (Tables::Current, None));
        assert_eq!(found.heads, []);
    }

    #[tokio::test]
    async fn tables_of_another_version_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let store = Sqlite::open(&path, 1, crate::fixture::masters())
            .await
            .unwrap();
        let last = "DELETE FROM _sqlx_migrations \
                    WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
        store.tamper(last).await;
        let found = Sqlite::inspect(&path).await.unwrap();
        assert_eq!(found.tables, Tables::Behind(1));
        store
            .tamper("UPDATE _sqlx_migrations SET checksum = x'00'")
            .await;
        let found = Sqlite::inspect(&path).await.unwrap();
        assert_eq!(found.tables, Tables::Foreign);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        std::fs::write(&path, "a letter to the editor, and no database at all").unwrap();
        assert!(Sqlite::inspect(&path).await.is_err());
    }
}

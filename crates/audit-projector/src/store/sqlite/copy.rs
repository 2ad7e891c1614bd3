//! A copy of the file while it is written, and a file put where there is none.

use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::fs;

use super::super::{Applied, Error, applied, copy, failed};
use super::{BUSY_TIMEOUT, MIGRATIONS, Sqlite};
use crate::backup::{
    BackupError, Database, SavedArchive, SavedFile, SavedHead, known_migrations, read,
    saved_migrations,
};

/// The file of a backup.
const FILE: &str = "archive.sqlite";

impl Sqlite {
    /// Copies the file as of one moment.
    pub(crate) async fn save(path: &Path, folder: &Path) -> Result<SavedArchive, BackupError> {
        let place = path.display().to_string();
        if !path.try_exists().map_err(failed("open"))? {
            return Err(BackupError::Absent { place });
        }
        let target = folder.join(FILE);
        let mut source = connect(path).await?;
        sqlx::query("VACUUM INTO $1")
            .bind(target.display().to_string())
            .execute(&mut source)
            .await
            .map_err(failed("copy the file"))?;
        source.close().await.map_err(failed("close"))?;
        synced(&target).await?;

        // What is told of the copy is read from the copy.
        let mut copied = connect(&target).await?;
        let migrated = migrated(&mut copied).await?;
        let Some(migrated) = migrated.filter(|migrated| !migrated.is_empty()) else {
            return Err(BackupError::Absent { place });
        };
        let heads = heads(&mut copied).await?;
        copied.close().await.map_err(failed("close"))?;
        let (bytes, sha256) = read(folder, FILE).await?;
        let saved = SavedArchive {
            database: Database::Sqlite,
            migrations: saved_migrations(&migrated),
            files: vec![SavedFile {
                name: FILE.to_owned(),
                table: String::new(),
                columns: Vec::new(),
                rows: 0,
                bytes,
                sha256,
            }],
            heads,
        };
        known_migrations(&applied(&MIGRATIONS), &saved.migrations)
            .map_err(|_| BackupError::OtherVersion { what: "archive" })?;
        Ok(saved)
    }

    /// Whether a file can be put there.
    pub(crate) fn can_restore(path: &Path, saved: &SavedArchive) -> Result<(), BackupError> {
        known_migrations(&applied(&MIGRATIONS), &saved.migrations)?;
        for path in [path.to_owned(), beside(path, "-wal")] {
            if path.try_exists().map_err(failed("open"))? {
                return Err(BackupError::Occupied {
                    place: path.display().to_string(),
                });
            }
        }
        Ok(())
    }

    /// Puts the file there, whole or not at all.
    pub(crate) async fn restore(
        path: &Path,
        folder: &Path,
        saved: &SavedArchive,
    ) -> Result<(), BackupError> {
        Self::can_restore(path, saved)?;
        let half = beside(path, ".restoring");
        let file = |source| BackupError::File {
            name: half.display().to_string(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.map_err(file)?;
        }
        fs::copy(folder.join(FILE), &half).await.map_err(file)?;
        synced(&half).await?;
        let mut copied = connect(&half).await?;
        let is_same = heads(&mut copied).await? == saved.heads;
        copied.close().await.map_err(failed("close"))?;
        if !is_same {
            fs::remove_file(&half).await.map_err(file)?;
            return Err(BackupError::Changed {
                name: FILE.to_owned(),
            });
        }
        fs::rename(&half, path).await.map_err(file)?;
        match path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            Some(folder) => synced(folder).await,
            None => Ok(()),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn synced(path: &Path) -> Result<(), BackupError> {
    let sync = async { fs::File::open(path).await?.sync_all().await };
    sync.await.map_err(|source| BackupError::File {
        name: path.display().to_string(),
        source,
    })
}

async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT);
    SqliteConnection::connect_with(&options)
        .await
        .map_err(failed("open"))
}

async fn migrated(connection: &mut SqliteConnection) -> Result<Option<Applied>, Error> {
    let there = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(there)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("tell its version"))?;
    if tables == 0 {
        return Ok(None);
    }
    let migrated = "SELECT version, checksum FROM _sqlx_migrations WHERE success";
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(migrated)
        .fetch_all(connection)
        .await
        .map_err(failed("tell its version"))?;
    Ok(Some(rows.into_iter().collect()))
}

async fn heads(connection: &mut SqliteConnection) -> Result<Vec<SavedHead>, Error> {
    let rows = sqlx::query_as(copy::HEADS).fetch_all(connection).await;
    Ok(copy::heads(rows.map_err(failed("read the heads"))?))
}

#[cfg(test)]
mod tests {
    use casement_event::subject::stream;

    use super::*;
    use crate::Config;
    use crate::backup::{check, restore, save};
    use crate::batch::Batch;
    use crate::chain::Head;
    use crate::fixture::{masters, stored};
    use crate::store::Store as _;

    async fn archived(path: &Path, sequences: std::ops::RangeInclusive<u64>) {
        let store = Sqlite::open(path, 1, masters()).await.unwrap();
        let events = sequences.map(|at| stored(stream::EVENTS, at)).collect();
        let start = Head::start(stream::EVENTS, "1a");
        let head = store.head(stream::EVENTS, "1a").await.unwrap();
        let batch = Batch::seal(head.unwrap_or(start), events, rand::random);
        store.append(&batch).await.unwrap();
    }

    fn config(path: &Path) -> Config {
        Config {
            database_path: path.to_owned(),
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn an_archive_is_saved_while_it_is_open_and_restored_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (
            folder.path().join("a.sqlite"),
            folder.path().join("x/b.sqlite"),
        );
        let files = folder.path().join("backup");
        std::fs::create_dir(&files).unwrap();
        match save(&config(&from), &files).await {
            Err(BackupError::Absent { .. }) => {}
            other => panic!("{other:?}"),
        }
        archived(&from, 1..=3).await;
        let store = Sqlite::open(&from, 1, masters()).await.unwrap();
        let saved = save(&config(&from), &files).await.unwrap();
        archived(&from, 4..=4).await;
        assert_eq!(saved.heads[0].last_sequence, 3);
        drop(store);

        restore(&config(&to), &files, &saved).await.unwrap();
        let restored = Sqlite::open(&to, 1, masters()).await.unwrap();
        let head = restored.head(stream::EVENTS, "1a").await.unwrap().unwrap();
        assert_eq!((head.last_sequence, head.row_count), (3, 3));
        assert_eq!(hex::encode(head.link), saved.heads[0].link);
        archived(&to, 4..=4).await;
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (
            folder.path().join("a.sqlite"),
            folder.path().join("b.sqlite"),
        );
        archived(&from, 1..=3).await;
        let saved = save(&config(&from), folder.path()).await.unwrap();

        match restore(&config(&from), folder.path(), &saved).await {
            Err(BackupError::Occupied { .. }) => {}
            other => panic!("{other:?}"),
        }
        let newer = SavedArchive {
            migrations: [
                saved.migrations.clone(),
                vec![crate::backup::SavedMigration {
                    version: i64::MAX,
                    checksum: "00".to_owned(),
                }],
            ]
            .concat(),
            ..saved.clone()
        };
        match restore(&config(&to), folder.path(), &newer).await {
            Err(BackupError::OtherVersion { what: "backup" }) => {}
            other => panic!("{other:?}"),
        }
        let elsewhere = SavedArchive {
            database: Database::Postgres,
            ..saved.clone()
        };
        match restore(&config(&to), folder.path(), &elsewhere).await {
            Err(BackupError::OtherDatabase { .. }) => {}
            other => panic!("{other:?}"),
        }
        let file = folder.path().join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        match check(&config(&to), folder.path(), &saved).await {
            Err(BackupError::Changed { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert!(!to.exists());
    }
}

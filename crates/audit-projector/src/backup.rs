//! The archive's half of a backup: saved while it is written, and restored where there is none.
//!
//! An SQLite archive is saved as one file, a database of its own. A PostgreSQL archive is saved as
//! one file a table, as `COPY … TO STDOUT` writes it (text), all of one moment. It is restored into
//! the same kind of database by this version or a newer one, which brings it up to date when its
//! role starts. What stood there sealed stays sealed: without the master key it is worth nothing.
//!
//! It knows nothing of the log's half; how both join is for the archivers, who go by positions.

use std::path::Path;
use std::sync::Arc;

use casement_event::Stored;
use casement_event::subject::stream;
use casement_event_log::snapshot::fingerprint;
use casement_secrets::keys::MasterKeys;
use serde::{Deserialize, Serialize};
use tokio::fs::File;

use crate::store::{self, EventFilter, EventKey, Limit, Postgres, Sqlite};
use crate::{ArchivePlace, Config};

/// What tombstones and erasures stand under.
const ERASURE_PREFIXES: [&str; 2] = ["casement.customers.erased.", "casement.customers.erasure."];

/// How much is read at once.
const LIMIT: Limit = Limit {
    rows_max: 256,
    bytes_max: 8 * 1024 * 1024,
};

/// Which kind of database an archive is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// A file.
    Sqlite,
    /// A database on a server.
    Postgres,
}

impl Database {
    fn of(config: &Config) -> Self {
        if config.database_url.is_some() {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// An archive as it was saved; all that a restore needs beside the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedArchive {
    /// The kind of database.
    pub database: Database,
    /// Its migrations.
    pub migrations: Vec<SavedMigration>,
    /// Its files.
    pub files: Vec<SavedFile>,
    /// Its chains.
    pub heads: Vec<SavedHead>,
}

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMigration {
    /// Its version.
    pub version: i64,
    /// Its checksum, in hexadecimal.
    pub checksum: String,
}

/// A file of a saved archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Its name.
    pub name: String,
    /// The table that it holds; empty for a whole database.
    pub table: String,
    /// The table's columns, in their order.
    pub columns: Vec<String>,
    /// The table's rows.
    pub rows: u64,
    /// How large it is.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// How far a chain had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHead {
    /// The stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// Sequence of its last row.
    pub last_sequence: u64,
    /// How many rows it has.
    pub row_count: u64,
    /// Link of its last row, in hexadecimal.
    pub link: String,
}

/// An archive could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to save.
    #[error("there is no archive at {place}: start the audit-projector once, or name its database")]
    Absent {
        /// Where it was looked for.
        place: String,
    },
    /// There is something that would be lost.
    #[error(
        "there is an archive at {place} already: move it away, or name another database; nothing \
         was changed"
    )]
    Occupied {
        /// Where.
        place: String,
    },
    /// The kind of database differs.
    #[error(
        "the backup is of an archive in {saved}, and the configuration names {configured}: name a \
         database of the same kind"
    )]
    OtherDatabase {
        /// What was saved.
        saved: &'static str,
        /// What is configured.
        configured: &'static str,
    },
    /// Tables of a version that this one does not know.
    #[error(
        "the {what} has tables of another version than this program knows: use the version that \
         made it, or a newer one"
    )]
    OtherVersion {
        /// Archive or backup.
        what: &'static str,
    },
    /// A file is not what was saved.
    #[error("file {name} of the backup is not as it was saved: it is incomplete, or was changed")]
    Changed {
        /// Which.
        name: String,
    },
    /// A file could not be written or read.
    #[error("file {name} cannot be written or read")]
    File {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration names no database that can be used.
    #[error("archive's database cannot be named: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// The database failed.
    #[error("archive's database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<store::Error> for BackupError {
    fn from(error: store::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Saves the archive that a configuration names into files in a folder, as of one moment. Whoever
/// writes it goes on.
///
/// # Errors
/// There is none, it is of another version, or database or files fail.
pub async fn save(config: &Config, folder: &Path) -> Result<SavedArchive, BackupError> {
    match &config.database_url {
        Some(url) => {
            let url = url.resolve().map_err(unnamed)?;
            Postgres::save(&url, folder).await
        }
        None => Sqlite::save(&config.database_path, folder).await,
    }
}

/// Restores an archive into the place that a configuration names, where there must be none. What
/// fails leaves none there.
///
/// # Errors
/// There is one, it does not fit, or database or files fail.
pub async fn restore(
    config: &Config,
    folder: &Path,
    saved: &SavedArchive,
) -> Result<(), BackupError> {
    check(config, folder, saved).await?;
    match &config.database_url {
        Some(url) => {
            let url = url.resolve().map_err(unnamed)?;
            Postgres::restore(&url, folder, saved).await
        }
        None => Sqlite::restore(&config.database_path, folder, saved).await,
    }
}

/// Checks that an archive can be restored, as far as that can be told without changing anything.
///
/// # Errors
/// As [`restore`].
pub async fn check(
    config: &Config,
    folder: &Path,
    saved: &SavedArchive,
) -> Result<(), BackupError> {
    let configured = Database::of(config);
    if saved.database != configured {
        return Err(BackupError::OtherDatabase {
            saved: saved.database.name(),
            configured: configured.name(),
        });
    }
    for file in &saved.files {
        let found = read(folder, &file.name).await?;
        if found != (file.bytes, file.sha256.clone()) {
            return Err(BackupError::Changed {
                name: file.name.clone(),
            });
        }
    }
    match &config.database_url {
        Some(url) => {
            let url = url.resolve().map_err(unnamed)?;
            Postgres::can_restore(&url, saved).await
        }
        None => Sqlite::can_restore(&config.database_path, saved),
    }
}

/// Whether there is an archive that this version can read.
///
/// # Errors
/// The database does not say.
pub async fn is_there(config: &Config) -> Result<bool, BackupError> {
    let inspection = crate::inspect(config)
        .await
        .map_err(|error| BackupError::Database(error.into()))?;
    Ok(inspection.tables == crate::Tables::Current)
}

/// Returns what is archived of erasures: tombstones, and every step.
///
/// # Errors
/// The archive cannot be read, or opened with these keys.
pub async fn erasures(
    config: &Config,
    masters: Arc<MasterKeys>,
) -> Result<Vec<Stored>, BackupError> {
    let place = match &config.database_url {
        Some(url) => ArchivePlace::Url(url.resolve().map_err(unnamed)?),
        None => ArchivePlace::File(config.database_path.clone()),
    };
    let store = crate::verify::open(&place, masters)
        .await
        .map_err(|error| BackupError::Database(error.into()))?;
    let mut found = Vec::new();
    for prefix in ERASURE_PREFIXES {
        let filter = EventFilter {
            stream: Some(stream::CUSTOMERS.to_owned()),
            subject_prefix: Some(prefix.to_owned()),
            ..EventFilter::default()
        };
        let mut after: Option<EventKey> = None;
        loop {
            let page = store.events(&filter, after.as_ref(), LIMIT).await?;
            after = page.rows.last().map(EventKey::of);
            found.extend(page.rows.into_iter().map(|row| row.stored));
            if !page.has_more {
                break;
            }
        }
    }
    Ok(found)
}

fn unnamed(problem: impl std::fmt::Display) -> BackupError {
    BackupError::Configuration {
        problem: problem.to_string(),
    }
}

/// Returns how large a file is, and its hash.
pub(crate) async fn read(folder: &Path, name: &str) -> Result<(u64, String), BackupError> {
    let failed = |source| BackupError::File {
        name: name.to_owned(),
        source,
    };
    let mut file = File::open(folder.join(name)).await.map_err(failed)?;
    fingerprint(&mut file).await.map_err(failed)
}

/// Returns the migrations of a backup, if a program that knows `known` can take them.
pub(crate) fn known_migrations(
    known: &store::Applied,
    saved: &[SavedMigration],
) -> Result<store::Applied, BackupError> {
    let other = || BackupError::OtherVersion { what: "backup" };
    let migrations = saved.iter().map(|saved| {
        let checksum = hex::decode(&saved.checksum).ok()?;
        (known.get(&saved.version) == Some(&checksum)).then_some((saved.version, checksum))
    });
    let migrations: Option<store::Applied> = migrations.collect();
    migrations
        .filter(|migrations| !migrations.is_empty())
        .ok_or_else(other)
}

/// Returns migrations as they are written down.
pub(crate) fn saved_migrations(applied: &store::Applied) -> Vec<SavedMigration> {
    let each = applied.iter().map(|(version, checksum)| SavedMigration {
        version: *version,
        checksum: hex::encode(checksum),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_backup_is_taken_and_a_newer_one_refused() {
        let known: store::Applied = [(1, vec![1]), (2, vec![2])].into();
        let saved = |migrations: &[(i64, &str)]| -> Vec<SavedMigration> {
            let each = migrations.iter().map(|(version, checksum)| SavedMigration {
                version: *version,
                checksum: (*checksum).to_owned(),
            });
            each.collect()
        };
        for (migrations, is_taken) in [
            (saved(&[(1, "01"), (2, "02")]), true),
            (saved(&[(1, "01")]), true),
            (saved(&[(1, "01"), (2, "02"), (3, "03")]), false),
            (saved(&[(1, "ff")]), false),
            (saved(&[(1, "no checksum")]), false),
            (saved(&[]), false),
        ] {
            let found = known_migrations(&known, &migrations);
            assert_eq!(found.is_ok(), is_taken, "{migrations:?}");
        }
    }
}

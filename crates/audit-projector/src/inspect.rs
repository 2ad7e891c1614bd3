//! Looking at an archive without changing it: whether its database is there, takes writes and has
//! the tables of this version, and how far the archive has come.
//!
//! It brings no table up to date and writes nothing; the role does that at its start.

use crate::Config;
use crate::store::{self, Postgres, Sqlite};

/// An archive, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Which database, as in `SQLite` or `PostgreSQL 17.2`.
    pub database: String,
    /// Its tables.
    pub tables: Tables,
    /// Why nothing can be written; `None` if it can.
    pub not_writable: Option<String>,
    /// How far each chain has come; empty unless the tables are current.
    pub heads: Vec<ArchiveHead>,
}

/// Whether the tables are those of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// There are none, nor a file: the role makes them at its first start.
    Absent,
    /// So many migrations are missing: the role makes up for them at its next start.
    Behind(usize),
    /// As this version wants them.
    Current,
    /// Of a newer version, or changed by hand.
    Foreign,
}

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveHead {
    /// The stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// Sequence of the newest event that is archived.
    pub last_sequence: u64,
}

/// Looks at the archive that a configuration names, in bounded time.
///
/// # Errors
/// When the address is malformed, or the database does not answer or does not let us in. No error
/// tells what stands in the address.
pub async fn inspect(config: &Config) -> anyhow::Result<Inspection> {
    let inspection = match &config.database_url {
        Some(url) => Postgres::inspect(&url.resolve()?).await?,
        None => Sqlite::inspect(&config.database_path).await?,
    };
    Ok(inspection)
}

/// Returns what the migrations that were applied say of the tables. Both lists are of versions
/// with their checksums.
pub(crate) fn tables(wanted: &store::Applied, found: Option<&store::Applied>) -> Tables {
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Tables::Absent;
    };
    if found
        .iter()
        .any(|(version, checksum)| wanted.get(version) != Some(checksum))
    {
        return Tables::Foreign;
    }
    match wanted.len() - found.len() {
        0 => Tables::Current,
        missing => Tables::Behind(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_judged_by_their_migrations() {
        let applied = |versions: &[i64]| -> store::Applied {
            versions
                .iter()
                .map(|version| (*version, vec![1, 2, 3]))
                .collect()
        };
        let wanted = applied(&[1, 2, 3]);
        for (found, is) in [
            (None, Tables::Absent),
            (Some(applied(&[])), Tables::Absent),
            (Some(applied(&[1])), Tables::Behind(2)),
            (Some(applied(&[1, 2, 3])), Tables::Current),
            (Some(applied(&[1, 2, 3, 4])), Tables::Foreign),
            (Some([(1, vec![9])].into()), Tables::Foreign),
        ] {
            assert_eq!(tables(&wanted, found.as_ref()), is);
        }
    }
}

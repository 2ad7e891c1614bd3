//! What a backup is: its halves, their positions, and the hash of every file.

use std::path::Path;

use anyhow::{Context as _, bail};
use casement_audit_projector::backup::SavedArchive;
use casement_event::Stored;
use casement_event_log::snapshot::{SavedConsumer, SavedStream, fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

/// The file that makes a folder a backup.
const FILE: &str = "manifest.json";

/// Where the halves are.
pub(crate) const LOG_FOLDER: &str = "log";
pub(crate) const ARCHIVE_FOLDER: &str = "archive";

/// How backups are written. Raised when this version could no longer be read by one before it.
const FORMAT: u32 = 1;

/// A backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// The version that wrote it.
    casement: String,
    pub(crate) began_time: Timestamp,
    ended_time: Timestamp,
    pub(crate) log: Option<LogHalf>,
    pub(crate) archive: Option<SavedArchive>,
    /// Erasures and their tombstones, as they stood at the end.
    #[serde(default)]
    pub(crate) erasures: Vec<SavedEvent>,
}

/// An event on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedEvent {
    pub(crate) subject: String,
    pub(crate) event_type: String,
    /// In hexadecimal.
    pub(crate) payload: String,
}

impl From<&Stored> for SavedEvent {
    fn from(stored: &Stored) -> Self {
        Self {
            subject: stored.subject.clone(),
            event_type: stored.event_type().to_owned(),
            payload: hex::encode(&stored.payload),
        }
    }
}

/// The streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogHalf {
    pub(crate) server_version: String,
    /// In the order in which they were saved.
    pub(crate) streams: Vec<SavedStream>,
    /// As they stood before any stream was saved.
    pub(crate) consumers: Vec<SavedConsumer>,
}

/// What every version's manifest says.
#[derive(Deserialize)]
struct Header {
    format: u32,
    casement: String,
}

/// Returns the name of a stream's file.
pub(crate) fn file_of(stream: &str) -> String {
    format!("{stream}.tar.s2")
}

impl Manifest {
    pub(crate) fn new(
        began_time: Timestamp,
        ended_time: Timestamp,
        log: Option<LogHalf>,
        archive: Option<SavedArchive>,
        erasures: Vec<SavedEvent>,
    ) -> Self {
        Self {
            format: FORMAT,
            casement: env!("CARGO_PKG_VERSION").to_owned(),
            began_time,
            ended_time,
            log,
            archive,
            erasures,
        }
    }

    /// Returns how large the files are together.
    pub(crate) fn bytes(&self) -> u64 {
        let streams = self.log.iter().flat_map(|log| &log.streams);
        let files = self.archive.iter().flat_map(|archive| &archive.files);
        streams.map(|stream| stream.bytes).sum::<u64>() + files.map(|file| file.bytes).sum::<u64>()
    }

    /// Writes it, whole or not at all.
    pub(crate) async fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        let half = folder.join(format!("{FILE}.partial"));
        let write = async {
            let mut file = File::create_new(&half).await?;
            file.write_all(&serde_json::to_vec_pretty(self)?).await?;
            file.sync_all().await?;
            fs::rename(&half, &path).await?;
            File::open(folder).await?.sync_all().await?;
            anyhow::Ok(())
        };
        write
            .await
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Reads it.
    pub(crate) async fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let shown = path.display();
        let text = fs::read(&path).await.with_context(|| {
            format!("{shown} cannot be read: without it, a folder is no whole backup")
        })?;
        let broken = || format!("{shown} is no manifest of a backup");
        let header: Header = serde_json::from_slice(&text).with_context(broken)?;
        if header.format > FORMAT {
            bail!(
                "{shown} was written by version {}, in a format that this version does not know: \
                 restore with that version, or a newer one",
                header.casement
            );
        }
        serde_json::from_slice(&text).with_context(broken)
    }

    /// Checks that the files of the log's half are as they were saved.
    pub(crate) async fn check_log(&self, folder: &Path) -> anyhow::Result<()> {
        for stream in self.log.iter().flat_map(|log| &log.streams) {
            let path = folder.join(LOG_FOLDER).join(file_of(&stream.name));
            let read = async { fingerprint(&mut File::open(&path).await?).await };
            let found = read
                .await
                .with_context(|| format!("{} cannot be read", path.display()))?;
            if found != (stream.bytes, stream.sha256.clone()) {
                bail!(
                    "{} is not as it was saved: it is incomplete, or was changed",
                    path.display()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manifest_is_read_back_and_that_of_a_newer_format_refused() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let manifest = Manifest::new(now, now, None, None, Vec::new());
        assert!(Manifest::read(folder.path()).await.is_err());
        manifest.write(folder.path()).await.unwrap();
        let read = Manifest::read(folder.path()).await.unwrap();
        assert_eq!(read.casement, env!("CARGO_PKG_VERSION"));

        let newer = r#"{"format": 2, "casement": "9.9.9", "log": "of another kind"}"#;
        std::fs::write(folder.path().join(FILE), newer).unwrap();
        let error = Manifest::read(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("9.9.9"), "{error}");
    }
}

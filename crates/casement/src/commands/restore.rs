//! `casement restore`: log and archive from a backup, both or one, into where there is none.
//!
//! Everything is checked before anything is changed. A restored stream has a life of its own, and
//! says which one it continues and how far; from that, and from where the archive stands, follows
//! how both halves join, whichever is older and whenever each was restored. No role may run.

mod erasures;
mod joint;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use casement_audit_projector::backup::{self, SavedArchive};
use casement_audit_projector::{ArchivePlace, Proof, verify_archive};
use casement_event::subject::stream;
use casement_event_log::snapshot::{SnapshotError, Snapshots};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::fs::File;

use super::backup::manifest::{ARCHIVE_FOLDER, LOG_FOLDER, LogHalf, Manifest, SavedEvent, file_of};
use super::backup::{Half, Place, PlaceArgs};
use crate::output;
use crate::process::{self, OwnBroker};
use erasures::Known;
use joint::Joined;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder of the backup
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Only one half; the other one is as it is, or comes from another backup
    #[arg(long, value_name = "HALF")]
    only: Option<Half>,
    /// A newer backup, whose list of erasures is heeded; may be given several times
    #[arg(long, value_name = "FOLDER")]
    erasures: Vec<PathBuf>,
    /// Check backup and places, and change nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(crate) async fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let mut place = args.place.read()?;
    let manifest = Manifest::read(&args.folder).await?;
    let wants = |half| args.only.is_none_or(|only| only == half);
    let log = manifest.log.as_ref().filter(|_| wants(Half::Log));
    let archive = manifest.archive.as_ref().filter(|_| wants(Half::Archive));
    if log.is_none() && archive.is_none() && args.only != Some(Half::Erasures) {
        bail!("the backup has no such half");
    }
    let broker = process::own_broker(&mut place.config).await?;
    let outcome = with_broker(&args, &place, broker.as_ref(), &manifest, log, archive).await;
    if let Some(broker) = broker {
        broker.stop().await;
    }
    outcome
}

async fn with_broker(
    args: &RestoreArgs,
    place: &Place,
    broker: Option<&OwnBroker>,
    manifest: &Manifest,
    log: Option<&LogHalf>,
    archive: Option<&SavedArchive>,
) -> anyhow::Result<()> {
    let reached = place.config.log(broker.map(OwnBroker::address))?;
    let snapshots = Snapshots::connect(&reached).await;
    let snapshots = snapshots.context("cannot reach the broker: start it, without any role")?;
    let archive_folder = args.folder.join(ARCHIVE_FOLDER);
    if let Some(log) = log {
        manifest.check_log(&args.folder).await?;
        vacant(&snapshots, log).await?;
    }
    if let Some(archive) = archive {
        backup::check(&place.config.archive, &archive_folder, archive).await?;
    }
    if args.check {
        return told(args, "the backup is whole, and can be restored here");
    }
    if let Some(archive) = archive {
        backup::restore(&place.config.archive, &archive_folder, archive).await?;
        verify(place).await?;
    }
    if let Some(log) = log {
        restore_log(args, place, &snapshots, log).await?;
    }
    let again = carry_over(args, place, &snapshots, &reached, manifest).await?;
    let joined = joint::joined(&snapshots, &place.config.archive, archive).await?;
    tell(args, &joined, again)
}

/// Has erasures carried out again that what was restored had not heard of: those of the backup and
/// of newer ones, and of the half that is there. Returns how many.
async fn carry_over(
    args: &RestoreArgs,
    place: &Place,
    snapshots: &Snapshots,
    reached: &casement_event_log::Config,
    manifest: &Manifest,
) -> anyhow::Result<usize> {
    let mut known = Known::default();
    known.take(&manifest.erasures)?;
    for folder in &args.erasures {
        known.take(&Manifest::read(folder).await?.erasures)?;
    }
    known.take(&super::backup::erasures(snapshots).await?)?;
    if backup::is_there(&place.config.archive).await? {
        let masters = place.config.secrets.customer_keys()?;
        let archived = backup::erasures(&place.config.archive, masters.into()).await?;
        let archived: Vec<_> = archived.iter().map(SavedEvent::from).collect();
        known.take(&archived)?;
    }
    if known.is_empty() {
        return Ok(0);
    }
    if snapshots.find(stream::CUSTOMERS).await?.is_none() {
        bail!(
            "there were erasures, and no log to write them on: restore the log, too, before any              role runs"
        );
    }
    // Whether the broker is fit to be written to is for the roles to find out.
    let reached = casement_event_log::Config {
        accept_unsafe_broker: true,
        ..reached.clone()
    };
    // The other half may be of any age; what is done again does no harm.
    let saved_at = if args.only.is_none() {
        manifest.began_time
    } else {
        Timestamp::MIN
    };
    known
        .carry_over(&reached, saved_at, place.clock.now())
        .await
}

/// Refuses if any stream is there.
async fn vacant(snapshots: &Snapshots, log: &LogHalf) -> anyhow::Result<()> {
    for stream in &log.streams {
        if let Some(found) = snapshots.find(&stream.name).await? {
            let there = SnapshotError::Exists {
                stream: stream.name.clone(),
                messages: found.messages,
            };
            return Err(there).context("nothing was changed");
        }
    }
    Ok(())
}

async fn restore_log(
    args: &RestoreArgs,
    place: &Place,
    snapshots: &Snapshots,
    log: &LogHalf,
) -> anyhow::Result<()> {
    // One name for all streams of this restore; no stream ever had it.
    let name = format!("{:x}", place.clock.now().as_nanosecond());
    for stream in &log.streams {
        let path = args.folder.join(LOG_FOLDER).join(file_of(&stream.name));
        let mut file = File::open(&path)
            .await
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let restored = snapshots.restore(stream, &name, &mut file).await?;
        if (restored.last_sequence, restored.messages) != (stream.last_sequence, stream.messages) {
            bail!(
                "stream {} was restored with {} messages up to {} instead of {} up to {}: delete \
                 the streams and restore again",
                stream.name,
                restored.messages,
                restored.last_sequence,
                stream.messages,
                stream.last_sequence
            );
        }
    }
    for consumer in &log.consumers {
        snapshots.set_back(consumer).await?;
    }
    Ok(())
}

/// Recomputes every chain of the restored archive.
async fn verify(place: &Place) -> anyhow::Result<()> {
    let section = &place.config.archive;
    let archive = match &section.database_url {
        Some(url) => ArchivePlace::Url(url.resolve()?),
        None => ArchivePlace::File(section.database_path.clone()),
    };
    let masters = place.config.secrets.customer_keys()?;
    let reports = verify_archive(&archive, masters.into(), &Proof::default()).await?;
    let broken: Vec<_> = reports
        .iter()
        .filter(|report| !report.is_intact())
        .map(|report| report.stream.as_str())
        .collect();
    if !broken.is_empty() {
        bail!(
            "chains of {} are broken in the backup: it was restored as it is, see `casement audit \
             verify`; the log was not restored",
            broken.join(", ")
        );
    }
    Ok(())
}

fn told(args: &RestoreArgs, words: &str) -> anyhow::Result<()> {
    if args.place.output.json {
        return output::json(&json!({ "checked": true }));
    }
    output::line(words)?;
    Ok(())
}

fn tell(args: &RestoreArgs, joined: &[Joined], again: usize) -> anyhow::Result<()> {
    if args.place.output.json {
        output::json(&json!({ "streams": joined, "erasures_again": again }))?;
    } else {
        for stream in joined {
            output::line(stream.line())?;
        }
        if again > 0 {
            output::line(format!(
                "{again} erasure(s) are carried out again at the next start"
            ))?;
        }
        output::line(
            "restored; start the roles, the dispatcher last: messages that waited when the log was \
             saved may have been sent since (docs/operate/backup.md)",
        )?;
    }
    let lost = joined.iter().filter(|stream| stream.lost.is_some()).count();
    if lost > 0 {
        bail!("events of {lost} stream(s) are in neither half: restore a newer archive");
    }
    Ok(())
}

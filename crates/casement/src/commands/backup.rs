//! `casement backup`: log and archive into a folder, while both are written.
//!
//! The archive comes first and the log after it, so that what the archive lacks is on the log. The
//! folder is a backup once its manifest is there, which is written last. It holds what customers
//! wrote: as sealed as it stands in the archive, and open as it stands on the log.

pub(crate) mod manifest;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use casement_audit_projector::backup;
use casement_event::subject::{self, stream};
use casement_event_log::snapshot::{SAVED_STREAMS, SavedConsumer, Snapshots};
use casement_shell::telemetry::{self, Guard, TelemetryConfig};
use casement_shell::{SharedClock, SystemClock};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::fs::{self, File};

use crate::cli::{ConfigArgs, OutputArgs};
use crate::config::{Config, Mode};
use crate::output;
use manifest::{ARCHIVE_FOLDER, LOG_FOLDER, LogHalf, Manifest, SavedEvent, file_of};

/// What is told on standard error: why nothing happens.
const TROUBLES: &str = "warn";

/// One half of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Half {
    Log,
    Archive,
    /// The list of who was erased, which every backup has, too.
    Erasures,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder to write; it must be empty, or not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Only one half
    #[arg(long, value_name = "HALF")]
    only: Option<Half>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which Casement is meant, and how to tell what was done.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// A Casement that runs with `up --demo`
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What both commands work with.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) clock: SharedClock,
    _telemetry: Guard,
}

impl PlaceArgs {
    /// Reads the configuration.
    pub(crate) fn read(&self) -> anyhow::Result<Place> {
        let mode = if self.demo { Mode::Demo } else { Mode::Real };
        let overrides = self.config.overrides();
        let config = Config::load(mode, self.config.config.as_deref(), &overrides)?;
        let troubles = TelemetryConfig {
            filter: TROUBLES.to_owned(),
            ..TelemetryConfig::default()
        };
        Ok(Place {
            config,
            clock: SystemClock::shared(),
            _telemetry: telemetry::init("casement", &troubles)?,
        })
    }
}

impl Place {
    /// How to reach the broker; one that `up` runs listens where it is configured to.
    pub(crate) fn log(&self) -> anyhow::Result<casement_event_log::Config> {
        let own = self.config.log.servers.is_empty().then(|| {
            let servers = format!("nats://{}", self.config.log.own_server.listen);
            (servers, String::new())
        });
        Ok(self.config.log(own)?)
    }
}

pub(crate) async fn run(args: BackupArgs) -> anyhow::Result<()> {
    let place = args.place.read()?;
    let wants = |half| args.only.is_none_or(|only| only == half);
    // Before anything is written: neither half shall be there alone unless that was asked for.
    let snapshots = Snapshots::connect(&place.log()?).await;
    let snapshots = snapshots
        .context("cannot reach the log: is Casement running, and is this its configuration?")?;
    make(&args.folder).await?;
    let began_at = place.clock.now();
    // Before any stream: whoever had done more by the time a stream is saved, does it again.
    let consumers = if wants(Half::Log) {
        consumers(&snapshots).await?
    } else {
        Vec::new()
    };
    let archive = if wants(Half::Archive) {
        let folder = args.folder.join(ARCHIVE_FOLDER);
        make(&folder).await?;
        Some(backup::save(&place.config.archive, &folder).await?)
    } else {
        None
    };
    let log = if wants(Half::Log) {
        Some(save_log(&snapshots, &args.folder, consumers).await?)
    } else {
        None
    };
    let erasures = erasures(&snapshots).await?;
    let manifest = Manifest::new(began_at, place.clock.now(), log, archive, erasures);
    manifest.write(&args.folder).await?;
    tell(&args, &manifest)
}

/// Returns tombstones, and how far each erasure has come.
pub(crate) async fn erasures(snapshots: &Snapshots) -> anyhow::Result<Vec<SavedEvent>> {
    let mut erasures = Vec::new();
    for filter in [subject::ALL_ERASED, subject::ALL_ERASURES] {
        let newest = snapshots.newest_of_each(stream::CUSTOMERS, filter).await?;
        erasures.extend(newest.iter().map(SavedEvent::from));
    }
    Ok(erasures)
}

async fn consumers(snapshots: &Snapshots) -> anyhow::Result<Vec<SavedConsumer>> {
    let mut consumers = Vec::new();
    for stream in SAVED_STREAMS {
        consumers.extend(snapshots.consumers(stream).await?);
    }
    Ok(consumers)
}

async fn save_log(
    snapshots: &Snapshots,
    folder: &Path,
    consumers: Vec<SavedConsumer>,
) -> anyhow::Result<LogHalf> {
    let folder = folder.join(LOG_FOLDER);
    make(&folder).await?;
    let mut streams = Vec::new();
    for stream in SAVED_STREAMS {
        let path = folder.join(file_of(stream));
        let mut file = File::create_new(&path)
            .await
            .with_context(|| format!("{} cannot be created", path.display()))?;
        streams.push(snapshots.save(stream, &mut file).await?);
        file.sync_all()
            .await
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(LogHalf {
        server_version: snapshots.server_version(),
        streams,
        consumers,
    })
}

/// Makes a folder that only we may look into; one that is there must be empty.
async fn make(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    if fs::try_exists(folder).await? {
        let mut entries = fs::read_dir(folder)
            .await
            .with_context(|| format!("{shown} is no folder"))?;
        if entries.next_entry().await?.is_some() {
            bail!("{shown} is not empty: each backup gets a folder of its own");
        }
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("folder {shown} cannot be created"))
}

fn tell(args: &BackupArgs, manifest: &Manifest) -> anyhow::Result<()> {
    if args.place.output.json {
        return output::json(&json!({
            "folder": args.folder.display().to_string(),
            "bytes": manifest.bytes(),
            "manifest": manifest,
        }));
    }
    for stream in manifest.log.iter().flat_map(|log| &log.streams) {
        output::line(format!(
            "{:<17} {} messages up to {}, {} bytes",
            stream.name, stream.messages, stream.last_sequence, stream.bytes
        ))?;
    }
    for head in manifest.archive.iter().flat_map(|archive| &archive.heads) {
        output::line(format!(
            "archive {:<9} {} events up to {} of life {}",
            head.stream, head.row_count, head.last_sequence, head.incarnation
        ))?;
    }
    output::line(format!(
        "{} bytes in {}; check it with `casement restore --check`",
        manifest.bytes(),
        args.folder.display()
    ))?;
    Ok(())
}

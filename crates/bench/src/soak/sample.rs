//! What is looked at every few seconds.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use casement_event::subject::stream;
use casement_testkit::Postgres;
use serde::Serialize;

use crate::cost;
use crate::dispatch::scene::Scene;
use crate::roles::{Role, Running};

/// Streams whose growth is told.
const STREAMS: [&str; 4] = [
    stream::RAW,
    stream::CUSTOMERS,
    stream::EVENTS,
    stream::MESSAGES,
];

/// One look.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Seconds since the load began.
    pub(super) second: f64,
    pub(super) processes: Vec<ProcessSample>,
    pub(super) streams: Vec<StreamSample>,
    /// Messages that some consumer was not given yet, or is working on.
    pub(super) waiting: f64,
    /// Events that are not archived yet.
    pub(super) unarchived: f64,
    /// Bytes of the archive's database, files beside it included.
    pub(super) database_bytes: f64,
}

/// What a process holds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ProcessSample {
    pub(super) name: String,
    pub(super) memory_bytes: f64,
    pub(super) files: f64,
    pub(super) threads: f64,
    /// Seconds of processor time so far.
    pub(super) processor_seconds: f64,
}

/// What a stream holds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StreamSample {
    pub(super) name: String,
    pub(super) messages: f64,
    pub(super) bytes: f64,
}

impl Sample {
    /// What is shown of it while the run goes on.
    pub(super) fn line(&self) -> String {
        let memory: Vec<String> = self
            .processes
            .iter()
            .map(|process| {
                let mib = process.memory_bytes / 1_048_576.0;
                format!("{} {mib:.0} MiB", process.name)
            })
            .collect();
        format!(
            "{:.0} s: {} wait, {} not archived; {}",
            self.second,
            self.waiting,
            self.unarchived,
            memory.join(", ")
        )
    }
}

/// Looks at everything.
pub(super) struct Looker<'a> {
    pub(super) context: jetstream::Context,
    pub(super) scene: &'a Scene,
    pub(super) roles: &'a [Running],
    pub(super) postgres: Option<&'a Postgres>,
    pub(super) database_url: Option<&'a str>,
}

impl Looker<'_> {
    pub(super) async fn look(&self, since: Duration) -> anyhow::Result<Sample> {
        let system = &self.scene.system;
        let mut processes = Vec::new();
        for role in self.roles {
            processes.push(process(role.name(), role.id()).await?);
        }
        processes.push(process("broker", system.nats.id()).await?);
        let mut streams = Vec::new();
        for name in STREAMS {
            let stream = self.context.get_stream(name).await?;
            let state = &stream.cached_info().state;
            streams.push(StreamSample {
                name: name.to_owned(),
                messages: number(state.messages),
                bytes: number(state.bytes),
            });
        }
        let projector = self
            .roles
            .iter()
            .find(|role| role.name() == Role::AuditProjector.name())
            .context("the archive's role runs")?;
        let waiting = system.waiting(&self.context).await?;
        Ok(Sample {
            second: since.as_secs_f64(),
            processes,
            streams,
            waiting: number(u64::try_from(waiting)?),
            unarchived: projector
                .metric("casement_archive_pending_messages")
                .await?,
            database_bytes: self.database_bytes().await?,
        })
    }

    async fn database_bytes(&self) -> anyhow::Result<f64> {
        if let Some((postgres, url)) = self.postgres.zip(self.database_url) {
            let size = postgres
                .sql(url, "SELECT pg_database_size(current_database())")
                .await;
            return Ok(size.trim().parse()?);
        }
        let mut bytes = 0;
        let mut folder = tokio::fs::read_dir(self.scene.system.folder()).await?;
        while let Some(entry) = folder.next_entry().await? {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("archive.sqlite") {
                bytes += entry.metadata().await?.len();
            }
        }
        Ok(number(bytes))
    }
}

async fn process(name: &str, id: u32) -> anyhow::Result<ProcessSample> {
    let held = cost::held(id)
        .await
        .with_context(|| format!("{name} is gone"))?;
    let spent = cost::spent(id).await.context("processor time")?;
    Ok(ProcessSample {
        name: name.to_owned(),
        memory_bytes: number(held.memory),
        files: number(held.files),
        threads: number(held.threads),
        processor_seconds: spent.as_secs_f64(),
    })
}

/// Counts and bytes here are far below what a float holds exactly.
#[expect(
    clippy::cast_precision_loss,
    reason = "below 2^53, and shown with three digits"
)]
fn number(count: u64) -> f64 {
    count as f64
}

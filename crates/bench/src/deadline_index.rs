//! How long the deadline index takes to know every deadline after a restart, and what it weighs.
//!
//! The baseline reads the same messages with a plain ordered consumer and keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use casement_event::subject::{Family, stream};
use casement_event_log::deadline::{self, Index, Now};
use casement_event_log::{Expect, Log};
use casement_testkit::NatsServer;
use clap::Args;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::measure::{mib, own_memory, rate, server_memory};
use crate::stage::{self, Windows};

/// How many events are handed over at once while loading.
const CHUNK_LEN: usize = 4_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many subjects have a deadline.
    #[arg(long, default_value_t = 1_000_000)]
    subjects: usize,
    /// How often the index and the baseline are run, one after the other.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// A clock that stands still: nothing comes due while the index is rebuilt.
struct Still(Timestamp);

impl Now for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn is_trusted(&self) -> bool {
        true
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let subjects = options.subjects;
    let mut server = stage::server(true).await;
    let monitoring = stage::monitoring(&server);

    println!("Deadline index, {subjects} subjects\n\n| what | figure | beside |\n|---|---:|---:|");
    let loading = Instant::now();
    load(&stage::log(&server).await?, subjects, start).await?;
    let took = loading.elapsed();
    row("loaded", &rate(subjects, took), &format!("{took:.1?}"));
    let memory = mib(server_memory(&monitoring).await?);
    row("broker: memory after the load", &memory, "");

    let restarting = Instant::now();
    server.restart().await;
    let took = format!("{:.1?}", restarting.elapsed());
    row("broker: from kill -9 until it answers", &took, "");
    let memory = mib(server_memory(&monitoring).await?);
    row("broker: memory after the restart", &memory, "");

    for round in 1..=options.rounds {
        let log = stage::log(&server).await?;
        let before = own_memory().await;
        let (took, index) = rebuild(&log, subjects, start).await?;
        let after = own_memory().await;
        row(
            &format!("index rebuilt, run {round}"),
            &rate(subjects, took),
            &format!("{took:.1?}"),
        );
        if let (Some(before), Some(after)) = (before, after) {
            let grown = after.saturating_sub(before);
            let each = grown / u64::try_from(subjects.max(1))?;
            row(
                &format!("memory of the process with the index, run {round}"),
                &mib(after),
                &format!("{} more than before", mib(grown)),
            );
            row(
                &format!("bytes a deadline, run {round}"),
                &format!("{each} B"),
                "",
            );
        }
        drop(index);

        let plain = read_plainly(&server, subjects).await?;
        row(
            &format!("plain consumer of the same, run {round}"),
            &rate(subjects, plain),
            &format!("{plain:.1?}"),
        );
        let ratio = took.as_secs_f64() / plain.as_secs_f64();
        row(
            &format!("index / plain consumer, run {round}"),
            &format!("{ratio:.2}"),
            "",
        );
    }
    let memory = mib(server_memory(&monitoring).await?);
    row("broker: memory at the end", &memory, "");
    println!();
    Ok(())
}

fn row(what: &str, figure: &str, beside: &str) {
    println!("| {what} | {figure} | {beside} |");
}

async fn load(log: &Log, subjects: usize, start: Timestamp) -> anyhow::Result<()> {
    let windows = Windows::new(start)?;
    let mut loaded = 0;
    while loaded < subjects {
        let until = subjects.min(loaded + CHUNK_LEN);
        let records = (loaded..until)
            .map(|index| Ok((windows.record(index)?, Expect::Anything)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for result in log.append_all(records).await {
            result.context("load")?;
        }
        loaded = until;
    }
    Ok(())
}

async fn rebuild(
    log: &Log,
    subjects: usize,
    start: Timestamp,
) -> anyhow::Result<(Duration, Index)> {
    let options = deadline::Options {
        stream: stream::EVENTS,
        filter: Family::Window.filter(),
        stagger: SignedDuration::ZERO,
        retry_after: SignedDuration::from_mins(1),
    };
    let rebuilding = Instant::now();
    let index = Index::start_unseen(
        log,
        options,
        Arc::new(Still(start)),
        CancellationToken::new(),
    );
    let mut progress = index.handle().progress();
    let done = *progress.wait_for(|progress| progress.is_caught_up).await?;
    let took = rebuilding.elapsed();
    ensure!(done.len == subjects, "it knows {} deadlines", done.len);
    Ok((took, index))
}

/// Reads the newest message of each window with a plain consumer, and keeps nothing.
pub(crate) async fn read_plainly(server: &NatsServer, subjects: usize) -> anyhow::Result<Duration> {
    let mut context = jetstream::new(server.client().await);
    context.set_timeout(Duration::from_mins(1));
    let reading = Instant::now();
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::LastPerSubject,
        filter_subject: Family::Window.filter(),
        ..OrderedConfig::default()
    };
    let consumer = context
        .create_consumer_on_stream(config, stream::EVENTS)
        .await?;
    let mut messages = consumer.messages().await?;
    let mut count = 0;
    while count < subjects {
        messages.next().await.context("the delivery ended")??;
        count += 1;
    }
    Ok(reading.elapsed())
}

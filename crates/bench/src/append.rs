//! Appends to the log: one at a time, some at once, and many at once.
//!
//! The baseline publishes the same payloads to the same stream with the broker's own client,
//! without headers or expectations, and waits for each acknowledgement.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use bytes::Bytes;
use casement_event_log::{Expect, Log};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::measure::{percentile, rate};
use crate::stage::{self, Windows};

/// How many are in flight at once when pipelined: fewer than make a batch.
const PIPELINE_LEN: usize = 64;

/// How many are in flight at once, or in a batch, at most.
const BATCH_LEN: usize = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many events are appended alone; ten times as many are pipelined, and a hundred times
    /// as many in batches.
    #[arg(long, default_value_t = 2_000)]
    count: usize,
    /// Let the broker acknowledge before a write is on disk.
    #[arg(long)]
    no_sync: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let server = stage::server(!options.no_sync).await;
    let log = stage::log(&server).await?;
    let context = jetstream::new(server.client().await);
    let windows = Windows::new(Timestamp::UNIX_EPOCH)?;
    let mut bench = Bench {
        log,
        context,
        windows,
        used: 0,
    };

    println!("Appends\n\n| at once | who | appends | p50 | p99 |\n|---:|---|---:|---:|---:|");
    let lone = [(1, options.count), (PIPELINE_LEN, options.count * 10)];
    for (at_once, count) in lone {
        let log = bench.append(count, at_once).await?;
        let plain = bench.publish(count, at_once).await?;
        report(at_once, count, log, plain);
    }
    let count = options.count * 100;
    let log = bench.append_all(count).await?;
    let plain = bench.publish(count, BATCH_LEN).await?;
    report(BATCH_LEN, count, log, plain);
    println!();
    Ok(())
}

/// How long all took together, and each.
struct Run {
    total: Duration,
    each: Vec<Duration>,
}

fn report(at_once: usize, count: usize, log: Run, plain: Run) {
    for (who, mut run) in [("log", log), ("plain publishes", plain)] {
        let (half, most) = (percentile(&mut run.each, 50), percentile(&mut run.each, 99));
        println!(
            "| {at_once} | {who} | {} | {half:.2?} | {most:.2?} |",
            rate(count, run.total)
        );
    }
}

struct Bench {
    log: Log,
    context: jetstream::Context,
    windows: Windows,
    /// So that each append has a subject of its own.
    used: usize,
}

impl Bench {
    fn records(&mut self, count: usize) -> anyhow::Result<Vec<casement_event::Record>> {
        let from = self.used;
        self.used += count;
        (from..self.used)
            .map(|index| self.windows.record(index))
            .collect()
    }

    async fn append(&mut self, count: usize, at_once: usize) -> anyhow::Result<Run> {
        let records = self.records(count)?;
        let started = Instant::now();
        let each = futures::stream::iter(records)
            .map(|record| async {
                let begun = Instant::now();
                let expect = Expect::empty(record.subject.clone());
                self.log.append(record, expect).await.context("append")?;
                anyhow::Ok(begun.elapsed())
            })
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        Ok(Run {
            total: started.elapsed(),
            each,
        })
    }

    async fn append_all(&mut self, count: usize) -> anyhow::Result<Run> {
        let mut each = Vec::new();
        let mut total = Duration::ZERO;
        for _ in 0..count.div_ceil(BATCH_LEN) {
            let records = self.records(BATCH_LEN)?.into_iter().map(|record| {
                let expect = Expect::empty(record.subject.clone());
                (record, expect)
            });
            let records = records.collect();
            let begun = Instant::now();
            for result in self.log.append_all(records).await {
                result.context("append")?;
            }
            each.push(begun.elapsed());
            total += begun.elapsed();
        }
        Ok(Run { total, each })
    }

    async fn publish(&mut self, count: usize, at_once: usize) -> anyhow::Result<Run> {
        let records: Vec<(String, Bytes)> = self
            .records(count)?
            .into_iter()
            // The streams take appends under this prefix and store them without it.
            .map(|record| (format!("append.{}", record.subject), record.event.encode()))
            .collect();
        let started = Instant::now();
        let each = futures::stream::iter(records)
            .map(|(subject, payload)| async {
                let begun = Instant::now();
                let published = self.context.publish(subject, payload).await;
                published.context("publish")?.await.context("publish")?;
                anyhow::Ok(begun.elapsed())
            })
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        Ok(Run {
            total: started.elapsed(),
            each,
        })
    }
}

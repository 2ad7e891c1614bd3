//! How far the archive is behind while events come at a fixed rate: from when an event was on the
//! log until it stands in the database.

use std::time::Duration;

use anyhow::ensure;
use casement_event::subject::stream;
use casement_event_log::Expect;
use casement_shell::{Clock as _, SystemClock};
use clap::Args;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::row;
use super::store::Store;
use crate::measure::{rate, spread};
use crate::roles::System;
use crate::window::stored::Windows;

/// How often events are appended: as many as are due by then.
const TICK: Duration = Duration::from_millis(10);

/// How often the database is looked at; a figure is late by so much at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How long the last of them may take.
const REST_MAX: Duration = Duration::from_mins(5);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Events a second while the lag is measured.
    #[arg(long, default_value_t = 5_000)]
    rate: usize,
    /// For how many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: usize,
}

pub(super) async fn run(
    options: &Options,
    system: &System,
    store: &Store,
    known: usize,
) -> anyhow::Result<()> {
    let windows = Windows::new()?;
    let count = options.rate * options.seconds;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel::<(u64, Instant)>();
    let log = system.log.clone();
    let per_tick = (options.rate / 100).max(1);
    let begun = Instant::now();
    let writer = tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut written = 0;
        let mut writes = tokio::task::JoinSet::new();
        while written < count {
            ticks.tick().await;
            let now = SystemClock::new().now();
            let until = count.min(written + per_tick);
            // New customers, each with a first message.
            let records = (written..until)
                .map(|index| Ok((windows.inbound(known + index, now)?, Expect::Anything)))
                .collect::<anyhow::Result<Vec<_>>>()?;
            written = until;
            let (log, told) = (log.clone(), told.clone());
            // The next ones are not held up by these.
            writes.spawn(async move {
                let positions = log.append_all(records).await;
                let now = Instant::now();
                for position in positions {
                    // Whoever listens has ended with an error of its own.
                    let _ = told.send((position?.sequence, now));
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writes.join_next().await {
            written??;
        }
        anyhow::Ok(begun.elapsed())
    });

    let mut lags = Vec::with_capacity(count);
    let mut waiting: Vec<(u64, Instant)> = Vec::new();
    let until = begun + Duration::from_secs(u64::try_from(options.seconds)?) + REST_MAX;
    while lags.len() < count {
        ensure!(Instant::now() < until, "the archive does not catch up");
        let archived = store.head(stream::EVENTS).await?;
        let seen = Instant::now();
        while let Ok(one) = heard.try_recv() {
            waiting.push(one);
        }
        waiting.retain(|(sequence, since)| {
            let is_archived = *sequence <= archived;
            if is_archived {
                lags.push(seen.saturating_duration_since(*since));
            }
            !is_archived
        });
        if writer.is_finished() && waiting.is_empty() && heard.is_empty() && lags.len() < count {
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    let took = writer.await??;
    ensure!(
        lags.len() == count,
        "{} of {count} were archived",
        lags.len()
    );
    row(
        &format!(
            "behind at {} events a second: p50, p99, longest",
            options.rate
        ),
        &spread(&mut lags).replace(" | ", ", "),
        &format!("{} came", rate(count, took)),
    );
    Ok(())
}

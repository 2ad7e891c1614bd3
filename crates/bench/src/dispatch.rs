//! Messages: how many requests are accepted and how many sends made a second, how long one takes
//! from durable to the provider, and what becomes of many when provider and dispatcher fail.
//!
//! The roles are processes of their own, started from the built `casement` as in production; the
//! broker syncs each write. The provider is the simulator, in this process, beside the callers:
//! its books say who was called for what, and when. Beside the figures stand those of a bare HTTP
//! client that calls the same provider, and of raw appends to the same broker.
//!
//! The part `faulty` is no measurement but a check, and fails when a claim does not hold.

mod audit;
mod baseline;
mod fair;
mod faulty;
mod latency;
mod life;
pub(crate) mod scene;
pub(crate) mod sender;
mod throughput;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::{cost, roles};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure this alone; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The `casement` whose roles are measured; by default the one that was built beside this
    /// program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// How many customers are written to, each in an open window.
    #[arg(long, default_value_t = 10_000)]
    customers: usize,
    #[command(flatten)]
    throughput: throughput::Options,
    #[command(flatten)]
    latency: latency::Options,
    #[command(flatten)]
    fair: fair::Options,
    #[command(flatten)]
    faulty: faulty::Options,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests accepted and sends made a second.
    Throughput,
    /// From durable, and from due, to the provider.
    Latency,
    /// One brand's answers beside another brand's campaign.
    Fair,
    /// A faulty provider, and a dispatcher that is killed.
    Faulty,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let program = roles::program(options.program.as_deref())?;
    Box::pin(cost::framed(parts(options, &program))).await
}

async fn parts(options: &Options, program: &Path) -> anyhow::Result<()> {
    let runs = |part| options.only.is_empty() || options.only.contains(&part);
    if runs(Part::Throughput) {
        throughput::run(&options.throughput, options.customers, program).await?;
    }
    if runs(Part::Latency) {
        latency::run(&options.latency, options.customers, program).await?;
    }
    if runs(Part::Fair) {
        Box::pin(fair::run(&options.fair, options.customers, program)).await?;
    }
    if runs(Part::Faulty) {
        Box::pin(faulty::run(&options.faulty, options.customers, program)).await?;
    }
    Ok(())
}

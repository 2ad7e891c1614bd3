//! Windows: how soon an opening is told, how much goes through every role, whether ends are told
//! in time, and what a million open windows cost.
//!
//! The roles are processes of their own, started from the built `casement` as in production; the
//! broker syncs each write; this process makes the load and listens as any subscriber does. Beside
//! each figure stands the broker's own for the same writes and deliveries in the same run.
//!
//! What differs between two programs is seen with `--program`: the same benchmark, run with one and
//! then with the other.

mod expiry;
mod latency;
mod scale;
pub(crate) mod stored;
mod throughput;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::{cost, plain, roles};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure this alone; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The `casement` whose roles are measured; by default the one that was built beside this
    /// program.
    #[arg(long)]
    program: Option<PathBuf>,
    #[command(flatten)]
    latency: latency::Options,
    #[command(flatten)]
    throughput: throughput::Options,
    #[command(flatten)]
    expiry: expiry::Options,
    #[command(flatten)]
    scale: scale::Options,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One post to `WindowOpened` at a subscriber.
    Latency,
    /// Customers' messages a second through every role.
    Throughput,
    /// Ends told, each once and in time.
    Expiry,
    /// What open windows cost, and how soon they are known again.
    Scale,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let program = roles::program(options.program.as_deref())?;
    Box::pin(cost::framed(parts(options, &program))).await
}

async fn parts(options: &Options, program: &Path) -> anyhow::Result<()> {
    let runs = |part| options.only.is_empty() || options.only.contains(&part);
    if runs(Part::Latency) {
        latency::run(&options.latency, program).await?;
    }
    if runs(Part::Throughput) {
        throughput::run(&options.throughput, program).await?;
    }
    if runs(Part::Expiry) {
        expiry::run(&options.expiry, program).await?;
    }
    if runs(Part::Scale) {
        scale::run(&options.scale, program).await?;
    }
    Ok(())
}

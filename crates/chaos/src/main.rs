//! The command: a run of so many faults or minutes, by a seed.

#![expect(clippy::print_stdout, reason = "the outcome is the result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use casement_chaos::run::{Options, run};
use casement_chaos::{power, report};
use clap::Parser;

/// How many faults there are if nobody says.
const FAULTS_COUNT: usize = 60;

/// How many faults a minute may have at most, by which minutes become a plan.
const FAULTS_A_MINUTE_MAX: usize = 240;

/// Breaks the whole system under traffic, and checks what must hold.
#[derive(Debug, Parser)]
#[command(name = "casement-chaos")]
struct Args {
    /// Which faults, and which traffic; random without it
    #[arg(long)]
    seed: Option<u64>,
    /// How many faults
    #[arg(long, conflicts_with = "minutes")]
    faults: Option<usize>,
    /// For how many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// How many customers
    #[arg(long, default_value_t = 8)]
    people: u64,
    /// Take the power from a broker's disk so many times instead, with each write synced and without
    #[arg(long, value_name = "TIMES")]
    power_loss: Option<usize>,
    /// Where the report goes, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let seed = args
        .seed
        .unwrap_or_else(|| rand::random_range(0..1_000_000));
    let minutes = args.minutes.map(|minutes| minutes.clamp(1, 24 * 60));
    let lasts_max = Duration::from_mins(minutes.unwrap_or(24 * 60));
    let faults_count = match (args.faults, minutes) {
        (Some(count), _) => count,
        (None, Some(minutes)) => usize::try_from(minutes)?.saturating_mul(FAULTS_A_MINUTE_MAX),
        (None, None) => FAULTS_COUNT,
    };
    println!("seed {seed}");
    if let Some(times) = args.power_loss {
        return power_loss(seed, times).await;
    }
    let options = Options {
        seed,
        faults_count,
        lasts_max,
        people_count: args.people,
    };
    let outcome = Box::pin(run(options, |line| println!("{line}")))
        .await
        .with_context(|| format!("seed {seed}"))?;
    let text = report::markdown(&outcome);
    if let Some(path) = args.report {
        std::fs::write(&path, &text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("{text}");
    if outcome.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("seed {seed}: {} violations", outcome.violations.len());
    Ok(ExitCode::FAILURE)
}

/// Nothing may be lost with each write synced, and something must be without, or this shows nothing.
async fn power_loss(seed: u64, times: usize) -> anyhow::Result<ExitCode> {
    let synced = power::lose(seed, times, true).await?;
    let unsynced = power::lose(seed, times, false).await?;
    println!("{}", report::losses(&[synced, unsynced]));
    if synced.lost_count > 0 {
        println!("seed {seed}: acknowledged messages are lost");
        return Ok(ExitCode::FAILURE);
    }
    anyhow::ensure!(
        unsynced.lost_count > 0,
        "nothing was lost without syncing either: this run shows nothing"
    );
    Ok(ExitCode::SUCCESS)
}

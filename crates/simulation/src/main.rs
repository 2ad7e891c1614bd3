//! `./dev simulate`: runs seeds, and shows of each that fails the smallest plan that does.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use casement_simulation::children::{Children, PROBLEM};
use casement_simulation::plan::{Plan, Planted};
use casement_simulation::world::run;
use clap::Parser;
use tokio::time::Instant;

/// How long one run may take. It takes a fraction of a second.
const RUN_MAX: Duration = Duration::from_mins(3);

/// Runs the roles on virtual time over a log in memory, with faults by seed.
#[derive(Debug, Parser)]
struct Options {
    /// Which seeds: the first, and how many.
    #[arg(long, default_value = "0:1000", env = "CASEMENT_SEEDS")]
    seeds: String,
    /// An error to plant, to see that it is found.
    #[arg(long)]
    plant: Option<String>,
    /// Show what each seed did, not those alone that fail.
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    alone: Alone,
}

/// One plan, for a process of its own.
#[derive(Debug, clap::Args)]
struct Alone {
    #[arg(long = "one", hide = true)]
    seed: Option<u64>,
    #[arg(long, hide = true, value_delimiter = ',')]
    deeds: Vec<String>,
    #[arg(long, hide = true, value_delimiter = ',')]
    faults: Vec<String>,
    #[arg(long, hide = true, default_value_t = 1)]
    trackers: usize,
    #[arg(long, hide = true, default_value_t = 1)]
    dispatchers: usize,
    #[arg(long, hide = true, default_value_t = 0)]
    projectors: usize,
    #[arg(long, hide = true, default_value_t = false, action = clap::ArgAction::Set)]
    lease: bool,
    #[arg(long, hide = true, default_value_t = false, action = clap::ArgAction::Set)]
    sms: bool,
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let planted = match &options.plant {
        None => Planted::Nothing,
        Some(name) => {
            let known = Planted::ALL.into_iter().find(|(known, _)| known == name);
            known
                .with_context(|| format!("nothing is planted as {name}"))?
                .1
        }
    };
    if let Some(seed) = options.alone.seed {
        return run_one(&options.alone, seed, planted);
    }
    let (first, count) = options
        .seeds
        .split_once(':')
        .unwrap_or((&options.seeds, "1"));
    let first: u64 = first.parse().context("seeds are given as first:count")?;
    let count: u64 = count.parse().context("seeds are given as first:count")?;
    let children = Children::of(std::env::current_exe().context("find the program")?)?;
    let mut out = std::io::stdout().lock();
    if options.history {
        for seed in first..first + count {
            let plan = Plan::of(seed).with(planted);
            let told = children.run(&plan)?;
            write!(out, "seed {seed}\n{plan}")?;
            for line in told.history.iter().chain(&told.problems) {
                writeln!(out, "  {line}")?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    let failed = children.run_all((first, count), at_once, planted)?;
    for one in &failed {
        writeln!(out, "{one}")?;
    }
    let took = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
    let rate = count as f64 / took.max(0.001);
    let len = failed.len();
    writeln!(
        out,
        "{count} seeds from {first} in {took:.1} s, {rate:.1} a second: {len} failed"
    )?;
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn run_one(one: &Alone, seed: u64, planted: Planted) -> anyhow::Result<ExitCode> {
    // Whoever goes round in circles without waiting for anything would do so for ever.
    std::thread::spawn(|| {
        std::thread::park_timeout(RUN_MAX);
        std::process::abort();
    });
    let numbers = |of: &[String]| -> anyhow::Result<Vec<u64>> {
        let numbers = of.iter().filter(|number| !number.is_empty());
        let numbers = numbers.map(|number| number.parse().context("a number"));
        numbers.collect()
    };
    let mut plan = Plan {
        trackers: one.trackers,
        dispatchers: one.dispatchers,
        projectors: one.projectors,
        has_lease: one.lease,
        has_sms: one.sms,
        ..Plan::of(seed).with(planted)
    };
    plan.keep(&numbers(&one.deeds)?, &numbers(&one.faults)?);
    let run = run(&plan, &one.folder);
    let mut out = std::io::stdout().lock();
    for line in &run.history {
        writeln!(out, "{line}")?;
    }
    for problem in &run.problems {
        writeln!(out, "{PROBLEM}{problem}")?;
    }
    Ok(ExitCode::from(u8::from(!run.problems.is_empty())))
}

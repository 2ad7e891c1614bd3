//! One run: start, break, mend, settle, check.

use std::time::Duration;

use anyhow::Context as _;
use casement_simulator::Handle;
use tokio::time::Instant;

use crate::check::{Claim, Violation, check};
use crate::driver::{Driver, Injected};
use crate::history::History;
use crate::observe;
use crate::plan::{Means, plan};
use crate::system::System;
use crate::traffic::{Answers, Traffic};

/// How long after the last fault everything may take to come to its end: windows, held messages,
/// reconciliation, reports.
const SETTLE_MAX: Duration = Duration::from_secs(150);

/// How long between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What the plan and the traffic are made from.
    pub seed: u64,
    /// How many faults.
    pub faults_count: usize,
    /// No new round begins after this long.
    pub lasts_max: Duration,
    /// How many customers there are.
    pub people_count: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub options: Options,
    /// What was broken.
    pub injected: Vec<Injected>,
    /// What was seen.
    pub history: History,
    /// What callers were answered.
    pub answers: Answers,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// How long it took in all.
    pub took: Duration,
    /// How often a role had ended by itself and was started again.
    pub restarts_count: usize,
    /// Whether the broker had a disk of its own.
    pub has_disk: bool,
}

/// Runs it; `tell` is told how far it is.
///
/// # Errors
/// When the machine does not carry it; that the system breaks a claim is an outcome.
pub async fn run(options: Options, mut tell: impl FnMut(&str)) -> anyhow::Result<Outcome> {
    let since = Instant::now();
    let mut system = System::start().await?;
    let has_disk = system.disk.is_some();
    let means = Means { has_disk };
    let rounds = plan(options.seed, options.faults_count, means);
    let clients = system.stack.clients();
    let traffic = Traffic::start(
        options.seed,
        options.people_count,
        &system.stack.simulator,
        &clients,
    );
    let mut driver = Driver::new(&mut system);
    let mut violations = Vec::new();
    let until = Instant::now() + options.lasts_max;
    for round in &rounds {
        if Instant::now() >= until {
            break;
        }
        if let Err(error) = driver.round(round).await {
            violations.push(not_recovered(&error));
            break;
        }
        let kinds: Vec<_> = round.faults.iter().map(|fault| fault.kind()).collect();
        tell(&format!(
            "{:>4} {}",
            driver.injected.len(),
            kinds.join(", ")
        ));
    }
    if let Err(error) = driver.settle().await {
        violations.push(not_recovered(&error));
    }
    let injected = driver.injected;
    tell("faults are over; waiting for everything to end");
    let answers = traffic.stop();
    let answers = tokio::time::timeout(SETTLE_MAX, answers)
        .await
        .context("a send has no answer")?;
    let (history, mut broken) = settled(&mut system, &answers).await?;
    violations.append(&mut broken);
    let restarts_count = system.restarts_count;
    system.stack.stop().await;
    Ok(Outcome {
        options,
        injected,
        history,
        answers,
        violations,
        took: since.elapsed(),
        restarts_count,
        has_disk,
    })
}

fn not_recovered(error: &anyhow::Error) -> Violation {
    Violation {
        claim: Claim::Recovers,
        what: format!("{error:#}"),
        history: Vec::new(),
    }
}

/// Waits until all claims hold, or the time is over; what is still broken then is.
async fn settled(
    system: &mut System,
    answers: &Answers,
) -> anyhow::Result<(History, Vec<Violation>)> {
    let until = Instant::now() + SETTLE_MAX;
    until_delivered(&system.stack.simulator, until).await;
    let mut has_fresh = false;
    loop {
        let is_last = Instant::now() >= until;
        let seen = look(system, answers, &mut has_fresh, is_last).await;
        match seen {
            Ok((history, broken)) if broken.is_empty() || is_last => {
                return Ok((history, broken));
            }
            Err(error) if Instant::now() >= until + SETTLE_MAX => return Err(error),
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn look(
    system: &mut System,
    answers: &Answers,
    has_fresh: &mut bool,
    is_last: bool,
) -> anyhow::Result<(History, Vec<Violation>)> {
    let mut history = observe::history(system, answers).await?;
    let broken = check(&history);
    if !broken.is_empty() && !is_last {
        return Ok((history, broken));
    }
    // Now there is nothing more to come, and both archives can be the same.
    if !*has_fresh {
        system.start_fresh_archive().await?;
        *has_fresh = true;
    }
    anyhow::ensure!(
        observe::fresh_is_complete(system).await?,
        "the second archive is behind"
    );
    history.differences = observe::differences(system).await?;
    let broken = check(&history);
    Ok((history, broken))
}

async fn until_delivered(simulator: &Handle, until: Instant) {
    while simulator.pending_webhooks() > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

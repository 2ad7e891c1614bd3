//! `casement replay raw`: takes posts that are on the log through the present parser once more.
//!
//! Facts that are known stay as they are; what an older parser could not read appears. It may run
//! while Casement does, and again.

use casement_shell::SystemClock;
use clap::{Args, Subcommand};
use serde_json::json;

use super::repair::{LogArgs, When, counts_json, told};
use crate::output;

/// After how many packs it says how far it is.
const TOLD_EVERY: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Take posts as they were received through the parser once more
    Raw(RawArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RawArgs {
    /// Posts stored since: an instant, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    from: When,
    /// Posts stored before
    #[arg(long, value_name = "TIME", default_value = "now")]
    to: When,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(command: ReplayCommand) -> anyhow::Result<()> {
    let ReplayCommand::Raw(args) = command;
    let now = SystemClock::shared().now();
    let (from, to) = (args.from.instant(now)?, args.to.instant(now)?);
    let bench = args.log.open().await?;
    let replayed = bench
        .repair
        .replay_raw(from, to, |so_far| {
            if so_far.packs.is_multiple_of(TOLD_EVERY) {
                output::talk(format!("{} packs, up to {}", so_far.packs, so_far.until));
            }
        })
        .await?;
    if args.log.output.json {
        return output::json(&json!({
            "packs": replayed.packs,
            "from_time": from,
            "to_time": to,
            "items": counts_json(&replayed.counts),
        }));
    }
    output::line(format!("{} packs from {from} to {to}", replayed.packs))?;
    for line in told(&replayed.counts) {
        output::line(format!("  {line}"))?;
    }
    Ok(())
}

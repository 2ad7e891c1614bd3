//! `casement parked`: webhook items for numbers that no account knows.
//!
//! Casement puts them on the log by itself as soon as an account has their number.

use anyhow::bail;
use casement_ingress::repair::Parked;
use clap::{Args, Subcommand};
use serde_json::json;

use super::repair::LogArgs;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List the numbers that items wait for
    List(ListArgs),
    /// Put the items of a number on the log, once an account has it
    Release(ReleaseArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Numbers that an account has meanwhile, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Meta's id of the number
    #[arg(value_name = "PHONE_NUMBER_ID")]
    phone_number_id: String,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(command: ParkedCommand) -> anyhow::Result<()> {
    match command {
        ParkedCommand::List(args) => list(args).await,
        ParkedCommand::Release(args) => release(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    let mut parked = bench.repair.parked().await?;
    parked.retain(|one| args.all || !one.is_known);
    for one in &parked {
        if args.log.output.json {
            output::json(&json!({
                "phone_number_id": one.phone_number_id,
                "items": one.items,
                "oldest_time": one.oldest,
                "newest_time": one.newest,
                "released": one.is_known,
            }))?;
        } else {
            output::line(line_of(one))?;
        }
    }
    if parked.is_empty() && !args.log.output.json {
        output::line("nothing is parked")?;
    }
    Ok(())
}

async fn release(args: ReleaseArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    let id = &args.phone_number_id;
    let Some(items) = bench.repair.release(id).await? else {
        bail!(
            "no account has the number {id}: add it with `casement connect`, and its items are \
             released by themselves"
        );
    };
    if args.log.output.json {
        return output::json(&json!({"phone_number_id": id, "items": items}));
    }
    output::line(format!("{items} items of {id} are on the log"))?;
    Ok(())
}

fn line_of(one: &Parked) -> String {
    let state = if one.is_known {
        "released"
    } else {
        "waiting for an account"
    };
    format!(
        "{}  {} items, {} to {}  {state}",
        one.phone_number_id, one.items, one.oldest, one.newest
    )
}

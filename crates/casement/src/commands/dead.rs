//! `casement dead`: items that no role could handle, and what to do about them.
//!
//! A letter is never deleted: what was done about it stands behind it, and both leave by age.

use anyhow::{Context as _, bail};
use casement_dispatcher::PutBackError;
use casement_event_log::dead::Letter;
use casement_ingress::repair::Retried;
use casement_shell::SystemClock;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::repair::{Bench, LogArgs, counts_json, told};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List what nobody has dealt with
    List(ListArgs),
    /// Show one letter with its item
    Show(OneArgs),
    /// Try items again with the present parser, or put commands back
    Retry(SomeArgs),
    /// Give letters up
    Drop(SomeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only letters of this role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The letter's number, as listed
    #[arg(value_name = "NUMBER")]
    sequence: u64,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SomeArgs {
    /// The letters' numbers, as listed
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    sequences: Vec<u64>,
    /// All that are listed
    #[arg(long, conflicts_with = "sequences")]
    all: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(command: DeadCommand) -> anyhow::Result<()> {
    match command {
        DeadCommand::List(args) => list(args).await,
        DeadCommand::Show(args) => show(args).await,
        DeadCommand::Retry(args) => retry(args).await,
        DeadCommand::Drop(args) => give_up(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    let mut letters = bench.log.dead_letters().await?;
    if let Some(role) = &args.role {
        letters.retain(|one| one.letter.role == *role);
    }
    for one in &letters {
        if args.log.output.json {
            output::json(&letter_json(one))?;
        } else {
            output::line(line_of(one))?;
        }
    }
    if letters.is_empty() && !args.log.output.json {
        output::line("no dead letters")?;
    }
    Ok(())
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    let one = letter(&bench, args.sequence).await?;
    let item = String::from_utf8(one.letter.item.clone())
        .unwrap_or_else(|broken| format!("(hexadecimal) {}", hex::encode(broken.as_bytes())));
    if args.log.output.json {
        let mut json = letter_json(&one);
        json["item"] = json!(item);
        return output::json(&json);
    }
    output::line(line_of(&one))?;
    output::line(item)?;
    Ok(())
}

async fn retry(args: SomeArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    let letters = chosen(&bench, &args).await?;
    let mut left = 0;
    for one in &letters {
        let (outcome, words, counts) = match bench.repair.retry(one, &args.reason).await? {
            Retried::Settled(counts) => {
                let words = format!("settled: {}", told(&counts).join("; "));
                ("SETTLED", words, counts_json(&counts))
            }
            Retried::StillDead(why) => ("STILL_DEAD", format!("still dead: {why}"), Value::Null),
            Retried::PostGone => {
                let words = "its post has left the log; `casement dead show` has the item, \
                             `casement dead drop` gives it up";
                ("POST_GONE", words.to_owned(), Value::Null)
            }
            Retried::Foreign => put_back(&bench, one, &args.reason).await?,
        };
        left += u32::from(!matches!(outcome, "SETTLED" | "PUT_BACK" | "ASKED"));
        if args.log.output.json {
            output::json(&json!({
                "sequence": one.sequence, "outcome": outcome, "detail": words, "items": counts,
            }))?;
        } else {
            output::line(format!("{}  {words}", one.sequence))?;
        }
    }
    if left > 0 {
        bail!("{left} of {} letters are left", letters.len());
    }
    Ok(())
}

/// Puts a command back, and asks other roles to try theirs.
async fn put_back(
    bench: &Bench,
    one: &Letter,
    reason: &str,
) -> anyhow::Result<(&'static str, String, Value)> {
    let now = SystemClock::shared().now();
    // A letter that was listed has come without its item.
    let whole = letter(bench, one.sequence).await?;
    match casement_dispatcher::put_back(&bench.log, &whole, reason, now).await {
        Ok(()) => {
            let words = "put back among the commands; if it is refused again, there is another \
                         letter of it";
            Ok(("PUT_BACK", words.to_owned(), Value::Null))
        }
        Err(PutBackError::NotACommand) => {
            bench.repair.ask(one, reason).await?;
            let words = format!(
                "asked {} to try it again: `casement dead list` shows what came of it",
                one.letter.role
            );
            Ok(("ASKED", words, Value::Null))
        }
        Err(error @ PutBackError::NotKept) => Ok(("NOT_KEPT", error.to_string(), Value::Null)),
        Err(error) => Err(error.into()),
    }
}

async fn give_up(args: SomeArgs) -> anyhow::Result<()> {
    let bench = args.log.open().await?;
    for one in chosen(&bench, &args).await? {
        bench.repair.drop_letter(&one, &args.reason).await?;
        if args.log.output.json {
            output::json(&json!({"sequence": one.sequence, "outcome": "DROPPED"}))?;
        } else {
            output::line(format!("{}  dropped", one.sequence))?;
        }
    }
    Ok(())
}

async fn chosen(bench: &Bench, args: &SomeArgs) -> anyhow::Result<Vec<Letter>> {
    if args.all {
        return Ok(bench.log.dead_letters().await?);
    }
    let mut letters = Vec::with_capacity(args.sequences.len());
    for sequence in &args.sequences {
        letters.push(letter(bench, *sequence).await?);
    }
    Ok(letters)
}

async fn letter(bench: &Bench, sequence: u64) -> anyhow::Result<Letter> {
    let found = bench.log.dead_letter(sequence).await?;
    found.with_context(|| format!("there is no dead letter {sequence}; see `casement dead list`"))
}

fn line_of(one: &Letter) -> String {
    let letter = &one.letter;
    let origin = letter.origin.clone().unwrap_or_default();
    let place = if letter.origin.is_some() {
        format!(" post {} {}", origin.post, origin.path)
    } else {
        String::new()
    };
    let retry = match &one.last_retry {
        Some((detail, at)) => format!("; tried in vain at {at}: {detail}"),
        None => String::new(),
    };
    format!(
        "{}  {}  {}  {}  ({} {}{}){retry}",
        one.sequence,
        one.stored_at,
        letter.role,
        letter.reason,
        letter.stream,
        letter.sequence,
        place.trim_end()
    )
}

fn letter_json(one: &Letter) -> Value {
    let letter = &one.letter;
    let origin = letter.origin.as_ref();
    json!({
        "sequence": one.sequence,
        "id": one.id.to_string(),
        "stored_time": one.stored_at,
        "role": letter.role,
        "reason": letter.reason,
        "stream": letter.stream,
        "stream_sequence": letter.sequence,
        "post": origin.map(|origin| origin.post),
        "path": origin.map(|origin| origin.path.clone()),
    })
}

//! `casement watch`: what is watched all the time and stands raised, and where its page is.
//!
//! It reads what the roles told on the log; it checks nothing itself, as `casement doctor` does.

use anyhow::bail;
use casement_domain::watch::{Check, Level};
use casement_event::convert::instant;
use casement_event::convert::watch::{read_check, read_level};
use casement_event::v1;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::repair::LogArgs;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only verdicts of this check, such as token-expiry
    #[arg(long)]
    check: Option<String>,
    /// What was raised once and is fine again, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let only = match args.check.as_deref() {
        None => None,
        Some(name) => match Check::parse(name) {
            Some(check) => Some(check),
            None => bail!("--check: there is no such check; there are {}", names()),
        },
    };
    let bench = args.log.open().await?;
    let mut verdicts = bench.log.verdicts().await?;
    verdicts.retain(|verdict| {
        let check = read_check(verdict.check());
        let is_meant = only.is_none() || check == only;
        is_meant && (args.all || read_level(verdict.level()) > Level::Fine)
    });
    verdicts.sort_by(|one, other| {
        let key = |verdict: &v1::Watch| {
            let level = std::cmp::Reverse(read_level(verdict.level()));
            (level, verdict.check, verdict.of.clone())
        };
        key(one).cmp(&key(other))
    });
    if args.log.output.json {
        for verdict in &verdicts {
            output::json(&as_json(verdict))?;
        }
        return Ok(());
    }
    for verdict in &verdicts {
        output::line(line_of(verdict))?;
    }
    if verdicts.is_empty() {
        output::line("nothing stands raised")?;
    }
    Ok(())
}

fn names() -> String {
    Check::ALL.map(Check::as_str).join(", ")
}

/// Returns a check's name, and its page.
fn name_of(verdict: &v1::Watch) -> (&'static str, String) {
    let name = read_check(verdict.check()).map_or("unknown", Check::as_str);
    (name, format!("docs/operate/alerts/{name}.md"))
}

fn since(verdict: &v1::Watch) -> Option<Timestamp> {
    let since = instant("since_time", verdict.since_time.as_ref());
    since.ok().flatten()
}

fn as_json(verdict: &v1::Watch) -> Value {
    let (check, page) = name_of(verdict);
    let facts: Map<String, Value> = verdict
        .facts
        .iter()
        .map(|fact| (fact.name.clone(), json!(fact.value)))
        .collect();
    json!({
        "check": check,
        "of": verdict.of,
        "number": verdict.number,
        "brand_id": verdict.brand_id,
        "level": read_level(verdict.level()).as_str(),
        "since_time": since(verdict),
        "text": verdict.text,
        "facts": facts,
        "page": page,
    })
}

fn line_of(verdict: &v1::Watch) -> String {
    let (check, page) = name_of(verdict);
    let level = read_level(verdict.level()).as_str();
    let of = if verdict.number.is_empty() {
        verdict.of.escape_debug().to_string()
    } else {
        format!("+{}", verdict.number)
    };
    let since = since(verdict).map_or_else(String::new, |since| format!(", since {since}"));
    let text = &verdict.text;
    format!("{level}  {check} of {of}{since}\n    {text}\n    {page}")
}

#[cfg(test)]
mod tests {
    use casement_domain::watch::Reading;
    use casement_event::convert::watch::{About, stored};

    use super::*;

    #[test]
    fn a_verdict_is_told_with_what_it_is_about_and_its_page() {
        let number = v1::Number {
            number: "15550001111".to_owned(),
            ..v1::Number::default()
        };
        let about = About::number(&number);
        let reading = Reading::of(Level::Warned, "the access token ends").with("left", 3);
        let since = Timestamp::UNIX_EPOCH;
        let verdict = stored(Check::TokenExpiry, &about, Level::Warned, since, &reading);
        assert_eq!(
            line_of(&verdict),
            "warned  token-expiry of +15550001111, since 1970-01-01T00:00:00Z\n    \
             the access token ends\n    docs/operate/alerts/token-expiry.md"
        );
        let told = as_json(&verdict);
        assert_eq!(told["facts"]["left"], "3");
        assert_eq!(told["level"], "warned");
    }
}

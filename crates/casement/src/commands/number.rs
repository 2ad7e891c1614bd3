//! `casement number`: numbers, where they stand at the platform, and how they come and go.

use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_shell::config::{ConfigError, Secret};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

/// Numbers on a page of `list`.
const PAGE_SIZE: i32 = 200;

/// How often `drain --wait` asks what is still in hand.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum NumberCommand {
    /// List numbers with where they stand
    List(ListArgs),
    /// Show a number with all that the platform says of it
    Show(OneArgs),
    /// Ask the platform about a number now
    Check(OneArgs),
    /// Stop every send of a number; messages wait
    Pause(ReasonArgs),
    /// End a number's pause
    Resume(OneArgs),
    /// Take no new messages for a number; what is in hand ends, and customers are heard as ever
    Drain(DrainArgs),
    /// Take messages for a number again
    Reopen(OneArgs),
    /// Keep the wish to have a number back on the app, and list the ways that exist
    Downgrade(ReasonArgs),
    /// Take a number off the platform; without --confirm, list what that would do
    Deregister(DeregisterArgs),
    /// Put a number onto the platform, again or for the first time
    Register(RegisterArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The business number, E.164 with plus
    #[arg(value_name = "NUMBER")]
    number: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    #[command(flatten)]
    one: OneArgs,
    /// What for; kept with the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    one: OneArgs,
    /// What for; kept with the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not end before the number is drained
    #[arg(long)]
    wait: bool,
    /// With --wait: end unsuccessfully if it is not by then; without, wait for ever
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    within: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct DeregisterArgs {
    #[command(flatten)]
    one: OneArgs,
    /// What for; kept with the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// The number once more: then it is done
    #[arg(long, value_name = "NUMBER")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    one: OneArgs,
    /// File with the six digits of the two-step PIN
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
}

pub(crate) async fn run(command: NumberCommand) -> anyhow::Result<()> {
    match command {
        NumberCommand::List(args) => list(args).await,
        NumberCommand::Show(args) => show(args).await,
        NumberCommand::Check(args) => check(args).await,
        NumberCommand::Pause(args) => pause(args).await,
        NumberCommand::Resume(args) => resume(args).await,
        NumberCommand::Drain(args) => drain(args).await,
        NumberCommand::Reopen(args) => reopen(args).await,
        NumberCommand::Downgrade(args) => downgrade(args).await,
        NumberCommand::Deregister(args) => deregister(args).await,
        NumberCommand::Register(args) => register(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut all = api::ListNumbersResponse::default();
    loop {
        let request = api::ListNumbersRequest {
            page_size: PAGE_SIZE,
            page_token: all.next_page_token.clone(),
        };
        let asked = api.accounts().list_numbers(request).await;
        let page = asked.map_err(explain)?.into_inner();
        all.numbers.extend(page.numbers);
        all.standings.extend(page.standings);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    if args.api.output.json {
        let value = json::of("casement.account.v1.ListNumbersResponse", &all)?;
        return output::json(&value);
    }
    if all.numbers.is_empty() {
        return Ok(output::line(
            "no number is on record: `casement connect` takes one into use",
        )?);
    }
    for (number, standing) in all.numbers.iter().zip(&all.standings) {
        output::line(row(number, standing))?;
    }
    Ok(())
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::GetNumberRequest {
        number: args.number,
    };
    let asked = api.accounts().get_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.GetNumberResponse", &answer)?;
        return output::json(&value);
    }
    print(answer.number, answer.standing)
}

async fn check(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::CheckNumberRequest {
        number: args.number,
    };
    let asked = api.accounts().check_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.CheckNumberResponse", &answer)?;
        return output::json(&value);
    }
    let news = if answer.changed {
        "the platform says something new"
    } else {
        "the platform says what it said before"
    };
    output::line(news)?;
    print(answer.number, answer.standing)
}

async fn pause(args: ReasonArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let request = api::PauseNumberRequest {
        number: args.one.number,
        reason: args.reason,
    };
    let asked = api.accounts().pause_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.one.api.output.json {
        let value = json::of("casement.account.v1.PauseNumberResponse", &answer)?;
        return output::json(&value);
    }
    Ok(output::line("paused: messages wait until it is resumed")?)
}

async fn resume(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::ResumeNumberRequest {
        number: args.number,
    };
    let asked = api.accounts().resume_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.ResumeNumberResponse", &answer)?;
        return output::json(&value);
    }
    Ok(output::line("resumed")?)
}

async fn drain(args: DrainArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let request = api::DrainNumberRequest {
            number: args.one.number.clone(),
            reason: args.reason.clone(),
        };
        let asked = api.accounts().drain_number(request).await;
        let answer = asked.map_err(explain)?.into_inner();
        let is_over = answer.drained || !args.wait;
        if args.one.api.output.json {
            if is_over {
                let value = json::of("casement.account.v1.DrainNumberResponse", &answer)?;
                return output::json(&value);
            }
        } else {
            let line = in_hand(&answer);
            if line != told {
                output::line(&line)?;
                told = line;
            }
        }
        if is_over {
            return Ok(());
        }
        let within = args.within.map(Duration::from_secs);
        if within.is_some_and(|within| begun.elapsed() >= within) {
            anyhow::bail!("not drained in time: {}", in_hand(&answer));
        }
        tokio::time::sleep(DRAIN_LOOK_INTERVAL).await;
    }
}

async fn reopen(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::ReopenNumberRequest {
        number: args.number,
    };
    let asked = api.accounts().reopen_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.ReopenNumberResponse", &answer)?;
        return output::json(&value);
    }
    Ok(output::line("reopened: messages are taken again")?)
}

/// Tells what of a number that is being drained is not over.
fn in_hand(answer: &api::DrainNumberResponse) -> String {
    let unreported = match answer.accepted_count {
        0 => String::new(),
        count => format!("; reports are awaited of {count}"),
    };
    if answer.drained {
        return format!("drained: nothing is in hand{unreported}");
    }
    format!(
        "no new messages are taken; in hand: {} waiting, {} held until their customers write, {} \
         being sent{unreported}",
        answer.waiting_count, answer.held_count, answer.called_count
    )
}

async fn downgrade(args: ReasonArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let request = api::RequestDowngradeRequest {
        number: args.one.number,
        reason: args.reason,
    };
    let asked = api.accounts().request_downgrade(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.one.api.output.json {
        let value = json::of("casement.account.v1.RequestDowngradeResponse", &answer)?;
        return output::json(&value);
    }
    output::line(
        "kept as a wish; the number stays as it is and goes on sending. Ways to the app:",
    )?;
    for way in &answer.ways {
        let open = if way.open { "" } else { " (not open now)" };
        output::line(format!(
            "- {}{open}: {}",
            way.way.to_ascii_lowercase(),
            way.text
        ))?;
    }
    Ok(())
}

async fn deregister(args: DeregisterArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let number = args.one.number;
    let request = api::PlanDeregistrationRequest {
        number: number.clone(),
    };
    let asked = api.accounts().plan_deregistration(request).await;
    let plan = asked.map_err(explain)?.into_inner();
    let Some(confirm_number) = args.confirm else {
        if args.one.api.output.json {
            let value = json::of("casement.account.v1.PlanDeregistrationResponse", &plan)?;
            return output::json(&value);
        }
        for one in &plan.consequences {
            output::line(consequence(one))?;
        }
        let end = if plan.possible {
            format!("nothing was done; to do it, repeat with --confirm {number}")
        } else {
            "nothing was done; it is not possible now".to_owned()
        };
        return Ok(output::line(end)?);
    };
    let request = api::DeregisterNumberRequest {
        number,
        confirm_number,
        plan_token: plan.plan_token,
        reason: args.reason,
    };
    if let Some(one) = plan.consequences.iter().find(|one| one.prevents) {
        anyhow::bail!("it is not possible now: {}", one.text);
    }
    let asked = api.accounts().deregister_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.one.api.output.json {
        let value = json::of("casement.account.v1.DeregisterNumberResponse", &answer)?;
        return output::json(&value);
    }
    Ok(output::line(
        "begun: it sends nothing on WhatsApp from now on; `casement number show` tells how it comes along",
    )?)
}

async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    let pin = Secret::File(args.pin_file)
        .resolve()
        .map_err(|error| ConfigError::check(error.to_string()))?;
    let api = Api::connect(&args.one.api).await?;
    let request = api::RegisterNumberRequest {
        number: args.one.number,
        pin: pin.expose_secret().trim().to_owned(),
    };
    let asked = api.accounts().register_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.one.api.output.json {
        let value = json::of("casement.account.v1.RegisterNumberResponse", &answer)?;
        return output::json(&value);
    }
    output::line("registered")?;
    print(answer.number, answer.standing)
}

fn row(number: &v1::Number, standing: &api::NumberStanding) -> String {
    let paused = if number.paused { ", paused" } else { "" };
    format!(
        "{:<16} {:<14} {:<8} {:>5}/s  {}  {}{paused}",
        number.number,
        connection(standing),
        value(standing, v1::HealthKind::Quality),
        standing.throughput,
        limit(standing),
        number.display_name,
    )
}

fn print(number: Option<v1::Number>, standing: Option<api::NumberStanding>) -> anyhow::Result<()> {
    let (number, standing) = (number.unwrap_or_default(), standing.unwrap_or_default());
    for line in lines(&number, &standing) {
        output::line(line)?;
    }
    Ok(())
}

fn lines(number: &v1::Number, standing: &api::NumberStanding) -> Vec<String> {
    let mut lines = vec![
        format!("number       {} ({})", number.number, number.display_name),
        format!("brand        {}", number.brand_id),
        format!("platform     {}", connection(standing)),
    ];
    if !standing.text.is_empty() {
        lines.push(format!("             {}", standing.text));
    }
    if number.paused {
        lines.push(format!("paused       {}", number.pause_reason));
    }
    if number.drain_time.is_some() {
        let at = person::time(number.drain_time.as_ref());
        lines.push(format!("draining     since {at} {}", number.drain_reason));
    }
    lines.push(format!(
        "throughput   {} messages a second",
        standing.throughput
    ));
    lines.push(format!("limit        {}", limit(standing)));
    let health = standing.health.clone().unwrap_or_default();
    for fact in &health.facts {
        let kind = person::word(fact.kind().as_str_name(), "HEALTH_KIND_");
        let source = person::word(fact.source().as_str_name(), "HEALTH_SOURCE_");
        let at = person::time(fact.time.as_ref());
        let detail = match fact.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        lines.push(format!(
            "  {kind:<20} {}{detail}, {source} {at}",
            fact.value
        ));
    }
    for one in &standing.capabilities {
        let name = one.name.to_ascii_lowercase().replace('_', " ");
        let is = person::word(one.availability().as_str_name(), "AVAILABILITY_");
        lines.push(
            format!("can          {name}: {is} {}", one.text)
                .trim_end()
                .to_owned(),
        );
    }
    if let Some(record) = &standing.deregistration {
        let state = person::word(record.state().as_str_name(), "DEREGISTRATION_STATE_");
        let at = person::time(record.start_time.as_ref());
        let why = record
            .error
            .as_ref()
            .map(|error| format!(": {}", error.title));
        let why = why.unwrap_or_default();
        lines.push(format!(
            "deregistered {state}{why}, begun {at} by {}",
            record.caller
        ));
    }
    if let Some(wish) = &standing.downgrade {
        let at = person::time(wish.time.as_ref());
        lines.push(format!(
            "downgrade    wished by {} at {at}: {}",
            wish.caller, wish.reason
        ));
    }
    lines
}

fn connection(standing: &api::NumberStanding) -> String {
    match standing.connection() {
        api::Connection::NotConnected => {
            let status = value(standing, v1::HealthKind::Status);
            let begun = value(standing, v1::HealthKind::Registration);
            if begun == "DEREGISTERING" {
                begun
            } else {
                status
            }
        }
        other => person::word(other.as_str_name(), "CONNECTION_"),
    }
}

fn limit(standing: &api::NumberStanding) -> String {
    match standing.messaging_limit {
        0 => "no limit known".to_owned(),
        limit => format!("{limit} customers a day"),
    }
}

fn value(standing: &api::NumberStanding, kind: v1::HealthKind) -> String {
    let health = standing.health.as_ref();
    let fact = health.and_then(|health| health.facts.iter().find(|fact| fact.kind() == kind));
    fact.map_or_else(|| "–".to_owned(), |fact| fact.value.clone())
}

fn consequence(one: &api::DeregistrationConsequence) -> String {
    let mark = if one.prevents { "!" } else { "-" };
    let count = match one.count {
        0 => String::new(),
        count => format!(" ({count})"),
    };
    format!("{mark} {}{count}", one.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(status: &str) -> api::NumberStanding {
        api::NumberStanding {
            health: Some(v1::NumberHealth {
                facts: vec![v1::HealthFact {
                    kind: v1::HealthKind::Status.into(),
                    value: status.to_owned(),
                    detail: "DISABLED_UPDATE".to_owned(),
                    source: v1::HealthSource::Webhook.into(),
                    ..v1::HealthFact::default()
                }],
                ..v1::NumberHealth::default()
            }),
            connection: api::Connection::NotConnected.into(),
            throughput: 80,
            messaging_limit: 2_000,
            capabilities: vec![api::Capability {
                name: "GROUP_MESSAGES".to_owned(),
                availability: api::Availability::Unavailable.into(),
                text: "Groups need an official business account.".to_owned(),
                ..api::Capability::default()
            }],
            ..api::NumberStanding::default()
        }
    }

    #[test]
    fn what_is_in_hand_of_a_drained_number_is_told_until_nothing_is() {
        let mut answer = api::DrainNumberResponse {
            waiting_count: 2,
            held_count: 1,
            accepted_count: 4,
            ..api::DrainNumberResponse::default()
        };
        assert_eq!(
            in_hand(&answer),
            "no new messages are taken; in hand: 2 waiting, 1 held until their customers write, 0 \
             being sent; reports are awaited of 4"
        );
        answer.accepted_count = 0;
        answer.drained = true;
        assert_eq!(in_hand(&answer), "drained: nothing is in hand");
    }

    #[test]
    fn a_number_that_does_not_send_is_shown_with_the_platforms_word() {
        let number = v1::Number {
            number: "+15550001111".to_owned(),
            display_name: "Shop".to_owned(),
            ..v1::Number::default()
        };
        let lines = lines(&number, &standing("BANNED"));
        assert_eq!(lines[2], "platform     BANNED");
        assert!(
            lines.contains(&"limit        2000 customers a day".to_owned()),
            "{lines:?}"
        );
        let status = lines.iter().find(|line| line.contains("status")).unwrap();
        assert!(
            status.contains("BANNED (DISABLED_UPDATE), webhook"),
            "{status}"
        );
        let groups = lines
            .iter()
            .find(|line| line.contains("group messages"))
            .unwrap();
        assert!(groups.contains("unavailable"), "{groups}");
    }
}

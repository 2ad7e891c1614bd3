//! `casement window explain`: the rule and the facts behind a window.

use casement_proto::window::v1::{ExplainWindowRequest, ExplainedFact};
use clap::Args;

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, customer_ref, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// Answer only from a state not older than this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let request = ExplainWindowRequest {
        number: args.number.number,
        customer: Some(customer_ref(&args.customer)),
        not_before: args.not_before,
    };
    let api = Api::connect(&args.api).await?;
    let answer = api
        .windows()
        .explain_window(request)
        .await
        .map_err(explain)?
        .into_inner();
    if args.api.output.json {
        let name = "casement.window.v1.ExplainWindowResponse";
        return output::json(&json::of(name, &answer)?);
    }
    super::print(&answer.window.clone().unwrap_or_default())?;
    let rule = person::word(answer.rule().as_str_name(), "WINDOW_RULE_");
    output::line(format!("rule         {rule}"))?;
    for (heading, facts) in [
        ("counts", &answer.facts),
        ("does not count", &answer.disregarded),
    ] {
        if facts.is_empty() {
            continue;
        }
        output::line(format!("{heading}:"))?;
        for fact in facts {
            output::line(format!("  {}", line(fact)))?;
        }
    }
    Ok(())
}

fn line(fact: &ExplainedFact) -> String {
    let at = person::time(fact.event_time.as_ref());
    let part = person::word(fact.part().as_str_name(), "FACT_PART_");
    let name = fact.event_type.trim_start_matches("casement.events.v1.");
    let mut words = vec![at, part, name.to_owned()];
    if !fact.policy_rule.is_empty() {
        words.push(format!("[{}: {}]", fact.policy_rule, fact.policy_source));
    } else if !fact.policy_source.is_empty() {
        words.push(format!("[{}]", fact.policy_source));
    }
    if fact.stated_time.is_some() {
        let stated = person::time(fact.stated_time.as_ref());
        words.push(format!("(stated {stated})"));
    }
    words.join("  ")
}

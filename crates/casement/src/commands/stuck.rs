//! `casement stuck`: what does not go on by itself, or not now.

use casement_proto::figures::v1::{ListStuckWorkRequest, StuckItem};
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

#[derive(Debug, Args)]
pub(crate) struct StuckArgs {
    /// Of this brand; the token's own if not given
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// Of this business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u16,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(args: StuckArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = ListStuckWorkRequest {
        brand_id: args.brand,
        number: args.number,
        page_size: i32::from(args.limit),
        ..ListStuckWorkRequest::default()
    };
    let stuck = api.figures().list_stuck_work(request).await;
    let stuck = stuck.map_err(explain)?.into_inner();
    if args.api.output.json {
        for item in &stuck.items {
            output::json(&json::of("casement.figures.v1.StuckItem", item)?)?;
        }
        return Ok(());
    }
    let counts = stuck.counts.iter().filter(|one| one.count > 0);
    let counts: Vec<_> = counts
        .map(|one| format!("{} {}", word(one.kind().as_str_name()), one.count))
        .collect();
    if counts.is_empty() {
        return Ok(output::line("nothing is stuck")?);
    }
    output::line(counts.join(", "))?;
    for item in &stuck.items {
        output::line(line(item))?;
    }
    Ok(())
}

fn word(name: &str) -> String {
    let name = name.trim_start_matches("STUCK_KIND_");
    name.to_ascii_lowercase().replace('_', " ")
}

fn line(item: &StuckItem) -> String {
    let time = |label: &str, at: Option<prost_types::Timestamp>| {
        let at = at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
        at.map(|at| format!("{label} {}", at.strftime("%Y-%m-%d %H:%M:%SZ")))
            .unwrap_or_default()
    };
    let halted = item.halt.as_ref().map(|halt| halt.key.clone());
    let parts = [
        word(item.kind().as_str_name()),
        item.number.clone(),
        item.message_id.clone(),
        halted.unwrap_or_default(),
        item.reason.clone(),
        time("since", item.since_time),
        time("until", item.until_time),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("  ")
}

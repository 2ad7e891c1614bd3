//! `casement acts`: who did what, newest first.

use casement_proto::audit::v1::{Act, ListActsRequest};
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

#[derive(Debug, Args)]
pub(crate) struct ActsArgs {
    /// Done with the token of this name
    #[arg(long, value_name = "NAME", default_value = "")]
    caller: String,
    /// Done by this colleague
    #[arg(long, value_name = "NAME", default_value = "")]
    author: String,
    /// Of this type, such as `NumberPaused`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    event_types: Vec<String>,
    /// Requests of messages, too
    #[arg(long)]
    requests: bool,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u16,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(args: ActsArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let whole = |name: &String| {
        if name.contains('.') {
            name.clone()
        } else {
            format!("casement.events.v1.{name}")
        }
    };
    let request = ListActsRequest {
        caller: args.caller,
        author: args.author,
        event_types: args.event_types.iter().map(whole).collect(),
        show_requests: args.requests,
        page_size: i32::from(args.limit),
        ..ListActsRequest::default()
    };
    let acts = api.audit().list_acts(request).await.map_err(explain)?;
    let acts = acts.into_inner().acts;
    for act in &acts {
        if args.api.output.json {
            output::json(&json::of("casement.audit.v1.Act", act)?)?;
        } else {
            output::line(line(act))?;
        }
    }
    if acts.is_empty() && !args.api.output.json {
        output::line("nobody did anything")?;
    }
    Ok(())
}

fn line(act: &Act) -> String {
    let at = act.time.and_then(|time| {
        jiff::Timestamp::new(time.seconds, time.nanos)
            .ok()
            .map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
    });
    let what = act.event_type.rsplit('.').next().unwrap_or_default();
    let who = match (act.author.as_str(), act.caller.as_str()) {
        ("", caller) => caller.to_owned(),
        (author, "") => author.to_owned(),
        (author, caller) => format!("{author} ({caller})"),
    };
    let mut line = format!("{}  {who}  {what}", at.unwrap_or_default());
    for part in [&act.number, &act.target, &act.reason] {
        if !part.is_empty() {
            line.extend(["  ", part]);
        }
    }
    line
}

//! `casement window`: may a customer be written to freely now, until when, and why.

mod explain;
mod watch;

use casement_event::v1;
use casement_proto::window::v1::{GetWindowRequest, Window};
use clap::{Args, Subcommand};

use crate::cli::{ApiArgs, CustomerArgs};
use crate::client::{Api, customer_ref};
use crate::{json, output, person};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct WindowArgs {
    #[command(subcommand)]
    command: Option<WindowCommand>,
    /// The business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", env = "CASEMENT_NUMBER", required = true)]
    number: Option<String>,
    #[command(flatten)]
    customer: CustomerArgs,
    /// Answer only from a state not older than this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Subcommand)]
enum WindowCommand {
    /// Say which facts, and which rule, make a window what it is
    Explain(explain::ExplainArgs),
    /// Tell of windows as they open, extend, expire and are corrected
    Watch(watch::WatchArgs),
}

pub(crate) async fn run(args: WindowArgs) -> anyhow::Result<()> {
    match args.command {
        Some(WindowCommand::Explain(args)) => return explain::run(args).await,
        Some(WindowCommand::Watch(args)) => return watch::run(args).await,
        None => {}
    }
    let request = GetWindowRequest {
        number: args.number.unwrap_or_default(),
        customer: Some(customer_ref(&args.customer)),
        not_before: args.not_before,
    };
    let api = Api::connect(&args.api).await?;
    let answer = api
        .windows()
        .get_window(request)
        .await
        .map_err(crate::client::explain)?
        .into_inner();
    if args.api.output.json {
        return output::json(&json::of("casement.window.v1.GetWindowResponse", &answer)?);
    }
    print(&answer.window.unwrap_or_default())
}

fn print(window: &Window) -> anyhow::Result<()> {
    let state = if window.state() == v1::WindowState::Open {
        format!("open until {}", person::time(window.expire_time.as_ref()))
    } else {
        let reason = person::word(window.closed_reason().as_str_name(), "CLOSED_REASON_");
        format!("closed ({reason})")
    };
    output::line(format!("window       {state}"))?;
    let free_form = if window.free_form_allowed {
        format!(
            "allowed until {}",
            person::time(window.free_form_until_time.as_ref())
        )
    } else {
        format!("not allowed ({})", window.refusal_reason)
    };
    output::line(format!("free-form    {free_form}"))?;
    if window.last_inbound_time.is_some() {
        let at = person::time(window.last_inbound_time.as_ref());
        output::line(format!("last wrote   {at}"))?;
    }
    if window.waiting_since_time.is_some() {
        let since = person::time(window.waiting_since_time.as_ref());
        output::line(format!("waiting      since {since}"))?;
    }
    if let v1::ThreadOwner::Other | v1::ThreadOwner::Idle = window.thread_owner() {
        let owner = person::word(window.thread_owner().as_str_name(), "THREAD_OWNER_");
        output::line(format!("thread       {owner}"))?;
    }
    if let Some(free) = &window.free_entry_point {
        let state = person::word(free.state().as_str_name(), "FREE_ENTRY_POINT_STATE_");
        let until = person::time(free.until_time.as_ref());
        output::line(format!("free entry   {state}, until {until}"))?;
    }
    if !window.customer_id.is_empty() {
        output::line(format!("customer     {}", window.customer_id))?;
    }
    output::line(format!("position     {}", window.position))?;
    Ok(())
}

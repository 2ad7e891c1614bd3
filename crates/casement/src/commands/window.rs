//! `casement window`: may a customer be written to freely now, and until when.

use casement_event::v1;
use casement_proto::window::v1::GetWindowRequest;
use clap::Args;

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, customer_ref, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct WindowArgs {
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

pub(crate) async fn run(args: WindowArgs) -> anyhow::Result<()> {
    let request = GetWindowRequest {
        number: args.number.number,
        customer: Some(customer_ref(&args.customer)),
        not_before: args.not_before,
    };
    let api = Api::connect(&args.api).await?;
    let answer = api
        .windows()
        .get_window(request)
        .await
        .map_err(explain)?
        .into_inner();
    if args.api.output.json {
        return output::json(&json::of("casement.window.v1.GetWindowResponse", &answer)?);
    }
    let window = answer.window.unwrap_or_default();
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
    if !window.customer_id.is_empty() {
        output::line(format!("customer     {}", window.customer_id))?;
    }
    output::line(format!("position     {}", window.position))?;
    Ok(())
}

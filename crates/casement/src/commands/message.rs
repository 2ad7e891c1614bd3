//! `casement message`: a message with every attempt and the reason for each; or its withdrawal, and
//! others that are looked for.

mod find;
mod trace;

use casement_proto::message::v1::{
    CancelMessageRequest, CancelMessagesRequest, GetMessageRequest, Message,
};
use clap::{Args, Subcommand};

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::commands::halts::TargetArgs;
use crate::{json, output, person};

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Show a message
    Get(MessageArgs),
    /// Withdraw a message that no provider has been called for
    Cancel(MessageArgs),
    /// Withdraw all messages to a target that no provider has been called for
    CancelAll(CancelAllArgs),
    /// List messages by what is known of them, the newest first
    List(find::ListArgs),
    /// Tell of messages as they change
    Watch(find::WatchArgs),
    /// Request failed messages again
    Retry(find::RetryArgs),
    /// Find whatever an id stands for
    Find(trace::FindArgs),
    /// Print the webhook post that an event came from
    Webhook(trace::WebhookArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    /// The message's id
    message_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CancelAllArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Of these only those to this customer
    #[arg(long, value_name = "ID", default_value = "")]
    customer_id: String,
    /// Of these only those with this reference of yours
    #[arg(long, value_name = "TEXT", default_value = "")]
    client_reference: String,
    /// Of these only those that wait for their customer
    #[arg(long)]
    held_only: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: MessageCommand) -> anyhow::Result<()> {
    match command {
        MessageCommand::Get(args) => get(args).await,
        MessageCommand::Cancel(args) => cancel(args).await,
        MessageCommand::CancelAll(args) => cancel_all(args).await,
        MessageCommand::List(args) => find::list(args).await,
        MessageCommand::Watch(args) => find::watch(args).await,
        MessageCommand::Retry(args) => find::retry(args).await,
        MessageCommand::Find(args) => trace::find(args).await,
        MessageCommand::Webhook(args) => trace::webhook(args).await,
    }
}

async fn get(args: MessageArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = GetMessageRequest {
        message_id: args.message_id,
        ..GetMessageRequest::default()
    };
    let answer = api.messages().get_message(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.GetMessageResponse";
        return output::json(&json::of(name, &answer)?);
    }
    print(&answer.message.unwrap_or_default())
}

async fn cancel(args: MessageArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = CancelMessageRequest {
        message_id: args.message_id,
    };
    let answer = api.messages().cancel_message(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.CancelMessageResponse";
        return output::json(&json::of(name, &answer)?);
    }
    print(&answer.message.unwrap_or_default())
}

async fn cancel_all(args: CancelAllArgs) -> anyhow::Result<()> {
    let Some(target) = args.target.target() else {
        anyhow::bail!("name what to withdraw: --brand, --number, --template or --label");
    };
    let api = Api::connect(&args.api).await?;
    let request = CancelMessagesRequest {
        target: Some(target),
        customer_id: args.customer_id,
        client_reference: args.client_reference,
        held_only: args.held_only,
    };
    let answer = api.messages().cancel_messages(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.CancelMessagesResponse";
        return output::json(&json::of(name, &answer)?);
    }
    output::line(format!(
        "{} withdrawn, {} too late, of {} meant",
        answer.cancelled_count, answer.too_late_count, answer.matched_count
    ))?;
    Ok(())
}

/// Prints a message for people.
pub(crate) fn print(message: &Message) -> anyhow::Result<()> {
    for line in lines(message) {
        output::line(line)?;
    }
    Ok(())
}

/// Tells a message in lines.
pub(crate) fn lines(message: &Message) -> Vec<String> {
    let mut lines = vec![
        format!("message      {}", message.message_id),
        format!("customer     {}", message.customer_id),
        format!(
            "state        {}",
            person::word(message.state().as_str_name(), "MESSAGE_STATE_")
        ),
    ];
    let outcome = person::word(message.outcome().as_str_name(), "MESSAGE_OUTCOME_");
    if outcome != "unspecified" {
        let reason = Some(&message.outcome_reason)
            .filter(|reason| !reason.is_empty() && !reason.eq_ignore_ascii_case(&outcome));
        lines.push(match reason {
            Some(reason) => format!("outcome      {outcome} ({reason})"),
            None => format!("outcome      {outcome}"),
        });
    }
    let delivery = person::word(message.delivery_status().as_str_name(), "DELIVERY_STATUS_");
    if delivery != "unspecified" {
        lines.push(format!("delivery     {delivery}"));
    }
    for attempt in &message.attempts {
        // The account in the number's own record goes without saying.
        let through = match attempt.sms_gateway.as_str() {
            "" | casement_sms::config::OWN => String::new(),
            gateway => format!(" through {gateway}"),
        };
        let error = attempt
            .error
            .as_ref()
            .map(|error| format!(": {} {}", error.code, error.title))
            .unwrap_or_default();
        lines.push(format!(
            "attempt {}    {}{through} at {}, {}{error}",
            attempt.number,
            person::route(attempt.route()),
            person::time(attempt.start_time.as_ref()),
            attempt.state.to_ascii_lowercase(),
        ));
    }
    if let Some(decision) = &message.decision {
        lines.push(format!("decision     {}", person::decision_line(decision)));
        let table = person::decision_table(decision);
        lines.extend(table.into_iter().map(|line| format!("  {line}")));
    }
    if !message.position.is_empty() {
        lines.push(format!("position     {}", message.position));
    }
    lines
}

//! `casement message find` and `webhook`: whatever an id stands for, and the post behind an event.

use casement_proto::message::v1::{
    FindMessageRequest, FoundFact, GetRawWebhookRequest, RawReference,
};
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// Any id: of a message, of a provider's, a request's, your reference, callback data
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WebhookArgs {
    /// Position of the event, as `casement message find` tells it
    #[arg(value_name = "POSITION")]
    position: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn find(args: FindArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = FindMessageRequest {
        id: args.id,
        not_before: String::new(),
    };
    let found = api.message_queries().find_message(request).await;
    let found = found.map_err(explain)?.into_inner();
    if args.api.output.json {
        return output::json(&json::of(
            "casement.message.v1.FindMessageResponse",
            &found,
        )?);
    }
    if found.messages.is_empty() && found.facts.is_empty() {
        return Ok(output::line("nothing is known under this id")?);
    }
    for one in &found.messages {
        let by = person::word(one.found_by().as_str_name(), FOUND_BY);
        output::line(format!("found by {by}"))?;
        for line in super::lines(&one.message.clone().unwrap_or_default()) {
            output::line(line)?;
        }
        for webhook in &one.webhooks {
            output::line(line_of(webhook))?;
        }
    }
    for fact in &found.facts {
        output::line(fact_line(fact))?;
        if let Some(webhook) = &fact.webhook {
            output::line(line_of(webhook))?;
        }
    }
    Ok(())
}

/// What the names of ways to find something begin with.
const FOUND_BY: &str = "FOUND_BY_";

fn fact_line(fact: &FoundFact) -> String {
    format!(
        "{}  {}  {}  {}",
        person::time(fact.event_time.as_ref()),
        fact.number,
        fact.customer_id,
        fact.summary
    )
}

fn line_of(webhook: &RawReference) -> String {
    let kind = webhook.event_type.rsplit('.').next().unwrap_or_default();
    let gone = if webhook.kept { "" } else { ", no longer kept" };
    format!(
        "  webhook  {}  {kind:<24}  {}{gone}",
        person::time(webhook.stored_time.as_ref()),
        webhook.position
    )
}

pub(super) async fn webhook(args: WebhookArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = GetRawWebhookRequest {
        position: args.position,
    };
    let post = api.message_queries().get_raw_webhook(request).await;
    let post = post.map_err(explain)?.into_inner();
    if args.api.output.json {
        return output::json(&json::of(
            "casement.message.v1.GetRawWebhookResponse",
            &post,
        )?);
    }
    output::line(String::from_utf8_lossy(&post.body))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use casement_proto::message::v1::FoundBy;

    use super::*;

    #[test]
    fn every_way_of_finding_has_a_word() {
        for by in [FoundBy::MessageId, FoundBy::CallbackData] {
            let word = person::word(by.as_str_name(), FOUND_BY);
            assert!(!word.is_empty() && !word.contains(FOUND_BY), "{word}");
        }
    }
}

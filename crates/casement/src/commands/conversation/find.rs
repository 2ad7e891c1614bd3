//! Finding what was said, and watching conversations as they change.

use casement_proto::conversation::v1::{
    Direction as Said, SearchRequest, SearchResult, WatchConversationsRequest,
};
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words that have to be there, and phrases "in double quotes"
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
    /// Only with this business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// Only with this customer, by their id
    #[arg(long, value_name = "CUSTOMER_ID", default_value = "")]
    customer_id: String,
    /// Only what was said so; may be given more than once
    #[arg(long, value_enum)]
    direction: Vec<Direction>,
    /// Only what the log took at this time or later, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only what the log took before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    #[command(flatten)]
    page: super::PageArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Direction {
    /// By the customer
    Inbound,
    /// By the business
    Outbound,
    /// By a colleague to colleagues
    Note,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only of this business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// Only of this customer, by their id
    #[arg(long, value_name = "CUSTOMER_ID", default_value = "")]
    customer_id: String,
    /// Go on after this position, as an answer or an earlier watch said
    #[arg(long, value_name = "POSITION", default_value = "")]
    after: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn search(args: SearchArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let directions = args.direction.iter().map(|direction| match direction {
        Direction::Inbound => Said::Inbound.into(),
        Direction::Outbound => Said::Outbound.into(),
        Direction::Note => Said::Note.into(),
    });
    let request = SearchRequest {
        query: args.query.join(" "),
        number: args.number,
        customer_id: args.customer_id,
        directions: directions.collect(),
        since_time: args.since.map(casement_event::convert::timestamp),
        before_time: args.before.map(casement_event::convert::timestamp),
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        not_before: String::new(),
    };
    let answer = api
        .conversations()
        .search(request)
        .await
        .map_err(explain)?
        .into_inner();
    for result in &answer.results {
        if args.api.output.json {
            output::json(&json::of("casement.conversation.v1.SearchResult", result)?)?;
        } else {
            output::line(line_of(result))?;
        }
    }
    super::tell_next_page(&answer.next_page_token);
    Ok(())
}

fn line_of(result: &SearchResult) -> String {
    let who = match result.direction() {
        Said::Inbound => "customer",
        Said::Outbound => "business",
        Said::Note => "note",
        Said::Unspecified => "",
    };
    format!(
        "{}  {}  {}  {who:<8}  {}",
        person::time(result.time.as_ref()),
        result.number,
        result.customer_id,
        result.snippet
    )
}

pub(crate) async fn watch(args: WatchArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = WatchConversationsRequest {
        number: args.number,
        customer_id: args.customer_id,
        after_position: args.after,
    };
    let mut answers = api
        .conversations()
        .watch_conversations(request)
        .await
        .map_err(explain)?
        .into_inner();
    while let Some(answer) = answers.message().await.map_err(explain)? {
        if args.api.output.json {
            let name = "casement.conversation.v1.WatchConversationsResponse";
            output::json(&json::of(name, &answer)?)?;
        } else if let Some(conversation) = &answer.conversation {
            let kind = answer.event_type.rsplit('.').next().unwrap_or_default();
            let at = person::time(answer.event_time.as_ref());
            output::line(format!(
                "{at}  {kind:<24}  {}",
                super::line_of(conversation)
            ))?;
        }
    }
    Ok(())
}

//! `casement conversation`: conversations and what happened in them, from the read models.

use std::fmt::Write as _;

use casement_event::v1;
use casement_proto::conversation::v1::{
    Conversation, ConversationStatus, GetConversationRequest, GetTimelineRequest,
    ListConversationsRequest, TimelineItem,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output, person};

mod find;
mod handle;

#[derive(Debug, Subcommand)]
pub(crate) enum ConversationCommand {
    /// Show one conversation
    Get(OneArgs),
    /// List conversations
    List(ListArgs),
    /// Find messages and notes by their words, newest first
    Search(find::SearchArgs),
    /// Tell of conversations as they change
    Watch(find::WatchArgs),
    /// Tell what happened in a conversation, newest first
    Timeline(TimelineArgs),
    /// Add a note for colleagues, which no customer ever gets
    Note(handle::NoteArgs),
    /// Give a conversation to a colleague
    Assign(handle::AssignArgs),
    /// Give a conversation to nobody
    Unassign(handle::HandleArgs),
    /// Note that colleagues have read what the customer wrote
    Read(handle::HandleArgs),
    /// Close a conversation until the customer writes again
    Close(handle::HandleArgs),
    /// Reopen a closed conversation
    Reopen(handle::HandleArgs),
    /// Add or remove labels
    Label(handle::LabelArgs),
    /// List the notes that mention a colleague, newest first
    Mentions(handle::MentionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// Answer only once the read model has this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    one: OneArgs,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this business number, E.164 with plus; may be given more than once
    #[arg(long, value_name = "NUMBER")]
    number: Vec<String>,
    /// Only of this brand, for a token that may see all
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// Only with an open, or only with a closed window
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only where it stands so; may be given more than once
    #[arg(long, value_enum)]
    status: Vec<Status>,
    /// Only this colleague's
    #[arg(long, value_name = "NAME", default_value = "")]
    assignee: String,
    /// Only somebody's (true) or nobody's (false)
    #[arg(long, value_name = "BOOL")]
    assigned: Option<bool>,
    /// Only with (true) or without (false) something that no colleague has read
    #[arg(long, value_name = "BOOL")]
    unread: Option<bool>,
    /// Only closed by a colleague (true) or not (false)
    #[arg(long, value_name = "BOOL")]
    closed: Option<bool>,
    /// Only with this label; may be given more than once
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Only whose customer waits for an answer (true) or does not (false)
    #[arg(long, value_name = "BOOL")]
    waiting: Option<bool>,
    /// Only whose customer has waited for at least so long, such as 30m
    #[arg(long, value_name = "DURATION")]
    waiting_at_least: Option<SignedDuration>,
    /// Only whose thread this responder owns; may be given more than once
    #[arg(long, value_enum)]
    owner: Vec<Owner>,
    /// In which order
    #[arg(long, value_enum, default_value = "expiry")]
    order: Order,
    /// Only windows that end after this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    expire_after: Option<Timestamp>,
    /// Only windows that end at or before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    expire_before: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
struct PageArgs {
    /// How many to return at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    page_size: i32,
    /// Where to go on, as the page before said
    #[arg(long, value_name = "TOKEN", default_value = "")]
    page_token: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Closed,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Open,
    Expiring,
    Locked,
    AwaitingReply,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// By the end of the window
    Expiry,
    /// By what was heard of the customer, newest first
    Heard,
    /// By since when the customer waits, the longest first
    Waiting,
}

/// Who may write free-form in a thread that several responders share.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Owner {
    Us,
    Other,
    Idle,
}

pub(crate) async fn run(command: ConversationCommand) -> anyhow::Result<()> {
    match command {
        ConversationCommand::Get(args) => get(args).await,
        ConversationCommand::List(args) => list(args).await,
        ConversationCommand::Search(args) => find::search(args).await,
        ConversationCommand::Watch(args) => find::watch(args).await,
        ConversationCommand::Timeline(args) => timeline(args).await,
        ConversationCommand::Note(args) => handle::note(args).await,
        ConversationCommand::Assign(args) => handle::assign(args).await,
        ConversationCommand::Unassign(args) => handle::unassign(args).await,
        ConversationCommand::Read(args) => handle::read(args).await,
        ConversationCommand::Close(args) => handle::close(args).await,
        ConversationCommand::Reopen(args) => handle::reopen(args).await,
        ConversationCommand::Label(args) => handle::label(args).await,
        ConversationCommand::Mentions(args) => handle::mentions(args).await,
    }
}

async fn get(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let customer_id = api.customer_id(&args.number.number, &args.customer).await?;
    let request = GetConversationRequest {
        number: args.number.number,
        customer_id,
        not_before: args.not_before,
    };
    let answer = api
        .conversations()
        .get_conversation(request)
        .await
        .map_err(explain)?
        .into_inner();
    if args.api.output.json {
        let name = "casement.conversation.v1.GetConversationResponse";
        return output::json(&json::of(name, &answer)?);
    }
    let conversation = answer.conversation.unwrap_or_default();
    output::line(line_of(&conversation))?;
    output::line(handle::line_of(&conversation))?;
    output::line(format!(
        "  last wrote     {}",
        person::time(conversation.last_inbound_time.as_ref())
    ))?;
    output::line(format!(
        "  last answered  {}",
        person::time(conversation.last_outbound_time.as_ref())
    ))?;
    Ok(())
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let state = match args.state {
        None => v1::WindowState::Unspecified,
        Some(State::Open) => v1::WindowState::Open,
        Some(State::Closed) => v1::WindowState::Closed,
    };
    let request = ListConversationsRequest {
        numbers: args.number,
        brand_id: args.brand,
        window_state: state.into(),
        expire_before_time: args.expire_before.map(casement_event::convert::timestamp),
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        not_before: String::new(),
        statuses: args.status.iter().map(|one| status(*one)).collect(),
        assignee: args.assignee,
        assigned: args.assigned,
        unread: args.unread,
        closed: args.closed,
        labels: args.label,
        order_by: match args.order {
            Order::Expiry => "expire_time".to_owned(),
            Order::Heard => "heard_time desc".to_owned(),
            Order::Waiting => "waiting_since_time".to_owned(),
        },
        expire_after_time: args.expire_after.map(casement_event::convert::timestamp),
        waiting: args.waiting,
        waiting_at_least: args.waiting_at_least.map(|waited| prost_types::Duration {
            seconds: waited.as_secs(),
            nanos: waited.subsec_nanos(),
        }),
        thread_owners: args.owner.iter().map(|one| owner(*one)).collect(),
        ..ListConversationsRequest::default()
    };
    let answer = api
        .conversations()
        .list_conversations(request)
        .await
        .map_err(explain)?
        .into_inner();
    for conversation in &answer.conversations {
        if args.api.output.json {
            let name = "casement.conversation.v1.Conversation";
            output::json(&json::of(name, conversation)?)?;
        } else {
            output::line(line_of(conversation))?;
        }
    }
    tell_next_page(&answer.next_page_token);
    Ok(())
}

async fn timeline(args: TimelineArgs) -> anyhow::Result<()> {
    let one = args.one;
    let api = Api::connect(&one.api).await?;
    let customer_id = api.customer_id(&one.number.number, &one.customer).await?;
    let request = GetTimelineRequest {
        number: one.number.number,
        customer_id,
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        not_before: one.not_before,
    };
    let answer = api
        .conversations()
        .get_timeline(request)
        .await
        .map_err(explain)?
        .into_inner();
    for item in &answer.items {
        if one.api.output.json {
            output::json(&json::of("casement.conversation.v1.TimelineItem", item)?)?;
        } else {
            output::line(item_line(item))?;
        }
    }
    tell_next_page(&answer.next_page_token);
    Ok(())
}

/// Tells one item of a timeline.
pub(crate) fn item_line(item: &TimelineItem) -> String {
    let kind = item.event_type.rsplit('.').next().unwrap_or_default();
    format!(
        "{}  {kind:<24}  {}",
        person::time(item.time.as_ref()),
        item.summary
    )
}

fn status(of: Status) -> i32 {
    match of {
        Status::Open => ConversationStatus::Open,
        Status::Expiring => ConversationStatus::Expiring,
        Status::Locked => ConversationStatus::Locked,
        Status::AwaitingReply => ConversationStatus::AwaitingReply,
    }
    .into()
}

fn owner(of: Owner) -> i32 {
    match of {
        Owner::Us => v1::ThreadOwner::Us,
        Owner::Other => v1::ThreadOwner::Other,
        Owner::Idle => v1::ThreadOwner::Idle,
    }
    .into()
}

fn line_of(conversation: &Conversation) -> String {
    let state = if conversation.window_state() == v1::WindowState::Open {
        format!(
            "open until {}",
            person::time(conversation.expire_time.as_ref())
        )
    } else {
        let reason = person::word(conversation.closed_reason().as_str_name(), "CLOSED_REASON_");
        format!("closed ({reason})")
    };
    let mut line = format!(
        "{}  {}  {state}  {} in, {} out",
        conversation.number,
        conversation.customer_id,
        conversation.inbound_count,
        conversation.outbound_count
    );
    if conversation.status() == ConversationStatus::AwaitingReply {
        line.push_str("  awaiting a reply");
    }
    if !conversation.assignee.is_empty() {
        line.push_str("  @");
        line.push_str(&conversation.assignee);
    }
    if conversation.closed {
        line.push_str("  closed by a colleague");
    }
    if conversation.unread_count > 0 {
        let _ = write!(line, "  {} unread", conversation.unread_count);
    }
    if conversation.waiting_since_time.is_some() {
        let since = person::time(conversation.waiting_since_time.as_ref());
        let _ = write!(line, "  waiting since {since}");
    }
    for label in &conversation.labels {
        line.push_str("  #");
        line.push_str(label);
    }
    line
}

fn tell_next_page(token: &str) {
    if !token.is_empty() {
        output::talk(format!("there is more: --page-token {token}"));
    }
}

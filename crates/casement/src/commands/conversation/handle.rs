//! `casement conversation note`, `assign`, `close` and so on: what colleagues do.

use casement_proto::conversation::v1::{
    AddNoteRequest, AssignRequest, ChangeLabelsRequest, CloseRequest, Conversation,
    ListMentionsRequest, MarkReadRequest, Note, ReopenRequest,
};
use clap::Args;

use super::{PageArgs, tell_next_page};
use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct HandleArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// The colleague who does it; the token's name, if it is left out
    #[arg(long, value_name = "NAME", default_value = "")]
    author: String,
    /// Done once, however often it is asked for under the same one
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    /// The etag of the conversation as you saw it: refused if it has changed since
    #[arg(long, value_name = "ETAG", default_value = "")]
    etag: String,
    /// Decide only once the read model has this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NoteArgs {
    #[command(flatten)]
    handle: HandleArgs,
    /// What it says; `@name` mentions, lines that begin with a slash are commands
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AssignArgs {
    #[command(flatten)]
    handle: HandleArgs,
    /// Who gets it
    #[arg(value_name = "NAME")]
    assignee: String,
}

#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    #[command(flatten)]
    handle: HandleArgs,
    /// A label to add; may be given more than once
    #[arg(long, value_name = "LABEL")]
    add: Vec<String>,
    /// A label to remove; may be given more than once
    #[arg(long, value_name = "LABEL")]
    remove: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MentionsArgs {
    /// The colleague
    #[arg(value_name = "NAME")]
    colleague: String,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Connects, and finds the customer.
async fn reached(args: &HandleArgs) -> anyhow::Result<(Api, String)> {
    let api = Api::connect(&args.api).await?;
    let customer_id = api.customer_id(&args.number.number, &args.customer).await?;
    Ok((api, customer_id))
}

pub(super) async fn note(args: NoteArgs) -> anyhow::Result<()> {
    let handle = args.handle;
    let (api, customer_id) = reached(&handle).await?;
    let request = AddNoteRequest {
        number: handle.number.number,
        customer_id,
        text: args.text.join(" "),
        author: handle.author,
        request_id: handle.request_id,
        etag: handle.etag,
        not_before: handle.not_before,
    };
    let answer = api.conversations().add_note(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if handle.api.output.json {
        let name = "casement.conversation.v1.AddNoteResponse";
        return output::json(&json::of(name, &answer)?);
    }
    if let Some(note) = &answer.note {
        output::line(note_line(note))?;
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn assign(args: AssignArgs) -> anyhow::Result<()> {
    give(args.handle, args.assignee).await
}

pub(super) async fn unassign(args: HandleArgs) -> anyhow::Result<()> {
    give(args, String::new()).await
}

async fn give(args: HandleArgs, assignee: String) -> anyhow::Result<()> {
    let (api, customer_id) = reached(&args).await?;
    let request = AssignRequest {
        number: args.number.number,
        customer_id,
        assignee,
        author: args.author,
        request_id: args.request_id,
        etag: args.etag,
        not_before: args.not_before,
    };
    let answer = api.conversations().assign(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.conversation.v1.AssignResponse";
        return output::json(&json::of(name, &answer)?);
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn read(args: HandleArgs) -> anyhow::Result<()> {
    let (api, customer_id) = reached(&args).await?;
    let request = MarkReadRequest {
        number: args.number.number,
        customer_id,
        author: args.author,
        request_id: args.request_id,
        not_before: args.not_before,
        through_time: None,
    };
    let answer = api.conversations().mark_read(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.conversation.v1.MarkReadResponse";
        return output::json(&json::of(name, &answer)?);
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn close(args: HandleArgs) -> anyhow::Result<()> {
    let (api, customer_id) = reached(&args).await?;
    let request = CloseRequest {
        number: args.number.number,
        customer_id,
        author: args.author,
        request_id: args.request_id,
        etag: args.etag,
        not_before: args.not_before,
        through_time: None,
    };
    let answer = api.conversations().close(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.conversation.v1.CloseResponse";
        return output::json(&json::of(name, &answer)?);
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn reopen(args: HandleArgs) -> anyhow::Result<()> {
    let (api, customer_id) = reached(&args).await?;
    let request = ReopenRequest {
        number: args.number.number,
        customer_id,
        author: args.author,
        request_id: args.request_id,
        etag: args.etag,
        not_before: args.not_before,
    };
    let answer = api.conversations().reopen(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.conversation.v1.ReopenResponse";
        return output::json(&json::of(name, &answer)?);
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn label(args: LabelArgs) -> anyhow::Result<()> {
    let handle = args.handle;
    let (api, customer_id) = reached(&handle).await?;
    let request = ChangeLabelsRequest {
        number: handle.number.number,
        customer_id,
        author: handle.author,
        request_id: handle.request_id,
        etag: handle.etag,
        not_before: handle.not_before,
        add_labels: args.add,
        remove_labels: args.remove,
    };
    let answer = api.conversations().change_labels(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if handle.api.output.json {
        let name = "casement.conversation.v1.ChangeLabelsResponse";
        return output::json(&json::of(name, &answer)?);
    }
    shown(answer.conversation.as_ref())
}

pub(super) async fn mentions(args: MentionsArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = ListMentionsRequest {
        colleague: args.colleague,
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        not_before: String::new(),
    };
    let answer = api.conversations().list_mentions(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    for note in &answer.notes {
        if args.api.output.json {
            output::json(&json::of("casement.conversation.v1.Note", note)?)?;
        } else {
            let (number, customer_id) = (&note.number, &note.customer_id);
            output::line(format!("{number}  {customer_id}  {}", note_line(note)))?;
        }
    }
    tell_next_page(&answer.next_page_token);
    Ok(())
}

fn shown(conversation: Option<&Conversation>) -> anyhow::Result<()> {
    if let Some(conversation) = conversation {
        output::line(super::line_of(conversation))?;
        output::line(line_of(conversation))?;
    }
    Ok(())
}

fn note_line(note: &Note) -> String {
    format!(
        "{}  {}: {}",
        person::time(note.time.as_ref()),
        note.author,
        note.text
    )
}

/// Tells how colleagues handle a conversation.
pub(super) fn line_of(conversation: &Conversation) -> String {
    let status = person::word(conversation.status().as_str_name(), "CONVERSATION_STATUS_");
    let assignee = match conversation.assignee.as_str() {
        "" => "nobody's".to_owned(),
        name => format!("{name}'s"),
    };
    let closed = if conversation.closed {
        format!(", closed by {}", conversation.closer)
    } else {
        String::new()
    };
    let unread = if conversation.unread { ", unread" } else { "" };
    format!(
        "  {status}, {assignee}{closed}{unread}, {} notes, etag {}",
        conversation.note_count, conversation.etag
    )
}

//! What colleagues ask for: read off requests, handed to the desk, refused in words.

use std::collections::BTreeSet;

use casement_domain::conversation::{Colleague, InvalidName, Label, Note, NoteProblem, Refusal};
use casement_event::convert::instant;
use casement_event_log::AppendError;
use casement_shell::auth::{Caller, Scope, require};
use casement_shell::grpc::{bad_field, refusal, refuse};
use jiff::Timestamp;
use tonic::{Code, Request, Status};

use super::conversation::ConversationApi;
use super::{brand_of, unanswered};
use crate::desk::{Deed, DeskError, Done, Wish};
use crate::model::ConversationKey;

/// Longest request id, in bytes.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Whose token it is.
#[derive(Debug)]
pub(super) struct Who {
    caller: Caller,
    brand_id: Option<String>,
}

/// What every change of a conversation is asked for with.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: ConversationKey,
    pub(super) author: Colleague,
    pub(super) request_id: String,
    pub(super) etag: String,
    pub(super) not_before: String,
}

/// Returns who asks to change a conversation, if they may.
pub(super) fn of<T>(request: &Request<T>) -> Result<Who, Status> {
    let caller = require(request, Scope::Colleague)?;
    let brand_id = brand_of(&caller)?;
    Ok(Who { caller, brand_id })
}

impl Who {
    /// Returns the colleague who is named, or else the token itself.
    pub(super) fn author(&self, named: &str) -> Result<Colleague, Status> {
        if !named.is_empty() {
            return name("author", named);
        }
        Colleague::parse(&self.caller.name).map_err(|error| {
            let problem = format!("is required: for the token's name, {error}");
            bad_field("author", problem)
        })
    }
}

pub(super) fn name(field: &'static str, text: &str) -> Result<Colleague, Status> {
    Colleague::parse(text).map_err(|error| bad_field(field, error.to_string()))
}

pub(super) fn note(text: &str, author: &Colleague) -> Result<Note, Status> {
    Note::parse(text, author).map_err(|problem| match &problem {
        NoteProblem::Empty | NoteProblem::TooLong(_) => bad_field("text", problem.to_string()),
        _ => {
            let message = format!("note {problem}");
            refuse(Code::InvalidArgument, problem.reason(), message)
        }
    })
}

pub(super) fn through(time: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let through = instant("through_time", time);
    through.map_err(|error| bad_field("through_time", error.to_string()))
}

pub(super) fn labelled(add: &[String], remove: &[String]) -> Result<Deed, Status> {
    let labels = |field: &'static str, labels: &[String]| {
        let labels = labels.iter().map(|label| Label::parse(label));
        let labels: Result<BTreeSet<Label>, InvalidName> = labels.collect();
        labels.map_err(|error| bad_field(field, error.to_string()))
    };
    let (added, removed) = (labels("add_labels", add)?, labels("remove_labels", remove)?);
    if added.is_empty() && removed.is_empty() {
        return Err(bad_field(
            "add_labels",
            "and `remove_labels` are both empty",
        ));
    }
    if let Some(both) = added.intersection(&removed).next() {
        let problem = format!("holds {both}, which `remove_labels` holds, too");
        return Err(bad_field("add_labels", problem));
    }
    Ok(Deed::Label { added, removed })
}

impl ConversationApi {
    /// Has it done by the desk.
    pub(super) async fn handle(&self, who: Who, asked: Asked, deed: Deed) -> Result<Done, Status> {
        if asked.request_id.len() > REQUEST_ID_LEN_MAX {
            return Err(bad_field("request_id", "is longer than 128 bytes"));
        }
        self.backend.reach(&asked.not_before).await?;
        let wish = Wish {
            key: asked.key,
            brand_id: who.brand_id,
            author: asked.author,
            caller: who.caller.name,
            request_id: asked.request_id,
            etag: asked.etag,
            deed,
        };
        self.desk.fulfil(&wish).await.map_err(status)
    }
}

/// Returns what a caller is told. The details of what went wrong inside stay in the log.
fn status(error: DeskError) -> Status {
    match error {
        DeskError::Unknown => refuse(Code::NotFound, "CONVERSATION_NOT_FOUND", error.to_string()),
        DeskError::Refused(refused) => told(&refused),
        DeskError::RequestIdReused => {
            refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", error.to_string())
        }
        DeskError::Contended => refuse(
            Code::Aborted,
            "CONTENDED",
            "conversation keeps changing; try again",
        ),
        DeskError::Behind(error) => {
            tracing::warn!(%error, "archive is behind the log");
            refuse(
                Code::Unavailable,
                "ARCHIVE_BEHIND",
                "archive does not know yet what colleagues did last; try again",
            )
        }
        DeskError::Store(error) => unanswered(&error),
        DeskError::Append(AppendError::Unknown { .. }) => refuse(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "log did not confirm it; repeating it under the same request id is safe",
        ),
        DeskError::Append(error) => {
            tracing::error!(%error, "what a colleague did was refused by the log");
            refuse(Code::Unavailable, "LOG_REFUSED", "log refused it")
        }
        DeskError::Read(_) | DeskError::Survivor(_) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, "conversation was not read");
            refuse(Code::Unavailable, "LOG_AWAY", "log cannot be read now")
        }
    }
}

/// A refusal of the rules, with whose the conversation is: they are to be asked.
fn told(refused: &Refusal) -> Status {
    let assignee = |name: &Colleague| [("assignee", name.as_str().to_owned())];
    let message = refused.to_string();
    match refused {
        Refusal::Taken(by) => refusal(
            Code::FailedPrecondition,
            "ASSIGNED_TO_ANOTHER",
            message,
            assignee(by),
        ),
        Refusal::Changed(Some(to)) => {
            refusal(Code::Aborted, "CONVERSATION_CHANGED", message, assignee(to))
        }
        Refusal::Changed(None) => refuse(Code::Aborted, "CONVERSATION_CHANGED", message),
        Refusal::TooManyLabels => refuse(Code::FailedPrecondition, "TOO_MANY_LABELS", message),
    }
}

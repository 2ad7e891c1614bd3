//! What colleagues do with a conversation: take it, give it away, label it, close it, read it.
//!
//! Each is one call of the API, under the id that its form carries. What somebody else has changed
//! meanwhile is not overwritten: the API says so, and the page tells.

use axum::extract::Path;
use axum::response::Response;
use casement_proto::conversation::v1::{
    AssignRequest, ChangeLabelsRequest, CloseRequest, MarkReadRequest, ReopenRequest,
};
use casement_shell::grpc::said;
use tonic::Status;

use super::conversation_known::Which;
use super::conversation_post::done;
use super::page::Notice;
use super::post::{Fields, Posted};
use super::session::Session;

/// Back to the conversation, with what came of it.
fn told<T>(
    session: &Session,
    which: &Which,
    answer: Result<tonic::Response<T>, Status>,
    position: impl FnOnce(T) -> String,
    words: &str,
) -> Response {
    match answer {
        Ok(answer) => done(session, which, &position(answer.into_inner()), words),
        Err(status) => {
            let said = said(&status);
            let fields = said.fields.into_iter().map(|(_, what)| what);
            let why = fields.fold(said.message, |why, what| format!("{why}: {what}"));
            session.go(&which.path(), Notice::bad(why))
        }
    }
}

/// What a field says.
fn one(fields: &Fields, name: &str) -> String {
    fields.get(name).to_owned()
}

pub(super) async fn assign(Path(which): Path<Which>, posted: Posted) -> Response {
    let Posted { session, fields } = posted;
    let assignee = match fields.get("action") {
        "take" => session.caller.name.clone(),
        "release" => String::new(),
        _ => one(&fields, "assignee"),
    };
    let words = match assignee.as_str() {
        "" => "The conversation is nobody's now.".to_owned(),
        name => format!("The conversation is {name}'s now."),
    };
    let request = AssignRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        assignee,
        request_id: one(&fields, "request_id"),
        etag: one(&fields, "etag"),
        ..AssignRequest::default()
    };
    let answer = session.api().conversations().assign(request).await;
    told(&session, &which, answer, |answer| answer.position, &words)
}

pub(super) async fn labels(Path(which): Path<Which>, posted: Posted) -> Response {
    let Posted { session, fields } = posted;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let request = ChangeLabelsRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        add_labels: words(fields.get("add")),
        remove_labels: words(fields.get("remove")),
        request_id: one(&fields, "request_id"),
        ..ChangeLabelsRequest::default()
    };
    let answer = session.api().conversations().change_labels(request).await;
    told(
        &session,
        &which,
        answer,
        |answer| answer.position,
        "The labels are changed.",
    )
}

pub(super) async fn close(Path(which): Path<Which>, posted: Posted) -> Response {
    let Posted { session, fields } = posted;
    let request = CloseRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        request_id: one(&fields, "request_id"),
        etag: one(&fields, "etag"),
        ..CloseRequest::default()
    };
    let answer = session.api().conversations().close(request).await;
    let words = "Closed. It opens again if the customer writes.";
    told(&session, &which, answer, |answer| answer.position, words)
}

pub(super) async fn reopen(Path(which): Path<Which>, posted: Posted) -> Response {
    let Posted { session, fields } = posted;
    let request = ReopenRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        request_id: one(&fields, "request_id"),
        etag: one(&fields, "etag"),
        ..ReopenRequest::default()
    };
    let answer = session.api().conversations().reopen(request).await;
    told(
        &session,
        &which,
        answer,
        |answer| answer.position,
        "The conversation is open again.",
    )
}

pub(super) async fn read(Path(which): Path<Which>, posted: Posted) -> Response {
    let Posted { session, fields } = posted;
    let request = MarkReadRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        request_id: one(&fields, "request_id"),
        ..MarkReadRequest::default()
    };
    let answer = session.api().conversations().mark_read(request).await;
    told(
        &session,
        &which,
        answer,
        |answer| answer.position,
        "Marked as read.",
    )
}

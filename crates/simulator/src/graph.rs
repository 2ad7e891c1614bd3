//! The Graph API's look-alike over HTTP.
//!
//! Sending: who calls, what is asked, how the answer looks. What is allowed is `rules`,
//! `graph_body` and the books; all that is not sending is `graph_manage`.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::books::{Books, Route, Sent};
use crate::codes::Refusal;
use crate::graph_body::{self, Content, GraphCall, MessageCall, Recipient};
use crate::graph_manage::{self, may_send};
use crate::handle::Handle;
use crate::records::{Channel, MessageKind, Outcome, ReadMark, SentMessage};
use crate::rules::digits;
use crate::{serving, uploads};

/// Returns the Graph API's routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route("/{version}/{id}/messages", post(post_message))
        .merge(graph_manage::routes())
}

/// Answers what no route knows, as the Graph API does.
pub(crate) async fn fallback() -> Response {
    let (_, body) = Refusal::new(2500, "unknown path components").as_graph();
    axum::response::IntoResponse::into_response((
        axum::http::StatusCode::NOT_FOUND,
        axum::Json(body),
    ))
}

async fn post_message(
    State(handle): State<Handle>,
    Path((version, phone_number_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = handle.shared();
    let path = uri.path().to_owned();
    let token = bearer(&headers);
    let posted = Bytes::copy_from_slice(&body);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = graph_body::read(&body);
    if let Ok(GraphCall::MarkRead(mark)) = call {
        let (now, token) = (shared.now(), token.as_deref());
        let marked: Result<(), Refusal> = shared.change(|state| {
            may_send(&state.books, &phone_number_id, token, now)?;
            state.books.read_marks.push(ReadMark {
                phone_number_id: phone_number_id.clone(),
                message_id: mark.message_id,
                typing: mark.typing,
            });
            Ok(())
        });
        let answer = match marked {
            Ok(()) => (200, json!({"success": true})),
            Err(refusal) => refusal.as_graph(),
        };
        return serving::respond(shared, Channel::Whatsapp, "POST", path, answer);
    }
    let files = match &call {
        Ok(GraphCall::Message(call)) => {
            let (now, ids) = (shared.now(), &call.media_ids);
            shared.look(|state| uploads::check_known(&state.media, &phone_number_id, ids, now))
        }
        _ => Ok(()),
    };
    let mut sent = draft(&phone_number_id, &version, &body);
    sent.route.posted = posted;
    let is_template = matches!(sent.message.kind, MessageKind::Template { .. });
    let rule = |books: &mut Books, sent: &mut Sent, now: Timestamp| {
        if sent.route.version == 0 {
            return Err(Refusal::new(2500, "unknown path components"));
        }
        may_send(books, &phone_number_id, token.as_deref(), now)?;
        match call? {
            GraphCall::Message(call) => {
                addressed(sent, &call);
                files?;
                books.rule_whatsapp(sent, &call, now)
            }
            GraphCall::MarkRead(_) => Err(Refusal::new(100, "marked as read already")),
        }
    };
    let accept = |sent: &Sent| {
        let mut contact = json!({"input": sent.route.input});
        if sent.route.is_by_phone {
            contact["wa_id"] = json!(sent.message.to);
        } else {
            contact["user_id"] = json!(sent.message.user_id);
        }
        let mut message = json!({"id": sent.message.id});
        if is_template {
            message["message_status"] = json!("accepted");
        }
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [contact],
            "messages": [message],
        });
        (200, body)
    };
    serving::send(shared, path, sent, rule, accept).await
}

/// Notes a send as far as it can be read, so that refused ones are in the books too.
fn draft(phone_number_id: &str, version: &str, body: &Value) -> Sent {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let template = &body["template"];
    let kind = match body["type"].as_str() {
        Some("template") => MessageKind::Template {
            name: text(&template["name"]).unwrap_or_default(),
            language: text(&template["language"]["code"]).unwrap_or_default(),
        },
        None | Some("text") => MessageKind::Text,
        Some(kind) => MessageKind::Other {
            kind: kind.to_owned(),
        },
    };
    Sent {
        message: SentMessage {
            seq: 0,
            id: None,
            channel: Channel::Whatsapp,
            from: phone_number_id.to_owned(),
            to: body["to"].as_str().map(digits),
            user_id: text(&body["recipient"]),
            customer: None,
            kind,
            text: text(&body["text"]["body"]).unwrap_or_default(),
            callback_data: text(&body["biz_opaque_callback_data"]),
            at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::NotProcessed,
            http_answered: false,
            reports: Vec::new(),
        },
        route: Route {
            version: major(version).unwrap_or_default(),
            ..Route::default()
        },
    }
}

fn addressed(sent: &mut Sent, call: &MessageCall) {
    sent.route.input = match &call.recipient {
        Recipient::Phone { input, .. } => input.clone(),
        Recipient::UserId(user_id) => user_id.clone(),
    };
    if let Content::Other(kind) = &call.content {
        sent.message.kind = MessageKind::Other { kind: kind.clone() };
    }
}

/// Returns the major part of `v26.0`.
fn major(version: &str) -> Option<u32> {
    let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
    minor.parse::<u32>().ok()?;
    major.parse().ok().filter(|major| *major > 0)
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

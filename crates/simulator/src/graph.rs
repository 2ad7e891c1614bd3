//! The Graph API's look-alike over HTTP.
//!
//! Who calls, what is asked, how the answer looks. What is allowed is `rules`, `graph_body` and
//! the books.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::books::{Books, Route, Sent};
use crate::codes::Refusal;
use crate::config::NumberConfig;
use crate::graph_body::{self, Content, GraphCall, MessageCall, Recipient};
use crate::handle::Handle;
use crate::payload::{category_word, template_status_word};
use crate::records::{Channel, MessageKind, Outcome, SentMessage};
use crate::rules::digits;
use crate::serving;

/// Returns the Graph API's routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route("/{version}/{id}", get(get_node))
        .route("/{version}/{id}/messages", post(post_message))
        .route("/{version}/{id}/message_templates", get(get_templates))
        .route("/{version}/{id}/phone_numbers", get(get_numbers))
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
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = graph_body::read(&body);
    if matches!(call, Ok(GraphCall::MarkRead)) {
        let answer =
            match shared.look(|state| allowed(&state.books, &phone_number_id, token.as_deref())) {
                Ok(()) => (200, json!({"success": true})),
                Err(refusal) => refusal.as_graph(),
            };
        return serving::respond(shared, Channel::Whatsapp, "POST", path, answer);
    }
    let sent = draft(&phone_number_id, &version, &body);
    let is_template = matches!(sent.message.kind, MessageKind::Template { .. });
    let rule = |books: &mut Books, sent: &mut Sent, now: Timestamp| {
        if sent.route.version == 0 {
            return Err(Refusal::new(2500, "unknown path components"));
        }
        allowed(books, &phone_number_id, token.as_deref())?;
        match call? {
            GraphCall::Message(call) => {
                addressed(sent, &call);
                books.rule_whatsapp(sent, &call, now)
            }
            GraphCall::MarkRead => Err(Refusal::new(100, "marked as read already")),
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

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// Checks that a token is somebody's (190), that the number exists (100/33), and that the token is
/// that number's (10).
fn allowed(books: &Books, phone_number_id: &str, token: Option<&str>) -> Result<(), Refusal> {
    known(books, token)?;
    let number = books
        .number(phone_number_id)
        .ok_or_else(|| no_such_object(phone_number_id))?;
    if token.is_some_and(|token| number.token.expose_secret() == token) {
        Ok(())
    } else {
        Err(Refusal::new(10, "the token has no access to this number"))
    }
}

fn known(books: &Books, token: Option<&str>) -> Result<(), Refusal> {
    let is_known = token.is_some_and(|token| {
        books
            .numbers
            .iter()
            .any(|number| number.token.expose_secret() == token)
    });
    if is_known {
        Ok(())
    } else {
        Err(Refusal::new(190, "the access token is invalid"))
    }
}

fn no_such_object(id: &str) -> Refusal {
    Refusal::new(
        100,
        format!("unsupported request: object with ID '{id}' does not exist"),
    )
    .subcode(33)
}

/// Finds the numbers of a business account the token may see.
fn account<'a>(
    books: &'a Books,
    waba_id: &str,
    token: Option<&str>,
) -> Result<Vec<&'a NumberConfig>, Refusal> {
    known(books, token)?;
    let numbers: Vec<_> = books
        .numbers
        .iter()
        .filter(|number| number.waba_id == waba_id)
        .collect();
    if numbers.is_empty() {
        return Err(no_such_object(waba_id));
    }
    if numbers
        .iter()
        .any(|number| token.is_some_and(|token| number.token.expose_secret() == token))
    {
        Ok(numbers)
    } else {
        Err(Refusal::new(
            200,
            "the token has no access to this business account",
        ))
    }
}

async fn get_node(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let token = bearer(&headers);
    read(&handle, &uri, |books| {
        if books.number(&id).is_none() {
            account(books, &id, token.as_deref())?;
            return Ok(json!({"id": id, "name": "Simulated business account"}));
        }
        allowed(books, &id, token.as_deref())?;
        books
            .number(&id)
            .map(number_node)
            .ok_or_else(|| no_such_object(&id))
    })
}

async fn get_numbers(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let token = bearer(&headers);
    read(&handle, &uri, |books| {
        let numbers = account(books, &waba_id, token.as_deref())?;
        let nodes: Vec<Value> = numbers.into_iter().map(number_node).collect();
        Ok(json!({"data": nodes, "paging": {}}))
    })
}

async fn get_templates(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let token = bearer(&headers);
    read(&handle, &uri, |books| {
        account(books, &waba_id, token.as_deref())?;
        let nodes: Vec<Value> = books
            .templates
            .iter()
            .enumerate()
            .filter(|(_, template)| template.waba_id == waba_id)
            .map(|(index, template)| {
                json!({
                    "id": template_id(index).to_string(),
                    "name": template.name,
                    "language": template.language,
                    "status": template_status_word(template.status),
                    "category": category_word(Some(template.category)).to_uppercase(),
                    "components": [{"type": "BODY", "text": template.body}],
                })
            })
            .collect();
        Ok(json!({"data": nodes, "paging": {}}))
    })
}

/// Returns the id of the template at this place of the list.
pub(crate) fn template_id(index: usize) -> u64 {
    9_000_000_000_000_001 + index as u64
}

fn number_node(number: &NumberConfig) -> Value {
    json!({
        "id": number.phone_number_id,
        "display_phone_number": number.display_phone_number,
        "verified_name": "Simulated business",
        "status": "CONNECTED",
        "code_verification_status": "VERIFIED",
        "name_status": "APPROVED",
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
    })
}

fn read(
    handle: &Handle,
    uri: &Uri,
    look: impl FnOnce(&Books) -> Result<Value, Refusal>,
) -> Response {
    let shared = handle.shared();
    let answer = match shared.look(|state| look(&state.books)) {
        Ok(body) => (200, body),
        Err(refusal) => refusal.as_graph(),
    };
    serving::respond(
        shared,
        Channel::Whatsapp,
        "GET",
        uri.path().to_owned(),
        answer,
    )
}

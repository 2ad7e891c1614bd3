//! The screen *Find a message*: by any id that anybody may have of it, and what became of it.
//!
//! An id is posted, since a reference may be somebody's name for a customer; a message's own id,
//! which says nothing about anybody, stands in the address of its page.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use casement_proto::message::v1::{
    FindMessageRequest, FindMessageResponse, FoundBy, FoundFact, GetMessageRequest,
    GetRawWebhookRequest, RawReference,
};
use casement_shell::auth::Scope;
use jiff::Timestamp;
use serde::Deserialize;
use tonic::Status;

use super::Shared;
use super::conversation_clock::{Moment, moment};
use super::conversation_timeline::capital;
use super::conversations::href;
use super::find_message::Found;
use super::page::{Failure, Frame, show};
use super::post::Posted;
use super::session::Session;
use super::view::When;

const SCREEN: &str = "/find";

/// What it takes to look at posts as they came.
const RAW_SCOPE: Scope = Scope::Audit;

/// Most of a post that a page shows, in bytes.
const RAW_BYTES_MAX: usize = 256 * 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(SCREEN, get(ask).post(find))
        .route("/messages/{message_id}", get(open))
        .route("/webhook", get(raw))
}

/// A message among others that an id stands for.
struct Row {
    message: Found,
    by: &'static str,
}

/// Something that a customer wrote or did, under an id of the platform's.
struct Fact {
    conversation: String,
    number: String,
    at: Option<When>,
    summary: String,
    webhook: Option<Webhook>,
}

/// A post that told of something.
struct Webhook {
    /// Where it can be looked at; empty if it is gone, or not for this token.
    href: String,
    what: String,
    at: Option<Moment>,
    is_kept: bool,
}

impl Webhook {
    fn new(of: &RawReference, may_read: bool, now: Timestamp) -> Self {
        let query = serde_urlencoded::to_string([("position", &of.position)]);
        let event = of.event_type.rsplit('.').next().unwrap_or_default();
        Self {
            href: match query {
                Ok(query) if may_read && of.kept => format!("/webhook?{query}"),
                _ => String::new(),
            },
            what: event.to_owned(),
            at: moment(of.stored_time.as_ref(), now),
            is_kept: of.kept,
        }
    }
}

impl Fact {
    fn new(of: &FoundFact, may_read: bool, now: Timestamp) -> Self {
        let webhook = of.webhook.as_ref();
        Self {
            conversation: href(&of.number, &of.customer_id),
            number: of.number.clone(),
            at: When::of(of.event_time.as_ref(), now),
            summary: capital(&of.summary),
            webhook: webhook.map(|webhook| Webhook::new(webhook, may_read, now)),
        }
    }
}

fn by(of: FoundBy) -> &'static str {
    match of {
        FoundBy::Unspecified => "",
        FoundBy::MessageId => "its own id",
        FoundBy::ProviderMessageId => "a provider's id",
        FoundBy::RequestId => "its request id",
        FoundBy::ClientReference => "its reference",
        FoundBy::CallbackData => "what providers report by",
    }
}

#[derive(Template)]
#[template(path = "console/find.html")]
struct Page {
    frame: Frame,
    id: String,
    is_asked: bool,
    found: Vec<Row>,
    facts: Vec<Fact>,
}

#[derive(Template)]
#[template(path = "console/message.html")]
struct MessagePage {
    frame: Frame,
    found: Found,
    webhooks: Vec<Webhook>,
    may_read: bool,
}

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct RawPage {
    frame: Frame,
    received: Option<Moment>,
    app: String,
    path: String,
    is_whole: bool,
    is_cut: bool,
    body: String,
}

async fn ask(session: Session) -> Response {
    show(&Page {
        frame: session.frame(SCREEN),
        id: String::new(),
        is_asked: false,
        found: Vec::new(),
        facts: Vec::new(),
    })
}

async fn find(posted: Posted) -> Result<Response, Failure> {
    let Posted { session, fields } = posted;
    let id = fields.get("id").to_owned();
    if id.is_empty() {
        return Ok(ask(session).await);
    }
    let found = look(&session, &id).await?;
    if let ([only], []) = (found.messages.as_slice(), found.facts.as_slice())
        && let Some(message) = &only.message
    {
        let path = format!("/messages/{}", message.message_id);
        return Ok(Redirect::to(&path).into_response());
    }
    let now = session.now();
    let may_read = session.may(RAW_SCOPE);
    let rows = found.messages.iter().filter_map(|one| {
        Some(Row {
            message: Found::new(one.message.as_ref()?, now),
            by: by(one.found_by()),
        })
    });
    let facts = found.facts.iter().map(|one| Fact::new(one, may_read, now));
    Ok(show(&Page {
        frame: session.frame(SCREEN),
        id,
        is_asked: true,
        found: rows.collect(),
        facts: facts.collect(),
    }))
}

async fn look(session: &Session, id: &str) -> Result<FindMessageResponse, Failure> {
    let request = FindMessageRequest {
        id: id.to_owned(),
        not_before: String::new(),
    };
    let answer = session
        .api()
        .message_queries()
        .find_message(request)
        .await?;
    Ok(answer.into_inner())
}

async fn open(session: Session, Path(message_id): Path<String>) -> Result<Response, Failure> {
    let request = GetMessageRequest {
        message_id: message_id.clone(),
        not_before: String::new(),
    };
    let mut messages = session.api().messages();
    // The dispatcher knows the decisions, as long as the message is on the log; the archive knows
    // the posts, and the message for good.
    let (live, archived) = tokio::join!(messages.get_message(request), look(&session, &message_id));
    let mut archived = archived?.messages.into_iter();
    let archived = archived.find(|one| {
        let message = one.message.as_ref();
        message.is_some_and(|message| message.message_id == message_id)
    });
    let live = live.ok().and_then(|answer| answer.into_inner().message);
    let message = live.or_else(|| archived.as_ref()?.message.clone());
    let message = message.ok_or_else(|| Status::not_found("no message has this id"))?;
    let now = session.now();
    let may_read = session.may(RAW_SCOPE);
    let webhooks = archived.iter().flat_map(|one| &one.webhooks);
    Ok(show(&MessagePage {
        frame: session.frame(SCREEN),
        found: Found::new(&message, now),
        webhooks: webhooks
            .map(|one| Webhook::new(one, may_read, now))
            .collect(),
        may_read,
    }))
}

/// Which post.
#[derive(Deserialize)]
struct Where {
    position: String,
}

async fn raw(session: Session, Query(at): Query<Where>) -> Result<Response, Failure> {
    let request = GetRawWebhookRequest {
        position: at.position,
    };
    let answer = session
        .api()
        .message_queries()
        .get_raw_webhook(request)
        .await?;
    let raw = answer.into_inner();
    let (body, is_cut) = readable(&raw.body);
    Ok(show(&RawPage {
        frame: session.frame(SCREEN),
        received: moment(raw.received_time.as_ref(), session.now()),
        app: raw.app,
        path: raw.path,
        is_whole: raw.whole_post,
        is_cut,
        body,
    }))
}

/// JSON with a line for each of its parts, and anything else as it is; and whether it was cut.
fn readable(body: &[u8]) -> (String, bool) {
    let json = serde_json::from_slice::<serde_json::Value>(body);
    let text = json
        .ok()
        .and_then(|json| serde_json::to_string_pretty(&json).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    if text.len() <= RAW_BYTES_MAX {
        return (text, false);
    }
    let end = (0..=RAW_BYTES_MAX)
        .rev()
        .find(|end| text.is_char_boundary(*end));
    (text[..end.unwrap_or_default()].to_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_shown_so_that_people_can_read_it_and_never_too_much_of_it() {
        assert_eq!(readable(br#"{"a":[1]}"#).0, "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(readable(b"a=1&b=\xff").0, "a=1&b=\u{fffd}");
        let long = "é".repeat(RAW_BYTES_MAX);
        let (text, is_cut) = readable(long.as_bytes());
        assert!(is_cut && text.len() <= RAW_BYTES_MAX && text.ends_with('é'));
    }

    #[test]
    fn a_post_is_offered_if_it_is_kept_and_the_token_may_read_it() {
        let post = RawReference {
            position: "EVENTS/1a/7".to_owned(),
            event_type: "casement.events.v1.StatusReported".to_owned(),
            kept: true,
            ..RawReference::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let offered = Webhook::new(&post, true, now);
        assert_eq!(offered.href, "/webhook?position=EVENTS%2F1a%2F7");
        assert_eq!(offered.what, "StatusReported");
        assert_eq!(Webhook::new(&post, false, now).href, "");
        let gone = RawReference {
            kept: false,
            ..post
        };
        assert_eq!(Webhook::new(&gone, true, now).href, "");
    }
}

//! One conversation: what happened, how long it may be answered freely, whose it is, and what can
//! be said now.
//!
//! Read here; what is posted is in [`super::conversation_post`].

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::response::Response;
use axum::routing::{get, post};
use casement_proto::account::v1::{ConsentStanding, ConsentState};
use casement_proto::events::v1::Channel;
use casement_shell::auth::Scope;
use jiff::Timestamp;

use super::composer::{Chosen, Composer, Draft, Offers};
use super::composer_preview::Preview;
use super::composer_template as form;
use super::conversation_clock::{Clocks, clocks};
use super::conversation_known::{Known, Part, Which, heart, know};
use super::conversation_message::Bodies;
use super::conversation_timeline::{Entry, entries};
use super::conversations::{name, status_chip};
use super::page::{Failure, Frame, Notice, show};
use super::seal::drawn;
use super::session::Session;
use super::view::{Chip, When, word};
use super::{Shared, conversation_handling, conversation_media, conversation_post, live};

/// What is shown of a conversation is of this screen.
const SCREEN: &str = "/conversations";

pub(super) fn routes() -> Router<Shared> {
    let at = |rest: &str| format!("/conversations/{{number}}/{{customer_id}}{rest}");
    Router::new()
        .route(&at(""), get(open))
        .route(&at("/live"), get(open_live))
        .route(&at("/send"), post(conversation_post::send))
        .route(&at("/preview"), post(conversation_post::preview))
        .route(&at("/template"), post(conversation_post::template))
        .route(&at("/assign"), post(conversation_handling::assign))
        .route(&at("/labels"), post(conversation_handling::labels))
        .route(&at("/close"), post(conversation_handling::close))
        .route(&at("/reopen"), post(conversation_handling::reopen))
        .route(&at("/read"), post(conversation_handling::read))
        .merge(conversation_media::routes())
}

/// A conversation as it is shown.
pub(super) struct View {
    path: String,
    name: String,
    number: String,
    number_name: String,
    brand: String,
    status: Chip,
    clocks: Clocks,
    entries: Vec<Entry>,
    older: String,
    /// Not the newest part of it.
    is_past: bool,
    /// Stands for the customer's newest message: another one is news.
    newest: String,
    is_unread: bool,
    is_closed: bool,
    closed: Option<When>,
    closer: String,
    assignee: String,
    is_mine: bool,
    labels: Vec<String>,
    consents: Vec<ConsentRow>,
    inbound_count: i64,
    outbound_count: i64,
    etag: String,
    request_id: String,
    may_handle: bool,
}

/// What a customer allows, on one channel.
#[derive(Debug, PartialEq, Eq)]
struct ConsentRow {
    channel: &'static str,
    purposes: Vec<Chip>,
}

fn consent_rows(standings: &[ConsentStanding]) -> Vec<ConsentRow> {
    let rows = [(Channel::Whatsapp, "WhatsApp"), (Channel::Sms, "SMS")];
    let rows = rows.into_iter().map(|(channel, name)| {
        let of_channel = standings.iter().filter(|one| one.channel() == channel);
        let purposes = of_channel.map(|one| {
            let purpose = word(one.purpose().as_str_name(), "PURPOSE");
            match one.state() {
                ConsentState::OptedIn => Chip::new("ok", format!("{purpose}: opted in")),
                ConsentState::OptedOut => Chip::new("bad", format!("{purpose}: opted out")),
                ConsentState::Silent | ConsentState::Unspecified => {
                    Chip::new("quiet", format!("{purpose}: nothing said"))
                }
            }
        });
        ConsentRow {
            channel: name,
            purposes: purposes.collect(),
        }
    });
    rows.filter(|row| !row.purposes.is_empty()).collect()
}

impl View {
    fn new(session: &Session, which: &Which, part: &Part, known: &Known, now: Timestamp) -> Self {
        let of = &known.conversation;
        let path = which.path();
        let older = match known.older.as_str() {
            "" => String::new(),
            token => {
                let query = serde_urlencoded::to_string([("before", token)]);
                format!("{path}?{}", query.unwrap_or_default())
            }
        };
        let bodies: Bodies = known
            .templates
            .all
            .iter()
            .map(|template| {
                let key = (template.name.clone(), template.language.clone());
                (key, template.body.clone())
            })
            .collect();
        Self {
            name: name(of),
            number: of.number.clone(),
            number_name: known.number_name().to_owned(),
            brand: of.brand_id.clone(),
            status: status_chip(of.status()),
            clocks: clocks(&known.window, now),
            entries: entries(&known.items, &bodies, now),
            older,
            is_past: !part.before.is_empty(),
            newest: of
                .last_inbound_time
                .map(|time| time.seconds.to_string())
                .unwrap_or_default(),
            is_unread: of.unread,
            is_closed: of.closed,
            closed: When::of(of.close_time.as_ref(), now),
            closer: of.closer.clone(),
            is_mine: of.assignee == session.caller.name,
            assignee: of.assignee.clone(),
            labels: of.labels.clone(),
            consents: consent_rows(&known.consents),
            inbound_count: of.inbound_count,
            outbound_count: of.outbound_count,
            etag: of.etag.clone(),
            request_id: drawn(),
            may_handle: session.may(Scope::Colleague),
            path,
        }
    }
}

/// What came of what was posted.
#[derive(Default)]
pub(super) struct Told {
    /// What was done, if anything was.
    pub(super) notice: Option<Notice>,
    /// Why it was not done; empty if it was.
    pub(super) why: String,
    /// By fields of the API's request.
    pub(super) fields: Vec<(String, String)>,
    pub(super) preview: Option<Preview>,
}

/// Puts the form together, with what was typed so far.
pub(super) fn composer(
    session: &Session,
    known: &Known,
    clocks: &Clocks,
    mut draft: Draft,
    told: Told,
) -> Composer {
    let choices: Vec<_> = known.templates.all.iter().map(form::choice).collect();
    let offers = Offers::new(
        session.may(Scope::Send),
        session.may(Scope::Colleague),
        clocks,
        known.possible.as_ref(),
        &choices,
    );
    let mode = offers.mode(draft.mode);
    if draft.request_id.is_empty() {
        draft.request_id = drawn();
    }
    let chosen = known
        .templates
        .find(&draft.template)
        .map(|template| Chosen::new(template, &draft.values, &told.fields));
    Composer::new(
        mode,
        draft,
        offers,
        choices,
        chosen,
        told.preview.unwrap_or_else(|| Preview::idle(mode)),
        told.why,
        told.fields,
    )
}

#[derive(Template)]
#[template(path = "console/conversation.html")]
struct Page {
    frame: Frame,
    view: View,
    composer: Composer,
}

#[derive(Template)]
#[template(path = "console/conversation_live.html")]
struct Parts {
    frame: Frame,
    view: View,
    composer: Composer,
}

async fn open(
    session: Session,
    Path(which): Path<Which>,
    Query(part): Query<Part>,
) -> Result<Response, Failure> {
    let known = match know(&session, &which, &part).await {
        // A place that is not reached in time, or is of another life of the log, is no reason to
        // show nothing.
        Err(_) if !part.at.is_empty() => {
            let part = Part {
                at: String::new(),
                ..part.clone()
            };
            know(&session, &which, &part).await?
        }
        known => known?,
    };
    Ok(page(
        &session,
        &which,
        &part,
        &known,
        Draft::default(),
        Told::default(),
    ))
}

/// The page, with what was typed so far and why it was not sent.
pub(super) fn page(
    session: &Session,
    which: &Which,
    part: &Part,
    known: &Known,
    draft: Draft,
    told: Told,
) -> Response {
    let view = View::new(session, which, part, known, session.now());
    let mut frame = session.frame(SCREEN);
    if told.notice.is_some() {
        frame.notice.clone_from(&told.notice);
    }
    let composer = composer(session, known, &view.clocks, draft, told);
    if !view.is_past {
        frame = frame.live(format!("{}/live", view.path));
    }
    show(&Page {
        frame,
        view,
        composer,
    })
}

async fn open_live(session: Session, Path(which): Path<Which>) -> Response {
    let shown = Arc::new(Mutex::new((String::new(), String::new())));
    live::stream(session, move |session| {
        let (which, shown) = (which.clone(), shown.clone());
        async move {
            let part = Part::default();
            let (conversation, window, newest, _) = heart(&session, &which, &part, 1).await?;
            let clocks = clocks(&window, session.now());
            let stamp = format!("{conversation:?} {newest:?} {}", clocks.stamp);
            {
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                if shown.0 == stamp {
                    return Ok(shown.1.clone());
                }
            }
            let known = know(&session, &which, &part).await?;
            let view = View::new(&session, &which, &part, &known, session.now());
            let composer = composer(
                &session,
                &known,
                &view.clocks,
                Draft::default(),
                Told::default(),
            );
            let parts = Parts {
                frame: session.frame(SCREEN),
                view,
                composer,
            };
            let html = parts.render().unwrap_or_default();
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            *shown = (stamp, html);
            Ok(shown.1.clone())
        }
    })
}

#[cfg(test)]
mod tests {
    use casement_proto::events::v1::Purpose;

    use super::*;

    #[test]
    fn consent_is_shown_by_channel_and_purpose() {
        let standing = |channel: Channel, purpose: Purpose, state: ConsentState| {
            let mut one = ConsentStanding::default();
            one.set_channel(channel);
            one.set_purpose(purpose);
            one.set_state(state);
            one
        };
        let rows = consent_rows(&[
            standing(
                Channel::Whatsapp,
                Purpose::Marketing,
                ConsentState::OptedOut,
            ),
            standing(Channel::Whatsapp, Purpose::Service, ConsentState::OptedIn),
        ]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].channel, "WhatsApp");
        assert_eq!(
            rows[0].purposes[0],
            Chip::new("bad", "marketing: opted out")
        );
        assert_eq!(rows[0].purposes[1], Chip::new("ok", "service: opted in"));
    }
}

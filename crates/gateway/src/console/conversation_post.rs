//! What is said in a conversation: to the customer, or to colleagues.
//!
//! Each is one call of the API, under the id that its form carries: sent twice, it is done once.
//! What is refused comes back with all that was typed.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use casement_proto::account::v1::RenderTemplateRequest;
use casement_proto::conversation::v1::AddNoteRequest;
use casement_proto::events::v1::Route;
use casement_proto::message::v1::{PreviewRouteRequest, SendMessageRequest};
use casement_shell::grpc::said;
use http::StatusCode;
use tonic::{Code, Status};

use super::composer::{Chosen, Draft, Mode};
use super::composer_preview::{Preview, Reads};
use super::conversation::{Told, page};
use super::conversation_known::{Known, Part, Templates, Which, know, templates};
use super::page::{Failure, Notice, show};
use super::post::Posted;
use super::seal::drawn;
use super::session::Session;

/// What stands in the form beside the button.
#[derive(Template)]
#[template(path = "console/composer_preview.html")]
struct PreviewPart<'a> {
    preview: &'a Preview,
    problems: Vec<String>,
}

/// The fields of a template.
#[derive(Template)]
#[template(path = "console/composer_template.html")]
struct TemplatePart<'a> {
    chosen: &'a Option<Chosen>,
}

/// Sends what was written, or notes it; or, where a script did not, shows what would come of it.
pub(super) async fn send(Path(which): Path<Which>, posted: Posted) -> Result<Response, Failure> {
    let Posted { session, fields } = posted;
    let mut draft = Draft::read(fields.pairs());
    let action = fields.get("action").to_owned();
    let part = Part::default();
    if action == "send" && draft.mode == Some(Mode::Note) {
        return Box::pin(note(&session, &which, draft)).await;
    }
    let known = know(&session, &which, &part).await?;
    let Some(mode) = draft.mode.filter(|mode| *mode != Mode::Note) else {
        let told = Told {
            why: match (action.as_str(), draft.mode) {
                ("send", None) => "Nothing was sent: choose what to write.".to_owned(),
                _ => String::new(),
            },
            ..Told::default()
        };
        return Ok(again(&session, &which, &known, draft, told));
    };
    if action == "template" {
        return Ok(again(&session, &which, &known, draft, Told::default()));
    }
    let asked = match weigh(&session, &which, &known.templates, &draft, mode).await {
        Ok(asked) => asked,
        Err(refusal) => {
            let why = match action.as_str() {
                "send" => refusal,
                _ => Told {
                    why: String::new(),
                    ..refusal
                },
            };
            return Ok(again(&session, &which, &known, draft, why));
        }
    };
    let route = asked.route;
    if action != "send" || !draft.accepts(mode, route) {
        let why = match action.as_str() {
            "send" => changed(mode, route),
            _ => String::new(),
        };
        draft.shown.clone_from(&asked.preview.shown);
        let refusal = Told {
            why,
            preview: Some(asked.preview),
            ..Told::default()
        };
        return Ok(again(&session, &which, &known, draft, refusal));
    }
    match session.api().messages().send_message(asked.request).await {
        Ok(answer) => {
            let position = answer.into_inner().position;
            Ok(sent(&session, &which, draft, mode, &position, sent_words(route)).await)
        }
        Err(status) => {
            if status.code() == Code::AlreadyExists {
                draft.request_id = drawn();
            }
            let refusal = Told {
                preview: Some(asked.preview),
                ..refused(&status)
            };
            Ok(again(&session, &which, &known, draft, refusal))
        }
    }
}

/// A request with what would be decided of it.
struct Asked {
    request: SendMessageRequest,
    route: Route,
    preview: Preview,
}

/// Asks what would come of a draft; a refusal, if nothing can.
async fn weigh(
    session: &Session,
    which: &Which,
    templates: &Templates,
    draft: &Draft,
    mode: Mode,
) -> Result<Asked, Told> {
    let template = templates.find(&draft.template);
    if draft.is_empty(mode) {
        let preview = Preview::idle(mode);
        return Err(Told {
            why: match mode {
                Mode::Template => "No template is chosen.".to_owned(),
                _ => "There is nothing to send yet.".to_owned(),
            },
            preview: Some(preview),
            ..Told::default()
        });
    }
    let request = draft.request(mode, &which.number(), &which.customer_id(), template);
    let request = request.ok_or_else(|| Told {
        why: "This template is not there any more: choose another one.".to_owned(),
        ..Told::default()
    })?;
    let asking = PreviewRouteRequest {
        request: Some(SendMessageRequest {
            // Of a preview nothing is kept.
            request_id: String::new(),
            ..request.clone()
        }),
        evaluate_time: None,
    };
    let (mut messages, reads) = (
        session.api().messages(),
        reads(session, templates, draft, mode),
    );
    let (answer, reads) = tokio::join!(messages.preview_route(asking), reads);
    let decision = match answer {
        Ok(answer) => answer.into_inner().decision.unwrap_or_default(),
        Err(status) => {
            let refusal = refused(&status);
            let preview = Preview {
                reads,
                ..Preview::refused(mode, refusal.why.clone())
            };
            return Err(Told {
                preview: Some(preview),
                ..refusal
            });
        }
    };
    let shown = template.filter(|_| mode == Mode::Template);
    Ok(Asked {
        route: decision.chosen_route(),
        preview: Preview::new(mode, &decision, shown, reads, session.now()),
        request,
    })
}

/// The template as the customer would read it; nothing, if that cannot be told.
async fn reads(
    session: &Session,
    templates: &Templates,
    draft: &Draft,
    mode: Mode,
) -> Option<Reads> {
    let template = templates
        .find(&draft.template)
        .filter(|_| mode == Mode::Template)?;
    let content = super::composer_template::content(template, &draft.values);
    let request = RenderTemplateRequest {
        waba_id: templates.waba_id.clone(),
        name: content.name,
        language: content.language,
        components: content.components,
        cards: Vec::new(),
    };
    let answer = session.api().templates().render_template(request).await;
    Some(Reads::new(&answer.ok()?.into_inner()))
}

fn refused(status: &Status) -> Told {
    let said = said(status);
    let why = match status.code() {
        Code::InvalidArgument if !said.fields.is_empty() => {
            "It cannot be sent like this.".to_owned()
        }
        Code::Unavailable | Code::DeadlineExceeded => format!(
            "{}. Whether it was taken is not known: send it again as it is, and it goes once.",
            said.message
        ),
        Code::AlreadyExists => {
            "This form was sent before with another text. Look whether the message above is the \
             one you meant; send again for another one."
                .to_owned()
        }
        _ => said.message,
    };
    Told {
        why,
        fields: said.fields,
        ..Told::default()
    }
}

fn changed(mode: Mode, route: Route) -> String {
    let now = match route {
        Route::FreeForm => "It would go as a WhatsApp message.",
        Route::Template => "It would go as a template.",
        Route::Sms => "It would go as an SMS.",
        Route::Hold => "It would be held until the customer writes.",
        Route::Unspecified => "No way is open for it.",
    };
    match mode {
        Mode::Reply => format!(
            "Nothing was sent: a free reply is not possible any more. {now} Your text is kept below."
        ),
        _ => format!("Nothing was sent yet. {now} Send it again if that is what you mean."),
    }
}

fn sent_words(route: Route) -> &'static str {
    match route {
        Route::FreeForm => "Your reply is on its way.",
        Route::Template => "The template is on its way.",
        Route::Sms => "The SMS is on its way.",
        Route::Hold => "It is held until the customer writes.",
        Route::Unspecified => "It was taken, and waits.",
    }
}

/// The page once more, with what was typed.
fn again(session: &Session, which: &Which, known: &Known, draft: Draft, refusal: Told) -> Response {
    let is_refused = !refusal.why.is_empty();
    let mut response = page(session, which, &Part::default(), known, draft, refusal);
    if is_refused {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// Back to the conversation, which shows what was just done.
pub(super) fn done(session: &Session, which: &Which, position: &str, words: &str) -> Response {
    let query = match position {
        "" => String::new(),
        position => {
            let query = serde_urlencoded::to_string([("at", position)]);
            format!("?{}", query.unwrap_or_default())
        }
    };
    let path = format!("{}{query}#newest", which.path());
    session.go(&path, Notice::good(words))
}

/// Back to the conversation after something was sent. What else is being written stays where it is:
/// then the page is answered at once, and sending it again does nothing more.
async fn sent(
    session: &Session,
    which: &Which,
    mut draft: Draft,
    mode: Mode,
    position: &str,
    words: &str,
) -> Response {
    draft.clear(mode);
    if Mode::ALL.into_iter().all(|mode| draft.is_empty(mode)) {
        return done(session, which, position, words);
    }
    let part = Part {
        at: position.to_owned(),
        ..Part::default()
    };
    let Ok(known) = Box::pin(know(session, which, &part)).await else {
        return done(session, which, position, words);
    };
    let told = Told {
        notice: Some(Notice::good(words)),
        ..Told::default()
    };
    page(session, which, &Part::default(), &known, draft, told)
}

async fn note(session: &Session, which: &Which, mut draft: Draft) -> Result<Response, Failure> {
    let request = AddNoteRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        text: draft.note.clone(),
        request_id: draft.request_id.clone(),
        ..AddNoteRequest::default()
    };
    match session.api().conversations().add_note(request).await {
        Ok(answer) => {
            let position = answer.into_inner().position;
            let words = "The note is added.";
            Ok(sent(session, which, draft, Mode::Note, &position, words).await)
        }
        Err(status) => {
            let known = know(session, which, &Part::default()).await?;
            if status.code() == Code::AlreadyExists {
                draft.request_id = drawn();
            }
            let mut refusal = refused(&status);
            if status.code() == Code::InvalidArgument {
                "The note was not added.".clone_into(&mut refusal.why);
            }
            Ok(again(session, which, &known, draft, refusal))
        }
    }
}

/// What would come of what was written so far.
pub(super) async fn preview(Path(which): Path<Which>, posted: Posted) -> Result<Response, Failure> {
    let Posted { session, fields } = posted;
    let draft = Draft::read(fields.pairs());
    let mode = draft.mode.unwrap_or_default();
    if draft.is_empty(mode) || mode == Mode::Note {
        return Ok(show(&PreviewPart {
            preview: &Preview::idle(mode),
            problems: Vec::new(),
        }));
    }
    let known = match mode {
        Mode::Template => templates(&session, &which).await,
        _ => Templates::default(),
    };
    let (preview, refused) = match weigh(&session, &which, &known, &draft, mode).await {
        Ok(asked) => (asked.preview, Vec::new()),
        Err(refusal) => {
            let preview = refusal.preview.unwrap_or_else(|| Preview::idle(mode));
            (preview, refusal.fields)
        }
    };
    let chosen = known
        .find(&draft.template)
        .map(|template| Chosen::new(template, &draft.values, &refused));
    let marked = chosen.map(|chosen| chosen.fields).unwrap_or_default();
    let problems = refused.into_iter().map(|(path, what)| {
        let field = marked.iter().find(|field| field.problem == what);
        let name = field.map_or_else(
            || path.rsplit('.').next().unwrap_or_default().to_owned(),
            |field| field.label.clone(),
        );
        format!("{name}: {what}")
    });
    Ok(show(&PreviewPart {
        preview: &preview,
        problems: problems.collect(),
    }))
}

/// The fields of the template that is chosen.
pub(super) async fn template(
    Path(which): Path<Which>,
    posted: Posted,
) -> Result<Response, Failure> {
    let Posted { session, fields } = posted;
    let draft = Draft::read(fields.pairs());
    let known = templates(&session, &which).await;
    let chosen = known
        .find(&draft.template)
        .map(|template| Chosen::new(template, &draft.values, &[]));
    Ok(show(&TemplatePart { chosen: &chosen }))
}

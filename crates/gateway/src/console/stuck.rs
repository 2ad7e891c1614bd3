//! The screen *Stuck work*: what does not go on by itself, or not now, and getting it going again.
//!
//! What is done to many at once is shown first, with how many it is, and is done once that count
//! was typed in. What to do to which kind stands in `stuck/kind.rs`, where it is found in
//! `stuck/load.rs`, and how it is done in `stuck/act.rs`.

mod act;
mod kind;
mod load;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::live;
use super::page::{Failure, Frame, Notice, Trouble, render, show};
use super::post::Posted;
use super::session::Session;
use super::view::{counted, steady};
use kind::{Action, Kind};
use load::{Row, Rows};

/// Where the screen is.
pub(super) const PATH: &str = "/stuck";

/// What is done at once at most.
const AT_ONCE_MAX: usize = 500;

/// Of what shall be done, shown before it is done.
const SHOWN_MAX: usize = 12;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    kind: String,
    brand: String,
    number: String,
    page: String,
}

#[derive(Template)]
#[template(path = "console/stuck.html")]
struct StuckPage {
    frame: Frame,
    asked: Asked,
    kind: Kind,
    sees_all: bool,
    part: StuckPart,
}

/// What lives on the screen.
#[derive(Template)]
#[template(path = "console/stuck_part.html")]
struct StuckPart {
    asked: Asked,
    kind: Kind,
    tiles: Vec<Tile>,
    rows: Vec<Row>,
    /// Of the kind in all, in words; empty if nobody knows.
    total: String,
    next: String,
    actions: Vec<Action>,
    trouble: Option<Trouble>,
    csrf: String,
}

impl HtmlSafe for StuckPart {}

impl StuckPart {
    /// Of this kind in general; nothing is filtered out.
    fn is_filtered(&self) -> bool {
        !(self.asked.brand.is_empty() && self.asked.number.is_empty())
    }
}

/// One kind with how many there are of it.
struct Tile {
    label: &'static str,
    path: String,
    count: String,
    is_current: bool,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "console/stuck_confirm.html")]
struct ConfirmPage {
    frame: Frame,
    kind: Kind,
    action: Action,
    asked: Asked,
    ids: Vec<String>,
    shown: Vec<String>,
    /// How many more there are than are done at once.
    beyond: bool,
    problem: String,
    reason: String,
    takes_risk: bool,
}

impl ConfirmPage {
    fn count(&self) -> String {
        counted(self.ids.len() as u64, self.kind.one(), self.kind.many())
    }

    fn more(&self) -> usize {
        self.ids.len() - self.shown.len()
    }
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(PATH, get(list))
        .route("/stuck/live", get(list_live))
        .route("/stuck/confirm", post(confirm))
        .route("/stuck/act", post(act))
}

async fn list(session: Session, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
    let part = StuckPart::load(&session, &asked, session.now()).await?;
    Ok(show(&StuckPage {
        frame: session.frame(PATH).live(format!("/stuck/live?{query}")),
        kind: part.kind,
        sees_all: kind::sees_all(&session),
        asked,
        part,
    }))
}

async fn list_live(session: Session, Query(asked): Query<Asked>) -> Response {
    live::stream(session, move |session| {
        let asked = asked.clone();
        async move {
            let now = steady(session.now());
            render(&StuckPart::load(&session, &asked, now).await?)
        }
    })
}

impl StuckPart {
    async fn load(session: &Session, asked: &Asked, now: Timestamp) -> Result<Self, Failure> {
        let offered = Kind::offered(session);
        let kind = offered
            .iter()
            .copied()
            .find(|kind| kind.slug() == asked.kind)
            .or_else(|| offered.first().copied())
            .ok_or_else(|| {
                Failure::refused(
                    "Nothing of this can be shown",
                    "The token has none of the scopes read, audit and admin.",
                )
            })?;
        let (counts, rows) = tokio::join!(
            load::counts(session, asked, &offered),
            load::rows(session, asked, kind, now),
        );
        let (rows, trouble) = match rows {
            Ok(rows) => (rows, None),
            Err(status) if status.code() == tonic::Code::Unauthenticated => {
                return Err(status.into());
            }
            Err(status) => (Rows::default(), Some(status.into())),
        };
        let tiles = offered.iter().map(|&offer| {
            let of_kind = Asked {
                kind: offer.slug().to_owned(),
                page: String::new(),
                ..asked.clone()
            };
            let query = serde_urlencoded::to_string(of_kind).unwrap_or_default();
            let found = counts.get(&offer);
            Tile {
                label: offer.label(),
                path: format!("{PATH}?{query}"),
                count: found.map_or_else(|| "–".to_owned(), load::Counted::text),
                is_current: offer == kind,
                tone: match found {
                    Some(found) if found.count > 0 => offer.tone(),
                    Some(_) | None => "",
                },
            }
        });
        let actions = kind.actions().iter().copied();
        Ok(Self {
            kind,
            tiles: tiles.collect(),
            total: counts
                .get(&kind)
                .map_or_else(String::new, load::Counted::text),
            next: match rows.next.as_str() {
                "" => String::new(),
                token => {
                    let next = Asked {
                        kind: kind.slug().to_owned(),
                        page: token.to_owned(),
                        ..asked.clone()
                    };
                    serde_urlencoded::to_string(next).unwrap_or_default()
                }
            },
            rows: rows.rows,
            actions: actions
                .filter(|action| action.is_offered(session))
                .collect(),
            trouble,
            csrf: session.csrf.clone(),
            asked: asked.clone(),
        })
    }
}

/// What a form says of what shall be done.
fn meant(posted: &Posted) -> Result<(Kind, Action, Asked), Failure> {
    let fields = &posted.fields;
    let unknown = || Failure::wrong("This form makes no sense", "Nothing was done.");
    let kind = Kind::of(fields.get("kind")).ok_or_else(unknown)?;
    let action = kind
        .actions()
        .iter()
        .copied()
        .find(|action| action.slug() == fields.get("action"))
        .ok_or_else(unknown)?;
    let asked = Asked {
        kind: kind.slug().to_owned(),
        brand: fields.get("brand").to_owned(),
        number: fields.get("number").to_owned(),
        page: String::new(),
    };
    Ok((kind, action, asked))
}

/// Where the list is that a form came from.
fn back(asked: &Asked) -> String {
    let query = serde_urlencoded::to_string(asked).unwrap_or_default();
    format!("{PATH}?{query}")
}

/// Shows what would be done, and how much of it.
async fn confirm(posted: Posted) -> Result<Response, Failure> {
    let (kind, action, asked) = meant(&posted)?;
    let (ids, shown, beyond) = if posted.fields.get("which") == "all" {
        let all = load::all(&posted.session, &asked, kind, AT_ONCE_MAX).await?;
        let shown = all.rows.iter().take(SHOWN_MAX).map(Row::line).collect();
        let ids: Vec<String> = all.rows.into_iter().map(|row| row.id).collect();
        (ids, shown, !all.next.is_empty())
    } else {
        let ids = chosen(&posted);
        let shown = ids.iter().take(SHOWN_MAX).cloned().collect();
        (ids, shown, false)
    };
    if ids.is_empty() {
        let nothing = Notice::bad("Nothing was chosen: tick what is meant, and press again.");
        return Ok(posted.session.go(&back(&asked), nothing));
    }
    Ok(show(&ConfirmPage {
        frame: posted.session.frame(PATH),
        kind,
        action,
        asked,
        ids,
        shown,
        beyond,
        problem: String::new(),
        reason: String::new(),
        takes_risk: false,
    }))
}

/// Does it, if the count that was typed in is the one that was shown.
async fn act(posted: Posted) -> Result<Response, Failure> {
    let (kind, action, asked) = meant(&posted)?;
    let ids = chosen(&posted);
    let fields = &posted.fields;
    let typed = fields.get("count").replace([',', ' '], "");
    if ids.is_empty() || typed != ids.len().to_string() {
        let shown = ids.iter().take(SHOWN_MAX).cloned().collect();
        let problem = format!(
            "Nothing was done: it is {}, and {} was typed in.",
            ids.len(),
            if typed.is_empty() {
                "nothing"
            } else {
                "another count"
            }
        );
        let page = ConfirmPage {
            frame: posted.session.frame(PATH),
            kind,
            action,
            reason: fields.get("reason").to_owned(),
            takes_risk: fields.get("risk") == "yes",
            asked,
            ids,
            shown,
            beyond: false,
            problem,
        };
        let mut response = show(&page);
        *response.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let order = act::Order {
        ids,
        reason: fields.get("reason").to_owned(),
        takes_risk: fields.get("risk") == "yes",
    };
    let told = act::act(&posted.session, action, &order).await?;
    Ok(posted.session.go(&back(&asked), told))
}

/// What was ticked, each once.
fn chosen(posted: &Posted) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for id in posted.fields.all("id").take(AT_ONCE_MAX) {
        if !id.is_empty() && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

//! The screen *Numbers*: where each business number stands, what it did lately, and pausing it.

mod row;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Router;
use axum::extract::{Path, Query};
use axum::response::Response;
use axum::routing::get;
use casement_proto::account::v1::{
    GetNumberRequest, NumberStanding, PauseNumberRequest, ResumeNumberRequest,
};
use casement_proto::events::v1::Number;
use casement_proto::figures::v1::{
    DailyFigures, FiguresFilter, ListDailyFiguresRequest, ListNumberOverviewsRequest,
    NumberOverview, WatchNumberOverviewsRequest,
};
use casement_shell::auth::{ALL_BRANDS, Scope};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::Shared;
use super::live;
use super::page::{Failure, Frame, Notice, Trouble, render, show};
use super::post::Posted;
use super::session::Session;
use super::view::{Chip, When, count, steady, word};
use row::Row;

/// Where the screen is.
pub(super) const PATH: &str = "/numbers";

/// Numbers on one page.
const PAGE_SIZE: i32 = 100;

/// Days whose figures are shown of a number, today among them.
const DAYS: i64 = 14;

/// Longest reason of a pause.
const REASON_CHARS_MAX: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    brand: String,
    page: String,
}

#[derive(Template)]
#[template(path = "console/numbers.html")]
struct NumbersPage {
    frame: Frame,
    asked: Asked,
    /// Whether there is more than one brand to see.
    sees_all: bool,
    part: NumbersPart,
}

/// What lives on the list.
#[derive(Template)]
#[template(path = "console/numbers_part.html")]
struct NumbersPart {
    rows: Vec<Row>,
    next: String,
    /// Whether brands are told apart.
    sees_all: bool,
    is_filtered: bool,
    trouble: Option<Trouble>,
}

impl HtmlSafe for NumbersPart {}

#[derive(Template)]
#[template(path = "console/number.html")]
struct NumberPage {
    frame: Frame,
    number: String,
    part: NumberPart,
    record: Result<Record, Trouble>,
    days: Result<Vec<Day>, Trouble>,
}

/// What lives on the page of one number.
#[derive(Template)]
#[template(path = "console/number_part.html")]
struct NumberPart {
    row: Option<Row>,
    trouble: Option<Trouble>,
    may_pause: bool,
    may_lift: bool,
}

impl HtmlSafe for NumberPart {}

/// What the account knows of a number.
struct Record {
    facts: Vec<(&'static str, String)>,
    health: Vec<Fact>,
    capabilities: Vec<(String, Chip, String)>,
}

/// One thing that the platform told.
struct Fact {
    kind: String,
    value: String,
    detail: String,
    when: Option<When>,
}

/// One day of a number.
struct Day {
    date: String,
    received: String,
    requested: String,
    sent: String,
    delivered: String,
    failed: String,
    held: String,
    expired: String,
}

#[derive(Template)]
#[template(path = "console/number_pause.html")]
struct PausePage {
    frame: Frame,
    row: Row,
    pausing: bool,
    reason_chars_max: usize,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(PATH, get(list))
        .route("/numbers/live", get(list_live))
        .route("/numbers/{digits}", get(one))
        .route("/numbers/{digits}/live", get(one_live))
        .route("/numbers/{digits}/pause", get(ask_pause).post(pause))
        .route("/numbers/{digits}/resume", get(ask_resume).post(resume))
}

async fn list(session: Session, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
    let part = NumbersPart::load(&session, &asked, session.now()).await?;
    Ok(show(&NumbersPage {
        frame: session.frame(PATH).live(format!("/numbers/live?{query}")),
        sees_all: part.sees_all,
        asked,
        part,
    }))
}

async fn list_live(session: Session, Query(asked): Query<Asked>) -> Response {
    live::stream(session, move |session| {
        let asked = asked.clone();
        async move {
            let now = steady(session.now());
            render(&NumbersPart::load(&session, &asked, now).await?)
        }
    })
}

impl NumbersPart {
    async fn load(session: &Session, asked: &Asked, now: Timestamp) -> Result<Self, Failure> {
        let request = ListNumberOverviewsRequest {
            brand_id: asked.brand.trim().to_owned(),
            page_size: PAGE_SIZE,
            page_token: asked.page.clone(),
            ..ListNumberOverviewsRequest::default()
        };
        let listed = session.api().figures().list_number_overviews(request).await;
        let (listed, trouble) = troubled(listed.map(tonic::Response::into_inner))?;
        Ok(Self {
            rows: listed
                .numbers
                .iter()
                .map(|overview| Row::new(overview, now))
                .collect(),
            next: match listed.next_page_token.as_str() {
                "" => String::new(),
                token => {
                    let next = Asked {
                        brand: asked.brand.clone(),
                        page: token.to_owned(),
                    };
                    serde_urlencoded::to_string(next).unwrap_or_default()
                }
            },
            sees_all: session.caller.brand == ALL_BRANDS,
            is_filtered: *asked != Asked::default(),
            trouble,
        })
    }

    /// Numbers that send, and those that something stops.
    fn sums(&self) -> Vec<(&'static str, String, &'static str)> {
        let stopped = self.rows.iter().filter(|row| row.is_stopped()).count() as u64;
        let minutes = || self.rows.iter().flat_map(|row| &row.plot.minutes);
        let sent = minutes().map(|minute| minute.sent).sum();
        let received = minutes().map(|minute| minute.received).sum();
        let failed = minutes().map(|minute| minute.failed).sum();
        let held = self.rows.iter().map(|row| row.held).sum();
        let tone = |of: u64, tone: &'static str| if of > 0 { tone } else { "" };
        vec![
            ("numbers", count(self.rows.len() as u64), ""),
            ("with a stop", count(stopped), tone(stopped, "bad")),
            ("received in the last hour", count(received), ""),
            ("sent in the last hour", count(sent), ""),
            (
                "failed in the last hour",
                count(failed),
                tone(failed, "warn"),
            ),
            ("held for their customers", count(held), ""),
        ]
    }
}

/// What could be had, or why not. What concerns the session concerns the whole page.
fn troubled<T: Default>(had: Result<T, Status>) -> Result<(T, Option<Trouble>), Failure> {
    match had {
        Ok(had) => Ok((had, None)),
        Err(status) if status.code() == tonic::Code::Unauthenticated => Err(status.into()),
        Err(status) => Ok((T::default(), Some(status.into()))),
    }
}

async fn one(session: Session, Path(digits): Path<String>) -> Result<Response, Failure> {
    let number = e164(&digits)?;
    let now = session.now();
    let (part, record, days) = tokio::join!(
        NumberPart::load(&session, &number, now),
        record(&session, &number, now),
        days(&session, &number, now),
    );
    let frame = session.frame(PATH).live(format!("/numbers/{digits}/live"));
    Ok(show(&NumberPage {
        frame,
        number,
        part: part?,
        record: record.map_err(Trouble::from),
        days: days.map_err(Trouble::from),
    }))
}

async fn one_live(session: Session, Path(digits): Path<String>) -> Result<Response, Failure> {
    let number = e164(&digits)?;
    Ok(live::stream(session, move |session| {
        let number = number.clone();
        async move {
            let now = steady(session.now());
            render(&NumberPart::load(&session, &number, now).await?)
        }
    }))
}

impl NumberPart {
    async fn load(session: &Session, number: &str, now: Timestamp) -> Result<Self, Failure> {
        let (found, trouble) = troubled(overview(session, number).await.map(Some))?;
        Ok(Self {
            row: found.map(|overview| Row::new(&overview, now)),
            trouble,
            may_pause: session.may(Scope::Admin),
            may_lift: session.may(Scope::Send),
        })
    }
}

/// Where one number stands: the first that is told of it.
async fn overview(session: &Session, number: &str) -> Result<NumberOverview, Status> {
    let request = WatchNumberOverviewsRequest {
        number: number.to_owned(),
        ..WatchNumberOverviewsRequest::default()
    };
    let mut told = session
        .api()
        .figures()
        .watch_number_overviews(request)
        .await?
        .into_inner();
    let first = told.message().await?.unwrap_or_default();
    first
        .numbers
        .into_iter()
        .next()
        .ok_or_else(|| Status::not_found("no account has this number, or it is another brand's"))
}

async fn record(session: &Session, number: &str, now: Timestamp) -> Result<Record, Status> {
    let request = GetNumberRequest {
        number: number.to_owned(),
    };
    let found = session.api().accounts().get_number(request).await?;
    let found = found.into_inner();
    let number = found.number.unwrap_or_default();
    let standing = found.standing.unwrap_or_default();
    let health = standing.health.clone().unwrap_or_default();
    let health = health.facts.iter().map(|fact| Fact {
        kind: word(fact.kind().as_str_name(), "HEALTH_KIND"),
        value: fact.value.clone(),
        detail: fact.detail.clone(),
        when: When::of(fact.time.as_ref(), now),
    });
    let capabilities = standing.capabilities.iter().map(|capability| {
        let availability = capability.availability().as_str_name();
        let text = word(availability, "AVAILABILITY");
        let tone = match text.as_str() {
            "available" => "ok",
            _ => "quiet",
        };
        let name = capability.name.replace('_', " ").to_lowercase();
        (name, Chip::new(tone, text), capability.text.clone())
    });
    Ok(Record {
        facts: facts(&number, &standing),
        health: health.collect(),
        capabilities: capabilities.collect(),
    })
}

/// What stands on the account's record, as far as it says something.
fn facts(number: &Number, standing: &NumberStanding) -> Vec<(&'static str, String)> {
    let limit = match standing.messaging_limit {
        0 => String::new(),
        limit => format!("{} customers a day", count(limit.into())),
    };
    let connection = word(standing.connection().as_str_name(), "CONNECTION");
    let sms = number.sms.as_ref();
    let all = [
        ("Brand", number.brand_id.clone()),
        ("Connection", connection),
        ("Why it does not send", standing.text.clone()),
        ("Business account (WABA)", number.waba_id.clone()),
        ("Portfolio", number.portfolio_id.clone()),
        ("Id at the platform", number.phone_number_id.clone()),
        ("App", number.app.clone()),
        ("Messages a second", count(standing.throughput.into())),
        ("Messaging limit", limit),
        (
            "SMS goes out as",
            sms.map_or_else(String::new, |sms| sms.sender.clone()),
        ),
    ];
    all.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

async fn days(session: &Session, number: &str, now: Timestamp) -> Result<Vec<Day>, Status> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let start = today.checked_sub((DAYS - 1).days()).unwrap_or(today);
    let request = ListDailyFiguresRequest {
        filter: Some(FiguresFilter {
            number: number.to_owned(),
            start_date: start.to_string(),
            ..FiguresFilter::default()
        }),
        page_size: i32::try_from(DAYS).unwrap_or(i32::MAX),
        ..ListDailyFiguresRequest::default()
    };
    let mut figures = session.api().figures();
    let listed = figures.list_daily_figures(request).await?.into_inner();
    Ok(listed.days.iter().map(Day::new).collect())
}

impl Day {
    fn new(told: &DailyFigures) -> Self {
        let figures = told.figures.clone().unwrap_or_default();
        let of_routes = |of: fn(&casement_proto::figures::v1::RouteCount) -> u64| {
            count(figures.routes.iter().map(of).sum())
        };
        Self {
            date: told.date.clone(),
            received: count(figures.received_count),
            requested: count(figures.requested_count),
            sent: of_routes(|route| route.sent_count),
            delivered: of_routes(|route| route.delivered_count),
            failed: of_routes(|route| route.failed_count),
            held: count(figures.held_count),
            expired: count(figures.expired_unanswered_count),
        }
    }
}

async fn ask_pause(session: Session, Path(digits): Path<String>) -> Result<Response, Failure> {
    ask(&session, &digits, true).await
}

async fn ask_resume(session: Session, Path(digits): Path<String>) -> Result<Response, Failure> {
    ask(&session, &digits, false).await
}

async fn ask(session: &Session, digits: &str, pausing: bool) -> Result<Response, Failure> {
    let overview = overview(session, &e164(digits)?).await?;
    Ok(show(&PausePage {
        frame: session.frame(PATH),
        row: Row::new(&overview, session.now()),
        pausing,
        reason_chars_max: REASON_CHARS_MAX,
    }))
}

async fn pause(Path(digits): Path<String>, posted: Posted) -> Result<Response, Failure> {
    let number = e164(&digits)?;
    let request = PauseNumberRequest {
        number: number.clone(),
        reason: posted.fields.get("reason").to_owned(),
    };
    posted
        .session
        .api()
        .accounts()
        .pause_number(request)
        .await?;
    let told = Notice::good(format!(
        "{number} is paused: nothing is sent until it is resumed."
    ));
    Ok(posted.session.go(&format!("/numbers/{digits}"), told))
}

async fn resume(Path(digits): Path<String>, posted: Posted) -> Result<Response, Failure> {
    let number = e164(&digits)?;
    let request = ResumeNumberRequest {
        number: number.clone(),
    };
    posted
        .session
        .api()
        .accounts()
        .resume_number(request)
        .await?;
    let told = Notice::good(format!("{number} sends again."));
    Ok(posted.session.go(&format!("/numbers/{digits}"), told))
}

/// A number as the API has it, from the digits of a path.
fn e164(digits: &str) -> Result<String, Failure> {
    let is_number = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number {
        Ok(format!("+{digits}"))
    } else {
        Err(Failure::nothing_here())
    }
}

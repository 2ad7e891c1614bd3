//! Who did what: every act on accounts, messages, conversations and the record itself.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use casement_proto::audit::v1::{Act, ListActsRequest, ListActsResponse};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::super::Shared;
use super::super::page::{Failure, Frame, Trouble, show};
use super::super::session::Session;
use super::super::view::When;
use super::{PATH, Tab, Tabs};

/// Acts on one page.
const PAGE_SIZE: i32 = 50;

/// What the names of events begin with.
const EVENTS: &str = "casement.events.v1.";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    caller: String,
    author: String,
    /// A day, as in 2026-11-23.
    since: String,
    before: String,
    /// `yes` for requests of messages, too.
    requests: String,
    page: String,
}

#[derive(Template)]
#[template(path = "console/record.html")]
struct ActsPage {
    frame: Frame,
    tabs: Tabs,
    asked: Asked,
    rows: Vec<Row>,
    next: String,
    trouble: Option<Trouble>,
}

/// One act.
struct Row {
    when: Option<When>,
    who: String,
    author: String,
    what: String,
    target: String,
    number: String,
    brand: String,
    reason: String,
    place: String,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new().route(PATH, get(list))
}

async fn list(session: Session, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let now = session.now();
    let request = ListActsRequest {
        caller: asked.caller.trim().to_owned(),
        author: asked.author.trim().to_owned(),
        since_time: day(&asked.since)?,
        before_time: day(&asked.before)?,
        show_requests: asked.requests == "yes",
        page_size: PAGE_SIZE,
        page_token: asked.page.clone(),
        ..ListActsRequest::default()
    };
    let (listed, trouble) = match session.api().audit().list_acts(request).await {
        Ok(answer) => (answer.into_inner(), None),
        Err(status)
            if matches!(
                status.code(),
                Code::Unauthenticated | Code::PermissionDenied
            ) =>
        {
            return Err(status.into());
        }
        Err(status) => (ListActsResponse::default(), Some(status.into())),
    };
    let next = Asked {
        page: listed.next_page_token.clone(),
        ..asked.clone()
    };
    let next = serde_urlencoded::to_string(next).unwrap_or_default();
    Ok(show(&ActsPage {
        frame: session.frame(PATH),
        tabs: Tabs { current: Tab::Acts },
        asked,
        rows: listed.acts.iter().map(|act| Row::new(act, now)).collect(),
        next: if listed.next_page_token.is_empty() {
            String::new()
        } else {
            next
        },
        trouble,
    }))
}

/// The beginning of a day, UTC; none if none was named.
fn day(text: &str) -> Result<Option<prost_types::Timestamp>, Failure> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || Failure::wrong("This is no day", "Days are written as in 2026-11-23.");
    let date: Date = text.trim().parse().map_err(|_| wrong())?;
    let start = date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
    Ok(Some(prost_types::Timestamp {
        seconds: start.timestamp().as_second(),
        nanos: 0,
    }))
}

impl Row {
    fn new(act: &Act, now: Timestamp) -> Self {
        Self {
            when: When::of(act.time.as_ref(), now),
            who: act.caller.clone(),
            author: act.author.clone(),
            what: words(&act.event_type),
            target: act.target.clone(),
            number: act.number.clone(),
            brand: act.brand_id.clone(),
            reason: act.reason.clone(),
            place: format!("{} {}", act.stream, act.sequence),
        }
    }
}

/// `casement.events.v1.NumberPaused` as `Number paused`.
fn words(event_type: &str) -> String {
    let name = event_type.strip_prefix(EVENTS).unwrap_or(event_type);
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_uppercase() {
            words.push(' ');
        }
        if index == 0 {
            words.push(letter);
        } else {
            words.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_told_in_words() {
        assert_eq!(words("casement.events.v1.NumberPaused"), "Number paused");
        assert_eq!(words("casement.events.v1.SendsHalted"), "Sends halted");
        assert_eq!(words(""), "");
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(day(" ").unwrap(), None);
        assert_eq!(day("2026-01-02").unwrap().unwrap().seconds, 1_767_312_000);
        assert!(day("yesterday").is_err());
    }
}

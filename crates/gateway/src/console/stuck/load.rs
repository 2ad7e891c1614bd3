//! Finding stuck work, by the calls of the API that know of it.

use std::collections::HashMap;

use casement_proto::events::v1::MessageOutcome;
use casement_proto::figures::v1::{ListStuckWorkRequest, StuckItem, StuckKind};
use casement_proto::message::v1::{ListMessagesRequest, Message, MessageFilter};
use casement_proto::repair::v1::{
    DeadLetterEntry, ListDeadLettersRequest, ListParkedPostsRequest, ParkedPosts,
};
use jiff::{SignedDuration, Timestamp};
use tonic::Status;

use super::super::halts::HaltView;
use super::super::session::Session;
use super::super::view::{When, count, counted, word};
use super::Asked;
use super::kind::Kind;

/// Rows on one page.
const PAGE_SIZE: i32 = 50;

/// Rows of a page that nobody looks at.
const PAGE_SIZE_MAX: i32 = 500;

/// How far back failures are looked for.
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One thing that is stuck.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What an action names it by.
    pub(super) id: String,
    /// Its page, if it has one.
    pub(super) path: String,
    pub(super) title: String,
    pub(super) number: String,
    pub(super) brand: String,
    /// Why, for programs; may be empty.
    pub(super) reason: String,
    /// Why, for people; may be empty.
    pub(super) detail: String,
    pub(super) since: Option<When>,
    pub(super) until: Option<When>,
}

impl Row {
    /// In one line.
    pub(super) fn line(&self) -> String {
        let parts = [&self.title, &self.number, &self.reason];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(" · ")
    }
}

/// A page of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// What the next page begins with; empty on the last.
    pub(super) next: String,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) count: u64,
    /// There may be more.
    pub(super) or_more: bool,
}

impl Counted {
    pub(super) fn text(&self) -> String {
        let more = if self.or_more { "+" } else { "" };
        format!("{}{more}", count(self.count))
    }
}

/// Counts the kinds. What does not answer is left out.
pub(super) async fn counts(
    session: &Session,
    asked: &Asked,
    kinds: &[Kind],
) -> HashMap<Kind, Counted> {
    let exact = |count| Counted {
        count,
        or_more: false,
    };
    let listed = async {
        let mut figures = session.api().figures();
        let answer = figures
            .list_stuck_work(stuck(asked, Vec::new(), 1, ""))
            .await;
        let counts = answer.map_or_else(|_| Vec::new(), |answer| answer.into_inner().counts);
        let of_kind = |kind: &Kind| {
            let listed_as = kind.listed_as()?;
            // What is not named there is not there.
            let count = counts.iter().find(|count| count.kind() == listed_as);
            Some((*kind, exact(count.map_or(0, |count| count.count))))
        };
        let found: Vec<_> = kinds.iter().filter_map(of_kind).collect();
        if counts.is_empty() { Vec::new() } else { found }
    };
    let failed = async {
        let found = failed(session, asked, session.now(), (PAGE_SIZE, ""))
            .await
            .ok()?;
        let or_more = !found.next.is_empty();
        let count = found.rows.len() as u64;
        Some((Kind::Failed, Counted { count, or_more }))
    };
    let dead = async {
        kinds.contains(&Kind::Dead).then_some(())?;
        let request = ListDeadLettersRequest {
            page_size: 1,
            ..ListDeadLettersRequest::default()
        };
        let answer = session
            .api()
            .repair()
            .list_dead_letters(request)
            .await
            .ok()?;
        Some((Kind::Dead, exact(answer.get_ref().total_count)))
    };
    let parked = async {
        kinds.contains(&Kind::Parked).then_some(())?;
        let found = parked(session, session.now(), (PAGE_SIZE, "")).await.ok()?;
        let or_more = !found.next.is_empty();
        let count = found.rows.len() as u64;
        Some((Kind::Parked, Counted { count, or_more }))
    };
    let (listed, failed, dead, parked) = tokio::join!(listed, failed, dead, parked);
    listed
        .into_iter()
        .chain(failed)
        .chain(dead)
        .chain(parked)
        .collect()
}

/// One page of a kind.
pub(super) async fn rows(
    session: &Session,
    asked: &Asked,
    kind: Kind,
    now: Timestamp,
) -> Result<Rows, Status> {
    page(session, asked, kind, now, (PAGE_SIZE, &asked.page)).await
}

/// All of a kind, up to a number of them; `next` says whether there are more.
pub(super) async fn all(
    session: &Session,
    asked: &Asked,
    kind: Kind,
    rows_max: usize,
) -> Result<Rows, Status> {
    let mut all = Rows::default();
    loop {
        let begin = std::mem::take(&mut all.next);
        let from = (PAGE_SIZE_MAX, begin.as_str());
        let found = page(session, asked, kind, session.now(), from).await?;
        all.rows.extend(found.rows);
        all.next = found.next;
        if all.rows.len() > rows_max {
            all.rows.truncate(rows_max);
            "more".clone_into(&mut all.next);
        }
        if all.next.is_empty() || all.rows.len() >= rows_max {
            return Ok(all);
        }
    }
}

async fn page(
    session: &Session,
    asked: &Asked,
    kind: Kind,
    now: Timestamp,
    from: (i32, &str),
) -> Result<Rows, Status> {
    match (kind, kind.listed_as()) {
        (_, Some(listed_as)) => {
            let (page_size, page_token) = from;
            let request = stuck(asked, vec![listed_as.into()], page_size, page_token);
            let answer = session.api().figures().list_stuck_work(request).await?;
            let answer = answer.into_inner();
            Ok(Rows {
                rows: answer
                    .items
                    .iter()
                    .map(|item| Row::stuck(item, now))
                    .collect(),
                next: answer.next_page_token,
            })
        }
        (Kind::Dead, None) => dead(session, now, from).await,
        (Kind::Parked, None) => parked(session, now, from).await,
        (_, None) => failed(session, asked, now, from).await,
    }
}

fn stuck(asked: &Asked, kinds: Vec<i32>, page_size: i32, page_token: &str) -> ListStuckWorkRequest {
    ListStuckWorkRequest {
        brand_id: asked.brand.clone(),
        number: asked.number.clone(),
        kinds,
        page_size,
        page_token: page_token.to_owned(),
        ..ListStuckWorkRequest::default()
    }
}

async fn failed(
    session: &Session,
    asked: &Asked,
    now: Timestamp,
    (page_size, page_token): (i32, &str),
) -> Result<Rows, Status> {
    let outcomes = [
        MessageOutcome::Failed,
        MessageOutcome::Unknown,
        MessageOutcome::UnreachableBySms,
    ];
    // To the hour: what a page goes on from is bound to what was asked for.
    let since = now.as_second() - LATELY.as_secs();
    let since = since - since.rem_euclid(3_600);
    let request = ListMessagesRequest {
        filter: Some(MessageFilter {
            number: asked.number.clone(),
            outcomes: outcomes.map(i32::from).to_vec(),
            request_since_time: Some(prost_types::Timestamp {
                seconds: since,
                nanos: 0,
            }),
            ..MessageFilter::default()
        }),
        page_size,
        page_token: page_token.to_owned(),
        ..ListMessagesRequest::default()
    };
    let answer = session
        .api()
        .message_queries()
        .list_messages(request)
        .await?;
    let answer = answer.into_inner();
    Ok(Rows {
        rows: answer
            .messages
            .iter()
            .map(|message| Row::failed(message, now))
            .collect(),
        next: answer.next_page_token,
    })
}

async fn dead(
    session: &Session,
    now: Timestamp,
    (page_size, page_token): (i32, &str),
) -> Result<Rows, Status> {
    let request = ListDeadLettersRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..ListDeadLettersRequest::default()
    };
    let answer = session.api().repair().list_dead_letters(request).await?;
    let answer = answer.into_inner();
    Ok(Rows {
        rows: answer
            .letters
            .iter()
            .map(|letter| Row::dead(letter, now))
            .collect(),
        next: answer.next_page_token,
    })
}

async fn parked(
    session: &Session,
    now: Timestamp,
    (page_size, page_token): (i32, &str),
) -> Result<Rows, Status> {
    let request = ListParkedPostsRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..ListParkedPostsRequest::default()
    };
    let answer = session.api().repair().list_parked_posts(request).await?;
    let answer = answer.into_inner();
    Ok(Rows {
        rows: answer
            .numbers
            .iter()
            .map(|number| Row::parked(number, now))
            .collect(),
        next: answer.next_page_token,
    })
}

/// Where a message is shown.
fn message_path(id: &str) -> String {
    let query = serde_urlencoded::to_string([("id", id)]).unwrap_or_default();
    format!("/find?{query}")
}

impl Row {
    fn stuck(item: &StuckItem, now: Timestamp) -> Self {
        let row = Self {
            id: item.message_id.clone(),
            title: item.message_id.clone(),
            number: item.number.clone(),
            brand: item.brand_id.clone(),
            reason: item.reason.clone(),
            since: When::of(item.since_time.as_ref(), now),
            until: When::of(item.until_time.as_ref(), now),
            ..Self::default()
        };
        match (item.kind(), &item.halt) {
            (StuckKind::Halt, Some(halt)) => {
                let view = HaltView::new(halt, now);
                Self {
                    id: view.id,
                    title: view.what,
                    detail: format!("{}. {}", view.who, view.why).trim_end().to_owned(),
                    until: view.until.or(view.probe),
                    ..row
                }
            }
            (StuckKind::PausedNumber, _) => Self {
                id: item.number.clone(),
                path: format!("/numbers/{}", item.number.trim_start_matches('+')),
                title: item.number.clone(),
                number: String::new(),
                detail: item.reason.clone(),
                reason: String::new(),
                ..row
            },
            _ => Self {
                path: message_path(&item.message_id),
                ..row
            },
        }
    }

    fn failed(message: &Message, now: Timestamp) -> Self {
        let outcome = word(message.outcome().as_str_name(), "MESSAGE_OUTCOME");
        let error = message
            .attempts
            .iter()
            .rev()
            .find_map(|attempt| attempt.error.as_ref())
            .map(|error| {
                let said = [&error.message, &error.title]
                    .into_iter()
                    .find(|said| !said.is_empty());
                let said = said.map_or_else(String::new, |said| format!(": {said}"));
                format!(", {}{said}", error.code)
            });
        Self {
            id: message.message_id.clone(),
            path: message_path(&message.message_id),
            title: message.message_id.clone(),
            number: message.number.clone(),
            reason: message.outcome_reason.clone(),
            detail: format!("{outcome}{}", error.unwrap_or_default()),
            since: When::of(message.end_time.as_ref(), now),
            ..Self::default()
        }
    }

    fn dead(entry: &DeadLetterEntry, now: Timestamp) -> Self {
        let letter = entry.letter.clone().unwrap_or_default();
        let retried = match entry.last_retry_detail.as_str() {
            "" => String::new(),
            detail => format!("Retried: {detail}"),
        };
        Self {
            id: entry.sequence.to_string(),
            title: format!("{} at {}/{}", letter.role, letter.stream, letter.sequence),
            reason: letter.reason.clone(),
            detail: retried,
            since: When::of(entry.stored_time.as_ref(), now),
            ..Self::default()
        }
    }

    fn parked(posts: &ParkedPosts, now: Timestamp) -> Self {
        Self {
            id: posts.phone_number_id.clone(),
            title: format!("number id {}", posts.phone_number_id),
            detail: counted(posts.item_count, "item", "items"),
            since: When::of(posts.oldest_time.as_ref(), now),
            ..Self::default()
        }
    }
}

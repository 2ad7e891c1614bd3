//! The screen *Conversations*: who wrote, how long each may be answered freely, and whose it is.
//!
//! It shows what `ListConversations` says, in its order, page by page, and keeps it up to date.

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use casement_proto::account::v1::ListNumbersRequest;
use casement_proto::conversation::v1::{
    Conversation, ConversationStatus, Direction, ListConversationsRequest, RecentMessage,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::conversation_clock::ENDS_SOON;
use super::live;
use super::page::{Failure, Frame, show};
use super::session::Session;
use super::view::{Chip, Countdown, When, time};

/// Conversations on a page.
const PAGE_SIZE: i32 = 50;

/// Most numbers that the filter offers.
const NUMBERS_MAX: i32 = 500;

/// The API counts no further.
const UNREAD_COUNT_MAX: i32 = 100;

/// What was said last is shown up to here, in characters.
const TEXT_CHARS_MAX: usize = 140;

/// Where the screen is.
pub(super) const SCREEN: &str = "/conversations";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(SCREEN, get(list))
        .route("/conversations/live", get(list_live))
}

/// What is asked for, as it stands in the address: nothing personal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    #[serde(skip_serializing_if = "String::is_empty")]
    number: String,
    /// `open`, `expiring`, `locked` or `awaiting`.
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    /// `me`, `nobody`, `somebody`, or a colleague's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    assignee: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
    /// `unread`.
    #[serde(skip_serializing_if = "String::is_empty")]
    unread: String,
    /// `yes` for those that wait for an answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    waiting: String,
    /// `yes` for closed ones, `any` for all; else those that are not closed.
    #[serde(skip_serializing_if = "String::is_empty")]
    closed: String,
    /// `end` for the soonest end first, `waiting` for who waits longest; else the newest first.
    #[serde(skip_serializing_if = "String::is_empty")]
    order: String,
    /// Where the page begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    page: String,
}

impl Asked {
    fn request(&self, me: &str, now: Timestamp) -> ListConversationsRequest {
        let mut request = ListConversationsRequest {
            number: self.number.clone(),
            page_size: PAGE_SIZE,
            page_token: self.page.clone(),
            order_by: match self.order.as_str() {
                "end" => "expire_time".to_owned(),
                "waiting" => "waiting_since_time".to_owned(),
                _ => "heard_time desc".to_owned(),
            },
            labels: self.label.split_whitespace().map(str::to_owned).collect(),
            unread: (!self.unread.is_empty()).then_some(true),
            waiting: (!self.waiting.is_empty()).then_some(true),
            closed: match self.closed.as_str() {
                "any" => None,
                closed => Some(closed == "yes"),
            },
            ..ListConversationsRequest::default()
        };
        let statuses: &[ConversationStatus] = match self.status.as_str() {
            "open" => &[ConversationStatus::Open, ConversationStatus::Expiring],
            "soon" => {
                let until = now.saturating_add(ENDS_SOON).unwrap_or(Timestamp::MAX);
                request.expire_before_time = Some(prost_types::Timestamp {
                    seconds: until.as_second(),
                    nanos: 0,
                });
                &[ConversationStatus::Open, ConversationStatus::Expiring]
            }
            "locked" => &[
                ConversationStatus::Locked,
                ConversationStatus::AwaitingReply,
            ],
            "awaiting" => &[ConversationStatus::AwaitingReply],
            _ => &[],
        };
        request.statuses = statuses.iter().map(|status| (*status).into()).collect();
        match self.assignee.as_str() {
            "" => {}
            "nobody" => request.assigned = Some(false),
            "somebody" => request.assigned = Some(true),
            "me" => me.clone_into(&mut request.assignee),
            name => name.clone_into(&mut request.assignee),
        }
        request
    }

    fn address(&self, path: &str) -> String {
        match serde_urlencoded::to_string(self) {
            Ok(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path.to_owned(),
        }
    }

    fn is_narrowed(&self) -> bool {
        let all = Self {
            order: self.order.clone(),
            page: self.page.clone(),
            ..Self::default()
        };
        *self != all
    }
}

/// One conversation of the list.
struct Row {
    href: String,
    name: String,
    number: String,
    /// Who said the last thing, unless the customer did.
    by: &'static str,
    text: String,
    heard: Option<When>,
    waiting: Option<When>,
    countdown: Option<Countdown>,
    status: Chip,
    assignee: String,
    is_mine: bool,
    /// Such as `3 unread`; empty if nothing is.
    unread: String,
    is_closed: bool,
    labels: Vec<String>,
}

impl Row {
    fn new(of: &Conversation, me: &str, now: Timestamp) -> Self {
        let expires_at = time(of.expire_time.as_ref()).filter(|at| now < *at);
        let is_open = matches!(
            of.status(),
            ConversationStatus::Open | ConversationStatus::Expiring
        );
        let start = time(of.last_inbound_time.as_ref()).unwrap_or(now);
        let last = of.recent_messages.first();
        let text = match last {
            Some(last) if last.text.is_empty() => &last.kind,
            Some(last) => &last.text,
            None => &of.last_inbound_text,
        };
        Self {
            href: href(&of.number, &of.customer_id),
            name: name(of),
            number: of.number.clone(),
            by: match last.map(RecentMessage::direction) {
                Some(Direction::Outbound) => "We:",
                Some(Direction::Note) => "Note:",
                _ => "",
            },
            text: shortened(text),
            heard: When::of(of.last_inbound_time.as_ref(), now),
            waiting: When::of(of.waiting_since_time.as_ref(), now),
            countdown: expires_at
                .filter(|_| is_open)
                .map(|end| Countdown::new(start, end, now)),
            status: status_chip(of.status()),
            assignee: of.assignee.clone(),
            is_mine: !me.is_empty() && of.assignee == me,
            unread: match of.unread_count {
                _ if !of.unread => String::new(),
                0 => "unread".to_owned(),
                count if count >= UNREAD_COUNT_MAX => format!("{}+ unread", UNREAD_COUNT_MAX - 1),
                count => format!("{count} unread"),
            },
            is_closed: of.closed,
            labels: of.labels.clone(),
        }
    }
}

/// Where a conversation is: by ids that say nothing about anybody.
pub(super) fn href(number: &str, customer_id: &str) -> String {
    let digits = number.trim_start_matches('+');
    format!("{SCREEN}/{digits}/{customer_id}")
}

/// What a customer is called here.
pub(super) fn name(of: &Conversation) -> String {
    match of.profile_name.trim() {
        "" => {
            let end: String = of.customer_id.chars().rev().take(6).collect();
            let end: String = end.chars().rev().collect();
            format!("Customer …{end}")
        }
        name => name.to_owned(),
    }
}

pub(super) fn status_chip(of: ConversationStatus) -> Chip {
    match of {
        ConversationStatus::Open => Chip::new("ok", "open"),
        ConversationStatus::Expiring => Chip::new("warn", "ends soon"),
        ConversationStatus::AwaitingReply => Chip::new("quiet", "awaiting reply"),
        ConversationStatus::Locked | ConversationStatus::Unspecified => Chip::new("bad", "locked"),
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(TEXT_CHARS_MAX)
        .collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// A choice of a filter.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

fn choices(chosen: &str, of: &[(&str, &str)]) -> Vec<Choice> {
    of.iter()
        .map(|(value, label)| Choice {
            value: (*value).to_owned(),
            label: (*label).to_owned(),
            is_chosen: *value == chosen,
        })
        .collect()
}

#[derive(Template)]
#[template(path = "console/conversations.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: String,
    is_first: bool,
    first: String,
    is_narrowed: bool,
    numbers: Vec<Choice>,
    statuses: Vec<Choice>,
    assignees: Vec<Choice>,
    closed: Vec<Choice>,
    orders: Vec<Choice>,
    label: String,
    is_unread: bool,
    is_waiting: bool,
}

#[derive(Template)]
#[template(path = "console/conversations_list.html")]
struct Part {
    rows: Vec<Row>,
    next: String,
    is_first: bool,
    first: String,
    is_narrowed: bool,
}

/// What a list shows, and what stands for it.
struct Listed {
    rows: Vec<Row>,
    next: String,
    stamp: String,
}

async fn ask(session: &Session, asked: &Asked) -> Result<Listed, Failure> {
    let now = session.now();
    let me = &session.caller.name;
    let request = asked.request(me, now);
    let mut conversations = session.api().conversations();
    let answer = conversations
        .list_conversations(request)
        .await?
        .into_inner();
    let next = match answer.next_page_token.as_str() {
        "" => String::new(),
        token => Asked {
            page: token.to_owned(),
            ..asked.clone()
        }
        .address(SCREEN),
    };
    // What is shown changes with these, or with time, which the script follows.
    let is_open = answer.conversations.iter().map(|one| {
        let end = time(one.expire_time.as_ref());
        end.is_some_and(|end| now < end)
    });
    let stamp = format!(
        "{:?} {:?}",
        answer.conversations,
        is_open.collect::<Vec<_>>()
    );
    let rows = answer.conversations.iter();
    Ok(Listed {
        rows: rows.map(|one| Row::new(one, me, now)).collect(),
        next,
        stamp,
    })
}

fn first(asked: &Asked) -> String {
    Asked {
        page: String::new(),
        ..asked.clone()
    }
    .address(SCREEN)
}

async fn list(session: Session, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let api = session.api();
    let mut accounts = api.accounts();
    let request = ListNumbersRequest {
        page_size: NUMBERS_MAX,
        ..ListNumbersRequest::default()
    };
    let (listed, numbers) = tokio::join!(ask(&session, &asked), accounts.list_numbers(request));
    let listed = listed?;
    // Without them there is one filter less.
    let numbers = numbers.map(|numbers| numbers.into_inner().numbers);
    let mut offered = choices(&asked.number, &[("", "All numbers")]);
    offered.extend(numbers.unwrap_or_default().into_iter().map(|number| {
        let value = number.number;
        let label = match number.display_name.as_str() {
            "" => value.clone(),
            name => format!("{name} ({value})"),
        };
        Choice {
            is_chosen: value == asked.number,
            value,
            label,
        }
    }));
    let assignee = asked.assignee.as_str();
    let mut assignees = choices(
        assignee,
        &[
            ("", "Anybody or nobody"),
            ("me", "Me"),
            ("nobody", "Nobody"),
            ("somebody", "Somebody"),
        ],
    );
    if !assignees.iter().any(|choice| choice.is_chosen) {
        assignees.push(Choice {
            value: assignee.to_owned(),
            label: assignee.to_owned(),
            is_chosen: true,
        });
    }
    Ok(show(&Page {
        frame: session
            .frame(SCREEN)
            .live(asked.address("/conversations/live")),
        rows: listed.rows,
        next: listed.next,
        is_first: asked.page.is_empty(),
        first: first(&asked),
        is_narrowed: asked.is_narrowed(),
        numbers: offered,
        statuses: choices(
            &asked.status,
            &[
                ("", "Any window"),
                ("open", "Open"),
                ("soon", "Ends within 2 h"),
                ("locked", "Locked"),
                ("awaiting", "Awaiting reply"),
            ],
        ),
        assignees,
        closed: choices(
            &asked.closed,
            &[("", "Not closed"), ("yes", "Closed"), ("any", "All")],
        ),
        orders: choices(
            &asked.order,
            &[
                ("", "Newest first"),
                ("end", "Window ends first"),
                ("waiting", "Waiting longest"),
            ],
        ),
        label: asked.label.clone(),
        is_unread: !asked.unread.is_empty(),
        is_waiting: !asked.waiting.is_empty(),
    }))
}

async fn list_live(session: Session, Query(asked): Query<Asked>) -> Response {
    let shown = Arc::new(Mutex::new((String::new(), String::new())));
    live::stream(session, move |session| {
        let (asked, shown) = (asked.clone(), shown.clone());
        async move {
            let listed = ask(&session, &asked).await?;
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.0 != listed.stamp {
                let part = Part {
                    rows: listed.rows,
                    next: listed.next,
                    is_first: asked.page.is_empty(),
                    first: first(&asked),
                    is_narrowed: asked.is_narrowed(),
                };
                let html = part.render().unwrap_or_default();
                *shown = (listed.stamp, html);
            }
            Ok(shown.1.clone())
        }
    })
}

#[cfg(test)]
#[path = "conversations_tests.rs"]
mod tests;

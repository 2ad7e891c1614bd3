//! The search box of *Conversations*: by words that were said, or by a phone.
//!
//! It is posted, since what is looked for may be personal, and addresses are kept by browsers and
//! proxies.

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::post;
use casement_proto::account::v1::ListNumbersRequest;
use casement_proto::conversation::v1::{
    Direction, GetConversationRequest, SearchRequest, SearchResult, SnippetMark,
};
use casement_proto::window::v1::window_result::Result as Answered;
use casement_proto::window::v1::{
    BatchGetWindowsRequest, CustomerRef, GetWindowRequest, customer_ref,
};
use jiff::Timestamp;

use super::Shared;
use super::conversations::{SCREEN, href, name};
use super::page::{Failure, Frame, show};
use super::post::Posted;
use super::session::Session;
use super::view::When;

/// Results on a page.
const PAGE_SIZE: i32 = 50;

/// Most numbers that a phone is looked for at.
const NUMBERS_MAX: i32 = 500;

/// A phone has at least so many digits.
const PHONE_DIGITS_MIN: usize = 7;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/conversations/search", post(search))
}

/// Something that was said and fits.
#[derive(Debug, PartialEq, Eq)]
struct Hit {
    href: String,
    number: String,
    who: &'static str,
    kind: String,
    at: Option<When>,
    pieces: Vec<Piece>,
}

/// A part of what was said, looked for or not.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    is_marked: bool,
}

/// A customer who has this phone.
struct Person {
    href: String,
    name: String,
    number: String,
}

#[derive(Template)]
#[template(path = "console/conversations_found.html")]
struct Page {
    frame: Frame,
    query: String,
    hits: Vec<Hit>,
    people: Vec<Person>,
    next: String,
}

/// Cuts a snippet at its marks, whatever they say.
fn pieces(snippet: &str, marks: &[SnippetMark]) -> Vec<Piece> {
    let is_marked = |index: usize| {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        marks
            .iter()
            .any(|mark| mark.start <= index && index < mark.end)
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, char) in snippet.chars().enumerate() {
        let is_marked = is_marked(index);
        match pieces.last_mut() {
            Some(last) if last.is_marked == is_marked => last.text.push(char),
            _ => pieces.push(Piece {
                text: char.to_string(),
                is_marked,
            }),
        }
    }
    pieces
}

impl Hit {
    fn new(of: &SearchResult, now: Timestamp) -> Self {
        Self {
            href: href(&of.number, &of.customer_id),
            number: of.number.clone(),
            who: match of.direction() {
                Direction::Inbound | Direction::Unspecified => "customer",
                Direction::Outbound => "business",
                Direction::Note => "note",
            },
            kind: of.kind.clone(),
            at: When::of(of.time.as_ref(), now),
            pieces: pieces(&of.snippet, &of.marks),
        }
    }
}

/// The phone that was typed, as E.164; nothing, if it is no phone.
fn phone(query: &str) -> Option<String> {
    let is_plain = query
        .chars()
        .all(|char| char.is_ascii_digit() || " +-()./".contains(char));
    let digits: String = query.chars().filter(char::is_ascii_digit).collect();
    (is_plain && digits.len() >= PHONE_DIGITS_MIN).then(|| format!("+{digits}"))
}

async fn search(posted: Posted) -> Result<Response, Failure> {
    let Posted { session, fields } = posted;
    let query = fields.get("query").to_owned();
    let now = session.now();
    let mut page = Page {
        frame: session.frame(SCREEN),
        hits: Vec::new(),
        people: Vec::new(),
        next: String::new(),
        query,
    };
    if page.query.is_empty() {
        return Ok(show(&page));
    }
    if let Some(phone) = phone(&page.query) {
        page.people = people(&session, &phone).await?;
    }
    let request = SearchRequest {
        query: page.query.clone(),
        page_size: PAGE_SIZE,
        page_token: fields.get("page").to_owned(),
        ..SearchRequest::default()
    };
    let answer = session.api().conversations().search(request).await?;
    let answer = answer.into_inner();
    page.hits = answer
        .results
        .iter()
        .map(|one| Hit::new(one, now))
        .collect();
    page.next = answer.next_page_token;
    Ok(show(&page))
}

/// Who has this phone, at each of the numbers that the caller may see.
async fn people(session: &Session, phone: &str) -> Result<Vec<Person>, Failure> {
    let api = session.api();
    let request = ListNumbersRequest {
        page_size: NUMBERS_MAX,
        ..ListNumbersRequest::default()
    };
    let numbers = api.accounts().list_numbers(request).await?.into_inner();
    let requests = numbers.numbers.into_iter().map(|number| GetWindowRequest {
        number: number.number,
        customer: Some(CustomerRef {
            customer: Some(customer_ref::Customer::To(phone.to_owned())),
        }),
        not_before: String::new(),
    });
    let request = BatchGetWindowsRequest {
        requests: requests.collect(),
    };
    let answer = api.windows().batch_get_windows(request).await?.into_inner();
    let mut people = Vec::new();
    for result in answer.results {
        let Some(Answered::Window(window)) = result.result else {
            continue;
        };
        if window.customer_id.is_empty() {
            continue;
        }
        let request = GetConversationRequest {
            number: window.number,
            customer_id: window.customer_id,
            not_before: String::new(),
        };
        // Known to another number of the portfolio alone, there is no conversation here.
        let found = api.conversations().get_conversation(request).await;
        let found = found.ok().and_then(|found| found.into_inner().conversation);
        people.extend(found.map(|found| Person {
            href: href(&found.number, &found.customer_id),
            name: name(&found),
            number: found.number,
        }));
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_told_from_words() {
        for (typed, found) in [
            ("+1 (555) 000-2222", Some("+15550002222")),
            ("15550002222", Some("+15550002222")),
            ("order 7", None),
            ("123456", None),
            ("2026-11-22", Some("+20261122")),
            ("", None),
        ] {
            assert_eq!(phone(typed).as_deref(), found, "{typed}");
        }
    }

    #[test]
    fn a_snippet_is_cut_at_its_marks_by_characters() {
        let mark = |start, end| SnippetMark { start, end };
        let cut = |text: &str, marks: &[SnippetMark]| -> Vec<(String, bool)> {
            let pieces = pieces(text, marks);
            pieces
                .into_iter()
                .map(|it| (it.text, it.is_marked))
                .collect()
        };
        assert_eq!(
            cut("für <b>Äpfel</b>", &[mark(7, 12)]),
            [
                ("für <b>".to_owned(), false),
                ("Äpfel".to_owned(), true),
                ("</b>".to_owned(), false)
            ]
        );
        assert_eq!(cut("ab", &[mark(1, 99)]).len(), 2);
        assert_eq!(cut("ab", &[mark(5, 2)]), [("ab".to_owned(), false)]);
        assert!(cut("", &[mark(0, 1)]).is_empty());
    }
}

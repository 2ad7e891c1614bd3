//! `Search`: what was said, found by its words.
//!
//! The index says which events have all the words; whether they stand as they are looked for is
//! told from the text, which is opened here and nowhere kept.

use casement_domain::id::CustomerId;
use casement_event::convert::{instant, timestamp};
use casement_event_log::Position;
use casement_proto::conversation::v1 as proto;
use casement_proto::conversation::v1::Direction;
use casement_shell::auth::{Caller, Scope};
use casement_shell::grpc::bad_field;
use tonic::Status;

use super::{Backend, bad_token, brand_of, e164, number, optional, page_size, unanswered};
use crate::page;
use crate::said::said;
use crate::store::{EventKey, Found, SearchFilter, SearchKey};
use crate::words::{self, Search};

const PAGE_LEN: usize = 20;
const PAGE_LEN_MAX: usize = 100;

/// How much is read at once.
const ROWS_AT_ONCE: usize = 100;

/// How much is read for one page. What is found so far is answered then, with where to go on.
const ROWS_MAX: usize = 1_000;

/// Where a page ends: place, stream, incarnation, sequence.
type PageKey = (i64, String, String, u64);

/// Answers `Search`.
pub(super) async fn answer(
    backend: &Backend,
    caller: &Caller,
    request: &proto::SearchRequest,
) -> Result<proto::SearchResponse, Status> {
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let search =
        Search::parse(&request.query).map_err(|error| bad_field("query", error.to_string()))?;
    let filter = filter(caller, &search, request)?;
    // Phrases are not part of the filter.
    let question = format!("{search:?} {filter:?}");
    let question = [question.as_str()];
    let before = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
    let mut before = before.map(|(place, stream, incarnation, sequence)| SearchKey {
        place,
        event: EventKey {
            stream,
            incarnation,
            sequence,
        },
    });
    backend.reach(&request.not_before).await?;

    let mut results = Vec::new();
    let mut rows_read = 0;
    let has_more = loop {
        let found = backend
            .store
            .search(&filter, before.as_ref(), ROWS_AT_ONCE)
            .await
            .map_err(|error| unanswered(&error))?;
        let is_last = found.len() < ROWS_AT_ONCE;
        rows_read += found.len();
        let mut rest = found.into_iter();
        for one in rest.by_ref() {
            results.extend(result(&search, &one));
            before = Some(one.key);
            if results.len() == rows_max {
                break;
            }
        }
        if results.len() == rows_max || is_last || rows_read >= ROWS_MAX {
            break !is_last || rest.next().is_some();
        }
    };
    let next_page_token = before.filter(|_| has_more).map(|before| {
        let event = before.event;
        let key: PageKey = (
            before.place,
            event.stream,
            event.incarnation,
            event.sequence,
        );
        page::token(&question, key)
    });
    Ok(proto::SearchResponse {
        results,
        next_page_token: next_page_token.unwrap_or_default(),
    })
}

fn filter(
    caller: &Caller,
    search: &Search,
    request: &proto::SearchRequest,
) -> Result<SearchFilter, Status> {
    let brand_id = brand_of(caller)?;
    let number = match request.number.as_str() {
        "" => None,
        text => Some(number(text)?.digits().to_owned()),
    };
    let customer_id = optional(request.customer_id.clone());
    if let Some(customer_id) = &customer_id {
        CustomerId::parse(customer_id)
            .map_err(|error| bad_field("customer_id", error.to_string()))?;
    }
    let directions = request.directions.iter().map(|asked| {
        Direction::try_from(*asked)
            .ok()
            .filter(|direction| *direction != Direction::Unspecified)
            .ok_or_else(|| bad_field("directions", "names what is no direction"))
    });
    let mut directions = directions.collect::<Result<Vec<_>, Status>>()?;
    if directions.is_empty() {
        directions = vec![Direction::Inbound, Direction::Outbound, Direction::Note];
    }
    if !caller.scopes.contains(&Scope::Colleague) {
        directions.retain(|direction| *direction != Direction::Note);
        if directions.is_empty() {
            return Err(bad_field(
                "directions",
                "asks for notes, which takes the scope `colleague`",
            ));
        }
    }
    let time = |field, stored: Option<&prost_types::Timestamp>| {
        instant(field, stored).map_err(|error| bad_field(field, error.to_string()))
    };
    Ok(SearchFilter {
        terms: search.terms().into_iter().collect(),
        number,
        customer_id,
        brand_id,
        directions,
        since: time("since_time", request.since_time.as_ref())?,
        before: time("before_time", request.before_time.as_ref())?,
    })
}

/// Returns what is shown of something that has all the words; nothing if they do not stand as
/// they were looked for, or nobody can read it any more.
fn result(search: &Search, found: &Found) -> Option<proto::SearchResult> {
    let row = found.row.as_ref()?;
    let said = said(&row.stored, &row.event()?)?;
    let places = search.find(&said.text)?;
    let (snippet, marks) = words::snippet(&said.text, &places);
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let marks = marks.into_iter().map(|mark| proto::SnippetMark {
        start: place(mark.start),
        end: place(mark.end),
    });
    let stored = &row.stored;
    Some(proto::SearchResult {
        number: e164(&said.key.number),
        customer_id: said.key.customer_id,
        direction: said.direction.into(),
        kind: said.kind,
        snippet,
        marks: marks.collect(),
        time: Some(timestamp(row.index.event_time)),
        stored_time: Some(timestamp(stored.stored_at)),
        message_id: said.message_id,
        event_id: row.index.event_id.clone(),
        position: Position {
            stream: stored.stream.clone(),
            incarnation: stored.incarnation.clone(),
            sequence: stored.sequence,
        }
        .to_string(),
    })
}

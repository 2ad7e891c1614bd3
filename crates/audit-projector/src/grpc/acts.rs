//! Who did what, as the archive has it.

use casement_event::Event;
use casement_event::convert::{instant, timestamp};
use casement_proto::audit::v1 as proto;
use casement_shell::grpc::bad_field;
use tonic::Status;

use super::{Backend, bad_token, e164, one_brand, optional, page_size, unanswered};
use crate::acts::REQUEST;
use crate::store::{ActFilter, Acted};
use crate::{model, page};

const PAGE_LEN: usize = 50;
const PAGE_LEN_MAX: usize = 500;

/// Most types that are asked for at once.
const TYPES_MAX: usize = 50;

/// Where a page ends: the time of an act in nanoseconds, and its name.
type PageKey = (i64, String);

/// Answers a request for acts. `own` is the caller's brand, if they act for one alone.
pub(super) async fn answer(
    backend: &Backend,
    own: Option<String>,
    request: &proto::ListActsRequest,
) -> Result<proto::ListActsResponse, Status> {
    let read = |field, stored: Option<&prost_types::Timestamp>| {
        instant(field, stored).map_err(|error| bad_field(field, error.to_string()))
    };
    if request.event_types.len() > TYPES_MAX {
        return Err(bad_field(
            "event_types",
            format!("are more than {TYPES_MAX}"),
        ));
    }
    let unknown = |name: &&String| !Event::TYPES.contains(&name.as_str());
    if let Some(name) = request.event_types.iter().find(unknown) {
        return Err(bad_field(
            "event_types",
            format!("`{name}` is no event's type"),
        ));
    }
    let shows_requests =
        request.show_requests || request.event_types.iter().any(|name| name == REQUEST);
    let filter = ActFilter {
        brand_id: one_brand(own, &request.brand_id)?,
        caller: optional(request.caller.clone()),
        author: optional(request.author.clone()),
        event_types: request.event_types.clone(),
        without_type: (!shows_requests).then_some(REQUEST),
        since: read("since_time", request.since_time.as_ref())?,
        until: read("before_time", request.before_time.as_ref())?,
    };
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let question = format!("{filter:?}");
    let question = ["acts", question.as_str()];
    let before = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
    let generation = backend.figures(&request.not_before).await?;
    let store = &backend.store;
    let found = store
        .acts(generation, &filter, before.as_ref(), rows_max + 1)
        .await;
    let mut found = found.map_err(|error| unanswered(&error))?;
    let has_more = found.len() > rows_max;
    found.truncate(rows_max);
    let last = found.last().filter(|_| has_more);
    let next_page_token = last.map(|last| page::token(&question, (last.time_ns, last.act.clone())));
    Ok(proto::ListActsResponse {
        acts: found.into_iter().map(shown).collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    })
}

fn shown(of: Acted) -> proto::Act {
    proto::Act {
        event_type: of.event_type,
        time: Some(timestamp(model::instant(of.time_ns))),
        caller: of.caller,
        author: of.author,
        brand_id: of.brand_id,
        number: e164(&of.number),
        target: of.target,
        reason: of.reason,
        stream: of.stream,
        incarnation: of.incarnation,
        sequence: of.sequence,
    }
}

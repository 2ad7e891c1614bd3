//! `GetRawWebhook`: the post that an event came from, as it was received.
//!
//! It reads `RAW`, which forgets by age, at the place that the event names. A post may hold items
//! of several brands: who acts for one gets the event's own item and no neighbour.

use casement_event::convert::timestamp;
use casement_event::subject::{SHOWN_WEBHOOKS, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Log, Position};
use casement_proto::message::v1 as proto;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse};
use jiff::SignedDuration;
use prost::Message as _;
use serde_json::Value;
use tonic::{Code, Status};

use super::{Backend, brand_of, unanswered};
use crate::erasure::SOURCE;
use crate::model::Row;
use crate::store::{EventFilter, EventKey, Limit};

/// For how long `RAW` has a post, unless somebody set it otherwise.
pub(super) const RAW_KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Answers `GetRawWebhook`.
pub(super) async fn answer(
    backend: &Backend,
    log: &Log,
    caller: &Caller,
    request: &proto::GetRawWebhookRequest,
) -> Result<proto::GetRawWebhookResponse, Status> {
    let brand_id = brand_of(caller)?;
    let position: Position = request
        .position
        .parse()
        .map_err(|error| bad_field("position", format!("{error}")))?;
    let filter = EventFilter {
        stream: Some(position.stream.clone()),
        incarnation: Some(position.incarnation.clone()),
        brand_id: brand_id.clone(),
        sequence_max: Some(position.sequence),
        ..EventFilter::default()
    };
    let before = EventKey {
        stream: position.stream,
        incarnation: position.incarnation,
        sequence: position.sequence.saturating_sub(1),
    };
    let one = Limit {
        rows_max: 1,
        bytes_max: usize::MAX,
    };
    let page = backend.store.events(&filter, Some(&before), one).await;
    let page = page.map_err(|error| unanswered(&error))?;
    let row = page.rows.first().ok_or_else(|| {
        let text = "no event stands at this position, or not of this brand";
        refuse(Code::NotFound, "EVENT_NOT_FOUND", text)
    })?;
    let event = row.event();
    let origin = event.as_ref().and_then(origin).ok_or_else(|| {
        let text = "this event came by no webhook, or cannot be read any more";
        refuse(Code::NotFound, "NO_WEBHOOK", text)
    })?;
    let post = find(log, origin).await?;
    let body = match &brand_id {
        None => post.body.to_vec(),
        Some(_) => item(&post.body, &origin.path).ok_or_else(|| {
            let text = "the event's item in this post cannot be told from its neighbours: it takes \
                        a token whose brand is `*`";
            refuse(Code::PermissionDenied, "SHARED_POST", text)
        })?,
    };
    let is_whole = brand_id.is_none();
    record(backend, log, caller, row, is_whole).await?;
    Ok(proto::GetRawWebhookResponse {
        body,
        whole_post: is_whole,
        received_time: post.received_time,
        app: post.app,
        query: if is_whole { post.query } else { String::new() },
        path: origin.path.clone(),
    })
}

/// Puts on record who looks at what customers wrote, before they see it.
async fn record(
    backend: &Backend,
    log: &Log,
    caller: &Caller,
    row: &Row,
    is_whole: bool,
) -> Result<(), Status> {
    let now = backend.clock.now();
    let shown = v1::RawWebhookShown {
        caller: caller.name.clone(),
        brand_id: row.index.brand_id.clone(),
        number: row.index.number.clone(),
        event_id: row.index.event_id.clone(),
        stream: row.stored.stream.clone(),
        incarnation: row.stored.incarnation.clone(),
        sequence: row.stored.sequence,
        whole_post: is_whole,
        time: Some(timestamp(now)),
    };
    let subject = SHOWN_WEBHOOKS.to_owned();
    let record = Record::new(subject, Uuid::new_v4(), SOURCE, now, shown);
    let appended = log.append(record, Expect::Anything).await;
    appended.map(drop).map_err(|error| {
        tracing::warn!(%error, "raw webhook is not shown: it could not be recorded");
        let text = "that it is shown could not be recorded, so it is not shown";
        refuse(Code::Unavailable, "LOG_UNAVAILABLE", text)
    })
}

async fn find(log: &Log, origin: &v1::RawOrigin) -> Result<v1::RawPost, Status> {
    let gone = || {
        let text = "RAW no longer has this post: it keeps posts for 14 days";
        refuse(Code::NotFound, "WEBHOOK_GONE", text)
    };
    let stored = log.get(stream::RAW, origin.sequence).await;
    let stored = stored.map_err(|error| {
        tracing::warn!(%error, "raw webhook cannot be read");
        refuse(
            Code::Unavailable,
            "LOG_UNAVAILABLE",
            "log does not answer at present",
        )
    })?;
    let pack = v1::RawPack::decode(stored.ok_or_else(gone)?.payload).map_err(|_| gone())?;
    let place = usize::try_from(origin.post).map_err(|_| gone())?;
    pack.posts.into_iter().nth(place).ok_or_else(gone)
}

/// Returns where on `RAW` an event came from; nothing if it came by no webhook.
pub(super) fn origin(event: &Event) -> Option<&v1::RawOrigin> {
    match event {
        Event::InboundMessageReceived(event) => event.origin.as_ref(),
        Event::InboundCallReceived(event) => event.origin.as_ref(),
        Event::InboundSmsReceived(event) => event.origin.as_ref(),
        Event::CustomerIdentityChanged(event) => event.origin.as_ref(),
        Event::CustomerPreferenceReported(event) => event.origin.as_ref(),
        Event::ThreadOwnerChanged(event) => event.origin.as_ref(),
        Event::EchoReceived(event) => event.origin.as_ref(),
        Event::StatusReported(event) => event.origin.as_ref(),
        Event::WebhookUnrecognized(event) => event.origin.as_ref(),
        _ => None,
    }
}

/// Returns what stands at a path of a post of JSON, such as `entry[0].changes[1].value`.
fn item(body: &[u8], path: &str) -> Option<Vec<u8>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut found = &body;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, places) = step.split_once('[').unwrap_or((step, ""));
        if !name.is_empty() {
            found = found.get(name)?;
        }
        for place in places.split('[').filter(|place| !place.is_empty()) {
            let place: usize = place.strip_suffix(']')?.parse().ok()?;
            found = found.get(place)?;
        }
    }
    let is_item = !path.is_empty();
    is_item.then(|| serde_json::to_vec(found).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_told_from_its_neighbours() {
        let body = br#"{"entry":[{"changes":[{"v":1},{"value":{"messages":[7,8]}}]}]}"#;
        let of = |path| item(body, path).map(|item| String::from_utf8(item).unwrap());
        assert_eq!(
            of("entry[0].changes[1].value.messages[1]").as_deref(),
            Some("8")
        );
        assert_eq!(of("entry[0].changes[0]").as_deref(), Some(r#"{"v":1}"#));
        for nothing in ["", "entry[1]", "entry[x]", "entry[0", "other"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        assert_eq!(item(b"no JSON", "entry[0]"), None);
    }
}

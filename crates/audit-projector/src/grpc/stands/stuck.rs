//! What does not go on by itself, or not now.

use casement_event::convert;
use casement_event::v1;
use casement_proto::figures::v1 as proto;
use casement_proto::figures::v1::StuckKind;
use casement_proto::message::v1::MessageState;
use tonic::Status;

use super::numbers::Records;
use super::{PAGE_LEN, PAGE_LEN_MAX};
use crate::grpc::{Backend, bad_token, e164, number, one_brand, page_size, time, unanswered};
use crate::model::{Message, instant, nanoseconds};
use crate::page;
use crate::store::{Error, MessageFilter, RequestKey};
use casement_shell::grpc::bad_field;

const KINDS: [StuckKind; 6] = [
    StuckKind::Halt,
    StuckKind::PausedNumber,
    StuckKind::HeldMessage,
    StuckKind::UnknownOutcome,
    StuckKind::DeferredMessage,
    StuckKind::KeptBackMessage,
];

/// Where a page ends: after so many of what are no messages; or after a message, by the time of its
/// request and its id.
type PageKey = (usize, Option<(i64, String)>);

fn states(kind: StuckKind) -> &'static [MessageState] {
    match kind {
        StuckKind::HeldMessage => &[MessageState::Held],
        StuckKind::UnknownOutcome => &[MessageState::Unknown],
        StuckKind::DeferredMessage => &[MessageState::Deferred],
        StuckKind::KeptBackMessage => {
            &[MessageState::HeldForQualityAssessment, MessageState::Paused]
        }
        StuckKind::Halt | StuckKind::PausedNumber | StuckKind::Unspecified => &[],
    }
}

fn kind_of(state: MessageState) -> StuckKind {
    let of_messages = KINDS.into_iter();
    let mut of_messages = of_messages.filter(|kind| states(*kind).contains(&state));
    of_messages.next().unwrap_or_default()
}

pub(super) async fn list(
    backend: &Backend,
    own: Option<String>,
    request: proto::ListStuckWorkRequest,
) -> Result<proto::ListStuckWorkResponse, Status> {
    let kinds = request
        .kinds()
        .filter(|kind| *kind != StuckKind::Unspecified);
    let mut kinds: Vec<StuckKind> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < request.kinds.len() {
        return Err(bad_field(
            "kinds",
            "names a kind twice, or one that there is not",
        ));
    }
    if kinds.is_empty() {
        kinds = KINDS.to_vec();
    }
    let brand_id = one_brand(own, &request.brand_id)?;
    let only = match request.number.as_str() {
        "" => None,
        text => Some(number(text)?.digits().to_owned()),
    };
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let words: Vec<&str> = kinds.iter().map(StuckKind::as_str_name).collect();
    let words = words.join(" ");
    let question = [
        brand_id.as_deref().unwrap_or("*"),
        only.as_deref().unwrap_or_default(),
        &words,
    ];
    let after = page::key::<PageKey>(&question, &request.page_token).map_err(bad_token)?;
    let (skipped, after) = after.unwrap_or_default();
    let generation = backend.figures(&request.not_before).await?;
    let now = backend.clock.now();
    let answer = async {
        let records = Records::read(backend, generation, now).await?;
        let stops = stops(&records, &kinds, brand_id.as_deref(), only.as_deref());
        let mut counts = Vec::new();
        for kind in &kinds {
            let count = match states(*kind) {
                [] => stops.iter().filter(|stop| stop.kind() == *kind).count() as u64,
                states => {
                    let store = &backend.store;
                    store
                        .count_messages(brand_id.as_ref(), only.as_ref(), states)
                        .await?
                }
            };
            counts.push(proto::StuckCount {
                kind: (*kind).into(),
                count,
            });
        }
        let stop_count = stops.len();
        let mut items: Vec<_> = stops.into_iter().skip(skipped).take(rows_max).collect();
        let mut next = (skipped + items.len() < stop_count).then(|| (skipped + items.len(), None));
        let states: Vec<MessageState> = kinds
            .iter()
            .flat_map(|kind| states(*kind))
            .copied()
            .collect();
        if next.is_none() && !states.is_empty() {
            let filter = MessageFilter {
                brand_id: brand_id.clone(),
                number: only.clone(),
                states,
                ..MessageFilter::default()
            };
            let before = after.map(|(at, message_id)| RequestKey {
                request_time: instant(at),
                message_id,
            });
            let places = rows_max - items.len();
            let store = &backend.store;
            let mut messages = store.messages(&filter, before.as_ref(), places + 1).await?;
            if messages.len() > places {
                messages.truncate(places);
                let key = messages
                    .last()
                    .map(|last| (last.request_time.map_or(0, nanoseconds), last.id.clone()));
                let key = key
                    .or_else(|| before.map(|key| (nanoseconds(key.request_time), key.message_id)));
                next = Some((stop_count, key));
            }
            items.extend(messages.iter().map(stuck));
        }
        let next_page_token = next.map(|key: PageKey| page::token(&question, key));
        Ok(proto::ListStuckWorkResponse {
            items,
            next_page_token: next_page_token.unwrap_or_default(),
            counts,
        })
    };
    answer.await.map_err(|error: Error| unanswered(&error))
}

/// Halts and paused numbers.
fn stops(
    records: &Records,
    kinds: &[StuckKind],
    brand_id: Option<&str>,
    only: Option<&str>,
) -> Vec<proto::StuckItem> {
    let mut stops = Vec::new();
    let numbers = || {
        records.numbers.values().filter(|number| {
            brand_id.is_none_or(|brand_id| number.brand_id == brand_id)
                && only.is_none_or(|only| number.number == only)
        })
    };
    if kinds.contains(&StuckKind::Halt) {
        for halt in &records.halts {
            let is_theirs = brand_id.is_none_or(|brand_id| halt.brand_id == brand_id);
            let is_meant = is_theirs && only.is_none();
            if is_meant || numbers().any(|number| Records::reaches(halt, number)) {
                stops.push(of_halt(halt));
            }
        }
    }
    if kinds.contains(&StuckKind::PausedNumber) {
        stops.extend(
            numbers()
                .filter(|number| number.paused)
                .map(|number| proto::StuckItem {
                    kind: StuckKind::PausedNumber.into(),
                    brand_id: number.brand_id.clone(),
                    number: e164(&number.number),
                    reason: number.pause_reason.clone(),
                    ..proto::StuckItem::default()
                }),
        );
    }
    stops
}

fn of_halt(halt: &v1::Halt) -> proto::StuckItem {
    let number = match halt.scope() {
        v1::HaltScope::Number => e164(&halt.key),
        _ => String::new(),
    };
    let reason = match &halt.error {
        Some(error) => error.code.to_string(),
        None => halt.reason.clone(),
    };
    proto::StuckItem {
        kind: StuckKind::Halt.into(),
        brand_id: halt.brand_id.clone(),
        number,
        reason,
        since_time: halt.since_time,
        until_time: halt.until_time,
        halt: Some(halt.clone()),
        ..proto::StuckItem::default()
    }
}

fn stuck(message: &Message) -> proto::StuckItem {
    let deferral = message.deferral.as_ref();
    let reason = deferral.map_or(&message.reason, |deferral| &deferral.cause);
    let until = deferral.and_then(|deferral| deferral.until_time);
    let until = until.or_else(|| message.expire_time.map(convert::timestamp));
    proto::StuckItem {
        kind: kind_of(message.state).into(),
        brand_id: message.brand_id.clone(),
        number: e164(&message.key.number),
        message_id: message.id.clone(),
        customer_id: message.key.customer_id.clone(),
        reason: reason.clone(),
        since_time: time(message.update_time),
        until_time: until,
        halt: None,
    }
}

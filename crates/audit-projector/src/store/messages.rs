//! Questions about messages, for every database alike, and how what is kept of one is written.

use casement_event::convert;
use casement_proto::message::v1 as proto;
use jiff::Timestamp;

use super::sql::{self, Query, Value};
use super::{Error, MessageFilter, RequestKey, sealed};
use crate::keys::CustomerKeys;
use crate::model::{Message, nanoseconds};

/// Asks for messages, the newest request first.
pub(super) fn listed(
    keys: &CustomerKeys,
    filter: &MessageFilter,
    before: Option<&RequestKey>,
    rows_max: usize,
) -> Result<Query, Error> {
    let has_digests_only = keys.has_digests_only();
    let values = |term: &String| {
        let digest = Value::Text(sealed::term(keys, term)?);
        let before = (!has_digests_only).then(|| Value::Text(term.clone()));
        Ok::<_, Error>(std::iter::once(digest).chain(before))
    };
    let (is_term, has_term) = if has_digests_only {
        ("t.term = ?", sql::HAS_TERM)
    } else {
        ("t.term IN (?, ?)", sql::HAS_TERM_OR_PLAIN)
    };
    let mut terms = filter.terms.iter();
    let by_term = terms.next();
    let mut query = Query::new(if by_term.is_some() {
        sql::MESSAGES_BY_TERM
    } else {
        sql::MESSAGES
    });
    if let Some(term) = by_term {
        query.and(is_term, values(term)?);
    }
    for term in terms {
        query.and(has_term, values(term)?);
    }
    query.and_text("m.brand_id = ?", filter.brand_id.as_ref());
    query.and_text("m.number = ?", filter.number.as_ref());
    query.and_text("m.customer_id = ?", filter.customer_id.as_ref());
    query.and_text("m.reason = ?", filter.reason.as_ref());
    let states: Vec<i32> = filter.states.iter().map(|one| i32::from(*one)).collect();
    query.and_any("m.state", &states);
    let outcomes: Vec<i32> = filter.outcomes.iter().map(|one| i32::from(*one)).collect();
    query.and_any("m.outcome", &outcomes);
    let (since, until, key, order) = if by_term.is_some() {
        (
            "t.request_time_ns >= ?",
            "t.request_time_ns < ?",
            "(t.request_time_ns, t.message_id) < (?, ?)",
            "t.request_time_ns DESC, t.message_id DESC",
        )
    } else {
        (
            "m.request_time_ns >= ?",
            "m.request_time_ns < ?",
            "(m.request_time_ns, m.message_id) < (?, ?)",
            "m.request_time_ns DESC, m.message_id DESC",
        )
    };
    let time = |at: Timestamp| [Value::Integer(nanoseconds(at))];
    if let Some(min) = filter.request_time_min {
        query.and(since, time(min));
    }
    if let Some(end) = filter.request_time_end {
        query.and(until, time(end));
    }
    if let Some(before) = before {
        let [at] = time(before.request_time);
        query.and(key, [at, Value::Text(before.message_id.clone())]);
    }
    query.order(order, rows_max);
    Ok(query)
}

/// What a message cost so far, and in which currency; nothing if none of its attempts has a price.
pub(super) fn cost(message: &Message) -> (i64, &str) {
    let costs = message.attempts.iter().filter_map(|it| it.cost.as_ref());
    let amounts: Vec<_> = costs.filter_map(|cost| cost.amount.as_ref()).collect();
    let micros = amounts.iter().map(|amount| amount.micros);
    let micros = micros.fold(0, |sum: i64, one| {
        sum.saturating_add(i64::try_from(one).unwrap_or(i64::MAX))
    });
    let currency = amounts.first().map(|amount| amount.currency.as_str());
    (micros, currency.unwrap_or_default())
}

/// What is kept of a message and looked up by nothing.
pub(super) fn details(message: &Message) -> Vec<u8> {
    let details = proto::Message {
        client_reference: message.client_reference.clone(),
        labels: message.labels.clone(),
        sensitive: message.is_sensitive,
        send_time: message.send_time.map(convert::timestamp),
        attempts: message.attempts.clone(),
        deferral: message.deferral.clone(),
        double_exposure: message.double_exposure.clone(),
        nudge_message_id: message.nudge_message_id.clone(),
        held_message_id: message.held_message_id.clone(),
        ..proto::Message::default()
    };
    prost::Message::encode_to_vec(&details)
}

/// Where a message stands in the order of requests, as it is written.
pub(super) fn requested_ns(message: &Message) -> i64 {
    message.request_time.map_or(0, nanoseconds)
}

//! Questions about conversations: which SQL asks them, for every database alike.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use casement_domain::conversation::{Handling, Status};
use casement_event::convert;
use casement_event::v1::WindowState;
use jiff::Timestamp;

use super::backend::{event_key, integer};
use super::sql::{self, NEVER_NS, NOT_YET_NS, Query, Value};
use super::{ConversationFilter, ListKey, Order, TimelineKey};
use crate::model::{Conversation, ConversationKey, nanoseconds};
use crate::tally::{AsOf, Tally};

/// How many conversations may move while somebody pages through a list.
const MOVED_MAX: usize = 5_000;

/// Whether those are all.
pub(super) fn are_all_moved(moved: &[Conversation]) -> bool {
    moved.len() <= MOVED_MAX
}

const IS_OPEN: &str = "window_state = ? AND expire_time_ns > ?";
const IS_LOCKED: &str = "(window_state <> ? OR expire_time_ns <= ?)";

/// [`casement_domain::conversation::Course::status`], in SQL; the suite compares the two.
const IS_OPEN_YET: &str = "window_state = ? AND expire_time_ns > ? AND is_end_announced = FALSE";
const IS_EXPIRING: &str = "window_state = ? AND expire_time_ns > ? AND is_end_announced = TRUE";
const IS_AWAITING: &str = "(window_state <> ? OR expire_time_ns <= ?)
    AND template_time_ns > ? AND template_time_ns >= lock_time_ns
    AND (last_inbound_time_ns IS NULL OR last_inbound_time_ns < template_time_ns)";
const IS_LOCKED_ONLY: &str = "(window_state <> ? OR expire_time_ns <= ?)
    AND NOT (template_time_ns > ? AND template_time_ns >= lock_time_ns
    AND (last_inbound_time_ns IS NULL OR last_inbound_time_ns < template_time_ns))";

const HAS_LABEL: &str = "EXISTS (
    SELECT 1 FROM conversation_labels l
    WHERE l.label = ? AND l.number = conversations.number
        AND l.customer_id = conversations.customer_id AND l.is_set = TRUE
)";

/// The newest mentions first, so that a page of a colleague's is read and not all of them.
const MENTIONED: &str = "(stream, incarnation, sequence) IN (
    SELECT m.stream, m.incarnation, m.sequence FROM mentions m
    WHERE m.colleague = ?
        AND (m.stored_time_ns, m.stream, m.incarnation, m.sequence) < (?, ?, ?, ?)
    ORDER BY m.stored_time_ns DESC, m.stream DESC, m.incarnation DESC, m.sequence DESC LIMIT ?
)";
const MENTIONED_OF_BRAND: &str = "(stream, incarnation, sequence) IN (
    SELECT m.stream, m.incarnation, m.sequence FROM mentions m
    WHERE m.colleague = ? AND m.brand_id = ?
        AND (m.stored_time_ns, m.stream, m.incarnation, m.sequence) < (?, ?, ?, ?)
    ORDER BY m.stored_time_ns DESC, m.stream DESC, m.incarnation DESC, m.sequence DESC LIMIT ?
)";

/// A time that comes last until it is known, as it is written.
pub(super) fn never_or(time: Option<Timestamp>) -> i64 {
    time.map_or(NEVER_NS, nanoseconds)
}

/// A time that comes first until it is known, as it is written.
pub(super) fn not_yet_or(time: Option<Timestamp>) -> i64 {
    time.map_or(NOT_YET_NS, nanoseconds)
}

/// What is looked up of how a conversation is handled, and all of it, as it is written.
pub(super) struct Columns {
    pub(super) assignee: String,
    pub(super) closed_through_ns: i64,
    pub(super) read_through_ns: i64,
    pub(super) whole: Vec<u8>,
}

impl Columns {
    pub(super) fn of(handling: &Handling) -> Self {
        let assignee = handling.assignee().map(ToString::to_string);
        let closing = handling.closing.as_ref();
        let whole = convert::colleague::handling(handling);
        Self {
            assignee: assignee.unwrap_or_default(),
            closed_through_ns: not_yet_or(closing.map(|closing| closing.through)),
            read_through_ns: not_yet_or(handling.read_through),
            whole: prost::Message::encode_to_vec(&whole),
        }
    }
}

/// What is looked up of what is counted of a conversation, and all of it, as it is written.
pub(super) struct Tallied {
    pub(super) unread_count: i64,
    pub(super) waiting_since_ns: i64,
    pub(super) thread_owner: i32,
    pub(super) moved_sequence: i64,
    pub(super) moved_time_ns: i64,
    pub(super) whole: Vec<u8>,
}

impl Tallied {
    pub(super) fn of(tally: &Tally) -> Self {
        let (moved_sequence, moved_time_ns) = tally.last_move();
        Self {
            unread_count: i64::try_from(tally.unread_count()).unwrap_or(i64::MAX),
            waiting_since_ns: never_or(tally.waiting_since()),
            thread_owner: tally.thread_owner().into(),
            moved_sequence: integer(moved_sequence),
            moved_time_ns,
            whole: serde_json::to_vec(tally).expect("numbers are JSON"),
        }
    }
}

/// Asks for one conversation.
pub(super) fn one(key: &ConversationKey) -> Query {
    let mut query = Query::new(sql::CONVERSATION_COLUMNS);
    query.and_text("number = ?", Some(&key.number));
    query.and_text("customer_id = ?", Some(&key.customer_id));
    query
}

/// Asks for conversations in an order.
pub(super) fn listed(
    filter: &ConversationFilter,
    after: Option<&ListKey>,
    rows_max: usize,
) -> Query {
    let mut query = narrowed(filter);
    if let Some(as_of) = filter.as_of {
        query.and(
            "(moved_sequence <= ? OR moved_time_ns <= ?)",
            moved_since(as_of),
        );
    }
    in_order(&mut query, filter.order, after);
    let order = match filter.order {
        Order::Expiry => "expire_time_ns, number, customer_id",
        Order::Heard => "heard_time_ns DESC, number DESC, customer_id DESC",
        Order::Waiting => "waiting_since_ns, number, customer_id",
    };
    query.order(order, rows_max);
    query
}

fn moved_since(as_of: AsOf) -> [Value; 2] {
    [
        Value::Integer(integer(as_of.sequence)),
        Value::Integer(nanoseconds(as_of.since())),
    ]
}

/// Asks for conversations that have moved since a list began.
pub(super) fn moved(filter: &ConversationFilter, as_of: AsOf) -> Query {
    let mut query = narrowed(filter);
    query.and(
        "moved_sequence > ? AND moved_time_ns > ?",
        moved_since(as_of),
    );
    query.order("moved_sequence", MOVED_MAX.saturating_add(1));
    query
}

/// Puts conversations that have moved where they stood when the list began.
pub(super) fn merge(
    rows: &mut Vec<Conversation>,
    moved: Vec<Conversation>,
    filter: &ConversationFilter,
    after: Option<&ListKey>,
    rows_max: usize,
) {
    let is_descending = filter.order == Order::Heard;
    let compare = |one: &ListKey, other: &ListKey| {
        let place = |key: &ListKey| (key.place, key.key.clone());
        let order = place(one).cmp(&place(other));
        if is_descending {
            order.reverse()
        } else {
            order
        }
    };
    // One may have moved after it was read at its place.
    let known: BTreeSet<_> = rows.iter().map(|row| row.key.clone()).collect();
    let mut listed: Vec<(ListKey, Conversation)> = rows
        .drain(..)
        .chain(moved.into_iter().filter(|row| !known.contains(&row.key)))
        .filter_map(|row| Some((ListKey::of(&row, filter)?, row)))
        .filter(|(key, _)| after.is_none_or(|after| compare(key, after) == Ordering::Greater))
        .collect();
    listed.sort_by(|(one, _), (other, _)| compare(one, other));
    listed.truncate(rows_max);
    rows.extend(listed.into_iter().map(|(_, row)| row));
}

/// Asks for all that is meant, in no order.
fn narrowed(filter: &ConversationFilter) -> Query {
    let mut query = Query::new(sql::CONVERSATION_COLUMNS);
    let numbers = filter.numbers.iter();
    let numbers = numbers.map(|number| ("number = ?", vec![Value::Text(number.clone())]));
    query.and_one_of(numbers.collect());
    query.and_text("brand_id = ?", filter.brand_id.as_ref());
    let open = || {
        let open = Value::Integer(i64::from(i32::from(WindowState::Open)));
        [open, Value::Integer(nanoseconds(filter.now))]
    };
    match filter.window_state {
        Some(WindowState::Open) => query.and(IS_OPEN, open()),
        Some(WindowState::Closed) => query.and(IS_LOCKED, open()),
        Some(WindowState::Unspecified) | None => {}
    }
    let with_template = || {
        let [state, now] = open();
        vec![state, now, Value::Integer(NOT_YET_NS)]
    };
    let status = |status: &Status| match status {
        Status::Open => (IS_OPEN_YET, open().to_vec()),
        Status::Expiring => (IS_EXPIRING, open().to_vec()),
        Status::Locked => (IS_LOCKED_ONLY, with_template()),
        Status::AwaitingReply => (IS_AWAITING, with_template()),
    };
    query.and_one_of(filter.statuses.iter().map(status).collect());
    query.and_text("assignee = ?", filter.assignee.as_ref());
    match filter.is_assigned {
        Some(true) => query.and("assignee <> ''", []),
        Some(false) => query.and("assignee = ''", []),
        None => {}
    }
    match filter.is_unread {
        Some(true) => query.and("heard_time_ns > read_through_time_ns", []),
        Some(false) => query.and("heard_time_ns <= read_through_time_ns", []),
        None => {}
    }
    let not_yet = || [Value::Integer(NOT_YET_NS)];
    match filter.is_closed {
        Some(true) => query.and(
            "closed_through_time_ns > ? AND heard_time_ns <= closed_through_time_ns",
            not_yet(),
        ),
        Some(false) => query.and(
            "(closed_through_time_ns = ? OR heard_time_ns > closed_through_time_ns)",
            not_yet(),
        ),
        None => {}
    }
    for label in &filter.labels {
        query.and_text(HAS_LABEL, Some(label));
    }
    if let Some(expire_time_max) = filter.expire_time_max {
        query.and(
            "expire_time_ns <= ?",
            [Value::Integer(nanoseconds(expire_time_max))],
        );
    }
    let time = |at: Timestamp| [Value::Integer(nanoseconds(at))];
    if let Some(start) = filter.expire_time_start {
        query.and("expire_time_ns > ?", time(start));
        query.and("expire_time_ns < ?", [Value::Integer(NEVER_NS)]);
    }
    match filter.is_waiting {
        Some(true) => query.and("waiting_since_ns < ?", [Value::Integer(NEVER_NS)]),
        Some(false) => query.and("waiting_since_ns = ?", [Value::Integer(NEVER_NS)]),
        None => {}
    }
    if let Some(max) = filter.waiting_since_max {
        query.and("waiting_since_ns <= ?", time(max));
    }
    let owners: Vec<i32> = filter
        .thread_owners
        .iter()
        .map(|one| i32::from(*one))
        .collect();
    query.and_any("thread_owner", &owners);
    query
}

fn in_order(query: &mut Query, order: Order, after: Option<&ListKey>) {
    let Some(after) = after else { return };
    let key = [
        Value::Integer(after.place),
        Value::Text(after.key.number.clone()),
        Value::Text(after.key.customer_id.clone()),
    ];
    match order {
        Order::Expiry => query.and("(expire_time_ns, number, customer_id) > (?, ?, ?)", key),
        Order::Heard => {
            query.and("(heard_time_ns, number, customer_id) < (?, ?, ?)", key);
        }
        Order::Waiting => {
            query.and("(waiting_since_ns, number, customer_id) > (?, ?, ?)", key);
        }
    }
}

/// Asks for the notes that mention a colleague, newest first.
pub(super) fn mentioning(
    colleague: &str,
    brand_id: Option<&str>,
    before: Option<&TimelineKey>,
    rows_max: usize,
) -> Query {
    let rows_max = rows_max.saturating_add(1);
    let before = match before {
        None => [
            Value::Integer(NEVER_NS),
            Value::Text(String::new()),
            Value::Text(String::new()),
            Value::Integer(0),
        ],
        Some(before) => {
            let [stream, incarnation, sequence] = event_key(&before.event);
            let stored = Value::Integer(nanoseconds(before.stored_time));
            [stored, stream, incarnation, sequence]
        }
    };
    let limit = Value::Integer(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let mut query = Query::new(sql::ROW_COLUMNS);
    let colleague = Value::Text(colleague.to_owned());
    let values = std::iter::once(colleague);
    match brand_id {
        None => query.and(MENTIONED, values.chain(before).chain([limit])),
        Some(brand_id) => {
            let brand_id = Value::Text(brand_id.to_owned());
            let values = values.chain([brand_id]).chain(before).chain([limit]);
            query.and(MENTIONED_OF_BRAND, values);
        }
    }
    let order = "stored_time_ns DESC, stream DESC, incarnation DESC, sequence DESC";
    query.order(order, rows_max);
    query
}

//! The statements, in SQL that SQLite and PostgreSQL both read: numbered parameters, `ON CONFLICT`,
//! row values, no functions of one of them alone. What only one of them can do stands beside its
//! backend.

/// The value that stands for "never": it comes after every time.
pub(super) const NEVER_NS: i64 = i64::MAX;

/// The value that stands for "not yet": it comes before every time.
pub(super) const NOT_YET_NS: i64 = i64::MIN;

pub(super) const HEAD: &str = "\
SELECT stream, incarnation, last_sequence, link, row_count
FROM archive_heads WHERE stream = $1 AND incarnation = $2";

pub(super) const HEADS: &str = "\
SELECT stream, incarnation, last_sequence, link, row_count
FROM archive_heads ORDER BY stream, incarnation";

/// Does nothing if another writer began the chain first.
pub(super) const BEGIN_CHAIN: &str = "\
INSERT INTO archive_heads (stream, incarnation, last_sequence, link, row_count)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, incarnation) DO NOTHING";

/// Does nothing if the chain stands elsewhere than it was thought to.
pub(super) const ADVANCE_CHAIN: &str = "\
UPDATE archive_heads SET last_sequence = $3, link = $4, row_count = $5
WHERE stream = $1 AND incarnation = $2 AND last_sequence = $6 AND link = $7 AND row_count = $8";

pub(super) const CHAIN_OF_ROW: &str = "SELECT stream, incarnation FROM archive";

/// With each row comes its owner's key, so that both are of the same moment: what was destroyed by
/// then opens nothing. [`crate::keys::owner_of`] says the same as this.
pub(super) const ROW_COLUMNS: &str = "\
SELECT stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment, link,
    (SELECT k.wrapped FROM customer_keys k
        WHERE k.owner = CASE WHEN archive.customer_id = '' THEN '~' || archive.stream
            ELSE archive.customer_id END) AS owner_key
FROM archive";

/// The start of a statement that writes whole conversations; where they come from goes between
/// it and its end.
macro_rules! conversations_from {
    ($source:literal) => {
        concat!(
            "INSERT INTO conversations (
    number, customer_id, brand_id, window_id, window_state, closed_reason, open_time_ns,
    expire_time_ns, last_inbound_time_ns, last_outbound_time_ns, last_inbound_text,
    profile_name, inbound_count, outbound_count, position_stream, position_incarnation,
    position_sequence, is_end_announced, lock_time_ns, heard_time_ns, template_time_ns,
    template_attempt, assignee, closed_through_time_ns, read_through_time_ns, handling,
    handled_incarnation, handled_sequence, sealed, unread_count, waiting_since_ns, thread_owner,
    moved_sequence, moved_time_ns, tally
) ",
            $source,
            "
ON CONFLICT (number, customer_id) DO UPDATE SET
    brand_id = EXCLUDED.brand_id,
    window_id = EXCLUDED.window_id,
    window_state = EXCLUDED.window_state,
    closed_reason = EXCLUDED.closed_reason,
    open_time_ns = EXCLUDED.open_time_ns,
    expire_time_ns = EXCLUDED.expire_time_ns,
    last_inbound_time_ns = EXCLUDED.last_inbound_time_ns,
    last_outbound_time_ns = EXCLUDED.last_outbound_time_ns,
    last_inbound_text = EXCLUDED.last_inbound_text,
    profile_name = EXCLUDED.profile_name,
    inbound_count = EXCLUDED.inbound_count,
    outbound_count = EXCLUDED.outbound_count,
    position_stream = EXCLUDED.position_stream,
    position_incarnation = EXCLUDED.position_incarnation,
    position_sequence = EXCLUDED.position_sequence,
    is_end_announced = EXCLUDED.is_end_announced,
    lock_time_ns = EXCLUDED.lock_time_ns,
    heard_time_ns = EXCLUDED.heard_time_ns,
    template_time_ns = EXCLUDED.template_time_ns,
    template_attempt = EXCLUDED.template_attempt,
    assignee = EXCLUDED.assignee,
    closed_through_time_ns = EXCLUDED.closed_through_time_ns,
    read_through_time_ns = EXCLUDED.read_through_time_ns,
    handling = EXCLUDED.handling,
    handled_incarnation = EXCLUDED.handled_incarnation,
    handled_sequence = EXCLUDED.handled_sequence,
    sealed = EXCLUDED.sealed,
    unread_count = EXCLUDED.unread_count,
    waiting_since_ns = EXCLUDED.waiting_since_ns,
    thread_owner = EXCLUDED.thread_owner,
    moved_sequence = EXCLUDED.moved_sequence,
    moved_time_ns = EXCLUDED.moved_time_ns,
    tally = EXCLUDED.tally"
        )
    };
}

/// The same for messages.
macro_rules! messages_from {
    ($source:literal) => {
        concat!(
            "INSERT INTO messages (
    message_id, number, customer_id, brand_id, state, outcome, reason, delivery_status,
    attempt_count, route, client_reference, request_time_ns, expire_time_ns, update_time_ns,
    end_time_ns, is_purged, details, position_stream, position_incarnation, position_sequence,
    cost_micros, cost_currency, sealed
) ",
            $source,
            "
ON CONFLICT (message_id) DO UPDATE SET
    number = EXCLUDED.number,
    customer_id = EXCLUDED.customer_id,
    brand_id = EXCLUDED.brand_id,
    state = EXCLUDED.state,
    outcome = EXCLUDED.outcome,
    reason = EXCLUDED.reason,
    delivery_status = EXCLUDED.delivery_status,
    attempt_count = EXCLUDED.attempt_count,
    route = EXCLUDED.route,
    client_reference = EXCLUDED.client_reference,
    request_time_ns = EXCLUDED.request_time_ns,
    expire_time_ns = EXCLUDED.expire_time_ns,
    update_time_ns = EXCLUDED.update_time_ns,
    end_time_ns = EXCLUDED.end_time_ns,
    is_purged = EXCLUDED.is_purged,
    details = EXCLUDED.details,
    position_stream = EXCLUDED.position_stream,
    position_incarnation = EXCLUDED.position_incarnation,
    position_sequence = EXCLUDED.position_sequence,
    cost_micros = EXCLUDED.cost_micros,
    cost_currency = EXCLUDED.cost_currency,
    sealed = EXCLUDED.sealed"
        )
    };
}
pub(super) use {conversations_from, messages_from};

macro_rules! conversation_columns {
    () => {
        "SELECT number, customer_id, brand_id, window_id, window_state, closed_reason, open_time_ns,
    expire_time_ns, last_inbound_time_ns, last_outbound_time_ns, last_inbound_text,
    profile_name, inbound_count, outbound_count, position_stream, position_incarnation,
    position_sequence, is_end_announced, lock_time_ns, heard_time_ns, template_time_ns,
    template_attempt, handling, handled_incarnation, handled_sequence, sealed, tally,
    (SELECT c.consents FROM customer_consents c WHERE c.customer_id = conversations.customer_id)
        AS consents,
    (SELECT k.wrapped FROM customer_keys k WHERE k.owner = conversations.customer_id) AS owner_key
FROM conversations"
    };
}

macro_rules! message_columns {
    () => {
        "SELECT m.message_id, m.number, m.customer_id, m.brand_id, m.state, m.outcome, m.reason,
    m.delivery_status, m.attempt_count, m.route, m.client_reference, m.request_time_ns,
    m.expire_time_ns, m.update_time_ns, m.end_time_ns, m.is_purged, m.details, m.position_stream,
    m.position_incarnation, m.position_sequence, m.sealed,
    (SELECT k.wrapped FROM customer_keys k
        WHERE k.owner = CASE WHEN m.customer_id = '' THEN '~MESSAGES' ELSE m.customer_id END
    ) AS owner_key
FROM messages m"
    };
}
pub(super) use {conversation_columns, message_columns};

pub(super) const CONVERSATION_COLUMNS: &str = conversation_columns!();

pub(super) const MESSAGE: &str = concat!(message_columns!(), " WHERE m.message_id = $1");

pub(super) const MESSAGES: &str = message_columns!();

/// By a term first: it stands in the order of requests, too, so that a page of the messages of a
/// large campaign is read and not the campaign.
pub(super) const MESSAGES_BY_TERM: &str = concat!(
    message_columns!(),
    " JOIN message_terms t ON t.message_id = m.message_id"
);

/// One more term that a message must have.
pub(super) const HAS_TERM: &str = "EXISTS (
    SELECT 1 FROM message_terms o
    WHERE o.term = ? AND o.request_time_ns = m.request_time_ns AND o.message_id = m.message_id
)";

/// The same while terms from before there were keys may stand there.
pub(super) const HAS_TERM_OR_PLAIN: &str = "EXISTS (
    SELECT 1 FROM message_terms o
    WHERE o.term IN (?, ?)
        AND o.request_time_ns = m.request_time_ns AND o.message_id = m.message_id
)";

pub(super) const ENDED_MESSAGES: &str = "\
SELECT message_id, end_time_ns FROM messages
WHERE is_purged = FALSE AND end_time_ns < $1 AND (end_time_ns, message_id) > ($2, $3)
ORDER BY end_time_ns, message_id LIMIT $4";

pub(super) const MARK_PURGED: &str = "\
UPDATE messages SET is_purged = TRUE WHERE message_id = $1 AND position_sequence <= $2";

/// What a brand asked for between two times, counted by what became of it.
pub(super) const FIGURES: &str = "\
SELECT state, outcome, route, delivery_status, cost_currency, COUNT(*) AS message_count,
    CAST(SUM(cost_micros) AS BIGINT) AS cost_micros
FROM messages
WHERE brand_id = $1 AND request_time_ns >= $2 AND request_time_ns < $3
GROUP BY state, outcome, route, delivery_status, cost_currency";

pub(super) const NUMBERS: &str = "SELECT number, brand_id FROM conversations";

/// How many windows of a brand are open at a time.
pub(super) const OPEN_WINDOWS: &str = "\
SELECT COUNT(*) AS window_count FROM conversations
WHERE brand_id = $1 AND window_state = $2 AND expire_time_ns > $3";

/// A parameter of a statement that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Bytes(Vec<u8>),
}

/// A query that is put together from constant pieces; what callers say goes in as parameters.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Query {
    /// A statement that is complete.
    pub(super) fn whole(statement: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            sql: statement.to_owned(),
            values: values.into_iter().collect(),
        }
    }

    pub(super) fn new(select: &'static str) -> Self {
        Self {
            sql: format!("{select}\nWHERE 1 = 1"),
            values: Vec::new(),
        }
    }

    /// Adds a condition, in which each `?` stands for the next value.
    pub(super) fn and(&mut self, condition: &'static str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.append(condition, values);
    }

    fn append(&mut self, condition: &'static str, values: impl IntoIterator<Item = Value>) {
        let mut values = values.into_iter();
        for char in condition.chars() {
            if char != '?' {
                self.sql.push(char);
                continue;
            }
            self.values.extend(values.next());
            self.sql.push('$');
            self.sql.push_str(&self.values.len().to_string());
        }
    }

    /// Adds that one of some conditions holds, if any are given.
    pub(super) fn and_one_of(&mut self, conditions: Vec<(&'static str, Vec<Value>)>) {
        if conditions.is_empty() {
            return;
        }
        self.and("(FALSE", []);
        for (condition, values) in conditions {
            self.append(" OR (", []);
            self.append(condition, values);
            self.append(")", []);
        }
        self.append(")", []);
    }

    /// Adds a condition on text if there is one.
    pub(super) fn and_text(&mut self, condition: &'static str, value: Option<&String>) {
        if let Some(value) = value {
            self.and(condition, [Value::Text(value.clone())]);
        }
    }

    /// Adds that a column holds one of some numbers, if any are given.
    pub(super) fn and_any(&mut self, column: &'static str, any: &[i32]) {
        if any.is_empty() {
            return;
        }
        self.sql.extend([" AND ", column, " IN ("]);
        for (place, number) in any.iter().enumerate() {
            self.values.push(Value::Integer(i64::from(*number)));
            let parameter = self.values.len().to_string();
            self.sql
                .extend([if place == 0 { "$" } else { ", $" }, &parameter]);
        }
        self.sql.push(')');
    }

    /// Ends the query.
    pub(super) fn order(&mut self, by: &'static str, rows_max: usize) {
        let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
        self.values.push(Value::Integer(rows_max));
        let place = self.values.len().to_string();
        self.sql.extend([" ORDER BY ", by, " LIMIT $", &place]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parameters_and_never_part_of_the_text() {
        let mut query = Query::new("SELECT a FROM t");
        query.and_text("b = ?", Some(&"'; DROP".to_owned()));
        query.and_text("c = ?", None);
        query.and("(d, e) > (?, ?)", [Value::Integer(1), Value::Integer(2)]);
        query.and_any("f", &[]);
        query.and_any("g", &[7, 8]);
        query.and_one_of(Vec::new());
        query.and_one_of(vec![("h", Vec::new()), ("i = ?", vec![Value::Integer(9)])]);
        query.order("d", 10);
        assert_eq!(
            query.sql,
            "SELECT a FROM t\nWHERE 1 = 1 AND b = $1 AND (d, e) > ($2, $3) AND g IN ($4, $5) \
             AND (FALSE OR (h) OR (i = $6)) ORDER BY d LIMIT $7"
        );
        assert_eq!(query.values.len(), 7);
    }
}

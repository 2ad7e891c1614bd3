//! The statements, in SQL that SQLite and PostgreSQL both read: numbered parameters, `ON CONFLICT
//! DO NOTHING`, row values, no functions of one of them alone.

/// The value that stands for "never": it comes after every time.
pub(super) const NEVER_NS: i64 = i64::MAX;

pub(super) const HEAD: &str = "\
SELECT stream, incarnation, last_sequence, link, row_count
FROM archive_heads WHERE stream = $1 AND incarnation = $2";

pub(super) const HEADS: &str = "\
SELECT stream, incarnation, last_sequence, link, row_count
FROM archive_heads ORDER BY stream, incarnation";

pub(super) const CHAINS_WITH_ROWS: &str = "\
SELECT DISTINCT stream, incarnation FROM archive ORDER BY stream, incarnation";

/// Does nothing if another writer began the chain first.
pub(super) const BEGIN_CHAIN: &str = "\
INSERT INTO archive_heads (stream, incarnation, last_sequence, link, row_count)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, incarnation) DO NOTHING";

/// Does nothing if the chain stands elsewhere than it was thought to.
pub(super) const ADVANCE_CHAIN: &str = "\
UPDATE archive_heads SET last_sequence = $3, link = $4, row_count = $5
WHERE stream = $1 AND incarnation = $2 AND last_sequence = $6 AND link = $7 AND row_count = $8";

/// A report says which message it is about; whose message that is, the read model knows.
pub(super) const INSERT_ROW: &str = "\
INSERT INTO archive (
    stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment,
    link, is_repeat
) VALUES (
    $1, $2, $3, $4, $5, $6, $7,
    COALESCE(NULLIF($8, ''), (SELECT customer_id FROM messages WHERE message_id = $9), ''),
    $9,
    COALESCE(NULLIF($10, ''), (SELECT brand_id FROM messages WHERE message_id = $9), ''),
    $11, $12, $13, $14, $15, $16, $17,
    EXISTS (SELECT 1 FROM archive WHERE event_id = $6 AND event_id <> '')
)";

pub(super) const ROW_COLUMNS: &str = "\
SELECT stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment, link
FROM archive";

pub(super) const FIRST_SINCE: &str = "\
SELECT sequence FROM archive
WHERE stream = $1 AND incarnation = $2 AND stored_time_ns >= $3
ORDER BY stored_time_ns, sequence LIMIT 1";

pub(super) const INSERT_CONVERSATION: &str = "\
INSERT INTO conversations (
    number, customer_id, brand_id, window_id, window_state, closed_reason, open_time_ns,
    expire_time_ns, last_inbound_time_ns, last_outbound_time_ns, last_inbound_text,
    profile_name, inbound_count, outbound_count, position_stream, position_incarnation,
    position_sequence
) VALUES ($1, $2, $3, '', $4, $5, NULL, $6, NULL, NULL, '', '', 0, 0, $7, $8, $9)
ON CONFLICT (number, customer_id) DO NOTHING";

pub(super) const TOUCH_CONVERSATION: &str = "\
UPDATE conversations SET
    brand_id = COALESCE(NULLIF($3, ''), brand_id),
    position_stream = $4, position_incarnation = $5, position_sequence = $6
WHERE number = $1 AND customer_id = $2";

pub(super) const COUNT_FACT: &str = "\
INSERT INTO counted_facts (fact) VALUES ($1) ON CONFLICT (fact) DO NOTHING";

/// What is late never undoes what is newer.
pub(super) const COUNT_INBOUND: &str = "\
UPDATE conversations SET
    inbound_count = inbound_count + 1,
    last_inbound_text = CASE
        WHEN last_inbound_time_ns > $3 THEN last_inbound_text
        ELSE COALESCE($4, last_inbound_text) END,
    profile_name = CASE
        WHEN last_inbound_time_ns > $3 THEN profile_name
        ELSE COALESCE($5, profile_name) END,
    last_inbound_time_ns = CASE
        WHEN last_inbound_time_ns > $3 THEN last_inbound_time_ns
        ELSE $3 END
WHERE number = $1 AND customer_id = $2";

pub(super) const COUNT_OUTBOUND: &str = "\
UPDATE conversations SET
    outbound_count = outbound_count + 1,
    last_outbound_time_ns = CASE
        WHEN last_outbound_time_ns > $3 THEN last_outbound_time_ns
        ELSE $3 END
WHERE number = $1 AND customer_id = $2";

pub(super) const SET_WINDOW: &str = "\
UPDATE conversations SET
    window_id = $3, window_state = $4, closed_reason = $5, open_time_ns = $6, expire_time_ns = $7
WHERE number = $1 AND customer_id = $2";

pub(super) const CONVERSATION_COLUMNS: &str = "\
SELECT number, customer_id, brand_id, window_id, window_state, closed_reason, open_time_ns,
    expire_time_ns, last_inbound_time_ns, last_outbound_time_ns, last_inbound_text,
    profile_name, inbound_count, outbound_count, position_stream, position_incarnation,
    position_sequence
FROM conversations";

pub(super) const INSERT_MESSAGE: &str = "\
INSERT INTO messages (
    message_id, number, customer_id, brand_id, state, outcome, outcome_reason, delivery_status,
    attempt_count, route, client_reference, request_time_ns, expire_time_ns, update_time_ns,
    end_time_ns, is_purged, position_stream, position_incarnation, position_sequence
) VALUES ($1, $2, $3, $4, $5, 0, '', 0, 0, 0, $6, $7, $8, NULL, NULL, FALSE, '', '', 0)
ON CONFLICT (message_id) DO NOTHING";

/// Whatever stands on the log anew has to be purged anew.
pub(super) const TOUCH_MESSAGE: &str = "\
UPDATE messages SET
    is_purged = FALSE, update_time_ns = $2,
    position_stream = $3, position_incarnation = $4, position_sequence = $5
WHERE message_id = $1";

/// An ended message stays ended.
pub(super) const SET_MESSAGE_STATE: &str = "\
UPDATE messages SET state = $2 WHERE message_id = $1 AND end_time_ns IS NULL";

pub(super) const SET_ATTEMPT: &str = "\
UPDATE messages SET
    attempt_count = CASE WHEN attempt_count > $2 THEN attempt_count ELSE $2 END,
    route = $3
WHERE message_id = $1";

pub(super) const SET_DELIVERY: &str = "\
UPDATE messages SET delivery_status = $2 WHERE message_id = $1";

pub(super) const END_MESSAGE: &str = "\
UPDATE messages SET state = $2, outcome = $3, outcome_reason = $4, end_time_ns = $5
WHERE message_id = $1";

pub(super) const MESSAGE: &str = "\
SELECT message_id, number, customer_id, brand_id, state, outcome, outcome_reason,
    delivery_status, attempt_count, route, client_reference, request_time_ns, expire_time_ns,
    update_time_ns, end_time_ns, is_purged, position_stream, position_incarnation,
    position_sequence
FROM messages WHERE message_id = $1";

pub(super) const ENDED_MESSAGES: &str = "\
SELECT message_id, end_time_ns FROM messages
WHERE is_purged = FALSE AND end_time_ns < $1 AND (end_time_ns, message_id) > ($2, $3)
ORDER BY end_time_ns, message_id LIMIT $4";

pub(super) const MARK_PURGED: &str = "\
UPDATE messages SET is_purged = TRUE WHERE message_id = $1 AND position_sequence <= $2";

/// A parameter of a statement that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
}

/// A query that is put together from constant pieces; what callers say goes in as parameters.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Query {
    pub(super) fn new(select: &'static str) -> Self {
        Self {
            sql: format!("{select}\nWHERE 1 = 1"),
            values: Vec::new(),
        }
    }

    /// Adds a condition, in which each `?` stands for the next value.
    pub(super) fn and(&mut self, condition: &'static str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
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

    /// Adds a condition on text if there is one.
    pub(super) fn and_text(&mut self, condition: &'static str, value: Option<&String>) {
        if let Some(value) = value {
            self.and(condition, [Value::Text(value.clone())]);
        }
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
        query.order("d", 10);
        assert_eq!(
            query.sql,
            "SELECT a FROM t\nWHERE 1 = 1 AND b = $1 AND (d, e) > ($2, $3) ORDER BY d LIMIT $4"
        );
        assert_eq!(query.values.len(), 4);
    }
}

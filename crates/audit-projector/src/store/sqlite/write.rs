//! What one transaction writes: position, read models, rows; statement by statement, since none
//! of them leaves the process.

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::super::backend::{advance_rebuild, cost, details, headers, integer, requested_ns};
use super::super::conversations::{self, Columns, never_or, not_yet_or};
use super::super::text::escape;
use super::super::{Error, Rebuild, failed, read, sql};
use super::bound;
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::fold::{Models, Touched};
use crate::model::{Conversation, Message, Row, nanoseconds};

const COUNT_FACT: &str = "\
INSERT INTO counted_facts (fact) VALUES ($1) ON CONFLICT (fact) DO NOTHING";

const WRITE_CONVERSATION: &str = sql::conversations_from!(
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
     $20, $21, $22, $23, $24, $25, $26, $27, $28)"
);

const WRITE_MESSAGE: &str = sql::messages_from!(
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
     $21, $22)"
);

const INSERT_TERM: &str = "\
INSERT INTO message_terms (term, request_time_ns, message_id) VALUES ($1, $2, $3)
ON CONFLICT (term, request_time_ns, message_id) DO NOTHING";

const WRITE_LABEL: &str = "\
INSERT INTO conversation_labels (label, number, customer_id, is_set) VALUES ($1, $2, $3, $4)
ON CONFLICT (label, number, customer_id) DO UPDATE SET is_set = EXCLUDED.is_set";

const INSERT_MENTION: &str = "\
INSERT INTO mentions (colleague, brand_id, stored_time_ns, stream, incarnation, sequence)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (colleague, stored_time_ns, stream, incarnation, sequence) DO NOTHING";

/// A report says which message it is about; whose message that is, the read model knows.
const INSERT_ROW: &str = "\
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

pub(super) async fn append(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    // First, so that of two writers the second waits here and then finds the chain moved.
    advance(&mut transaction, &batch.before, &batch.after).await?;
    project(&mut transaction, &batch.entries).await?;
    for entry in &batch.entries {
        insert(&mut transaction, &entry.row)
            .await
            .map_err(failed("write a row"))?;
    }
    transaction.commit().await.map_err(failed("commit"))
}

async fn advance(
    connection: &mut SqliteConnection,
    before: &Head,
    after: &Head,
) -> Result<(), Error> {
    let statement = if before.row_count == 0 {
        sql::BEGIN_CHAIN
    } else {
        sql::ADVANCE_CHAIN
    };
    let mut query = sqlx::query(statement)
        .bind(escape(&after.stream))
        .bind(escape(&after.incarnation))
        .bind(integer(after.last_sequence))
        .bind(&after.link[..])
        .bind(integer(after.row_count));
    if before.row_count > 0 {
        query = query
            .bind(integer(before.last_sequence))
            .bind(&before.link[..])
            .bind(integer(before.row_count));
    }
    let done = query
        .execute(connection)
        .await
        .map_err(failed("advance the chain"))?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Moved)
    }
}

/// Loads what the batch touches, makes its changes and writes the outcome.
async fn project(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<(), Error> {
    let touched = Touched::by(entries);
    let mut new_facts = Vec::new();
    for fact in touched.facts {
        let done = sqlx::query(COUNT_FACT)
            .bind(escape(&fact))
            .execute(&mut *connection)
            .await
            .map_err(failed("count a fact"))?;
        if done.rows_affected() == 1 {
            new_facts.push(fact);
        }
    }
    let mut conversations = Vec::new();
    for key in &touched.conversations {
        let row = bound(conversations::one(key))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed("read a conversation"))?;
        conversations.extend(row.as_ref().map(read::conversation).transpose()?);
    }
    let mut messages = Vec::new();
    for message_id in &touched.messages {
        let row = sqlx::query(sql::MESSAGE)
            .bind(escape(message_id))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed("read a message"))?;
        messages.extend(row.as_ref().map(read::message).transpose()?);
    }
    let mut models = Models::new(conversations, messages, new_facts);
    models.apply(entries);
    for row in models.conversations() {
        write_conversation(connection, row)
            .await
            .map_err(failed("write a conversation"))?;
    }
    for row in models.messages() {
        write_message(connection, row)
            .await
            .map_err(failed("write a message"))?;
    }
    for new in models.new_terms() {
        sqlx::query(INSERT_TERM)
            .bind(escape(&new.term))
            .bind(requested_ns(new.message))
            .bind(escape(&new.message.id))
            .execute(&mut *connection)
            .await
            .map_err(failed("write a term"))?;
    }
    write_colleagues(connection, &models)
        .await
        .map_err(failed("write what colleagues did"))
}

async fn write_colleagues(
    connection: &mut SqliteConnection,
    models: &Models,
) -> Result<(), sqlx::Error> {
    for changed in models.changed_labels() {
        sqlx::query(WRITE_LABEL)
            .bind(escape(&changed.label))
            .bind(escape(&changed.key.number))
            .bind(escape(&changed.key.customer_id))
            .bind(changed.is_set)
            .execute(&mut *connection)
            .await?;
    }
    for mention in models.mentions() {
        sqlx::query(INSERT_MENTION)
            .bind(escape(&mention.colleague))
            .bind(escape(&mention.brand_id))
            .bind(nanoseconds(mention.stored_time))
            .bind(escape(&mention.note.stream))
            .bind(escape(&mention.note.incarnation))
            .bind(integer(mention.note.sequence))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Projects archived rows again.
pub(super) async fn again(
    connection: &mut SqliteConnection,
    version: i64,
    from: &Rebuild,
    rows: &[Entry],
) -> Result<(), Error> {
    let Some(last) = rows.last() else {
        return Ok(());
    };
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    let done = bound(advance_rebuild(version, from, &last.row))
        .execute(&mut *transaction)
        .await
        .map_err(failed("project messages again"))?;
    if done.rows_affected() != 1 {
        return Err(Error::Moved);
    }
    project(&mut transaction, rows).await?;
    transaction.commit().await.map_err(failed("commit"))
}

async fn write_conversation(
    connection: &mut SqliteConnection,
    row: &Conversation,
) -> Result<(), sqlx::Error> {
    let handling = Columns::of(&row.handling);
    sqlx::query(WRITE_CONVERSATION)
        .bind(escape(&row.key.number))
        .bind(escape(&row.key.customer_id))
        .bind(escape(&row.brand_id))
        .bind(escape(&row.window_id))
        .bind(i32::from(row.published_state))
        .bind(i32::from(row.closed_reason))
        .bind(stored(row.open_time))
        .bind(never_or(row.expire_time))
        .bind(stored(row.last_inbound_time))
        .bind(stored(row.last_outbound_time))
        .bind(escape(&row.last_inbound_text))
        .bind(escape(&row.profile_name))
        .bind(row.inbound_count)
        .bind(row.outbound_count)
        .bind(escape(&row.position.stream))
        .bind(escape(&row.position.incarnation))
        .bind(integer(row.position.sequence))
        .bind(row.is_end_announced)
        .bind(not_yet_or(row.lock_time))
        .bind(not_yet_or(row.heard_time))
        .bind(not_yet_or(row.template_time))
        .bind(escape(&row.template_attempt))
        .bind(handling.assignee)
        .bind(handling.closed_through_ns)
        .bind(handling.read_through_ns)
        .bind(handling.whole)
        .bind(escape(&row.handled.incarnation))
        .bind(integer(row.handled.sequence))
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_message(
    connection: &mut SqliteConnection,
    row: &Message,
) -> Result<(), sqlx::Error> {
    sqlx::query(WRITE_MESSAGE)
        .bind(escape(&row.id))
        .bind(escape(&row.key.number))
        .bind(escape(&row.key.customer_id))
        .bind(escape(&row.brand_id))
        .bind(i32::from(row.state))
        .bind(i32::from(row.outcome))
        .bind(escape(&row.reason))
        .bind(i32::from(row.delivery_status))
        .bind(i64::from(row.attempt_count))
        .bind(i32::from(row.route))
        .bind(escape(&row.client_reference))
        .bind(stored(row.request_time))
        .bind(stored(row.expire_time))
        .bind(stored(row.update_time))
        .bind(stored(row.end_time))
        .bind(row.is_purged)
        .bind(details(row))
        .bind(escape(&row.position.stream))
        .bind(escape(&row.position.incarnation))
        .bind(integer(row.position.sequence))
        .bind(cost(row).0)
        .bind(escape(cost(row).1))
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, row: &Row) -> Result<(), sqlx::Error> {
    let Row { stored, index, .. } = row;
    sqlx::query(INSERT_ROW)
        .bind(escape(&stored.stream))
        .bind(escape(&stored.incarnation))
        .bind(integer(stored.sequence))
        .bind(escape(&stored.subject))
        .bind(escape(&index.event_type))
        .bind(escape(&index.event_id))
        .bind(escape(&index.number))
        .bind(escape(&index.customer_id))
        .bind(escape(&index.message_id))
        .bind(escape(&index.brand_id))
        .bind(nanoseconds(index.event_time))
        .bind(nanoseconds(stored.stored_at))
        .bind(headers(row))
        .bind(&stored.payload[..])
        .bind(&row.salt[..])
        .bind(&row.commitment[..])
        .bind(&row.link[..])
        .execute(connection)
        .await?;
    Ok(())
}

fn stored(time: Option<Timestamp>) -> Option<i64> {
    time.map(nanoseconds)
}

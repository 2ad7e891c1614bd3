//! What one transaction writes: position, read models, rows; statement by statement, since none
//! of them leaves the process.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::super::backend::{headers, integer};
use super::super::conversations::{self, Columns, Tallied, never_or, not_yet_or};
use super::super::messages::{cost, requested_ns};
use super::super::text::escape;
use super::super::{Error, failed, read, sealed, sql};
use super::bound;
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::fold::{Models, Touched};
use crate::keys::{CustomerKeys, Keyring, owner_of};
use crate::model::{Conversation, Message, Row, nanoseconds};

const COUNT_FACT: &str = "\
INSERT INTO counted_facts (fact) VALUES ($1) ON CONFLICT (fact) DO NOTHING";

const WRITE_CONVERSATION: &str = sql::conversations_from!(
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
     $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35)"
);

const WRITE_MESSAGE: &str = sql::messages_from!(
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
     $21, $22, $23)"
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

const KEYS: &str = "\
SELECT k.owner, k.wrapped FROM json_each($1) o JOIN customer_keys k ON k.owner = o.value";

/// A report says which message it is about; whose brand's that is, the read model knows.
const INSERT_ROW: &str = "\
INSERT INTO archive (
    stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment,
    link, is_repeat
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    COALESCE(NULLIF($10, ''), (SELECT brand_id FROM messages WHERE message_id = $9), ''),
    $11, $12, $13, $14, $15, $16, $17,
    EXISTS (SELECT 1 FROM archive WHERE event_id = $6 AND event_id <> '')
)";

pub(super) async fn append(
    connection: &mut SqliteConnection,
    batch: &Batch,
    keys: &CustomerKeys,
) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    // First, so that of two writers the second waits here and then finds the chain moved.
    advance(&mut transaction, &batch.before, &batch.after).await?;
    let models = load(&mut transaction, &batch.entries, keys).await?;
    let customers = sealed::customers(batch, &models);
    let rows = || batch.entries.iter().map(|entry| &entry.row).zip(&customers);
    let mut owners = sealed::owners_of_models(&models);
    owners.extend(rows().map(|(row, customer)| owner_of(customer, &row.stored.stream)));
    let keyring = keyring(&mut transaction, keys, &owners).await?;
    write(&mut transaction, &models, keys, &keyring).await?;
    for (row, customer) in rows() {
        let payload = sealed::row(&keyring, &owner_of(customer, &row.stored.stream), row)?;
        insert(&mut transaction, row, customer, payload)
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

/// Looks the keys of a batch up, and makes those that are missing.
pub(super) async fn keyring(
    connection: &mut SqliteConnection,
    keys: &CustomerKeys,
    owners: &BTreeSet<String>,
) -> Result<Keyring, Error> {
    let found = wrapped_keys(connection, keys, owners).await?;
    Ok(Keyring::of(keys, found)?)
}

/// Does so, and leaves them wrapped.
pub(super) async fn wrapped_keys(
    connection: &mut SqliteConnection,
    keys: &CustomerKeys,
    owners: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let escaped: Vec<_> = owners.iter().map(|owner| escape(owner)).collect();
    let list = serde_json::to_string(&escaped).expect("strings are JSON");
    let rows = sqlx::query(KEYS)
        .bind(list)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed("look keys up"))?;
    let found = rows.iter().map(read::wrapped);
    let mut found: BTreeMap<_, _> = found.collect::<Result<_, _>>()?;
    for owner in owners {
        if !found.contains_key(owner) {
            let drawn = keys.draw(owner)?;
            bound(sealed::new_key(&drawn))
                .execute(&mut *connection)
                .await
                .map_err(failed("store a key"))?;
            found.insert(drawn.owner, drawn.wrapped);
        }
    }
    Ok(found)
}

/// Makes what archived rows change in the read models.
pub(super) async fn project(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    keys: &CustomerKeys,
) -> Result<(), Error> {
    let models = load(connection, entries, keys).await?;
    let owners = sealed::owners_of_models(&models);
    let keyring = keyring(connection, keys, &owners).await?;
    write(connection, &models, keys, &keyring).await
}

/// Loads what the batch touches and makes its changes.
async fn load(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    keys: &CustomerKeys,
) -> Result<Models, Error> {
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
        let read = |row| read::conversation(row, keys);
        conversations.extend(row.as_ref().map(read).transpose()?);
    }
    let mut messages = Vec::new();
    for message_id in &touched.messages {
        let row = sqlx::query(sql::MESSAGE)
            .bind(escape(message_id))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed("read a message"))?;
        let read = |row| read::message(row, keys);
        messages.extend(row.as_ref().map(read).transpose()?);
    }
    let mut models = Models::new(conversations, messages, new_facts);
    models.apply(entries);
    Ok(models)
}

/// Writes what came of the changes.
async fn write(
    connection: &mut SqliteConnection,
    models: &Models,
    keys: &CustomerKeys,
    keyring: &Keyring,
) -> Result<(), Error> {
    for row in models.conversations() {
        let sealed = sealed::conversation(keyring, row)?;
        write_conversation(connection, row, sealed)
            .await
            .map_err(failed("write a conversation"))?;
    }
    for row in models.messages() {
        let sealed = sealed::message(keyring, row)?;
        write_message(connection, row, sealed)
            .await
            .map_err(failed("write a message"))?;
    }
    for new in models.new_terms() {
        sqlx::query(INSERT_TERM)
            .bind(sealed::term(keys, &new.term)?)
            .bind(requested_ns(new.message))
            .bind(escape(&new.message.id))
            .execute(&mut *connection)
            .await
            .map_err(failed("write a term"))?;
    }
    write_colleagues(connection, models)
        .await
        .map_err(failed("write what colleagues did"))?;
    super::search::write(connection, models, keys, keyring).await
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

async fn write_conversation(
    connection: &mut SqliteConnection,
    row: &Conversation,
    sealed: Vec<u8>,
) -> Result<(), sqlx::Error> {
    let handling = Columns::of(&row.handling);
    let tally = Tallied::of(&row.tally);
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
        // What is sealed stood here once.
        .bind("")
        .bind("")
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
        .bind(sealed)
        .bind(tally.unread_count)
        .bind(tally.waiting_since_ns)
        .bind(tally.thread_owner)
        .bind(tally.moved_sequence)
        .bind(tally.moved_time_ns)
        .bind(tally.whole)
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_message(
    connection: &mut SqliteConnection,
    row: &Message,
    sealed: Vec<u8>,
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
        .bind("")
        .bind(stored(row.request_time))
        .bind(stored(row.expire_time))
        .bind(stored(row.update_time))
        .bind(stored(row.end_time))
        .bind(row.is_purged)
        .bind(Vec::new())
        .bind(escape(&row.position.stream))
        .bind(escape(&row.position.incarnation))
        .bind(integer(row.position.sequence))
        .bind(cost(row).0)
        .bind(escape(cost(row).1))
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    row: &Row,
    customer: &str,
    payload: Vec<u8>,
) -> Result<(), sqlx::Error> {
    let Row { stored, index, .. } = row;
    sqlx::query(INSERT_ROW)
        .bind(escape(&stored.stream))
        .bind(escape(&stored.incarnation))
        .bind(integer(stored.sequence))
        .bind(escape(&stored.subject))
        .bind(escape(&index.event_type))
        .bind(escape(&index.event_id))
        .bind(escape(&index.number))
        .bind(escape(customer))
        .bind(escape(&index.message_id))
        .bind(escape(&index.brand_id))
        .bind(nanoseconds(index.event_time))
        .bind(nanoseconds(stored.stored_at))
        .bind(headers(row))
        .bind(payload)
        // Sealed together with the payload.
        .bind(Vec::new())
        .bind(&row.commitment[..])
        .bind(&row.link[..])
        .execute(connection)
        .await?;
    Ok(())
}

fn stored(time: Option<Timestamp>) -> Option<i64> {
    time.map(nanoseconds)
}

//! What one transaction writes: position, read models, rows; each by one statement for the whole
//! batch, since every statement is a journey.
//!
//! Every transaction takes its locks in the same order: head, facts, conversations, messages, keys,
//! and each of them sorted.

use std::borrow::Cow;
use std::collections::HashSet;

use casement_event::v1::{ClosedReason, WindowState};
use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};

use super::super::backend::{headers, integer};
use super::super::conversations::{Columns, Tallied, never_or, not_yet_or};
use super::super::messages::{cost, requested_ns};
use super::super::text::escape;
use super::super::{Error, failed, read, sealed, sql};
use super::keys::keyring;
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::fold::{Models, NewTerm, Touched};
use crate::keys::{CustomerKeys, Keyring, owner_of};
use crate::model::{ConversationKey, Row, nanoseconds};

const COUNT_FACTS: &str = "\
INSERT INTO counted_facts (fact) SELECT fact FROM UNNEST($1::text[]) AS f (fact)
ON CONFLICT (fact) DO NOTHING
RETURNING fact";

/// So that there is a row to lock: streams run beside each other and meet at conversations.
const BEGIN_CONVERSATIONS: &str = "\
INSERT INTO conversations (
    number, customer_id, brand_id, window_id, window_state, closed_reason, open_time_ns,
    expire_time_ns, last_inbound_time_ns, last_outbound_time_ns, last_inbound_text,
    profile_name, inbound_count, outbound_count, position_stream, position_incarnation,
    position_sequence
)
SELECT number, customer_id, '', '', $3, $4, NULL, $5, NULL, NULL, '', '', 0, 0, '', '', 0
FROM UNNEST($1::text[], $2::text[]) AS k (number, customer_id)
ON CONFLICT (number, customer_id) DO NOTHING";

const LOCK_CONVERSATIONS: &str = concat!(
    sql::conversation_columns!(),
    "
WHERE (number, customer_id) IN (
    SELECT k.number, k.customer_id
    FROM UNNEST($1::text[], $2::text[]) AS k (number, customer_id)
)
ORDER BY number, customer_id
FOR UPDATE"
);

const WRITE_CONVERSATIONS: &str = sql::conversations_from!(
    "SELECT * FROM UNNEST(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[],
    $14::bigint[], $15::text[], $16::text[], $17::bigint[], $18::boolean[], $19::bigint[],
    $20::bigint[], $21::bigint[], $22::text[], $23::text[], $24::bigint[], $25::bigint[],
    $26::bytea[], $27::text[], $28::bigint[], $29::bytea[], $30::bigint[], $31::bigint[],
    $32::int[], $33::bigint[], $34::bigint[], $35::bytea[]
)"
);

const LOCK_MESSAGES: &str = concat!(
    sql::message_columns!(),
    "
WHERE m.message_id = ANY($1::text[])
ORDER BY m.message_id
FOR UPDATE"
);

const WRITE_MESSAGES: &str = sql::messages_from!(
    "SELECT * FROM UNNEST(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::text[],
    $8::int[], $9::bigint[], $10::int[], $11::text[], $12::bigint[], $13::bigint[],
    $14::bigint[], $15::bigint[], $16::boolean[], $17::bytea[], $18::text[], $19::text[],
    $20::bigint[], $21::bigint[], $22::text[], $23::bytea[]
)"
);

const INSERT_TERMS: &str = "\
INSERT INTO message_terms (term, request_time_ns, message_id)
SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[])
ON CONFLICT (term, request_time_ns, message_id) DO NOTHING";

const WRITE_LABELS: &str = "\
INSERT INTO conversation_labels (label, number, customer_id, is_set)
SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::boolean[])
ON CONFLICT (label, number, customer_id) DO UPDATE SET is_set = EXCLUDED.is_set";

const INSERT_MENTIONS: &str = "\
INSERT INTO mentions (colleague, brand_id, stored_time_ns, stream, incarnation, sequence)
SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
ON CONFLICT (colleague, stored_time_ns, stream, incarnation, sequence) DO NOTHING";

/// A report says which message it is about; whose brand's that is, the read model knows.
const INSERT_ROWS: &str = "\
INSERT INTO archive (
    stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment,
    link, is_repeat
)
SELECT $1, $2, r.sequence, r.subject, r.event_type, r.event_id, r.number,
    r.customer_id, r.message_id,
    COALESCE(NULLIF(r.brand_id, ''), m.brand_id, ''),
    r.event_time_ns, r.stored_time_ns, r.headers, r.payload, r.salt, r.commitment, r.link,
    r.is_repeat OR (
        r.event_id <> '' AND EXISTS (SELECT 1 FROM archive a WHERE a.event_id = r.event_id)
    )
FROM UNNEST(
    $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::bigint[], $12::bigint[], $13::text[], $14::bytea[], $15::bytea[],
    $16::bytea[], $17::bytea[], $18::boolean[]
) AS r (
    sequence, subject, event_type, event_id, number, customer_id, message_id,
    brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment, link, is_repeat
)
LEFT JOIN messages m ON m.message_id = r.message_id";

pub(super) async fn append(
    connection: &mut PgConnection,
    batch: &Batch,
    keys: &CustomerKeys,
) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    // First, so that of two writers the second waits here and then finds the chain moved.
    if !advance(&mut transaction, &batch.before, &batch.after).await? {
        transaction.rollback().await.map_err(failed("roll back"))?;
        return Err(Error::Moved);
    }
    let models = load(&mut transaction, &batch.entries, keys).await?;
    let customers = sealed::customers(batch, &models);
    let rows = || batch.entries.iter().map(|entry| &entry.row).zip(&customers);
    let mut owners = sealed::owners_of_models(&models);
    owners.extend(rows().map(|(row, customer)| owner_of(customer, &row.stored.stream)));
    let keyring = keyring(&mut transaction, keys, &owners).await?;
    write(&mut transaction, &models, keys, &keyring).await?;
    let seal = |(row, customer): (&Row, &String)| {
        sealed::row(&keyring, &owner_of(customer, &row.stored.stream), row)
    };
    let payloads = rows().map(seal).collect::<Result<Vec<_>, _>>()?;
    insert(&mut transaction, batch, &customers, payloads)
        .await
        .map_err(failed("write rows"))?;
    transaction.commit().await.map_err(failed("commit"))
}

/// Returns whether the chain stood where it was thought to.
async fn advance(
    connection: &mut PgConnection,
    before: &Head,
    after: &Head,
) -> Result<bool, Error> {
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
    let done = query.execute(connection).await;
    Ok(done.map_err(failed("advance the chain"))?.rows_affected() == 1)
}

/// Makes what archived rows change in the read models.
pub(super) async fn project(
    connection: &mut PgConnection,
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
    connection: &mut PgConnection,
    entries: &[Entry],
    keys: &CustomerKeys,
) -> Result<Models, Error> {
    let touched = Touched::by(entries);
    let new_facts = count_facts(connection, &touched).await?;
    let mut conversations = Vec::new();
    if !touched.conversations.is_empty() {
        let rows = lock_conversations(connection, &touched).await;
        for row in rows.map_err(failed("lock conversations"))? {
            conversations.push(read::conversation(&row, keys)?);
        }
    }
    let mut messages = Vec::new();
    if !touched.messages.is_empty() {
        let rows = sqlx::query(LOCK_MESSAGES)
            .bind(texts(touched.messages.iter().map(String::as_str)))
            .fetch_all(&mut *connection)
            .await;
        for row in rows.map_err(failed("lock messages"))? {
            messages.push(read::message(&row, keys)?);
        }
    }
    let mut models = Models::new(conversations, messages, new_facts);
    models.apply(entries);
    Ok(models)
}

/// Writes what came of the changes.
async fn write(
    connection: &mut PgConnection,
    models: &Models,
    keys: &CustomerKeys,
    keyring: &Keyring,
) -> Result<(), Error> {
    let seal = |row| sealed::conversation(keyring, row);
    let sealed = models.conversations().map(seal).collect::<Result<_, _>>()?;
    write_conversations(connection, models, sealed)
        .await
        .map_err(failed("write conversations"))?;
    let seal = |row| sealed::message(keyring, row);
    let sealed = models.messages().map(seal).collect::<Result<_, _>>()?;
    write_messages(connection, models, sealed)
        .await
        .map_err(failed("write messages"))?;
    let new = models.new_terms();
    let digests = new.iter().map(|new| sealed::term(keys, &new.term));
    let digests = digests.collect::<Result<_, _>>()?;
    write_terms(connection, &new, digests)
        .await
        .map_err(failed("write terms"))?;
    write_colleagues(connection, models)
        .await
        .map_err(failed("write what colleagues did"))?;
    super::search::write(connection, models, keys, keyring).await
}

async fn write_colleagues(
    connection: &mut PgConnection,
    models: &Models,
) -> Result<(), sqlx::Error> {
    let labels = models.changed_labels();
    if !labels.is_empty() {
        let labels = || labels.iter();
        sqlx::query(WRITE_LABELS)
            .bind(texts(labels().map(|one| one.label.as_str())))
            .bind(texts(labels().map(|one| one.key.number.as_str())))
            .bind(texts(labels().map(|one| one.key.customer_id.as_str())))
            .bind(list(labels().map(|one| one.is_set)))
            .execute(&mut *connection)
            .await?;
    }
    if !models.mentions().is_empty() {
        let mentions = || models.mentions().iter();
        sqlx::query(INSERT_MENTIONS)
            .bind(texts(mentions().map(|one| one.colleague.as_str())))
            .bind(texts(mentions().map(|one| one.brand_id.as_str())))
            .bind(list(mentions().map(|one| nanoseconds(one.stored_time))))
            .bind(texts(mentions().map(|one| one.note.stream.as_str())))
            .bind(texts(mentions().map(|one| one.note.incarnation.as_str())))
            .bind(list(mentions().map(|one| integer(one.note.sequence))))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write_terms(
    connection: &mut PgConnection,
    new: &[NewTerm<'_>],
    digests: Vec<String>,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT_TERMS)
        .bind(digests)
        .bind(list(new.iter().map(|new| requested_ns(new.message))))
        .bind(texts(new.iter().map(|new| new.message.id.as_str())))
        .execute(connection)
        .await?;
    Ok(())
}

/// Remembers facts, and returns those that were unknown.
async fn count_facts(
    connection: &mut PgConnection,
    touched: &Touched,
) -> Result<Vec<String>, Error> {
    if touched.facts.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(COUNT_FACTS)
        .bind(texts(touched.facts.iter().map(String::as_str)))
        .fetch_all(connection)
        .await
        .map_err(failed("count facts"))?;
    rows.iter().map(read::fact).collect()
}

async fn lock_conversations(
    connection: &mut PgConnection,
    touched: &Touched,
) -> Result<Vec<sqlx::postgres::PgRow>, sqlx::Error> {
    let keys = || touched.conversations.iter();
    let number = |key: &'_ ConversationKey| escape(&key.number).into_owned();
    let customer = |key: &'_ ConversationKey| escape(&key.customer_id).into_owned();
    let (numbers, customers): (Vec<_>, Vec<_>) =
        (keys().map(number).collect(), keys().map(customer).collect());
    sqlx::query(BEGIN_CONVERSATIONS)
        .bind(&numbers)
        .bind(&customers)
        .bind(i32::from(WindowState::Closed))
        .bind(i32::from(ClosedReason::NeverWrote))
        .bind(sql::NEVER_NS)
        .execute(&mut *connection)
        .await?;
    sqlx::query(LOCK_CONVERSATIONS)
        .bind(numbers)
        .bind(customers)
        .fetch_all(connection)
        .await
}

async fn write_conversations(
    connection: &mut PgConnection,
    models: &Models,
    sealed: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = models.conversations().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows = || rows.iter();
    let handling: Vec<_> = rows().map(|row| Columns::of(&row.handling)).collect();
    let handling = || handling.iter();
    let tallies: Vec<_> = rows().map(|row| Tallied::of(&row.tally)).collect();
    let tallies = || tallies.iter();
    sqlx::query(WRITE_CONVERSATIONS)
        .bind(texts(rows().map(|row| row.key.number.as_str())))
        .bind(texts(rows().map(|row| row.key.customer_id.as_str())))
        .bind(texts(rows().map(|row| row.brand_id.as_str())))
        .bind(texts(rows().map(|row| row.window_id.as_str())))
        .bind(list(rows().map(|row| i32::from(row.published_state))))
        .bind(list(rows().map(|row| i32::from(row.closed_reason))))
        .bind(times(rows().map(|row| row.open_time)))
        .bind(list(rows().map(|row| never_or(row.expire_time))))
        .bind(times(rows().map(|row| row.last_inbound_time)))
        .bind(times(rows().map(|row| row.last_outbound_time)))
        // What is sealed stood here once.
        .bind(list(rows().map(|_| "")))
        .bind(list(rows().map(|_| "")))
        .bind(list(rows().map(|row| row.inbound_count)))
        .bind(list(rows().map(|row| row.outbound_count)))
        .bind(texts(rows().map(|row| row.position.stream.as_str())))
        .bind(texts(rows().map(|row| row.position.incarnation.as_str())))
        .bind(list(rows().map(|row| integer(row.position.sequence))))
        .bind(list(rows().map(|row| row.is_end_announced)))
        .bind(list(rows().map(|row| not_yet_or(row.lock_time))))
        .bind(list(rows().map(|row| not_yet_or(row.heard_time))))
        .bind(list(rows().map(|row| not_yet_or(row.template_time))))
        .bind(texts(rows().map(|row| row.template_attempt.as_str())))
        .bind(texts(handling().map(|one| one.assignee.as_str())))
        .bind(list(handling().map(|one| one.closed_through_ns)))
        .bind(list(handling().map(|one| one.read_through_ns)))
        .bind(list(handling().map(|one| one.whole.as_slice())))
        .bind(texts(rows().map(|row| row.handled.incarnation.as_str())))
        .bind(list(rows().map(|row| integer(row.handled.sequence))))
        .bind(sealed)
        .bind(list(tallies().map(|one| one.unread_count)))
        .bind(list(tallies().map(|one| one.waiting_since_ns)))
        .bind(list(tallies().map(|one| one.thread_owner)))
        .bind(list(tallies().map(|one| one.moved_sequence)))
        .bind(list(tallies().map(|one| one.moved_time_ns)))
        .bind(list(tallies().map(|one| one.whole.as_slice())))
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_messages(
    connection: &mut PgConnection,
    models: &Models,
    sealed: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = models.messages().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows = || rows.iter();
    sqlx::query(WRITE_MESSAGES)
        .bind(texts(rows().map(|row| row.id.as_str())))
        .bind(texts(rows().map(|row| row.key.number.as_str())))
        .bind(texts(rows().map(|row| row.key.customer_id.as_str())))
        .bind(texts(rows().map(|row| row.brand_id.as_str())))
        .bind(list(rows().map(|row| i32::from(row.state))))
        .bind(list(rows().map(|row| i32::from(row.outcome))))
        .bind(texts(rows().map(|row| row.reason.as_str())))
        .bind(list(rows().map(|row| i32::from(row.delivery_status))))
        .bind(list(rows().map(|row| i64::from(row.attempt_count))))
        .bind(list(rows().map(|row| i32::from(row.route))))
        .bind(list(rows().map(|_| "")))
        .bind(times(rows().map(|row| row.request_time)))
        .bind(times(rows().map(|row| row.expire_time)))
        .bind(times(rows().map(|row| row.update_time)))
        .bind(times(rows().map(|row| row.end_time)))
        .bind(list(rows().map(|row| row.is_purged)))
        .bind(list(rows().map(|_| &[][..])))
        .bind(texts(rows().map(|row| row.position.stream.as_str())))
        .bind(texts(rows().map(|row| row.position.incarnation.as_str())))
        .bind(list(rows().map(|row| integer(row.position.sequence))))
        .bind(list(rows().map(|row| cost(row).0)))
        .bind(texts(rows().map(|row| cost(row).1)))
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    batch: &Batch,
    customers: &[String],
    payloads: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let mut seen = HashSet::new();
    let repeats = list(batch.entries.iter().map(|entry| {
        let event_id = &entry.row.index.event_id;
        !event_id.is_empty() && !seen.insert(event_id)
    }));
    let rows = || batch.entries.iter().map(|entry| &entry.row);
    let bytes = |field: fn(&Row) -> &[u8]| list(rows().map(field));
    sqlx::query(INSERT_ROWS)
        .bind(escape(&batch.after.stream))
        .bind(escape(&batch.after.incarnation))
        .bind(list(rows().map(|row| integer(row.stored.sequence))))
        .bind(texts(rows().map(|row| row.stored.subject.as_str())))
        .bind(texts(rows().map(|row| row.index.event_type.as_str())))
        .bind(texts(rows().map(|row| row.index.event_id.as_str())))
        .bind(texts(rows().map(|row| row.index.number.as_str())))
        .bind(texts(customers.iter().map(String::as_str)))
        .bind(texts(rows().map(|row| row.index.message_id.as_str())))
        .bind(texts(rows().map(|row| row.index.brand_id.as_str())))
        .bind(list(rows().map(|row| nanoseconds(row.index.event_time))))
        .bind(list(rows().map(|row| nanoseconds(row.stored.stored_at))))
        .bind(list(rows().map(headers)))
        .bind(payloads)
        // Sealed together with the payload.
        .bind(bytes(|_| &[]))
        .bind(bytes(|row| &row.commitment))
        .bind(bytes(|row| &row.link))
        .bind(repeats)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    texts.map(escape).collect()
}

fn times(times: impl Iterator<Item = Option<Timestamp>>) -> Vec<Option<i64>> {
    times.map(|time| time.map(nanoseconds)).collect()
}

pub(super) fn list<T>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect()
}

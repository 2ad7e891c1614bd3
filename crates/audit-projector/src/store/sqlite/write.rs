//! What one transaction writes: position, read models, rows; each by one statement for the whole
//! batch, as far as there are many of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, SqliteConnection};

use super::super::backend::{headers, integer};
use super::super::conversations::{Columns, Tallied, never_or, not_yet_or};
use super::super::messages::{cost, requested_ns};
use super::super::text::escape;
use super::super::{Error, failed, read, sealed, sql};
use super::many::{self, Values};
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::fold::{Models, Touched};
use crate::keys::{CustomerKeys, Keyring, owner_of};
use crate::model::{Conversation, ConversationKey, Message, Row, nanoseconds};

const COUNT_FACTS: &str = "\
INSERT INTO counted_facts (fact) {rows} ON CONFLICT (fact) DO NOTHING RETURNING fact";

const CONVERSATIONS: &str = concat!(
    sql::conversation_columns!(),
    "
WHERE (number, customer_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))"
);

const MESSAGES: &str = concat!(
    sql::message_columns!(),
    "
WHERE m.message_id IN (SELECT value FROM json_each($1))"
);

const WRITE_CONVERSATIONS: &str = sql::conversations_from!("{rows}");

const WRITE_MESSAGES: &str = sql::messages_from!("{rows}");

const INSERT_TERMS: &str = "\
INSERT INTO message_terms (term, request_time_ns, message_id) {rows}
ON CONFLICT (term, request_time_ns, message_id) DO NOTHING";

const WRITE_LABEL: &str = "\
INSERT INTO conversation_labels (label, number, customer_id, is_set) VALUES ($1, $2, $3, $4)
ON CONFLICT (label, number, customer_id) DO UPDATE SET is_set = EXCLUDED.is_set";

const INSERT_MENTION: &str = "\
INSERT INTO mentions (colleague, brand_id, stored_time_ns, stream, incarnation, sequence)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (colleague, stored_time_ns, stream, incarnation, sequence) DO NOTHING";

const NEW_KEYS: &str = "\
INSERT INTO customer_keys (owner, master_key_id, wrapped) {rows} ON CONFLICT (owner) DO NOTHING";

const KEYS: &str = "\
SELECT k.owner, k.wrapped FROM json_each($1) o JOIN customer_keys k ON k.owner = o.value";

const INSERT_ROWS: &str = "\
INSERT INTO archive (
    stream, incarnation, sequence, subject, event_type, event_id, number, customer_id,
    message_id, brand_id, event_time_ns, stored_time_ns, headers, payload, salt, commitment,
    link, is_repeat
) {rows}";

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
    let seal = |(row, customer): (_, &String)| {
        let Row { stored, .. }: &Row = row;
        sealed::row(&keyring, &owner_of(customer, &stored.stream), row)
    };
    let payloads = rows().map(seal).collect::<Result<Vec<_>, _>>()?;
    insert(&mut transaction, batch, &customers, payloads)
        .await
        .map_err(failed("write rows"))?;
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
    let missing = owners.iter().filter(|owner| !found.contains_key(*owner));
    let drawn = missing.map(|owner| keys.draw(owner));
    let drawn: Vec<_> = drawn.collect::<Result<_, _>>()?;
    many::run(connection, NEW_KEYS, &drawn, |values, drawn| {
        values.push_bind(escape(&drawn.owner).into_owned());
        values.push_bind(escape(&drawn.master_key_id).into_owned());
        values.push_bind(drawn.wrapped.clone());
    })
    .await
    .map_err(failed("store keys"))?;
    found.extend(drawn.into_iter().map(|drawn| (drawn.owner, drawn.wrapped)));
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
    let new_facts = count_facts(connection, &touched).await?;
    let keys_of = |key: &ConversationKey| [escape(&key.number), escape(&key.customer_id)].map(own);
    let wanted: Vec<_> = touched.conversations.iter().map(keys_of).collect();
    let rows = listed(connection, CONVERSATIONS, &wanted).await;
    let rows = rows.map_err(failed("read conversations"))?;
    let read = rows.iter().map(|row| read::conversation(row, keys));
    let conversations = read.collect::<Result<Vec<_>, _>>()?;
    let wanted: Vec<_> = touched.messages.iter().map(|id| own(escape(id))).collect();
    let rows = listed(connection, MESSAGES, &wanted).await;
    let rows = rows.map_err(failed("read messages"))?;
    let read = rows.iter().map(|row| read::message(row, keys));
    let messages = read.collect::<Result<Vec<_>, _>>()?;
    let mut models = Models::new(conversations, messages, new_facts);
    models.apply(entries);
    Ok(models)
}

/// Asks for what a list names, if it names anything.
async fn listed<T: serde::Serialize + Sync>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    wanted: &[T],
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let list = serde_json::to_string(wanted).expect("strings are JSON");
    sqlx::query(statement)
        .bind(list)
        .fetch_all(connection)
        .await
}

fn own(text: Cow<'_, str>) -> String {
    text.into_owned()
}

/// Remembers facts, and returns those that were unknown.
async fn count_facts(
    connection: &mut SqliteConnection,
    touched: &Touched,
) -> Result<Vec<String>, Error> {
    let facts: Vec<_> = touched.facts.iter().collect();
    let rows = many::run(connection, COUNT_FACTS, &facts, |values, fact| {
        values.push_bind(own(escape(fact)));
    });
    let rows = rows.await.map_err(failed("count facts"))?;
    rows.iter().map(read::fact).collect()
}

/// Writes what came of the changes.
async fn write(
    connection: &mut SqliteConnection,
    models: &Models,
    keys: &CustomerKeys,
    keyring: &Keyring,
) -> Result<(), Error> {
    let seal = |row| Ok((row, sealed::conversation(keyring, row)?));
    let sealed = models.conversations().map(seal);
    let sealed: Vec<_> = sealed.collect::<Result<_, Error>>()?;
    many::run(connection, WRITE_CONVERSATIONS, &sealed, |values, row| {
        bind_conversation(values, row.0, &row.1);
    })
    .await
    .map_err(failed("write conversations"))?;
    let seal = |row| Ok((row, sealed::message(keyring, row)?));
    let sealed = models.messages().map(seal);
    let sealed: Vec<_> = sealed.collect::<Result<_, Error>>()?;
    many::run(connection, WRITE_MESSAGES, &sealed, |values, row| {
        bind_message(values, row.0, &row.1);
    })
    .await
    .map_err(failed("write messages"))?;
    let new = models.new_terms();
    let terms = new
        .iter()
        .map(|new| Ok((sealed::term(keys, &new.term)?, new.message)));
    let terms: Vec<_> = terms.collect::<Result<_, Error>>()?;
    many::run(
        connection,
        INSERT_TERMS,
        &terms,
        |values, (term, message)| {
            values.push_bind(term.clone());
            values.push_bind(requested_ns(message));
            values.push_bind(own(escape(&message.id)));
        },
    )
    .await
    .map_err(failed("write terms"))?;
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

fn bind_conversation(values: &mut Values<'_>, row: &Conversation, sealed: &[u8]) {
    let handling = Columns::of(&row.handling);
    let tally = Tallied::of(&row.tally);
    values.push_bind(own(escape(&row.key.number)));
    values.push_bind(own(escape(&row.key.customer_id)));
    values.push_bind(own(escape(&row.brand_id)));
    values.push_bind(own(escape(&row.window_id)));
    values.push_bind(i32::from(row.published_state));
    values.push_bind(i32::from(row.closed_reason));
    values.push_bind(stored(row.open_time));
    values.push_bind(never_or(row.expire_time));
    values.push_bind(stored(row.last_inbound_time));
    values.push_bind(stored(row.last_outbound_time));
    // What is sealed stood here once.
    values.push_bind("");
    values.push_bind("");
    values.push_bind(row.inbound_count);
    values.push_bind(row.outbound_count);
    values.push_bind(own(escape(&row.position.stream)));
    values.push_bind(own(escape(&row.position.incarnation)));
    values.push_bind(integer(row.position.sequence));
    values.push_bind(row.is_end_announced);
    values.push_bind(not_yet_or(row.lock_time));
    values.push_bind(not_yet_or(row.heard_time));
    values.push_bind(not_yet_or(row.template_time));
    values.push_bind(own(escape(&row.template_attempt)));
    values.push_bind(handling.assignee);
    values.push_bind(handling.closed_through_ns);
    values.push_bind(handling.read_through_ns);
    values.push_bind(handling.whole);
    values.push_bind(own(escape(&row.handled.incarnation)));
    values.push_bind(integer(row.handled.sequence));
    values.push_bind(sealed.to_vec());
    values.push_bind(tally.unread_count);
    values.push_bind(tally.waiting_since_ns);
    values.push_bind(tally.thread_owner);
    values.push_bind(tally.moved_sequence);
    values.push_bind(tally.moved_time_ns);
    values.push_bind(tally.whole);
}

fn bind_message(values: &mut Values<'_>, row: &Message, sealed: &[u8]) {
    values.push_bind(own(escape(&row.id)));
    values.push_bind(own(escape(&row.key.number)));
    values.push_bind(own(escape(&row.key.customer_id)));
    values.push_bind(own(escape(&row.brand_id)));
    values.push_bind(i32::from(row.state));
    values.push_bind(i32::from(row.outcome));
    values.push_bind(own(escape(&row.reason)));
    values.push_bind(i32::from(row.delivery_status));
    values.push_bind(i64::from(row.attempt_count));
    values.push_bind(i32::from(row.route));
    values.push_bind("");
    values.push_bind(stored(row.request_time));
    values.push_bind(stored(row.expire_time));
    values.push_bind(stored(row.update_time));
    values.push_bind(stored(row.end_time));
    values.push_bind(row.is_purged);
    values.push_bind(Vec::<u8>::new());
    values.push_bind(own(escape(&row.position.stream)));
    values.push_bind(own(escape(&row.position.incarnation)));
    values.push_bind(integer(row.position.sequence));
    values.push_bind(cost(row).0);
    values.push_bind(own(escape(cost(row).1)));
    values.push_bind(sealed.to_vec());
}

/// A report says which message it is about; whose brand's that is, the read model knows.
async fn insert(
    connection: &mut SqliteConnection,
    batch: &Batch,
    customers: &[String],
    payloads: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    // What is a repeat of a row of this very batch, no question to the table would tell.
    let mut seen = HashSet::new();
    let mut is_seen = |row: &Row| {
        let id = row.index.event_id.clone();
        !id.is_empty() && !seen.insert(id)
    };
    let rows = batch.entries.iter().map(|entry| &entry.row);
    let rows = rows.zip(customers).zip(payloads);
    let rows: Vec<_> = rows
        .map(|((row, customer), payload)| (row, customer, payload, is_seen(row)))
        .collect();
    many::run(connection, INSERT_ROWS, &rows, |values, row| {
        let (Row { stored, index, .. }, customer, payload, is_seen) = row;
        values.push_bind(own(escape(&stored.stream)));
        values.push_bind(own(escape(&stored.incarnation)));
        values.push_bind(integer(stored.sequence));
        values.push_bind(own(escape(&stored.subject)));
        values.push_bind(own(escape(&index.event_type)));
        values.push_bind(own(escape(&index.event_id)));
        values.push_bind(own(escape(&index.number)));
        values.push_bind(own(escape(customer)));
        values.push_bind(own(escape(&index.message_id)));
        values.push("COALESCE(NULLIF(");
        values.push_bind_unseparated(own(escape(&index.brand_id)));
        values.push_unseparated(", ''), (SELECT brand_id FROM messages WHERE message_id = ");
        values.push_bind_unseparated(own(escape(&index.message_id)));
        values.push_unseparated("), '')");
        values.push_bind(nanoseconds(index.event_time));
        values.push_bind(nanoseconds(stored.stored_at));
        values.push_bind(headers(row.0));
        values.push_bind(payload.clone());
        // Sealed together with the payload.
        values.push_bind(Vec::<u8>::new());
        values.push_bind(row.0.commitment.to_vec());
        values.push_bind(row.0.link.to_vec());
        values.push_bind(is_seen);
        values.push_unseparated(
            " OR EXISTS (SELECT 1 FROM archive WHERE event_id <> '' AND event_id = ",
        );
        values.push_bind_unseparated(own(escape(&index.event_id)));
        values.push_unseparated(")");
    })
    .await?;
    Ok(())
}

fn stored(time: Option<Timestamp>) -> Option<i64> {
    time.map(nanoseconds)
}

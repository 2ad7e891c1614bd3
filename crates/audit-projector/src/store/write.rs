//! What one transaction writes: position, rows, read models.

use sqlx::{Connection as _, SqliteConnection};

use super::{Error, sql};
use crate::batch::{Batch, Entry};
use crate::chain::Head;
use crate::model::{
    Change, ConversationChange, ConversationKey, MessageChange, Row, RowPosition, nanoseconds,
};
use casement_event::v1::{ClosedReason, WindowState};
use casement_proto::message::v1::MessageState;
use jiff::Timestamp;

pub(super) fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database {
        operation,
        source: source.into(),
    }
}

/// Sequences fit: the broker counts up to 2^63 only.
pub(super) fn integer(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

pub(super) async fn append(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    // First, so that of two writers the second waits here and then finds the chain moved.
    advance(&mut transaction, &batch.before, &batch.after).await?;
    for entry in &batch.entries {
        write_entry(&mut transaction, entry)
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
        .bind(&after.stream)
        .bind(&after.incarnation)
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

async fn write_entry(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), sqlx::Error> {
    insert(connection, &entry.row).await?;
    let position = RowPosition::of(&entry.row.stored);
    for change in &entry.changes {
        match change {
            Change::Conversation {
                key,
                brand_id,
                change,
            } => {
                write_conversation(connection, key, brand_id, change, &position).await?;
            }
            Change::Message { message_id, change } => {
                let at = entry.row.index.event_time;
                write_message(connection, message_id, change, &position, at).await?;
            }
        }
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, row: &Row) -> Result<(), sqlx::Error> {
    let Row { stored, index, .. } = row;
    let headers = serde_json::to_string(&stored.headers).expect("pairs of strings are JSON");
    sqlx::query(sql::INSERT_ROW)
        .bind(&stored.stream)
        .bind(&stored.incarnation)
        .bind(integer(stored.sequence))
        .bind(&stored.subject)
        .bind(&index.event_type)
        .bind(&index.event_id)
        .bind(&index.number)
        .bind(&index.customer_id)
        .bind(&index.message_id)
        .bind(&index.brand_id)
        .bind(nanoseconds(index.event_time))
        .bind(nanoseconds(stored.stored_at))
        .bind(headers)
        .bind(&stored.payload[..])
        .bind(&row.salt[..])
        .bind(&row.commitment[..])
        .bind(&row.link[..])
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_conversation(
    connection: &mut SqliteConnection,
    key: &ConversationKey,
    brand_id: &str,
    change: &ConversationChange,
    position: &RowPosition,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql::INSERT_CONVERSATION)
        .bind(&key.number)
        .bind(&key.customer_id)
        .bind(brand_id)
        .bind(i32::from(WindowState::Closed))
        .bind(i32::from(ClosedReason::NeverWrote))
        .bind(sql::NEVER_NS)
        .bind(&position.stream)
        .bind(&position.incarnation)
        .bind(integer(position.sequence))
        .execute(&mut *connection)
        .await?;
    sqlx::query(sql::TOUCH_CONVERSATION)
        .bind(&key.number)
        .bind(&key.customer_id)
        .bind(brand_id)
        .bind(&position.stream)
        .bind(&position.incarnation)
        .bind(integer(position.sequence))
        .execute(&mut *connection)
        .await?;
    match change {
        ConversationChange::Seen => {}
        ConversationChange::Inbound {
            fact,
            at,
            text,
            profile_name,
        } => {
            if is_new(connection, fact).await? {
                sqlx::query(sql::COUNT_INBOUND)
                    .bind(&key.number)
                    .bind(&key.customer_id)
                    .bind(nanoseconds(*at))
                    .bind(text)
                    .bind(profile_name)
                    .execute(connection)
                    .await?;
            }
        }
        ConversationChange::Outbound { fact, at } => {
            if is_new(connection, fact).await? {
                sqlx::query(sql::COUNT_OUTBOUND)
                    .bind(&key.number)
                    .bind(&key.customer_id)
                    .bind(nanoseconds(*at))
                    .execute(connection)
                    .await?;
            }
        }
        ConversationChange::Window {
            window_id,
            state,
            closed_reason,
            open_time,
            expire_time,
        } => {
            sqlx::query(sql::SET_WINDOW)
                .bind(&key.number)
                .bind(&key.customer_id)
                .bind(window_id)
                .bind(i32::from(*state))
                .bind(i32::from(*closed_reason))
                .bind(open_time.map(nanoseconds))
                .bind(expire_time.map_or(sql::NEVER_NS, nanoseconds))
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

/// Remembers a fact, and returns whether it was unknown. What has no id counts each time.
async fn is_new(connection: &mut SqliteConnection, fact: &str) -> Result<bool, sqlx::Error> {
    if fact.is_empty() {
        return Ok(true);
    }
    let done = sqlx::query(sql::COUNT_FACT)
        .bind(fact)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn write_message(
    connection: &mut SqliteConnection,
    message_id: &str,
    change: &MessageChange,
    position: &RowPosition,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    match change {
        MessageChange::Touched => {}
        MessageChange::Requested {
            key,
            brand_id,
            client_reference,
            request_time,
            expire_time,
        } => {
            sqlx::query(sql::INSERT_MESSAGE)
                .bind(message_id)
                .bind(&key.number)
                .bind(&key.customer_id)
                .bind(brand_id)
                .bind(i32::from(MessageState::Pending))
                .bind(client_reference)
                .bind(request_time.map(nanoseconds))
                .bind(expire_time.map(nanoseconds))
                .execute(&mut *connection)
                .await?;
        }
        MessageChange::State { state } => {
            sqlx::query(sql::SET_MESSAGE_STATE)
                .bind(message_id)
                .bind(i32::from(*state))
                .execute(&mut *connection)
                .await?;
        }
        MessageChange::Attempt { number, route } => {
            sqlx::query(sql::SET_MESSAGE_STATE)
                .bind(message_id)
                .bind(i32::from(MessageState::Attempting))
                .execute(&mut *connection)
                .await?;
            sqlx::query(sql::SET_ATTEMPT)
                .bind(message_id)
                .bind(i64::from(*number))
                .bind(i32::from(*route))
                .execute(&mut *connection)
                .await?;
        }
        MessageChange::Delivery { status } => {
            sqlx::query(sql::SET_DELIVERY)
                .bind(message_id)
                .bind(i32::from(*status))
                .execute(&mut *connection)
                .await?;
        }
        MessageChange::Ended {
            outcome,
            reason,
            at,
        } => {
            sqlx::query(sql::END_MESSAGE)
                .bind(message_id)
                .bind(i32::from(MessageState::Ended))
                .bind(i32::from(*outcome))
                .bind(reason)
                .bind(nanoseconds(*at))
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(sql::TOUCH_MESSAGE)
        .bind(message_id)
        .bind(nanoseconds(at))
        .bind(&position.stream)
        .bind(&position.incarnation)
        .bind(integer(position.sequence))
        .execute(connection)
        .await?;
    Ok(())
}

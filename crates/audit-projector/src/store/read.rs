//! From rows of tables to what they mean.

use casement_event::Stored;
use casement_event::v1::{ClosedReason, DeliveryStatus, MessageOutcome, Route, WindowState};
use casement_proto::message::v1::MessageState;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Type};

use super::sql::NEVER_NS;
use super::{EndKey, Error};
use crate::chain::Head;
use crate::model::{Conversation, ConversationKey, Index, Message, Row, RowPosition, instant};

/// A row of one table, whose columns are read with a typed error.
struct Table<'r> {
    name: &'static str,
    row: &'r SqliteRow,
}

impl<'r> Table<'r> {
    fn get<T>(&self, column: &'static str) -> Result<T, Error>
    where
        T: sqlx::Decode<'r, Sqlite> + Type<Sqlite>,
    {
        self.row
            .try_get(column)
            .map_err(|error| self.inconsistent(column, &error))
    }

    fn inconsistent(&self, column: &'static str, problem: &dyn ToString) -> Error {
        Error::Inconsistent {
            table: self.name,
            column,
            problem: problem.to_string(),
        }
    }

    fn count(&self, column: &'static str) -> Result<u64, Error> {
        u64::try_from(self.get::<i64>(column)?).map_err(|error| self.inconsistent(column, &error))
    }

    fn bytes<const LEN: usize>(&self, column: &'static str) -> Result<[u8; LEN], Error> {
        self.get::<&[u8]>(column)?
            .try_into()
            .map_err(|error| self.inconsistent(column, &error))
    }

    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        Ok(self.get::<Option<i64>>(column)?.map(instant))
    }

    fn constant<T>(&self, column: &'static str) -> Result<T, Error>
    where
        T: TryFrom<i32, Error: ToString>,
    {
        T::try_from(self.get::<i32>(column)?).map_err(|error| self.inconsistent(column, &error))
    }

    fn position(&self) -> Result<RowPosition, Error> {
        Ok(RowPosition {
            stream: self.get("position_stream")?,
            incarnation: self.get("position_incarnation")?,
            sequence: self.count("position_sequence")?,
        })
    }

    fn conversation_key(&self) -> Result<ConversationKey, Error> {
        Ok(ConversationKey {
            number: self.get("number")?,
            customer_id: self.get("customer_id")?,
        })
    }
}

pub(super) fn head(row: &SqliteRow) -> Result<Head, Error> {
    let table = Table {
        name: "archive_heads",
        row,
    };
    Ok(Head {
        stream: table.get("stream")?,
        incarnation: table.get("incarnation")?,
        last_sequence: table.count("last_sequence")?,
        link: table.bytes("link")?,
        row_count: table.count("row_count")?,
    })
}

pub(super) fn stream_and_incarnation(row: &SqliteRow) -> Result<(String, String), Error> {
    let table = Table {
        name: "archive",
        row,
    };
    Ok((table.get("stream")?, table.get("incarnation")?))
}

pub(super) fn sequence(row: &SqliteRow) -> Result<u64, Error> {
    Table {
        name: "archive",
        row,
    }
    .count("sequence")
}

pub(super) fn archived(row: &SqliteRow) -> Result<Row, Error> {
    let table = Table {
        name: "archive",
        row,
    };
    let headers: &str = table.get("headers")?;
    let headers =
        serde_json::from_str(headers).map_err(|error| table.inconsistent("headers", &error))?;
    Ok(Row {
        stored: Stored {
            stream: table.get("stream")?,
            incarnation: table.get("incarnation")?,
            sequence: table.count("sequence")?,
            subject: table.get("subject")?,
            stored_at: instant(table.get("stored_time_ns")?),
            headers,
            payload: table.get::<Vec<u8>>("payload")?.into(),
        },
        index: Index {
            event_type: table.get("event_type")?,
            event_id: table.get("event_id")?,
            event_time: instant(table.get("event_time_ns")?),
            number: table.get("number")?,
            customer_id: table.get("customer_id")?,
            message_id: table.get("message_id")?,
            brand_id: table.get("brand_id")?,
        },
        salt: table.bytes("salt")?,
        commitment: table.bytes("commitment")?,
        link: table.bytes("link")?,
    })
}

pub(super) fn conversation(row: &SqliteRow) -> Result<Conversation, Error> {
    let table = Table {
        name: "conversations",
        row,
    };
    let expire_time_ns: i64 = table.get("expire_time_ns")?;
    Ok(Conversation {
        key: table.conversation_key()?,
        brand_id: table.get("brand_id")?,
        window_id: table.get("window_id")?,
        published_state: table.constant::<WindowState>("window_state")?,
        closed_reason: table.constant::<ClosedReason>("closed_reason")?,
        open_time: table.time("open_time_ns")?,
        expire_time: (expire_time_ns != NEVER_NS).then(|| instant(expire_time_ns)),
        last_inbound_time: table.time("last_inbound_time_ns")?,
        last_outbound_time: table.time("last_outbound_time_ns")?,
        last_inbound_text: table.get("last_inbound_text")?,
        profile_name: table.get("profile_name")?,
        inbound_count: table.get("inbound_count")?,
        outbound_count: table.get("outbound_count")?,
        position: table.position()?,
    })
}

pub(super) fn message(row: &SqliteRow) -> Result<Message, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    let attempt_count = table.get::<i64>("attempt_count")?;
    Ok(Message {
        id: table.get("message_id")?,
        key: table.conversation_key()?,
        brand_id: table.get("brand_id")?,
        state: table.constant::<MessageState>("state")?,
        outcome: table.constant::<MessageOutcome>("outcome")?,
        outcome_reason: table.get("outcome_reason")?,
        delivery_status: table.constant::<DeliveryStatus>("delivery_status")?,
        attempt_count: u32::try_from(attempt_count)
            .map_err(|error| table.inconsistent("attempt_count", &error))?,
        route: table.constant::<Route>("route")?,
        client_reference: table.get("client_reference")?,
        request_time: table.time("request_time_ns")?,
        expire_time: table.time("expire_time_ns")?,
        update_time: table.time("update_time_ns")?,
        end_time: table.time("end_time_ns")?,
        is_purged: table.get("is_purged")?,
        position: table.position()?,
    })
}

pub(super) fn end_key(row: &SqliteRow) -> Result<EndKey, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    Ok(EndKey {
        end_time: instant(table.get("end_time_ns")?),
        message_id: table.get("message_id")?,
    })
}

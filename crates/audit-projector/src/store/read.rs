//! From rows of tables to what they mean.

use bytes::Bytes;
use casement_event::Stored;
use casement_event::convert;
use casement_event::v1::{self, ClosedReason, DeliveryStatus, MessageOutcome, Route, WindowState};
use casement_proto::message::v1::{self as proto, MessageState};
use jiff::Timestamp;
use prost::Message as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::sql::{NEVER_NS, NOT_YET_NS};
use super::{EndKey, Error, Figure, Rebuild, text};
use crate::chain::Head;
use crate::model::{
    Conversation, ConversationKey, Handled, Index, Message, Row, RowPosition, instant,
};

/// A row of some database, by its columns.
pub(super) trait Columns: Send + Sync {
    fn text(&self, column: &'static str) -> Result<String, sqlx::Error>;
    fn integer(&self, column: &'static str) -> Result<i64, sqlx::Error>;
    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    /// Constants of the protocol are kept in 32 bits.
    fn constant(&self, column: &'static str) -> Result<i32, sqlx::Error>;
    fn boolean(&self, column: &'static str) -> Result<bool, sqlx::Error>;
    fn bytes(&self, column: &'static str) -> Result<&[u8], sqlx::Error>;
}

macro_rules! columns {
    ($($row:ty)*) => {$(
        impl Columns for $row {
            fn text(&self, column: &'static str) -> Result<String, sqlx::Error> {
                self.try_get(column)
            }
            fn integer(&self, column: &'static str) -> Result<i64, sqlx::Error> {
                self.try_get(column)
            }
            fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }
            fn constant(&self, column: &'static str) -> Result<i32, sqlx::Error> {
                self.try_get(column)
            }
            fn boolean(&self, column: &'static str) -> Result<bool, sqlx::Error> {
                self.try_get(column)
            }
            fn bytes(&self, column: &'static str) -> Result<&[u8], sqlx::Error> {
                self.try_get(column)
            }
        }
    )*};
}
columns! { SqliteRow PgRow }

/// A row of one table, whose columns are read with a typed error.
struct Table<'r, R> {
    name: &'static str,
    row: &'r R,
}

impl<'r, R: Columns> Table<'r, R> {
    fn get<T>(
        &self,
        read: impl FnOnce(&'r R, &'static str) -> Result<T, sqlx::Error>,
        column: &'static str,
    ) -> Result<T, Error> {
        read(self.row, column).map_err(|error| self.inconsistent(column, &error))
    }

    fn text(&self, column: &'static str) -> Result<String, Error> {
        text::unescape(self.get(R::text, column)?)
            .ok_or_else(|| self.inconsistent(column, &"is not written as text is"))
    }

    fn inconsistent(&self, column: &'static str, problem: &dyn ToString) -> Error {
        Error::Inconsistent {
            table: self.name,
            column,
            problem: problem.to_string(),
        }
    }

    fn integer(&self, column: &'static str) -> Result<i64, Error> {
        self.get(R::integer, column)
    }

    fn count(&self, column: &'static str) -> Result<u64, Error> {
        u64::try_from(self.integer(column)?).map_err(|error| self.inconsistent(column, &error))
    }

    fn bytes<const LEN: usize>(&self, column: &'static str) -> Result<[u8; LEN], Error> {
        self.get(R::bytes, column)?
            .try_into()
            .map_err(|error| self.inconsistent(column, &error))
    }

    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        Ok(self.get(R::optional_integer, column)?.map(instant))
    }

    /// A time that comes before every other until it is known.
    fn time_if_any(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let nanoseconds = self.integer(column)?;
        Ok((nanoseconds != NOT_YET_NS).then(|| instant(nanoseconds)))
    }

    fn constant<T>(&self, column: &'static str) -> Result<T, Error>
    where
        T: TryFrom<i32, Error: ToString>,
    {
        T::try_from(self.get(R::constant, column)?)
            .map_err(|error| self.inconsistent(column, &error))
    }

    fn position(&self) -> Result<RowPosition, Error> {
        Ok(RowPosition {
            stream: self.text("position_stream")?,
            incarnation: self.text("position_incarnation")?,
            sequence: self.count("position_sequence")?,
        })
    }

    fn conversation_key(&self) -> Result<ConversationKey, Error> {
        Ok(ConversationKey {
            number: self.text("number")?,
            customer_id: self.text("customer_id")?,
        })
    }
}

pub(super) fn head<R: Columns>(row: &R) -> Result<Head, Error> {
    let table = Table {
        name: "archive_heads",
        row,
    };
    Ok(Head {
        stream: table.text("stream")?,
        incarnation: table.text("incarnation")?,
        last_sequence: table.count("last_sequence")?,
        link: table.bytes("link")?,
        row_count: table.count("row_count")?,
    })
}

pub(super) fn chain_of_row<R: Columns>(row: &R) -> Result<(String, String), Error> {
    let table = Table {
        name: "archive",
        row,
    };
    Ok((table.text("stream")?, table.text("incarnation")?))
}

pub(super) fn sequence<R: Columns>(row: &R) -> Result<u64, Error> {
    Table {
        name: "archive",
        row,
    }
    .count("sequence")
}

pub(super) fn archived<R: Columns>(row: &R) -> Result<Row, Error> {
    let table = Table {
        name: "archive",
        row,
    };
    let headers = table.text("headers")?;
    let headers =
        serde_json::from_str(&headers).map_err(|error| table.inconsistent("headers", &error))?;
    Ok(Row {
        stored: Stored {
            stream: table.text("stream")?,
            incarnation: table.text("incarnation")?,
            sequence: table.count("sequence")?,
            subject: table.text("subject")?,
            stored_at: instant(table.integer("stored_time_ns")?),
            headers,
            payload: Bytes::copy_from_slice(table.get(R::bytes, "payload")?),
        },
        index: Index {
            event_type: table.text("event_type")?,
            event_id: table.text("event_id")?,
            event_time: instant(table.integer("event_time_ns")?),
            number: table.text("number")?,
            customer_id: table.text("customer_id")?,
            message_id: table.text("message_id")?,
            brand_id: table.text("brand_id")?,
        },
        salt: table.bytes("salt")?,
        commitment: table.bytes("commitment")?,
        link: table.bytes("link")?,
    })
}

pub(super) fn conversation<R: Columns>(row: &R) -> Result<Conversation, Error> {
    let table = Table {
        name: "conversations",
        row,
    };
    let expire_time_ns = table.integer("expire_time_ns")?;
    let handling = v1::Handling::decode(table.get(R::bytes, "handling")?)
        .map_err(|error| table.inconsistent("handling", &error))?;
    let handling = convert::colleague::read_handling(&handling)
        .map_err(|error| table.inconsistent("handling", &error))?;
    Ok(Conversation {
        key: table.conversation_key()?,
        brand_id: table.text("brand_id")?,
        window_id: table.text("window_id")?,
        published_state: table.constant::<WindowState>("window_state")?,
        closed_reason: table.constant::<ClosedReason>("closed_reason")?,
        open_time: table.time("open_time_ns")?,
        expire_time: (expire_time_ns != NEVER_NS).then(|| instant(expire_time_ns)),
        last_inbound_time: table.time("last_inbound_time_ns")?,
        last_outbound_time: table.time("last_outbound_time_ns")?,
        last_inbound_text: table.text("last_inbound_text")?,
        profile_name: table.text("profile_name")?,
        inbound_count: table.integer("inbound_count")?,
        outbound_count: table.integer("outbound_count")?,
        position: table.position()?,
        is_end_announced: table.get(R::boolean, "is_end_announced")?,
        lock_time: table.time_if_any("lock_time_ns")?,
        heard_time: table.time_if_any("heard_time_ns")?,
        template_time: table.time_if_any("template_time_ns")?,
        template_attempt: table.text("template_attempt")?,
        handling,
        handled: Handled {
            incarnation: table.text("handled_incarnation")?,
            sequence: table.count("handled_sequence")?,
        },
    })
}

pub(super) fn message<R: Columns>(row: &R) -> Result<Message, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    let attempt_count = table.integer("attempt_count")?;
    let details = proto::Message::decode(table.get(R::bytes, "details")?)
        .map_err(|error| table.inconsistent("details", &error))?;
    Ok(Message {
        id: table.text("message_id")?,
        key: table.conversation_key()?,
        brand_id: table.text("brand_id")?,
        state: table.constant::<MessageState>("state")?,
        outcome: table.constant::<MessageOutcome>("outcome")?,
        reason: table.text("reason")?,
        delivery_status: table.constant::<DeliveryStatus>("delivery_status")?,
        attempt_count: u32::try_from(attempt_count)
            .map_err(|error| table.inconsistent("attempt_count", &error))?,
        route: table.constant::<Route>("route")?,
        client_reference: table.text("client_reference")?,
        request_time: table.time("request_time_ns")?,
        expire_time: table.time("expire_time_ns")?,
        update_time: table.time("update_time_ns")?,
        end_time: table.time("end_time_ns")?,
        is_purged: table.get(R::boolean, "is_purged")?,
        labels: details.labels,
        is_sensitive: details.sensitive,
        send_time: convert::instant("send_time", details.send_time.as_ref())
            .ok()
            .flatten(),
        attempts: details.attempts,
        deferral: details.deferral,
        double_exposure: details.double_exposure,
        nudge_message_id: details.nudge_message_id,
        held_message_id: details.held_message_id,
        position: table.position()?,
    })
}

pub(super) fn figure<R: Columns>(row: &R) -> Result<Figure, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    Ok(Figure {
        state: table.constant("state")?,
        outcome: table.constant("outcome")?,
        route: table.constant("route")?,
        delivery_status: table.constant("delivery_status")?,
        message_count: table.count("message_count")?,
        cost_micros: table.count("cost_micros")?,
        currency: table.text("cost_currency")?,
    })
}

pub(super) fn window_count<R: Columns>(row: &R) -> Result<u64, Error> {
    let table = Table {
        name: "conversations",
        row,
    };
    table.count("window_count")
}

pub(super) fn rebuild<R: Columns>(row: &R) -> Result<Rebuild, Error> {
    let table = Table {
        name: "message_rebuild",
        row,
    };
    Ok(Rebuild {
        incarnation: table.text("incarnation")?,
        sequence: table.count("sequence")?,
        is_done: table.get(R::boolean, "is_done")?,
    })
}

pub(super) fn end_key<R: Columns>(row: &R) -> Result<EndKey, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    Ok(EndKey {
        end_time: instant(table.integer("end_time_ns")?),
        message_id: table.text("message_id")?,
    })
}

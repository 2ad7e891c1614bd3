//! From rows of tables to what they mean.

use bytes::Bytes;
use casement_event::Stored;
use casement_event::convert;
use casement_event::subject::stream;
use casement_event::v1::{self, ClosedReason, DeliveryStatus, MessageOutcome, Route, WindowState};
use casement_proto::conversation::v1::CustomerConsents;
use casement_proto::message::v1::{self as proto, MessageState};
use jiff::Timestamp;
use prost::Message as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::sql::{NEVER_NS, NOT_YET_NS};
use super::{
    EndKey, Error, EventKey, Figure, KeptHead, Life, Place, Rebuild, SearchKey, sealed, text,
};
use crate::chain::{Head, Salt};
use crate::keys::{CustomerKeys, Opened, owner_of};
use crate::model::{
    Content, Conversation, ConversationKey, Handled, Index, Message, Row, RowPosition, instant,
};
use crate::tally::Tally;
use crate::verify::anchors::SignedHead;

/// A row of some database, by its columns.
pub(super) trait Columns: Send + Sync {
    fn text(&self, column: &'static str) -> Result<String, sqlx::Error>;
    fn integer(&self, column: &'static str) -> Result<i64, sqlx::Error>;
    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    /// Constants of the protocol are kept in 32 bits.
    fn constant(&self, column: &'static str) -> Result<i32, sqlx::Error>;
    fn boolean(&self, column: &'static str) -> Result<bool, sqlx::Error>;
    fn bytes(&self, column: &'static str) -> Result<&[u8], sqlx::Error>;
    fn optional_bytes(&self, column: &'static str) -> Result<Option<&[u8]>, sqlx::Error>;
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
            fn optional_bytes(&self, column: &'static str) -> Result<Option<&[u8]>, sqlx::Error> {
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

pub(super) fn archived<R: Columns>(row: &R, keys: &CustomerKeys) -> Result<Row, Error> {
    let table = Table {
        name: "archive",
        row,
    };
    let opened = archived_content(&table, keys)?;
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
            payload: opened.payload,
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
        salt: opened.salt,
        commitment: table.bytes("commitment")?,
        link: table.bytes("link")?,
        content: opened.content,
    })
}

/// What of a row may be sealed.
struct ArchivedContent {
    payload: Bytes,
    salt: Salt,
    content: Content,
}

/// Opens a row of the archive. A row that was archived before there were keys stands in the open
/// until it is sealed, and has its salt in its column.
fn archived_content<R: Columns>(
    table: &Table<'_, R>,
    keys: &CustomerKeys,
) -> Result<ArchivedContent, Error> {
    let payload = table.get(R::bytes, "payload")?;
    if !table.get(R::bytes, "salt")?.is_empty() {
        return Ok(ArchivedContent {
            payload: Bytes::copy_from_slice(payload),
            salt: table.bytes("salt")?,
            content: Content::Open,
        });
    }
    let (stream, incarnation) = (table.text("stream")?, table.text("incarnation")?);
    let owner = owner_of(&table.text("customer_id")?, &stream);
    let owner_key = table.get(R::optional_bytes, "owner_key")?;
    let place = sealed::archive_place(&stream, &incarnation, table.count("sequence")?);
    let opened = keys.open((&owner, owner_key), &place, payload)?;
    let without = |content| ArchivedContent {
        payload: Bytes::new(),
        salt: Salt::default(),
        content,
    };
    Ok(match opened {
        Opened::Plain(plain) => match plain.split_first_chunk() {
            Some((salt, payload)) => ArchivedContent {
                payload: Bytes::copy_from_slice(payload),
                salt: *salt,
                content: Content::Open,
            },
            None => without(Content::Broken),
        },
        Opened::Erased => without(Content::Erased),
        Opened::Unopened => without(Content::Sealed),
        Opened::Broken => without(Content::Broken),
    })
}

pub(super) fn conversation<R: Columns>(
    row: &R,
    keys: &CustomerKeys,
) -> Result<Conversation, Error> {
    let table = Table {
        name: "conversations",
        row,
    };
    let expire_time_ns = table.integer("expire_time_ns")?;
    let handling = v1::Handling::decode(table.get(R::bytes, "handling")?)
        .map_err(|error| table.inconsistent("handling", &error))?;
    let handling = convert::colleague::read_handling(&handling)
        .map_err(|error| table.inconsistent("handling", &error))?;
    let key = table.conversation_key()?;
    let said = match table.get(R::bytes, "sealed")? {
        // Of before there were keys.
        [] => sealed::Said {
            last_inbound_text: table.text("last_inbound_text")?,
            profile_name: table.text("profile_name")?,
            recent: Vec::new(),
        },
        bytes => {
            let owner = (
                key.customer_id.as_str(),
                table.get(R::optional_bytes, "owner_key")?,
            );
            let opened = keys.open(owner, &sealed::conversation_place(&key), bytes)?;
            sealed::Said::decode(&opened.or_empty())
                .map_err(|error| table.inconsistent("sealed", &error))?
        }
    };
    Ok(Conversation {
        key,
        brand_id: table.text("brand_id")?,
        window_id: table.text("window_id")?,
        published_state: table.constant::<WindowState>("window_state")?,
        closed_reason: table.constant::<ClosedReason>("closed_reason")?,
        open_time: table.time("open_time_ns")?,
        expire_time: (expire_time_ns != NEVER_NS).then(|| instant(expire_time_ns)),
        last_inbound_time: table.time("last_inbound_time_ns")?,
        last_outbound_time: table.time("last_outbound_time_ns")?,
        last_inbound_text: said.last_inbound_text,
        profile_name: said.profile_name,
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
        recent: said.recent,
        tally: match table.get(R::bytes, "tally")? {
            [] => Tally::default(),
            bytes => serde_json::from_slice(bytes)
                .map_err(|error| table.inconsistent("tally", &error))?,
        },
        consents: CustomerConsents::decode(
            table
                .get(R::optional_bytes, "consents")?
                .unwrap_or_default(),
        )
        .map_err(|error| table.inconsistent("consents", &error))?
        .consents,
    })
}

pub(super) fn message<R: Columns>(row: &R, keys: &CustomerKeys) -> Result<Message, Error> {
    let table = Table {
        name: "messages",
        row,
    };
    let attempt_count = table.integer("attempt_count")?;
    let (id, key) = (table.text("message_id")?, table.conversation_key()?);
    let details = match table.get(R::bytes, "sealed")? {
        // Of before there were keys.
        [] => proto::Message {
            client_reference: table.text("client_reference")?,
            ..proto::Message::decode(table.get(R::bytes, "details")?)
                .map_err(|error| table.inconsistent("details", &error))?
        },
        bytes => {
            let owner = owner_of(&key.customer_id, stream::MESSAGES);
            let owner = (owner.as_str(), table.get(R::optional_bytes, "owner_key")?);
            let opened = keys.open(owner, &sealed::message_place(&id), bytes)?;
            proto::Message::decode(&opened.or_empty()[..])
                .map_err(|error| table.inconsistent("sealed", &error))?
        }
    };
    Ok(Message {
        id,
        key,
        brand_id: table.text("brand_id")?,
        state: table.constant::<MessageState>("state")?,
        outcome: table.constant::<MessageOutcome>("outcome")?,
        reason: table.text("reason")?,
        delivery_status: table.constant::<DeliveryStatus>("delivery_status")?,
        attempt_count: u32::try_from(attempt_count)
            .map_err(|error| table.inconsistent("attempt_count", &error))?,
        route: table.constant::<Route>("route")?,
        client_reference: details.client_reference,
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
        name: "read_models",
        row,
    };
    Ok(Rebuild {
        served: table.text("served")?,
        building: table.text("building")?,
        ask_count: table.count("ask_count")?,
        served_ask: table.count("served_ask")?,
        building_ask: table.count("building_ask")?,
        row_count: table.count("row_count")?,
    })
}

pub(super) fn rebuild_mark<R: Columns>(row: &R) -> Result<EventKey, Error> {
    let table = Table {
        name: "read_model_marks",
        row,
    };
    Ok(EventKey {
        stream: table.text("stream")?,
        incarnation: table.text("incarnation")?,
        sequence: table.count("sequence")?,
    })
}

pub(super) fn wrapped<R: Columns>(row: &R) -> Result<(String, Vec<u8>), Error> {
    let table = Table {
        name: "customer_keys",
        row,
    };
    let wrapped = table.get(R::bytes, "wrapped")?.to_vec();
    Ok((table.text("owner")?, wrapped))
}

pub(super) fn fact<R: Columns>(row: &R) -> Result<String, Error> {
    Table {
        name: "counted_facts",
        row,
    }
    .text("fact")
}

pub(super) fn number<R: Columns>(row: &R) -> Result<String, Error> {
    Table {
        name: "archive",
        row,
    }
    .text("number")
}

pub(super) fn left_count<R: Columns>(row: &R) -> Result<u64, Error> {
    Table {
        name: "archive",
        row,
    }
    .count("left_count")
}

pub(super) fn number_of_brand<R: Columns>(row: &R) -> Result<(String, String), Error> {
    let table = Table {
        name: "conversations",
        row,
    };
    Ok((table.text("number")?, table.text("brand_id")?))
}

pub(super) fn search_key<R: Columns>(row: &R) -> Result<SearchKey, Error> {
    let table = Table {
        name: "search_documents",
        row,
    };
    Ok(SearchKey {
        place: table.integer("place")?,
        event: EventKey {
            stream: table.text("stream")?,
            incarnation: table.text("incarnation")?,
            sequence: table.count("sequence")?,
        },
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

pub(super) fn kept_head<R: Columns>(row: &R) -> Result<KeptHead, Error> {
    let table = Table {
        name: "signed_heads",
        row,
    };
    Ok(KeptHead {
        head: SignedHead {
            stream: table.text("stream")?,
            incarnation: table.text("incarnation")?,
            sequence: table.count("sequence")?,
            note: table.text("note")?,
        },
        key_label: table.text("key_label")?,
        signed_time: instant(table.integer("signed_time_ns")?),
    })
}

pub(super) fn life<R: Columns>(row: &R) -> Result<Life, Error> {
    let table = Table {
        name: "incarnations",
        row,
    };
    Ok(Life {
        stream: table.text("stream")?,
        incarnation: table.text("incarnation")?,
        begin_time: instant(table.integer("begin_time_ns")?),
        previous_incarnation: table.text("previous_incarnation")?,
        common_sequence: table.count("common_sequence")?,
    })
}

pub(super) fn place<R: Columns>(row: &R) -> Result<Place, Error> {
    let table = Table {
        name: "archive",
        row,
    };
    Ok(Place {
        sequence: table.count("sequence")?,
        stored_time: instant(table.integer("stored_time_ns")?),
        commitment: table.bytes("commitment")?,
        link: table.bytes("link")?,
    })
}

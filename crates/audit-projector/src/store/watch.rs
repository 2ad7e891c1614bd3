//! What watchfulness asks a store: when numbers hear from customers, which messages nothing was
//! reported of, and what time it is there.

use std::collections::BTreeMap;

use casement_event::v1::Route;
use casement_proto::message::v1::MessageState;

use super::backend::{Backend, all};
use super::read::Columns;
use super::sql::{Query, Value};
use super::{Answer, Error, Postgres, failed, text};

/// The questions.
pub(crate) trait WatchStore {
    /// Returns the quarters of an hour since 1970, from one on, in which customers wrote or called;
    /// each once, in no order.
    fn heard_quarters<'a>(
        &'a self,
        generation: i64,
        number: &'a str,
        since: i64,
    ) -> Answer<'a, Vec<i64>>;

    /// Counts messages on WhatsApp that were taken between two times, and of which nothing was
    /// reported, by number; of those requested since `requested`. All in nanoseconds.
    fn unreported(&self, taken: (i64, i64), requested: i64) -> Answer<'_, BTreeMap<String, i64>>;

    /// Counts a number's messages on WhatsApp that a report moved last, since a time; of those
    /// requested since `requested`.
    fn reported<'a>(&'a self, number: &'a str, since: i64, requested: i64) -> Answer<'a, i64>;

    /// Returns the time at the database, in milliseconds since 1970; `None` if it has none of its
    /// own.
    fn time(&self) -> Answer<'_, Option<i64>>;
}

impl<B: Backend> WatchStore for B {
    fn heard_quarters<'a>(
        &'a self,
        generation: i64,
        number: &'a str,
        since: i64,
    ) -> Answer<'a, Vec<i64>> {
        let mut query = Query::new("SELECT DISTINCT quarter AS value FROM figure_sums");
        query.and("generation = ?", [Value::Integer(generation)]);
        query.and("number = ?", [Value::Text(number.to_owned())]);
        query.and("label = ?", [Value::Text(String::new())]);
        query.and("quarter >= ?", [Value::Integer(since)]);
        query.and("measure IN ('received', 'calls')", []);
        query.and("value > 0", []);
        Box::pin(all(self, "read when a number was written to", query, read))
    }

    fn unreported(&self, taken: (i64, i64), requested: i64) -> Answer<'_, BTreeMap<String, i64>> {
        let mut query = Query::new("SELECT number AS name, COUNT(*) AS value FROM messages");
        let accepted = i64::from(i32::from(MessageState::Accepted));
        query.and("state = ?", [Value::Integer(accepted)]);
        query.and("request_time_ns >= ?", [Value::Integer(requested)]);
        query.and("update_time_ns >= ?", [Value::Integer(taken.0)]);
        query.and("update_time_ns < ?", [Value::Integer(taken.1)]);
        query.and("delivery_status = 0", []);
        query.and_any("route", &whatsapp());
        query.sql.push_str("\nGROUP BY number");
        Box::pin(async move {
            let read = |row: &B::Row| Ok((row_text::<B>(row)?, read(row)?));
            let found = all(self, "count messages without reports", query, read);
            Ok(found.await?.into_iter().collect())
        })
    }

    fn reported<'a>(&'a self, number: &'a str, since: i64, requested: i64) -> Answer<'a, i64> {
        let mut query = Query::new("SELECT COUNT(*) AS value FROM messages");
        query.and("number = ?", [Value::Text(number.to_owned())]);
        query.and("request_time_ns >= ?", [Value::Integer(requested)]);
        query.and("update_time_ns >= ?", [Value::Integer(since)]);
        query.and("delivery_status <> 0", []);
        query.and_any("route", &whatsapp());
        Box::pin(async move {
            let found = all(self, "count messages with reports", query, read).await?;
            Ok(found.first().copied().unwrap_or_default())
        })
    }

    fn time(&self) -> Answer<'_, Option<i64>> {
        Box::pin(async move {
            // The other one lives in this process.
            if B::SYSTEM != Postgres::SYSTEM {
                return Ok(None);
            }
            let query = Query::new(
                "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS value",
            );
            let found = all(self, "ask for the time", query, read).await?;
            Ok(found.first().copied())
        })
    }
}

fn whatsapp() -> [i32; 2] {
    [Route::FreeForm.into(), Route::Template.into()]
}

fn read<R: Columns>(row: &R) -> Result<i64, Error> {
    row.integer("value").map_err(failed("read what is watched"))
}

fn row_text<B: Backend>(row: &B::Row) -> Result<String, Error> {
    let stored = row.text("name").map_err(failed("read what is watched"))?;
    Ok(text::unescape(stored).unwrap_or_default())
}

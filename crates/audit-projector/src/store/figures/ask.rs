//! What is asked of figures, in SQL, for every database.

use std::collections::BTreeMap;

use casement_proto::events::v1::WindowState;
use casement_proto::message::v1::MessageState;
use jiff::Timestamp;

use super::write::{DROPS, advance, statements};
use super::{
    ActFilter, Acted, FigureStore, Figured, Generation, ROWS_MAX, RecordKind, Sum, SumFilter,
    text_value,
};
use crate::figures::{Measure, Thing};
use crate::model::nanoseconds;
use crate::store::backend::{Backend, all, integer};
use crate::store::read::Columns;
use crate::store::sql::{Query, Value};
use crate::store::{Answer, Error, EventKey, text};

/// Adds that a column holds one of some texts.
fn and_in(query: &mut Query, column: &'static str, any: &[String]) {
    query.sql.extend([" AND ", column, " IN ("]);
    for (place, one) in any.iter().enumerate() {
        query.values.push(text_value(one));
        let parameter = query.values.len().to_string();
        query
            .sql
            .extend([if place == 0 { "$" } else { ", $" }, &parameter]);
    }
    query.sql.push(')');
}

fn unreadable(column: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| Error::Inconsistent {
        table: "figures",
        column,
        problem: error.to_string(),
    }
}

fn get_text<R: Columns>(row: &R, column: &'static str) -> Result<String, Error> {
    let stored = row.text(column).map_err(unreadable(column))?;
    text::unescape(stored).ok_or_else(|| Error::Inconsistent {
        table: "figures",
        column,
        problem: "is not written as text is".to_owned(),
    })
}

fn get<R: Columns>(row: &R, column: &'static str) -> Result<i64, Error> {
    row.integer(column).map_err(unreadable(column))
}

fn read_measure<R: Columns>(row: &R) -> Result<Measure, Error> {
    let word = get_text(row, "measure")?;
    Measure::parse(&word).ok_or_else(|| Error::Inconsistent {
        table: "figures",
        column: "measure",
        problem: format!("`{word}` is none"),
    })
}

fn read_generation<R: Columns>(row: &R) -> Result<Generation, Error> {
    Ok(Generation {
        id: get(row, "generation")?,
        version: get(row, "version")?,
        ask: u64::try_from(get(row, "ask")?).unwrap_or_default(),
        revision: get(row, "revision")?,
        is_served: get(row, "state")? == 1,
    })
}

fn read_cursor<R: Columns>(row: &R) -> Result<EventKey, Error> {
    Ok(EventKey {
        stream: get_text(row, "stream")?,
        incarnation: get_text(row, "incarnation")?,
        sequence: u64::try_from(get(row, "sequence")?).unwrap_or_default(),
    })
}

fn read_sum<R: Columns>(row: &R) -> Result<Sum, Error> {
    Ok(Sum {
        brand_id: get_text(row, "brand_id")?,
        number: get_text(row, "number")?,
        measure: read_measure(row)?,
        detail: get_text(row, "detail")?,
        value: get(row, "value")?,
    })
}

fn read_act<R: Columns>(row: &R) -> Result<Acted, Error> {
    Ok(Acted {
        act: get_text(row, "act")?,
        time_ns: get(row, "time_ns")?,
        event_type: get_text(row, "event_type")?,
        caller: get_text(row, "caller")?,
        author: get_text(row, "author")?,
        brand_id: get_text(row, "brand_id")?,
        number: get_text(row, "number")?,
        target: get_text(row, "target")?,
        reason: get_text(row, "reason")?,
        stream: get_text(row, "stream")?,
        incarnation: get_text(row, "incarnation")?,
        sequence: u64::try_from(get(row, "sequence")?).unwrap_or_default(),
    })
}

/// Reads a number or portfolio with what is counted of it.
fn read_count<R: Columns>(row: &R) -> Result<(String, i64), Error> {
    Ok((get_text(row, "name")?, get(row, "value")?))
}

fn filtered(mut query: Query, generation: i64, filter: &SumFilter, quarters: (i64, i64)) -> Query {
    query.and("generation = ?", [Value::Integer(generation)]);
    query.and("label = ?", [text_value(&filter.label)]);
    query.and("quarter >= ?", [Value::Integer(quarters.0)]);
    query.and("quarter < ?", [Value::Integer(quarters.1)]);
    query.and_text("brand_id = ?", filter.brand_id.as_ref());
    query.and_text("number = ?", filter.number.as_ref());
    if !filter.measures.is_empty() {
        let words: Vec<String> = filter
            .measures
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect();
        and_in(&mut query, "measure", &words);
    }
    if !filter.details.is_empty() {
        and_in(&mut query, "detail", &filter.details);
    }
    query
}

impl<B: Backend> FigureStore for B {
    fn label_digest(&self, label: &str) -> Result<String, Error> {
        if label.is_empty() {
            return Ok(String::new());
        }
        let digest = self.keys().search()?.lookup("figure label", label);
        Ok(format!("k:{digest}"))
    }

    fn generations(&self) -> Answer<'_, Vec<Generation>> {
        let mut query =
            Query::new("SELECT generation, version, ask, revision, state FROM figure_generations");
        query.and("state < 2", []);
        query.sql.push_str("\nORDER BY generation");
        Box::pin(all(
            self,
            "list generations of figures",
            query,
            read_generation,
        ))
    }

    fn begin_generation(&self, of: Generation) -> Answer<'_, ()> {
        let values = [
            Value::Integer(of.id),
            Value::Integer(of.version),
            Value::Integer(integer(of.ask)),
        ];
        let begin = Query::whole(
            "INSERT INTO figure_generations (generation, version, ask, revision, state)
VALUES ($1, $2, $3, 0, 0)
ON CONFLICT (generation) DO NOTHING",
            values,
        );
        self.change("begin to count figures", begin)
    }

    fn serve_generation(&self, of: Generation) -> Answer<'_, ()> {
        let id = || [Value::Integer(of.id)];
        // Those who still count an older one find that it has moved on.
        let retire = Query::whole(
            "UPDATE figure_generations SET state = 2, revision = revision + 1
WHERE generation < $1 AND state < 2",
            id(),
        );
        let serve = Query::whole(
            "UPDATE figure_generations SET state = 1 WHERE generation = $1",
            id(),
        );
        let drops = DROPS.map(|drop| Query::whole(drop, id()));
        let statements = [advance(of), retire, serve]
            .into_iter()
            .chain(drops)
            .collect();
        self.change_all("serve figures that were counted anew", statements)
    }

    fn figure_cursors(&self, generation: i64) -> Answer<'_, Vec<EventKey>> {
        let mut query = Query::new("SELECT stream, incarnation, sequence FROM figure_cursors");
        query.and("generation = ?", [Value::Integer(generation)]);
        Box::pin(all(
            self,
            "read how far figures are counted",
            query,
            read_cursor,
        ))
    }

    fn figure_things<'a>(
        &'a self,
        generation: i64,
        names: &'a [String],
    ) -> Answer<'a, BTreeMap<String, Thing>> {
        Box::pin(async move {
            let mut found = BTreeMap::new();
            for names in names.chunks(ROWS_MAX) {
                let mut query = Query::new("SELECT thing, known FROM figure_things");
                query.and("generation = ?", [Value::Integer(generation)]);
                and_in(&mut query, "thing", names);
                let read = |row: &B::Row| {
                    let known = get_text(row, "known")?;
                    let thing = Thing::from_json(&known).ok_or_else(|| Error::Inconsistent {
                        table: "figure_things",
                        column: "known",
                        problem: "is not as it was written".to_owned(),
                    })?;
                    Ok((get_text(row, "thing")?, thing))
                };
                found.extend(all(self, "read what is known", query, read).await?);
            }
            Ok(found)
        })
    }

    fn write_figures<'a>(
        &'a self,
        of: Generation,
        figured: &'a Figured,
        through: &'a EventKey,
    ) -> Answer<'a, ()> {
        self.change_all("write figures", statements(of, figured, through))
    }

    fn drop_minutes(&self, before: i64) -> Answer<'_, ()> {
        let drop = Query::whole(
            "DELETE FROM figure_minutes WHERE minute < $1",
            [Value::Integer(before)],
        );
        self.change("drop minutes", drop)
    }

    fn sums<'a>(
        &'a self,
        generation: i64,
        filter: &'a SumFilter,
        quarters: (i64, i64),
    ) -> Answer<'a, Vec<Sum>> {
        let select = Query::new(
            "SELECT brand_id, number, measure, detail, CAST(SUM(value) AS BIGINT) AS value
FROM figure_sums",
        );
        let mut query = filtered(select, generation, filter, quarters);
        query
            .sql
            .push_str("\nGROUP BY brand_id, number, measure, detail\nHAVING SUM(value) <> 0");
        Box::pin(all(self, "add figures up", query, read_sum))
    }

    fn last_quarter<'a>(
        &'a self,
        generation: i64,
        filter: &'a SumFilter,
        quarters: (i64, i64),
    ) -> Answer<'a, Option<i64>> {
        let mut query = filtered(
            Query::new("SELECT quarter FROM figure_sums"),
            generation,
            filter,
            quarters,
        );
        query.and("value <> 0", []);
        query.order("quarter DESC", 1);
        Box::pin(async move {
            let found = all(self, "find a day with figures", query, |row: &B::Row| {
                get(row, "quarter")
            });
            Ok(found.await?.pop())
        })
    }

    fn minutes<'a>(
        &'a self,
        generation: i64,
        numbers: &'a [String],
        since: i64,
    ) -> Answer<'a, Vec<(String, i64, Measure, i64)>> {
        Box::pin(async move {
            if numbers.is_empty() {
                return Ok(Vec::new());
            }
            let mut query = Query::new("SELECT number, minute, measure, value FROM figure_minutes");
            query.and("generation = ?", [Value::Integer(generation)]);
            query.and("minute >= ?", [Value::Integer(since)]);
            and_in(&mut query, "number", numbers);
            let read = |row: &B::Row| {
                let number = get_text(row, "number")?;
                let measure = read_measure(row)?;
                Ok((number, get(row, "minute")?, measure, get(row, "value")?))
            };
            all(self, "read figures by the minute", query, read).await
        })
    }

    fn webhooks<'a>(
        &'a self,
        generation: i64,
        numbers: &'a [String],
    ) -> Answer<'a, BTreeMap<String, i64>> {
        let mut query = Query::new("SELECT number AS name, at_ns AS value FROM figure_webhooks");
        query.and("generation = ?", [Value::Integer(generation)]);
        Box::pin(counts(self, query, "number", numbers, ""))
    }

    fn contacts<'a>(
        &'a self,
        generation: i64,
        portfolios: &'a [String],
        since: Timestamp,
    ) -> Answer<'a, BTreeMap<String, i64>> {
        let mut query =
            Query::new("SELECT portfolio_id AS name, COUNT(*) AS value FROM figure_contacts");
        query.and("generation = ?", [Value::Integer(generation)]);
        query.and("at_ns > ?", [Value::Integer(nanoseconds(since))]);
        Box::pin(counts(
            self,
            query,
            "portfolio_id",
            portfolios,
            "portfolio_id",
        ))
    }

    fn records(&self, generation: i64, kind: RecordKind) -> Answer<'_, Vec<(String, Vec<u8>)>> {
        let mut query = Query::new("SELECT name, record FROM figure_records");
        query.and("generation = ?", [Value::Integer(generation)]);
        query.and("kind = ?", [text_value(kind.as_str())]);
        query.and("record <> ''", []);
        query.sql.push_str("\nORDER BY name");
        let read = |row: &B::Row| {
            let record = hex::decode(get_text(row, "record")?);
            let record = record.map_err(|error| Error::Inconsistent {
                table: "figure_records",
                column: "record",
                problem: error.to_string(),
            })?;
            Ok((get_text(row, "name")?, record))
        };
        Box::pin(all(self, "read records", query, read))
    }

    fn acts<'a>(
        &'a self,
        generation: i64,
        filter: &'a ActFilter,
        before: Option<&'a (i64, String)>,
        rows_max: usize,
    ) -> Answer<'a, Vec<Acted>> {
        let mut query = Query::new(
            "SELECT act, time_ns, event_type, caller, author, brand_id, number, target, reason,
    stream, incarnation, sequence
FROM figure_acts",
        );
        query.and("generation = ?", [Value::Integer(generation)]);
        query.and_text("brand_id = ?", filter.brand_id.as_ref());
        query.and_text("caller = ?", filter.caller.as_ref());
        query.and_text("author = ?", filter.author.as_ref());
        if !filter.event_types.is_empty() {
            and_in(&mut query, "event_type", &filter.event_types);
        }
        if let Some(without) = filter.without_type {
            query.and("event_type <> ?", [text_value(without)]);
        }
        if let Some(since) = filter.since {
            query.and("time_ns >= ?", [Value::Integer(nanoseconds(since))]);
        }
        if let Some(until) = filter.until {
            query.and("time_ns < ?", [Value::Integer(nanoseconds(until))]);
        }
        if let Some((time_ns, act)) = before {
            let key = [Value::Integer(*time_ns), text_value(act)];
            query.and("(time_ns, act) < (?, ?)", key);
        }
        query.order("time_ns DESC, act DESC", rows_max);
        Box::pin(all(self, "list acts", query, read_act))
    }

    fn open_windows_of<'a>(
        &'a self,
        numbers: &'a [String],
        now: Timestamp,
    ) -> Answer<'a, BTreeMap<String, i64>> {
        let mut query = Query::new("SELECT number AS name, COUNT(*) AS value FROM conversations");
        let open = i64::from(i32::from(WindowState::Open));
        query.and("window_state = ?", [Value::Integer(open)]);
        query.and("expire_time_ns > ?", [Value::Integer(nanoseconds(now))]);
        Box::pin(counts(self, query, "number", numbers, "number"))
    }

    fn messages_in<'a>(
        &'a self,
        numbers: &'a [String],
        state: MessageState,
    ) -> Answer<'a, BTreeMap<String, i64>> {
        let mut query = Query::new("SELECT number AS name, COUNT(*) AS value FROM messages");
        let state = i64::from(i32::from(state));
        query.and("state = ?", [Value::Integer(state)]);
        Box::pin(counts(self, query, "number", numbers, "number"))
    }

    fn count_messages<'a>(
        &'a self,
        brand_id: Option<&'a String>,
        number: Option<&'a String>,
        states: &'a [MessageState],
    ) -> Answer<'a, u64> {
        let mut query = Query::new("SELECT '' AS name, COUNT(*) AS value FROM messages");
        let states: Vec<i32> = states.iter().map(|one| i32::from(*one)).collect();
        query.and_any("state", &states);
        query.and_text("brand_id = ?", brand_id);
        query.and_text("number = ?", number);
        Box::pin(async move {
            let found = all(self, "count messages", query, read_count).await?;
            let count = found.first().map_or(0, |(_, count)| *count);
            Ok(u64::try_from(count).unwrap_or_default())
        })
    }
}

/// Counts by name, for the names that are given.
async fn counts<B: Backend>(
    backend: &B,
    mut query: Query,
    column: &'static str,
    names: &[String],
    group_by: &'static str,
) -> Result<BTreeMap<String, i64>, Error> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    and_in(&mut query, column, names);
    if !group_by.is_empty() {
        query.sql.extend(["\nGROUP BY ", group_by]);
    }
    let found = all(backend, "count by name", query, read_count).await?;
    Ok(found.into_iter().collect())
}

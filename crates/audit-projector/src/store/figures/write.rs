//! What one step of counting writes, and what goes with a generation.

use super::{Figured, Generation, ROWS_MAX, text_value};
use crate::store::EventKey;
use crate::store::backend::integer;
use crate::store::sql::{Query, Value};

/// Statements that write rows: `INSERT INTO … (…) VALUES`, the rows, and what is done about those
/// that are there.
fn insert(head: &'static str, rows: Vec<Vec<Value>>, tail: &'static str) -> Vec<Query> {
    let mut rows = rows.into_iter().peekable();
    let mut statements = Vec::new();
    while rows.peek().is_some() {
        let mut query = Query::whole(head, []);
        for (place, row) in rows.by_ref().take(ROWS_MAX).enumerate() {
            query
                .sql
                .push_str(if place == 0 { "\nVALUES (" } else { ", (" });
            for (column, value) in row.into_iter().enumerate() {
                query.values.push(value);
                let parameter = query.values.len().to_string();
                query
                    .sql
                    .extend([if column == 0 { "$" } else { ", $" }, &parameter]);
            }
            query.sql.push(')');
        }
        query.sql.extend(["\n", tail]);
        statements.push(query);
    }
    statements
}

/// Moves a revision on. A generation's revision is never empty: if another process moved it, the
/// statement fails, and all of its transaction with it.
pub(super) fn advance(of: Generation) -> Query {
    let values = [Value::Integer(of.id), Value::Integer(of.revision)];
    Query::whole(
        "UPDATE figure_generations
SET revision = CASE WHEN revision = $2 THEN revision + 1 ELSE NULL END
WHERE generation = $1",
        values,
    )
}

/// Sums and minutes that came to nothing stay as they are: there are few.
pub(super) fn statements(of: Generation, figured: &Figured, through: &EventKey) -> Vec<Query> {
    let generation = || Value::Integer(of.id);
    let mut all = vec![advance(of)];
    let rows = |rows: Vec<Vec<Value>>| -> Vec<Vec<Value>> {
        rows.into_iter()
            .map(|row| std::iter::once(generation()).chain(row).collect())
            .collect()
    };
    let things = figured
        .things
        .iter()
        .map(|(name, known)| vec![text_value(name), text_value(known)]);
    all.extend(insert(
        "INSERT INTO figure_things (generation, thing, known)",
        rows(things.collect()),
        "ON CONFLICT (generation, thing) DO UPDATE SET known = EXCLUDED.known",
    ));
    let sums = figured.sums.iter().map(|(key, value)| {
        vec![
            text_value(&key.brand_id),
            text_value(&key.label),
            Value::Integer(key.quarter),
            text_value(&key.number),
            text_value(key.measure),
            text_value(&key.detail),
            Value::Integer(*value),
        ]
    });
    all.extend(insert(
        "INSERT INTO figure_sums
    (generation, brand_id, label, quarter, number, measure, detail, value)",
        rows(sums.collect()),
        "ON CONFLICT (generation, brand_id, label, quarter, number, measure, detail)
DO UPDATE SET value = figure_sums.value + EXCLUDED.value",
    ));
    let minutes = figured
        .minutes
        .iter()
        .map(|((number, minute, measure), value)| {
            vec![
                text_value(number),
                Value::Integer(*minute),
                text_value(measure),
                Value::Integer(*value),
            ]
        });
    all.extend(insert(
        "INSERT INTO figure_minutes (generation, number, minute, measure, value)",
        rows(minutes.collect()),
        "ON CONFLICT (generation, number, minute, measure)
DO UPDATE SET value = figure_minutes.value + EXCLUDED.value",
    ));
    let webhooks = figured
        .webhooks
        .iter()
        .map(|(number, at)| vec![text_value(number), Value::Integer(*at)]);
    all.extend(insert(
        "INSERT INTO figure_webhooks (generation, number, at_ns)",
        rows(webhooks.collect()),
        "ON CONFLICT (generation, number) DO UPDATE SET at_ns = CASE
    WHEN EXCLUDED.at_ns > figure_webhooks.at_ns THEN EXCLUDED.at_ns
    ELSE figure_webhooks.at_ns END",
    ));
    let contacts = figured.contacts.iter().map(|contact| {
        vec![
            text_value(&contact.portfolio_id),
            text_value(&contact.customer_id),
            Value::Integer(contact.at_ns),
        ]
    });
    all.extend(insert(
        "INSERT INTO figure_contacts (generation, portfolio_id, customer_id, at_ns)",
        rows(contacts.collect()),
        "ON CONFLICT (generation, portfolio_id, customer_id) DO UPDATE SET at_ns = CASE
    WHEN EXCLUDED.at_ns > figure_contacts.at_ns THEN EXCLUDED.at_ns
    ELSE figure_contacts.at_ns END",
    ));
    let records = figured.records.iter().map(|one| {
        vec![
            text_value(one.kind.as_str()),
            text_value(&one.name),
            Value::Integer(one.stored_ns),
            Value::Text(hex::encode(&one.record)),
        ]
    });
    all.extend(insert(
        "INSERT INTO figure_records (generation, kind, name, stored_ns, record)",
        rows(records.collect()),
        "ON CONFLICT (generation, kind, name) DO UPDATE
SET stored_ns = EXCLUDED.stored_ns, record = EXCLUDED.record
WHERE EXCLUDED.stored_ns >= figure_records.stored_ns",
    ));
    let acts = figured.acts.iter().map(|one| {
        vec![
            text_value(&one.act),
            Value::Integer(one.time_ns),
            text_value(&one.event_type),
            text_value(&one.caller),
            text_value(&one.author),
            text_value(&one.brand_id),
            text_value(&one.number),
            text_value(&one.target),
            text_value(&one.reason),
            text_value(&one.stream),
            text_value(&one.incarnation),
            Value::Integer(integer(one.sequence)),
        ]
    });
    all.extend(insert(
        "INSERT INTO figure_acts (
    generation, act, time_ns, event_type, caller, author, brand_id, number, target, reason,
    stream, incarnation, sequence
)",
        rows(acts.collect()),
        "ON CONFLICT (generation, act) DO NOTHING",
    ));
    let cursor = vec![
        text_value(&through.stream),
        text_value(&through.incarnation),
        Value::Integer(integer(through.sequence)),
    ];
    all.extend(insert(
        "INSERT INTO figure_cursors (generation, stream, incarnation, sequence)",
        rows(vec![cursor]),
        "ON CONFLICT (generation, stream, incarnation) DO UPDATE SET sequence = EXCLUDED.sequence",
    ));
    all
}

/// What is dropped with a generation.
pub(super) const DROPS: [&str; 8] = [
    "DELETE FROM figure_cursors WHERE generation < $1",
    "DELETE FROM figure_things WHERE generation < $1",
    "DELETE FROM figure_sums WHERE generation < $1",
    "DELETE FROM figure_minutes WHERE generation < $1",
    "DELETE FROM figure_webhooks WHERE generation < $1",
    "DELETE FROM figure_contacts WHERE generation < $1",
    "DELETE FROM figure_records WHERE generation < $1",
    "DELETE FROM figure_acts WHERE generation < $1",
];

//! New read models beside the served ones: under names of their own, which the transaction that
//! fills them exchanges for as long as it lasts. Nobody else sees that, since others see what was
//! committed; and no statement that projects knows of it.

use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::sync::OwnedRwLockWriteGuard;

use super::super::backend::{integer, rebuild_marks, rebuild_state};
use super::super::rebuild::{self, Rebuild, Rebuilding, tables};
use super::super::text::escape;
use super::super::{Answer, Error, EventKey, failed};
use super::{Sqlite, write};
use crate::batch::Entry;

/// What names of tables that are being built end with.
const NEXT: &str = "_next";

/// What the names of served tables end with while others stand in their place.
const SERVED: &str = "_served";

/// What every other life of an index ends with: no index can be renamed.
const OTHER: &str = "__b";

/// A message that has left the log has done so for the new tables as well.
const KEEP_PURGED: &str = "\
UPDATE messages SET is_purged = TRUE
WHERE message_id IN (SELECT value FROM json_each($1)) AND EXISTS (
    SELECT 1 FROM messages_served s
    WHERE s.message_id = messages.message_id AND s.is_purged = TRUE
        AND s.position_incarnation = messages.position_incarnation
        AND s.position_sequence = messages.position_sequence
)";

impl Rebuilding for Sqlite {
    fn rebuild(&self) -> Answer<'_, Rebuild> {
        Box::pin(rebuild_state(self))
    }

    fn rebuild_marks(&self) -> Answer<'_, Vec<EventKey>> {
        Box::pin(rebuild_marks(self))
    }

    fn ask_rebuild(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let count: i64 = sqlx::query_scalar(rebuild::ASK)
                .fetch_one(&self.writer)
                .await
                .map_err(failed("ask for new read models"))?;
            Ok(count.unsigned_abs())
        })
    }

    fn begin_rebuild<'a>(&'a self, from: &'a Rebuild, building: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            let mut transaction = connection.begin().await.map_err(failed("begin"))?;
            let done = sqlx::query(rebuild::BEGIN)
                .bind(building)
                .bind(integer(from.ask_count))
                .bind(&from.building)
                .bind(integer(from.building_ask))
                .bind(integer(from.served_ask))
                .bind(integer(from.row_count))
                .execute(&mut *transaction)
                .await
                .map_err(failed("begin new read models"))?;
            if done.rows_affected() != 1 {
                return Err(Error::Moved);
            }
            sqlx::query(rebuild::FORGET_MARKS)
                .execute(&mut *transaction)
                .await
                .map_err(failed("begin new read models"))?;
            for table in tables() {
                make(&mut transaction, table)
                    .await
                    .map_err(failed("make new tables"))?;
            }
            transaction.commit().await.map_err(failed("commit"))
        })
    }

    fn go_on_rebuild<'a>(
        &'a self,
        from: &'a Rebuild,
        after: Option<&'a EventKey>,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(last) = rows.last().map(|entry| EventKey::of(&entry.row)) else {
                return Ok(());
            };
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            let mut transaction = connection.begin().await.map_err(failed("begin"))?;
            advance(&mut transaction, from, after, &last, rows.len()).await?;
            let exchange = failed::<sqlx::Error>("exchange tables");
            let there = there(&mut transaction).await.map_err(exchange)?;
            for table in &there {
                rename(&mut transaction, table, &format!("{table}{SERVED}"))
                    .await
                    .map_err(failed("exchange tables"))?;
                rename(&mut transaction, &format!("{table}{NEXT}"), table)
                    .await
                    .map_err(failed("exchange tables"))?;
            }
            write::project(&mut transaction, rows, &self.keys).await?;
            let messages = rebuild::messages_of(rows);
            let messages = serde_json::to_string(&messages).expect("texts are JSON");
            sqlx::query(KEEP_PURGED)
                .bind(messages)
                .execute(&mut *transaction)
                .await
                .map_err(failed("keep what was purged"))?;
            for table in &there {
                rename(&mut transaction, table, &format!("{table}{NEXT}"))
                    .await
                    .map_err(failed("exchange tables"))?;
                rename(&mut transaction, &format!("{table}{SERVED}"), table)
                    .await
                    .map_err(failed("exchange tables"))?;
            }
            transaction.commit().await.map_err(failed("commit"))
        })
    }

    fn end_rebuild<'a>(&'a self, from: &'a Rebuild) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await.map_err(failed("connect"))?;
            let mut transaction = connection.begin().await.map_err(failed("begin"))?;
            // First, so that from here on nobody else writes.
            let done = sqlx::query(rebuild::END)
                .bind(&from.building)
                .bind(integer(from.building_ask))
                .execute(&mut *transaction)
                .await
                .map_err(failed("end new read models"))?;
            let behind: i64 = sqlx::query_scalar(rebuild::BEHIND)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed("end new read models"))?;
            if done.rows_affected() != 1 || behind > 0 {
                return Err(Error::Moved);
            }
            for table in there(&mut transaction)
                .await
                .map_err(failed("exchange tables"))?
            {
                drop_table(&mut transaction, table)
                    .await
                    .map_err(failed("drop old tables"))?;
                rename(&mut transaction, &format!("{table}{NEXT}"), table)
                    .await
                    .map_err(failed("exchange tables"))?;
            }
            sqlx::query(rebuild::FORGET_MARKS)
                .execute(&mut *transaction)
                .await
                .map_err(failed("end new read models"))?;
            transaction.commit().await.map_err(failed("commit"))
        })
    }

    fn hold_writers(&self) -> BoxFuture<'_, OwnedRwLockWriteGuard<()>> {
        Box::pin(self.writing.clone().write_owned())
    }
}

/// Notes how far the new tables have come, if nobody else has gone on meanwhile.
async fn advance(
    connection: &mut SqliteConnection,
    from: &Rebuild,
    after: Option<&EventKey>,
    last: &EventKey,
    rows_count: usize,
) -> Result<(), Error> {
    let counted = sqlx::query(rebuild::COUNT)
        .bind(i64::try_from(rows_count).unwrap_or(i64::MAX))
        .bind(&from.building)
        .bind(integer(from.building_ask))
        .execute(&mut *connection)
        .await
        .map_err(failed("go on with new read models"))?;
    let statement = match after {
        None => rebuild::BEGIN_MARK,
        Some(_) => rebuild::ADVANCE_MARK,
    };
    let mut mark = sqlx::query(statement)
        .bind(escape(&last.stream))
        .bind(escape(&last.incarnation))
        .bind(integer(last.sequence));
    if let Some(after) = after {
        mark = mark.bind(integer(after.sequence));
    }
    let marked = mark
        .execute(&mut *connection)
        .await
        .map_err(failed("go on with new read models"))?;
    if counted.rows_affected() == 1 && marked.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Moved)
    }
}

/// Makes an empty table as a served one is, with its indexes.
async fn make(connection: &mut SqliteConnection, table: &'static str) -> Result<(), sqlx::Error> {
    drop_table(connection, &format!("{table}{NEXT}")).await?;
    let made = "SELECT type, name, sql FROM sqlite_master \
                WHERE tbl_name = $1 AND sql IS NOT NULL AND type IN ('table', 'index') \
                ORDER BY type DESC";
    let made: Vec<(String, String, String)> = sqlx::query_as(made)
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
    for (kind, name, sql) in made {
        let Some(statement) = next_of(table, &kind, &name, &sql) else {
            continue;
        };
        // What the database itself says of a table of ours.
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Returns the statement that makes the new one of a table or an index.
fn next_of(table: &str, kind: &str, name: &str, sql: &str) -> Option<String> {
    if kind == "index" {
        let unique = if sql.to_ascii_uppercase().starts_with("CREATE UNIQUE") {
            "UNIQUE "
        } else {
            ""
        };
        let columns = sql.get(sql.find('(')?..)?;
        let name = match name.strip_suffix(OTHER) {
            Some(one) => one.to_owned(),
            None => format!("{name}{OTHER}"),
        };
        return Some(format!(
            "CREATE {unique}INDEX \"{name}\" ON \"{table}{NEXT}\" {columns}"
        ));
    }
    let virtual_ = "CREATE VIRTUAL TABLE ";
    if sql.to_ascii_uppercase().starts_with(virtual_) {
        let using = sql.get(sql.to_ascii_uppercase().find(" USING ")?..)?;
        return Some(format!("{virtual_}\"{table}{NEXT}\"{using}"));
    }
    let columns = sql.get(sql.find('(')?..)?;
    Some(format!("CREATE TABLE \"{table}{NEXT}\" {columns}"))
}

/// Returns the tables that are made anew and that this database has.
async fn there(connection: &mut SqliteConnection) -> Result<Vec<&'static str>, sqlx::Error> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(connection)
            .await?;
    let is_there = |table: &&str| names.iter().any(|name| *name == format!("{table}{NEXT}"));
    Ok(tables().filter(is_there).collect())
}

async fn drop_table(connection: &mut SqliteConnection, table: &str) -> Result<(), sqlx::Error> {
    // Names of tables are ours.
    let statement = format!("DROP TABLE IF EXISTS \"{table}\"");
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

async fn rename(
    connection: &mut SqliteConnection,
    from: &str,
    to: &str,
) -> Result<(), sqlx::Error> {
    let statement = format!("ALTER TABLE \"{from}\" RENAME TO \"{to}\"");
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_indexes_are_made_as_they_stand() {
        let of = |kind, name, sql| next_of("t", kind, name, sql).unwrap();
        assert_eq!(
            of(
                "table",
                "t",
                "CREATE TABLE \"t\" (a TEXT, b BLOB DEFAULT X'') STRICT"
            ),
            "CREATE TABLE \"t_next\" (a TEXT, b BLOB DEFAULT X'') STRICT"
        );
        assert_eq!(
            of("table", "t", "CREATE VIRTUAL TABLE t USING fts5(a, b)"),
            "CREATE VIRTUAL TABLE \"t_next\" USING fts5(a, b)"
        );
        assert_eq!(
            of(
                "index",
                "t_by_a",
                "CREATE INDEX t_by_a ON t (a) WHERE b > 0"
            ),
            "CREATE INDEX \"t_by_a__b\" ON \"t_next\" (a) WHERE b > 0"
        );
        assert_eq!(
            of(
                "index",
                "t_by_a__b",
                "CREATE UNIQUE INDEX \"t_by_a__b\" ON \"t\" (a)"
            ),
            "CREATE UNIQUE INDEX \"t_by_a\" ON \"t_next\" (a)"
        );
    }
}

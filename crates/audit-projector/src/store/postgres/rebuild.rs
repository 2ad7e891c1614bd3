//! New read models beside the served ones: in a schema of their own, which a transaction that
//! fills them looks for tables in first. No statement that projects knows of it.
//!
//! Besides what the role needs anyway, this takes the right to make a schema (`CREATE` on the
//! database) and owning the tables. Rights that others have to the tables are kept.

use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::super::backend::{integer, rebuild_marks, rebuild_state};
use super::super::rebuild::{self, Rebuild, Rebuilding, tables};
use super::super::text::escape;
use super::super::{Answer, Error, EventKey, failed};
use super::session::Session;
use super::{ANSWER_TIMEOUT, Postgres, write};
use crate::batch::Entry;

/// Waits that are in everybody's way have an end; it is tried again.
const WAIT_A_LITTLE: &str = "SET LOCAL lock_timeout = '3s'";

/// From here on, until the end of the transaction, tables are those that are being built.
const LOOK_THERE_FIRST: &str = "\
SELECT set_config(
    'search_path',
    format('%I, %s', current_schema() || '_next', current_setting('search_path')),
    true
)";

/// So that nobody archives any more.
const LOCK_HEADS: &str = "LOCK TABLE archive_heads IN SHARE ROW EXCLUSIVE MODE";

/// A message that has left the log has done so for the new tables as well.
const KEEP_PURGED: &str = "\
UPDATE messages AS n SET is_purged = TRUE
FROM {served}.messages AS s
WHERE n.message_id = ANY($1::text[]) AND s.message_id = n.message_id AND s.is_purged = TRUE
    AND s.position_incarnation = n.position_incarnation
    AND s.position_sequence = n.position_sequence";

/// Statements that make an empty table as a served one is: itself, its indexes, and who else may
/// use it.
const MAKE: &str = "\
WITH served AS (
    SELECT c.oid, c.relname, c.relacl, c.relowner, n.nspname, n.nspname || '_next' AS next
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass($1)
)
SELECT 0 AS place, format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING ALL EXCLUDING INDEXES)',
    next, relname, nspname, relname) AS statement FROM served
UNION ALL
SELECT 1, CASE WHEN k.oid IS NOT NULL
    THEN format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s',
        s.next, s.relname, k.conname, pg_get_constraintdef(k.oid))
    ELSE replace(pg_get_indexdef(x.indexrelid), format(' ON %I.%I ', s.nspname, s.relname),
        format(' ON %I.%I ', s.next, s.relname))
    END
FROM served s JOIN pg_index x ON x.indrelid = s.oid
LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = s.oid
    AND k.contype IN ('p', 'u')
UNION ALL
SELECT 2, format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, s.next, s.relname,
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM served s CROSS JOIN LATERAL aclexplode(s.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE a.grantee <> s.relowner
ORDER BY place";

impl Rebuilding for Postgres {
    fn rebuild(&self) -> Answer<'_, Rebuild> {
        Box::pin(rebuild_state(self))
    }

    fn rebuild_marks(&self) -> Answer<'_, Vec<EventKey>> {
        Box::pin(rebuild_marks(self))
    }

    fn ask_rebuild(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let ask = sqlx::query_scalar(rebuild::ASK).fetch_one(session.connection());
            let count: i64 = timeout(ANSWER_TIMEOUT, ask)
                .await
                .map_err(failed("answer in time"))?
                .map_err(failed("ask for new read models"))?;
            session.give_back();
            Ok(count.unsigned_abs())
        })
    }

    fn begin_rebuild<'a>(&'a self, from: &'a Rebuild, building: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut session = self.to_write().await?;
            let begin = begin(session.connection(), from, building);
            settled(timeout(ANSWER_TIMEOUT, begin).await, session)
        })
    }

    fn go_on_rebuild<'a>(
        &'a self,
        from: &'a Rebuild,
        after: Option<&'a EventKey>,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut session = self.to_write().await?;
            let go_on = self.go_on(session.connection(), from, after, rows);
            settled(timeout(ANSWER_TIMEOUT, go_on).await, session)
        })
    }

    fn end_rebuild<'a>(&'a self, from: &'a Rebuild) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut session = self.to_write().await?;
            let end = end(session.connection(), from);
            settled(timeout(ANSWER_TIMEOUT, end).await, session)
        })
    }

    fn hold_writers(&self) -> BoxFuture<'_, OwnedRwLockWriteGuard<()>> {
        Box::pin(self.writing.clone().write_owned())
    }
}

/// Gives a session back, unless it was left in the middle of something.
fn settled(done: Result<Result<(), Error>, Elapsed>, session: Session) -> Result<(), Error> {
    let done = done.map_err(failed("answer in time"))?;
    if matches!(done, Ok(()) | Err(Error::Moved)) {
        session.give_back();
    }
    done
}

impl Postgres {
    async fn to_write(&self) -> Result<Session, Error> {
        self.ready().await?;
        Session::of(&self.writers).await
    }

    async fn go_on(
        &self,
        connection: &mut PgConnection,
        from: &Rebuild,
        after: Option<&EventKey>,
        rows: &[Entry],
    ) -> Result<(), Error> {
        let Some(last) = rows.last().map(|entry| EventKey::of(&entry.row)) else {
            return Ok(());
        };
        let mut transaction = connection.begin().await.map_err(failed("begin"))?;
        if !advance(&mut transaction, from, after, &last, rows.len())
            .await
            .map_err(failed("go on with new read models"))?
        {
            transaction.rollback().await.map_err(failed("roll back"))?;
            return Err(Error::Moved);
        }
        let schema: String = sqlx::query_scalar("SELECT quote_ident(current_schema())")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed("find the tables"))?;
        sqlx::query(LOOK_THERE_FIRST)
            .execute(&mut *transaction)
            .await
            .map_err(failed("find the new tables"))?;
        write::project(&mut transaction, rows, &self.keys).await?;
        sqlx::query(AssertSqlSafe(KEEP_PURGED.replace("{served}", &schema)))
            .bind(rebuild::messages_of(rows))
            .execute(&mut *transaction)
            .await
            .map_err(failed("keep what was purged"))?;
        transaction.commit().await.map_err(failed("commit"))
    }
}

async fn begin(connection: &mut PgConnection, from: &Rebuild, building: &str) -> Result<(), Error> {
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
        transaction.rollback().await.map_err(failed("roll back"))?;
        return Err(Error::Moved);
    }
    make_all(&mut transaction)
        .await
        .map_err(failed("make new tables"))?;
    transaction.commit().await.map_err(failed("commit"))
}

async fn make_all(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(WAIT_A_LITTLE).execute(&mut *connection).await?;
    sqlx::query(rebuild::FORGET_MARKS)
        .execute(&mut *connection)
        .await?;
    let next = next_schema(connection).await?;
    for statement in [
        format!("DROP SCHEMA IF EXISTS {next} CASCADE"),
        format!("CREATE SCHEMA {next}"),
    ] {
        execute(connection, statement).await?;
    }
    for table in tables() {
        let statements = sqlx::query(MAKE)
            .bind(table)
            .fetch_all(&mut *connection)
            .await?;
        for statement in statements {
            execute(connection, statement.try_get("statement")?).await?;
        }
    }
    Ok(())
}

/// Notes how far the new tables have come. Returns whether nobody else has gone on meanwhile.
async fn advance(
    connection: &mut PgConnection,
    from: &Rebuild,
    after: Option<&EventKey>,
    last: &EventKey,
    rows_count: usize,
) -> Result<bool, sqlx::Error> {
    let counted = sqlx::query(rebuild::COUNT)
        .bind(i64::try_from(rows_count).unwrap_or(i64::MAX))
        .bind(&from.building)
        .bind(integer(from.building_ask))
        .execute(&mut *connection)
        .await?;
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
    let marked = mark.execute(connection).await?;
    Ok(counted.rows_affected() == 1 && marked.rows_affected() == 1)
}

async fn end(connection: &mut PgConnection, from: &Rebuild) -> Result<(), Error> {
    let mut transaction = connection.begin().await.map_err(failed("begin"))?;
    if !exchange(&mut transaction, from)
        .await
        .map_err(failed("exchange tables"))?
    {
        transaction.rollback().await.map_err(failed("roll back"))?;
        return Err(Error::Moved);
    }
    transaction.commit().await.map_err(failed("commit"))
}

/// Returns whether all that is archived went into the new tables; otherwise nothing is to stay.
async fn exchange(connection: &mut PgConnection, from: &Rebuild) -> Result<bool, sqlx::Error> {
    sqlx::query(WAIT_A_LITTLE).execute(&mut *connection).await?;
    let done = sqlx::query(rebuild::END)
        .bind(&from.building)
        .bind(integer(from.building_ask))
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    sqlx::query(LOCK_HEADS).execute(&mut *connection).await?;
    let behind: i64 = sqlx::query_scalar(rebuild::BEHIND)
        .fetch_one(&mut *connection)
        .await?;
    if behind > 0 {
        return Ok(false);
    }
    let next = next_schema(connection).await?;
    let served: String = sqlx::query_scalar("SELECT quote_ident(current_schema())")
        .fetch_one(&mut *connection)
        .await?;
    for table in tables() {
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{next}.{table}"))
            .fetch_one(&mut *connection)
            .await?;
        if is_there {
            execute(connection, format!("DROP TABLE {served}.{table}")).await?;
            let moved = format!("ALTER TABLE {next}.{table} SET SCHEMA {served}");
            execute(connection, moved).await?;
        }
    }
    execute(connection, format!("DROP SCHEMA {next} CASCADE")).await?;
    sqlx::query(rebuild::FORGET_MARKS)
        .execute(connection)
        .await?;
    Ok(true)
}

/// Returns the name of the schema that is filled, as statements have it.
async fn next_schema(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT quote_ident(current_schema() || '_next')")
        .fetch_one(connection)
        .await
}

/// Runs a statement that is made of names of ours, and of what the database says of its tables.
async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

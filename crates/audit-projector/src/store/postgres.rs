//! The archive in a PostgreSQL database, version 13 or newer, with UTF-8.
//!
//! Every operation connects if it must and answers in bounded time: a server that is away, full,
//! starting or silent is an error to come back from. A commit is on the server's disk when it
//! returns (`synchronous_commit = on`, whatever the server's default). The tables are brought up
//! to date before the first use, under an advisory lock, so that many may start at once.
//!
//! # The role's rights
//!
//! To bring the tables up to date: `CONNECT` on the database, `USAGE` and `CREATE` on the schema
//! (the first one of its `search_path`), and to own the tables. It never creates databases, roles
//! or extensions.
//!
//! Where another role has brought them up to date (same version, started once), this is enough:
//!
//! ```sql
//! GRANT SELECT ON _sqlx_migrations TO archivist;
//! GRANT SELECT, INSERT ON archive, counted_facts, message_terms, mentions TO archivist;
//! GRANT SELECT, INSERT, UPDATE ON archive_heads, conversations, conversation_labels, messages,
//!     message_rebuild TO archivist;
//! ```
//!
//! No right to delete is ever needed, nor one to update archived rows. Verifying alone takes
//! `SELECT` on `archive` and `archive_heads`.
//!
//! Sessions are set up by start-up parameters and hold prepared statements: a pooler in between
//! must pool sessions, not transactions.

mod inspect;
mod session;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::time::Duration;

use futures::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::backend::{Backend, Visitor};
use super::sql::{Query, Value};
use super::{Answer, Error, Rebuild, failed, text};
use crate::batch::{Batch, Entry};
use session::Session;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Connections that write: one for each of the five streams, and one for the purge.
const WRITERS_COUNT: u32 = 6;

/// How long an operation waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a query or a transaction may take before its connection is given up. The server is
/// told to give up a little earlier.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long bringing the tables up to date may take, waiting for others who do the same included.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(15);

/// An archive in a database.
pub(crate) struct Postgres {
    options: PgConnectOptions,
    writers: PgPool,
    readers: PgPool,
    /// Set once the tables are known to be there.
    is_ready: OnceCell<()>,
}

impl fmt::Debug for Postgres {
    /// Without the options, which hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Takes the address of a database, and brings its tables up to date if it answers; if it
    /// is away, that is done as soon as it is back.
    ///
    /// Refuses what no waiting mends: a malformed address, a wrong password, a missing database
    /// or right, tables of another version.
    pub(crate) async fn open(url: &SecretString, readers_count: u32) -> Result<Self, Error> {
        let options = session::parse(url.expose_secret())?;
        let writers = pool(WRITERS_COUNT, session::for_writing(&options));
        let readers = pool(readers_count.max(1), session::for_reading(&options));
        let store = Self {
            options,
            writers,
            readers,
            is_ready: OnceCell::new(),
        };
        match store.ready().await {
            Ok(()) => Ok(store),
            Err(error) if session::is_hopeless(&error) => Err(error),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "archive's database is away, going on without it until it answers");
                Ok(store)
            }
        }
    }

    /// Connects for reading alone. Others may write meanwhile.
    pub(crate) async fn open_read_only(url: &SecretString) -> Result<Self, Error> {
        let options = session::parse(url.expose_secret())?;
        let readers = pool(1, session::for_reading(&options));
        drop(Session::of(&readers).await?);
        Ok(Self {
            options,
            writers: readers.clone(),
            readers,
            is_ready: OnceCell::new_with(Some(())),
        })
    }

    async fn ready(&self) -> Result<(), Error> {
        let migrate = async || {
            let migrate = session::migrate(&self.options, &MIGRATIONS);
            let migrated = timeout(MIGRATION_TIMEOUT, migrate).await;
            migrated.map_err(failed("migrate in time"))?
        };
        self.is_ready.get_or_try_init(migrate).await?;
        Ok(())
    }
}

fn pool(connections_max: u32, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options)
}

fn bound(query: Query) -> sqlx::query::Query<'static, sqlx::Postgres, PgArguments> {
    // Put together from constants; see `Query`.
    let mut bound = sqlx::query(AssertSqlSafe(query.sql));
    for value in query.values {
        bound = match value {
            Value::Text(text) => bound.bind(text::escape(&text).into_owned()),
            Value::Integer(integer) => bound.bind(integer),
        };
    }
    bound
}

impl Backend for Postgres {
    const SYSTEM: &'static str = "postgresql";

    type Row = PgRow;

    fn visit<'a>(
        &'a self,
        operation: &'static str,
        query: Query,
        visitor: Visitor<'a, PgRow>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.readers).await?;
            let visit = async {
                let mut rows = bound(query).fetch(session.connection());
                while let Some(row) = rows.try_next().await.map_err(failed(operation))? {
                    if !visitor(&row)? {
                        // Nearly always this was the last row; what is not worth reading to its
                        // end is cut off with its session.
                        let rest = rows.try_next().await.map_err(failed(operation))?;
                        return Ok(rest.is_none());
                    }
                }
                Ok(true)
            };
            let is_at_end = timeout(ANSWER_TIMEOUT, visit).await;
            if is_at_end.map_err(failed("answer in time"))?? {
                session.give_back();
            }
            Ok(())
        })
    }

    fn change<'a>(&'a self, operation: &'static str, statement: Query) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let change = bound(statement).execute(session.connection());
            let done = timeout(ANSWER_TIMEOUT, change).await;
            done.map_err(failed("answer in time"))?
                .map_err(failed(operation))?;
            session.give_back();
            Ok(())
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let write = write::append(session.connection(), batch);
            let written = timeout(ANSWER_TIMEOUT, write).await;
            let written = written.map_err(failed("answer in time"))?;
            if matches!(written, Ok(()) | Err(Error::Moved)) {
                session.give_back();
            }
            written
        })
    }

    fn write_again<'a>(
        &'a self,
        version: i64,
        from: &'a Rebuild,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let write = write::again(session.connection(), version, from, rows);
            let written = timeout(ANSWER_TIMEOUT, write).await;
            let written = written.map_err(failed("answer in time"))?;
            if matches!(written, Ok(()) | Err(Error::Moved)) {
                session.give_back();
            }
            written
        })
    }
}

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
//! (the first one of its `search_path`), and to own the tables; to make read models anew, `CREATE`
//! on the database, for a schema that is gone afterwards. It never creates databases, roles or
//! extensions.
//!
//! Where another role has brought them up to date (same version, started once), this is enough:
//!
//! ```sql
//! GRANT SELECT ON _sqlx_migrations TO archivist;
//! GRANT SELECT, INSERT ON archive, counted_facts, incarnations, message_terms, mentions,
//!     search_documents, signed_heads TO archivist;
//! GRANT SELECT, INSERT, UPDATE ON archive_heads, conversations, conversation_labels, customer_keys,
//!     customer_consents, messages, read_models TO archivist;
//! GRANT SELECT ON read_model_marks TO archivist;
//! ```
//!
//! No right to delete is ever needed, nor one to update archived rows, but `UPDATE` on `archive` for
//! as long as rows from before there were keys of customers are sealed. Verifying alone takes
//! `SELECT` on `archive`, `archive_heads`, `signed_heads`, `incarnations`, `customer_keys` and
//! `_sqlx_migrations`.
//!
//! Sessions are set up by start-up parameters and hold prepared statements: a pooler in between
//! must pool sessions, not transactions.

mod copy;
mod inspect;
mod keys;
mod rebuild;
mod search;
mod session;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use casement_secrets::keys::MasterKeys;
use futures::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::{OnceCell, RwLock};
use tokio::time::timeout;

use super::backend::{Backend, Visitor};
use super::search::Dialect;
use super::sql::{Query, Value};
use super::{Answer, Error, failed, text};
use crate::batch::Batch;
use crate::keys::{CustomerKeys, Keyring, SEARCH_OWNER};
use session::Session;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Connections that write: one for each of the five streams, one for the purge, and one for making
/// read models anew.
const WRITERS_COUNT: u32 = 7;

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
    keys: CustomerKeys,
    /// Held by whoever archives; and whole, by whoever exchanges tables.
    writing: Arc<RwLock<()>>,
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
    pub(crate) async fn open(
        url: &SecretString,
        readers_count: u32,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, Error> {
        let keys = CustomerKeys::new(masters);
        keys.master_key_id()?;
        let options = session::parse(url.expose_secret())?;
        let writers = pool(WRITERS_COUNT, session::for_writing(&options));
        let readers = pool(readers_count.max(1), session::for_reading(&options));
        let store = Self {
            options,
            writers,
            readers,
            is_ready: OnceCell::new(),
            keys,
            writing: Arc::default(),
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

    /// Connects for reading alone. Others may write meanwhile. Without master keys, what is sealed
    /// stays so.
    pub(crate) async fn open_read_only(
        url: &SecretString,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, Error> {
        let options = session::parse(url.expose_secret())?;
        let readers = pool(1, session::for_reading(&options));
        drop(Session::of(&readers).await?);
        Ok(Self {
            options,
            writers: readers.clone(),
            readers,
            is_ready: OnceCell::new_with(Some(())),
            keys: CustomerKeys::new(masters),
            writing: Arc::default(),
        })
    }

    async fn ready(&self) -> Result<(), Error> {
        let migrate = async || {
            let migrate = session::migrate(&self.options, &MIGRATIONS);
            let migrated = timeout(MIGRATION_TIMEOUT, migrate).await;
            migrated.map_err(failed("migrate in time"))??;
            self.prepare().await
        };
        self.is_ready.get_or_try_init(migrate).await?;
        Ok(())
    }

    /// Makes the search key ready. Also proves that the master keys are those of this database: it
    /// is wrapped anew after all others.
    async fn prepare(&self) -> Result<(), Error> {
        let owners = BTreeSet::from([SEARCH_OWNER.to_owned()]);
        let mut session = Session::of(&self.writers).await?;
        let find = keys::wrapped_keys(session.connection(), &self.keys, &owners);
        let found = timeout(ANSWER_TIMEOUT, find).await;
        for wrapped in found.map_err(failed("answer in time"))??.values() {
            self.keys.set_search(wrapped)?;
        }
        session.give_back();
        Ok(())
    }

    async fn changed(&self, operation: &'static str, statements: Vec<Query>) -> Result<(), Error> {
        let mut session = Session::of(&self.writers).await?;
        let change = async {
            let begun = session.connection().begin().await;
            let mut transaction = begun.map_err(failed("begin"))?;
            for statement in statements {
                let done = bound(statement).execute(&mut *transaction).await;
                done.map_err(failed(operation))?;
            }
            transaction.commit().await.map_err(failed("commit"))
        };
        let done = timeout(ANSWER_TIMEOUT, change).await;
        done.map_err(failed("answer in time"))??;
        session.give_back();
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
            Value::Bytes(bytes) => bound.bind(bytes),
        };
    }
    bound
}

impl Backend for Postgres {
    const SYSTEM: &'static str = "postgresql";

    const HAS_WORDS_APART: bool = false;

    type Row = PgRow;

    const SEARCH: Dialect = Dialect {
        select: "SELECT d.place, d.stream, d.incarnation, d.sequence FROM search_documents d",
        has_words: "d.words @@ CAST(? AS tsquery)",
        since: "d.place >= ?",
        until: "d.place < ?",
        before: "(d.place, d.stream, d.incarnation, d.sequence) < (?, ?, ?, ?)",
        order: "d.place DESC, d.stream DESC, d.incarnation DESC, d.sequence DESC",
    };

    fn all_words(digests: &[String]) -> String {
        digests.join(" & ")
    }

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
                Ok::<_, Error>(true)
            };
            let is_at_end = timeout(ANSWER_TIMEOUT, visit).await;
            if is_at_end.map_err(failed("answer in time"))?? {
                session.give_back();
            }
            Ok(())
        })
    }

    fn change_all<'a>(&'a self, operation: &'static str, statements: Vec<Query>) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            self.changed(operation, statements).await
        })
    }

    fn keys(&self) -> &CustomerKeys {
        &self.keys
    }

    fn keyring(&self, owners: BTreeSet<String>) -> Answer<'_, Keyring> {
        Box::pin(async move {
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let find = keys::keyring(session.connection(), &self.keys, &owners);
            let found = timeout(ANSWER_TIMEOUT, find).await;
            let found = found.map_err(failed("answer in time"))??;
            session.give_back();
            Ok(found)
        })
    }

    /// What was overwritten stays in the table's free space and in the server's log until that is
    /// written over: docs/operate/privacy.md tells what there is to do.
    fn scrub(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn end(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.readers.close().await;
            self.writers.close().await;
            Ok(())
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            let _writes = self.writing.read().await;
            self.ready().await?;
            let mut session = Session::of(&self.writers).await?;
            let write = write::append(session.connection(), batch, &self.keys);
            let written = timeout(ANSWER_TIMEOUT, write).await;
            let written = written.map_err(failed("answer in time"))?;
            if matches!(written, Ok(()) | Err(Error::Moved)) {
                session.give_back();
            }
            written
        })
    }
}

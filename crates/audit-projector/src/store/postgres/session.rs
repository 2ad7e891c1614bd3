//! Sessions: how they are set up, what becomes of broken ones, and which refusals are for good.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;

use super::super::{Applied, Error, applied, failed};
use super::ACQUIRE_TIMEOUT;

/// A connection on loan. It is closed, and not given back, unless it is known to be in order:
/// what was left in the middle of an answer may never get to its end.
pub(super) struct Session(Option<PoolConnection<sqlx::Postgres>>);

impl Session {
    pub(super) async fn of(pool: &PgPool) -> Result<Self, Error> {
        let connection = pool.acquire().await.map_err(failed("connect"))?;
        Ok(Self(Some(connection)))
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("a session has its connection")
    }

    pub(super) fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Closes the socket, at which the server rolls back.
            drop(connection.detach());
        }
    }
}

/// Takes an address apart. No error tells what stands in it.
pub(super) fn parse(url: &str) -> Result<PgConnectOptions, Error> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(failed("take the address")(
            "it does not begin with postgres://".to_owned(),
        ));
    }
    let options: PgConnectOptions = url.parse().map_err(failed("take the address"))?;
    Ok(options
        .application_name("casement audit-projector")
        .options([("client_encoding", "UTF8"), ("timezone", "UTC")])
        .disable_statement_logging())
}

pub(super) fn for_writing(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("synchronous_commit", "on"),
        // Less than what the client waits for, so that it hears why.
        ("statement_timeout", "25s"),
        // A writer that was paused or cut off must not hold the head of a chain for long.
        ("idle_in_transaction_session_timeout", "25s"),
        // A plan made for an empty table would be kept when it is large.
        ("plan_cache_mode", "force_custom_plan"),
        // Its statements are short: what compiles them takes longer than what it saves.
        ("jit", "off"),
    ])
}

pub(super) fn for_reading(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "25s"),
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
    ])
}

/// Why a database that answers cannot hold the archive.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("its encoding is {0}, and has to be UTF8")]
    Encoding(String),
}

/// Brings the tables up to date, if they are not. A session of its own, so that the advisory lock
/// goes away with it however this ends.
pub(super) async fn migrate(
    options: &PgConnectOptions,
    migrations: &Migrator,
) -> Result<(), Error> {
    // Waiting for others who do the same has a bound.
    let options = options.clone().options([("lock_timeout", "60s")]);
    let connection = timeout(ACQUIRE_TIMEOUT, options.connect()).await;
    let mut connection = connection
        .map_err(failed("connect in time"))?
        .map_err(failed("connect"))?;
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(&mut connection)
        .await
        .map_err(failed("tell its encoding"))?;
    if encoding != "UTF8" {
        return Err(failed("hold the archive")(Unfit::Encoding(encoding)));
    }
    if !is_up_to_date(&mut connection, migrations)
        .await
        .map_err(failed("tell its version"))?
    {
        let migrate = migrations.run_direct(None, &mut connection, false);
        migrate.await.map_err(failed("migrate"))?;
    }
    // It has done its work.
    let _ = connection.close().await;
    Ok(())
}

/// Whether nothing is to be done, which also those can find out who have no right to do it.
async fn is_up_to_date(
    connection: &mut PgConnection,
    migrations: &Migrator,
) -> Result<bool, sqlx::Error> {
    Ok(migrated(connection).await? == Some(applied(migrations)))
}

/// Returns which migrations were applied; `None` if none ever was.
pub(super) async fn migrated(
    connection: &mut PgConnection,
) -> Result<Option<Applied>, sqlx::Error> {
    let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(there)
        .fetch_one(&mut *connection)
        .await?
    {
        return Ok(None);
    }
    let migrated = "SELECT version, checksum FROM _sqlx_migrations WHERE success";
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(migrated).fetch_all(connection).await?;
    Ok(Some(rows.into_iter().collect()))
}

/// Whether no waiting mends it: the configuration or the database has to be changed by somebody.
pub(super) fn is_hopeless(error: &Error) -> bool {
    let (operation, source) = match error {
        Error::Database { operation, source } => (operation, source),
        Error::Keys(_) => return true,
        Error::Moved | Error::Outrun | Error::Inconsistent { .. } => return false,
    };
    if *operation == "take the address" || source.is::<Unfit>() {
        return true;
    }
    let refused = match source.downcast_ref::<MigrateError>() {
        Some(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => {
            Some(source)
        }
        Some(_) => return true,
        None => source.downcast_ref(),
    };
    match refused {
        Some(sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) => true,
        Some(sqlx::Error::Database(refusal)) => refusal.code().is_some_and(|code| {
            // Wrong name or password, no such database, no such schema, no right to it.
            code.starts_with("28") || ["3D000", "3F000", "42501"].contains(&code.as_ref())
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_not_shown() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2@h:port/d",
        ] {
            let error = parse(url).unwrap_err();
            assert!(is_hopeless(&error), "{url}");
            assert!(
                !format!("{error:?} {error}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}

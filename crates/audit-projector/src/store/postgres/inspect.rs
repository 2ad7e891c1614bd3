//! Looking at a database in a session that may only read.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::time::timeout;

use super::super::{Error, applied, failed, heads};
use super::session::Session;
use super::{ACQUIRE_TIMEOUT, MIGRATIONS, Postgres, session};
use crate::inspect::{Inspection, Tables, tables};

/// What the role does with its tables.
const RIGHTS: &str = "\
SELECT has_table_privilege('archive', 'SELECT, INSERT')
    AND has_table_privilege('archive_heads', 'SELECT')
    AND has_table_privilege('archive_heads', 'INSERT')
    AND has_table_privilege('archive_heads', 'UPDATE')
    AND has_table_privilege('conversations', 'UPDATE')
    AND has_table_privilege('messages', 'UPDATE')
    AND has_table_privilege('conversation_labels', 'UPDATE')
    AND has_table_privilege('mentions', 'SELECT, INSERT')
    AND has_table_privilege('customer_consents', 'UPDATE')
    AND has_table_privilege('search_documents', 'SELECT, INSERT')
    AND has_table_privilege('signed_heads', 'SELECT, INSERT')
    AND has_table_privilege('incarnations', 'SELECT, INSERT')";

impl Postgres {
    /// Looks at a database, in sessions that may only read.
    pub(crate) async fn inspect(url: &SecretString) -> Result<Inspection, Error> {
        let options = session::for_reading(&session::parse(url.expose_secret())?);
        let connecting = timeout(ACQUIRE_TIMEOUT, options.connect()).await;
        let mut connection = connecting
            .map_err(failed("connect in time"))?
            .map_err(failed("connect"))?;
        let looking = timeout(ACQUIRE_TIMEOUT, look(&mut connection)).await;
        let mut inspection = looking.map_err(failed("answer in time"))??;
        if inspection.tables == Tables::Current {
            let store = Self::open_read_only(url, std::sync::Arc::default()).await?;
            let reading = timeout(ACQUIRE_TIMEOUT, heads(&store)).await;
            inspection.heads = reading.map_err(failed("answer in time"))??;
        }
        Ok(inspection)
    }

    /// Returns whether the tables are those of this version.
    pub(crate) async fn is_current(&self) -> Result<bool, Error> {
        let mut session = Session::of(&self.readers).await?;
        let found = session::migrated(session.connection())
            .await
            .map_err(failed("tell its version"))?;
        session.give_back();
        Ok(tables(&applied(&MIGRATIONS), found.as_ref()) == Tables::Current)
    }
}

async fn look(connection: &mut PgConnection) -> Result<Inspection, Error> {
    let about = "SELECT current_setting('server_version'), current_setting('server_encoding'), \
                 pg_is_in_recovery(), has_schema_privilege(current_schema(), 'CREATE')";
    let about: PgRow = sqlx::query(about)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("tell what it is"))?;
    let tell = failed::<sqlx::Error>;
    let version: String = about.try_get(0).map_err(tell("tell its version"))?;
    let encoding: String = about.try_get(1).map_err(tell("tell its encoding"))?;
    let is_standby: bool = about.try_get(2).map_err(tell("tell what it is"))?;
    let may_create: Option<bool> = about.try_get(3).map_err(tell("tell what is allowed"))?;
    let migrated = session::migrated(connection)
        .await
        .map_err(failed("tell its version"))?;
    let tables = tables(&applied(&MIGRATIONS), migrated.as_ref());
    let may_write = match tables {
        Tables::Current => sqlx::query_scalar(RIGHTS)
            .fetch_one(connection)
            .await
            .map_err(failed("tell what is allowed"))?,
        _ => may_create.unwrap_or(false),
    };
    let not_writable = if encoding != "UTF8" {
        Some(format!("its encoding is {encoding} instead of UTF8"))
    } else if is_standby {
        Some("it is a standby, which only reads".to_owned())
    } else if !may_write {
        Some("its role may not write the tables".to_owned())
    } else {
        None
    };
    Ok(Inspection {
        // The rest tells who packed it.
        database: format!(
            "PostgreSQL {}",
            version.split_whitespace().next().unwrap_or_default()
        ),
        tables,
        not_writable,
        heads: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use casement_testkit::{Postgres as Server, free_port};

    use super::*;

    #[tokio::test]
    async fn a_database_is_looked_at_and_left_as_it_is() {
        let server = Server::start().await;
        let url = server.fresh_database().await;
        let address = SecretString::from(url.as_str());
        let found = Postgres::inspect(&address).await.unwrap();
        assert!(found.database.starts_with("PostgreSQL "), "{found:?}");
        assert_eq!((found.tables, found.not_writable), (Tables::Absent, None));
        let tables = server
            .sql(
                &url,
                "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
            )
            .await;
        assert_eq!(tables.trim(), "0");

        let _store = Postgres::open(&address, 1, crate::fixture::masters())
            .await
            .unwrap();
        let found = Postgres::inspect(&address).await.unwrap();
        assert_eq!((found.tables, found.not_writable), (Tables::Current, None));
        server
            .sql(
                &url,
                "DELETE FROM _sqlx_migrations WHERE version > 20261122090000",
            )
            .await;
        let found = Postgres::inspect(&address).await.unwrap();
        assert!(matches!(found.tables, Tables::Behind(_)), "{found:?}");
    }

    #[tokio::test]
    async fn who_may_not_write_is_told_and_so_is_a_server_that_is_away() {
        let server = Server::start().await;
        let url = server.fresh_database().await;
        let _store = Postgres::open(
            &SecretString::from(url.as_str()),
            1,
            crate::fixture::masters(),
        )
        .await
        .unwrap();
        server
            .sql(
                &url,
                "CREATE ROLE reader LOGIN PASSWORD 'reader'; \
                 GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
            )
            .await;
        let (_, place) = url.split_once('@').unwrap();
        let reader = SecretString::from(format!("postgres://reader:reader@{place}"));
        let found = Postgres::inspect(&reader).await.unwrap();
        assert_eq!(found.tables, Tables::Current);
        assert!(found.not_writable.unwrap().contains("may not write"));

        let away = format!(
            "postgres://casement:hush@127.0.0.1:{}/casement",
            free_port()
        );
        let error = Postgres::inspect(&SecretString::from(away))
            .await
            .unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

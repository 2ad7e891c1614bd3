//! The contract against a real server, and what servers do to those who trust them.

use std::path::Path;
use std::sync::Arc;

use casement_testkit::{Postgres as Server, eventually};
use secrecy::SecretString;
use sqlx::Connection as _;

use super::super::contract::{self, Fixture, SharedStore};
use super::*;
use crate::chain::Head;
use crate::fixture::stored;
use crate::store::EventFilter;
use crate::verify::verify_store;

const ALL: super::super::Limit = super::super::Limit {
    rows_max: 1_000,
    bytes_max: usize::MAX,
};

async fn open(url: &str) -> Postgres {
    Postgres::open(&SecretString::from(url), 2, crate::fixture::masters())
        .await
        .unwrap()
}

async fn make() -> Fixture {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    let tamper = url.clone();
    Fixture {
        store: Arc::new(open(&url).await),
        tamper: Box::new(move |statements| {
            let (url, statements) = (tamper.clone(), statements.to_owned());
            Box::pin(async move {
                let mut session = sqlx::PgConnection::connect(&url).await.unwrap();
                let run = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut session);
                run.await.unwrap();
            })
        }),
        literal: |bytes| format!("decode('{}', 'hex')", hex::encode(bytes)),
        again: {
            let url = url.clone();
            Box::new(move || {
                let url = url.clone();
                Box::pin(async move { Arc::new(open(&url).await) as SharedStore })
            })
        },
        under: {
            let url = url.clone();
            Box::new(move |masters| {
                let url = url.clone();
                Box::pin(async move {
                    let store = Postgres::open(&SecretString::from(url), 2, masters).await?;
                    Ok(Arc::new(store) as SharedStore)
                })
            })
        },
        files: Box::new(move || {
            let url = url.clone();
            Box::pin(async move {
                let mut session = sqlx::PgConnection::connect(&url).await.unwrap();
                sqlx::raw_sql("CHECKPOINT")
                    .execute(&mut session)
                    .await
                    .unwrap();
                let folder: String = sqlx::query_scalar("SHOW data_directory")
                    .fetch_one(&mut session)
                    .await
                    .unwrap();
                let mut bytes = Vec::new();
                read_all(Path::new(&folder), &mut bytes);
                bytes
            })
        }),
        _keeps: Box::new(server),
    }
}

contract::suite!(make);

/// Reads the files of a folder and of those in it; what goes away meanwhile is left out.
fn read_all(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => read_all(&entry.path(), bytes),
            _ => bytes.extend(std::fs::read(entry.path()).unwrap_or_default()),
        }
    }
}

fn batch(before: Head, sequences: std::ops::RangeInclusive<u64>) -> Batch {
    let events = sequences.map(|sequence| stored("EVENTS", sequence));
    Batch::seal(before, events.collect(), rand::random)
}

async fn assert_whole(store: &dyn super::super::Store, count: u64) {
    let reports = verify_store(store, None, &[]).await.unwrap();
    assert!(reports[0].is_intact(), "{reports:?}");
    assert_eq!(reports[0].checked_count, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_leaves_nothing_and_is_taken_later() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    let store: SharedStore = Arc::new(open(&url).await);
    let mut head = Head::start("EVENTS", "1a");
    // Full disk, deadlock, serialization failure, out of memory, cancelled by an administrator.
    for (index, code) in ["53100", "40P01", "40001", "53200", "57014"]
        .iter()
        .enumerate()
    {
        let function = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$"
        );
        server.sql(&url, &function).await;
        // At the last moment, when everything is written.
        let trigger = "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON archive
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";
        server.sql(&url, trigger).await;
        let first = index as u64 * 10 + 1;
        let batch = batch(head.clone(), first..=first + 9);
        let refused = store.append(&batch).await;
        assert!(
            matches!(refused, Err(Error::Database { .. })),
            "{code}: {refused:?}"
        );
        assert_eq!(
            server.sql(&url, "SELECT count(*) FROM counted_facts").await,
            (index * 10).to_string()
        );
        server.sql(&url, "DROP FUNCTION refuse CASCADE").await;
        store.append(&batch).await.unwrap();
        assert!(matches!(store.append(&batch).await, Err(Error::Moved)));
        head = batch.after;
    }
    assert_whole(store.as_ref(), 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_deadlock_is_an_error_and_loses_nothing() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    let store: SharedStore = Arc::new(open(&url).await);
    let one = batch(Head::start("EVENTS", "1a"), 1..=5);
    store.append(&one).await.unwrap();
    // Somebody takes the locks the other way round: the conversation, then the head.
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    let lock_conversation = "BEGIN; SET deadlock_timeout = '60s';
        SELECT 1 FROM conversations FOR UPDATE";
    let run = sqlx::raw_sql(lock_conversation).execute(&mut other);
    run.await.unwrap();
    let two = batch(one.after.clone(), 6..=9);
    let appending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { (store.append(&two).await, two) }
    });
    eventually("the batch waits for the conversation", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        server.sql(&url, waiting).await == "1"
    })
    .await;
    let lock_head = "SELECT 1 FROM archive_heads FOR UPDATE; COMMIT";
    let locked = sqlx::raw_sql(lock_head).execute(&mut other).await;
    let (appended, two) = appending.await.unwrap();
    // The server chooses whom it refuses; whoever looks first, which is the batch.
    assert!(locked.is_ok(), "{locked:?}");
    let Err(Error::Database { source, .. }) = &appended else {
        panic!("{appended:?}");
    };
    assert!(source.to_string().contains("deadlock"), "{source}");
    store.append(&two).await.unwrap();
    assert_whole(store.as_ref(), 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_an_error_until_it_is_back() {
    let mut server = Server::start().await;
    let url = server.fresh_database().await;
    server.kill9();
    // Opened while it is away.
    let store: SharedStore = Arc::new(open(&url).await);
    let first = batch(Head::start("EVENTS", "1a"), 1..=9);
    let refused = store.append(&first).await;
    assert!(
        matches!(refused, Err(Error::Database { .. })),
        "{refused:?}"
    );
    server.start_again().await;
    eventually("it is taken", async || match store.append(&first).await {
        Ok(()) | Err(Error::Moved) => Ok(()),
        Err(error) => Err(error),
    })
    .await;
    // The sessions that were open are dead, and nobody has said so.
    server.stop_immediately();
    server.start_again().await;
    let second = batch(first.after.clone(), 10..=19);
    eventually("it is taken", async || match store.append(&second).await {
        Ok(()) | Err(Error::Moved) => Ok(()),
        Err(error) => Err(error),
    })
    .await;
    assert_whole(store.as_ref(), 19).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_bring_the_tables_up_to_date_at_once() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    let stores = futures::future::join_all((0..6).map(|_| open(&url))).await;
    for (index, store) in stores.iter().enumerate() {
        let store: &dyn super::super::Store = store;
        let before = Head::start("EVENTS", &format!("{index}a"));
        let event = casement_event::Stored {
            incarnation: before.incarnation.clone(),
            ..stored("EVENTS", 1)
        };
        let batch = Batch::seal(before, vec![event], rand::random);
        store.append(&batch).await.unwrap();
    }
    let reader =
        Postgres::open_read_only(&SecretString::from(url), std::sync::Arc::default()).await;
    let reader: SharedStore = Arc::new(reader.unwrap());
    assert_eq!(reader.chains(None).await.unwrap().len(), 6);
    let batch = batch(Head::start("ACCOUNTS", "1a"), 1..=1);
    let refused = reader.append(&batch).await;
    assert!(
        matches!(refused, Err(Error::Database { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_mends_is_refused_at_once() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    let other = |from: &str, to: &str| url.replace(from, to);
    server
        .sql(
            &url,
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        )
        .await;
    server
        .sql(&url, "CREATE ROLE guest LOGIN PASSWORD 'testkit'")
        .await;
    for (url, words) in [
        (other(":testkit@", ":hunter2@"), "password"),
        (other("/test_1", "/absent"), "does not exist"),
        (other("/test_1", "/latin"), "LATIN1"),
        (other("//casement:", "//guest:"), "permission denied"),
        (other("postgres://", "http://"), "postgres://"),
    ] {
        let refused = Postgres::open(
            &SecretString::from(url.as_str()),
            1,
            crate::fixture::masters(),
        )
        .await;
        let error = anyhow::Error::from(refused.expect_err(&url));
        let shown = format!("{error:#}");
        assert!(shown.contains(words), "{url}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    open(&url).await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (99, 'later', now(), TRUE, '', 0)";
    server.sql(&url, newer).await;
    let refused = Postgres::open(&SecretString::from(url), 1, crate::fixture::masters()).await;
    assert!(refused.is_err(), "tables of a later version");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    open(&url).await;
    let rights = "
        CREATE ROLE archivist LOGIN PASSWORD 'testkit';
        CREATE ROLE auditor LOGIN PASSWORD 'testkit';
        GRANT SELECT ON _sqlx_migrations TO archivist;
        GRANT SELECT, INSERT ON archive, counted_facts, message_terms, mentions, search_documents TO archivist;
        GRANT SELECT, INSERT, UPDATE ON archive_heads, conversations, conversation_labels, customer_keys, messages,
            customer_consents, read_models TO archivist;
        GRANT SELECT ON read_model_marks TO archivist;
        GRANT SELECT ON archive, archive_heads, signed_heads, incarnations, customer_keys,
            _sqlx_migrations TO auditor";
    server.sql(&url, rights).await;
    let archivist = url.replace("//casement:", "//archivist:");
    let store: SharedStore = Arc::new(open(&archivist).await);
    store
        .append(&batch(Head::start("EVENTS", "1a"), 1..=9))
        .await
        .unwrap();
    store.mark_purged("m", 1).await.unwrap();
    let page = store.events(&EventFilter::default(), None, ALL).await;
    assert_eq!(page.unwrap().rows.len(), 9);
    let auditor = SecretString::from(url.replace("//casement:", "//auditor:"));
    let reports = crate::verify_url(&auditor, crate::fixture::masters())
        .await
        .unwrap();
    assert_eq!((reports.len(), reports[0].checked_count), (1, 9));
    for statement in ["DELETE FROM archive", "UPDATE archive SET payload = ''"] {
        let mut session = sqlx::PgConnection::connect(&archivist).await.unwrap();
        let refused = sqlx::raw_sql(statement).execute(&mut session).await;
        assert!(refused.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn every_column_of_text_compares_by_bytes_so_that_each_index_serves_each_join() {
    let server = Server::start().await;
    let url = server.fresh_database().await;
    open(&url).await;
    let mut session = sqlx::PgConnection::connect(&url).await.unwrap();
    let others: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || a.attname
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_collation l ON l.oid = a.attcollation
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
            AND a.attnum > 0 AND l.collname <> 'C' AND c.relname <> '_sqlx_migrations'
        ORDER BY 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    assert_eq!(others, Vec::<String>::new());
}

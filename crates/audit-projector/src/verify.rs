//! Checking whole chains, row by row, from the first to the last.
//!
//! It reads and never repairs. What is archived while it runs is left for the next time.

use std::path::Path;

use anyhow::Context as _;
use secrecy::SecretString;

use crate::chain::{ChainReport, Verifier};
use crate::store::{Chain, Error, EventFilter, EventKey, Limit, Postgres, Sqlite, Store};

/// Rows read at once.
const LIMIT: Limit = Limit {
    rows_max: 1_000,
    bytes_max: 16 * 1024 * 1024,
};

/// Checks every chain of an archive, whether or not its role is running.
///
/// # Errors
/// When the file is not there or cannot be read; a chain that is broken is no error but a report.
pub async fn verify(database_path: &Path) -> anyhow::Result<Vec<ChainReport>> {
    let store = Sqlite::open_read_only(database_path)
        .await
        .with_context(|| format!("open the archive {}", database_path.display()))?;
    verify_store(&store, None).await.context("read the archive")
}

/// Checks every chain of an archive in PostgreSQL, whether or not its role is running. The right
/// to read `archive` and `archive_heads` is enough.
///
/// # Errors
/// When the address is malformed, or the database is not there or cannot be read; a chain that is
/// broken is no error but a report.
pub async fn verify_url(database_url: &SecretString) -> anyhow::Result<Vec<ChainReport>> {
    let store = Postgres::open_read_only(database_url)
        .await
        .context("open the archive in PostgreSQL")?;
    verify_store(&store, None).await.context("read the archive")
}

/// Checks the chains of one stream, or all.
pub(crate) async fn verify_store(
    store: &dyn Store,
    stream: Option<&str>,
) -> Result<Vec<ChainReport>, Error> {
    let mut reports = Vec::new();
    for chain in store.chains(stream).await? {
        reports.push(verify_chain(store, chain).await?);
    }
    Ok(reports)
}

async fn verify_chain(store: &dyn Store, chain: Chain) -> Result<ChainReport, Error> {
    let filter = EventFilter {
        stream: Some(chain.stream.clone()),
        incarnation: Some(chain.incarnation.clone()),
        sequence_max: chain.head.as_ref().map(|head| head.last_sequence),
        ..EventFilter::default()
    };
    let mut verifier = Verifier::new(&chain.stream, &chain.incarnation, chain.head);
    let mut after: Option<EventKey> = None;
    let mut limit = LIMIT;
    loop {
        let page = match store.events(&filter, after.as_ref(), limit).await {
            Ok(page) => page,
            // Row by row up to the one that cannot be read: that one is the finding.
            Err(Error::Inconsistent { .. }) if limit.rows_max > 1 => {
                limit.rows_max = 1;
                continue;
            }
            Err(error @ Error::Inconsistent { .. }) => {
                verifier.unreadable(&error.to_string());
                return Ok(verifier.finish());
            }
            Err(error) => return Err(error),
        };
        for row in &page.rows {
            verifier.check(row);
        }
        after = page.rows.last().map(EventKey::of).or(after);
        if !page.has_more || verifier.is_settled() {
            return Ok(verifier.finish());
        }
    }
}

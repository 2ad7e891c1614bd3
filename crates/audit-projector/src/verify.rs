//! Checking whole chains, row by row, from the first to the last, and against signed heads.
//!
//! It reads and never repairs. What is archived while it runs is left for the next time.

pub(crate) mod anchors;
mod erased;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod walk;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use casement_secrets::keys::MasterKeys;
use secrecy::SecretString;

use crate::model::Content;
use crate::note::VerifierKey;
use crate::store::{
    Chain, Error, EventFilter, EventKey, HeadFilter, Limit, Place, Postgres, SharedStore, Sqlite,
    Store,
};
use anchors::Anchors;
use erased::Erased;
use report::ChainReport;
use row::{Checked, Says};
use walk::Walk;

/// Rows read at once.
const LIMIT: Limit = Limit {
    rows_max: 1_000,
    bytes_max: 16 * 1024 * 1024,
};

/// Signed heads read at once.
const HEADS_PAGE_LEN: usize = 1_000;

/// What an archive is checked with, besides what stands in it.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Only the chains of this stream.
    pub stream: Option<String>,
    /// What signed heads are checked with.
    pub keys: Vec<VerifierKey>,
    /// Signed heads that were kept elsewhere.
    pub kept_heads: Vec<String>,
    /// Each chain must have a head signed by one of the keys.
    pub must_be_signed: bool,
}

/// Where an archive is.
#[derive(Debug, Clone)]
pub enum ArchivePlace {
    /// An SQLite file.
    File(std::path::PathBuf),
    /// The address of a PostgreSQL database.
    Url(SecretString),
}

/// Opens an archive for reading alone, whether or not its role is running. Without master keys,
/// what is sealed stays so.
pub(crate) async fn open(
    place: &ArchivePlace,
    masters: Arc<MasterKeys>,
) -> anyhow::Result<SharedStore> {
    let (store, is_current): (SharedStore, _) = match place {
        ArchivePlace::File(path) => {
            let store = Sqlite::open_read_only(path, masters)
                .await
                .with_context(|| format!("open the archive {}", path.display()))?;
            let is_current = store.is_current().await;
            (Arc::new(store), is_current)
        }
        ArchivePlace::Url(url) => {
            let store = Postgres::open_read_only(url, masters)
                .await
                .context("open the archive in PostgreSQL")?;
            let is_current = store.is_current().await;
            (Arc::new(store), is_current)
        }
    };
    if !is_current.context("tell the version of its tables")? {
        anyhow::bail!(
            "the tables are not those of this version: use the version of Casement that wrote \
             them, or start this one's audit-projector on a copy once"
        );
    }
    Ok(store)
}

/// Checks an archive, whether or not its role is running. The right to read `archive`,
/// `archive_heads`, `signed_heads`, `incarnations` and `customer_keys` is enough.
///
/// # Errors
/// When it is not there or cannot be read, or a head that was kept elsewhere proves nothing; a
/// chain that is broken is no error but a report.
pub async fn verify_archive(
    place: &ArchivePlace,
    masters: Arc<MasterKeys>,
    proof: &Proof,
) -> anyhow::Result<Vec<ChainReport>> {
    let store = open(place, masters).await?;
    let anchors = kept(proof)?;
    let reports = verify_with(store.as_ref(), proof, anchors).await;
    reports.context("read the archive")
}

/// Checks every chain of an archive in a file: [`verify_archive`].
///
/// # Errors
/// As there.
pub async fn verify(
    database_path: &Path,
    masters: Arc<MasterKeys>,
) -> anyhow::Result<Vec<ChainReport>> {
    let place = ArchivePlace::File(database_path.to_owned());
    verify_archive(&place, masters, &Proof::default()).await
}

/// Checks every chain of an archive in PostgreSQL: [`verify_archive`].
///
/// # Errors
/// As there.
pub async fn verify_url(
    database_url: &SecretString,
    masters: Arc<MasterKeys>,
) -> anyhow::Result<Vec<ChainReport>> {
    let place = ArchivePlace::Url(database_url.clone());
    verify_archive(&place, masters, &Proof::default()).await
}

/// Checks the chains of one stream, or all, against the signed heads that stand beside them.
pub(crate) async fn verify_store(
    store: &dyn Store,
    stream: Option<&str>,
    keys: &[VerifierKey],
) -> Result<Vec<ChainReport>, Error> {
    let proof = Proof {
        stream: stream.map(str::to_owned),
        keys: keys.to_vec(),
        ..Proof::default()
    };
    verify_with(store, &proof, Anchors::new(false)).await
}

/// Reads the signed heads that were kept elsewhere.
pub(crate) fn kept(proof: &Proof) -> anyhow::Result<Anchors> {
    let mut anchors = Anchors::new(proof.must_be_signed);
    for note in &proof.kept_heads {
        let added = anchors.add_kept(note, &proof.keys);
        added.map_err(|problem| anyhow::anyhow!("signed head that was kept: {problem}"))?;
    }
    Ok(anchors)
}

pub(crate) async fn verify_with(
    store: &dyn Store,
    proof: &Proof,
    mut anchors: Anchors,
) -> Result<Vec<ChainReport>, Error> {
    let is_asked = |stream: &str| proof.stream.as_deref().is_none_or(|asked| asked == stream);
    let filter = HeadFilter {
        stream: proof.stream.clone(),
        incarnation: None,
    };
    let mut after = None;
    loop {
        let page = store
            .signed_heads(&filter, after.as_ref(), HEADS_PAGE_LEN)
            .await?;
        for head in &page {
            anchors.add(&head.head, &proof.keys);
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last.key()),
            None => break,
        }
    }
    let mut chains = store.chains(proof.stream.as_deref()).await?;
    for (stream, incarnation) in anchors.chains() {
        let is_known = |chain: &Chain| chain.stream == *stream && chain.incarnation == *incarnation;
        if is_asked(stream) && !chains.iter().any(is_known) {
            chains.push(Chain {
                stream: stream.clone(),
                incarnation: incarnation.clone(),
                head: None,
            });
        }
    }
    let mut reports = Vec::new();
    for chain in chains {
        reports.push(verify_chain(store, chain, &mut anchors).await?);
    }
    Ok(reports)
}

async fn verify_chain(
    store: &dyn Store,
    chain: Chain,
    anchors: &mut Anchors,
) -> Result<ChainReport, Error> {
    let name = (chain.stream.clone(), chain.incarnation.clone());
    let filter = EventFilter {
        stream: Some(chain.stream.clone()),
        incarnation: Some(chain.incarnation.clone()),
        sequence_max: chain.head.as_ref().map(|head| head.last_sequence),
        ..EventFilter::default()
    };
    let has_head = chain.head.is_some();
    let (anchors, findings) = anchors.take(&name);
    let common = store.life(&name.0, &name.1).await?;
    let common = common.map_or(0, |life| life.common_sequence);
    let mut walk = Walk::new(&name.0, &name.1, chain.head, anchors);
    walk.begin_after(common);
    for finding in findings {
        walk.add(finding);
    }
    let mut erased = Erased::default();
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
                let from = after.as_ref().map_or(0, |after| after.sequence);
                let Some(row) = store.place_after(&name.0, &name.1, from).await? else {
                    walk.unreadable(from + 1, &error.to_string());
                    return Ok(walk.finish(false));
                };
                walk.check(&unreadable(&row, &error));
                after = Some(EventKey {
                    stream: name.0.clone(),
                    incarnation: name.1.clone(),
                    sequence: row.sequence,
                });
                limit = LIMIT;
                continue;
            }
            Err(error) => return Err(error),
        };
        for row in &page.rows {
            walk.check(&Checked::of(row));
            if row.content == Content::Erased {
                erased.add(&row.index.customer_id, row.stored.sequence);
            }
        }
        after = page.rows.last().map(EventKey::of).or(after);
        if !page.has_more {
            break;
        }
    }
    if !erased.is_empty()
        && let Some(on_record) = erased::on_record(store).await?
    {
        for finding in erased.findings(&on_record) {
            walk.add(finding);
        }
    }
    if has_head {
        find_beyond(store, &name, &filter, &mut walk).await?;
    }
    Ok(walk.finish(true))
}

fn unreadable<'r>(row: &Place, error: &Error) -> Checked<'r> {
    Checked {
        sequence: row.sequence,
        commitment: row.commitment,
        link: row.link,
        says: Says::Unreadable(error.to_string()),
    }
}

/// Looks for rows behind the end of the chain. What is archived meanwhile has moved the head.
async fn find_beyond(
    store: &dyn Store,
    (stream, incarnation): &(String, String),
    filter: &EventFilter,
    walk: &mut Walk,
) -> Result<(), Error> {
    let end = filter.sequence_max.unwrap_or_default();
    let Some(beyond) = store.last_place(stream, incarnation).await? else {
        return Ok(());
    };
    if beyond.sequence <= end {
        return Ok(());
    }
    let now = store.head(stream, incarnation).await?;
    if now.is_some_and(|now| now.last_sequence < beyond.sequence) {
        walk.beyond(beyond.sequence);
    }
    Ok(())
}

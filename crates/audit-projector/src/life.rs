//! Lives of streams, as the archive meets them, and whether log and archive are of the same one.
//!
//! A stream that was recreated, or restored by `casement restore`, has a life of its own, and with
//! it a chain of its own: [`crate::lineage`] says where that begins. Here it is noted when the
//! archive met it and after which one it came. A log that was set back by other means keeps its
//! life and gives out sequences again: that is found by comparing where the two meet.

use casement_event_log::Log;
use jiff::Timestamp;

use crate::chain::{Head, commitment};
use crate::model::Content;
use crate::store::{Error, EventFilter, Life, Limit, SharedStore};

/// Notes that the archive begins the chain of a life, unless it has begun already.
pub(crate) async fn begin(
    store: &SharedStore,
    log: &Log,
    head: &Head,
    now: Timestamp,
) -> Result<(), Error> {
    let (stream, incarnation) = (head.stream.as_str(), head.incarnation.as_str());
    if head.row_count > 0 || store.life(stream, incarnation).await?.is_some() {
        return Ok(());
    }
    let mut previous = None;
    for ancestor in log.ancestors(stream) {
        if store.head(stream, &ancestor.incarnation).await?.is_some() {
            previous = Some(ancestor.incarnation.clone());
            break;
        }
    }
    if previous.is_none() {
        previous = newest(store, stream, incarnation).await?;
    }
    let life = Life {
        stream: stream.to_owned(),
        incarnation: incarnation.to_owned(),
        begin_time: now,
        previous_incarnation: previous.unwrap_or_default(),
        common_sequence: head.last_sequence,
    };
    if !life.previous_incarnation.is_empty() {
        tracing::warn!(
            stream,
            incarnation,
            previous = life.previous_incarnation,
            common_sequence = life.common_sequence,
            "stream was recreated or restored: its archive goes on in a chain of its own"
        );
    }
    store.begin_life(&life).await
}

/// Returns the other life of a stream that the archive heard of last.
async fn newest(
    store: &SharedStore,
    stream: &str,
    incarnation: &str,
) -> Result<Option<String>, Error> {
    let mut newest: Option<(Timestamp, String)> = None;
    for chain in store.chains(Some(stream)).await? {
        if chain.incarnation == incarnation {
            continue;
        }
        let Some(last) = store.last_place(stream, &chain.incarnation).await? else {
            continue;
        };
        let told = (last.stored_time, chain.incarnation);
        newest = Some(newest.map_or(told.clone(), |newest| newest.max(told)));
    }
    Ok(newest.map(|(_, incarnation)| incarnation))
}

/// Why it is not known whether log and archive meet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(transparent)]
    Log(#[from] casement_event_log::ReadError),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Returns whether the log has what is archived under the last archived sequence; also if that has
/// left either of them.
pub(crate) async fn meets(store: &SharedStore, log: &Log, head: &Head) -> Result<bool, Unknown> {
    if head.row_count == 0 {
        return Ok(true);
    }
    let Some(mut stored) = log.get(&head.stream, head.last_sequence).await? else {
        return Ok(true);
    };
    stored.incarnation.clone_from(&head.incarnation);
    let filter = EventFilter {
        stream: Some(head.stream.clone()),
        incarnation: Some(head.incarnation.clone()),
        sequence_max: Some(head.last_sequence),
        ..EventFilter::default()
    };
    let after = crate::store::EventKey {
        stream: head.stream.clone(),
        incarnation: head.incarnation.clone(),
        sequence: head.last_sequence - 1,
    };
    let limit = Limit {
        rows_max: 1,
        bytes_max: usize::MAX,
    };
    let page = store.events(&filter, Some(&after), limit).await?;
    let row = page.rows.first().filter(|row| row.content == Content::Open);
    Ok(row.is_none_or(|row| commitment(&row.salt, &stored) == row.commitment))
}

//! Writing out the archive with all that it takes to check it elsewhere.
//!
//! An export is a sequence of pieces, one line of JSON each in a file: what was signed, then each
//! chain with its rows, as the log had them, byte for byte. A row whose content is not asked for,
//! or not there any more, comes with its commitment and link alone, so that the chain can be
//! checked all the same. Reading one back is [`read`]'s affair.

pub(crate) mod lines;
pub(crate) mod read;

use std::sync::Arc;

use casement_event::convert::timestamp;
use casement_proto::audit::v1 as proto;
use casement_proto::audit::v1::export_archive_response::Piece;
use casement_secrets::keys::MasterKeys;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::chain::Head;
use crate::model::{Content, Row};
use crate::note::VerifierKey;
use crate::store::{Error, EventFilter, EventKey, HeadFilter, KeptHead, Limit, Place, Store};
use crate::verify::{self, ArchivePlace};

pub use read::{ExportReport, verify_export};

/// What this version writes. One that cannot be read by what reads this is another one.
pub(crate) const FORMAT: i32 = 1;

/// Rows read at once.
const LIMIT: Limit = Limit {
    rows_max: 500,
    bytes_max: 4 * 1024 * 1024,
};

/// Signed heads read at once.
const HEADS_PAGE_LEN: usize = 1_000;

/// Pieces on their way to a reader.
const PIECES_MAX: usize = 256;

/// What is to be written out.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Only the chains of this stream.
    pub stream: Option<String>,
    /// Only the content of this brand's events.
    pub brand_id: Option<String>,
    /// Only the content of events of this type.
    pub event_type: Option<String>,
}

impl Asked {
    fn includes(&self, row: &Row) -> bool {
        let is = |asked: &Option<String>, found: &String| {
            asked.as_ref().is_none_or(|asked| asked == found)
        };
        is(&self.brand_id, &row.index.brand_id) && is(&self.event_type, &row.index.event_type)
    }
}

/// Writes out an archive, whether or not its role is running, line by line. Without master keys,
/// what is sealed is left out.
///
/// # Errors
/// When the archive cannot be read, or `line` fails.
pub async fn export_archive(
    place: &ArchivePlace,
    masters: Arc<MasterKeys>,
    asked: &Asked,
    now: Timestamp,
    mut line: impl FnMut(String) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let store = verify::open(place, masters).await?;
    let (sender, mut receiver) = mpsc::channel(PIECES_MAX);
    let writing = write(store.as_ref(), asked, &[], now, sender);
    let reading = async {
        while let Some(piece) = receiver.recv().await {
            line(lines::of(piece))?;
        }
        // Whoever writes learns of an error by the closed channel.
        drop(receiver);
        anyhow::Ok(())
    };
    let (written, read) = futures::future::join(writing, reading).await;
    read?;
    Ok(written?)
}

/// Writes the pieces of an export, until they are all written or nobody reads on.
pub(crate) async fn write(
    store: &dyn Store,
    asked: &Asked,
    keys: &[VerifierKey],
    now: Timestamp,
    out: mpsc::Sender<Piece>,
) -> Result<(), Error> {
    let mut out = Out { out, row_count: 0 };
    let begin = Piece::Begin(proto::ExportBegin {
        format: FORMAT,
        time: Some(timestamp(now)),
        verifier_keys: keys.iter().map(ToString::to_string).collect(),
    });
    // First what was signed, then where the chains stand, then their rows: each is no younger than
    // what comes after it, whatever is archived meanwhile.
    if out.send(begin).await.is_err() || heads(store, asked, &mut out).await?.is_err() {
        return Ok(());
    }
    for chain in store.chains(asked.stream.as_deref()).await? {
        let head = chain
            .head
            .unwrap_or_else(|| Head::start(&chain.stream, &chain.incarnation));
        if self::chain(store, asked, head, &mut out).await?.is_err() {
            return Ok(());
        }
    }
    let row_count = out.row_count;
    // Nobody reads on: then nobody misses it.
    let _ = out.send(Piece::End(proto::ExportEnd { row_count })).await;
    Ok(())
}

/// Nobody reads on.
struct Gone;

struct Out {
    out: mpsc::Sender<Piece>,
    row_count: u64,
}

impl Out {
    async fn send(&mut self, piece: Piece) -> Result<(), Gone> {
        if matches!(piece, Piece::Row(_)) {
            self.row_count += 1;
        }
        self.out.send(piece).await.map_err(|_| Gone)
    }
}

async fn heads(store: &dyn Store, asked: &Asked, out: &mut Out) -> Result<Result<(), Gone>, Error> {
    let filter = HeadFilter {
        stream: asked.stream.clone(),
        incarnation: None,
    };
    let mut after = None;
    loop {
        let page = store
            .signed_heads(&filter, after.as_ref(), HEADS_PAGE_LEN)
            .await?;
        let Some(last) = page.last() else {
            return Ok(Ok(()));
        };
        after = Some(last.key());
        for head in page {
            if out
                .send(Piece::SignedHead(signed_head(head)))
                .await
                .is_err()
            {
                return Ok(Err(Gone));
            }
        }
    }
}

/// Returns a signed head as the API shows it.
pub(crate) fn signed_head(kept: KeptHead) -> proto::SignedHead {
    proto::SignedHead {
        stream: kept.head.stream,
        incarnation: kept.head.incarnation,
        sequence: kept.head.sequence,
        signed_time: Some(timestamp(kept.signed_time)),
        key: kept.key_label,
        note: kept.head.note,
    }
}

async fn chain(
    store: &dyn Store,
    asked: &Asked,
    head: Head,
    out: &mut Out,
) -> Result<Result<(), Gone>, Error> {
    let (stream, incarnation) = (head.stream.clone(), head.incarnation.clone());
    let life = store.life(&stream, &incarnation).await?;
    let filter = EventFilter {
        stream: Some(stream.clone()),
        incarnation: Some(incarnation.clone()),
        sequence_max: (head.row_count > 0).then_some(head.last_sequence),
        ..EventFilter::default()
    };
    let begun = out.send(Piece::Chain(proto::ExportChain {
        stream: head.stream,
        incarnation: head.incarnation,
        last_sequence: head.last_sequence,
        link: head.link.to_vec(),
        row_count: head.row_count,
        common_sequence: life.map_or(0, |life| life.common_sequence),
    }));
    if begun.await.is_err() {
        return Ok(Err(Gone));
    }
    let mut after: Option<EventKey> = None;
    let mut limit = LIMIT;
    loop {
        let (rows, has_more) = match store.events(&filter, after.as_ref(), limit).await {
            Ok(page) => {
                after = page.rows.last().map(EventKey::of).or(after);
                let rows = page.rows.into_iter().map(|row| piece(asked, row)).collect();
                (rows, page.has_more)
            }
            Err(Error::Inconsistent { .. }) if limit.rows_max > 1 => {
                limit.rows_max = 1;
                continue;
            }
            Err(error @ Error::Inconsistent { .. }) => {
                let from = after.as_ref().map_or(0, |after| after.sequence);
                let Some(place) = store.place_after(&stream, &incarnation, from).await? else {
                    return Err(error);
                };
                after = Some(EventKey {
                    stream: stream.clone(),
                    incarnation: incarnation.clone(),
                    sequence: place.sequence,
                });
                limit = LIMIT;
                (vec![unreadable(&place)], true)
            }
            Err(error) => return Err(error),
        };
        for row in rows {
            if out.send(Piece::Row(row)).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        if !has_more {
            return Ok(Ok(()));
        }
    }
}

/// Why a row comes without its content.
pub(crate) mod absence {
    pub(crate) const WITHHELD: &str = "WITHHELD";
    pub(crate) const ERASED: &str = "ERASED";
    pub(crate) const SEALED: &str = "SEALED";
    pub(crate) const BROKEN: &str = "BROKEN";
}

fn piece(asked: &Asked, row: Row) -> proto::ExportRow {
    let absence = match row.content {
        Content::Erased => absence::ERASED,
        _ if !asked.includes(&row) => absence::WITHHELD,
        Content::Open => "",
        Content::Sealed => absence::SEALED,
        Content::Broken => absence::BROKEN,
    };
    let Row {
        stored,
        salt,
        commitment,
        link,
        ..
    } = row;
    let sequence = stored.sequence;
    let event = absence.is_empty().then(|| proto::ExportEvent {
        subject: stored.subject,
        stored_time: Some(timestamp(stored.stored_at)),
        headers: stored
            .headers
            .into_iter()
            .map(|(name, value)| proto::ExportHeader { name, value })
            .collect(),
        payload: stored.payload.into(),
        salt: salt.to_vec(),
    });
    proto::ExportRow {
        sequence,
        commitment: commitment.to_vec(),
        link: link.to_vec(),
        event,
        absence: absence.to_owned(),
    }
}

fn unreadable(place: &Place) -> proto::ExportRow {
    proto::ExportRow {
        sequence: place.sequence,
        commitment: place.commitment.to_vec(),
        link: place.link.to_vec(),
        event: None,
        absence: absence::BROKEN.to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! What copies of both databases have in common.

use crate::backup::SavedHead;

/// Every chain, in order.
pub(super) const HEADS: &str = "\
SELECT stream, incarnation, last_sequence, row_count, link
FROM archive_heads ORDER BY stream, incarnation";

/// A row of [`HEADS`].
pub(super) type HeadRow = (String, String, i64, i64, Vec<u8>);

pub(super) fn heads(rows: Vec<HeadRow>) -> Vec<SavedHead> {
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    let each =
        rows.into_iter().map(
            |(stream, incarnation, last_sequence, row_count, link)| SavedHead {
                stream,
                incarnation,
                last_sequence: count(last_sequence),
                row_count: count(row_count),
                link: hex::encode(link),
            },
        );
    each.collect()
}

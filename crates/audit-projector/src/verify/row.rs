//! What is checked of a row, wherever it comes from, and what is wrong with what it says.

use casement_event::Stored;

use super::report::FindingKind;
use crate::chain::{Digest, Salt, commitment};
use crate::model::{Content, Index, Row, nanoseconds};

/// What is checked of a row.
#[derive(Debug)]
pub(crate) struct Checked<'r> {
    pub(crate) sequence: u64,
    pub(crate) commitment: Digest,
    pub(crate) link: Digest,
    pub(crate) says: Says<'r>,
}

/// What a row says.
#[derive(Debug)]
pub(crate) enum Says<'r> {
    Event {
        salt: &'r Salt,
        stored: &'r Stored,
        /// What it is looked up by; an export has none.
        index: Option<&'r Index>,
    },
    /// It was erased on purpose.
    Erased,
    /// It cannot be opened here.
    Sealed,
    /// It can be opened here, and does not open.
    Broken,
    /// An export leaves it out.
    Withheld,
    /// It cannot be read, and this is why.
    Unreadable(String),
}

impl<'r> Checked<'r> {
    pub(crate) fn of(row: &'r Row) -> Self {
        let says = match row.content {
            Content::Open => Says::Event {
                salt: &row.salt,
                stored: &row.stored,
                index: Some(&row.index),
            },
            Content::Erased => Says::Erased,
            Content::Sealed => Says::Sealed,
            Content::Broken => Says::Broken,
        };
        Self {
            sequence: row.stored.sequence,
            commitment: row.commitment,
            link: row.link,
            says,
        }
    }
}

/// Returns what is wrong with an event that is there.
pub(super) fn problem(
    committed: Digest,
    salt: &Salt,
    stored: &Stored,
    index: Option<&Index>,
) -> Option<(FindingKind, String)> {
    if commitment(salt, stored) != committed {
        let explanation = "content, salt or commitment was changed: the commitment does not match \
                           the event";
        return Some((FindingKind::ContentChanged, explanation.to_owned()));
    }
    let column = index.and_then(|index| changed_column(stored, index))?;
    let explanation = format!("column {column} was changed: it does not match the event");
    Some((FindingKind::ColumnChanged, explanation))
}

/// The columns that say the same as the event must say the same. Other columns may be filled
/// from elsewhere, and later versions may fill more of them: those are not part of the chain.
fn changed_column(stored: &Stored, index: &Index) -> Option<&'static str> {
    if index.event_type != stored.event_type() {
        return Some("event_type");
    }
    if index.event_id != crate::index::event_id(stored) {
        return Some("event_id");
    }
    let event_time = crate::index::event_time(stored);
    (nanoseconds(index.event_time) != nanoseconds(event_time)).then_some("event_time")
}

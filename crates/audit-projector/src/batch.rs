//! Events on their way into the archive: sealed, indexed, projected.
//!
//! Pure but for the salts, which the caller draws.

use casement_event::{DecodeError, Stored};

use crate::chain::{Head, Salt};
use crate::index::index;
use crate::model::{Change, Content, Row};
use crate::project::project;
use crate::said::{Said, said};

/// Events that are archived together, or not at all.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Where the chain must stand for this batch to fit.
    pub(crate) before: Head,
    /// In the order of sequences.
    pub(crate) entries: Vec<Entry>,
    /// Where the chain stands after it.
    pub(crate) after: Head,
}

/// One event with what it changes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) row: Row,
    pub(crate) changes: Vec<Change>,
    /// What somebody said by it.
    pub(crate) said: Option<Said>,
}

impl Batch {
    /// Links events, which come after `before`, to the chain.
    pub(crate) fn seal(before: Head, events: Vec<Stored>, mut salt: impl FnMut() -> Salt) -> Self {
        let mut after = before.clone();
        let entries = events
            .into_iter()
            .map(|stored| seal(&mut after, stored, salt()))
            .collect();
        Self {
            before,
            entries,
            after,
        }
    }

    /// Gives the events back, of a batch that did not fit.
    pub(crate) fn into_events(self) -> Vec<Stored> {
        self.entries
            .into_iter()
            .map(|entry| entry.row.stored)
            .collect()
    }
}

/// What archived rows change in read models, once more: [`crate::rebuild`].
pub(crate) fn again(rows: Vec<Row>) -> Vec<Entry> {
    let entry = |row: Row| {
        let event = row.event();
        let changes = event.as_ref().map(|event| project(&row.stored, event));
        let said = event.as_ref().and_then(|event| said(&row.stored, event));
        Entry {
            changes: changes.unwrap_or_default(),
            said,
            row,
        }
    };
    rows.into_iter().map(entry).collect()
}

fn seal(head: &mut Head, stored: Stored, salt: Salt) -> Entry {
    let event = match stored.event() {
        Ok(event) => Some(event),
        Err(error) => {
            // Archived all the same; a later version projects it from the archive.
            let reason = match &error {
                DecodeError::UnknownType(_) => "unknown_type",
                DecodeError::Malformed { .. } => "malformed",
            };
            crate::metrics::unprojected(reason);
            tracing::warn!(stream = stored.stream, sequence = stored.sequence, %error, "event is archived but not projected");
            None
        }
    };
    let changes = event
        .as_ref()
        .map(|event| project(&stored, event))
        .unwrap_or_default();
    let said = event.as_ref().and_then(|event| said(&stored, event));
    let index = index(&stored, event.as_ref());
    let (commitment, link) = head.advance(&salt, &stored);
    Entry {
        row: Row {
            stored,
            index,
            salt,
            commitment,
            link,
            content: Content::Open,
        },
        changes,
        said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::stored;

    #[test]
    fn an_event_of_an_unknown_type_is_archived_and_changes_nothing() {
        let mut unknown = stored("EVENTS", 1);
        unknown.headers = vec![(
            "ce-type".to_owned(),
            "casement.events.v9.Unheard".to_owned(),
        )];
        let events = vec![unknown, stored("EVENTS", 2)];
        let batch = Batch::seal(Head::start("EVENTS", "1a"), events.clone(), || [0; 16]);
        assert_eq!((batch.after.last_sequence, batch.after.row_count), (2, 2));
        assert_eq!(batch.entries[0].changes, []);
        assert_eq!(
            batch.entries[0].row.index.event_type,
            "casement.events.v9.Unheard"
        );
        assert_eq!(batch.entries[1].changes.len(), 1);
        assert_eq!(batch.into_events(), events);
    }
}

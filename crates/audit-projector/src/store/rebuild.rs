//! Which read models there are, and what a store does to make them anew from the archive.
//!
//! All of them are made together, since they are folded together: what one event changes in a
//! conversation may depend on a message. The new tables stand beside the served ones under the
//! same names, in a place of their own (PostgreSQL: a schema; SQLite: names of their own, which
//! the transaction that fills them exchanges for as long as it lasts), so no statement that
//! projects knows of it.
//!
//! # For whoever adds a derived table
//!
//! - Name it in [`READ_MODELS`], under the model that it belongs to, or under a new one. From then
//!   on it is made anew and exchanged with the others. Its columns and indexes are taken from the
//!   served one, as the migrations left it.
//! - When projecting changes, or a migration adds a column that the archive has to fill, raise the
//!   model's version: the next start makes all of them anew and serves the old ones meanwhile.
//! - Project inside of the backend's `project`, and name tables without a schema.
//! - Whoever deletes from a derived table what the archive still has (erasure) runs [`RESTART`] in
//!   the same transaction: what was deleted may stand in the new tables already.
//! - A later migration that drops an index of a derived table in SQLite drops it under both of its
//!   names: `x` and `x__b`, `IF EXISTS`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::future::BoxFuture;
use tokio::sync::OwnedRwLockWriteGuard;

use super::text::escape;
use super::{Answer, EventKey};
use crate::batch::Entry;
use crate::model::Change;

/// A read model.
#[derive(Debug)]
pub(crate) struct ReadModel {
    pub(crate) name: &'static str,
    /// A higher one than what is served was made by has all of them made anew.
    pub(crate) version: u32,
    /// Where it is kept. One that a database does not have is left out there.
    pub(super) tables: &'static [&'static str],
}

/// Every read model.
pub(crate) const READ_MODELS: &[ReadModel] = &[
    ReadModel {
        name: "conversations",
        version: 1,
        tables: &[
            "conversations",
            "conversation_labels",
            "counted_facts",
            "customer_consents",
            "mentions",
        ],
    },
    ReadModel {
        name: "messages",
        version: 1,
        tables: &["messages", "message_terms"],
    },
    ReadModel {
        name: "search",
        version: 1,
        // The words have a table of their own in SQLite alone.
        tables: &["search_documents", "search_words"],
    },
];

/// Every table that is made anew.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    READ_MODELS.iter().flat_map(|model| model.tables).copied()
}

/// Returns the versions of all models, as they are noted.
pub(crate) fn versions() -> String {
    let each = READ_MODELS
        .iter()
        .map(|model| format!("{}={}", model.name, model.version));
    each.collect::<Vec<_>>().join(" ")
}

/// Returns whether some model of this program is newer than what is noted.
pub(crate) fn is_newer_than(noted: &str) -> bool {
    let noted: BTreeMap<&str, u32> = noted
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(name, version)| Some((name, version.parse().ok()?)))
        .collect();
    READ_MODELS.iter().any(|model| {
        noted
            .get(model.name)
            .is_none_or(|noted| model.version > *noted)
    })
}

/// Returns the messages that rows change, as they are written.
pub(super) fn messages_of(rows: &[Entry]) -> Vec<String> {
    let changes = rows.iter().flat_map(|entry| &entry.changes);
    let messages = changes.filter_map(|change| match change {
        Change::Message { message_id, .. } => Some(escape(message_id).into_owned()),
        _ => None,
    });
    messages.collect::<BTreeSet<_>>().into_iter().collect()
}

/// How far read models are made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rebuild {
    /// [`versions`] that made what is served; empty if that is not known.
    pub(crate) served: String,
    /// [`versions`] that make what is being built; empty if nothing is.
    pub(crate) building: String,
    /// How often somebody asked for it.
    pub(crate) ask_count: u64,
    /// Up to which wish it is done.
    pub(crate) served_ask: u64,
    /// Up to which wish it is being done.
    pub(crate) building_ask: u64,
    /// Rows of the archive that went into what is being built.
    pub(crate) row_count: u64,
}

/// What a store does to make read models anew.
pub(crate) trait Rebuilding: Debug + Send + Sync {
    /// Returns how far that is.
    fn rebuild(&self) -> Answer<'_, Rebuild>;

    /// Returns how far into each chain it has come.
    fn rebuild_marks(&self) -> Answer<'_, Vec<EventKey>>;

    /// Asks for it: whoever runs the role does it. Returns the number of the wish.
    fn ask_rebuild(&self) -> Answer<'_, u64>;

    /// Begins, or begins again: drops what was built so far, and makes empty tables.
    ///
    /// Refuses with [`super::Error::Moved`] if another process has gone on from `from`.
    fn begin_rebuild<'a>(&'a self, from: &'a Rebuild, building: &'a str) -> Answer<'a, ()>;

    /// Makes what rows of one chain change in the new tables, and notes how far that came; they
    /// follow on `after`, or are the first of their chain.
    ///
    /// Refuses with [`super::Error::Moved`] if another process has gone on meanwhile.
    fn go_on_rebuild<'a>(
        &'a self,
        from: &'a Rebuild,
        after: Option<&'a EventKey>,
        rows: &'a [Entry],
    ) -> Answer<'a, ()>;

    /// Puts the new tables in the place of the served ones, in one transaction.
    ///
    /// Refuses with [`super::Error::Moved`] unless all that is archived went into them.
    fn end_rebuild<'a>(&'a self, from: &'a Rebuild) -> Answer<'a, ()>;

    /// Keeps this process from archiving for as long as the guard lives.
    fn hold_writers(&self) -> BoxFuture<'_, OwnedRwLockWriteGuard<()>>;
}

pub(super) const STATE: &str = "\
SELECT served, building, ask_count, served_ask, building_ask, row_count
FROM read_models WHERE id = 1";

pub(super) const MARKS: &str = "\
SELECT stream, incarnation, sequence FROM read_model_marks ORDER BY stream, incarnation";

pub(super) const ASK: &str = "\
UPDATE read_models SET ask_count = ask_count + 1 WHERE id = 1 RETURNING ask_count";

/// Makes whatever is being built begin again.
pub(crate) const RESTART: &str = "\
UPDATE read_models SET building = 'again' WHERE id = 1 AND building <> ''";

/// Does nothing if another process has gone on meanwhile.
pub(super) const BEGIN: &str = "\
UPDATE read_models SET building = $1, building_ask = $2, row_count = 0
WHERE id = 1 AND building = $3 AND building_ask = $4 AND served_ask = $5 AND row_count = $6";

pub(super) const FORGET_MARKS: &str = "DELETE FROM read_model_marks";

/// Does nothing if another process has begun again meanwhile.
pub(super) const COUNT: &str = "\
UPDATE read_models SET row_count = row_count + $1
WHERE id = 1 AND building = $2 AND building_ask = $3";

/// Does nothing if another process has gone on meanwhile.
pub(super) const BEGIN_MARK: &str = "\
INSERT INTO read_model_marks (stream, incarnation, sequence) VALUES ($1, $2, $3)
ON CONFLICT (stream, incarnation) DO NOTHING";

/// Does nothing if another process has gone on meanwhile.
pub(super) const ADVANCE_MARK: &str = "\
UPDATE read_model_marks SET sequence = $3
WHERE stream = $1 AND incarnation = $2 AND sequence = $4";

/// Chains of which not all went into the new tables.
pub(super) const BEHIND: &str = "\
SELECT COUNT(*) FROM archive_heads h WHERE NOT EXISTS (
    SELECT 1 FROM read_model_marks m
    WHERE m.stream = h.stream AND m.incarnation = h.incarnation AND m.sequence = h.last_sequence
)";

pub(super) const END: &str = "\
UPDATE read_models SET served = building, served_ask = building_ask, building = '', row_count = 0
WHERE id = 1 AND building = $1 AND building_ask = $2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_or_a_new_model_is_due_and_an_older_program_rebuilds_nothing() {
        assert!(!is_newer_than(&versions()));
        assert!(is_newer_than(""));
        let older = versions().replace("messages=", "messages=0 was=");
        assert!(is_newer_than(&older), "{older}");
        let newer = versions().replace("messages=", "messages=9");
        assert!(!is_newer_than(&newer), "{newer}");
    }
}

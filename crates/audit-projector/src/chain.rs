//! The hash chain: how a row commits to its event, and how rows are linked.
//!
//! Pure. What stands here can never change: archives are checked with it for as long as they live.
//!
//! Every hash is SHA-256 over fields, each written as its length in bytes (64 bits, big-endian)
//! and then its bytes, so that no two sequences of fields run together. Numbers are 64 bits,
//! big-endian.
//!
//! - commitment: salt; subject; stored time in nanoseconds since 1970; number of headers; then
//!   name and value of each header, in stored order; payload
//! - link: stream; incarnation; sequence; the previous row's link, 32 zero bytes for the first
//!   row of a chain; commitment
//!
//! A chain belongs to one incarnation of one stream. Sequences may have gaps, since the log may
//! have lost messages to purges before they were due here; order they always have.

use casement_event::Stored;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::model::{Row, nanoseconds};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// Random, so that nothing can be guessed about an event from its commitment.
pub(crate) type Salt = [u8; 16];

/// Where a chain has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    /// Sequence of the last row; 0 before the first.
    pub(crate) last_sequence: u64,
    /// Link of the last row; zeros before the first.
    pub(crate) link: Digest,
    pub(crate) row_count: u64,
}

impl Head {
    /// A chain without rows.
    pub(crate) fn start(stream: &str, incarnation: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            incarnation: incarnation.to_owned(),
            last_sequence: 0,
            link: [0; 32],
            row_count: 0,
        }
    }

    /// Links an event to the chain, and returns its commitment and link.
    pub(crate) fn advance(&mut self, salt: &Salt, stored: &Stored) -> (Digest, Digest) {
        let commitment = commitment(salt, stored);
        self.link = self.link_of(stored.sequence, &self.link, &commitment);
        self.last_sequence = stored.sequence;
        self.row_count += 1;
        (commitment, self.link)
    }

    fn link_of(&self, sequence: u64, previous: &Digest, commitment: &Digest) -> Digest {
        let mut fields = Fields::new();
        fields.add(self.stream.as_bytes());
        fields.add(self.incarnation.as_bytes());
        fields.add(&sequence.to_be_bytes());
        fields.add(previous);
        fields.add(commitment);
        fields.digest()
    }
}

/// Returns what a row commits to.
pub(crate) fn commitment(salt: &Salt, stored: &Stored) -> Digest {
    let mut fields = Fields::new();
    fields.add(salt);
    fields.add(stored.subject.as_bytes());
    fields.add(&nanoseconds(stored.stored_at).to_be_bytes());
    fields.add(&(stored.headers.len() as u64).to_be_bytes());
    for (name, value) in &stored.headers {
        fields.add(name.as_bytes());
        fields.add(value.as_bytes());
    }
    fields.add(&stored.payload);
    fields.digest()
}

/// Length-prefixed fields on their way into a hash.
struct Fields(Sha256);

impl Fields {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn add(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    fn digest(self) -> Digest {
        self.0.finalize().into()
    }
}

/// What checking one chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// How many rows were checked: all, or up to the first that does not fit.
    pub checked_count: u64,
    /// Sequence of the last row that fits.
    pub last_sequence: u64,
    /// Link of the last row that fits.
    #[serde(serialize_with = "as_hex")]
    pub head: [u8; 32],
    /// The first row that does not fit, if any.
    pub broken: Option<Broken>,
}

impl ChainReport {
    /// Returns whether every row fits.
    pub fn is_intact(&self) -> bool {
        self.broken.is_none()
    }
}

/// The first place where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Sequence of the row that does not fit.
    pub sequence: u64,
    /// What is wrong, for people.
    pub explanation: String,
}

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(digest))
}

/// Recomputes a chain row by row, in the order of sequences.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// What the archive says it has come to; `None` if it has no say.
    claimed: Option<Head>,
    /// What its rows amount to.
    found: Head,
    /// A row whose link is wrong. The row after it tells which side of the link was changed.
    suspect: Option<Suspect>,
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Suspect {
    sequence: u64,
    /// As it stands.
    link: Digest,
    /// As it follows from what is before it.
    expected: Digest,
}

impl Verifier {
    pub(crate) fn new(stream: &str, incarnation: &str, claimed: Option<Head>) -> Self {
        let found = Head::start(stream, incarnation);
        Self {
            claimed,
            found,
            suspect: None,
            broken: None,
        }
    }

    /// Returns whether more rows would tell nothing more.
    pub(crate) fn is_settled(&self) -> bool {
        self.broken.is_some()
    }

    /// Checks the next row.
    pub(crate) fn check(&mut self, row: &Row) {
        if self.is_settled() {
            return;
        }
        let sequence = row.stored.sequence;
        if let Some(suspect) = self.suspect.take() {
            let follows =
                |previous| self.found.link_of(sequence, previous, &row.commitment) == row.link;
            let (kept, recomputed) = (follows(&suspect.link), follows(&suspect.expected));
            self.judge(&suspect, kept, recomputed);
            return;
        }
        let commitment = commitment(&row.salt, &row.stored);
        if commitment != row.commitment {
            self.fail(
                sequence,
                "content, salt or commitment was changed: the commitment does not match the event"
                    .to_owned(),
            );
            return;
        }
        if let Some(column) = changed_column(row) {
            self.fail(
                sequence,
                format!("column {column} was changed: it does not match the headers"),
            );
            return;
        }
        let expected = self.found.link_of(sequence, &self.found.link, &commitment);
        if expected != row.link {
            self.suspect = Some(Suspect {
                sequence,
                link: row.link,
                expected,
            });
            return;
        }
        self.found.last_sequence = sequence;
        self.found.link = row.link;
        self.found.row_count += 1;
    }

    /// Takes note that the next row cannot be read at all.
    pub(crate) fn unreadable(&mut self, problem: &str) {
        if self.suspect.is_none() && !self.is_settled() {
            let (before, next) = (self.found.last_sequence, self.found.last_sequence + 1);
            self.fail(
                next,
                format!("row after {before} cannot be read: {problem}"),
            );
        }
    }

    /// Ends the check. Every row up to the claimed head has been checked.
    pub(crate) fn finish(mut self) -> ChainReport {
        if let Some(suspect) = self.suspect.take() {
            let claimed = self.claimed.as_ref().map(|head| head.link);
            self.judge(
                &suspect,
                claimed == Some(suspect.link),
                claimed == Some(suspect.expected),
            );
        }
        if !self.is_settled() {
            self.compare_with_claim();
        }
        ChainReport {
            stream: self.found.stream,
            incarnation: self.found.incarnation,
            checked_count: self.found.row_count,
            last_sequence: self.found.last_sequence,
            head: self.found.link,
            broken: self.broken,
        }
    }

    /// Says which side of a wrong link was changed: `kept` if what comes after it follows from
    /// the link as it stands, `recomputed` if from the link as it should be.
    fn judge(&mut self, suspect: &Suspect, kept: bool, recomputed: bool) {
        let before = match self.found.last_sequence {
            0 => "the start of the chain".to_owned(),
            sequence => format!("row {sequence}"),
        };
        let explanation = if recomputed {
            "link was changed: what follows still fits the link as it should be".to_owned()
        } else if kept {
            format!(
                "predecessor is missing: link does not follow from {before}, so a row between \
                 them was removed, or {before} was rewritten together with its link"
            )
        } else {
            format!(
                "link does not follow from {before}, nor does what comes after fit: rows were \
                 swapped, moved or rewritten"
            )
        };
        self.fail(suspect.sequence, explanation);
    }

    fn compare_with_claim(&mut self) {
        let Some(claimed) = self.claimed.take() else {
            let explanation =
                "head of the chain is missing: rows may have been removed after this one";
            self.fail(self.found.last_sequence, explanation.to_owned());
            return;
        };
        if claimed == self.found {
            return;
        }
        let explanation = if claimed.last_sequence > self.found.last_sequence {
            format!(
                "rows after {} are missing: the chain had come to {} with {} rows",
                self.found.last_sequence, claimed.last_sequence, claimed.row_count
            )
        } else {
            "head of the chain was changed: it does not match the last row".to_owned()
        };
        self.fail(claimed.last_sequence, explanation);
    }

    fn fail(&mut self, sequence: u64, explanation: String) {
        self.broken = Some(Broken {
            sequence,
            explanation,
        });
    }
}

/// The columns that say the same as the headers must say the same. Other columns may be filled
/// from elsewhere, and later versions may fill more of them: those are not part of the chain.
fn changed_column(row: &Row) -> Option<&'static str> {
    let Row { stored, index, .. } = row;
    if index.event_type != stored.event_type() {
        return Some("event_type");
    }
    if index.event_id != crate::index::event_id(stored) {
        return Some("event_id");
    }
    let event_time = crate::index::event_time(stored);
    (nanoseconds(index.event_time) != nanoseconds(event_time)).then_some("event_time")
}

#[cfg(test)]
mod tests;

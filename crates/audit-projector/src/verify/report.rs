//! What checking a chain finds, in words for people.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Most findings of one chain that are told one by one.
pub(crate) const FINDINGS_MAX: usize = 100;

/// Most gaps of one chain that are told one by one.
pub(crate) const GAPS_MAX: usize = 100;

/// What checking one chain found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// How many rows were checked.
    pub checked_count: u64,
    /// Sequence of the first row; 0 if there is none.
    pub first_sequence: u64,
    /// Sequence of the last row; 0 if there is none.
    pub last_sequence: u64,
    /// When the log took the first row that says so.
    pub first_stored_time: Option<Timestamp>,
    /// When the log took the last row that says so.
    pub last_stored_time: Option<Timestamp>,
    /// Link of the last row.
    #[serde(serialize_with = "as_hex")]
    pub head: [u8; 32],
    /// What is wrong, in the order of sequences as far as it was found in that order.
    pub findings: Vec<Finding>,
    /// How much more is wrong than is told.
    pub more_findings_count: u64,
    /// Sequences that never came into the archive, with the chain closed over them: they left the
    /// log before they were archived. Nothing was taken out of the archive there.
    pub gaps: Vec<Gap>,
    /// How many sequences all gaps have together.
    pub missing_count: u64,
    /// Rows whose content was erased on purpose. They are checked by their commitments.
    pub erased_count: u64,
    /// Rows whose content cannot be opened here. They are checked by their commitments.
    pub sealed_count: u64,
    /// Rows whose content an export leaves out. They are checked by their commitments.
    pub withheld_count: u64,
    /// The signed heads.
    pub signed: Signed,
}

/// What signed heads say of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// Heads that were compared with the chain.
    pub head_count: u64,
    /// How many of them bear a signature of a key that was given.
    pub verified_count: u64,
    /// Sequence of the last of those, up to which the past was signed; 0 if there is none.
    pub last_sequence: u64,
    /// When that one was signed.
    pub last_time: Option<Timestamp>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of wrong.
    pub kind: FindingKind,
    /// Sequence where it is, or where it begins.
    pub sequence: u64,
    /// Where it ends; the same sequence if it is one row.
    pub last_sequence: u64,
    /// What is wrong, for people.
    pub explanation: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sequence == self.last_sequence {
            write!(f, "at {}: {}", self.sequence, self.explanation)
        } else {
            let (first, last) = (self.sequence, self.last_sequence);
            write!(f, "from {first} to {last}: {}", self.explanation)
        }
    }
}

/// The kinds of what can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingKind {
    /// What a row says is not what was archived.
    ContentChanged,
    /// A column for looking rows up says something else than the event.
    ColumnChanged,
    /// A row's link alone was changed.
    LinkChanged,
    /// Rows are missing.
    Removed,
    /// A row is there that never was archived.
    Inserted,
    /// Two rows have changed places.
    Swapped,
    /// Rows were written anew together with what they commit to, or moved.
    Rewritten,
    /// The position of the chain does not match its rows.
    HeadChanged,
    /// The position of the chain is gone.
    HeadMissing,
    /// A row cannot be read at all.
    Unreadable,
    /// Content was erased, and no erasure is on record.
    ErasedOffRecord,
    /// The past is not what a head signed.
    NotAsSigned,
    /// A signed head is not what was signed.
    SignedHeadChanged,
    /// No head is signed by a key that was given.
    NotSigned,
}

impl FindingKind {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentChanged => "CONTENT_CHANGED",
            Self::ColumnChanged => "COLUMN_CHANGED",
            Self::LinkChanged => "LINK_CHANGED",
            Self::Removed => "REMOVED",
            Self::Inserted => "INSERTED",
            Self::Swapped => "SWAPPED",
            Self::Rewritten => "REWRITTEN",
            Self::HeadChanged => "HEAD_CHANGED",
            Self::HeadMissing => "HEAD_MISSING",
            Self::Unreadable => "UNREADABLE",
            Self::ErasedOffRecord => "ERASED_OFF_RECORD",
            Self::NotAsSigned => "NOT_AS_SIGNED",
            Self::SignedHeadChanged => "SIGNED_HEAD_CHANGED",
            Self::NotSigned => "NOT_SIGNED",
        }
    }

    /// Returns what to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::ContentChanged => {
                "compare the row with a backup or an export from before, and find out who can \
                 write the database"
            }
            Self::ColumnChanged => {
                "the event itself is as it was: set the column to what its headers say"
            }
            Self::LinkChanged => {
                "the events are as they were: take the row's link from a backup, and find out who \
                 can write the database"
            }
            Self::Removed => {
                "take the missing rows from a backup or an export: they cannot be made again once \
                 the log has forgotten them"
            }
            Self::Inserted => {
                "keep a copy of the row as evidence, take it out, and find out who can write the \
                 database"
            }
            Self::Swapped | Self::Rewritten => {
                "compare the rows around there with a backup or an export from before, and restore \
                 the archive from the backup that verifies"
            }
            Self::HeadChanged | Self::HeadMissing => {
                "stop the audit-projector before it goes on from there, and restore the table \
                 archive_heads from a backup"
            }
            Self::Unreadable => "see to the disk, and restore the row from a backup",
            Self::ErasedOffRecord => {
                "restore the customer's row of the table customer_keys from a backup, or erase the \
                 customer, if that was meant"
            }
            Self::NotAsSigned => {
                "whoever did this can write the whole database: restore the newest backup that \
                 verifies against the signed heads, and change the database's passwords"
            }
            Self::SignedHeadChanged => {
                "take the signed head from wherever else it is kept, and find out who can write \
                 the database"
            }
            Self::NotSigned => {
                "give the key that signed it; if signing was on, the signed heads were taken away: \
                 give copies of them that are kept elsewhere with --head"
            }
        }
    }
}

/// Sequences in a row that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first one.
    pub first_sequence: u64,
    /// The last one.
    pub last_sequence: u64,
}

impl ChainReport {
    /// Returns whether nothing is wrong. Gaps, and content that was erased or cannot be opened,
    /// are no fault of the chain.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the first of what is wrong.
    pub fn broken(&self) -> Option<&Finding> {
        self.findings.first()
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings_count += 1;
        }
    }

    pub(crate) fn add_gap(&mut self, gap: Gap) {
        self.missing_count += gap.last_sequence - gap.first_sequence + 1;
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(gap);
        }
    }
}

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(digest))
}

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
use sha2::{Digest as _, Sha256};

use crate::model::nanoseconds;

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
        let chain = (self.stream.as_str(), self.incarnation.as_str());
        self.link = link(chain, stored.sequence, &self.link, &commitment);
        self.last_sequence = stored.sequence;
        self.row_count += 1;
        (commitment, self.link)
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

/// Returns the link of a row of a stream and its incarnation.
pub(crate) fn link(
    (stream, incarnation): (&str, &str),
    sequence: u64,
    previous: &Digest,
    commitment: &Digest,
) -> Digest {
    let mut fields = Fields::new();
    fields.add(stream.as_bytes());
    fields.add(incarnation.as_bytes());
    fields.add(&sequence.to_be_bytes());
    fields.add(previous);
    fields.add(commitment);
    fields.digest()
}

#[cfg(test)]
mod tests;

//! Signed heads, lives of streams, and the places of rows in their chains.

use jiff::Timestamp;

use super::backend::{self, Backend, integer};
use super::read;
use super::sql::{Query, Value};
use super::{Answer, Error};
use crate::chain::Digest;
use crate::model::nanoseconds;
use crate::verify::anchors::SignedHead;

const SIGN: &str = "\
INSERT INTO signed_heads (stream, incarnation, sequence, key_label, signed_time_ns, note)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (stream, incarnation, sequence, key_label) DO NOTHING";

const SIGNED_HEADS: &str = "\
SELECT stream, incarnation, sequence, key_label, signed_time_ns, note FROM signed_heads";

const BEGIN_LIFE: &str = "\
INSERT INTO incarnations (
    stream, incarnation, begin_time_ns, previous_incarnation, common_sequence
) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, incarnation) DO NOTHING";

const LIVES: &str = "\
SELECT stream, incarnation, begin_time_ns, previous_incarnation, common_sequence
FROM incarnations";

const PLACES: &str = "SELECT sequence, stored_time_ns, commitment, link FROM archive";

/// A signed head as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptHead {
    pub(crate) head: SignedHead,
    /// Name and id of the key.
    pub(crate) key_label: String,
    pub(crate) signed_time: Timestamp,
}

/// Place of a signed head in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadKey {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
    pub(crate) key_label: String,
}

impl KeptHead {
    pub(crate) fn key(&self) -> HeadKey {
        HeadKey {
            stream: self.head.stream.clone(),
            incarnation: self.head.incarnation.clone(),
            sequence: self.head.sequence,
            key_label: self.key_label.clone(),
        }
    }
}

/// Which signed heads are asked for. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeadFilter {
    pub(crate) stream: Option<String>,
    pub(crate) incarnation: Option<String>,
}

/// A life of a stream, as the archive met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    /// When the archive first met it.
    pub(crate) begin_time: Timestamp,
    /// Empty for the first.
    pub(crate) previous_incarnation: String,
    /// Up to this sequence the two are the same; 0 of a stream that began anew.
    pub(crate) common_sequence: u64,
}

/// A row's place in its chain, without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) stored_time: Timestamp,
    pub(crate) commitment: Digest,
    pub(crate) link: Digest,
}

/// What is asked about chains as a whole.
pub(crate) trait Heads {
    /// Keeps a signed head; nothing happens if that one is kept already.
    fn keep_head<'a>(&'a self, head: &'a KeptHead) -> Answer<'a, ()>;

    /// Returns signed heads in the order of stream, incarnation and sequence.
    fn signed_heads<'a>(
        &'a self,
        filter: &'a HeadFilter,
        after: Option<&'a HeadKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<KeptHead>>;

    /// Returns the last head of a chain that a key signed, or any key.
    fn last_head<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        key_label: Option<&'a str>,
    ) -> Answer<'a, Option<KeptHead>>;

    /// Notes that the archive has met a life of a stream; nothing happens if it knows it.
    fn begin_life<'a>(&'a self, life: &'a Life) -> Answer<'a, ()>;

    /// Returns a life; `None` of one that was met before lives were noted.
    fn life<'a>(&'a self, stream: &'a str, incarnation: &'a str) -> Answer<'a, Option<Life>>;

    /// Returns the place of the first row after a sequence.
    fn place_after<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        sequence: u64,
    ) -> Answer<'a, Option<Place>>;

    /// Returns the place of the last row.
    fn last_place<'a>(&'a self, stream: &'a str, incarnation: &'a str)
    -> Answer<'a, Option<Place>>;
}

fn text(of: &str) -> Value {
    Value::Text(of.to_owned())
}

impl<B: Backend> Heads for B {
    fn keep_head<'a>(&'a self, kept: &'a KeptHead) -> Answer<'a, ()> {
        let values = [
            text(&kept.head.stream),
            text(&kept.head.incarnation),
            Value::Integer(integer(kept.head.sequence)),
            text(&kept.key_label),
            Value::Integer(nanoseconds(kept.signed_time)),
            text(&kept.head.note),
        ];
        self.change("keep a signed head", Query::whole(SIGN, values))
    }

    fn signed_heads<'a>(
        &'a self,
        filter: &'a HeadFilter,
        after: Option<&'a HeadKey>,
        rows_max: usize,
    ) -> Answer<'a, Vec<KeptHead>> {
        let mut query = Query::new(SIGNED_HEADS);
        query.and_text("stream = ?", filter.stream.as_ref());
        query.and_text("incarnation = ?", filter.incarnation.as_ref());
        if let Some(after) = after {
            let key = [
                text(&after.stream),
                text(&after.incarnation),
                Value::Integer(integer(after.sequence)),
                text(&after.key_label),
            ];
            query.and(
                "(stream, incarnation, sequence, key_label) > (?, ?, ?, ?)",
                key,
            );
        }
        query.order("stream, incarnation, sequence, key_label", rows_max);
        Box::pin(backend::all(
            self,
            "list signed heads",
            query,
            read::kept_head,
        ))
    }

    fn last_head<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        key_label: Option<&'a str>,
    ) -> Answer<'a, Option<KeptHead>> {
        let mut query = Query::new(SIGNED_HEADS);
        query.and("stream = ?", [text(stream)]);
        query.and("incarnation = ?", [text(incarnation)]);
        if let Some(label) = key_label {
            query.and("key_label = ?", [text(label)]);
        }
        query.order("sequence DESC, signed_time_ns DESC", 1);
        Box::pin(backend::optional(
            self,
            "find the last signed head",
            query,
            read::kept_head,
        ))
    }

    fn begin_life<'a>(&'a self, life: &'a Life) -> Answer<'a, ()> {
        let values = [
            text(&life.stream),
            text(&life.incarnation),
            Value::Integer(nanoseconds(life.begin_time)),
            text(&life.previous_incarnation),
            Value::Integer(integer(life.common_sequence)),
        ];
        self.change("note a life of a stream", Query::whole(BEGIN_LIFE, values))
    }

    fn life<'a>(&'a self, stream: &'a str, incarnation: &'a str) -> Answer<'a, Option<Life>> {
        let mut query = Query::new(LIVES);
        query.and("stream = ?", [text(stream)]);
        query.and("incarnation = ?", [text(incarnation)]);
        query.order("stream", 1);
        Box::pin(backend::optional(
            self,
            "find a life of a stream",
            query,
            read::life,
        ))
    }

    fn place_after<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
        sequence: u64,
    ) -> Answer<'a, Option<Place>> {
        let mut query = places(stream, incarnation);
        query.and("sequence > ?", [Value::Integer(integer(sequence))]);
        query.order("sequence", 1);
        place(self, query)
    }

    fn last_place<'a>(
        &'a self,
        stream: &'a str,
        incarnation: &'a str,
    ) -> Answer<'a, Option<Place>> {
        let mut query = places(stream, incarnation);
        query.order("sequence DESC", 1);
        place(self, query)
    }
}

fn places(stream: &str, incarnation: &str) -> Query {
    let mut query = Query::new(PLACES);
    query.and("stream = ?", [text(stream)]);
    query.and("incarnation = ?", [text(incarnation)]);
    query
}

/// `None` also of a row whose place cannot be read: then there is nothing to go on from.
fn place<B: Backend>(backend: &B, query: Query) -> Answer<'_, Option<Place>> {
    Box::pin(async move {
        match backend::optional(backend, "find a row", query, read::place).await {
            Err(Error::Inconsistent { .. }) => Ok(None),
            found => found,
        }
    })
}

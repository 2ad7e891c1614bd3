//! Between the broker's client and what the rest of the house sees.

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::message::Info;
use casement_event::{Extension, Stored};
use jiff::Timestamp;

use crate::ReadError;
use crate::link::Message;
use crate::memory::Kept;

/// The broker's errors that we act on.
pub(crate) mod code {
    /// The expected last sequence is not the last one.
    pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
    /// A batch holds a message id that is already stored.
    pub(crate) const BATCH_DUPLICATE: u64 = 10201;
    /// The server is shutting a stream down, or it has no leader; or it has the same message
    /// (10158), or another one on a subject with an expectation (10164), in hand and waits for a
    /// majority, which a leader that is cut off will never get: try again. What is in hand may be
    /// an earlier try of this very append, so it is no conflict until it is stored.
    pub(crate) const TRANSIENT: [u64; 6] = [10008, 10009, 10076, 10118, 10158, 10164];
}

/// What stands before a subject while it is being appended.
///
/// The broker hands every publish to whoever subscribes to its subject, also one that the
/// stream then refuses. So appends go to a subject of their own, the stream stores them under
/// the real one, and republishes there what it stored: a plain subscriber never hears of an
/// event that lost a race.
pub(crate) const APPEND_PREFIX: &str = "append.";

/// Returns the subject under which an append to `subject` is published.
pub(crate) fn append_subject(subject: &str) -> String {
    format!("{APPEND_PREFIX}{subject}")
}

/// Header names that belong to the append and not to the event.
pub(crate) mod nats_header {
    pub(crate) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
    pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";
    pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";
}

pub(crate) fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = map
        .iter()
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.to_string(), value.as_str().to_owned()))
        })
        .collect();
    all.sort();
    all
}

fn instant(nanoseconds: i128) -> Result<Timestamp, ReadError> {
    Timestamp::from_nanosecond(nanoseconds).map_err(|error| ReadError::Unreadable {
        what: "stored time".to_owned(),
        problem: error.to_string(),
    })
}

pub(crate) fn from_stream(
    stream: &str,
    incarnation: &str,
    message: jetstream::message::StreamMessage,
) -> Result<Stored, ReadError> {
    Ok(Stored {
        stream: stream.to_owned(),
        incarnation: incarnation.to_owned(),
        sequence: message.sequence,
        subject: message.subject.to_string(),
        stored_at: instant(message.time.unix_timestamp_nanos())?,
        headers: headers(&message.headers),
        payload: message.payload,
    })
}

pub(crate) fn from_consumer(
    incarnation: &str,
    message: &Message,
) -> Result<(Stored, Pending), ReadError> {
    let (pending, stream, stored_at) = information(message)?;
    let stored = Stored {
        stream: stream.to_owned(),
        incarnation: incarnation.to_owned(),
        sequence: pending.sequence,
        subject: message.subject().to_string(),
        stored_at: instant(stored_at)?,
        headers: message.headers().map(headers).unwrap_or_default(),
        payload: message.payload().clone(),
    };
    Ok((stored, pending))
}

pub(crate) fn from_memory(stream: &str, incarnation: &str, kept: &Kept) -> Stored {
    Stored {
        stream: stream.to_owned(),
        incarnation: incarnation.to_owned(),
        sequence: kept.sequence,
        subject: kept.subject.to_string(),
        stored_at: kept.stored_at,
        headers: headers(&kept.headers),
        payload: kept.payload.clone(),
    }
}

/// What the deadline index needs of an event. Millions of them come after a start, and most of what
/// an event costs is its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) subject: async_nats::Subject,
    pub(crate) sequence: u64,
    /// As in [`Stored::deadline`].
    pub(crate) deadline: Option<Timestamp>,
}

/// As [`from_consumer`], but takes no more than a [`Sighting`].
pub(crate) fn sighted(
    _incarnation: &str,
    message: &Message,
) -> Result<(Sighting, Pending), ReadError> {
    let (pending, _, _) = information(message)?;
    let deadline = message
        .headers()
        .and_then(|headers| headers.get(Extension::Deadline.header()))
        .and_then(|text| text.as_str().parse().ok());
    let sighting = Sighting {
        subject: message.subject().clone(),
        sequence: pending.sequence,
        deadline,
    };
    Ok((sighting, pending))
}

impl Sighting {
    pub(crate) fn of(stored: &Stored) -> Self {
        Self {
            subject: stored.subject.as_str().into(),
            sequence: stored.sequence,
            deadline: stored.deadline(),
        }
    }
}

fn information(message: &Message) -> Result<(Pending, &str, i128), ReadError> {
    message
        .information()
        .map_err(|error| ReadError::Unreadable {
            what: message.subject().to_string(),
            problem: error.to_string(),
        })
}

/// What a delivery says about its consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// Where it stands in the stream.
    pub(crate) sequence: u64,
    /// Running number of the delivery; a gap means that one was lost.
    pub(crate) consumer_sequence: u64,
    /// How often this message was delivered.
    pub(crate) delivered: i64,
    /// How many messages are still to be delivered after it.
    pub(crate) left: u64,
}

impl Pending {
    pub(crate) fn of(info: &Info<'_>) -> Self {
        Self {
            sequence: info.stream_sequence,
            consumer_sequence: info.consumer_sequence,
            delivered: info.delivered,
            left: info.pending,
        }
    }
}

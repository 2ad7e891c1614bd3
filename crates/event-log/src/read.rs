//! Reads through the stream leader: what deciders rest on.
//!
//! Direct reads, which a lagging replica may answer, are not offered here.

use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use casement_event::Stored;

use crate::connect::{Inner, Log};
use crate::{Position, ReadError, connect, wire};

/// Longest subject that [`Log::read_subject`] reads: an aggregate, not a stream.
const SUBJECT_LEN_MAX: usize = 10_000;

/// A stream as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Which life of the stream.
    pub incarnation: String,
    /// Sequence of the oldest message.
    pub first_sequence: u64,
    /// Sequence of the newest message ever stored.
    pub last_sequence: u64,
    /// How many messages it holds.
    pub messages: u64,
}

impl Log {
    /// Returns the newest message on a subject, or on a wildcard over several.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, ReadError> {
        let request = self
            .inner
            .open(stream)?
            .raw_message_builder()
            .last_by_subject(subject);
        self.inner.raw(stream, subject, request).await
    }

    /// Returns the message at a sequence.
    pub async fn get(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, ReadError> {
        self.inner.at(stream, sequence).await
    }

    /// Returns all messages of a subject, oldest first. For aggregates, which are small.
    pub async fn read_subject(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Vec<Stored>, ReadError> {
        let mut all = Vec::new();
        let mut from = 1;
        while let Some(stored) = self.inner.next_on(stream, subject, from).await? {
            from = stored.sequence + 1;
            all.push(stored);
            if all.len() > SUBJECT_LEN_MAX {
                return Err(ReadError::Unreadable {
                    what: subject.to_owned(),
                    problem: format!("holds more than {SUBJECT_LEN_MAX} messages"),
                });
            }
        }
        Ok(all)
    }

    /// Returns the first message on a subject at or after a sequence.
    pub async fn next(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, ReadError> {
        self.inner.next_on(stream, subject, from).await
    }

    /// Returns a stream as it stands.
    pub async fn state(&self, stream: &str) -> Result<StreamState, ReadError> {
        let info =
            self.inner
                .open(stream)?
                .get_info()
                .await
                .map_err(|error| ReadError::Unavailable {
                    what: format!("stream {stream}"),
                    source: error.into(),
                })?;
        Ok(StreamState {
            incarnation: connect::incarnation(&info),
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
        })
    }

    /// Removes what stands below a sequence, and returns how much that was.
    pub async fn purge_up_to(&self, stream: &str, sequence: u64) -> Result<u64, ReadError> {
        let purge = self.inner.open(stream)?.purge().sequence(sequence).await;
        purged(stream, purge)
    }

    /// Removes all messages of a subject, and returns how many there were.
    pub async fn purge_subject(&self, stream: &str, subject: &str) -> Result<u64, ReadError> {
        let purge = self.inner.open(stream)?.purge().filter(subject).await;
        purged(stream, purge)
    }

    /// Returns whether a stream still holds up to a position: it was reached, in this life.
    pub async fn has_reached(&self, position: &Position) -> Result<bool, ReadError> {
        let state = self.state(&position.stream).await?;
        Ok(state.incarnation == position.incarnation && state.last_sequence >= position.sequence)
    }
}

fn purged(
    stream: &str,
    answer: Result<
        async_nats::jetstream::stream::PurgeResponse,
        impl std::error::Error + Send + Sync + 'static,
    >,
) -> Result<u64, ReadError> {
    answer
        .map(|answer| answer.purged)
        .map_err(|error| ReadError::Unavailable {
            what: format!("purge of stream {stream}"),
            source: error.into(),
        })
}

type RawRequest = async_nats::jetstream::stream::RawMessageBuilder;

impl Inner {
    pub(crate) fn open(&self, stream: &str) -> Result<&Stream, ReadError> {
        self.streams
            .get(stream)
            .ok_or_else(|| ReadError::Unreadable {
                what: stream.to_owned(),
                problem: "not a stream of the log".to_owned(),
            })
    }

    pub(crate) async fn at(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, ReadError> {
        let request = self.open(stream)?.raw_message_builder().sequence(sequence);
        self.raw(stream, &format!("{stream} {sequence}"), request)
            .await
    }

    pub(crate) async fn next_on(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, ReadError> {
        let request = self
            .open(stream)?
            .raw_message_builder()
            .sequence(from.max(1))
            .next_by_subject(subject);
        self.raw(stream, subject, request).await
    }

    async fn raw(
        &self,
        stream: &str,
        what: &str,
        request: RawRequest,
    ) -> Result<Option<Stored>, ReadError> {
        match request.send().await {
            Ok(message) => {
                let incarnation = self.incarnations.get(stream).map_or("", String::as_str);
                wire::from_stream(stream, incarnation, message).map(Some)
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(ReadError::Unavailable {
                what: what.to_owned(),
                source: error.into(),
            }),
        }
    }
}

//! Reads through the stream leader: what deciders rest on.
//!
//! Direct reads, which a lagging replica may answer, are not offered here.

use std::error::Error;
use std::sync::Arc;

use async_nats::connection::State;
use async_nats::jetstream::stream::{PurgeResponse, RawMessageErrorKind, Stream};
use casement_event::Stored;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use crate::connect::{Inner, Log};
use crate::leave::Asked;
use crate::link::{Link, Nats};
use crate::memory::{Connection, Kept, Operation, Shelf};
use crate::{Position, ReadError, lineage, metrics, wire};

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
        match self.inner.mirror_for(stream, subject) {
            Some(mirror) => mirror.last(&self.inner, subject).await,
            None => self.inner.last(stream, subject).await,
        }
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

    /// Returns the sequence of the first message that was stored at or after a time; `None` if
    /// all are older. Times of a stream follow its sequences.
    pub async fn first_stored_since(
        &self,
        stream: &str,
        since: Timestamp,
    ) -> Result<Option<u64>, ReadError> {
        let state = self.state(stream).await?;
        let (mut low, mut high) = (state.first_sequence.max(1), state.last_sequence + 1);
        while low < high {
            let middle = low.midpoint(high);
            match self.inner.next_on(stream, ">", middle).await? {
                Some(stored) if stored.stored_at < since => low = stored.sequence + 1,
                _ => high = middle,
            }
        }
        let first = self.inner.next_on(stream, ">", low).await?;
        Ok(first.map(|first| first.sequence))
    }

    /// Returns the sequence of the first message at or after one that was handed out: the same one,
    /// or a later one if it has been erased. `None` if whoever answers has not heard of it: a leader
    /// that stood still or was cut off tells what it has until it notices. An answer by which there
    /// is nothing to do is worth nothing then.
    pub async fn first_from(&self, stream: &str, seen: u64) -> Result<Option<u64>, ReadError> {
        let next = self.inner.next_on(stream, ">", seen).await?;
        Ok(next.map(|next| next.sequence))
    }

    /// Returns a stream as it stands.
    pub async fn state(&self, stream: &str) -> Result<StreamState, ReadError> {
        let what = format!("stream {stream}");
        let state = match &self.inner.link {
            Link::Nats(nats) => {
                let info = nats.open(stream)?.get_info();
                let info = self.inner.in_time(stream, &what, info).await?;
                StreamState {
                    incarnation: lineage::incarnation(&info),
                    first_sequence: info.state.first_sequence,
                    last_sequence: info.state.last_sequence,
                    messages: info.state.messages,
                }
            }
            Link::Memory(memory) => self.inner.patiently(&what, memory.state(stream)).await?,
        };
        metrics::looked_at(stream, &state);
        Ok(state)
    }

    /// Removes what stands below a sequence, and returns how much that was.
    pub async fn purge_up_to(&self, stream: &str, sequence: u64) -> Result<u64, ReadError> {
        match &self.inner.link {
            Link::Nats(nats) => {
                let purge = nats.open(stream)?.purge().sequence(sequence);
                self.purge(stream, purge.into_future()).await
            }
            Link::Memory(memory) => {
                let purge = |shelf: &mut Shelf| shelf.purge(">", sequence);
                let purge = memory.change(Operation::Remove, stream, purge);
                self.inner.patiently(stream, purge).await
            }
        }
    }

    /// Removes what stands on a subject below a sequence, and returns how much that was. What
    /// is appended meanwhile stays.
    pub async fn purge_subject(
        &self,
        stream: &str,
        subject: &str,
        below: u64,
    ) -> Result<u64, ReadError> {
        match &self.inner.link {
            Link::Nats(nats) => {
                let purge = nats.open(stream)?.purge().sequence(below).filter(subject);
                self.purge(stream, purge.into_future()).await
            }
            Link::Memory(memory) => {
                let purge = |shelf: &mut Shelf| shelf.purge(subject, below);
                let purge = memory.change(Operation::Remove, stream, purge);
                self.inner.patiently(stream, purge).await
            }
        }
    }

    async fn purge<E: Error + Send + Sync + 'static>(
        &self,
        stream: &str,
        purge: impl Future<Output = Result<PurgeResponse, E>>,
    ) -> Result<u64, ReadError> {
        let what = format!("purge of stream {stream}");
        Ok(self.inner.in_time(stream, &what, purge).await?.purged)
    }

    /// Returns up to which sequence everybody who works on a stream is done with it: what all its
    /// durable consumers have acknowledged. `None` if nobody works on it.
    pub async fn worked_through(&self, stream: &str) -> Result<Option<u64>, ReadError> {
        let what = format!("work on stream {stream}");
        let open = match &self.inner.link {
            Link::Nats(nats) => nats.open(stream)?,
            Link::Memory(memory) => {
                let worked = |shelf: &mut Shelf| shelf.worked_through();
                let worked = memory.change(Operation::Read, stream, worked);
                return self.inner.patiently(&what, worked).await;
            }
        };
        let list = async {
            let mut consumers = open.consumers();
            let mut floor: Option<u64> = None;
            while let Some(info) = consumers.try_next().await? {
                if info.config.durable_name.is_some() {
                    let done = info.ack_floor.stream_sequence;
                    floor = Some(floor.map_or(done, |floor| floor.min(done)));
                }
            }
            Ok::<_, async_nats::jetstream::stream::ConsumersError>(floor)
        };
        self.inner.in_time(stream, &what, list).await
    }

    /// Returns whether single messages of a stream may be erased.
    pub async fn may_erase(&self, stream: &str) -> Result<bool, ReadError> {
        let what = format!("stream {stream}");
        match &self.inner.link {
            Link::Nats(nats) => {
                let info = nats.open(stream)?.get_info();
                let info = self.inner.in_time(stream, &what, info).await?;
                Ok(!info.config.deny_delete)
            }
            Link::Memory(memory) => {
                let may = |shelf: &mut Shelf| !shelf.config.deny_delete;
                let may = memory.change(Operation::Read, stream, may);
                self.inner.patiently(&what, may).await
            }
        }
    }

    /// Removes one message, and overwrites its bytes where the broker keeps them.
    pub async fn erase(&self, stream: &str, sequence: u64) -> Result<(), ReadError> {
        let what = format!("erasure of {stream} {sequence}");
        let nats = match &self.inner.link {
            Link::Nats(nats) => nats,
            Link::Memory(memory) => {
                let erase = |shelf: &mut Shelf| shelf.remove(sequence);
                let erase = memory.change(Operation::Remove, stream, erase);
                return self.inner.patiently(&what, erase).await.map(drop);
            }
        };
        let erased = nats.open(stream)?.delete_message(sequence);
        match self.inner.in_time(stream, &what, erased).await {
            Ok(_) => Ok(()),
            // Somebody else was faster, or its age.
            Err(_) if self.get(stream, sequence).await?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a stream still holds up to a position: it was reached, in this life.
    pub async fn has_reached(&self, position: &Position) -> Result<bool, ReadError> {
        let state = self.state(&position.stream).await?;
        Ok(state.incarnation == position.incarnation && state.last_sequence >= position.sequence)
    }
}

type RawRequest = async_nats::jetstream::stream::RawMessageBuilder;

impl Nats {
    pub(crate) fn open(&self, stream: &str) -> Result<&Stream, ReadError> {
        self.streams
            .get(stream)
            .ok_or_else(|| ReadError::Unreadable {
                what: stream.to_owned(),
                problem: "not a stream of the log".to_owned(),
            })
    }
}

impl Inner {
    /// Whether the connection stands right now.
    pub(crate) fn is_connected(&self) -> bool {
        match &self.link {
            Link::Nats(nats) => nats.client.connection_state() == State::Connected,
            Link::Memory(_) => true,
        }
    }

    /// Asks the leader, whatever is mirrored.
    pub(crate) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Stored>, ReadError> {
        match &self.link {
            Link::Nats(nats) => {
                let open = nats.open(stream)?;
                let request = open.raw_message_builder().last_by_subject(subject);
                self.raw(stream, subject, request).await
            }
            Link::Memory(memory) => {
                self.kept(memory, stream, subject, |shelf| {
                    shelf.last(subject).cloned()
                })
                .await
            }
        }
    }

    pub(crate) async fn at(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, ReadError> {
        let what = format!("{stream} {sequence}");
        match &self.link {
            Link::Nats(nats) => {
                let open = nats.open(stream)?;
                let request = open.raw_message_builder().sequence(sequence);
                self.raw(stream, &what, request).await
            }
            Link::Memory(memory) => {
                self.kept(memory, stream, &what, |shelf| shelf.at(sequence).cloned())
                    .await
            }
        }
    }

    pub(crate) async fn next_on(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, ReadError> {
        match &self.link {
            Link::Nats(nats) => {
                let request = nats
                    .open(stream)?
                    .raw_message_builder()
                    .sequence(from.max(1))
                    .next_by_subject(subject);
                self.raw(stream, subject, request).await
            }
            Link::Memory(memory) => {
                let filters = [subject.to_owned()];
                let next = |shelf: &Shelf| shelf.next(&filters, from).cloned();
                self.kept(memory, stream, subject, next).await
            }
        }
    }

    async fn kept(
        &self,
        memory: &Connection,
        stream: &str,
        what: &str,
        find: impl FnOnce(&Shelf) -> Option<Arc<Kept>>,
    ) -> Result<Option<Stored>, ReadError> {
        let kept = self
            .patiently(what, memory.read(stream, what, find))
            .await?;
        let incarnation = self.incarnations.get(stream).map_or("", String::as_str);
        Ok(kept.map(|kept| wire::from_memory(stream, incarnation, &kept)))
    }

    /// As [`Self::in_time`], of a log in memory.
    pub(crate) async fn patiently<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let answer = timeout(self.config.read_timeout, answer).await;
        answer.map_err(|elapsed| ReadError::unavailable(what, elapsed))?
    }

    async fn raw(
        &self,
        stream: &str,
        what: &str,
        request: RawRequest,
    ) -> Result<Option<Stored>, ReadError> {
        let begun = Instant::now();
        let answer = timeout(self.config.read_timeout, request.send()).await;
        metrics::read(stream, begun.elapsed());
        let is_answer = match &answer {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == RawMessageErrorKind::NoMessageFound,
            Err(_) => false,
        };
        self.note(stream, is_answer, begun);
        match answer.map_err(|elapsed| ReadError::unavailable(what, elapsed))? {
            Ok(message) => {
                let incarnation = self.incarnations.get(stream).map_or("", String::as_str);
                wire::from_stream(stream, incarnation, message).map(Some)
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(ReadError::unavailable(what, error)),
        }
    }

    /// Waits for an answer about a stream as long as a read may take: the client's own time-out does not
    /// cover the wait for room in its queue.
    pub(crate) async fn in_time<T, E: Error + Send + Sync + 'static>(
        &self,
        stream: &str,
        what: &str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ReadError> {
        let begun = Instant::now();
        let answer = timeout(self.config.read_timeout, answer).await;
        self.note(stream, matches!(answer, Ok(Ok(_))), begun);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ReadError::unavailable(what, error)),
            Err(elapsed) => Err(ReadError::unavailable(what, elapsed)),
        }
    }

    /// Notes whether a question about a stream that was asked at `begun` was answered.
    fn note(&self, stream: &str, is_answer: bool, begun: Instant) {
        match &self.link {
            Link::Nats(nats) if is_answer => nats.leave.answered(Asked::ToTell(stream)),
            Link::Nats(nats) => nats.unanswered(Asked::ToTell(stream), begun),
            Link::Memory(_) => {}
        }
    }
}

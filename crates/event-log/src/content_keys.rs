//! The keys of sensitive messages: stored before the message is, erased once it is over.
//!
//! What stands here is wrapped; how, and by what, only the dispatcher knows. A message may have
//! several keys, if it was asked for twice at once: at most one of them opens its content.

use casement_domain::id::MessageId;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, v1};
use jiff::Timestamp;

use crate::{AppendError, Expect, Followed, Log, ReadError, Start};

/// Stores a key, and returns where it stands.
///
/// # Errors
/// The key may not be stored; then nothing may be stored that needs it.
pub async fn store(
    log: &Log,
    id: &MessageId,
    key: v1::ContentKeyStored,
    now: Timestamp,
) -> Result<u64, AppendError> {
    let source = "casement/dispatcher";
    let record = Record::new(
        subject::content_key(id),
        Uuid::new_v4(),
        source,
        now,
        Event::from(key),
    );
    let position = log.append(record, Expect::Anything).await?;
    Ok(position.sequence)
}

/// Returns the keys of a message, with their places; none if they were erased.
///
/// # Errors
/// The log cannot be read, or holds what this version cannot.
pub async fn read(log: &Log, id: &MessageId) -> Result<Vec<v1::ContentKeyStored>, ReadError> {
    let stored = log
        .read_subject(stream::SENSITIVE_KEYS, &subject::content_key(id))
        .await?;
    let keys = stored.iter().map(|stored| match stored.event() {
        Ok(Event::ContentKeyStored(key)) => Ok(key),
        other => Err(ReadError::Unreadable {
            what: stored.subject.clone(),
            problem: other.map_or_else(
                |error| error.to_string(),
                |other| format!("{} is no key", other.event_type()),
            ),
        }),
    });
    keys.collect()
}

/// Erases one key.
///
/// # Errors
/// It may still be there.
pub async fn erase_one(log: &Log, sequence: u64) -> Result<(), ReadError> {
    log.erase(stream::SENSITIVE_KEYS, sequence).await
}

/// Erases all keys of a message, and returns how many there were. Safe to repeat.
///
/// # Errors
/// Some may still be there.
pub async fn erase(log: &Log, id: &MessageId) -> Result<usize, ReadError> {
    let stored = log
        .read_subject(stream::SENSITIVE_KEYS, &subject::content_key(id))
        .await?;
    for key in &stored {
        erase_one(log, key.sequence).await?;
    }
    Ok(stored.len())
}

/// Returns the messages that there are keys of.
///
/// # Errors
/// The log cannot be read.
pub async fn all(log: &Log) -> Result<Vec<MessageId>, ReadError> {
    // Asked first, so that a broker that is away is an error here and not a wait below.
    if log.state(stream::SENSITIVE_KEYS).await?.messages == 0 {
        return Ok(Vec::new());
    }
    let filters = vec![subject::ALL_CONTENT_KEYS.to_owned()];
    let mut follower = log.follow(stream::SENSITIVE_KEYS, filters, Start::LastPerSubject);
    let mut ids = Vec::new();
    while let Followed::Event(stored) = follower.next().await {
        ids.extend(subject::parse_content_key(&stored.subject));
    }
    Ok(ids)
}

//! Erases the keys that an end left behind.
//!
//! Whoever records the end of a message erases its key. If that was cut off, or the key store was
//! away, the key is found here: at start, and again and again after it. So is the key of a message
//! that was never stored.

use std::collections::HashMap;
use std::time::Duration;

use casement_domain::id::MessageId;
use casement_event::Extension;
use casement_event::subject::{self, stream};
use casement_event_log::{Log, ReadError, content_keys};
use futures::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// How long a key may be without its message. Acceptance takes seconds.
const ORPHAN_AGE_MAX: Duration = Duration::from_mins(10);

/// How many messages are looked at at once.
const IN_HAND_MAX: usize = 16;

/// What stands under the id of a message that is over.
const ENDED: &str = "ENDED";

/// Erases what is found until stopped.
pub(crate) async fn run(log: Log, stopping: CancellationToken) -> anyhow::Result<()> {
    let mut keeper = Keeper::new(ORPHAN_AGE_MAX);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            swept = keeper.sweep(&log) => match swept {
                Ok(0) => {}
                Ok(erased) => tracing::info!(erased, "keys of messages that are over were erased"),
                Err(error) => {
                    tracing::warn!(error = %error, "keys of messages that are over are not erased yet");
                }
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// What becomes of a key.
enum Fate {
    Kept,
    Over,
    /// There is no such message.
    Alone,
}

struct Keeper {
    orphan_age_max: Duration,
    /// Since when keys are known to be without a message.
    alone: HashMap<MessageId, Instant>,
}

impl Keeper {
    fn new(orphan_age_max: Duration) -> Self {
        Self {
            orphan_age_max,
            alone: HashMap::new(),
        }
    }

    /// Looks at every key, and returns of how many messages it erased them.
    async fn sweep(&mut self, log: &Log) -> Result<usize, ReadError> {
        let ids = content_keys::all(log).await?;
        let fates = futures::stream::iter(ids)
            .map(async |id| fate(log, &id).await.map(|fate| (id, fate)))
            .buffer_unordered(IN_HAND_MAX);
        let fates: Vec<_> = fates.collect().await;
        let (now, mut alone, mut erased) = (Instant::now(), HashMap::new(), 0);
        for fate in fates {
            let (id, fate) = fate?;
            let is_due = match fate {
                Fate::Kept => false,
                Fate::Over => true,
                Fate::Alone => {
                    let since = self.alone.get(&id).copied().unwrap_or(now);
                    alone.insert(id.clone(), since);
                    now.duration_since(since) >= self.orphan_age_max
                }
            };
            if is_due {
                content_keys::erase(log, &id).await?;
                alone.remove(&id);
                erased += 1;
            }
        }
        self.alone = alone;
        Ok(erased)
    }
}

async fn fate(log: &Log, id: &MessageId) -> Result<Fate, ReadError> {
    let newest = log.last(stream::MESSAGES, &subject::message(id)).await?;
    Ok(match newest {
        None => Fate::Alone,
        Some(stored) if stored.extension(Extension::State) == Some(ENDED) => Fate::Over,
        Some(_) => Fate::Kept,
    })
}

#[cfg(test)]
mod tests {
    use casement_domain::id::BusinessNumber;
    use casement_event::v1;
    use casement_testkit::NatsServer;
    use jiff::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_key_without_a_message_is_erased_but_not_before_its_message_may_have_come() {
        let nats = NatsServer::start().await;
        let config = casement_event_log::Config {
            servers: nats.url(),
            accept_unsafe_broker: true,
            ..casement_event_log::Config::default()
        };
        let log = Log::connect(&config).await.unwrap();
        let id = MessageId::new(&BusinessNumber::parse("15550001111").unwrap(), 1);
        let key = v1::ContentKeyStored::default();
        content_keys::store(&log, &id, key, Timestamp::UNIX_EPOCH)
            .await
            .unwrap();

        let mut patient = Keeper::new(Duration::from_hours(1));
        assert_eq!(patient.sweep(&log).await.unwrap(), 0);
        assert_eq!(patient.sweep(&log).await.unwrap(), 0);
        assert_eq!(content_keys::all(&log).await.unwrap().len(), 1);

        let mut hasty = Keeper::new(Duration::ZERO);
        assert_eq!(hasty.sweep(&log).await.unwrap(), 1);
        assert_eq!(content_keys::all(&log).await.unwrap(), []);
        assert!(content_keys::read(&log, &id).await.unwrap().is_empty());
        assert_eq!(hasty.sweep(&log).await.unwrap(), 0);
    }
}

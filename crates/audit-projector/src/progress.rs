//! How far the archive has come, for queries that must not be older than a position.
//!
//! It waits, within bounds; it does not make the archive go faster.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::Position;
use tokio::sync::watch;

/// The streams that are archived. `RAW` is not: what it holds is archived as the facts it became.
pub const STREAMS: [&str; 5] = [
    stream::EVENTS,
    stream::MESSAGES,
    stream::ACCOUNTS,
    stream::CUSTOMERS,
    stream::DEAD,
];

/// Where one stream's archive stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
}

/// Where one stream's archive stands, as its archiver tells; `None` until it has looked.
pub(crate) type Teller = watch::Sender<Option<Reached>>;

/// Where every stream's archive stands. Clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    streams: Vec<(&'static str, watch::Receiver<Option<Reached>>)>,
    wait_max: Duration,
}

/// Why a position was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReached {
    #[error("not a position that Casement gave out")]
    Invalid,
    #[error("position is of stream {0}, which is not archived")]
    OtherStream(String),
    #[error("position is of another life of stream {0}, which was restored or recreated since")]
    OtherIncarnation(String),
    #[error(
        "archive of stream {stream} has not reached {wanted} within {waited:?}: it is at {reached}"
    )]
    TimedOut {
        stream: String,
        wanted: u64,
        reached: u64,
        waited: Duration,
    },
}

impl Progress {
    /// Returns where everything stands, and for each stream who tells.
    pub(crate) fn new(wait_max: Duration) -> (Self, Vec<(&'static str, Teller)>) {
        let tellers = STREAMS.map(|stream| (stream, watch::Sender::new(None)));
        let streams = tellers
            .iter()
            .map(|(stream, teller)| (*stream, teller.subscribe()))
            .collect();
        (Self { streams, wait_max }, tellers.into())
    }

    /// Returns where each stream's archive stands, as it moves on.
    pub(crate) fn all(&self) -> impl Iterator<Item = watch::Receiver<Option<Reached>>> {
        self.streams.iter().map(|(_, reached)| reached.clone())
    }

    /// Waits for something as long as queries wait.
    pub(crate) async fn in_time<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.wait_max, waited).await.ok()
    }

    /// Returns where a stream's archive stands, as it moves on; `None` of one that is not archived.
    pub(crate) fn watch(&self, stream: &str) -> Option<watch::Receiver<Option<Reached>>> {
        let known = self.streams.iter().find(|(known, _)| *known == stream)?;
        Some(known.1.clone())
    }

    /// Waits until the archive is not older than a position, given as its token. An empty token
    /// asks for nothing.
    pub(crate) async fn reach(&self, token: &str) -> Result<(), NotReached> {
        if token.is_empty() {
            return Ok(());
        }
        let position: Position = token.parse().map_err(|_| NotReached::Invalid)?;
        let known = self
            .streams
            .iter()
            .find(|(stream, _)| *stream == position.stream);
        let (_, reached) = known.ok_or_else(|| NotReached::OtherStream(position.stream.clone()))?;
        let mut reached = reached.clone();
        let decided = reached.wait_for(|reached| {
            reached.as_ref().is_some_and(|reached| {
                reached.incarnation != position.incarnation || reached.sequence >= position.sequence
            })
        });
        let decided = tokio::time::timeout(self.wait_max, decided).await;
        let found = decided
            .ok()
            .and_then(Result::ok)
            .and_then(|reached| reached.clone());
        match found {
            Some(found) if found.incarnation == position.incarnation => Ok(()),
            Some(_) => Err(NotReached::OtherIncarnation(position.stream)),
            None => Err(NotReached::TimedOut {
                reached: reached
                    .borrow()
                    .as_ref()
                    .map_or(0, |reached| reached.sequence),
                stream: position.stream,
                wanted: position.sequence,
                waited: self.wait_max,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(sequence: u64) -> Reached {
        Reached {
            incarnation: "1a".to_owned(),
            sequence,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_waits_for_its_position_and_not_for_ever() {
        let (progress, tellers) = Progress::new(Duration::from_secs(5));
        let (stream, teller) = &tellers[0];
        assert_eq!(*stream, "EVENTS");
        assert_eq!(progress.reach("").await, Ok(()));
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.reach("EVENTS~1a~7").await }
        });
        teller.send_replace(Some(reached(6)));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        teller.send_replace(Some(reached(8)));
        assert_eq!(waiting.await.unwrap(), Ok(()));
        let late = progress.reach("EVENTS~1a~9").await;
        assert!(
            matches!(
                late,
                Err(NotReached::TimedOut {
                    wanted: 9,
                    reached: 8,
                    ..
                })
            ),
            "{late:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_of_elsewhere_is_told_apart() {
        let (progress, tellers) = Progress::new(Duration::from_secs(5));
        tellers[0].1.send_replace(Some(reached(6)));
        let table = [
            ("nonsense", NotReached::Invalid),
            ("RAW~1a~1", NotReached::OtherStream("RAW".to_owned())),
            (
                "EVENTS~1b~1",
                NotReached::OtherIncarnation("EVENTS".to_owned()),
            ),
        ];
        for (token, expected) in table {
            assert_eq!(progress.reach(token).await, Err(expected));
        }
        let nobody_looked = progress.reach("MESSAGES~1a~1").await;
        assert!(matches!(
            nobody_looked,
            Err(NotReached::TimedOut { reached: 0, .. })
        ));
    }
}

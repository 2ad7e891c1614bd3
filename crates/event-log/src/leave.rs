//! Leaving a server that answers nothing, for another one of its cluster.
//!
//! A server that is cut off from the others keeps its clients: it still answers their pings, and
//! nothing that they ask for, since it leads nothing and follows nobody. One that stands still does
//! not even do that, and a connection to it lasts until two pings are missed. Either would hold up a
//! role for as long as it lasts. So whoever waits for answers says here what came of it, and after
//! a silence of [`SILENCE_MAX`] the connection is made anew, with the next server of the list.
//!
//! That is no judgement about the broker: while a leader is being chosen nobody answers, and a role
//! may go once around for nothing, which costs its followers a new delivery. What was asked and not
//! answered stays as unknown as it was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ReconnectToServer, Server};
use casement_event::Uuid;
use tokio::time::Instant;

use crate::Config;

/// How long nothing at all may be answered.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// How long a server that was just taken has to answer: it may be the cluster that has to agree.
const STAY_MIN: Duration = Duration::from_secs(5);

/// What is known of the server that is asked.
#[derive(Debug)]
pub(crate) struct Leave {
    /// There is no other server to go to.
    is_alone: bool,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// When the last answer came, or the server was taken.
    last: Instant,
    taken: Instant,
}

impl Leave {
    pub(crate) fn new(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            is_alone: config.servers.split(',').count() < 2,
            heard: Mutex::new(Heard {
                last: now,
                taken: now,
            }),
        }
    }

    /// Somebody who leads answered.
    pub(crate) fn answered(&self) {
        if self.is_alone {
            return;
        }
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last = Instant::now();
    }

    /// A question that was asked at `begun` was not answered. Returns whether to leave, once.
    pub(crate) fn unanswered(&self, begun: Instant) -> bool {
        if self.is_alone {
            return false;
        }
        let now = Instant::now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // A quiet hour is no silence: it begins with the first question.
        let is_first = begun > heard.last + SILENCE_MAX;
        if is_first {
            heard.last = begun;
        }
        let is_silent = now.saturating_duration_since(heard.last) >= SILENCE_MAX;
        let has_stayed = now.saturating_duration_since(heard.taken) >= STAY_MIN;
        if is_silent && has_stayed {
            (heard.last, heard.taken) = (now, now);
        }
        is_silent && has_stayed
    }
}

/// Has the client take the servers of a list in turn, from one that chance chooses: a role that
/// leaves a server never gets it back at once, and roles spread over all of them.
pub(crate) fn in_turn(options: async_nats::ConnectOptions) -> async_nats::ConnectOptions {
    let last: Arc<Mutex<Option<usize>>> = Arc::default();
    options.reconnect_to_server_callback(move |servers: Vec<Server>, _| {
        let last = Arc::clone(&last);
        async move {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let next = next(*last, servers.len(), Uuid::new_v4().as_u128())?;
            *last = Some(next);
            servers.get(next).map(|server| ReconnectToServer {
                addr: server.addr.clone(),
                delay: None,
            })
        }
    })
}

fn next(last: Option<usize>, count: usize, chance: u128) -> Option<usize> {
    match last {
        _ if count == 0 => None,
        Some(last) => Some((last + 1) % count),
        None => usize::try_from(chance % count as u128).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(servers: &str) -> Leave {
        Leave::new(&Config {
            servers: servers.to_owned(),
            ..Config::default()
        })
    }

    async fn seconds(count: u64) {
        tokio::time::sleep(Duration::from_secs(count)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_left_once_and_its_successor_has_time_to_answer() {
        let leave = leave("a,b");
        seconds(60).await;
        let begun = Instant::now();
        seconds(1).await;
        assert!(!leave.unanswered(begun), "too early, after a quiet minute");
        seconds(2).await;
        assert!(leave.unanswered(begun));
        assert!(!leave.unanswered(begun), "the others that waited");
        let again = Instant::now();
        seconds(3).await;
        assert!(!leave.unanswered(again), "it has just been taken");
        seconds(3).await;
        assert!(leave.unanswered(again));
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_is_enough_to_stay_and_who_is_alone_stays() {
        let (cluster, alone) = (leave("a,b"), leave("a"));
        seconds(60).await;
        let begun = Instant::now();
        seconds(3).await;
        cluster.answered();
        assert!(!cluster.unanswered(begun));
        assert!(!alone.unanswered(begun));
    }

    #[test]
    fn servers_are_taken_in_turn() {
        let table = [
            (None, 3, 7, Some(1)),
            (Some(1), 3, 0, Some(2)),
            (Some(2), 3, 0, Some(0)),
            (Some(5), 2, 0, Some(0)),
            (None, 0, 0, None),
        ];
        for (last, count, chance, expected) in table {
            assert_eq!(next(last, count, chance), expected, "{last:?} of {count}");
        }
    }
}

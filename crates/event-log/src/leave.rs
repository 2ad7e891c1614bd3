//! Leaving a server that answers nothing, for another one of its cluster.
//!
//! A server that is cut off from the others keeps its clients: it still answers their pings, and
//! nothing that they ask for, once it has noticed that it leads nothing. Until then, ten to twenty
//! seconds, it tells what it has and refuses what is stale; what it never does is store. One that
//! stands still does not even answer pings, and a connection to it lasts until two are missed.
//! Either would hold up a role for as long as it lasts. So whoever waits for answers says here what
//! came of it, and after a silence of [`SILENCE_MAX`] the connection is made anew, with the next
//! server of the list. What was to be stored counts apart from what was to be told, and of that each
//! stream by itself: a server that is alone goes on telling of the streams that it led, and of no
//! other.
//!
//! That is no judgement about the broker: while a leader is being chosen nobody answers, and a role
//! may go once around for nothing, which costs its followers a new delivery. What was asked and not
//! answered stays as unknown as it was. Where every server is silent about the same thing, each is
//! given twice the time of the one before, so that a stream that nobody leads does not keep the
//! others from being followed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ReconnectToServer, Server};
use casement_event::Uuid;
use tokio::time::Instant;

use crate::Config;

/// How long nothing of a kind may be answered.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// How long a server that was just taken has to answer: it may be the cluster that has to agree.
const STAY_MIN: Duration = Duration::from_secs(5);

/// How long it has at most, after others were as silent as it is.
const STAY_MAX: Duration = Duration::from_secs(40);

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// To keep something, which takes a majority, whatever the stream.
    ToStore,
    /// What it has of a stream.
    ToTell(&'a str),
}

/// What is known of the server that is asked.
#[derive(Debug)]
pub(crate) struct Leave {
    /// There is no other server to go to.
    is_alone: bool,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// When the server was taken.
    taken: Instant,
    /// How long it has before it is left.
    stay: Duration,
    /// What the last server was left for, until it is answered.
    left_for: Option<Topic>,
    to_store: Silence,
    /// By stream.
    to_tell: HashMap<String, Silence>,
}

/// [`Asked`], to be kept.
#[derive(Debug, PartialEq, Eq)]
enum Topic {
    ToStore,
    ToTell(String),
}

#[derive(Debug, Default)]
struct Silence {
    /// When the last answer came.
    answered: Option<Instant>,
    /// Since when there was a question and no answer.
    since: Option<Instant>,
}

impl Leave {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            is_alone: config.servers.split(',').count() < 2,
            heard: Mutex::new(Heard {
                taken: Instant::now(),
                stay: STAY_MIN,
                left_for: None,
                to_store: Silence::default(),
                to_tell: HashMap::new(),
            }),
        }
    }

    /// Returns whether there is no other server to go to.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Somebody who leads answered; of what was to be stored, that it is.
    pub(crate) fn answered(&self, asked: Asked<'_>) {
        if self.is_alone {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard.silence(asked) = Silence {
            answered: Some(Instant::now()),
            since: None,
        };
        if heard.left_for.as_ref().is_some_and(|topic| topic.is(asked)) {
            heard.left_for = None;
            heard.stay = STAY_MIN;
        }
    }

    /// A question that was asked at `begun` was not answered. Returns whether to leave, once.
    pub(crate) fn unanswered(&self, asked: Asked<'_>, begun: Instant) -> bool {
        if self.is_alone {
            return false;
        }
        let now = Instant::now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, stay) = (heard.taken, heard.stay);
        let silence = heard.silence(asked);
        // A quiet hour is no silence: it begins with the first question. What was asked of another
        // server, or before an answer came, says nothing about the time before that.
        let begun = begun.max(taken).max(silence.answered.unwrap_or(begun));
        let since = *silence.since.get_or_insert(begun);
        let is_silent = now.saturating_duration_since(since) >= SILENCE_MAX;
        let has_stayed = now.saturating_duration_since(taken) >= stay;
        if is_silent && has_stayed {
            heard.leave(asked, now);
        }
        is_silent && has_stayed
    }
}

impl Heard {
    fn silence(&mut self, asked: Asked<'_>) -> &mut Silence {
        let stream = match asked {
            Asked::ToStore => return &mut self.to_store,
            Asked::ToTell(stream) => stream,
        };
        // A handful of streams: a key is made once a question of each.
        self.to_tell.entry(stream.to_owned()).or_default()
    }

    fn leave(&mut self, asked: Asked<'_>, now: Instant) {
        self.stay = match self.left_for {
            None => STAY_MIN,
            Some(_) => STAY_MAX.min(self.stay * 2),
        };
        self.left_for = Some(match asked {
            Asked::ToStore => Topic::ToStore,
            Asked::ToTell(stream) => Topic::ToTell(stream.to_owned()),
        });
        self.taken = now;
        self.to_store = Silence::default();
        self.to_tell.clear();
    }
}

impl Topic {
    fn is(&self, asked: Asked<'_>) -> bool {
        match (self, asked) {
            (Self::ToStore, Asked::ToStore) => true,
            (Self::ToTell(left), Asked::ToTell(stream)) => left == stream,
            _ => false,
        }
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

    const KINDS: [Asked<'_>; 2] = [Asked::ToStore, Asked::ToTell("EVENTS")];

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_left_once_and_its_successor_has_time_to_answer() {
        for asked in KINDS {
            let leave = leave("a,b");
            seconds(60).await;
            let begun = Instant::now();
            seconds(1).await;
            assert!(!leave.unanswered(asked, begun), "after a quiet minute");
            seconds(2).await;
            assert!(leave.unanswered(asked, begun));
            assert!(!leave.unanswered(asked, begun), "the others that waited");
            let again = Instant::now();
            seconds(3).await;
            assert!(!leave.unanswered(asked, again), "it has just been taken");
            seconds(3).await;
            assert!(leave.unanswered(asked, again));
        }
    }

    /// How many seconds pass until the server is left, where nothing is answered.
    async fn stay(leave: &Leave, asked: Asked<'_>) -> u64 {
        for passed in 1..=60 {
            let begun = Instant::now();
            seconds(1).await;
            if leave.unanswered(asked, begun) {
                return passed;
            }
        }
        panic!("it is never left");
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_silent_about_the_same_have_more_and_more_time() {
        for asked in KINDS {
            let leave = leave("a,b");
            seconds(60).await;
            let mut stays = Vec::new();
            for _ in 0..6 {
                leave.answered(Asked::ToTell("ACCOUNTS"));
                stays.push(stay(&leave, asked).await);
            }
            assert_eq!(stays, [3, 5, 10, 20, 40, 40]);
            leave.answered(asked);
            seconds(60).await;
            assert_eq!(stay(&leave, asked).await, 3, "it was answered");
            assert_eq!(stay(&leave, asked).await, 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_is_enough_to_stay_and_who_is_alone_stays() {
        for asked in KINDS {
            let (cluster, alone) = (leave("a,b"), leave("a"));
            seconds(60).await;
            let begun = Instant::now();
            seconds(3).await;
            cluster.answered(asked);
            assert!(!cluster.unanswered(asked, begun));
            assert!(!alone.unanswered(asked, begun));
        }
    }

    /// Whether a server is left that answers one thing, and not the other, for three seconds.
    async fn is_left(answered: Asked<'_>, unanswered: Asked<'_>) -> bool {
        let leave = leave("a,b");
        seconds(60).await;
        let mut is_left = false;
        for _ in 0..3 {
            let begun = Instant::now();
            seconds(1).await;
            leave.answered(answered);
            is_left |= leave.unanswered(unanswered, begun);
        }
        is_left
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_tells_and_never_stores_is_left() {
        assert!(is_left(Asked::ToTell("EVENTS"), Asked::ToStore).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_tells_of_one_stream_and_not_of_another_is_left() {
        assert!(is_left(Asked::ToTell("ACCOUNTS"), Asked::ToTell("MESSAGES")).await);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_with_pauses_between_them_make_one_silence() {
        let leave = leave("a,b");
        seconds(60).await;
        let mut asked = 0;
        loop {
            let begun = Instant::now();
            seconds(2).await;
            asked += 1;
            if leave.unanswered(Asked::ToTell("EVENTS"), begun) {
                break;
            }
            seconds(1).await;
        }
        assert_eq!(asked, 2);
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

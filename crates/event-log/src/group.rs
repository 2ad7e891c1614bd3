//! Group commit: one writer per stream that gathers what arrives while it writes.
//!
//! On one node each publish costs an fsync, and an atomic batch of any size a few
//! milliseconds. So few appends are pipelined and many are shipped as one batch. Nothing that
//! depends on the same subjects is ever twice in flight, so that the order of one caller's
//! appends, and the meaning of each expectation, survive.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};

use casement_event::Uuid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::append::{Answer, Expect, Prepared};
use crate::connect::Inner;
use crate::wire::nats_header;
use crate::{AppendError, Position};

/// From how many waiting appends on a batch is cheaper than pipelining them.
const BATCH_LEN_MIN: usize = 100;

/// The broker's limit is 1,000.
const BATCH_LEN_MAX: usize = 1_000;

/// Bytes in a batch, so that one never holds the connection for long.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many appends of a stream are published without their answers having come.
const IN_FLIGHT_MAX: usize = 64;

/// How many appends may wait for the writer before callers wait to hand theirs over.
const QUEUE_LEN_MAX: usize = 4_096;

type Result = std::result::Result<Position, AppendError>;

struct Waiting {
    append: Prepared,
    answer: oneshot::Sender<Result>,
    deadline: Instant,
}

/// A handle to the writer of one stream.
#[derive(Clone)]
pub(crate) struct Group {
    queue: mpsc::Sender<(Prepared, oneshot::Sender<Result>)>,
}

impl Group {
    /// Starts the writer. It ends when the log and all handles are gone.
    pub(crate) fn start(log: Weak<Inner>) -> Self {
        let (queue, arriving) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(write(log, arriving));
        Self { queue }
    }

    /// Hands an append to the writer; `false` if the writer is gone.
    pub(crate) async fn send(&self, append: Prepared, answer: oneshot::Sender<Result>) -> bool {
        self.queue.send((append, answer)).await.is_ok()
    }
}

async fn write(
    log: Weak<Inner>,
    mut arriving: mpsc::Receiver<(Prepared, oneshot::Sender<Result>)>,
) {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut in_flight: JoinSet<Vec<String>> = JoinSet::new();
    let mut busy: HashSet<String> = HashSet::new();
    let mut is_open = true;
    while is_open || !in_flight.is_empty() || !waiting.is_empty() {
        tokio::select! {
            // Answers first: they make room.
            biased;
            Some(done) = in_flight.join_next(), if !in_flight.is_empty() => {
                for key in done.unwrap_or_default() {
                    busy.remove(&key);
                }
            }
            arrived = arriving.recv(), if is_open && waiting.len() < QUEUE_LEN_MAX => {
                let Some(first) = arrived else { is_open = false; continue };
                let Some(log) = log.upgrade() else { return };
                let deadline = Instant::now() + log.config.append_deadline;
                let mut next = Some(first);
                while let Some((append, answer)) = next {
                    waiting.push_back(Waiting { append, answer, deadline });
                    next = if waiting.len() < QUEUE_LEN_MAX { arriving.try_recv().ok() } else { None };
                }
            }
        }
        let Some(log) = log.upgrade() else { return };
        dispatch(&log, &mut waiting, &mut in_flight, &mut busy);
    }
}

/// Puts in flight what may go now.
fn dispatch(
    log: &Arc<Inner>,
    waiting: &mut VecDeque<Waiting>,
    in_flight: &mut JoinSet<Vec<String>>,
    busy: &mut HashSet<String>,
) {
    if in_flight.is_empty() && waiting.len() >= BATCH_LEN_MIN {
        let batch = take_batch(waiting, busy);
        if batch.len() >= BATCH_LEN_MIN {
            let log = Arc::clone(log);
            in_flight.spawn(async move {
                let keys = batch
                    .iter()
                    .map(|one| one.append.key().to_owned())
                    .collect();
                commit(&log, batch).await;
                keys
            });
            return;
        }
        for one in batch.into_iter().rev() {
            busy.remove(one.append.key());
            waiting.push_front(one);
        }
    }
    let mut blocked = VecDeque::new();
    while in_flight.len() < IN_FLIGHT_MAX {
        let Some(one) = waiting.pop_front() else {
            break;
        };
        let key = one.append.key().to_owned();
        if !busy.insert(key.clone()) {
            blocked.push_back(one);
            continue;
        }
        let log = Arc::clone(log);
        in_flight.spawn(async move {
            let result = log.settle(&one.append, one.deadline, false).await;
            // A caller that went away no longer needs the answer.
            let _ = one.answer.send(result);
            vec![key]
        });
    }
    // What was blocked came before what is still waiting.
    while let Some(one) = blocked.pop_back() {
        waiting.push_front(one);
    }
}

/// Takes appends for one batch: none that depends on the subjects of another.
fn take_batch(waiting: &mut VecDeque<Waiting>, busy: &mut HashSet<String>) -> Vec<Waiting> {
    let mut batch = Vec::new();
    let mut blocked = VecDeque::new();
    let mut bytes = 0;
    while batch.len() < BATCH_LEN_MAX && bytes < BATCH_BYTES_MAX {
        let Some(one) = waiting.pop_front() else {
            break;
        };
        if busy.insert(one.append.key().to_owned()) {
            bytes += one.append.payload.len();
            batch.push(one);
        } else {
            blocked.push_back(one);
        }
    }
    while let Some(one) = blocked.pop_back() {
        waiting.push_front(one);
    }
    batch
}

/// Commits a batch. A stale member is dropped with its own answer, and the rest goes on.
async fn commit(log: &Arc<Inner>, mut batch: Vec<Waiting>) {
    let started = Instant::now();
    while !batch.is_empty() {
        if batch.len() < BATCH_LEN_MIN {
            return settle_each(log, batch, false).await;
        }
        match publish_batch(log, &batch).await {
            Answer::Stored { sequence } => {
                metrics::histogram!("casement_append_batch_seconds")
                    .record(started.elapsed().as_secs_f64());
                let first = sequence + 1 - batch.len() as u64;
                for (one, sequence) in batch.into_iter().zip(first..) {
                    let position = log.position(&one.append.stream, sequence);
                    let _ = one.answer.send(Ok(position));
                }
                return;
            }
            Answer::Conflict { description } => {
                let Some(stale) = stale_member(log, &batch, &description).await else {
                    // Which one is stale cannot be told: each answers for itself.
                    return settle_each(log, batch, true).await;
                };
                let one = batch.swap_remove(stale);
                let subject = one.append.subject.clone();
                let _ = one.answer.send(Err(AppendError::Conflict { subject }));
            }
            // Unanswered, or refused as a batch: whether it was stored is found one by one.
            Answer::Unanswered | Answer::NotTaken | Answer::Refused { .. } | Answer::TooLarge => {
                return settle_each(log, batch, true).await;
            }
        }
    }
}

async fn settle_each(log: &Arc<Inner>, batch: Vec<Waiting>, unanswered: bool) {
    let each = batch.into_iter().map(|one| async move {
        let result = log.settle(&one.append, one.deadline, unanswered).await;
        let _ = one.answer.send(result);
    });
    futures::StreamExt::for_each_concurrent(
        futures::stream::iter(each),
        IN_FLIGHT_MAX,
        std::convert::identity,
    )
    .await;
}

async fn publish_batch(log: &Inner, batch: &[Waiting]) -> Answer {
    let batch_id = Uuid::new_v4().simple().to_string();
    let last = batch.len() - 1;
    for (index, one) in batch.iter().enumerate() {
        let mut headers = one.append.headers.clone();
        headers.insert(nats_header::BATCH_ID, batch_id.as_str());
        headers.insert(
            nats_header::BATCH_SEQUENCE,
            (index + 1).to_string().as_str(),
        );
        let (subject, payload) = (&one.append.subject, one.append.payload.clone());
        if index == last {
            headers.insert(nats_header::BATCH_COMMIT, "1");
            return log.request(subject, headers, payload).await;
        }
        let published = log
            .client
            .publish_with_headers(subject.clone(), headers, payload)
            .await;
        if published.is_err() {
            return Answer::Unanswered;
        }
    }
    Answer::Unanswered
}

/// Returns the member that the broker's error names: the one whose subjects the message at
/// the error's sequence belongs to.
async fn stale_member(log: &Inner, batch: &[Waiting], description: &str) -> Option<usize> {
    let sequence: u64 = description.rsplit(' ').next()?.parse().ok()?;
    let is_stale = |one: &Waiting, subject: Option<&str>| match &one.append.expect {
        Expect::Anything => false,
        Expect::Last {
            filter,
            sequence: expected,
        } => {
            *expected != sequence && subject.map_or(true, |subject| matches_filter(filter, subject))
        }
    };
    if sequence == 0 {
        // Nothing stands there any more: only who expected something can be stale.
        let mut stale = batch
            .iter()
            .enumerate()
            .filter(|(_, one)| is_stale(one, None));
        let (index, _) = stale.next()?;
        return stale.next().is_none().then_some(index);
    }
    let stream = &batch.first()?.append.stream;
    let newest = log.at(stream, sequence).await.ok()??;
    batch
        .iter()
        .position(|one| is_stale(one, Some(&newest.subject)))
}

/// Returns whether a subject matches a filter with the broker's wildcards.
fn matches_filter(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut tokens) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(token)) if want == token => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_broker_matches() {
        let table = [
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
        ];
        for (filter, subject, expected) in table {
            assert_eq!(
                matches_filter(filter, subject),
                expected,
                "{filter} {subject}"
            );
        }
    }
}

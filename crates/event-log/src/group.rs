//! Group commit: one writer per stream that gathers what arrives while it writes.
//!
//! On one node each publish costs an fsync, and an atomic batch of any size a few
//! milliseconds. So few appends are pipelined and many are shipped as one batch. Appends that
//! depend on the same subjects share a lane, and a lane is never twice in flight, so that the
//! order of one caller's appends, and the meaning of each expectation, survive.
//!
//! What can wait stands in a line of its own, so that somebody's campaign never stands between an
//! answer and the disk: it travels in smaller batches, one at a time, and sooner in batches than
//! singly, so that the broker's own line stays short.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use casement_event::Uuid;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::append::{Answer, Expect, Prepared, Urgency};
use crate::connect::Inner;
use crate::link::Link;
use crate::wire::{append_subject, nats_header};
use crate::{AppendError, Position, metrics};

/// What somebody waits for. The broker takes a thousand in a batch.
const URGENT: Limits = Limits {
    batch_len_min: 24,
    batch_len_max: 1_000,
    in_flight_max: 32,
};

/// What can wait.
const PATIENT: Limits = Limits {
    batch_len_min: 8,
    batch_len_max: 128,
    in_flight_max: 8,
};

/// Bytes in a batch, so that one never holds the connection for long.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a few that arrive wait for a batch in flight. One that takes longer has trouble, which
/// is not theirs.
const GATHER_MAX: Duration = Duration::from_millis(50);

/// How many appends may wait for the writer before callers wait to hand theirs over.
const QUEUE_LEN_MAX: usize = 4_096;

/// After how many stale members the rest of a batch is published one by one.
const STALE_LEN_MAX: usize = 16;

/// How many appends, one by one, cost about as much as one more try of a batch: with more stale
/// members than the rest is worth, they are published one by one at once.
const TRY_LEN: usize = 16;

type Result = std::result::Result<Position, AppendError>;

/// An append whose caller waits.
pub(crate) struct Waiting {
    pub(crate) append: Prepared,
    pub(crate) answer: oneshot::Sender<Result>,
    pub(crate) deadline: Instant,
}

/// A handle to the writer of one stream.
#[derive(Clone)]
pub(crate) struct Group {
    queue: mpsc::Sender<Waiting>,
}

impl Group {
    /// Starts the writer. It ends when the log and all handles are gone.
    pub(crate) fn start(log: Weak<Inner>) -> Self {
        let (queue, arriving) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(Writer::default().run(log, arriving));
        Self { queue }
    }

    /// Hands an append to the writer; `false` if the writer is gone.
    pub(crate) async fn send(&self, one: Waiting) -> bool {
        self.queue.send(one).await.is_ok()
    }
}

/// How much of a line is under way at once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// From how many waiting appends on a batch is cheaper than pipelining them: a sync each
    /// against a few milliseconds in all.
    batch_len_min: usize,
    batch_len_max: usize,
    /// How many appends are published without their answers having come. What comes beyond makes
    /// a batch.
    in_flight_max: usize,
}

/// Appends that wait for their like alone.
struct Line {
    limits: Limits,
    waiting: VecDeque<Waiting>,
    /// Appends published one by one whose answers have not come.
    in_flight: usize,
    /// Since when a batch has been in flight.
    batch_since: Option<Instant>,
}

impl Line {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            in_flight: 0,
            batch_since: None,
        }
    }

    /// Returns until when what arrives waits for the batch in flight; `None` if it does not.
    fn gathers_until(&self) -> Option<Instant> {
        let until = self.batch_since? + GATHER_MAX;
        (until > Instant::now()).then_some(until)
    }
}

struct Writer {
    urgent: Line,
    patient: Line,
    in_flight: JoinSet<()>,
    /// What each task in flight keeps busy.
    kept: HashMap<Id, Kept>,
    busy: HashSet<String>,
}

struct Kept {
    lanes: Vec<String>,
    urgency: Urgency,
    is_batch: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            urgent: Line::new(URGENT),
            patient: Line::new(PATIENT),
            in_flight: JoinSet::new(),
            kept: HashMap::new(),
            busy: HashSet::new(),
        }
    }
}

impl Writer {
    async fn run(mut self, log: Weak<Inner>, mut arriving: mpsc::Receiver<Waiting>) {
        let mut is_open = true;
        while is_open || !self.in_flight.is_empty() {
            let until = self.wakes_at();
            tokio::select! {
                // Answers first: they make room.
                biased;
                Some(done) = self.in_flight.join_next_with_id(), if !self.in_flight.is_empty() => {
                    self.release(done.map_or_else(|error| error.id(), |(id, ())| id));
                }
                arrived = arriving.recv(), if is_open && self.has_room() => {
                    is_open = arrived.is_some();
                    if let Some(one) = arrived {
                        self.line_up(one);
                    }
                    while self.has_room()
                        && let Ok(one) = arriving.try_recv()
                    {
                        self.line_up(one);
                    }
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
            let Some(log) = log.upgrade() else { return };
            self.dispatch(Urgency::Urgent, &log);
            self.dispatch(Urgency::Patient, &log);
        }
    }

    fn line(&mut self, urgency: Urgency) -> &mut Line {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Patient => &mut self.patient,
        }
    }

    fn line_up(&mut self, one: Waiting) {
        self.line(one.append.urgency).waiting.push_back(one);
    }

    fn has_room(&self) -> bool {
        self.urgent.waiting.len() + self.patient.waiting.len() < QUEUE_LEN_MAX
    }

    /// Returns when to look at the lines although nothing happens.
    fn wakes_at(&self) -> Option<Instant> {
        let lines = [&self.urgent, &self.patient].into_iter();
        let waiting = lines.filter(|line| !line.waiting.is_empty());
        waiting.filter_map(Line::gathers_until).min()
    }

    fn release(&mut self, id: Id) {
        if let Some(kept) = self.kept.remove(&id) {
            for lane in kept.lanes {
                self.busy.remove(&lane);
            }
            let line = self.line(kept.urgency);
            if kept.is_batch {
                line.batch_since = None;
            } else {
                line.in_flight -= 1;
            }
        }
    }

    /// Puts in flight what may go now.
    fn dispatch(&mut self, urgency: Urgency, log: &Arc<Inner>) {
        let line = self.line(urgency);
        // While one batch is written, the next one gathers: one by one they would be written
        // behind it, each with a sync of its own.
        if line.gathers_until().is_some() {
            return;
        }
        if line.waiting.len() >= line.limits.batch_len_min {
            if line.batch_since.is_none() {
                self.send_batch(urgency, log);
            }
            return;
        }
        let room = line.limits.in_flight_max.saturating_sub(line.in_flight);
        for one in self.take(urgency, room, Sharing::Nobody) {
            let lanes = one.append.lanes().map(str::to_owned).collect();
            let log = Arc::clone(log);
            let task = self.in_flight.spawn(async move {
                let started = Instant::now();
                let result = log.settle(&one.append, one.deadline, false).await;
                if result.is_ok() {
                    metrics::committed(&one.append, 1, started);
                }
                // A caller that went away no longer needs the answer.
                let _ = one.answer.send(result);
            });
            let kept = Kept {
                lanes,
                urgency,
                is_batch: false,
            };
            self.kept.insert(task.id(), kept);
            self.line(urgency).in_flight += 1;
        }
    }

    fn send_batch(&mut self, urgency: Urgency, log: &Arc<Inner>) {
        let limits = self.line(urgency).limits;
        let batch = self.take(urgency, limits.batch_len_max, Sharing::Unconditional);
        if batch.is_empty() {
            return;
        }
        let lanes: HashSet<&str> = batch.iter().flat_map(|one| one.append.lanes()).collect();
        let lanes = lanes.into_iter().map(str::to_owned).collect();
        let log = Arc::clone(log);
        let task = self
            .in_flight
            .spawn(async move { commit(&log, batch, limits.batch_len_min).await });
        let kept = Kept {
            lanes,
            urgency,
            is_batch: true,
        };
        self.kept.insert(task.id(), kept);
        self.line(urgency).batch_since = Some(Instant::now());
    }

    fn take(&mut self, urgency: Urgency, len_max: usize, sharing: Sharing) -> Vec<Waiting> {
        let line = match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Patient => &mut self.patient,
        };
        take(&mut line.waiting, &mut self.busy, len_max, sharing)
    }
}

/// Who may travel together although they share a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Nobody,
    /// Appends that expect nothing, behind others: a batch keeps its order.
    Unconditional,
}

/// Takes what may go now, marks its lanes busy, and leaves the rest in its order. Nothing
/// overtakes what stands before it on the same lane.
fn take(
    waiting: &mut VecDeque<Waiting>,
    busy: &mut HashSet<String>,
    len_max: usize,
    sharing: Sharing,
) -> Vec<Waiting> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut own: HashSet<String> = HashSet::new();
    let mut blocked = VecDeque::new();
    let mut held: HashSet<String> = HashSet::new();
    let mut bytes = 0;
    while taken.len() < len_max && bytes < BATCH_BYTES_MAX {
        let Some(one) = waiting.pop_front() else {
            break;
        };
        if one.answer.is_closed() {
            // Its caller has given up, and nothing was sent.
            continue;
        }
        let may_share = sharing == Sharing::Unconditional && one.append.expect == Expect::Anything;
        let is_free = one.append.lanes().all(|lane| {
            !held.contains(lane) && (!busy.contains(lane) || (may_share && own.contains(lane)))
        });
        if is_free {
            for lane in one.append.lanes() {
                if busy.insert(lane.to_owned()) {
                    own.insert(lane.to_owned());
                }
            }
            bytes += one.append.payload.len();
            taken.push(one);
        } else {
            held.extend(one.append.lanes().map(str::to_owned));
            blocked.push_back(one);
        }
    }
    // What was blocked came before what is still waiting.
    blocked.append(waiting);
    *waiting = blocked;
    taken
}

/// Commits a batch. A stale member is dropped with its own answer, and the rest goes on.
async fn commit(log: &Arc<Inner>, mut batch: Vec<Waiting>, len_min: usize) {
    let started = Instant::now();
    let mut stale_len = 0;
    loop {
        let tries_max = STALE_LEN_MAX.min(batch.len() / TRY_LEN);
        if batch.len() < len_min || stale_len > tries_max {
            return settle_each(log, batch, false).await;
        }
        match publish_batch(log, &batch).await {
            Answer::Stored { sequence } => {
                if let Some(first) = batch.first() {
                    metrics::committed(&first.append, batch.len(), started);
                }
                let first = sequence + 1 - batch.len() as u64;
                for (one, sequence) in batch.into_iter().zip(first..) {
                    let position = log.position(one.append.stream, sequence);
                    let _ = one.answer.send(Ok(position));
                }
                return;
            }
            Answer::Conflict { description } => {
                let Some(stale) = stale_member(log, &batch, &description).await else {
                    // Which one is stale cannot be told: each answers for itself.
                    return settle_each(log, batch, true).await;
                };
                stale_len += 1;
                let one = batch.remove(stale);
                let subject = one.append.subject.clone();
                let _ = one.answer.send(Err(AppendError::Conflict { subject }));
            }
            // Whether it was stored is found one by one.
            Answer::Unanswered => return settle_each(log, batch, true).await,
            // Nothing of it was stored; whom the refusal is about is found one by one.
            Answer::NotTaken | Answer::Refused { .. } | Answer::TooLarge => {
                return settle_each(log, batch, false).await;
            }
        }
    }
}

/// Settles each append by itself, those that share a lane one after the other.
async fn settle_each(log: &Arc<Inner>, batch: Vec<Waiting>, unanswered: bool) {
    let mut chains: Vec<Vec<Waiting>> = Vec::new();
    let mut chain_of: HashMap<String, usize> = HashMap::new();
    for one in batch {
        let known = one.append.lanes().find_map(|lane| chain_of.get(lane));
        let chain = *known.unwrap_or(&chains.len());
        if chain == chains.len() {
            chains.push(Vec::new());
        }
        for lane in one.append.lanes() {
            chain_of.insert(lane.to_owned(), chain);
        }
        chains[chain].push(one);
    }
    futures::stream::iter(chains)
        .for_each_concurrent(URGENT.in_flight_max, |chain| async move {
            for one in chain {
                let result = log.settle(&one.append, one.deadline, unanswered).await;
                let _ = one.answer.send(result);
            }
        })
        .await;
}

async fn publish_batch(log: &Inner, batch: &[Waiting]) -> Answer {
    // Beyond the wait for the answer, filling the client's queue may take as long again.
    timeout(log.config.ack_timeout * 2, send_and_commit(log, batch))
        .await
        .unwrap_or(Answer::Unanswered)
}

async fn send_and_commit(log: &Inner, batch: &[Waiting]) -> Answer {
    if !log.is_connected() {
        return Answer::NotTaken;
    }
    let batch_id = Uuid::new_v4().simple().to_string();
    let last = batch.len() - 1;
    let published = batch.iter().enumerate().map(|(index, one)| {
        let mut headers = one.append.headers.clone();
        headers.insert(nats_header::BATCH_ID, batch_id.as_str());
        headers.insert(
            nats_header::BATCH_SEQUENCE,
            (index + 1).to_string().as_str(),
        );
        if index == last {
            headers.insert(nats_header::BATCH_COMMIT, "1");
        }
        let payload = one.append.payload.clone();
        (append_subject(&one.append.subject), headers, payload)
    });
    let nats = match &log.link {
        Link::Nats(nats) => nats,
        Link::Memory(memory) => {
            let published = memory.publish(published.collect());
            let answer = timeout(log.config.ack_timeout, published).await;
            return answer.unwrap_or(Answer::Unanswered);
        }
    };
    for (index, (subject, headers, payload)) in published.enumerate() {
        if index == last {
            return log.request(&subject, headers, payload).await;
        }
        let published = nats
            .client
            .publish_with_headers(subject, headers, payload)
            .await;
        if published.is_err() {
            return Answer::Unanswered;
        }
    }
    Answer::Unanswered
}

/// Returns the member that the broker's error names: one that expects something older than the
/// message at the error's sequence, on subjects that this message belongs to.
async fn stale_member(log: &Inner, batch: &[Waiting], description: &str) -> Option<usize> {
    let newest: u64 = description.rsplit(' ').next()?.parse().ok()?;
    if newest == 0 {
        // Nothing stands there any more: only who expected something can be stale.
        let mut stale = batch.iter().enumerate().filter(|(_, one)| {
            matches!(&one.append.expect, Expect::Last { sequence, .. } if *sequence != 0)
        });
        let (index, _) = stale.next()?;
        return stale.next().is_none().then_some(index);
    }
    let stream = batch.first()?.append.stream;
    let subject = log.at(stream, newest).await.ok()??.subject;
    batch.iter().position(|one| match &one.append.expect {
        Expect::Anything => false,
        Expect::Last { filter, sequence } => *sequence < newest && matches_filter(filter, &subject),
    })
}

/// Returns whether a subject matches a filter with the broker's wildcards.
pub(crate) fn matches_filter(filter: &str, subject: &str) -> bool {
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

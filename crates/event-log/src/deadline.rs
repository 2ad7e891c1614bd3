//! The deadline index: makes the deadlines that stand on the log happen.
//!
//! Each message of an indexed family says in its headers when its aggregate next needs
//! attention. The index follows the family, the newest message of each subject first and then
//! the tail, and hands out subjects that are due. Whoever takes one reads the present state,
//! decides, and appends with the sequence it expects; so an index that is behind, doubled or
//! restarted can never make a thing happen twice. It costs tens of bytes a deadline, moving
//! one costs nothing, and a crash loses none.
//!
//! Nothing is handed out before the index has caught up with what the stream held at the start,
//! nor before the broker's time was heard once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use casement_event::Stored;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connect::Log;
use crate::witness::testify;
use crate::{Followed, Start, metrics};

pub use crate::witness::Now;

/// How many due subjects may wait to be taken.
const DUE_LEN_MAX: usize = 1_024;

/// How many appointments may wait to be noted.
const APPOINTMENTS_LEN_MAX: usize = 4_096;

/// How long the index sleeps at most before it looks at the clock again, so that a clock that
/// was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How many due messages are read at once.
const READ_AT_ONCE_MAX: usize = 64;

/// How long the index waits for takers, and for a clock that can be trusted.
const HELD_UP_PAUSE: Duration = Duration::from_millis(20);

/// How long after it could not be read a due message is read again.
const READ_AGAIN_AFTER: SignedDuration = SignedDuration::from_millis(200);

/// How an index follows and hands out.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream.
    pub stream: &'static str,
    /// The families' filter, such as `casement.events.window.>`.
    pub filter: String,
    /// How long after its time a deadline is handed out: each replica has a stagger of its
    /// own, so that the first one's effect is seen before the second one tries.
    pub stagger: SignedDuration,
    /// How long after it was handed out a deadline is handed out again if nothing moved it.
    pub retry_after: SignedDuration,
}

/// A subject whose deadline has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The subject.
    pub subject: String,
    /// The deadline that came.
    pub deadline: Timestamp,
    /// Sequence of the message that set it.
    pub sequence: u64,
}

/// A running index.
#[derive(Debug)]
pub struct Index {
    due: mpsc::Receiver<Due>,
    handle: Handle,
}

/// Tells the index what its takers found. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    appointments: mpsc::Sender<(Key, Timestamp, u64)>,
    progress: watch::Receiver<Progress>,
    heard: watch::Receiver<bool>,
}

/// How far an index has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything that stood on the log at the start is known, and so is the broker's time.
    pub is_caught_up: bool,
    /// Deadlines waiting.
    pub len: usize,
    /// The newest sequence seen.
    pub sequence: u64,
}

impl Index {
    /// Starts an index. `see` is shown every event of the family on its way in.
    pub fn start(
        log: &Log,
        options: Options,
        clock: std::sync::Arc<dyn Now>,
        stopping: CancellationToken,
        see: impl FnMut(&Stored) + Send + 'static,
    ) -> Self {
        let (due_in, due) = mpsc::channel(DUE_LEN_MAX);
        let (appointments, appointed) = mpsc::channel(APPOINTMENTS_LEN_MAX);
        let (progress_in, progress) = watch::channel(Progress::default());
        let (heard_in, heard) = watch::channel(false);
        tokio::spawn(testify(
            log.clone(),
            options.stream,
            std::sync::Arc::clone(&clock),
            heard_in,
            stopping.clone(),
        ));
        let running = Running {
            log: log.clone(),
            options,
            clock,
            due: due_in,
            appointed,
            progress: progress_in,
            heard: heard.clone(),
            book: Book::default(),
        };
        tokio::spawn(running.run(stopping, see));
        Self {
            due,
            handle: Handle {
                appointments,
                progress,
                heard,
            },
        }
    }

    /// Returns the next subject that is due; `None` once the index has stopped.
    pub async fn due(&mut self) -> Option<Due> {
        self.due.recv().await
    }

    /// Returns a handle for takers.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Handle {
    /// Puts a deadline back for later, without a word on the log: the taker found nothing to
    /// do before `deadline`. A newer message on the subject overrides it.
    pub async fn put_back(&self, subject: &str, sequence: u64, deadline: Timestamp) {
        // The index has stopped; the deadline still stands on the log.
        let _ = self
            .appointments
            .send((key(subject), deadline, sequence))
            .await;
    }

    /// Waits until the clock has heard the broker's time once: before, nobody can say that it is
    /// right. Returns also once the index has stopped.
    pub async fn heard(&self) {
        // An error says that the index has stopped.
        let _ = self.heard.clone().wait_for(|heard| *heard).await;
    }

    /// Returns how far the index has come.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

/// 128 bits of a subject: enough that no two of a billion collide.
type Key = u128;

fn key(subject: &str) -> Key {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        subject.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(1) << 64) | half(2)
}

/// Deadlines by time. The heap may hold stale entries; the map says which one counts.
#[derive(Debug, Default)]
struct Book {
    /// For each subject with a deadline: when, in milliseconds, and which message set it.
    current: HashMap<Key, (i64, u64)>,
    heap: BinaryHeap<Reverse<(i64, Key)>>,
}

impl Book {
    fn set(&mut self, key: Key, deadline: Option<Timestamp>, sequence: u64) {
        if let Some((_, known)) = self.current.get(&key)
            && *known > sequence
        {
            return;
        }
        match deadline {
            None => {
                self.current.remove(&key);
            }
            Some(deadline) => {
                let at = millisecond_at_or_after(deadline);
                let known = self.current.insert(key, (at, sequence));
                if known.is_none_or(|(known, _)| known != at) {
                    self.heap.push(Reverse((at, key)));
                }
            }
        }
        self.compact();
    }

    /// Moves a deadline that still stands; what has ended meanwhile stays ended.
    fn put_back(&mut self, key: Key, deadline: Timestamp, sequence: u64) {
        if self.current.contains_key(&key) {
            self.set(key, Some(deadline), sequence);
        }
    }

    /// Drops stale entries once they outnumber the live ones.
    fn compact(&mut self) {
        if self.heap.len() > 1_024 && self.heap.len() > 2 * self.current.len() {
            self.heap = self
                .current
                .iter()
                .map(|(key, (at, _))| Reverse((*at, *key)))
                .collect();
        }
    }

    /// Takes the earliest deadline if it has come. It stays current until it is set anew.
    fn take_due(&mut self, now: Timestamp) -> Option<(Key, i64, u64)> {
        loop {
            let Reverse((at, key)) = *self.heap.peek()?;
            match self.current.get(&key) {
                Some((current, sequence)) if *current == at => {
                    if at > now.as_millisecond() {
                        return None;
                    }
                    let sequence = *sequence;
                    self.heap.pop();
                    return Some((key, at, sequence));
                }
                _ => {
                    self.heap.pop();
                }
            }
        }
    }

    /// Forgets a subject, unless a newer message set it anew.
    fn end(&mut self, key: Key, sequence: u64) {
        if self
            .current
            .get(&key)
            .is_some_and(|(_, known)| *known == sequence)
        {
            self.current.remove(&key);
        }
    }

    fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

/// Nothing may happen early, so a fraction of a millisecond counts as a whole one.
fn millisecond_at_or_after(at: Timestamp) -> i64 {
    let whole = at.as_millisecond();
    let has_rest = at.as_nanosecond() > i128::from(whole) * 1_000_000;
    whole + i64::from(has_rest)
}

struct Running {
    log: Log,
    options: Options,
    clock: std::sync::Arc<dyn Now>,
    due: mpsc::Sender<Due>,
    appointed: mpsc::Receiver<(Key, Timestamp, u64)>,
    progress: watch::Sender<Progress>,
    heard: watch::Receiver<bool>,
    book: Book,
}

impl Running {
    async fn run(mut self, stopping: CancellationToken, mut see: impl FnMut(&Stored)) {
        let stream = self.options.stream;
        let filters = vec![self.options.filter.clone()];
        let mut follower = self.log.follow(stream, filters, Start::LastPerSubject);
        let started = Instant::now();
        // The third token of the filter: casement.events.window.>
        let family = self.options.filter.split('.').nth(2).unwrap_or_default();
        let family = family.to_owned();
        let mut is_caught_up = false;
        let mut seen = 0;
        loop {
            let is_heard = *self.heard.borrow_and_update();
            let sleep = self.sleep(is_caught_up && is_heard);
            tokio::select! {
                () = stopping.cancelled() => return,
                followed = follower.next() => match followed {
                    Followed::Event(stored) => {
                        see(&stored);
                        seen = stored.sequence;
                        self.book.set(key(&stored.subject), stored.deadline(), stored.sequence);
                        if !is_caught_up { continue }
                    }
                    Followed::CaughtUp { sequence } => {
                        is_caught_up = true;
                        metrics::rebuilt(&family, started.elapsed());
                        tracing::info!(
                            stream,
                            sequence,
                            deadlines = self.book.current.len(),
                            "deadline index caught up"
                        );
                    }
                },
                Some((key, deadline, sequence)) = self.appointed.recv() => {
                    self.book.put_back(key, deadline, sequence);
                }
                Ok(()) = self.heard.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            let is_ready = is_caught_up && *self.heard.borrow();
            metrics::deadlines(&family, self.book.current.len());
            let progress = Progress {
                is_caught_up: is_ready,
                len: self.book.current.len(),
                sequence: seen,
            };
            self.progress
                .send_if_modified(|known| std::mem::replace(known, progress) != progress);
            if is_ready && self.clock.is_trusted() && !self.hand_out().await {
                return;
            }
        }
    }

    fn sleep(&self, is_ready: bool) -> Duration {
        let Some(next) = self.book.next().filter(|_| is_ready) else {
            return SLEEP_MAX;
        };
        if self.due.capacity() == 0 || !self.clock.is_trusted() {
            return HELD_UP_PAUSE;
        }
        let wait = next.saturating_sub(self.present().as_millisecond()).max(1);
        Duration::from_millis(u64::try_from(wait).unwrap_or(1)).min(SLEEP_MAX)
    }

    /// The present time less the stagger: what this replica regards as due.
    fn present(&self) -> Timestamp {
        self.clock
            .now()
            .checked_sub(self.options.stagger)
            .unwrap_or(Timestamp::MIN)
    }

    /// Hands out what is due; `false` once nobody takes any more.
    async fn hand_out(&mut self) -> bool {
        loop {
            let now = self.present();
            let taken = self.take(now);
            if taken.is_empty() {
                return true;
            }
            let (log, stream) = (&self.log, self.options.stream);
            let reads = taken
                .iter()
                .map(|(_, _, sequence)| log.get(stream, *sequence));
            let read = futures::future::join_all(reads).await;
            let mut is_away = false;
            for ((key, at, sequence), stored) in taken.into_iter().zip(read) {
                match stored {
                    Ok(Some(stored)) => {
                        let due = Due {
                            subject: stored.subject,
                            deadline: Timestamp::from_millisecond(at).unwrap_or(now),
                            sequence,
                        };
                        if self.due.send(due).await.is_err() {
                            return false;
                        }
                    }
                    // Purged meanwhile: whatever it was, it has ended.
                    Ok(None) => self.book.end(key, sequence),
                    Err(error) => {
                        tracing::warn!(sequence, error = %error, "due message cannot be read yet");
                        is_away = true;
                        let again = now.checked_add(READ_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
                        self.book.put_back(key, again, sequence);
                    }
                }
            }
            if is_away {
                return true;
            }
        }
    }

    /// Takes some of what is due, and notes it to be handed out again later, unless a newer
    /// message or the taker moves it.
    fn take(&mut self, now: Timestamp) -> Vec<(Key, i64, u64)> {
        let retry_after = self.options.retry_after.max(SignedDuration::from_millis(1));
        let again = now.checked_add(retry_after).unwrap_or(Timestamp::MAX);
        let mut taken = Vec::new();
        while taken.len() < self.due.capacity().min(READ_AT_ONCE_MAX)
            && let Some((key, at, sequence)) = self.book.take_due(now)
        {
            self.book.set(key, Some(again), sequence);
            taken.push((key, at, sequence));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn a_deadline_that_moved_is_due_at_its_new_time_only() {
        let mut book = Book::default();
        book.set(1, Some(at(100)), 1);
        book.set(1, Some(at(300)), 2);
        assert_eq!(book.take_due(at(200)), None);
        assert_eq!(book.take_due(at(300)), Some((1, 300, 2)));
    }

    #[test]
    fn an_older_message_never_overrides_a_newer_one() {
        let mut book = Book::default();
        book.set(1, Some(at(300)), 2);
        book.set(1, Some(at(100)), 1);
        book.set(1, None, 1);
        assert_eq!(book.take_due(at(300)), Some((1, 300, 2)));
    }

    #[test]
    fn what_has_ended_is_never_due() {
        let mut book = Book::default();
        book.set(1, Some(at(100)), 1);
        book.set(1, None, 2);
        assert_eq!(book.take_due(at(1_000)), None);
    }

    #[test]
    fn what_ended_while_a_taker_looked_is_not_put_back() {
        let mut book = Book::default();
        book.set(1, Some(at(100)), 1);
        assert_eq!(book.take_due(at(100)), Some((1, 100, 1)));
        book.set(1, None, 2);
        book.put_back(1, at(200), 1);
        assert_eq!(book.take_due(at(1_000)), None);
    }

    #[test]
    fn a_deadline_set_twice_to_the_same_time_comes_once() {
        let mut book = Book::default();
        book.set(1, Some(at(100)), 1);
        book.set(1, Some(at(100)), 2);
        assert_eq!(book.take_due(at(100)), Some((1, 100, 2)));
        assert_eq!(book.take_due(at(100)), None);
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_never_early() {
        let mut book = Book::default();
        let deadline = Timestamp::from_nanosecond(100_000_001).unwrap();
        book.set(1, Some(deadline), 1);
        assert_eq!(book.take_due(at(100)), None);
        assert!(book.take_due(at(101)).is_some());
    }

    #[test]
    fn moving_a_deadline_often_does_not_grow_the_book() {
        let mut book = Book::default();
        for sequence in 1..100_000 {
            let deadline = at(i64::try_from(sequence).unwrap());
            book.set(u128::from(sequence % 10), Some(deadline), sequence);
        }
        assert!(book.heap.len() <= 1_025, "{} entries", book.heap.len());
    }
}

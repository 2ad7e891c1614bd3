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

mod book;

use std::collections::VecDeque;
use std::time::Duration;

use casement_event::Stored;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::book::{Book, KEPT_BACK, Key, Taken, key};
use crate::connect::Log;
use crate::link::Message;
use crate::wire::{self, Pending, Sighting};
use crate::witness::testify;
use crate::{Followed, ReadError, Start, metrics};

pub use crate::witness::Now;

/// How many due subjects may wait to be taken.
const DUE_LEN_MAX: usize = 1_024;

/// How many appointments may wait to be noted.
const APPOINTMENTS_LEN_MAX: usize = 4_096;

/// How long the index sleeps at most before it looks at the clock again, so that a clock that
/// was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How many due messages are read at once.
const READ_AT_ONCE_MAX: usize = 256;

/// How long the index waits for takers, and for a clock that can be trusted.
const HELD_UP_PAUSE: Duration = Duration::from_millis(20);

/// How long after it could not be read a due message is read again.
const READ_AGAIN_AFTER: SignedDuration = SignedDuration::from_millis(200);

/// How long a deadline that had come before its message did is kept back, in an index of a taker who
/// goes on by itself after what it stores.
const SETTLE: Duration = Duration::from_millis(50);

/// How long if the taker says that it goes on.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Whether the taker has a message of a subject in hand, and goes on from there by itself.
pub type InHand = std::sync::Arc<dyn Fn(&str, u64) -> bool + Send + Sync>;

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
    /// That message.
    pub stored: Stored,
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
        Self::start_seen(log, options, clock, stopping, None, see)
    }

    /// Starts an index for a taker who goes on by itself after what it stores, as long as `in_hand`
    /// says that it does: a deadline that had come before its message did is handed out a little
    /// later, and two seconds later if it is in hand.
    pub fn start_for(
        log: &Log,
        options: Options,
        clock: std::sync::Arc<dyn Now>,
        stopping: CancellationToken,
        in_hand: InHand,
        see: impl FnMut(&Stored) + Send + 'static,
    ) -> Self {
        Self::start_seen(log, options, clock, stopping, Some(in_hand), see)
    }

    fn start_seen(
        log: &Log,
        options: Options,
        clock: std::sync::Arc<dyn Now>,
        stopping: CancellationToken,
        in_hand: Option<InHand>,
        mut see: impl FnMut(&Stored) + Send + 'static,
    ) -> Self {
        let read = move |incarnation: &str, message: &Message| {
            let (stored, pending) = wire::from_consumer(incarnation, message)?;
            see(&stored);
            Ok((Sighting::of(&stored), pending))
        };
        Self::start_reading(log, options, clock, stopping, in_hand, read)
    }

    /// Starts an index that shows nobody what it sees, and so reads millions of events sooner.
    pub fn start_unseen(
        log: &Log,
        options: Options,
        clock: std::sync::Arc<dyn Now>,
        stopping: CancellationToken,
    ) -> Self {
        Self::start_reading(log, options, clock, stopping, None, wire::sighted)
    }

    fn start_reading(
        log: &Log,
        options: Options,
        clock: std::sync::Arc<dyn Now>,
        stopping: CancellationToken,
        in_hand: Option<InHand>,
        read: impl Read,
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
            in_hand,
            settling: VecDeque::new(),
            settling_in_hand: VecDeque::new(),
        };
        tokio::spawn(running.run(stopping, read));
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

/// Takes of a message what the index needs, and shows it to whoever wants more.
trait Read: FnMut(&str, &Message) -> Result<(Sighting, Pending), ReadError> + Send + 'static {}

impl<F> Read for F where
    F: FnMut(&str, &Message) -> Result<(Sighting, Pending), ReadError> + Send + 'static
{
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
    /// What is kept back, and until when.
    settling: VecDeque<Settling>,
    /// The same, of what the taker has in hand.
    settling_in_hand: VecDeque<Settling>,
    in_hand: Option<InHand>,
}

/// A deadline that is kept back.
struct Settling {
    until: Instant,
    sighting: Sighting,
    deadline: Timestamp,
}

impl Running {
    async fn run(mut self, stopping: CancellationToken, mut read: impl Read) {
        let stream = self.options.stream;
        let filters = vec![self.options.filter.clone()];
        let mut follower = self.log.follow(stream, filters, Start::LastPerSubject);
        let started = Instant::now();
        // The third token of the filter: casement.events.window.>
        let family = self.options.filter.split('.').nth(2).unwrap_or_default();
        let family = family.to_owned();
        let mut seen = 0;
        // Nothing else is heard of before all is known, and there may be millions.
        let caught_up = loop {
            let followed = stopping.run_until_cancelled(follower.next_as(&mut read));
            match followed.await {
                None => return,
                Some(Followed::Event(sighting)) => {
                    seen = sighting.sequence;
                    self.book.note(&sighting);
                }
                Some(Followed::CaughtUp { sequence }) => break sequence,
            }
        };
        metrics::rebuilt(&family, started.elapsed());
        tracing::info!(
            stream,
            sequence = caught_up,
            deadlines = self.book.len(),
            "deadline index caught up"
        );
        loop {
            let is_ready = *self.heard.borrow_and_update();
            self.let_go();
            metrics::deadlines(&family, self.book.len());
            let progress = Progress {
                is_caught_up: is_ready,
                len: self.book.len(),
                sequence: seen,
            };
            self.progress
                .send_if_modified(|known| std::mem::replace(known, progress) != progress);
            if is_ready && self.clock.is_trusted() && !self.hand_out().await {
                return;
            }
            let sleep = self.sleep(is_ready);
            tokio::select! {
                () = stopping.cancelled() => return,
                followed = follower.next_as(&mut read) => {
                    let mut next = Some(followed);
                    let mut len = 0;
                    // All that is here is noted before anything is handed out: what is due of it
                    // is read at once then, and not one after the other.
                    while let Some(followed) = next {
                        if let Followed::Event(sighting) = followed {
                            seen = sighting.sequence;
                            self.note(sighting);
                        }
                        len += 1;
                        next = (len < READ_AT_ONCE_MAX)
                            .then(|| follower.next_as(&mut read).now_or_never())
                            .flatten();
                    }
                }
                Some((key, deadline, sequence)) = self.appointed.recv() => {
                    self.book.put_back(key, deadline, sequence);
                }
                Ok(()) = self.heard.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Takes note of what just came in.
    fn note(&mut self, mut sighting: Sighting) {
        if let Some(deadline) = sighting.deadline
            && self.in_hand.is_some()
            && deadline <= self.present()
        {
            sighting.deadline = Some(KEPT_BACK);
            self.book.note(&sighting);
            self.settling.push_back(Settling {
                until: Instant::now() + SETTLE,
                sighting,
                deadline,
            });
        } else {
            self.book.note(&sighting);
        }
    }

    /// Lets go of what was kept back long enough, unless something newer came in.
    fn let_go(&mut self) {
        let now = Instant::now();
        let is_over = |first: &mut Settling| first.until <= now;
        while let Some(first) = self.settling.pop_front_if(is_over) {
            let (subject, sequence) = (first.sighting.subject.as_str(), first.sighting.sequence);
            let in_hand = self.in_hand.as_ref();
            if in_hand.is_some_and(|in_hand| in_hand(subject, sequence)) {
                let until = now + SETTLE_MAX;
                self.settling_in_hand.push_back(Settling { until, ..first });
            } else {
                self.book.let_go(key(subject), first.deadline, sequence);
            }
        }
        while let Some(first) = self.settling_in_hand.pop_front_if(is_over) {
            let (subject, sequence) = (first.sighting.subject.as_str(), first.sighting.sequence);
            self.book.let_go(key(subject), first.deadline, sequence);
        }
    }

    fn sleep(&self, is_ready: bool) -> Duration {
        let sleep = self.sleep_by_book(is_ready);
        let queues = [&self.settling, &self.settling_in_hand];
        let firsts = queues.into_iter().filter_map(VecDeque::front);
        let settled = firsts.map(|first| first.until).min();
        settled.map_or(sleep, |until| {
            sleep.min(until.saturating_duration_since(Instant::now()))
        })
    }

    fn sleep_by_book(&self, is_ready: bool) -> Duration {
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
            let reads = taken.iter().map(|taken| log.get(stream, taken.sequence));
            let read = futures::future::join_all(reads).await;
            let mut is_away = false;
            for (Taken { slot, at, sequence }, stored) in taken.into_iter().zip(read) {
                match stored {
                    Ok(Some(stored)) => {
                        let due = Due {
                            subject: stored.subject.clone(),
                            deadline: Timestamp::from_millisecond(at).unwrap_or(now),
                            sequence,
                            stored,
                        };
                        if self.due.send(due).await.is_err() {
                            return false;
                        }
                    }
                    // Whatever it was, it has ended.
                    Ok(None) if matches!(log.is_gone(stream, sequence).await, Ok(true)) => {
                        self.book.end(slot);
                    }
                    unread => {
                        let error = unread.err().map(|error| error.to_string());
                        let error = error.unwrap_or_else(|| "whoever answers lacks it".to_owned());
                        tracing::warn!(sequence, error, "due message cannot be read yet");
                        is_away = true;
                        let again = now.checked_add(READ_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
                        self.book.postpone(slot, again);
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
    fn take(&mut self, now: Timestamp) -> Vec<Taken> {
        let retry_after = self.options.retry_after.max(SignedDuration::from_millis(1));
        let again = now.checked_add(retry_after).unwrap_or(Timestamp::MAX);
        let mut taken = Vec::new();
        while taken.len() < self.due.capacity().min(READ_AT_ONCE_MAX)
            && let Some(due) = self.book.take_due(now)
        {
            self.book.postpone(due.slot, again);
            taken.push(due);
        }
        taken
    }
}

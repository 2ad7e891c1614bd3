//! Makes the deadlines of account records come true: steps of long work, polls, what is overdue.
//!
//! A record that needs attention later says so in its deadline header. For each kind of record
//! somebody has a duty here: its handler is called with the record's id when the time has come, and
//! called again with back-off while it fails. Nothing is remembered but how often that
//! was. A handler reads the present state and appends with an expectation, so that a record that
//! is handed out twice, or to two processes, changes once.
//!
//! It decides nothing, and never writes: whoever is called does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::stream;
use casement_event_log::Log;
use casement_event_log::deadline::{Due, Handle, Index, Now, Options};
use casement_shell::SharedClock;
use casement_shell::backoff::{Schedule, Waits};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Outcome};

/// How many records of all kinds are in hand at once.
const IN_HAND_MAX: usize = 16;

/// How long after it was handed out a record comes again that nobody moved.
const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// How long a record is put off whose older state is still in hand.
const BUSY_PAUSE: SignedDuration = SignedDuration::from_millis(500);

/// How long what is in hand may go on after the stop. What is cut off then is due again.
const LAST_WORDS_MAX: Duration = Duration::from_secs(10);

/// What a handler found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is nothing to do, or what had to be done stands on the log, with its own deadline.
    Done,
    /// There is nothing to do before then, and the log need not know.
    Later(Timestamp),
}

/// A record whose time has come.
#[derive(Debug, Clone)]
pub(crate) struct Ripe {
    /// The last token of its subject.
    pub(crate) key: String,
}

type Handling = Pin<Box<dyn Future<Output = anyhow::Result<Next>> + Send>>;

/// A kind of records, and who takes care of it.
struct Duty {
    kind: &'static str,
    handler: Box<dyn Fn(Ripe) -> Handling + Send + Sync>,
}

/// All duties.
pub(crate) struct Runner {
    log: Log,
    clock: SharedClock,
    schedule: Schedule,
    duties: Vec<Duty>,
}

impl Runner {
    pub(crate) fn new(log: Log, clock: SharedClock) -> Self {
        let (shortest, longest) = (Duration::from_millis(500), Duration::from_mins(5));
        let schedule = Schedule::try_new(shortest, longest, 2.0, 0.5);
        Self {
            log,
            clock,
            schedule: schedule.expect("waits that grow"),
            duties: Vec::new(),
        }
    }

    /// Calls `handler` for each record on `casement.accounts.<kind>.*` whose deadline comes.
    ///
    /// A failure is told in the logs and tried again, ever more rarely, until something newer
    /// stands in the record's place.
    pub(crate) fn on<F, R>(mut self, kind: &'static str, handler: F) -> Self
    where
        F: Fn(Ripe) -> R + Send + Sync + 'static,
        R: Future<Output = anyhow::Result<Next>> + Send + 'static,
    {
        metrics::duty(kind);
        let handler = Box::new(move |ripe| Box::pin(handler(ripe)) as Handling);
        self.duties.push(Duty { kind, handler });
        self
    }

    /// Runs until the stop, then lets what is in hand come to its end.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        // Ends the indexes also when this future is dropped.
        let stopping = stopping.child_token();
        let _stop_on_drop = stopping.clone().drop_guard();
        let turns = Arc::new(Semaphore::new(IN_HAND_MAX));
        let runs = self.duties.into_iter().map(|duty| {
            let options = Options {
                stream: stream::ACCOUNTS,
                filter: format!("casement.accounts.{}.*", duty.kind),
                stagger: SignedDuration::ZERO,
                retry_after: RETRY_AFTER,
            };
            let clock = Arc::new(IndexClock(self.clock.clone()));
            let index = Index::start_unseen(&self.log, options, clock, stopping.clone());
            let run = Run {
                handle: index.handle(),
                duty,
                clock: self.clock.clone(),
                schedule: self.schedule,
                turns: Arc::clone(&turns),
                in_hand: HashMap::new(),
                failed: HashMap::new(),
            };
            run.until(index, stopping.clone())
        });
        futures::future::join_all(runs).await;
    }
}

/// One duty, at work.
struct Run {
    duty: Duty,
    handle: Handle,
    clock: SharedClock,
    schedule: Schedule,
    turns: Arc<Semaphore>,
    /// Whose handler runs, and the message that it was called with.
    in_hand: HashMap<String, (Id, u64)>,
    /// The waits of records whose handler failed last time.
    failed: HashMap<String, Waits>,
}

impl Run {
    async fn until(mut self, mut index: Index, stopping: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    self.ended(ended).await;
                }
                due = index.due(), if tasks.len() < IN_HAND_MAX => {
                    let Some(due) = due else { break };
                    self.begin(due, &mut tasks).await;
                }
            }
        }
        let until = Instant::now() + LAST_WORDS_MAX;
        while let Ok(Some(ended)) = timeout_at(until, tasks.join_next_with_id()).await {
            self.ended(ended).await;
        }
        tasks.shutdown().await;
    }

    async fn begin(&mut self, due: Due, tasks: &mut JoinSet<anyhow::Result<Next>>) {
        let Due {
            subject, sequence, ..
        } = due;
        match self.in_hand.entry(subject) {
            Entry::Occupied(busy) => {
                self.handle
                    .put_back(busy.key(), sequence, self.clock.now() + BUSY_PAUSE)
                    .await;
            }
            Entry::Vacant(free) => {
                let key = free.key().rsplit('.').next().unwrap_or_default().to_owned();
                let handling = (self.duty.handler)(Ripe { key });
                let turns = Arc::clone(&self.turns);
                let task = tasks.spawn(async move {
                    let _turn = turns.acquire().await;
                    handling.await
                });
                free.insert((task.id(), sequence));
            }
        }
    }

    async fn ended(&mut self, ended: Result<(Id, anyhow::Result<Next>), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(broken) => (broken.id(), Err(anyhow::Error::new(broken))),
        };
        let of_task = |(_, (task, _)): &(&String, &(Id, u64))| *task == id;
        let Some((subject, &(_, sequence))) = self.in_hand.iter().find(of_task) else {
            return;
        };
        let subject = subject.clone();
        self.in_hand.remove(&subject);
        let kind = self.duty.kind;
        match result {
            Ok(next) => {
                self.failed.remove(&subject);
                metrics::taken(kind, Outcome::Done);
                if let Next::Later(at) = next {
                    self.handle.put_back(&subject, sequence, at).await;
                }
            }
            Err(error) => {
                metrics::taken(kind, Outcome::Failed);
                let schedule = self.schedule;
                let waits = self.failed.entry(subject.clone());
                let waits = waits.or_insert_with(|| schedule.waits());
                let wait = waits.next_wait();
                tracing::warn!(
                    kind, sequence, error = %format!("{error:#}"), ?wait,
                    "account record is taken up again later"
                );
                let wait = SignedDuration::try_from(wait).unwrap_or(RETRY_AFTER);
                self.handle
                    .put_back(&subject, sequence, self.clock.now() + wait)
                    .await;
            }
        }
    }
}

/// The shell's clock, as the deadline index asks it.
struct IndexClock(SharedClock);

impl Now for IndexClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn is_trusted(&self) -> bool {
        self.0.agreement(None).is_ok()
    }

    fn hear(&self, broker: Timestamp, waited: Duration) {
        self.0.hear(broker, waited);
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;

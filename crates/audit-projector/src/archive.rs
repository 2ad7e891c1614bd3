//! The loop that archives one stream.
//!
//! It goes on from the archived position, gathers what is ready, and writes it in one
//! transaction. Away brokers and databases are waited for; nothing is skipped. It decides
//! nothing about events: an event that nobody understands is archived, too.

use std::time::Duration;

use anyhow::anyhow;
use casement_event::Stored;
use casement_event_log::{Followed, Log, Start};
use casement_shell::SharedClock;
use casement_shell::backoff::{Schedule, Waits};
use casement_shell::health::Latch;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::batch::Batch;
use crate::chain::Head;
use crate::life;
use crate::lineage;
use crate::metrics;
use crate::progress::{Reached, Teller};
use crate::store::{Error, SharedStore};
use crate::trace::Traces;

/// Most rows of one transaction.
const BATCH_ROWS_MAX: usize = 256;

/// Most payload of one transaction, but for a single event that is larger.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The least time from the begin of one transaction to that of the next one. A transaction costs
/// much the same of one event as of twenty: its position, its keys, a sync. So under load events
/// gather, each for so long at most; what comes after a pause is archived at once.
pub(crate) const BATCH_INTERVAL: Duration = Duration::from_millis(20);

/// How often the log is asked how much is not archived yet.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a log that its archive does not go on from is left alone.
const PARTED_PAUSE: Duration = Duration::from_secs(10);

/// How a broker or a database that is away is asked again.
fn schedule() -> Waits {
    Schedule::try_new(Duration::from_millis(50), Duration::from_secs(5), 2.0, 0.5)
        .expect("the schedule of constants grows")
        .waits()
}

/// Archives one stream.
#[derive(Debug)]
pub(crate) struct Archiver {
    pub(crate) stream: &'static str,
    pub(crate) log: Log,
    pub(crate) store: SharedStore,
    pub(crate) clock: SharedClock,
    pub(crate) teller: Teller,
    /// Held until the archive has caught up, and while the database is away.
    pub(crate) latch: Latch,
    pub(crate) lag_alarm: SignedDuration,
}

/// The archive stands behind what was handed out by the follower: begin again from there.
struct BeginAgain;

impl Archiver {
    /// Archives until the stop. What was not committed by then is archived after the next start.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        metrics::stream_exists(self.stream);
        let archive = async {
            loop {
                self.follow().await?;
            }
        };
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            failed = archive => failed,
            never = self.look() => match never {},
        }
    }

    /// Counts what is not archived yet, for as long as it is polled.
    async fn look(&self) -> std::convert::Infallible {
        loop {
            let archived = self
                .teller
                .borrow()
                .as_ref()
                .map(|reached| reached.sequence);
            if let (Some(archived), Ok(state)) = (archived, self.log.state(self.stream).await) {
                if state.incarnation != self.log.incarnation(self.stream) {
                    // Positions, mirrors and chains of this process are of the life before.
                    self.latch.hold(format!(
                        "stream {} was recreated or restored: restart this process",
                        self.stream
                    ));
                    tracing::error!(
                        stream = self.stream,
                        "stream was recreated or restored while this process ran: restart it, and its archive goes on in a chain of its own"
                    );
                }
                // What was purged from the log is in no archive's way.
                let from = archived.max(state.first_sequence.saturating_sub(1));
                metrics::pending(self.stream, state.last_sequence.saturating_sub(from));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Archives from the archived position on. Returns to begin again.
    async fn follow(&self) -> anyhow::Result<()> {
        let mut head = self.head().await;
        if !self.log_reaches(&head).await {
            return Ok(());
        }
        let mut feed = self.feed(&head);
        let mut is_caught_up = false;
        let mut events = Vec::new();
        let mut next_batch = Instant::now();
        loop {
            tokio::time::sleep_until(next_batch).await;
            let mut ready = Vec::new();
            if feed.receiver.recv_many(&mut ready, BATCH_ROWS_MAX).await == 0 {
                return Err(anyhow!("follower of stream {} ended", self.stream));
            }
            for followed in ready {
                match followed {
                    Followed::Event(stored) => events.push(stored),
                    Followed::CaughtUp { .. } => is_caught_up = true,
                }
            }
            next_batch = Instant::now() + BATCH_INTERVAL;
            while !events.is_empty() {
                let rest = events.split_off(batch_len(&events));
                match self
                    .archive(head, std::mem::replace(&mut events, rest))
                    .await
                {
                    Ok(advanced) => head = advanced,
                    Err(BeginAgain) => return Ok(()),
                }
            }
            if is_caught_up {
                self.latch.release();
            }
        }
    }

    /// Follows the log in a task of its own, so that waiting for it can be given up at any point.
    fn feed(&self, head: &Head) -> Feed {
        // All that the stream takes.
        let filters = vec![">".to_owned()];
        let start = Start::Sequence(head.last_sequence + 1);
        let mut follower = self.log.follow(self.stream, filters, start);
        let (sender, receiver) = mpsc::channel(BATCH_ROWS_MAX);
        let task =
            tokio::spawn(async move { while sender.send(follower.next().await).await.is_ok() {} });
        Feed {
            receiver,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Archives events that follow on `head` without a gap, and returns where the chain stands.
    async fn archive(&self, head: Head, events: Vec<Stored>) -> Result<Head, BeginAgain> {
        let handed_out_from = head.last_sequence;
        let (mut head, mut events) = (head, events);
        let mut waits = schedule();
        loop {
            // What another writer archived meanwhile, or was handed out twice.
            events.retain(|event| event.sequence > head.last_sequence);
            let Some(oldest) = events.first() else {
                return Ok(head);
            };
            let oldest_at = oldest.stored_at;
            let batch = Batch::seal(head, events, rand::random);
            let traces = Traces::begin(&batch, &self.store);
            let since = Instant::now();
            let appended = self.store.append(&batch).instrument(traces.insert()).await;
            traces.end(&appended);
            match appended {
                Ok(()) => {
                    self.count_missed(&batch);
                    metrics::archived(self.stream, batch.entries.len() as u64, since);
                    self.measure_lag(oldest_at);
                    self.tell(&batch.after);
                    return Ok(batch.after);
                }
                Err(Error::Moved) => {
                    events = batch.into_events();
                    head = self.head().await;
                    if head.last_sequence < handed_out_from {
                        tracing::warn!(
                            stream = self.stream,
                            "archive has moved back, beginning again from there"
                        );
                        return Err(BeginAgain);
                    }
                }
                Err(
                    error @ (Error::Database { .. }
                    | Error::Outrun
                    | Error::Inconsistent { .. }
                    | Error::Keys(_)),
                ) => {
                    self.refused(&error, oldest_at);
                    head = batch.before.clone();
                    events = batch.into_events();
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Counts what the log lost before it was archived. Nothing takes it away before, so somebody
    /// did by hand, or the broker's limits did.
    fn count_missed(&self, batch: &Batch) {
        let added = batch.after.row_count - batch.before.row_count;
        let passed = batch.after.last_sequence - batch.before.last_sequence;
        // A chain that begins in the middle may be an archive that was begun later than its log.
        if batch.before.row_count > 0 && passed > added {
            let missed = passed - added;
            metrics::missed(self.stream, missed);
            tracing::error!(
                stream = self.stream,
                missed,
                after_sequence = batch.before.last_sequence,
                through_sequence = batch.after.last_sequence,
                "messages left the log before they were archived, and are lost to the archive"
            );
        }
    }

    /// Loads where the chain stands, however long the database is away.
    async fn head(&self) -> Head {
        let incarnation = self.log.incarnation(self.stream);
        let mut waits = schedule();
        loop {
            let ancestors = self.log.ancestors(self.stream);
            let head = lineage::head(&*self.store, self.stream, &incarnation, ancestors);
            let begun = async {
                let head = head.await?;
                life::begin(&self.store, &self.log, &head, self.clock.now()).await?;
                Ok::<_, Error>(head)
            };
            match begun.await {
                Ok(head) => {
                    self.tell(&head);
                    return head;
                }
                Err(error) => {
                    self.refused(&error, self.clock.now());
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Returns whether the log holds at least what is archived of it, after a wait if not. A log
    /// that was set back would give out sequences again that are taken here.
    async fn log_reaches(&self, head: &Head) -> bool {
        let mut waits = schedule();
        loop {
            match self.log.state(self.stream).await {
                Ok(state) if state.last_sequence >= head.last_sequence => {
                    match life::meets(&self.store, &self.log, head).await {
                        Ok(true) => return true,
                        Ok(false) => {
                            self.parted(state.last_sequence, head).await;
                            return false;
                        }
                        Err(error) => {
                            tracing::warn!(stream = self.stream, %error, "log and archive cannot be compared yet");
                            tokio::time::sleep(waits.next_wait()).await;
                        }
                    }
                }
                Ok(state) => {
                    self.latch.hold(format!(
                        "stream {} was set back behind its archive",
                        self.stream
                    ));
                    tracing::error!(
                        stream = self.stream,
                        log_sequence = state.last_sequence,
                        archived_sequence = head.last_sequence,
                        "log was set back behind its archive without a new incarnation: recreate the stream from a newer backup"
                    );
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    return false;
                }
                Err(error) => {
                    tracing::warn!(stream = self.stream, %error, "log is away, archive waits");
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Says that the log holds other events than the archive under the same sequences.
    async fn parted(&self, log_sequence: u64, head: &Head) {
        self.latch.hold(format!(
            "stream {} holds other events than its archive",
            self.stream
        ));
        tracing::error!(
            stream = self.stream,
            log_sequence,
            archived_sequence = head.last_sequence,
            "log holds another event than its archive under the last archived sequence: it was set back without a new incarnation, and went on; restore it with `casement restore`"
        );
        tokio::time::sleep(PARTED_PAUSE).await;
    }

    fn tell(&self, head: &Head) {
        self.teller.send_replace(Some(Reached {
            incarnation: head.incarnation.clone(),
            sequence: head.last_sequence,
        }));
    }

    /// Returns how old an event has become, unarchived until now.
    fn measure_lag(&self, stored_at: Timestamp) -> SignedDuration {
        let lag = self.clock.now().duration_since(stored_at);
        metrics::lag(self.stream, lag.as_secs_f64());
        lag
    }

    fn refused(&self, error: &Error, oldest_at: Timestamp) {
        self.latch.hold("database is away");
        metrics::refused(self.stream);
        let lag = self.measure_lag(oldest_at);
        let source = std::error::Error::source(error).map(ToString::to_string);
        if lag > self.lag_alarm {
            tracing::error!(stream = self.stream, %error, source, lag_seconds = lag.as_secs(), "events stay unarchived");
        } else {
            tracing::warn!(stream = self.stream, %error, source, "archive waits for its database");
        }
    }
}

/// The follower's task, which ends with this.
struct Feed {
    receiver: mpsc::Receiver<Followed>,
    _task: AbortOnDropHandle<()>,
}

/// Returns how many of the events fit into one transaction: at least one.
fn batch_len(events: &[Stored]) -> usize {
    let mut bytes_count = 0;
    let fitting = events.iter().take(BATCH_ROWS_MAX).take_while(|event| {
        bytes_count += event.payload.len();
        bytes_count <= BATCH_BYTES_MAX
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::stored;

    #[test]
    fn a_transaction_is_bounded_in_rows_and_bytes_and_takes_at_least_one() {
        let mut large = stored("EVENTS", 1);
        large.payload = vec![0; BATCH_BYTES_MAX + 1].into();
        let small = stored("EVENTS", 2);
        assert_eq!(batch_len(&[large.clone(), small.clone()]), 1);
        assert_eq!(batch_len(&[small.clone(), large]), 1);
        assert_eq!(batch_len(&vec![small; 300]), BATCH_ROWS_MAX);
    }
}

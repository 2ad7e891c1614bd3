//! The role's life: new facts, deadlines that come and numbers that move set the tracker to work.
//!
//! Nothing is remembered here. A fact is acknowledged once all it gives to tell stands on the log;
//! a deadline is handed out again until something newer stands in its place.

use std::sync::Arc;
use std::time::Duration;

use casement_event::convert;
use casement_event::subject::{self, Family, stream};
use casement_event::{Record, Stored, header, id, v1};
use casement_event_log::customers::Tokens;
use casement_event_log::dead::{Letter, Tried};
use casement_event_log::deadline::{Due, Handle, Index, Now, Options, Progress};
use casement_event_log::directory::Directory;
use casement_event_log::{Delivery, Expect, Failure, Log, WorkSpec};
use casement_proto::window::v1::window_service_server::WindowServiceServer;
use casement_shell::SharedClock;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use casement_shell::health::{Latch, Readiness};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::present::Key;
use crate::tracker::Tracker;
use crate::turns::Turns;
use crate::{Config, Windows, metrics, migration};

/// The role's name: of its durable consumer, its latch and its dead letters.
const ROLE: &str = "window-tracker";

/// What its dead letters name as their source.
const SOURCE: &str = "casement/window-tracker";

/// How long a fact may be in hand without a sign of life before another replica gets it.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// How old a fact may be to be taken for the newest of its conversation at first.
const FRESH_MAX: SignedDuration = SignedDuration::from_secs(1);

/// How long after it was handed out a deadline comes again if nothing moved it: its window event
/// could not be stored.
const DEADLINE_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// How long a window that this version cannot read is left alone.
const UNREADABLE_RETRY_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// How often the clock is asked whether it can be trusted.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The role, started: it answers, and tracks once it runs.
#[derive(Debug)]
pub struct Role {
    tracker: Tracker,
    turns: Turns,
    config: Config,
    tokens: Tokens,
    latch: Latch,
    /// Ends the streams of the service.
    closing: CancellationToken,
}

/// Takes what the role needs. `tokens` must be those that the ingress links customers with.
///
/// The latch `window-tracker` of `readiness` is held until every deadline on the log is known,
/// and while the clock cannot be trusted.
///
/// # Errors
/// A configuration that cannot work is a [`casement_shell::config::ConfigError`].
pub fn start(
    config: Config,
    log: Log,
    directory: Directory,
    tokens: Tokens,
    clock: SharedClock,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    config.validate()?;
    metrics::start();
    Ok(Role {
        tracker: Tracker {
            log,
            directory,
            clock,
            policies: config.policies(),
        },
        turns: Turns::default(),
        config,
        tokens,
        latch: readiness.latch(ROLE),
        closing: CancellationToken::new(),
    })
}

impl Role {
    /// The gRPC service, good to serve at once. Whoever serves it puts the tokens in front.
    pub fn service(&self) -> WindowServiceServer<Windows> {
        WindowServiceServer::new(Windows::new(
            self.tracker.clone(),
            self.tokens.clone(),
            self.closing.clone(),
        ))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Tells about windows until the stop, then finishes what is in hand.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        // Ends the index also when this future is dropped.
        let stopping = stopping.child_token();
        let _stop_on_drop = stopping.clone().drop_guard();
        // Before all else: a server that drains waits for its streams.
        let _close_on_drop = self.closing.clone().drop_guard();
        let close = async {
            stopping.cancelled().await;
            self.closing.cancel();
        };

        let options = Options {
            stream: stream::EVENTS,
            filter: Family::Window.filter(),
            stagger: self.config.stagger,
            retry_after: DEADLINE_RETRY_AFTER,
        };
        let clock = Arc::new(ShellClock(Arc::clone(&self.tracker.clock)));
        let index = Index::start_unseen(&self.tracker.log, options, clock, stopping.clone());
        let progress = index.handle().progress();
        tokio::join!(
            close,
            self.take_facts(index.handle(), stopping.clone()),
            self.take_migrations(index.handle(), stopping.clone()),
            self.take_deadlines(index, stopping.clone()),
            crate::erase::run(&self.tracker, &self.turns, stopping.clone()),
            self.tracker.log.heed_tombstones(stopping.clone()),
            self.take_wishes(stopping.clone()),
            self.keep_ready(progress, stopping.clone()),
        );
        Ok(())
    }

    async fn take_facts(&self, index: Handle, stopping: CancellationToken) {
        // Facts tell of ends, too, and until the broker was heard nobody contradicts our clock.
        index.heard().await;
        let work = WorkSpec {
            name: ROLE,
            stream: stream::EVENTS,
            filters: vec![Family::Inbound.filter(), Family::Evidence.filter()],
            in_hand_max: self.config.in_hand_max,
            ack_wait: ACK_WAIT,
        };
        let log = &self.tracker.log;
        log.work(work, stopping, |delivery| self.take_fact(delivery))
            .await;
    }

    async fn take_migrations(&self, index: Handle, stopping: CancellationToken) {
        // As for facts.
        index.heard().await;
        tokio::select! {
            () = stopping.cancelled() => {}
            () = migration::follow(&self.tracker, self.config.in_hand_max) => {}
        }
    }

    async fn take_fact(&self, delivery: Delivery) -> Result<(), Failure> {
        let stored = &delivery.stored;
        let Some(key) = Key::parse(&stored.subject) else {
            return self.bury(stored, "subject names no conversation").await;
        };
        let traceparent = stored.header(header::TRACEPARENT);
        let turn = self.turns.take(&key).await;
        let advanced = if !turn.has_waited() && self.is_fresh(&delivery) {
            let seen = stored.clone();
            self.tracker.advance_as_of(&key, seen, traceparent).await
        } else {
            let tracker = &self.tracker;
            tracker
                .advance_since(&key, stored.sequence, traceparent)
                .await
        };
        tracing::debug!(
            sequence = stored.sequence,
            delivered = delivery.delivered,
            has_told = ?advanced,
            "fact looked at"
        );
        match advanced {
            // The deadline stands on the log with the event; if none was needed, whoever takes the
            // earlier deadline finds out.
            Ok(_) => Ok(()),
            Err(error) if error.is_hopeless() => {
                let reason = format!("{:#}", anyhow::Error::new(error));
                self.bury(stored, &reason).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a fact is likely to be the newest of its conversation: those that waited have been
    /// followed by others.
    fn is_fresh(&self, delivery: &Delivery) -> bool {
        let age = self
            .tracker
            .clock
            .now()
            .duration_since(delivery.stored.stored_at);
        delivery.delivered == 1 && age.abs() < FRESH_MAX
    }

    /// Tries dead letters again as somebody asks for it.
    async fn take_wishes(&self, stopping: CancellationToken) {
        let now = || self.tracker.clock.now();
        let log = &self.tracker.log;
        log.grant_wishes((ROLE, SOURCE), now, stopping, |letter| self.retry(letter))
            .await;
    }

    async fn retry(&self, letter: Letter) -> Result<Tried, Failure> {
        let in_vain = |why: &str| Ok(Tried::InVain(why.to_owned()));
        let Some(stored) = self.tracker.log.buried(&letter).await? else {
            return in_vain("the fact has left the log");
        };
        let Some(key) = Key::parse(&stored.subject) else {
            return in_vain("subject names no conversation");
        };
        let _turn = self.turns.take(&key).await;
        let traceparent = stored.header(header::TRACEPARENT);
        match self.tracker.advance(&key, traceparent).await {
            Ok(_) => Ok(Tried::Helped),
            Err(error) if error.is_hopeless() => {
                Ok(Tried::InVain(format!("{:#}", anyhow::Error::new(error))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a fact down that can never be told about.
    async fn bury(&self, stored: &Stored, reason: &str) -> Result<(), Failure> {
        let now = self.tracker.clock.now();
        let letter = v1::DeadLetter {
            role: ROLE.to_owned(),
            reason: reason.to_owned(),
            time: Some(convert::timestamp(now)),
            stream: stored.stream.clone(),
            sequence: stored.sequence,
            item: stored.payload.to_vec(),
            ..v1::DeadLetter::default()
        };
        let id = id::dead(ROLE, &stored.stream, stored.sequence, "");
        let record = Record::new(subject::dead(ROLE), id, SOURCE, now, letter);
        self.tracker.log.append(record, Expect::Anything).await?;
        tracing::error!(
            sequence = stored.sequence,
            reason,
            "fact put among the dead letters"
        );
        Ok(())
    }

    async fn take_deadlines(&self, mut index: Index, stopping: CancellationToken) {
        let handle = index.handle();
        let mut in_hand = JoinSet::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(ended) = in_hand.join_next(), if !in_hand.is_empty() => told(ended),
                due = index.due(), if in_hand.len() < self.config.in_hand_max => {
                    let Some(due) = due else { break };
                    in_hand.spawn(take_deadline(
                        self.tracker.clone(),
                        self.turns.clone(),
                        handle.clone(),
                        due,
                    ));
                }
            }
        }
        while let Some(ended) = in_hand.join_next().await {
            told(ended);
        }
    }

    async fn keep_ready(
        &self,
        mut progress: watch::Receiver<Progress>,
        stopping: CancellationToken,
    ) {
        loop {
            let Progress {
                is_caught_up, len, ..
            } = *progress.borrow_and_update();
            metrics::open(len);
            match self.tracker.clock.agreement(None) {
                _ if !is_caught_up => self.latch.hold("deadlines are being read from the log"),
                Err(disagreement) => self.latch.hold(disagreement.to_string()),
                Ok(()) => self.latch.release(),
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(CLOCK_CHECK_INTERVAL) => {}
                Ok(()) = progress.changed(), if !is_caught_up => {}
            }
        }
    }
}

/// Tells what a deadline that came gives to tell.
async fn take_deadline(tracker: Tracker, turns: Turns, handle: Handle, due: Due) {
    let Some(key) = Key::parse(&due.subject) else {
        return;
    };
    let Due {
        subject,
        deadline,
        sequence,
        stored,
    } = due;
    let turn = turns.take(&key).await;
    let advanced = if turn.has_waited() {
        tracker.advance_since(&key, sequence, None).await
    } else {
        tracker.advance_as_of(&key, stored, None).await
    };
    match advanced {
        // The index takes it only if nothing newer has come, such as what was just told.
        Ok(Some(next)) => handle.put_back(&subject, sequence, next).await,
        Ok(None) => {}
        Err(error) => {
            if error.is_hopeless() {
                let later = tracker.clock.now().saturating_add(UNREADABLE_RETRY_AFTER);
                let later = later.unwrap_or(Timestamp::MAX);
                handle.put_back(&subject, sequence, later).await;
            }
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(sequence, error, "deadline will be taken again");
            return;
        }
    }
    metrics::seen_to(deadline, tracker.clock.now());
}

fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "a deadline's taker broke; the deadline comes again");
    }
}

/// The shell's clock, as the deadline index asks it.
struct ShellClock(SharedClock);

impl Now for ShellClock {
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

//! Who fetches when: a queue of facts for the first try, the deadlines on the log for all others.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{BusinessNumber, PortfolioId};
use casement_event::convert::timestamp;
use casement_event::subject::{self, Family, stream};
use casement_event::v1::MediaProblem;
use casement_event::{Event, Extension, Record, id, v1};
use casement_event_log::deadline::{Handle, Index, Now, Options};
use casement_event_log::directory::Directory;
use casement_event_log::erasure::tombstone;
use casement_event_log::{AppendError, Delivery, Expect, Failure, Log, ReadError, WorkSpec};
use casement_shell::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::MediaConfig;
use super::fetch::{Fetcher, chain};
use super::policy::{Failed, Next, next};
use super::store::{Objects, StoreError};
use super::wanted::{self, Wanted};
use crate::SOURCE;

/// How long a replica may be silent about a fact before another gets it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How many facts are in hand for each file that may be fetched at once: most bring none.
const FACTS_PER_FETCH: usize = 8;

/// How long after a deadline was handed out it is handed out again if nothing moved it: longer
/// than any try takes.
const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// How long a try is put off that the log did not let come to its end.
const LOG_PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// A file could not be brought to its next state now.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error("log could not be read")]
    Read(#[from] ReadError),
    #[error("event could not be appended")]
    Append(#[from] AppendError),
    #[error("file of a customer who was erased could not be removed")]
    Remove(#[from] StoreError),
    #[error("the process stops")]
    Stopping,
}

/// Fetches files and tells what became of them.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) clock: SharedClock,
    pub(crate) objects: Arc<Objects>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) config: MediaConfig,
}

/// Works until the stop; what is under way then is left to whoever comes next.
pub(crate) async fn run(worker: Worker, stopping: CancellationToken) -> anyhow::Result<()> {
    let worker = Arc::new(worker);
    let facts = tokio::spawn(first_tries(Arc::clone(&worker), stopping.clone()));
    let retries = tokio::spawn(further_tries(worker, stopping.clone()));
    let (facts, retries) = tokio::join!(facts, retries);
    facts?;
    retries?;
    anyhow::ensure!(stopping.is_cancelled(), "fetching media ended by itself");
    Ok(())
}

async fn first_tries(worker: Arc<Worker>, stopping: CancellationToken) {
    let fetches = worker.config.fetches_at_once;
    let spec = WorkSpec {
        name: "ingress-media",
        stream: stream::EVENTS,
        filters: vec![Family::Inbound.filter()],
        in_hand_max: fetches.saturating_mul(FACTS_PER_FETCH),
        ack_wait: ACK_WAIT,
    };
    let turns = Arc::new(Semaphore::new(fetches));
    let log = worker.log.clone();
    let stop = stopping.clone();
    log.work(spec, stopping, move |delivery| {
        let (worker, turns, stop) = (Arc::clone(&worker), Arc::clone(&turns), stop.clone());
        async move {
            let Some(wanted) = of_delivery(&delivery) else {
                return Ok(());
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failure::from(Setback::Stopping)),
                done = worker.first_try(&wanted, &turns) => Ok(done?),
            }
        }
    })
    .await;
}

/// What cannot be read here is another role's to complain about: it reads all facts.
fn of_delivery(delivery: &Delivery) -> Option<Wanted> {
    let event = delivery.stored.event().ok()?;
    wanted::of_fact(&delivery.stored, &event)
}

async fn further_tries(worker: Arc<Worker>, stopping: CancellationToken) {
    let options = Options {
        stream: stream::EVENTS,
        filter: Family::Media.filter(),
        stagger: worker.config.stagger,
        retry_after: RETRY_AFTER,
    };
    let clock = Arc::new(IndexClock(worker.clock.clone()));
    let mut index = Index::start_unseen(&worker.log, options, clock, stopping.clone());
    let handle = index.handle();
    let mut in_hand = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = in_hand.join_next(), if !in_hand.is_empty() => ended_well(ended),
            due = index.due(), if in_hand.len() < worker.config.fetches_at_once => {
                let Some(due) = due else { break };
                let (worker, handle) = (Arc::clone(&worker), handle.clone());
                in_hand.spawn(async move { worker.retry(&handle, &due.subject, due.sequence).await });
            }
        }
    }
    // A try that is cut off is made again.
    in_hand.abort_all();
    while in_hand.join_next().await.is_some() {}
}

fn ended_well(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a try for a file broke; it is made again");
    }
}

impl Worker {
    /// Whether the customer whose file it is was erased.
    async fn is_erased(&self, wanted: &Wanted) -> Result<bool, Setback> {
        let conversation = &wanted.conversation;
        let portfolio = PortfolioId::parse(&conversation.portfolio_id);
        let (Ok(portfolio), customer) = (portfolio, &conversation.customer_id) else {
            return Ok(false);
        };
        Ok(tombstone(&self.log, &portfolio, customer).await?.is_some())
    }

    async fn first_try(&self, wanted: &Wanted, turns: &Semaphore) -> Result<(), Setback> {
        let known = self
            .log
            .last(stream::EVENTS, &subject::media(&wanted.id))
            .await?;
        if known.is_some() {
            return Ok(());
        }
        let _turn = turns.acquire().await;
        self.advance(wanted, 0).await
    }

    /// Tries a file again whose time has come.
    async fn retry(&self, handle: &Handle, subject: &str, sequence: u64) {
        let outcome = async {
            let Some(stored) = self.log.last(stream::EVENTS, subject).await? else {
                return Ok(());
            };
            let Ok(Event::MediaDeferred(deferred)) = stored.event() else {
                return Ok(());
            };
            match wanted::of_deferred(&stored, deferred) {
                Some(wanted) => self.advance(&wanted, stored.sequence).await,
                None => Ok(()),
            }
        };
        if let Err(error) = outcome.await {
            let error: Setback = error;
            tracing::warn!(error = %chain(&error), "a file will be tried again");
            let later = self.clock.now().saturating_add(LOG_PAUSE);
            let later = later.unwrap_or(Timestamp::MAX);
            handle.put_back(subject, sequence, later).await;
        }
    }

    /// Makes one try, and tells what came of it if nobody else has since `newest`.
    async fn advance(&self, wanted: &Wanted, newest: u64) -> Result<(), Setback> {
        if self.is_erased(wanted).await? {
            return Ok(());
        }
        let (event, deadline, label) = self.outcome(wanted).await;
        // While it was fetched: whoever erases may have looked for it before.
        if self.is_erased(wanted).await? {
            self.objects.remove(&wanted.id).await?;
            return Ok(());
        }
        let outcome = match label {
            "deferred" => format!("deferred-{}", wanted.tries + 1),
            ended => ended.to_owned(),
        };
        let conversation = &wanted.conversation;
        let subject = subject::media(&wanted.id);
        let id = id::media_event(&wanted.id, &outcome);
        let record = Record::new(subject.clone(), id, SOURCE, self.clock.now(), event)
            .caused_by(wanted.traceparent.clone())
            .about(wanted.id.as_str())
            .with(Extension::Number, conversation.number.as_str())
            .with(Extension::Brand, conversation.brand_id.as_str())
            .with(Extension::Customer, conversation.customer_id.as_str())
            .with(Extension::State, label.to_uppercase())
            .with_deadline(deadline);
        match self.log.append(record, Expect::last(subject, newest)).await {
            Ok(_) => {
                metrics::counter!("casement_ingress_media_total", "outcome" => label).increment(1);
                Ok(())
            }
            // Another replica, or a try before a crash.
            Err(AppendError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn outcome(&self, wanted: &Wanted) -> (Event, Option<Timestamp>, &'static str) {
        match self.stored(wanted).await {
            Ok(stored) => (stored.into(), None, "stored"),
            Err(failed) => self.given_up_or_put_off(wanted, failed),
        }
    }

    /// Gets the file into the store, unless a try before a crash has done so.
    async fn stored(&self, wanted: &Wanted) -> Result<v1::MediaStored, Failed> {
        if !self.config.enabled {
            return Err(Failed {
                problem: MediaProblem::Disabled,
                detail: "ingress.media.enabled is false".to_owned(),
                wait: None,
            });
        }
        let trouble = |error: super::store::StoreError| {
            tracing::warn!(error = %chain(&error), "object store cannot be used");
            Failed {
                problem: MediaProblem::GaveUp,
                detail: error.to_string(),
                wait: None,
            }
        };
        if let Some(stored) = self.objects.noted(&wanted.id).await.map_err(trouble)? {
            return Ok(stored);
        }
        let account = BusinessNumber::parse(&wanted.conversation.number)
            .ok()
            .and_then(|number| self.directory.number(&number))
            .ok_or_else(|| Failed {
                problem: MediaProblem::Forbidden,
                detail: "no account knows the number any more".to_owned(),
                wait: None,
            })?;
        let fetched = self.fetcher.fetch(wanted, &account).await?;
        let stored = v1::MediaStored {
            conversation: Some(wanted.conversation.clone()),
            times: Some(wanted.times),
            origin: wanted.origin.clone(),
            media: Some(wanted.media.clone()),
            size_bytes: fetched.size_bytes,
            sha256: fetched.sha256.hex(),
            hash_expected: fetched.hash_expected,
            object_key: fetched.key,
            attempts: wanted.tries + 1,
            store_time: Some(timestamp(self.clock.now())),
        };
        self.objects
            .note(&wanted.id, &stored)
            .await
            .map_err(trouble)?;
        metrics::counter!("casement_ingress_media_bytes_total").increment(fetched.size_bytes);
        Ok(stored)
    }

    fn given_up_or_put_off(
        &self,
        wanted: &Wanted,
        failed: Failed,
    ) -> (Event, Option<Timestamp>, &'static str) {
        let (now, tries) = (self.clock.now(), wanted.tries + 1);
        let schedule = &self.config.retry_schedule;
        let keep_trying = self.config.keep_trying;
        let (conversation, times) = (Some(wanted.conversation.clone()), Some(wanted.times));
        let (origin, media) = (wanted.origin.clone(), Some(wanted.media.clone()));
        match next(&failed, tries, wanted.received, now, schedule, keep_trying) {
            Next::Retry(at) => {
                let deferred = v1::MediaDeferred {
                    conversation,
                    times,
                    origin,
                    media,
                    problem: failed.problem.into(),
                    detail: failed.detail,
                    attempts: tries,
                    retry_time: Some(timestamp(at)),
                    expected_sha256: wanted.sha256.map(|of| of.hex()).unwrap_or_default(),
                };
                (deferred.into(), Some(at), "deferred")
            }
            Next::End(problem) => {
                let unavailable = v1::MediaUnavailable {
                    conversation,
                    times,
                    origin,
                    media,
                    problem: problem.into(),
                    detail: failed.detail,
                    attempts: tries,
                    end_time: Some(timestamp(now)),
                };
                (unavailable.into(), None, "unavailable")
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

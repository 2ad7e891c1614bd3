//! Erasing a customer: a saga that stands on the log step by step, so that whoever comes after a
//! crash goes on where it was left.
//!
//! Tombstones come first, and the other roles heed them: nothing of the customer is taken up again.
//! Then each role ends what it has running, told by the erasure's own event; then the customer's
//! subjects leave the log, behind the archive; then the archive's keys are destroyed, and what
//! indexes hold is removed. What is left are posts as received and dead letters, which nobody can
//! tell apart, until they leave by their age.
//!
//! Every step may be done twice. Events of an erasure hold ids and numbers of the business, and
//! nothing that is the customer's.

mod log;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use casement_domain::erasure::Ages;
use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::subject::{self, stream};
use casement_event::v1::{self, ErasureState};
use casement_event::{Event, Record, Stored, convert, id};
use casement_event_log::erasure::EntombError;
use casement_event_log::{AppendError, Expect, Followed, Log, ReadError, Start};
use casement_shell::SharedClock;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::customer_export::{ExportError, Walk};
use crate::metrics;
use crate::progress::Progress;
use crate::store::{self, SharedStore};

pub(crate) use steps::Held;

/// Who writes it.
pub(crate) const SOURCE: &str = "casement/audit-projector";

/// How often an erasure is looked at that waits for other roles or for the archive.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is looked at whether the last copies have left, at most.
const AGE_INTERVAL_MAX: Duration = Duration::from_mins(10);

/// A step could not be taken now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EraseError {
    #[error("log cannot be read")]
    Read(#[from] ReadError),
    #[error("progress could not be written down")]
    Append(#[from] AppendError),
    #[error(transparent)]
    Entomb(#[from] EntombError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Walk(#[from] ExportError),
    /// What stands on the log is not an erasure of ours.
    #[error("erasure cannot be read: {0}")]
    Unreadable(String),
}

/// Carries erasures out.
#[derive(Debug, Clone)]
pub(crate) struct Eraser {
    pub(crate) log: Log,
    pub(crate) store: SharedStore,
    pub(crate) progress: Progress,
    pub(crate) clock: SharedClock,
    /// How long what nobody can tell apart is kept.
    pub(crate) ages: Ages,
    /// How often it is looked at whether that has left.
    pub(crate) age_interval: Duration,
}

/// An erasure as it stands on the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) erasure: v1::Erasure,
    pub(crate) sequence: u64,
}

impl Kept {
    pub(crate) fn read(stored: &Stored) -> Result<Self, EraseError> {
        let unreadable = |problem: String| EraseError::Unreadable(problem);
        match stored.event() {
            Ok(Event::ErasureAdvanced(event)) => Ok(Self {
                erasure: event.erasure.unwrap_or_default(),
                sequence: stored.sequence,
            }),
            Ok(other) => Err(unreadable(other.event_type().to_owned())),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}

/// Reads an erasure.
pub(crate) async fn read(
    log: &Log,
    portfolio: &PortfolioId,
    erasure_id: &str,
) -> Result<Option<Kept>, EraseError> {
    let subject = subject::erasure(portfolio, erasure_id);
    let stored = log.last(stream::CUSTOMERS, &subject).await?;
    stored.as_ref().map(Kept::read).transpose()
}

/// Reads all erasures.
pub(crate) async fn list(log: &Log) -> Result<Vec<Kept>, EraseError> {
    let filters = vec![subject::ALL_ERASURES.to_owned()];
    let mut follower = log.follow(stream::CUSTOMERS, filters, Start::LastPerSubject);
    let mut found = Vec::new();
    loop {
        match follower.next().await {
            Followed::Event(stored) => found.push(Kept::read(&stored)?),
            Followed::CaughtUp { .. } => return Ok(found),
        }
    }
}

/// Writes a state of an erasure down, on top of the one that stands at `before`.
pub(crate) async fn append(
    log: &Log,
    erasure: &v1::Erasure,
    before: u64,
    now: Timestamp,
) -> Result<u64, EraseError> {
    let portfolio = portfolio(erasure)?;
    let subject = subject::erasure(&portfolio, &erasure.erasure_id);
    let mut erasure = erasure.clone();
    erasure.update_time = Some(convert::timestamp(now));
    let about = erasure.erasure_id.clone();
    let event = v1::ErasureAdvanced {
        erasure: Some(erasure),
    };
    let id = id::erasure_step(&about, before);
    let record = Record::new(subject.clone(), id, SOURCE, now, event).about(about.as_str());
    let position = log.append(record, Expect::last(subject, before)).await?;
    Ok(position.sequence)
}

fn portfolio(erasure: &v1::Erasure) -> Result<PortfolioId, EraseError> {
    PortfolioId::parse(&erasure.portfolio_id)
        .map_err(|error| EraseError::Unreadable(error.to_string()))
}

fn customers(erasure: &v1::Erasure) -> Result<Vec<CustomerId>, EraseError> {
    let parse = |id: &String| {
        CustomerId::parse(id).map_err(|error| EraseError::Unreadable(error.to_string()))
    };
    erasure.customer_ids.iter().map(parse).collect()
}

fn erased_at(erasure: &v1::Erasure) -> Result<Timestamp, EraseError> {
    convert::required_instant("erase_time", erasure.erase_time.as_ref())
        .map_err(|error| EraseError::Unreadable(error.to_string()))
}

/// Whether nothing is waited for any more but ages.
pub(crate) fn is_done_but_raw(state: ErasureState) -> bool {
    matches!(state, ErasureState::DoneButRaw | ErasureState::Done)
}

impl Eraser {
    pub(crate) fn walk(&self) -> Walk {
        Walk {
            store: SharedStore::clone(&self.store),
            log: self.log.clone(),
            now: self.clock.now(),
        }
    }

    /// Carries erasures out until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let filters = vec![subject::ALL_ERASURES.to_owned()];
        let mut follower = self
            .log
            .follow(stream::CUSTOMERS, filters, Start::LastPerSubject);
        let mut open: BTreeMap<String, Kept> = BTreeMap::new();
        let mut looked_at_ages: Option<Instant> = None;
        loop {
            let is_running = open
                .values()
                .any(|kept| !is_done_but_raw(kept.erasure.state()));
            let age_interval = self.age_interval.min(AGE_INTERVAL_MAX);
            let pause = if is_running {
                LOOK_INTERVAL
            } else {
                age_interval
            };
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                followed = follower.next() => {
                    if let Followed::Event(stored) = followed {
                        take(&mut open, &stored);
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            let is_time = looked_at_ages.is_none_or(|at| at.elapsed() >= age_interval);
            if is_time {
                looked_at_ages = Some(Instant::now());
            }
            let states: Vec<_> = open.values().map(|kept| kept.erasure.state()).collect();
            metrics::erasures(&states);
            let due = open
                .values_mut()
                .filter(|kept| is_time || kept.erasure.state() != ErasureState::DoneButRaw);
            for kept in due {
                let going_on = stopping
                    .run_until_cancelled(Box::pin(self.go_on(kept)))
                    .await;
                if let Some(Err(error)) = going_on {
                    tracing::warn!(
                        erasure = kept.erasure.erasure_id,
                        error = format!("{:#}", anyhow::Error::new(error)),
                        "erasure goes on later"
                    );
                }
            }
            open.retain(|_, kept| kept.erasure.state() != ErasureState::Done);
        }
    }

    /// Takes steps until something has to be waited for.
    pub(crate) async fn go_on(&self, kept: &mut Kept) -> Result<(), EraseError> {
        while let Some(next) = self.step(&kept.erasure).await? {
            match append(&self.log, &next, kept.sequence, self.clock.now()).await {
                Ok(sequence) => {
                    tracing::info!(
                        erasure = next.erasure_id,
                        state = next.state().as_str_name(),
                        "erasure went on"
                    );
                    *kept = Kept {
                        erasure: next,
                        sequence,
                    };
                }
                // Another process went on with it: the follower tells how far.
                Err(EraseError::Append(AppendError::Conflict { .. })) => {
                    let portfolio = portfolio(&kept.erasure)?;
                    let found = read(&self.log, &portfolio, &kept.erasure.erasure_id).await?;
                    match found {
                        Some(found) if found.sequence != kept.sequence => *kept = found,
                        _ => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes note of an erasure that somebody began or went on with.
fn take(open: &mut BTreeMap<String, Kept>, stored: &Stored) {
    match Kept::read(stored) {
        Ok(kept) => {
            let known = open.get(&kept.erasure.erasure_id);
            if known.is_none_or(|known| known.sequence < kept.sequence) {
                open.insert(kept.erasure.erasure_id.clone(), kept);
            }
        }
        Err(error) => {
            tracing::error!(sequence = stored.sequence, %error, "an erasure is not carried out here");
        }
    }
}

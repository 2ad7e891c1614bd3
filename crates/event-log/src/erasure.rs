//! Tombstones: who was erased, so that nothing brings them back.
//!
//! Each of a customer's identifiers has one, by its keyed hash, and each id that the customer went
//! by. They stand on the stream of the links, so whoever follows or mirrors that one hears them in
//! their order: a link that leads to a customer with a tombstone leads nowhere, and a fact that
//! happened not after the tombstone of one of its identifiers is not taken up, from wherever it
//! comes. They are never purged.
//!
//! How a customer is erased stands in the audit-projector.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Stored, convert, id, v1};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::connect::Log;
use crate::{AppendError, Expect, Followed, ReadError, Start};

/// How often a tombstone is written again because another writer was faster.
const ROUNDS_MAX: usize = 16;

/// A tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The portfolio that it holds for.
    pub portfolio: PortfolioId,
    /// Keyed hash of an identifier, or a customer's id.
    pub token: String,
    /// The erasure that it is of.
    pub erasure_id: String,
    /// What happened not after this is not taken up again.
    pub at: Timestamp,
}

/// A tombstone could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EntombError {
    /// The log could not be read.
    #[error("tombstone could not be read")]
    Read(#[from] ReadError),
    /// It could not be appended.
    #[error("tombstone could not be written")]
    Append(#[from] AppendError),
    /// Other writers were faster every time.
    #[error("tombstone kept changing")]
    Contended,
}

/// Reads the tombstone of an identifier's token or of a customer's id.
pub async fn tombstone(
    log: &Log,
    portfolio: &PortfolioId,
    token: &str,
) -> Result<Option<Tombstone>, ReadError> {
    Ok(read(log, portfolio, token).await?.map(|(_, found)| found))
}

/// Reads the tombstone of a customer's id.
///
/// On the heap: many callers stand above, and few of them find one.
pub fn of_customer<'a>(
    log: &'a Log,
    portfolio: &'a PortfolioId,
    customer: &'a CustomerId,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Tombstone>, ReadError>> + Send + 'a>> {
    Box::pin(tombstone(log, portfolio, customer.as_str()))
}

/// As [`tombstone`], but what the process has heard is good enough, if it heeds tombstones
/// ([`Log::heed_tombstones`]): then who was not erased costs no read. Good for whoever takes facts
/// up; whoever is about to write to a customer asks the leader.
pub async fn heard(
    log: &Log,
    portfolio: &PortfolioId,
    token: &str,
) -> Result<Option<Tombstone>, ReadError> {
    let subject = subject::erased(portfolio, token);
    let may_stand = log.inner.graves.may_have(&subject);
    if may_stand {
        tombstone(log, portfolio, token).await
    } else {
        Ok(None)
    }
}

/// Which subjects have a tombstone, by a hash of each, 8 bytes: whoever is not among them was not
/// erased.
#[derive(Debug, Default)]
pub(crate) struct Graves(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    subjects: HashSet<u64>,
    /// Whether all that stood there was heard. Until then, and once nobody listens, the log is asked.
    is_complete: bool,
}

impl Graves {
    fn may_have(&self, subject: &str) -> bool {
        let heard = self.lock();
        !heard.is_complete || heard.subjects.contains(&hash(subject))
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

impl Log {
    /// Listens for tombstones until stopped, so that who was not erased need not be asked for.
    pub async fn heed_tombstones(&self, stopping: CancellationToken) {
        let filters = vec![subject::ALL_ERASED.to_owned()];
        let mut follower = self.follow(stream::CUSTOMERS, filters, Start::LastPerSubject);
        while let Some(followed) = stopping.run_until_cancelled(follower.next()).await {
            let mut heard = self.inner.graves.lock();
            match followed {
                Followed::Event(stored) => {
                    heard.subjects.insert(hash(&stored.subject));
                }
                Followed::CaughtUp { .. } => heard.is_complete = true,
            }
        }
        self.inner.graves.lock().is_complete = false;
    }
}

/// Writes a tombstone, unless one stands there that is not older. Returns the sequence of the one
/// that stands there then. Safe to repeat.
pub async fn entomb(
    log: &Log,
    source: &'static str,
    tombstone: &Tombstone,
    now: Timestamp,
) -> Result<u64, EntombError> {
    let Tombstone {
        portfolio,
        token,
        erasure_id,
        at,
    } = tombstone;
    let subject = subject::erased(portfolio, token);
    for _ in 0..ROUNDS_MAX {
        let known = read(log, portfolio, token).await?;
        let expected = match known {
            Some((sequence, known)) if known.at >= *at => return Ok(sequence),
            Some((sequence, _)) => sequence,
            None => 0,
        };
        let event = v1::CustomerErased {
            portfolio_id: portfolio.as_str().to_owned(),
            erasure_id: erasure_id.clone(),
            erase_time: Some(convert::timestamp(*at)),
        };
        let id = id::erased(&subject, erasure_id);
        let record = Record::new(subject.clone(), id, source, now, event).about(token.as_str());
        match log
            .append(record, Expect::last(subject.clone(), expected))
            .await
        {
            Ok(position) => return Ok(position.sequence),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(EntombError::Contended)
}

/// Lists all tombstones that stand on the log, in the order they were written.
pub async fn list(log: &Log) -> Result<Vec<Tombstone>, ReadError> {
    let mut found = Vec::new();
    let state = log.state(stream::CUSTOMERS).await?;
    if state.messages == 0 {
        return Ok(found);
    }
    let filters = vec![subject::ALL_ERASED.to_owned()];
    let mut follower = log.follow(stream::CUSTOMERS, filters, Start::LastPerSubject);
    loop {
        match follower.next().await {
            Followed::Event(stored) => found.extend(of_stored(&stored)?),
            Followed::CaughtUp { .. } => return Ok(found),
        }
    }
}

/// Writes tombstones that were saved elsewhere, such as beside a backup, onto a log that was put
/// back to before they were written. To be done before any role runs: then nothing that was erased
/// comes back. What stands in the restored log itself leaves it when the erasures are carried out
/// again. Safe to repeat.
pub async fn reapply(
    log: &Log,
    source: &'static str,
    tombstones: &[Tombstone],
    now: Timestamp,
) -> Result<(), EntombError> {
    for tombstone in tombstones {
        entomb(log, source, tombstone, now).await?;
    }
    Ok(())
}

/// Returns the tombstone that an event is; `None` if it is none.
///
/// # Errors
/// One that this version cannot read: nobody may take it for none.
pub fn of_stored(stored: &Stored) -> Result<Option<Tombstone>, ReadError> {
    let Some((portfolio, token)) = subject::parse_erased(&stored.subject) else {
        return Ok(None);
    };
    let unreadable = |problem: String| ReadError::Unreadable {
        what: format!("tombstone at {}", stored.sequence),
        problem,
    };
    let event = match stored.event() {
        Ok(Event::CustomerErased(event)) => event,
        Ok(other) => return Err(unreadable(format!("{} is none", other.event_type()))),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let at = convert::required_instant("erase_time", event.erase_time.as_ref());
    let at = at.map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(Tombstone {
        portfolio,
        token: token.to_owned(),
        erasure_id: event.erasure_id,
        at,
    }))
}

async fn read(
    log: &Log,
    portfolio: &PortfolioId,
    token: &str,
) -> Result<Option<(u64, Tombstone)>, ReadError> {
    let subject = subject::erased(portfolio, token);
    let Some(stored) = log.last(stream::CUSTOMERS, &subject).await? else {
        return Ok(None);
    };
    let found = of_stored(&stored)?;
    Ok(found.map(|found| (stored.sequence, found)))
}

/// Lists all erasures as they stand on the log, in the order in which they last went on.
pub async fn erasures(log: &Log) -> Result<Vec<v1::Erasure>, ReadError> {
    let filters = vec![subject::ALL_ERASURES.to_owned()];
    let mut follower = log.follow(stream::CUSTOMERS, filters, Start::LastPerSubject);
    let mut found = Vec::new();
    loop {
        match follower.next().await {
            Followed::Event(stored) => {
                if let Ok(Event::ErasureAdvanced(event)) = stored.event() {
                    found.extend(event.erasure);
                }
            }
            Followed::CaughtUp { .. } => return Ok(found),
        }
    }
}

/// Has an erasure carried out from its beginning, on a log or an archive that was put back to before
/// it. Its tombstones keep their time: what the customer did since then stays. Safe to repeat.
pub async fn carry_out_again(
    log: &Log,
    source: &'static str,
    erasure: &v1::Erasure,
    now: Timestamp,
) -> Result<(), EntombError> {
    let Ok(portfolio) = PortfolioId::parse(&erasure.portfolio_id) else {
        return Ok(());
    };
    let subject = subject::erasure(&portfolio, &erasure.erasure_id);
    for _ in 0..ROUNDS_MAX {
        let last = log.last(stream::CUSTOMERS, &subject).await?;
        let before = last.map_or(0, |last| last.sequence);
        let mut again = erasure.clone();
        again.set_state(v1::ErasureState::Entombing);
        again.update_time = Some(convert::timestamp(now));
        again.destroy_time = None;
        let event = v1::ErasureAdvanced {
            erasure: Some(again),
        };
        let id = id::erasure_step(&erasure.erasure_id, before);
        let about = erasure.erasure_id.as_str();
        let record = Record::new(subject.clone(), id, source, now, event).about(about);
        match log
            .append(record, Expect::last(subject.clone(), before))
            .await
        {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(EntombError::Contended)
}

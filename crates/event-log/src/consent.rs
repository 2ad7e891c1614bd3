//! What a customer allows, on the log: one subject a customer, whose last message says it whole.
//!
//! Several roles learn of it, so all of them append through [`record()`], which expects the record
//! that it changes. Each record says what was added, too, so that the subject is a ledger, which
//! [`ledger`] reads. What a word means is decided in the domain.

pub mod ledger;

use casement_domain::consent::{Consent, Refusals};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::subject::{self, stream};
use casement_event::{Event, Extension, Record, convert, id, v1};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::connect::Log;
use crate::customers::{self, ResolveError};
use crate::erasure;
use crate::{AppendError, Expect, ReadError};

/// How often a change is joined anew because another writer was faster.
const ROUNDS_MAX: usize = 64;

/// How often a customer proves to be another while a change is written.
const MERGES_MAX: usize = 16;

/// How many provider messages a record remembers, so that repeats of them change nothing.
const CAUSES_LEN_MAX: usize = 64;

/// What a customer allows, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What is in force.
    pub consent: Consent,
    /// Sequence of the record; 0 if there is none.
    pub sequence: u64,
    /// Whether the customer was erased: nobody may write to them, and nothing is written down.
    pub is_erased: bool,
    causes: Vec<String>,
}

impl Known {
    /// Returns what routing has to keep to.
    pub fn refusals(&self) -> Refusals {
        let sequence = (self.sequence > 0).then_some(self.sequence);
        self.consent.refusals(sequence)
    }

    /// Joins what is known of two ids that are one customer.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            consent: self.consent.join(other.consent),
            sequence: self.sequence.max(other.sequence),
            is_erased: self.is_erased || other.is_erased,
            causes: merged(self.causes, other.causes),
        }
    }
}

/// A change, and what it rests on.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The words to join.
    pub consent: Consent,
    /// [`cause`] of the provider message that says so; empty if there is none. The same one never
    /// changes anything twice, whatever time it claims: a gateway that repeats an old STOP must
    /// not take back a START.
    pub cause: String,
    /// Trace context of it.
    pub traceparent: Option<String>,
    /// Name of the token that records it; empty if nobody asked for it.
    pub caller: String,
    /// Written down even if it changes nothing that is in force: what somebody records is kept.
    /// Without a cause, each time.
    pub is_kept: bool,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What is in force then.
    pub known: Known,
    /// Whether anything was written; a repeat writes nothing.
    pub is_written: bool,
}

/// Consent could not be read or written now.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The log could not be read.
    #[error("consent could not be read")]
    Read(#[from] ReadError),
    /// The record could not be written.
    #[error("consent could not be written")]
    Append(#[from] AppendError),
    /// What stands there is from a newer version, or broken. Nobody may take it for a permission.
    #[error("consent at sequence {sequence} cannot be used: {problem}")]
    Unreadable {
        /// Its place.
        sequence: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Who carries on for the customer is not known now.
    #[error("who carries on for the customer could not be looked up")]
    Survivor(#[from] ResolveError),
    /// Other writers were faster every time.
    #[error("consent kept changing")]
    Contended,
}

/// Returns the hash by which a provider's message is remembered.
pub fn cause(provider_message_id: &str) -> String {
    hex::encode(&Sha256::digest(provider_message_id.as_bytes())[..16])
}

/// Reads what a customer allows, through the stream's leader.
pub async fn read(
    log: &Log,
    portfolio: &PortfolioId,
    customer: &CustomerId,
) -> Result<Known, ConsentError> {
    let subject = subject::consent(portfolio, customer);
    let (stored, tombstone) = futures::future::try_join(
        log.last(stream::CUSTOMERS, &subject),
        erasure::of_customer(log, portfolio, customer),
    )
    .await?;
    if tombstone.is_some() {
        return Ok(Known {
            is_erased: true,
            ..Known::default()
        });
    }
    let Some(stored) = stored else {
        return Ok(Known::default());
    };
    let sequence = stored.sequence;
    let unreadable = |problem: String| ConsentError::Unreadable { sequence, problem };
    match stored.event() {
        Ok(Event::ConsentRecorded(recorded)) => Ok(Known {
            consent: convert::consent::read_record(&recorded)
                .map_err(|error| unreadable(error.to_string()))?,
            sequence,
            is_erased: false,
            causes: recorded.causes,
        }),
        Ok(other) => Err(unreadable(format!("{} is no consent", other.event_type()))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// Joins a change to what a customer allows, and returns what is in force then. Repeats change
/// nothing and append nothing.
///
/// If the customer has proved to be another, or does so meanwhile, the change ends there, too.
pub async fn record(
    log: &Log,
    source: &'static str,
    portfolio: &PortfolioId,
    customer: &CustomerId,
    change: &Change,
    now: Timestamp,
) -> Result<Known, ConsentError> {
    let recorded = settle(log, source, portfolio, customer, change, now).await?;
    Ok(recorded.known)
}

/// As [`record()`], and says whether anything was written.
pub async fn settle(
    log: &Log,
    source: &'static str,
    portfolio: &PortfolioId,
    customer: &CustomerId,
    change: &Change,
    now: Timestamp,
) -> Result<Recorded, ConsentError> {
    let causes = Some(change.cause.clone()).filter(|cause| !cause.is_empty());
    let added = Known {
        consent: change.consent.clone(),
        sequence: 0,
        is_erased: false,
        causes: causes.into_iter().collect(),
    };
    let writing = Writing {
        log,
        source,
        portfolio,
        traceparent: change.traceparent.as_deref(),
        caller: &change.caller,
        is_kept: change.is_kept,
        carried_from: "",
        now,
    };
    let mut customer = customer.clone();
    let mut is_written = false;
    for _ in 0..MERGES_MAX {
        let recorded = writing.join(&customer, &added).await?;
        is_written |= recorded.is_written;
        // Looked up after it was written: the link is written before what stood here is carried
        // over, so either that took it along, or the link is seen now.
        match customers::survivor(log, portfolio, &customer).await? {
            None => {
                return Ok(Recorded {
                    is_written,
                    ..recorded
                });
            }
            Some(survivor) => customer = survivor,
        }
    }
    Err(ConsentError::Contended)
}

/// Takes what an ended customer id allows over to the one that carries on.
pub async fn carry_over(
    log: &Log,
    source: &'static str,
    portfolio: &PortfolioId,
    ended: &CustomerId,
    survivor: &CustomerId,
    now: Timestamp,
) -> Result<(), ConsentError> {
    let brought = read(log, portfolio, ended).await?;
    if brought.consent.is_empty() {
        return Ok(());
    }
    let writing = Writing {
        log,
        source,
        portfolio,
        traceparent: None,
        caller: "",
        is_kept: false,
        carried_from: ended.as_str(),
        now,
    };
    writing.join(survivor, &brought).await?;
    Ok(())
}

struct Writing<'a> {
    log: &'a Log,
    source: &'static str,
    portfolio: &'a PortfolioId,
    traceparent: Option<&'a str>,
    caller: &'a str,
    is_kept: bool,
    carried_from: &'a str,
    now: Timestamp,
}

impl Writing<'_> {
    async fn join(&self, customer: &CustomerId, added: &Known) -> Result<Recorded, ConsentError> {
        for _ in 0..ROUNDS_MAX {
            let known = read(self.log, self.portfolio, customer).await?;
            if known.is_erased {
                return Ok(Recorded {
                    known,
                    is_written: false,
                });
            }
            let is_repeat = !added.causes.is_empty()
                && added
                    .causes
                    .iter()
                    .all(|cause| known.causes.contains(cause));
            let joined = known.clone().join(added.clone());
            if is_repeat || joined.consent == known.consent && !self.is_kept {
                return Ok(Recorded {
                    known,
                    is_written: false,
                });
            }
            let changes = changes(&added.consent, &known.consent, self.is_kept);
            match self
                .append(customer, &joined, changes, known.sequence)
                .await
            {
                Ok(sequence) => {
                    return Ok(Recorded {
                        known: Known { sequence, ..joined },
                        is_written: true,
                    });
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ConsentError::Contended)
    }

    async fn append(
        &self,
        customer: &CustomerId,
        joined: &Known,
        changes: Vec<v1::Consent>,
        expected: u64,
    ) -> Result<u64, AppendError> {
        let subject = subject::consent(self.portfolio, customer);
        let event = v1::ConsentRecorded {
            portfolio_id: self.portfolio.as_str().to_owned(),
            customer_id: customer.as_str().to_owned(),
            consents: convert::consent::consents(&joined.consent),
            time: Some(convert::timestamp(self.now)),
            causes: joined.causes.clone(),
            also: convert::consent::others(&joined.consent),
            changes,
            caller: self.caller.to_owned(),
            carried_from_customer_id: self.carried_from.to_owned(),
        };
        // A state is never come back to, so its hash names it; when it was written does not. What
        // changes no state is named by its cause, or else by its place.
        let is_new_state = !self.is_kept;
        let state = v1::ConsentRecorded {
            consents: event.consents.clone(),
            also: event.also.clone(),
            changes: event.changes.clone(),
            causes: if is_new_state {
                Vec::new()
            } else {
                event.causes.clone()
            },
            customer_id: if is_new_state {
                String::new()
            } else {
                expected.to_string()
            },
            ..v1::ConsentRecorded::default()
        };
        let hash = hex::encode(Sha256::digest(Event::from(state).encode()));
        let id = id::consent(&subject, &hash);
        let record = Record::new(subject.clone(), id, self.source, self.now, event)
            .about(customer.as_str())
            .with(Extension::Customer, customer.as_str())
            .caused_by(self.traceparent.map(str::to_owned));
        let position = self
            .log
            .append(record, Expect::last(subject, expected))
            .await?;
        Ok(position.sequence)
    }
}

/// What a record adds: of what is kept, all; else what was not known before.
fn changes(added: &Consent, known: &Consent, is_kept: bool) -> Vec<v1::Consent> {
    let all = |of: &Consent| {
        let mut all = convert::consent::consents(of);
        all.extend(convert::consent::others(of));
        all
    };
    let known = all(known);
    let mut added = all(added);
    added.retain(|word| is_kept || !known.contains(word));
    added
}

/// The newest of both, each once, the second ones taken for newer.
fn merged(mut known: Vec<String>, added: Vec<String>) -> Vec<String> {
    known.retain(|cause| !added.contains(cause));
    known.extend(added);
    let surplus = known.len().saturating_sub(CAUSES_LEN_MAX);
    known.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_a_hash_that_never_changes() {
        assert_eq!(cause("SM1").len(), 32);
        assert_eq!(cause("SM1"), cause("SM1"));
        assert_ne!(cause("SM1"), cause("SM2"));
    }

    #[test]
    fn only_the_newest_causes_are_remembered_each_once() {
        let many: Vec<String> = (0..CAUSES_LEN_MAX).map(|one| one.to_string()).collect();
        let merged = merged(many, vec!["5".to_owned(), "new".to_owned()]);
        assert_eq!(merged.len(), CAUSES_LEN_MAX);
        assert_eq!(merged[0], "1", "the oldest went");
        assert_eq!(merged[CAUSES_LEN_MAX - 2..], ["5", "new"]);
    }
}

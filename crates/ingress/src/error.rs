//! Why an item could not be put on the log now. What can never be put there is no error but a
//! dead letter.

use casement_domain::id::InvalidId;
use casement_event_log::consent::ConsentError;
use casement_event_log::customers::ResolveError;
use casement_event_log::{AppendError, ReadError};

/// Why an item has to wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Setback {
    /// The log could not be read.
    #[error("log could not be read")]
    Read(#[from] ReadError),
    /// An event was not stored, or nobody knows whether it was.
    #[error("event could not be appended")]
    Append(#[from] AppendError),
    /// What a customer allows could not be written down.
    #[error("consent could not be recorded")]
    Consent(#[from] ConsentError),
    /// Who the customer is could not be found out.
    #[error("customer could not be resolved")]
    Resolve(#[from] ResolveError),
    /// What stands on the log is from a newer version, or broken.
    #[error("what stands at `{subject}` {sequence} cannot be read: {problem}")]
    Unreadable {
        /// The subject.
        subject: String,
        /// The sequence.
        sequence: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Other writers were faster every time.
    #[error("`{subject}` kept changing")]
    Contended {
        /// The subject.
        subject: String,
    },
    /// A number's account holds an id that is none.
    #[error("account of a number cannot be used")]
    Account(#[from] InvalidId),
    /// Work on a post ended without an answer.
    #[error("work on a post broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

impl Setback {
    /// Returns whether the log itself is away, so that going on to the next item is of no use.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Read(error)
            | Self::Resolve(ResolveError::Read(error))
            | Self::Consent(ConsentError::Read(error)) => {
                matches!(error, ReadError::Unavailable { .. })
            }
            Self::Append(error)
            | Self::Resolve(ResolveError::Append(error))
            | Self::Consent(ConsentError::Append(error)) => {
                matches!(
                    error,
                    AppendError::Unknown { .. } | AppendError::Refused { .. }
                )
            }
            Self::Resolve(_)
            | Self::Consent(_)
            | Self::Unreadable { .. }
            | Self::Contended { .. }
            | Self::Account(_)
            | Self::BrokeOff(_) => false,
        }
    }
}

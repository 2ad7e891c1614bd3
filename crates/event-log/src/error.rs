//! What can go wrong with the log, as far as a caller's next step differs.

/// An append did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Something newer stands where the caller expected nothing newer. Nothing was stored:
    /// reload and decide again.
    #[error("a newer fact stands on `{subject}`")]
    Conflict {
        /// The subject that was to be appended to.
        subject: String,
    },
    /// No definite answer within the deadline. It may have been stored, or may yet be.
    #[error("outcome of the append to `{subject}` is unknown")]
    Unknown {
        /// The subject that was to be appended to.
        subject: String,
    },
    /// The broker refused it for good, such as a full stream or a missing permission.
    /// Nothing was stored.
    #[error("broker refused the append to `{subject}`: {description} (code {code})")]
    Refused {
        /// The subject that was to be appended to.
        subject: String,
        /// The broker's error code.
        code: u64,
        /// The broker's words.
        description: String,
    },
    /// The event is larger than the broker takes. Nothing was stored.
    #[error("event for `{subject}` is larger than the broker takes")]
    TooLarge {
        /// The subject that was to be appended to.
        subject: String,
    },
}

impl AppendError {
    /// Returns whether nothing was stored, for certain.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}

/// A read did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker could not be reached, or did not answer in time.
    #[error("broker did not answer the read of `{what}`")]
    Unavailable {
        /// What was to be read.
        what: String,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is not what Casement writes.
    #[error("what stands at `{what}` cannot be read: {problem}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ReadError {
    pub(crate) fn unavailable(
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            what: what.to_owned(),
            source: source.into(),
        }
    }
}

/// An error with all that caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

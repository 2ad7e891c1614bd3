//! What can go wrong when a test, a script or a person drives the simulator.
//!
//! Faults it plays on purpose are not errors and are not here.

/// Why the simulator did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The books know no such customer.
    #[error("unknown customer")]
    UnknownCustomer,
    /// The simulator has no such business number.
    #[error("unknown phone_number_id")]
    UnknownNumber,
    /// No accepted message has that id.
    #[error("unknown message")]
    UnknownMessage,
    /// No template has that account, name and language.
    #[error("unknown template")]
    UnknownTemplate,
    /// The books know no such business.
    #[error("unknown business")]
    UnknownBusiness,
    /// The books know no such business account.
    #[error("unknown business account")]
    UnknownAccount,
    /// Meta's side cannot be told this.
    #[error("invalid: {0}")]
    InvalidPlatform(&'static str),
    /// The customer cannot be put into the books.
    #[error("invalid customer: {0}")]
    InvalidCustomer(&'static str),
    /// The file cannot be sent.
    #[error("invalid media: {0}")]
    InvalidMedia(&'static str),
    /// A named limit is reached.
    #[error("too many {what}: the limit is {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// There is no webhook address to talk to.
    #[error("no webhook url is set")]
    NoWebhook,
    /// The webhook could not be reached.
    #[error("could not reach the webhook")]
    Unreachable(#[source] reqwest::Error),
}

//! Twilio's Programmable Messaging: sending, signed callbacks, error codes.
//!
//! Twilio has no idempotency key, so a call that got no answer may have sent its message; see
//! [`Outcome::Unknown`]. Nothing is retried here.

pub mod callback;
mod client;
pub mod errors;
mod form;
pub mod signature;

pub use client::{
    Accepted, Account, AccountError, BODY_CHARS_MAX, Client, Credentials, DEFAULT_TIMEOUT, Outcome,
    Rejected, RequestError, Sender, SmsRequest,
};

/// The gateway's name, in subjects and events.
pub const NAME: &str = "twilio";

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod tests;

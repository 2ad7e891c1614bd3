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
    Accepted, BODY_CHARS_MAX, Client, Credentials, DEFAULT_TIMEOUT, Outcome, Rejected,
    RequestError, Sender, SmsRequest,
};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod tests;

//! Twilio's Programmable Messaging: sending, signed callbacks, error codes.
//!
//! Twilio has no idempotency key, so a call that got no answer may have sent its message; see
//! [`Outcome::Unknown`](crate::outcome::Outcome::Unknown). Nothing is retried here.

pub mod callback;
mod client;
pub mod errors;
mod form;
pub mod signature;

pub use client::{Account, AccountError, BODY_CHARS_MAX, Client, Credentials, Sender, SmsRequest};

/// The gateway's name, in subjects and events.
pub const NAME: &str = "twilio";

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod tests;

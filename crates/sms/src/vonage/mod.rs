//! Vonage's Messages API: sending, signed webhooks, error codes.
//!
//! Vonage has no idempotency key, so a call that got no answer may have sent its message; see
//! [`Outcome::Unknown`](crate::outcome::Outcome::Unknown). Nothing is retried here.

pub mod callback;
mod client;
pub mod errors;
mod jwt;
pub mod signature;

pub use client::{Client, Credentials, SmsRequest, TEXT_CHARS_MAX};
pub use jwt::{KeyError, check_key};

/// The gateway's name, in subjects and events.
pub const NAME: &str = "vonage";

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod tests;

//! Vonage's Messages API: signed webhooks, error codes.
//!
//! It reads what Vonage posts. Sending through Vonage is not here.

pub mod callback;
pub mod errors;
mod jwt;
pub mod signature;

/// The gateway's name, in subjects and events.
pub const NAME: &str = "vonage";

#[cfg(test)]
mod tests;

//! SMS: gateways to send through and to hear from, and how many segments a text takes.
//!
//! - [`segment()`]: encoding and segments of a text.
//! - [`config`]: the gateways by their names, and who sends to which country.
//! - [`gateways`]: these gateways, ready to be called.
//! - [`outcome`]: what a call to a gateway came to.
//! - [`twilio`]: sending, signed callbacks, error codes of Twilio's Programmable Messaging.
//! - [`vonage`]: sending, signed webhooks and error codes of Vonage's Messages API.
//! - [`generic`]: any other gateway: sending by a template, webhooks that are signed with an HMAC.
//! - [`webhook`]: what they tell, in the one form that they share.
//!
//! It deliberately knows nothing of customers, consent, routes or storage, reads no clock and no
//! environment, and retries nothing: callers decide.

pub mod config;
pub mod errors;
mod exchange;
pub mod gateways;
pub mod generic;
pub mod outcome;
pub mod segment;
#[cfg(test)]
mod socket;
pub mod twilio;
pub mod vonage;
pub mod webhook;

pub use segment::{Encoding, Segmentation, segment};

//! SMS: gateways to send through and to hear from, and how many segments a text takes.
//!
//! - [`segment()`]: encoding and segments of a text.
//! - [`twilio`]: sending, signed callbacks, error codes of Twilio's Programmable Messaging.
//! - [`vonage`]: signed webhooks and error codes of Vonage's Messages API.
//! - [`generic`]: webhooks of any other gateway that signs with an HMAC and posts JSON.
//! - [`webhook`]: what they tell, in the one form that they share.
//!
//! It deliberately knows nothing of customers, consent, routes or storage, reads no clock and no
//! environment, and retries nothing: callers decide.

pub mod errors;
pub mod generic;
pub mod segment;
pub mod twilio;
pub mod vonage;
pub mod webhook;

pub use segment::{Encoding, Segmentation, segment};

//! SMS: gateways to send through, and how many segments a text takes.
//!
//! - [`segment()`]: encoding and segments of a text.
//! - [`twilio`]: sending, signed callbacks, error codes of Twilio's Programmable Messaging.
//!
//! It deliberately knows nothing of customers, consent, routes or storage, reads no clock and no
//! environment, and retries nothing: callers decide.

pub mod segment;
pub mod twilio;

pub use segment::{Encoding, Segmentation, segment};

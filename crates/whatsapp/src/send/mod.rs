//! Sending: bodies for `/messages`, and the one call that posts them.
//!
//! A call is made exactly once; what it came to is told without guessing (see [`SendOutcome`]).
//! Retries, rates, windows and consent belong to the dispatcher.

mod body;
mod client;

pub use body::{
    BodyError, CALLBACK_DATA_CHARS_MAX, OutgoingContent, OutgoingMessage, Recipient,
    TEMPLATE_NAME_CHARS_MAX, TEXT_CHARS_MAX,
};
pub use client::{Accepted, Client, DEFAULT_TIMEOUT, GraphError, SendOutcome, Target};

#[cfg(test)]
mod tests;

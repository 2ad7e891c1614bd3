//! The platform's wire formats: what Meta posts to us, what we post to Meta, and what its
//! error codes mean.
//!
//! - [`signature`]: `X-Hub-Signature-256` over raw bytes.
//! - [`webhook`]: posts taken apart item by item, and the subscription handshake.
//! - [`send`]: bodies for `/messages` and the call that posts them.
//! - [`manage`]: tokens, numbers, accounts, subscriptions and templates, as Meta has them.
//! - [`media`]: files of customers' messages, read within limits.
//! - [`errors`]: the platform's error codes as data, with what a sender should do.
//!
//! It deliberately knows nothing of windows, customers, events or storage, reads no clock and
//! no environment, and retries nothing: callers decide.

pub mod errors;
pub mod manage;
pub mod media;
pub mod send;
pub mod signature;
pub mod webhook;

//! Claims about what users copy and read: the examples, and the document they are written by.

#![expect(
    clippy::unwrap_used,
    reason = "what is read here is claimed to be there; a claim that is not so has failed"
)]

mod asyncapi;
mod grpc_clients;
mod permissions;
mod rights;
mod subscribers;
mod subscriptions;

//! The whole system for claims about it: real roles in processes of their own, a real broker,
//! the simulator, and what a user has: gRPC clients and a plain NATS subscriber.
//!
//! Nothing here looks inside a role. What is claimed is checked from outside, and "once" is
//! checked against the simulator's books, never against our own tables.

mod clients;
mod events;
mod stack;

pub use clients::{Clients, free_form, template};
pub use events::{Events, Heard};
pub use stack::{NUMBER, Options, PHONE_NUMBER_ID, Poster, Role, Stack, WABA};

//! The whole system for claims about it: real roles in processes of their own, a real broker,
//! the simulator, and what a user has: gRPC clients and a plain NATS subscriber.
//!
//! Nothing here looks inside a role. What is claimed is checked from outside, and "once" is
//! checked against the simulator's books, never against our own tables.

mod browser;
mod clients;
mod collector;
mod events;
mod examples;
mod files;
mod shipped;
mod shipped_cluster;
mod stack;

pub use browser::{Browser, Look, Tab};
pub use clients::{API_TOKEN, Clients, free_form, template};
pub use collector::{Collector, Span, SpanKind, clear_of, names};
pub use events::{Events, Heard};
pub use examples::{
    asyncapi, node_client, node_subscriber, python_client, python_subscriber, rust_listener,
    rust_subscriber,
};
pub use files::holding;
pub use shipped::ShippedBroker;
pub use shipped_cluster::ShippedCluster;
pub use stack::{
    ACCESS_TOKEN, NUMBER, Options, PHONE_NUMBER_ID, Poster, Role, SMS_SENDER, Stack, WABA,
};

//! The role against a real broker: what is answered, what is stored, and where it lands.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod backpressure;
mod batches;
mod coexistence;
mod consent;
mod corpus;
mod door;
mod facts;
mod identity_model;
mod late;
mod marks;
mod media;
mod merging;
mod metamorphic;
mod parking;
mod payloads;
mod repair;
mod reports;
mod skew;
mod sms;
mod stage;
mod tls;
mod trust;
mod unsupported;
mod watch;

//! The role against a real broker: what is answered, what is stored, and where it lands.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod door;
mod facts;
mod merging;
mod parking;
mod reports;
mod stage;

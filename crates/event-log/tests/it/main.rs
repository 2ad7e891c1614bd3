//! What the log promises, held against a real broker.
//!
//! Each test has a server of its own. Time passes only where a deadline is what is tested;
//! everything else waits for a condition.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod appends;
mod batches;
mod clusters;
mod connecting;
mod consent;
mod conversations;
mod crashes;
mod customers;
mod deadlines;
mod directory;
mod erasure;
mod faults;
mod following;
mod inspecting;
mod leases;
mod mirrors;
mod newest;
mod proving;
mod scanning;
mod snapshots;
mod stage;
mod working;

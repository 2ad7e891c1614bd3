//! The role against a real broker: what is told, when, how often; and what is answered.

mod answers;
mod circumstances;
mod clock;
mod explaining;
mod faults;
mod migration;
mod model;
mod orders;
mod policy;
mod seen;
mod stage;
mod watching;
mod windows;

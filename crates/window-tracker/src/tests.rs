//! The role against a real broker: what is told, when, how often; and what is answered.

mod answers;
mod clock;
mod explaining;
mod faults;
mod model;
mod orders;
mod policy;
mod stage;
mod watching;
mod windows;

//! The role against a real broker: what is told, when, how often; and what is answered.

mod answers;
mod faults;
mod stage;
mod windows;

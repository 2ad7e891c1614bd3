//! Claims about the whole system, one binary.

mod archive;
mod connect;
mod consent;
mod doctor;
mod faults;
mod media;
mod metrics;
mod readme;
mod repair;
mod sends;
mod story;
mod traces;
mod trackers;
mod webhooks;
mod windows;

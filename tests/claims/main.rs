//! Claims about the whole system, one binary.

mod archive;
mod connect;
mod doctor;
mod consent;
mod faults;
mod media;
mod metrics;
mod readme;
mod repair;
mod sends;
mod story;
mod traces;
mod webhooks;
mod windows;

//! Claims about the whole system, one binary.

mod archive;
mod commands;
mod connect;
mod consent;
mod doctor;
mod entry_points;
mod faults;
mod gateways;
mod lines;
mod media;
mod metrics;
mod migration;
mod readme;
mod repair;
mod sends;
mod sensitive;
mod story;
mod traces;
mod trackers;
mod webhooks;
mod windows;

//! Claims about the simulator over real sockets.

mod ads;
mod control;
mod decisions;
mod faults;
mod gateways;
mod graph;
mod manage;
mod media;
mod migration;
mod platform;
mod script;
mod sms;
mod stage;
mod templates;
mod webhooks;

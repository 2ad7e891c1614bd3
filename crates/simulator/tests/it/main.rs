//! Claims about the simulator over real sockets.

mod ads;
mod control;
mod faults;
mod gateways;
mod graph;
mod manage;
mod media;
mod script;
mod sms;
mod stage;
mod webhooks;

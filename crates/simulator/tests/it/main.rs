//! Claims about the simulator over real sockets.

mod control;
mod faults;
mod graph;
mod manage;
mod media;
mod script;
mod sms;
mod stage;
mod webhooks;

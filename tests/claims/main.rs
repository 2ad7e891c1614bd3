//! Claims about the whole system, one binary.

mod archive;
mod connect;
mod faults;
mod sends;
mod story;
mod webhooks;
mod windows;

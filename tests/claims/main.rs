//! Claims about the whole system, one binary.

mod archive;
mod faults;
mod sends;
mod story;
mod webhooks;
mod windows;

//! Claims about the gateway, with real roles' servers behind it.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod console;
mod desk;
mod files;
mod grpc;
mod health;
mod json;
mod stage;

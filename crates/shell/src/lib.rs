//! What every process needs around its work: configuration, telemetry, health, tokens, clock, drain.
//!
//! The shell is the only crate that reads the environment and the clock, builds HTTP clients and
//! listens for signals; everything else is handed what it needs. It knows nothing of windows,
//! messages or the log.

pub mod auth;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod health;
pub mod http;
pub mod run;
pub mod server;
pub mod telemetry;
pub mod tls;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use run::Shell;

//! Secrets: where a record says they are found, and those that arrived at run time.
//!
//! A [`SecretRef`](casement_event::v1::SecretRef) names a file, an environment variable, or a
//! secret that is stored: sealed under a key that only the roles have which need it, on a stream
//! that nobody else reads. [`Secrets`] finds all three, and follows the stream, so that a secret
//! that was rotated counts at once.
//!
//! - [`keys`]: sealing and opening, the one home of it, and the keys of a setting.
//! - [`vault`]: whoever seals: keys of a setting, or a service of its own.
//!
//! It never tells a secret to anything but the code that asked for it, and keeps none in clear
//! outside of memory. What a secret is good for is its users' affair.

mod config;
mod held;
mod name;
mod shelf;

pub mod keys;
pub mod vault;

pub use config::Config;
pub use held::{Entry, Missing, Secrets};
pub use name::{BadName, SecretName};
pub use shelf::{Mode, ShelfError, new_pin};

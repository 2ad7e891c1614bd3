//! The log: append, group commit, read, follow, work, deadlines.
//!
//! The only crate that names the broker's client. It knows streams, sequences and headers; of
//! what events mean it knows only the little that several roles need: what stands there about a
//! conversation ([`conversation`]), who an identifier belongs to ([`customers`]), what customers
//! allow ([`consent`]), and which numbers and templates there are ([`directory`]).

mod append;
mod config;
mod connect;
mod error;
mod follow;
mod group;
mod lineage;
mod metrics;
mod mirror;
mod position;
mod read;
mod scan;
mod streams;
mod trace;
mod wire;
mod witness;
mod work;

pub mod consent;
pub mod content_keys;
pub mod conversation;
pub mod customers;
pub mod dead;
pub mod deadline;
pub mod directory;
pub mod erasure;
pub mod inspect;
pub mod lease;
pub mod snapshot;

pub use append::Expect;
pub use config::{Config, Sizes};
pub use connect::{ConnectError, Log};
pub use error::{AppendError, ReadError};
pub use follow::{Followed, Follower, Start};
pub use lineage::Ancestor;
pub use position::{InvalidPosition, Position};
pub use read::StreamState;
pub use trace::processing;
pub use work::{Delivery, Failure, WorkSpec};

//! The log: append, group commit, read, follow, work, deadlines.
//!
//! The only crate that names the broker's client. It knows streams, sequences and headers; of
//! what events mean it knows only the little that several roles need: what stands there about a
//! conversation ([`conversation`]), who an identifier belongs to ([`customers`]), what customers
//! allow ([`consent`]), and which numbers and templates there are ([`directory`]).

mod append;
mod cluster;
mod config;
mod connect;
mod error;
mod follow;
mod group;
mod leave;
mod lineage;
mod link;
mod metrics;
mod mirror;
mod newest;
mod position;
mod read;
mod replicas;
mod scan;
mod streams;
mod tls;
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
pub mod memory;
pub mod snapshot;
pub mod subscription;
pub mod watch;

pub use append::Expect;
pub use config::{Config, Sizes};
pub use connect::{ConnectError, Log};
pub use error::{AppendError, ReadError};
pub use follow::{Followed, Follower, Start};
pub use lineage::Ancestor;
pub use position::{InvalidPosition, Position};
pub use read::StreamState;
pub use replicas::{Copies, KEPT_FROM_OPERATORS};
pub use tls::Tls;
pub use trace::processing;
pub use work::{Delivery, Failure, WorkSpec};

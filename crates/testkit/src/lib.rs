//! What tests need around a system of real processes: a broker and a database each, faults
//! between them, and waiting that never sleeps for luck.
//!
//! Nothing here stands in for a part of ours; nothing here is used outside of tests. What is
//! missing on the machine is a panic that says how to get it: no test skips.

mod cluster;
mod eventually;
mod nats;
mod port;
mod postgres;
mod process;
mod proxy;
pub mod socket;

pub use cluster::{Launch, NOWHERE, NatsCluster, Node};
pub use eventually::{Answer, EVENTUALLY_MAX, eventually, eventually_within};
pub use nats::{NatsServer, NatsServerBuilder, nats_server_bin};
pub use port::free_port;
pub use postgres::{Postgres, postgres_programs};
pub use process::{Process, casement_bin};
pub use proxy::Proxy;

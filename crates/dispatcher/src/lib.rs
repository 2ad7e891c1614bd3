//! Role: dispatcher. Gets each message through by the best permitted route, and says why.
//!
//! It consumes `casement.events.report.>` (what providers say), `casement.events.inbound.>`
//! and `casement.events.window.>` (to release what waits for a customer), and emits the life of
//! each message on `casement.events.message.>` and what Meta proved about windows on
//! `casement.events.evidence.>`. It serves `MessageService`.
//!
//! The deadline index drives it: every message on the log says when it next needs attention,
//! and a fresh one says at once. So a restart picks up exactly what stood there. The decision
//! and its claim are one append, which expects the sequence that the decision rests on; whose
//! append it is makes the one call, and nobody else ever does.

mod again;
mod aggregate;
mod answers;
mod bulk;
mod commands;
mod compose;
mod config;
mod consent;
mod content;
mod direct;
mod engine;
mod evidence;
mod grpc;
mod halts;
mod lanes;
mod metrics;
mod outgoing;
mod provider;
mod rates;
mod refer;
mod refusals;
mod reports;
mod request;
mod role;
mod secrets;
mod settle;
mod sms;
mod stakes;
mod trace;
mod uploads;
mod view;
mod waiting;
mod wake;
mod withdraw;

pub use config::{Config, Providers};
pub use grpc::Messages;
pub use role::{Role, start};

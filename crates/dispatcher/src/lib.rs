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
mod attempt;
mod budgets;
mod bulk;
mod commands;
mod complete;
mod compose;
mod config;
mod consent;
mod content;
mod direct;
mod engine;
mod evidence;
mod failover;
mod grpc;
mod halts;
mod hold;
mod lanes;
mod metrics;
mod money;
mod nudge;
mod outgoing;
mod pace;
mod policies;
mod preview;
mod provider;
mod rates;
mod refer;
mod refusals;
mod reports;
mod request;
mod role;
mod secrets;
mod sensitive;
mod settle;
mod sms;
mod stakes;
mod trace;
mod uploads;
mod view;
mod waiting;
mod wake;
mod withdraw;
mod workers;

pub use commands::put_back::{PutBackError, put_back};
pub use config::{Config, Hold, HoldOfNumber, Nudge, NudgeParameter, Providers};
pub use grpc::Messages;
pub use money::{Caps, Config as MoneyConfig};
pub use policies::{PolicyConfig, PolicyOf, StepConfig};
pub use role::{Role, start};

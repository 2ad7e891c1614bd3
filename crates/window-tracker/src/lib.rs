//! Role: window-tracker. Tells when windows open, move, near their end and close, and answers
//! whether a customer may be written to freely now.
//!
//! It consumes `casement.events.inbound.>` (what customers do) and `casement.events.evidence.>`
//! (what the platform proved about a window), and emits `WindowOpened`, `WindowExtended`,
//! `WindowExpiring`, `WindowExpired` and `WindowCorrected` on
//! `casement.events.window.<p>.<number>.<customer>`. Each event carries the whole window and, in
//! its headers, when the window next needs attention; the deadline index follows those.
//!
//! It keeps no state of its own: a window is decided from what stands on the log, and an append
//! expects that nothing newer stood there, so replicas, restarts and redeliveries are harmless.
//! Queries are answered from the facts and the time, never from what was last told, so they are
//! right also while this role's loops are behind. It deliberately decides no route and sends
//! nothing.
//!
//! - `tracker`: tells what is to be told about it.
//! - `turns`: one at a time for a conversation.
//! - `role`: what sets the tracker to work: new facts, and deadlines.
//! - `migration`: and numbers that move.
//! - `answer`, `explain`, `watch`, `grpc`: `WindowService`.

mod answer;
mod config;
mod erase;
mod explain;
mod grpc;
mod metrics;
mod migration;
mod role;
mod tracker;
mod turns;
mod watch;

#[cfg(test)]
mod tests;

use casement_event_log::conversation as present;

pub use config::{CarryOver, Config, OfNumber};
pub use grpc::{BATCH_LEN_MAX, Windows};
pub use role::{Role, start};

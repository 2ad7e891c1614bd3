//! Events as they are stored: protobuf payloads, CloudEvents headers, subjects, ids.
//!
//! What is here is hard to move once events are stored; see the golden files in this crate's
//! tests, which keep old events readable. This crate knows no broker and does no I/O.

mod event;
mod record;

pub mod convert;
pub mod id;
pub mod subject;

pub use casement_proto::events::v1;
pub use event::{DecodeError, Event};
pub use record::{Extension, Record, Stored, header, new_traceparent};
pub use uuid::Uuid;

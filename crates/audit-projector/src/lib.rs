//! Role audit-projector: the archive, its read models, and the questions they answer.
//!
//! Consumes every stream but `RAW`, from where its archive stands. Emits what colleagues do in
//! conversations on `casement.events.note.>`, and nothing else. Each event becomes a row of a hash chain, and changes the read models of conversations and
//! messages, in one transaction with the position: of two writers, one goes on and the other
//! begins again. What is archived, and old enough, is purged from the log; never anything else.
//!
//! It is kept in an SQLite file, or in PostgreSQL.
//!
//! Read models are derived and can be dropped; the archive cannot. It decides nothing about
//! windows or messages: it shows what their owners published.

mod acts;
mod archive;
mod batch;
mod chain;
mod config;
mod customer_export;
mod desk;
mod erasure;
mod export;
mod figures;
mod fold;
mod grpc;
mod heads;
mod index;
mod inspect;
mod json;
mod keys;
mod life;
mod lineage;
mod metrics;
mod model;
mod note;
mod page;
mod progress;
mod project;
mod purge;
mod rebuild;
mod role;
mod said;
mod sealer;
mod sign;
mod store;
mod summary;
mod tally;
mod terms;
mod timeline;
mod trace;
mod verify;
mod watch;
mod words;

pub mod backup;

#[cfg(test)]
mod colleague_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod service_tests;

pub use config::{Config, DatabaseUrl, SigningKey};
pub use export::{Asked as ExportAsked, ExportReport, export_archive, verify_export};
pub use grpc::audit::AuditApi;
pub use grpc::conversation::ConversationApi;
pub use grpc::messages::MessageQueryApi;
pub use grpc::stands::FiguresApi;
pub use inspect::{ArchiveHead, Inspection, Tables, inspect};
pub use note::{BadKey, VerifierKey};
pub use progress::STREAMS as ARCHIVED_STREAMS;
pub use role::{Role, start, start_behind};
pub use store::{Gate, SharedGate, StoreCall};
pub use verify::report::{ChainReport, Finding, FindingKind, Gap, Signed};
pub use verify::{ArchivePlace, Proof, verify, verify_archive, verify_url};

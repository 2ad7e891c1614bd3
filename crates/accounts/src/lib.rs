//! Role: accounts. Keeps brands, numbers and templates, and serves `AccountService`.
//!
//! It consumes `casement.accounts.reported.>`, for what the platform says of templates, and
//! emits `BrandRecorded`, `NumberRecorded`, `NumberPaused`, `NumberResumed` and
//! `TemplateRecorded` on `casement.accounts.<kind>.<id>`. Each event carries the whole record, so
//! that the last one on a subject is the present state. A write says what shall be so; saying it
//! again writes nothing.
//!
//! It deliberately calls no provider and reads no secret: records say where a secret is found,
//! and whoever needs it looks there.
//!
//! - [`file`](mod@file): the accounts file, read at start.
//! - [`validate`], [`template`]: what makes a record unusable, pure.
//! - [`decide`]: what a wish adds to the log, pure.

mod api;
mod book;
mod config;
mod grpc;
mod ledger;
mod metrics;
mod reports;
mod role;

pub mod decide;
pub mod file;
pub mod template;
pub mod validate;

pub use config::Config;
pub use grpc::Accounts;
pub use role::{Role, start};

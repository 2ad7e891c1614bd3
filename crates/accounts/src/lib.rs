//! Role: accounts. Keeps brands, numbers and templates, and serves `AccountService`.
//!
//! It consumes `casement.accounts.reported.>`, for what the platform says of templates, and
//! emits `BrandRecorded`, `NumberRecorded`, `NumberPaused`, `NumberResumed` and
//! `TemplateRecorded` on `casement.accounts.<kind>.<id>`. Each event carries the whole record, so
//! that the last one on a subject is the present state. A write says what shall be so; saying it
//! again writes nothing. Templates are read from the platform, which has the last word on them.
//!
//! Records say where a secret is found; those that arrive at run time are stored sealed on a stream
//! of their own, and no record, event or answer has one in it.
//!
//! - [`file`](mod@file): the accounts file, read at start.
//! - [`validate`], [`template`]: what makes a record unusable, pure.
//! - [`decide`]: what a wish adds to the log, pure.

mod api;
mod application;
mod book;
mod brands;
mod capabilities;
mod config;
mod consent;
mod grpc;
mod health;
mod ledger;
mod metrics;
mod migration;
mod numbers;
mod onboarding;
mod platform;
mod registration;
mod reports;
mod role;
mod runner;
mod secrets;
mod templates;
mod watch;

pub mod decide;
pub mod file;
pub mod template;
pub mod validate;

pub use application::{Applications, Config as ApplicationConfig};
pub use config::{Config, Graph, Numbers, Templates as TemplatesConfig};
pub use consent::Consents;
pub use grpc::Accounts;
pub use migration::{Migrations, Refused as MigrationRefused};
pub use onboarding::{App, Onboardings, Refused as OnboardingRefused};
pub use role::{Role, start};
pub use secrets::Shelf;
pub use templates::Templates;

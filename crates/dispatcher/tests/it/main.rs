//! The dispatcher against a real broker and a platform that enforces its own rules.

mod consent;
mod crashes;
mod errors;
mod holds;
mod rates;
mod reports;
mod requests;
mod routes;
mod stage;
mod unknown;

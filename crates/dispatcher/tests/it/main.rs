//! The dispatcher against a real broker and a platform that enforces its own rules.

mod answers;
mod bulk;
mod commands;
mod consent;
mod content;
mod crashes;
mod errors;
mod gateways;
mod halts;
mod holds;
mod moves;
mod rates;
mod reports;
mod requests;
mod retries;
mod routes;
mod stage;
mod unknown;
mod withdrawals;

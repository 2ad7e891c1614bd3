//! Managing: what an access token may do, whose a number is, who gets its webhooks, which
//! templates there are.
//!
//! Each call is made once and tells what Meta answered; nothing is judged, retried or kept. The
//! only call that changes anything is [`Manager::subscribe`]. Registration, migration and the
//! making of templates are not here.

mod client;
mod node;

pub use client::{CallError, ITEMS_MAX, Manager, PAGE_ITEMS};
pub use node::{Account, App, Grant, Number, Template, TokenInfo};

#[cfg(test)]
mod tests;

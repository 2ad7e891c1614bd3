//! Managing: what an access token may do, whose a number is, who gets its webhooks, how a number
//! is signed up, registered, moved and taken off, which templates there are.
//!
//! Each call is made once and tells what Meta answered; nothing is judged, retried or kept. What a
//! refusal means for a caller is [`crate::errors::Refused`]; whether a call that failed may have
//! had its effect is [`CallError::is_ambiguous`].

mod account;
mod client;
mod node;
mod number;
mod template;
mod token;

pub use client::{CallError, Heard, ITEMS_MAX, Manager, PAGE_ITEMS};
pub use node::{
    Account, App, Business, BusinessToken, EntityHealth, Grant, Health, HealthError, Number,
    Template, TokenInfo,
};
pub use number::{CodeMethod, NewNumber};
pub use template::{FullTemplate, Submitted};

#[cfg(test)]
mod onboarding_tests;
#[cfg(test)]
mod simulator_tests;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;

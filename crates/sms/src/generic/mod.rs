//! Any gateway that posts JSON and signs it with an HMAC in a header: where things stand is told
//! by configuration.
//!
//! Sending is a request by a template whose answer is read the same way ([`Plan`]). Gateways that
//! sign their posts otherwise are not for here.

pub mod callback;
mod client;
pub mod signature;
mod template;

pub use callback::{InboundFields, Kinds, Layout, ReportFields};
pub use client::{Client, Codes, Plan, SmsRequest, Success};
pub use signature::{Algorithm, Encoding, SignatureError, Signing, Stamp};
pub use template::{Body, PLACES, TemplateError, Text};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod tests;

//! Any gateway that posts JSON and signs it with an HMAC in a header: where things stand is told
//! by configuration.
//!
//! It reads what such a gateway posts. Sending through it is not here, nor are gateways that sign
//! otherwise.

pub mod callback;
pub mod signature;

pub use callback::{InboundFields, Kinds, Layout, ReportFields};
pub use signature::{Algorithm, Encoding, SignatureError, Signing, Stamp};

#[cfg(test)]
mod tests;

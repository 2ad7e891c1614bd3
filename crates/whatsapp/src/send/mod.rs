//! Sending: what messages look like, and the calls that post them.
//!
//! A call is made exactly once; what it came to is told without guessing (see [`Outcome`]).
//! Retries, rates, windows and consent belong to the dispatcher.

mod body;
mod client;
mod problem;
mod upload;

pub use body::{
    Action, Address, Attachment, CallButton, Card, CardAddress, Catalog, Component, CtaUrl, Flow,
    FlowRef, Header, Interactive, Labelled, ListMenu, ListSection, Location, MediaKind,
    OutgoingContent, OutgoingMessage, Parameter, ParameterValue, Product, ProductList,
    ProductSection, Recipient, ReplyButton, Row, SavedAddress, Source, Template, WAMID_PREFIX,
    limits,
};
pub use client::{
    Accepted, Client, DEFAULT_TIMEOUT, GraphError, MarkAsRead, Outcome, SendOutcome, Target,
};
pub use problem::Problem;
pub use upload::{File, UPLOAD_LIFE, upload_bytes_max};

#[cfg(test)]
mod tests;

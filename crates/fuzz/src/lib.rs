//! What must hold for any input from outside, one function a fuzz target.
//!
//! Each takes bytes from anywhere and panics when a promise is broken. The fuzzers under `fuzz/`
//! look for such bytes; the ordinary tests run every input of their corpora. Inputs that once
//! broke a promise stay in the corpus for good.
//!
//! Nothing here knows a broker or a clock: only what parses, signs and names.

mod form;
mod signatures;
mod subjects;
mod webhook;

pub use form::twilio_form;
pub use signatures::signatures;
pub use subjects::subjects;
pub use webhook::webhook;

/// A fuzz target: takes any bytes, panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 4] = [
    ("signatures", signatures),
    ("subjects", subjects),
    ("twilio_form", twilio_form),
    ("webhook", webhook),
];

/// Cuts the input in two at a place that its own first byte names.
fn cut(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((&at, rest)) = input.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(at).min(rest.len()))
}

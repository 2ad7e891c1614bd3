//! What commands print: results on standard output, talk on standard error.
//!
//! A reader that went away (`| head`) is no failure of ours: the command then ends quietly.

use std::io::{self, Write as _};

use serde::Serialize;

/// Writes one line to standard output at once.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.as_ref())?;
    out.flush()
}

/// Writes one line to standard error. That nobody reads it is not worth failing for.
pub(crate) fn talk(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Writes a value as one line of JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)?;
    Ok(())
}

/// Returns whether the error says that whoever read our output went away.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

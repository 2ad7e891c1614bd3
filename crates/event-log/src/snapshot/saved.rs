//! What is known of a stream beside its file, and the file itself as bytes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Ancestor;

/// Bytes of a chunk on its way.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// A stream as it was saved; all that a restore needs beside the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedStream {
    /// Its name.
    pub name: String,
    /// Which life of it.
    pub incarnation: String,
    /// Sequence of its oldest message.
    pub first_sequence: u64,
    /// Sequence of its newest message ever.
    pub last_sequence: u64,
    /// How many messages it held.
    pub messages: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Its configuration, as the broker tells it.
    pub config: Value,
    /// Its state, as the broker tells it.
    pub state: Value,
}

/// How far a durable consumer has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedConsumer {
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// All up to this sequence is done.
    pub done_through: u64,
}

/// A stream as it is on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStream {
    /// Which life of it.
    pub incarnation: String,
    /// The lives that it continues, newest first.
    pub ancestors: Vec<Ancestor>,
    /// Sequence of its oldest message.
    pub first_sequence: u64,
    /// Sequence of its newest message ever.
    pub last_sequence: u64,
    /// How many messages it holds.
    pub messages: u64,
}

/// How large a file is, and its SHA-256 in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub async fn fingerprint(
    file: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<(u64, String), std::io::Error> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = fill(file, &mut buffer).await?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) async fn fill(
    file: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut [u8],
) -> Result<usize, std::io::Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

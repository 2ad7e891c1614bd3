//! Files that came with customers' messages: where one is, and its bytes, within limits.
//!
//! A webhook names a file by an id that lives some days, and may say a link that lives minutes
//! (WhatsApp Cloud API: media). The id leads to a fresh link; either link is read with the
//! number's access token, which therefore travels to hosts of the platform's only.
//!
//! It reads one file once. It stores nothing, checks no hash and retries nothing.

mod client;
mod digest;
mod hosts;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use client::{Client, Download, Link, MediaError, Source, Timeouts};
pub use digest::Digest;
pub use hosts::{Hosts, META_HOSTS};

/// How long a link in a webhook or an answer is good for (Meta: media, retrieve media URL).
pub const LINK_LIFE: Duration = Duration::from_mins(5);

/// How long the platform keeps a file that a webhook told of (Meta: media).
pub const MEDIA_LIFE: Duration = Duration::from_hours(7 * 24);

/// Largest file of any kind that the platform passes on (Meta: media, supported types).
pub const MEDIA_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Returns the largest file of a kind that is believed. The platform's own limits for images and
/// stickers are for what a business sends, and a fraction of these.
pub fn bytes_max(kind: &str) -> u64 {
    match kind {
        "sticker" => 1024 * 1024,
        "image" => 32 * 1024 * 1024,
        _ => MEDIA_BYTES_MAX,
    }
}

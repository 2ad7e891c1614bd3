//! A file as the platform takes it: which types, how large, and the form that carries it.
//!
//! Bytes pass through; none is looked at, and no more than a few chunks are kept.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// How long the platform keeps what was uploaded (WhatsApp Cloud API: media).
pub const UPLOAD_LIFE: Duration = Duration::from_hours(30 * 24);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the platform takes, and how large it may be (WhatsApp Cloud API: media, supported types).
/// Stickers that do not move may have a fifth of this, but whether one moves only it sees.
const TYPES: [(&str, u64); 20] = [
    ("audio/aac", 16 * MIB),
    ("audio/amr", 16 * MIB),
    ("audio/mp4", 16 * MIB),
    ("audio/mpeg", 16 * MIB),
    ("audio/ogg", 16 * MIB),
    ("application/msword", 100 * MIB),
    ("application/pdf", 100 * MIB),
    ("application/vnd.ms-excel", 100 * MIB),
    ("application/vnd.ms-powerpoint", 100 * MIB),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        100 * MIB,
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        100 * MIB,
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        100 * MIB,
    ),
    ("text/csv", 100 * MIB),
    ("text/plain", 100 * MIB),
    ("image/jpeg", 5 * MIB),
    ("image/png", 5 * MIB),
    ("image/webp", 500 * KIB),
    ("video/3gpp", 16 * MIB),
    ("video/3gp", 16 * MIB),
    ("video/mp4", 16 * MIB),
];

/// What parts the fields of a form. Long enough to stand in no file by chance.
const BOUNDARY: &str = "casement-file-7f3c1d0e9b5a48d2a6c4e8f01b2d3c4e";

/// Returns how large a file of a type may be, in bytes; `None` if the platform does not take it.
/// Parameters of the type (`audio/ogg; codecs=opus`) do not matter.
pub fn upload_bytes_max(mime_type: &str) -> Option<u64> {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(essence))
        .map(|(_, bytes_max)| *bytes_max)
}

/// A file to upload.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Such as `image/jpeg`.
    pub mime_type: &'a str,
    /// How many bytes will come.
    pub size_bytes: u64,
}

/// The body of an upload: fields, the file's bytes as they come, and the end.
#[derive(Debug)]
pub(super) struct Form {
    before: Option<Bytes>,
    chunks: mpsc::Receiver<Bytes>,
    left: u64,
    after: Option<Bytes>,
}

impl Form {
    /// Begins a form, unless the type cannot stand in a header.
    pub(super) fn new(file: &File<'_>, chunks: mpsc::Receiver<Bytes>) -> Result<Self, String> {
        let mime_type = file.mime_type;
        if !mime_type.chars().all(|char| (' '..='~').contains(&char)) {
            return Err("type of the file cannot stand in a header".to_owned());
        }
        let mut before = String::new();
        for (name, value) in [("messaging_product", "whatsapp"), ("type", mime_type)] {
            write!(
                before,
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .expect("a text takes any text");
        }
        write!(
            before,
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             content-type: {mime_type}\r\n\r\n"
        )
        .expect("a text takes any text");
        Ok(Self {
            before: Some(before.into()),
            chunks,
            left: file.size_bytes,
            after: Some(format!("\r\n--{BOUNDARY}--\r\n").into()),
        })
    }

    pub(super) fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }
}

fn size(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Body for Form {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        if self.left == 0 {
            return Poll::Ready(self.after.take().map(|after| Ok(Frame::data(after))));
        }
        let chunk = match ready!(self.chunks.poll_recv(context)) {
            Some(chunk) if size(&chunk) <= self.left => chunk,
            Some(_) => return Poll::Ready(Some(Err(io::Error::other("file is too long")))),
            None => return Poll::Ready(Some(Err(io::Error::other("file broke off")))),
        };
        self.left -= size(&chunk);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.after.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let edges = [&self.before, &self.after].into_iter().flatten().map(size);
        SizeHint::with_exact(self.left + edges.sum::<u64>())
    }
}

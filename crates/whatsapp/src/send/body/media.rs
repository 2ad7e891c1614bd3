//! Files: which one, and what is shown beside it. Whether the file is there, and what it is, only
//! the platform sees.

use serde_json::{Value, json};

use super::limits::CAPTION_CHARS_MAX;
use super::put_texts;
use crate::send::problem::Check;

/// What a file is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Any other file.
    Document,
    /// A sticker.
    Sticker,
}

impl MediaKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Image,
        Self::Video,
        Self::Audio,
        Self::Document,
        Self::Sticker,
    ];

    /// Returns the platform's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    fn takes_caption(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Document)
    }
}

/// A file to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Which one; has to be there.
    pub source: Option<Source>,
    /// What is shown below it; may be empty.
    pub caption: String,
    /// What it is called; documents only, and may be empty.
    pub filename: String,
    /// Whether it is shown as a voice note; audio only.
    pub voice: bool,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// At the platform, under this id.
    Id(String),
    /// On the web.
    Link(String),
}

impl Attachment {
    pub(super) fn check(&self, kind: MediaKind, check: &mut Check<'_>) {
        self.check_source(check);
        if kind.takes_caption() {
            check.at_most("caption", &self.caption, CAPTION_CHARS_MAX);
        } else {
            let why = "only images, videos and documents have one";
            check.absent("caption", &self.caption, why);
        }
        if kind != MediaKind::Document {
            check.absent("filename", &self.filename, "only documents have one");
        }
        if self.voice && kind != MediaKind::Audio {
            check.problem("voice", "only audio is a voice note");
        }
    }

    /// Where a header or a parameter holds it: no caption there.
    pub(super) fn check_bare(&self, kind: MediaKind, check: &mut Check<'_>) {
        self.check_source(check);
        check.absent("caption", &self.caption, "has no place here");
        if kind != MediaKind::Document {
            check.absent("filename", &self.filename, "only documents have one");
        }
        if self.voice {
            check.problem("voice", "only audio is a voice note");
        }
    }

    fn check_source(&self, check: &mut Check<'_>) {
        match &self.source {
            None => check.problem("", "give one of id, link, upload_id"),
            Some(Source::Id(id)) => check.filled("id", id),
            Some(Source::Link(link)) => check.url("link", link),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut object = match &self.source {
            Some(Source::Id(id)) => json!({ "id": id }),
            Some(Source::Link(link)) => json!({ "link": link }),
            None => json!({}),
        };
        put_texts(
            &mut object,
            &[("caption", &self.caption), ("filename", &self.filename)],
        );
        if self.voice {
            object["voice"] = json!(true);
        }
        object
    }
}

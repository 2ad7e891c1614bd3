//! Messages that can be tapped: what is around the action. Which of header, body and footer an
//! action takes is told in one table.

use serde_json::{Value, json};

use super::actions::Action;
use super::limits::{
    FOOTER_CHARS_MAX, HEADER_CHARS_MAX, INTERACTIVE_BODY_CHARS_MAX, LIST_BODY_CHARS_MAX,
};
use super::media::{Attachment, MediaKind};
use crate::send::problem::Check;

/// A message that can be tapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interactive {
    /// What stands above the body.
    pub header: Option<Header>,
    /// What it says; some actions need none.
    pub body: String,
    /// What stands below; may be empty.
    pub footer: String,
    /// What can be done; has to be there.
    pub action: Option<Action>,
}

/// What stands above the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// Text.
    Text(String),
    /// An image, a video or a document.
    Media(MediaKind, Attachment),
}

/// Whether something may stand in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    No,
    Maybe,
    Must,
}

/// Which headers an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Headers {
    None,
    Text(Presence),
    Any,
}

/// What an action takes around it.
struct Frame {
    header: Headers,
    body: Presence,
    body_chars_max: usize,
    footer: Presence,
}

impl Frame {
    /// (WhatsApp Cloud API: interactive messages, a page for each; calling: call buttons and call
    /// permission requests.)
    fn of(action: &Action) -> Self {
        use Presence::{Maybe, Must, No};
        let frame = |header, body, footer| Self {
            header,
            body,
            body_chars_max: INTERACTIVE_BODY_CHARS_MAX,
            footer,
        };
        match action {
            Action::Reply(_) | Action::CtaUrl(_) | Action::Flow(_) => {
                frame(Headers::Any, Must, Maybe)
            }
            Action::List(_) => Self {
                body_chars_max: LIST_BODY_CHARS_MAX,
                ..frame(Headers::Text(Maybe), Must, Maybe)
            },
            Action::ProductList(_) => frame(Headers::Text(Must), Must, Maybe),
            Action::Address(_) => frame(Headers::Text(Maybe), Must, Maybe),
            Action::Product(_) => frame(Headers::None, Maybe, Maybe),
            Action::Catalog(_) => frame(Headers::None, Must, Maybe),
            Action::LocationRequest | Action::ContactRequest => frame(Headers::None, Must, No),
            Action::VoiceCall(_) => frame(Headers::Text(Maybe), Must, No),
            Action::CallPermission => frame(Headers::None, Maybe, No),
        }
    }
}

impl Interactive {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        let Some(action) = &self.action else {
            check.problem("", "say what can be tapped: reply, list, cta_url, …");
            return;
        };
        let frame = Frame::of(action);
        self.check_header(frame.header, check);
        match frame.body {
            Presence::Must => check.text("body", &self.body, frame.body_chars_max),
            Presence::Maybe | Presence::No => {
                check.at_most("body", &self.body, frame.body_chars_max);
            }
        }
        if frame.footer == Presence::No {
            check.absent("footer", &self.footer, "has no place in this message");
        } else {
            check.at_most("footer", &self.footer, FOOTER_CHARS_MAX);
        }
        action.check(&mut check.within(action.field()));
    }

    fn check_header(&self, allowed: Headers, check: &mut Check<'_>) {
        match (&self.header, allowed) {
            (None, Headers::Text(Presence::Must)) => {
                check.problem("header.text", "must not be empty");
            }
            (None, _) => {}
            (Some(_), Headers::None) => check.problem("header", "has no place in this message"),
            (Some(Header::Media(..)), Headers::Text(_)) => {
                check.problem("header", "must be text in this message");
            }
            (Some(Header::Text(text)), Headers::Text(_) | Headers::Any) => {
                check.text("header.text", text, HEADER_CHARS_MAX);
            }
            (Some(Header::Media(kind, file)), Headers::Any) => {
                let mut check = check.within("header");
                if matches!(kind, MediaKind::Audio | MediaKind::Sticker) {
                    check.problem("", "must be text, an image, a video or a document");
                }
                file.check_bare(*kind, &mut check.within(kind.as_str()));
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let Some(action) = &self.action else {
            return json!({});
        };
        let mut object = json!({ "type": action.kind(), "action": action.json() });
        match &self.header {
            None => {}
            Some(Header::Text(text)) => object["header"] = json!({ "type": "text", "text": text }),
            Some(Header::Media(kind, file)) => {
                let kind = kind.as_str();
                object["header"] = json!({ "type": kind, kind: file.json() });
            }
        }
        for (key, text) in [("body", &self.body), ("footer", &self.footer)] {
            if !text.is_empty() {
                object[key] = json!({ "text": text });
            }
        }
        object
    }
}

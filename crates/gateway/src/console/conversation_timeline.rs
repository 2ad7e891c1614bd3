//! What happened in a conversation as people read it: one entry for a message with all that came of
//! it, one for a note, one line for what else happened.
//!
//! Pure. The API tells events, newest first; here they are put together, oldest first.

use std::collections::HashMap;

use casement_proto::conversation::v1::{TimelineDetail, TimelineItem, TimelineParty};
use jiff::Timestamp;

use super::conversation_advice::{self as advice, Failure, words};
use super::conversation_clock::{Moment, closed_words, moment};
use super::conversation_message::{Bodies, Sent};
use super::view::time;

/// Longest part of a message that is shown where another one answers it, in characters.
const QUOTE_LEN_MAX: usize = 80;

/// An entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Said(Said),
    Sent(Box<Sent>),
    Note(Note),
    Mark(Mark),
}

/// What the customer wrote, or the business by other means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) at: Option<Moment>,
    pub(super) is_customer: bool,
    /// What it is unless text, such as `image`.
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) files: Vec<FileView>,
    /// What it answers.
    pub(super) quoted: String,
    pub(super) reactions: Vec<String>,
    pub(super) is_edited: bool,
    pub(super) is_withdrawn: bool,
    pub(super) failures: Vec<Failure>,
}

/// A file that came with a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileView {
    pub(super) media_id: String,
    pub(super) kind: String,
    pub(super) name: String,
    /// Why it is not to be had; empty if it is.
    pub(super) problem: String,
}

/// What a colleague wrote for colleagues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: Option<Moment>,
    pub(super) author: String,
    pub(super) text: String,
}

/// A line about what else happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Option<Moment>,
    pub(super) text: String,
    /// `open`, `soon`, `closed` or `quiet`: how it is painted.
    pub(super) class: &'static str,
}

/// Puts a page of a timeline, newest first, together to entries, oldest first.
pub(super) fn entries(items: &[TimelineItem], bodies: &Bodies, now: Timestamp) -> Vec<Entry> {
    let mut fold = Fold {
        bodies,
        now,
        entries: Vec::new(),
        messages: HashMap::new(),
        said: HashMap::new(),
    };
    for item in items.iter().rev() {
        fold.take(item);
    }
    fold.entries
}

struct Fold<'a> {
    bodies: &'a Bodies,
    now: Timestamp,
    entries: Vec<Entry>,
    /// Where each message of ours stands, by its id.
    messages: HashMap<String, usize>,
    /// Where each message stands, by the platform's id of it.
    said: HashMap<String, usize>,
}

impl Fold<'_> {
    fn take(&mut self, item: &TimelineItem) {
        let at = moment(item.time.as_ref(), self.now);
        let event = item.event_type.rsplit('.').next().unwrap_or_default();
        let Some(detail) = &item.detail else {
            // What they prove is shown by what follows from it.
            if !matches!(event, "StatusReported" | "WindowProven") {
                self.mark(at, "quiet", capital(&item.summary));
            }
            return;
        };
        match event {
            "InboundMessageReceived" | "InboundSmsReceived" | "EchoReceived" => {
                self.said(at, detail);
            }
            "MediaStored" | "MediaDeferred" | "MediaUnavailable" => self.file(at, item, detail),
            "NoteAdded" => self.entries.push(Entry::Note(Note {
                at,
                author: detail.author.clone(),
                text: detail.text.clone(),
            })),
            "WindowOpened" | "WindowExtended" | "WindowExpiring" | "WindowExpired"
            | "WindowCorrected" => self.window(at, event, detail),
            _ if item.message_id.is_empty() || event == "WindowRefused" => {
                self.mark(at, "quiet", capital(&item.summary));
            }
            _ => self.message(at, event, item, detail),
        }
    }

    fn mark(&mut self, at: Option<Moment>, class: &'static str, text: String) {
        self.entries.push(Entry::Mark(Mark { at, text, class }));
    }

    fn window(&mut self, at: Option<Moment>, event: &str, detail: &TimelineDetail) {
        let until = time(detail.until_time.as_ref())
            .map(|until| format!(" until {}", Moment::new(until, self.now).text))
            .unwrap_or_default();
        let (class, text) = match event {
            "WindowOpened" => ("open", format!("Window open{until}")),
            "WindowExtended" => ("open", format!("Window open longer,{until}")),
            "WindowExpiring" => ("soon", format!("Window ends soon: open{until}")),
            "WindowCorrected" => ("closed", closed_words(detail.closed_reason()).to_owned()),
            _ => ("closed", "Window closed".to_owned()),
        };
        // Each message of a lively customer makes it longer; the last word is enough.
        if let Some(Entry::Mark(last)) = self.entries.last_mut()
            && event == "WindowExtended"
            && last.class == "open"
        {
            *last = Mark { at, text, class };
            return;
        }
        self.mark(at, class, text);
    }

    fn said(&mut self, at: Option<Moment>, detail: &TimelineDetail) {
        let target = self.said.get(&detail.refers_to_message_id).copied();
        let target = target.and_then(|index| self.entries.get_mut(index));
        match (detail.kind.as_str(), target) {
            ("reaction", Some(Entry::Said(Said { reactions, .. }))) => {
                react(reactions, &detail.text);
                return;
            }
            ("reaction", Some(Entry::Sent(sent))) => {
                react(&mut sent.reactions, &detail.text);
                return;
            }
            ("edit", Some(Entry::Said(said))) => {
                said.is_edited = true;
                said.text.clone_from(&detail.text);
                return;
            }
            ("revoke", Some(Entry::Said(said))) => {
                said.is_withdrawn = true;
                return;
            }
            _ => {}
        }
        let quoted = self.quote(&detail.refers_to_message_id);
        self.said
            .insert(detail.provider_message_id.clone(), self.entries.len());
        let failures = detail.errors.iter();
        self.entries.push(Entry::Said(Said {
            at,
            is_customer: detail.party() == TimelineParty::Customer,
            kind: kind(&detail.kind),
            text: detail.text.clone(),
            quoted,
            failures: failures
                .map(|error| advice::failure(error, false))
                .collect(),
            ..Said::default()
        }));
    }

    fn file(&mut self, at: Option<Moment>, item: &TimelineItem, detail: &TimelineDetail) {
        let file = FileView {
            media_id: item.media_id.clone(),
            kind: detail.kind.clone(),
            name: detail.text.clone(),
            problem: words(&detail.reason),
        };
        let index = self.said.get(&detail.provider_message_id).copied();
        match index.and_then(|index| self.entries.get_mut(index)) {
            Some(Entry::Said(said)) => {
                said.files.retain(|known| known.media_id != file.media_id);
                said.files.push(file);
            }
            _ => self.entries.push(Entry::Said(Said {
                at,
                is_customer: true,
                kind: file.kind.clone(),
                files: vec![file],
                ..Said::default()
            })),
        }
    }

    /// The beginning of a message that is answered; empty if it is not here.
    fn quote(&self, id: &str) -> String {
        let index = self.said.get(id).or_else(|| self.messages.get(id));
        let text = match index.and_then(|index| self.entries.get(*index)) {
            Some(Entry::Said(said)) => said.text.as_str(),
            Some(Entry::Sent(sent)) => sent.text.as_str(),
            _ if id.is_empty() => return String::new(),
            _ => "an earlier message",
        };
        let mut quote: String = text.chars().take(QUOTE_LEN_MAX).collect();
        if text.chars().nth(QUOTE_LEN_MAX).is_some() {
            quote.push('…');
        }
        quote
    }

    fn message(
        &mut self,
        at: Option<Moment>,
        event: &str,
        item: &TimelineItem,
        detail: &TimelineDetail,
    ) {
        let quoted = match event {
            "MessageRequested" => self.quote(&detail.refers_to_message_id),
            _ => String::new(),
        };
        let index = *self
            .messages
            .entry(item.message_id.clone())
            .or_insert(self.entries.len());
        if index == self.entries.len() {
            self.entries.push(Entry::Sent(Box::new(Sent {
                message_id: item.message_id.clone(),
                at: at.clone(),
                is_cut: true,
                ..Sent::default()
            })));
        }
        if !detail.provider_message_id.is_empty() {
            self.said.insert(detail.provider_message_id.clone(), index);
        }
        let Some(Entry::Sent(sent)) = self.entries.get_mut(index) else {
            return;
        };
        sent.take(at, event, item, detail, self.bodies, self.now);
        if !quoted.is_empty() {
            sent.quoted = quoted;
        }
    }
}

/// An empty reaction takes the one before back.
fn react(reactions: &mut Vec<String>, emoji: &str) {
    reactions.clear();
    if !emoji.is_empty() {
        reactions.push(emoji.to_owned());
    }
}

pub(super) fn kind(word: &str) -> String {
    match word {
        "text" => String::new(),
        word => words(word),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
#[path = "conversation_timeline_tests.rs"]
mod tests;

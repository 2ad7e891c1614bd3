//! What colleagues do, as events.
//!
//! Headers name the conversation and its brand; who wrote what stands in the payload alone.

use std::collections::BTreeSet;

use casement_domain::conversation::{Action, Colleague, Handling, Label, Note};
use casement_event::convert::{colleague::handling, timestamp};
use casement_event::{Event, Extension, Record, Uuid, v1};
use casement_proto::conversation::v1 as proto;
use casement_shell::telemetry::current_traceparent;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Wish;
use crate::grpc::e164;
use crate::model::Conversation;

/// The role, as it stands on its events.
const SOURCE: &str = "casement/audit-projector";

/// What a colleague does by one call.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Note(Note),
    /// Anything but labels.
    Act(Action),
    Label {
        added: BTreeSet<Label>,
        removed: BTreeSet<Label>,
    },
}

impl Deed {
    /// Tells it from any other under the same request id.
    pub(super) fn fingerprint(&self, author: &Colleague) -> String {
        let through = |time: &Option<Timestamp>| {
            let time = time.map(|time| time.to_string());
            time.unwrap_or_default()
        };
        let parts: Vec<String> = match self {
            Self::Note(note) => vec!["note".to_owned(), note.text().for_colleagues().to_owned()],
            Self::Act(action) => {
                let through = match action {
                    Action::Close { through: time } | Action::Read { through: time } => {
                        through(time)
                    }
                    _ => String::new(),
                };
                vec!["act".to_owned(), action.command(), through]
            }
            Self::Label { added, removed } => {
                let added = added.iter().map(|label| format!("+{label}"));
                let removed = removed.iter().map(|label| format!("-{label}"));
                let kind = std::iter::once("label".to_owned());
                kind.chain(added).chain(removed).collect()
            }
        };
        let mut hash = Sha256::new();
        for part in parts.iter().map(String::as_str).chain([author.as_str()]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }
}

/// Returns the record of what was decided, for a subject.
pub(super) fn of(
    wish: &Wish,
    subject: &str,
    before: &Conversation,
    after: &Handling,
    id: Uuid,
    portfolio: &str,
    now: Timestamp,
) -> Record {
    let conversation = v1::Conversation {
        number: before.key.number.clone(),
        customer_id: before.key.customer_id.clone(),
        brand_id: before.brand_id.clone(),
        portfolio_id: portfolio.to_owned(),
    };
    let event = event(wish, before, after, id, conversation, now);
    Record::new(subject.to_owned(), id, SOURCE, now, event)
        .about(before.key.customer_id.clone())
        .with(Extension::Number, before.key.number.clone())
        .with(Extension::Brand, before.brand_id.clone())
        .with(Extension::Customer, before.key.customer_id.clone())
        .caused_by(current_traceparent())
}

fn event(
    wish: &Wish,
    before: &Conversation,
    after: &Handling,
    id: Uuid,
    conversation: v1::Conversation,
    now: Timestamp,
) -> Event {
    let conversation = Some(conversation);
    let handling = Some(handling(after));
    let author = wish.author.as_str().to_owned();
    let caller = wish.caller.clone();
    let request_hash = wish.deed.fingerprint(&wish.author);
    let act = v1::Act {
        author: author.clone(),
        caller: caller.clone(),
        time: Some(timestamp(now)),
        request_hash: request_hash.clone(),
    };
    let act = Some(act);
    let differing = |one: &Handling, other: &Handling| -> Vec<String> {
        let labels = one.labels.difference(&other.labels);
        labels.map(|label| label.as_str().to_owned()).collect()
    };
    match &wish.deed {
        Deed::Note(note) => v1::NoteAdded {
            conversation,
            note_id: id.to_string(),
            text: note.text().for_colleagues().to_owned(),
            author,
            time: Some(timestamp(now)),
            mentions: note
                .mentions()
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            commands: note.actions().iter().map(Action::command).collect(),
            handling,
            caller,
            request_hash,
        }
        .into(),
        Deed::Act(Action::Assign(_) | Action::Unassign) => v1::ConversationAssigned {
            conversation,
            act,
            handling,
            previous_assignee: before
                .handling
                .assignee()
                .map_or_else(String::new, |name| name.as_str().to_owned()),
        }
        .into(),
        Deed::Act(Action::Close { .. }) => v1::ConversationClosed {
            conversation,
            act,
            handling,
        }
        .into(),
        Deed::Act(Action::Reopen) => v1::ConversationReopened {
            conversation,
            act,
            handling,
        }
        .into(),
        Deed::Act(Action::Read { .. }) => v1::ConversationMarkedRead {
            conversation,
            act,
            handling,
        }
        .into(),
        Deed::Act(Action::Label(_) | Action::Unlabel(_)) | Deed::Label { .. } => {
            v1::ConversationLabelled {
                conversation,
                act,
                handling,
                added_labels: differing(after, &before.handling),
                removed_labels: differing(&before.handling, after),
            }
            .into()
        }
    }
}

/// Returns by which fingerprint an event was asked for.
pub(super) fn request_hash(event: &Event) -> Option<&str> {
    let act = match event {
        Event::NoteAdded(event) => return Some(&event.request_hash),
        Event::ConversationAssigned(event) => event.act.as_ref(),
        Event::ConversationMarkedRead(event) => event.act.as_ref(),
        Event::ConversationClosed(event) => event.act.as_ref(),
        Event::ConversationReopened(event) => event.act.as_ref(),
        Event::ConversationLabelled(event) => event.act.as_ref(),
        _ => None,
    };
    act.map(|act| act.request_hash.as_str())
}

/// Returns a note as the API shows it; `None` of another event.
pub(crate) fn note_of(event: &Event) -> Option<proto::Note> {
    let Event::NoteAdded(note) = event else {
        return None;
    };
    let conversation = note.conversation.clone().unwrap_or_default();
    Some(proto::Note {
        note_id: note.note_id.clone(),
        number: e164(&conversation.number),
        customer_id: conversation.customer_id,
        author: note.author.clone(),
        text: note.text.clone(),
        time: note.time,
        mentions: note.mentions.clone(),
        commands: note.commands.clone(),
    })
}

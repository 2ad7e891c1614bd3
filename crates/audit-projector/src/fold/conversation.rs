//! A conversation on its way from one state to the next.

use std::collections::{BTreeMap, BTreeSet};

use casement_domain::conversation::{Handling, Label};
use casement_event::Stored;
use casement_event::v1::{ClosedReason, Route, WindowState};
use jiff::Timestamp;

use super::nowhere;
use crate::model::{
    AttemptKey, Conversation, ConversationChange, ConversationKey, Handled, Message, RowPosition,
};
use crate::tally::Tally;

/// A label that a conversation has from now on, or no longer has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangedLabel {
    pub(crate) label: String,
    pub(crate) key: ConversationKey,
    pub(crate) is_set: bool,
}

/// A colleague whom a note mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) colleague: String,
    pub(crate) brand_id: String,
    pub(crate) stored_time: Timestamp,
    pub(crate) note: RowPosition,
}

/// Labels of conversations, as they were.
pub(super) type KnownLabels = BTreeMap<ConversationKey, BTreeSet<Label>>;

/// Returns what labels conversations have by now and had not before, and the other way round.
pub(super) fn changed_labels(
    known: &KnownLabels,
    conversations: &BTreeMap<ConversationKey, Conversation>,
) -> Vec<ChangedLabel> {
    let none = BTreeSet::new();
    let mut changed = Vec::new();
    for (key, row) in conversations {
        let before = known.get(key).unwrap_or(&none);
        let differing = before.symmetric_difference(&row.handling.labels);
        changed.extend(differing.map(|label| ChangedLabel {
            label: label.as_str().to_owned(),
            key: key.clone(),
            is_set: row.handling.labels.contains(label),
        }));
    }
    // So that of two writers each takes them in the same order.
    changed.sort();
    changed
}

/// A conversation of which nothing is known yet.
pub(super) fn unheard_of(key: &ConversationKey) -> Conversation {
    Conversation {
        key: key.clone(),
        brand_id: String::new(),
        window_id: String::new(),
        published_state: WindowState::Closed,
        closed_reason: ClosedReason::NeverWrote,
        open_time: None,
        expire_time: None,
        last_inbound_time: None,
        last_outbound_time: None,
        last_inbound_text: String::new(),
        profile_name: String::new(),
        inbound_count: 0,
        outbound_count: 0,
        position: nowhere(),
        is_end_announced: false,
        lock_time: None,
        heard_time: None,
        template_time: None,
        template_attempt: String::new(),
        handling: Handling::default(),
        handled: Handled::default(),
        recent: Vec::new(),
        tally: Tally::default(),
        consents: Vec::new(),
    }
}

/// Whether an attempt sends a template, as far as its message is known.
pub(super) fn is_template(messages: &BTreeMap<String, Message>, attempt: &AttemptKey) -> bool {
    let message = messages.get(&attempt.message_id);
    message.is_some_and(|message| {
        message
            .attempts
            .iter()
            .any(|known| known.number == attempt.number && known.route() == Route::Template)
    })
}

/// What is late never undoes what is newer.
pub(super) fn change(
    row: &mut Conversation,
    change: &ConversationChange,
    stored: &Stored,
    counts: bool,
    is_template: bool,
) {
    let is_late = |last: Option<Timestamp>, at| last.is_some_and(|last| last > at);
    match change {
        ConversationChange::Inbound {
            at,
            text,
            profile_name,
            ..
        } if counts => {
            row.inbound_count += 1;
            row.heard_time = row.heard_time.max(Some(stored.stored_at));
            row.tally.heard(*at, stored.stored_at);
            if is_late(row.last_inbound_time, *at) {
                return;
            }
            row.last_inbound_time = Some(*at);
            if let Some(text) = text {
                row.last_inbound_text.clone_from(text);
            }
            if let Some(profile_name) = profile_name {
                row.profile_name.clone_from(profile_name);
            }
        }
        ConversationChange::Outbound { at, attempt, .. } => {
            if counts {
                row.outbound_count += 1;
                if !is_late(row.last_outbound_time, *at) {
                    row.last_outbound_time = Some(*at);
                }
            }
            if attempt.is_none() {
                // From the business's phone.
                row.tally.answered(*at);
            }
            let template = attempt.as_ref().filter(|_| is_template);
            if let Some(attempt) = template
                && !is_late(row.template_time, *at)
            {
                row.template_time = Some(*at);
                row.template_attempt = attempt.text();
            }
        }
        ConversationChange::Told {
            answered,
            owner,
            owner_since,
        } => {
            if let Some(answered) = answered {
                row.tally.answered(*answered);
            }
            row.tally.owned(*owner, *owner_since);
        }
        ConversationChange::Failed { attempt } => {
            if row.template_attempt == attempt.text() {
                row.template_time = None;
                row.template_attempt.clear();
            }
        }
        ConversationChange::Window {
            window_id,
            state,
            closed_reason,
            open_time,
            expire_time,
            lock_time,
            is_end_announced,
        } => {
            row.window_id.clone_from(window_id);
            row.published_state = *state;
            row.closed_reason = *closed_reason;
            row.open_time = *open_time;
            row.expire_time = *expire_time;
            row.lock_time = *lock_time;
            row.is_end_announced = *is_end_announced;
        }
        ConversationChange::Handled { handling, .. } => {
            row.handling = handling.clone();
            if let Some(through) = handling.read_through {
                row.tally.read(through);
            }
            row.handled = Handled {
                incarnation: stored.incarnation.clone(),
                sequence: stored.sequence,
            };
        }
        ConversationChange::Seen | ConversationChange::Inbound { .. } => {}
    }
}

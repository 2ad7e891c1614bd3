//! The read models that a batch touches, while its changes are made to them.
//!
//! Pure: a store loads what [`Touched`] names, has the changes made here, and writes the outcome,
//! all in one transaction. What counts once, what is late and what stays ended is decided here
//! and for every store alike.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use casement_event::v1::{ClosedReason, DeliveryStatus, MessageOutcome, Route, WindowState};
use casement_proto::message::v1::MessageState;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::batch::{Batch, Entry};
use crate::model::{
    Change, Conversation, ConversationChange, ConversationKey, Message, MessageChange, RowPosition,
};

/// Longer facts are remembered by their hash: databases bound what they index.
const FACT_LEN_MAX: usize = 200;

/// What a batch may change, in order, so that of two writers each takes it in the same one.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) conversations: BTreeSet<ConversationKey>,
    pub(crate) messages: BTreeSet<String>,
    /// As they are remembered.
    pub(crate) facts: BTreeSet<String>,
}

impl Touched {
    pub(crate) fn by(batch: &Batch) -> Self {
        let mut touched = Self::default();
        for change in batch.entries.iter().flat_map(|entry| &entry.changes) {
            match change {
                Change::Conversation { key, change, .. } => {
                    touched.conversations.insert(key.clone());
                    touched.facts.extend(fact(change).map(remembered));
                }
                Change::Message { message_id, .. } => {
                    touched.messages.insert(message_id.clone());
                }
            }
        }
        touched
    }
}

/// The fact that counts once; `None` if there is none, or it has no id and counts each time.
fn fact(change: &ConversationChange) -> Option<&str> {
    match change {
        ConversationChange::Inbound { fact, .. } | ConversationChange::Outbound { fact, .. } => {
            Some(fact.as_str()).filter(|fact| !fact.is_empty())
        }
        ConversationChange::Seen | ConversationChange::Window { .. } => None,
    }
}

fn remembered(fact: &str) -> String {
    if fact.len() > FACT_LEN_MAX {
        format!("sha256/{}", hex::encode(Sha256::digest(fact)))
    } else {
        fact.to_owned()
    }
}

/// Conversations and messages on their way from one state to the next.
#[derive(Debug)]
pub(crate) struct Models {
    conversations: BTreeMap<ConversationKey, Conversation>,
    messages: BTreeMap<String, Message>,
    new_facts: HashSet<String>,
}

impl Models {
    /// Takes what is known of what is touched, and which of its facts are new.
    pub(crate) fn new(
        conversations: Vec<Conversation>,
        messages: Vec<Message>,
        new_facts: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            conversations: conversations
                .into_iter()
                .map(|row| (row.key.clone(), row))
                .collect(),
            messages: messages
                .into_iter()
                .map(|row| (row.id.clone(), row))
                .collect(),
            new_facts: new_facts.into_iter().collect(),
        }
    }

    /// Makes a batch's changes, in order.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for entry in &batch.entries {
            self.apply_entry(entry);
        }
    }

    /// Returns the conversations as they are now.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        self.conversations.values()
    }

    /// Returns the messages as they are now.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    fn apply_entry(&mut self, entry: &Entry) {
        let position = RowPosition::of(&entry.row.stored);
        for change in &entry.changes {
            match change {
                Change::Conversation {
                    key,
                    brand_id,
                    change,
                } => {
                    let counts =
                        fact(change).is_none_or(|fact| self.new_facts.remove(&remembered(fact)));
                    let row = self
                        .conversations
                        .entry(key.clone())
                        .or_insert_with(|| unheard_of(key));
                    row.position = position.clone();
                    if !brand_id.is_empty() {
                        row.brand_id.clone_from(brand_id);
                    }
                    change_conversation(row, change, counts);
                }
                Change::Message { message_id, change } => {
                    if let MessageChange::Requested { .. } = change {
                        self.messages
                            .entry(message_id.clone())
                            .or_insert_with(|| requested(message_id, change));
                    }
                    // Reports about messages that are not ours change nothing.
                    if let Some(row) = self.messages.get_mut(message_id) {
                        change_message(row, change);
                        // Whatever stands on the log anew has to be purged anew.
                        row.is_purged = false;
                        row.update_time = Some(entry.row.index.event_time);
                        row.position = position.clone();
                    }
                }
            }
        }
    }
}

fn nowhere() -> RowPosition {
    RowPosition {
        stream: String::new(),
        incarnation: String::new(),
        sequence: 0,
    }
}

/// A conversation of which nothing is known yet.
fn unheard_of(key: &ConversationKey) -> Conversation {
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
    }
}

/// What is late never undoes what is newer.
fn change_conversation(row: &mut Conversation, change: &ConversationChange, counts: bool) {
    let is_late = |last: Option<Timestamp>, at| last.is_some_and(|last| last > at);
    match change {
        ConversationChange::Inbound {
            at,
            text,
            profile_name,
            ..
        } if counts => {
            row.inbound_count += 1;
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
        ConversationChange::Outbound { at, .. } if counts => {
            row.outbound_count += 1;
            if !is_late(row.last_outbound_time, *at) {
                row.last_outbound_time = Some(*at);
            }
        }
        ConversationChange::Window {
            window_id,
            state,
            closed_reason,
            open_time,
            expire_time,
        } => {
            row.window_id.clone_from(window_id);
            row.published_state = *state;
            row.closed_reason = *closed_reason;
            row.open_time = *open_time;
            row.expire_time = *expire_time;
        }
        ConversationChange::Seen
        | ConversationChange::Inbound { .. }
        | ConversationChange::Outbound { .. } => {}
    }
}

fn requested(message_id: &str, change: &MessageChange) -> Message {
    let mut row = Message {
        id: message_id.to_owned(),
        key: ConversationKey {
            number: String::new(),
            customer_id: String::new(),
        },
        brand_id: String::new(),
        state: MessageState::Pending,
        outcome: MessageOutcome::Unspecified,
        outcome_reason: String::new(),
        delivery_status: DeliveryStatus::Unspecified,
        attempt_count: 0,
        route: Route::Unspecified,
        client_reference: String::new(),
        request_time: None,
        expire_time: None,
        update_time: None,
        end_time: None,
        is_purged: false,
        position: nowhere(),
    };
    if let MessageChange::Requested {
        key,
        brand_id,
        client_reference,
        request_time,
        expire_time,
    } = change
    {
        row.key = key.clone();
        row.brand_id.clone_from(brand_id);
        row.client_reference.clone_from(client_reference);
        row.request_time = *request_time;
        row.expire_time = *expire_time;
    }
    row
}

/// An ended message stays ended.
fn change_message(row: &mut Message, change: &MessageChange) {
    let is_open = row.end_time.is_none();
    match change {
        MessageChange::Requested { .. } | MessageChange::Touched => {}
        MessageChange::State { state } => {
            if is_open {
                row.state = *state;
            }
        }
        MessageChange::Attempt { number, route } => {
            if is_open {
                row.state = MessageState::Attempting;
            }
            row.attempt_count = row.attempt_count.max(*number);
            row.route = *route;
        }
        MessageChange::Delivery { status } => row.delivery_status = *status,
        MessageChange::Ended {
            outcome,
            reason,
            at,
        } => {
            row.state = MessageState::Ended;
            row.outcome = *outcome;
            row.outcome_reason.clone_from(reason);
            row.end_time = Some(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_of_any_length_is_remembered_in_bounds() {
        assert_eq!(remembered("accepted/1"), "accepted/1");
        let [one, two] = ["1", "2"].map(|end| remembered(&("x".repeat(5_000) + end)));
        assert!(one.len() <= FACT_LEN_MAX && one != two);
    }
}

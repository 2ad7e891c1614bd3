//! The read models that a batch touches, while its changes are made to them.
//!
//! Pure: a store loads what [`Touched`] names, has the changes made here, and writes the outcome,
//! all in one transaction. What counts once, what is late and what stays ended is decided here
//! and for every store alike.

mod conversation;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use casement_domain::message::KeptBack;
use casement_event::convert::timestamp;
use casement_event::v1::{DeliveryStatus, MessageOutcome, Route};
use casement_event::{Extension, Stored};
use casement_proto::message::v1::{Attempt, MessageState};
use sha2::{Digest as _, Sha256};

use crate::batch::Entry;
use crate::model::{
    AttemptResult, Change, Conversation, ConversationChange, ConversationKey, Message,
    MessageChange, RowPosition,
};
use crate::{index, terms};

pub(crate) use conversation::{ChangedLabel, Mention};

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
    pub(crate) fn by(entries: &[Entry]) -> Self {
        let mut touched = Self::default();
        for change in entries.iter().flat_map(|entry| &entry.changes) {
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
        ConversationChange::Seen
        | ConversationChange::Failed { .. }
        | ConversationChange::Handled { .. }
        | ConversationChange::Window { .. } => None,
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
    /// Of messages, as they were.
    known_terms: BTreeMap<String, BTreeSet<String>>,
    known_labels: conversation::KnownLabels,
    mentions: Vec<Mention>,
}

/// Something that a message is found by from now on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewTerm<'a> {
    pub(crate) term: String,
    pub(crate) message: &'a Message,
}

impl Models {
    /// Takes what is known of what is touched, and which of its facts are new.
    pub(crate) fn new(
        conversations: Vec<Conversation>,
        messages: Vec<Message>,
        new_facts: impl IntoIterator<Item = String>,
    ) -> Self {
        let known_terms = messages
            .iter()
            .map(|row| (row.id.clone(), terms::of(row)))
            .collect();
        let known_labels = conversations
            .iter()
            .map(|row| (row.key.clone(), row.handling.labels.clone()))
            .collect();
        Self {
            known_terms,
            known_labels,
            mentions: Vec::new(),
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
    pub(crate) fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
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

    /// Returns what messages are found by now and were not before, in order.
    pub(crate) fn new_terms(&self) -> Vec<NewTerm<'_>> {
        let mut new: Vec<_> = self
            .messages
            .values()
            .flat_map(|message| {
                let known = self.known_terms.get(&message.id);
                terms::of(message)
                    .into_iter()
                    .filter(move |term| known.is_none_or(|known| !known.contains(term)))
                    .map(move |term| NewTerm { term, message })
            })
            .collect();
        // So that of two writers each takes them in the same order.
        new.sort_by(|one, other| {
            (&one.term, &one.message.id).cmp(&(&other.term, &other.message.id))
        });
        new
    }

    /// Returns what labels conversations have by now and had not before, and the other way round,
    /// in order.
    pub(crate) fn changed_labels(&self) -> Vec<ChangedLabel> {
        conversation::changed_labels(&self.known_labels, &self.conversations)
    }

    /// Returns whom the notes of the batch mention, in order.
    pub(crate) fn mentions(&self) -> &[Mention] {
        &self.mentions
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
                    let is_template = match change {
                        ConversationChange::Outbound {
                            attempt: Some(attempt),
                            ..
                        } => conversation::is_template(&self.messages, attempt),
                        _ => false,
                    };
                    let row = self
                        .conversations
                        .entry(key.clone())
                        .or_insert_with(|| conversation::unheard_of(key));
                    row.position = position.clone();
                    if !brand_id.is_empty() {
                        row.brand_id.clone_from(brand_id);
                    }
                    let stored = &entry.row.stored;
                    conversation::change(row, change, stored, counts, is_template);
                    if let ConversationChange::Handled { mentions, .. } = change {
                        self.mentions
                            .extend(mentions.iter().map(|colleague| Mention {
                                colleague: colleague.clone(),
                                brand_id: row.brand_id.clone(),
                                stored_time: stored.stored_at,
                                note: position.clone(),
                            }));
                    }
                }
                Change::Message { message_id, change } => {
                    let row = self.messages.remove(message_id);
                    if let Some(row) = follow(row, message_id, &entry.row.stored, change) {
                        self.messages.insert(message_id.clone(), row);
                    }
                }
            }
        }
    }
}

/// Returns a message after a change; `None` if it is none of ours.
pub(crate) fn follow(
    row: Option<Message>,
    message_id: &str,
    stored: &Stored,
    change: &MessageChange,
) -> Option<Message> {
    let mut row = match (row, change) {
        (None, MessageChange::Requested { .. }) => unasked(message_id),
        // Reports about messages that are not ours change nothing.
        (row, _) => row?,
    };
    change_message(&mut row, change);
    // Which state that is, its owner knows best: a word about an attempt that another has replaced
    // changes none.
    if let Some(state) = told_state(stored).filter(|_| row.end_time.is_none()) {
        row.state = state;
    }
    if row.state != MessageState::Deferred {
        row.deferral = None;
    }
    let position = RowPosition::of(stored);
    // What is projected again from the archive says nothing new of the log.
    let is_new = row.position.incarnation != position.incarnation
        || row.position.sequence < position.sequence;
    if is_new {
        // Whatever stands on the log anew has to be purged anew.
        row.is_purged = false;
        row.update_time = Some(index::event_time(stored));
        row.position = position;
    }
    Some(row)
}

fn nowhere() -> RowPosition {
    RowPosition {
        stream: String::new(),
        incarnation: String::new(),
        sequence: 0,
    }
}

/// Returns the state that a message is in after an event, as the event's header has it.
fn told_state(stored: &Stored) -> Option<MessageState> {
    let word = stored.extension(Extension::State)?;
    MessageState::from_str_name(&format!("MESSAGE_STATE_{word}"))
}

/// A message of which nothing is known yet.
fn unasked(message_id: &str) -> Message {
    Message {
        id: message_id.to_owned(),
        key: ConversationKey {
            number: String::new(),
            customer_id: String::new(),
        },
        brand_id: String::new(),
        state: MessageState::Pending,
        outcome: MessageOutcome::Unspecified,
        reason: String::new(),
        delivery_status: DeliveryStatus::Unspecified,
        attempt_count: 0,
        route: Route::Unspecified,
        client_reference: String::new(),
        request_time: None,
        expire_time: None,
        update_time: None,
        end_time: None,
        is_purged: false,
        labels: Vec::new(),
        is_sensitive: false,
        send_time: None,
        attempts: Vec::new(),
        deferral: None,
        double_exposure: Vec::new(),
        nudge_message_id: String::new(),
        held_message_id: String::new(),
        position: nowhere(),
    }
}

/// An ended message stays ended.
fn change_message(row: &mut Message, change: &MessageChange) {
    let is_open = row.end_time.is_none();
    let enter = |row: &mut Message, state, reason: &str| {
        if is_open {
            row.state = state;
            reason.clone_into(&mut row.reason);
        }
    };
    match change {
        MessageChange::Touched => {}
        MessageChange::Requested {
            key,
            brand_id,
            client_reference,
            labels,
            is_sensitive,
            send_time,
            held_message_id,
            request_time,
            expire_time,
        } => {
            row.key = key.clone();
            row.brand_id.clone_from(brand_id);
            row.client_reference.clone_from(client_reference);
            row.labels.clone_from(labels);
            row.is_sensitive = *is_sensitive;
            row.send_time = *send_time;
            row.held_message_id.clone_from(held_message_id);
            row.request_time = *request_time;
            row.expire_time = *expire_time;
        }
        MessageChange::State { state, reason } => enter(row, *state, reason),
        MessageChange::Held {
            reason,
            nudge_message_id,
        } => {
            enter(row, MessageState::Held, reason);
            if !nudge_message_id.is_empty() {
                row.nudge_message_id.clone_from(nudge_message_id);
            }
        }
        MessageChange::Deferred { deferral } => {
            enter(row, MessageState::Deferred, &deferral.cause);
            row.deferral = Some(deferral.clone());
        }
        MessageChange::DoubleExposure { attempts } => row.double_exposure.clone_from(attempts),
        MessageChange::Attempt {
            number,
            route,
            sms_gateway,
            start_time,
        } => {
            enter(row, MessageState::Attempting, "");
            row.attempt_count = row.attempt_count.max(*number);
            row.route = *route;
            let is_risky = row.attempts.iter().any(|earlier| {
                let may_come = earlier.state == ABANDONED || earlier.may_still_arrive;
                earlier.number < *number && may_come
            });
            let attempt = attempt(row, *number);
            attempt.set_route(*route);
            attempt.sms_gateway.clone_from(sms_gateway);
            attempt.start_time = start_time.map(timestamp);
            // Abandoned or overdue, and repeated: the customer may get it twice.
            attempt.duplicate_risk = is_risky;
        }
        MessageChange::Tried {
            number,
            result,
            state,
            reason,
        } => {
            enter(row, *state, reason);
            let attempt = attempt(row, *number);
            let word = match result {
                AttemptResult::Accepted {
                    provider_message_id,
                    state,
                } => {
                    attempt.provider_message_id.clone_from(provider_message_id);
                    *state
                }
                AttemptResult::Rejected { error } => {
                    attempt.error.clone_from(error);
                    REJECTED
                }
                AttemptResult::Unknown => UNKNOWN,
                AttemptResult::Abandoned => ABANDONED,
            };
            word.clone_into(&mut attempt.state);
        }
        MessageChange::Overdue {
            number,
            moves_on,
            is_risky,
            reason,
        } => {
            let state = if *moves_on {
                MessageState::Pending
            } else {
                MessageState::Accepted
            };
            enter(row, state, reason);
            attempt(row, *number).may_still_arrive |= *is_risky;
        }
        MessageChange::Delivery { number, status } => {
            row.delivery_status = *status;
            let is_kept_back = matches!(
                row.state,
                MessageState::HeldForQualityAssessment | MessageState::Paused
            );
            // The platform has let it go.
            if is_kept_back {
                row.state = MessageState::Accepted;
            }
            if let Some(known) = row
                .attempts
                .iter_mut()
                .find(|known| known.number == *number)
            {
                known.set_delivery_status(*status);
                if [KeptBack::QualityAssessment, KeptBack::Paused]
                    .iter()
                    .any(|kept_back| kept_back.as_str() == known.state)
                {
                    ACCEPTED.clone_into(&mut known.state);
                }
            }
        }
        MessageChange::Cost { number, cost } => {
            attempt(row, *number).cost = Some(cost.clone());
        }
        MessageChange::Ended {
            outcome,
            reason,
            at,
        } => {
            row.state = MessageState::Ended;
            row.outcome = *outcome;
            row.reason.clone_from(reason);
            row.end_time = Some(*at);
        }
    }
}

// As the API names the states of an attempt.
const STARTED: &str = "STARTED";
const ACCEPTED: &str = "ACCEPTED";
const REJECTED: &str = "REJECTED";
const UNKNOWN: &str = "UNKNOWN";
const ABANDONED: &str = "ABANDONED";

/// Returns the attempt of a number, which is added if need be.
fn attempt(row: &mut Message, number: u32) -> &mut Attempt {
    let place = row
        .attempts
        .binary_search_by_key(&number, |known| known.number)
        .unwrap_or_else(|place| {
            let new = Attempt {
                number,
                state: STARTED.to_owned(),
                ..Attempt::default()
            };
            row.attempts.insert(place, new);
            place
        });
    &mut row.attempts[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_the_one_that_its_owner_tells() {
        let event = casement_event::v1::AttemptRejected::default();
        let mut stored = crate::fixture::record("MESSAGES", 1, &event.into());
        let rejected = MessageChange::Tried {
            number: 1,
            result: AttemptResult::Rejected { error: None },
            state: MessageState::Pending,
            reason: "FAIL".to_owned(),
        };
        let after = |stored: &Stored| follow(Some(unasked("m")), "m", stored, &rejected).unwrap();
        assert_eq!(after(&stored).state, MessageState::Pending);
        // No other attempt will be made, which this event alone does not say.
        stored
            .headers
            .push(("ce-state".to_owned(), "ENDED".to_owned()));
        assert_eq!(after(&stored).state, MessageState::Ended);
        assert_eq!(after(&stored).attempts[0].state, REJECTED);
    }

    #[test]
    fn a_fact_of_any_length_is_remembered_in_bounds() {
        assert_eq!(remembered("accepted/1"), "accepted/1");
        let [one, two] = ["1", "2"].map(|end| remembered(&("x".repeat(5_000) + end)));
        assert!(one.len() <= FACT_LEN_MAX && one != two);
    }
}

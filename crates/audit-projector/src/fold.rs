//! The read models that a batch touches, while its changes are made to them.
//!
//! Pure: a store loads what [`Touched`] names, has the changes made here, and writes the outcome,
//! all in one transaction. What counts once, what is late and what stays ended is decided here
//! and for every store alike.

mod conversation;
mod message;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use casement_event::Stored;
use casement_event::subject::stream;
use casement_proto::conversation::v1::{CustomerConsent, Direction};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::batch::Entry;
use crate::model::{
    Change, Conversation, ConversationChange, ConversationKey, Message, RowPosition,
};
use crate::said::Said;
use crate::{tally, terms, words};

pub(crate) use conversation::{ChangedLabel, Mention};
pub(crate) use message::follow;

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
                Change::Consents { .. } => {}
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
        | ConversationChange::Told { .. }
        | ConversationChange::Failed { .. }
        | ConversationChange::Handled { .. }
        | ConversationChange::Window { .. } => None,
    }
}

fn remembered(fact: &str) -> String {
    // The platform's id of a call holds the customer's phone.
    if fact.len() > FACT_LEN_MAX || fact.starts_with("call/") {
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
    documents: Vec<Document>,
    consents: BTreeMap<String, Vec<CustomerConsent>>,
}

/// Something that was said, and by which terms it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) stored_time: Timestamp,
    pub(crate) event: RowPosition,
    pub(crate) key: ConversationKey,
    pub(crate) brand_id: String,
    pub(crate) direction: Direction,
    pub(crate) terms: BTreeSet<String>,
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
            documents: Vec::new(),
            consents: BTreeMap::new(),
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

    /// Returns a message as it is now, if the batch touches it.
    pub(crate) fn message(&self, message_id: &str) -> Option<&Message> {
        self.messages.get(message_id)
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

    /// Returns what was said in the batch and has words, in order.
    pub(crate) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Returns what customers allow from now on, in order.
    pub(crate) fn consents(&self) -> &BTreeMap<String, Vec<CustomerConsent>> {
        &self.consents
    }

    fn say(&mut self, said: &Said, stored: &Stored) {
        if let Some(row) = self.conversations.get_mut(&said.key) {
            tally::keep(&mut row.recent, said);
        }
        let terms = words::terms(&said.text);
        if !terms.is_empty() {
            self.documents.push(Document {
                stored_time: stored.stored_at,
                event: RowPosition::of(stored),
                key: said.key.clone(),
                brand_id: said.brand_id.clone(),
                direction: said.direction,
                terms,
            });
        }
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
                    let before = (!row.position.stream.is_empty()).then(|| row.places());
                    row.position = position.clone();
                    if !brand_id.is_empty() {
                        row.brand_id.clone_from(brand_id);
                    }
                    let stored = &entry.row.stored;
                    conversation::change(row, change, stored, counts, is_template);
                    // All that moves it in a list comes from there.
                    if stored.stream == stream::EVENTS && before != Some(row.places()) {
                        row.tally.moved(stored, before);
                    }
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
                Change::Consents {
                    customer_id,
                    consents,
                } => {
                    self.consents.insert(customer_id.clone(), consents.clone());
                }
            }
        }
        if let Some(said) = &entry.said {
            self.say(said, &entry.row.stored);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_of_any_length_is_remembered_in_bounds() {
        assert_eq!(remembered("accepted/1"), "accepted/1");
        assert!(!remembered("call/wacid.HBgN").contains("HBgN"));
        let [one, two] = ["1", "2"].map(|end| remembered(&("x".repeat(5_000) + end)));
        assert!(one.len() <= FACT_LEN_MAX && one != two);
    }
}

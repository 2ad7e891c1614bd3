//! What is sealed in which table, where keys of customers stand, and what is left to seal.
//!
//! The same for every database, but for looking up the keys of a batch, which stands beside each
//! backend. What sealing is, `crate::keys` says.

use std::collections::BTreeSet;

use casement_event::convert;
use casement_event::subject::stream;
use casement_proto::conversation::v1 as conversation_proto;
use jiff::Timestamp;
use prost::Message as _;

use super::backend::{Backend, all, event_key};
use super::messages::details;
use super::read;
use super::sql::{self, Query, Value};
use super::{Error, EventKey};
use crate::batch::Batch;
use crate::fold::Models;
use crate::keys::{CustomerKeys, Keyring, SEARCH_OWNER, owner_of, place};
use crate::model::{Conversation, ConversationKey, Message, Row, nanoseconds};
use crate::tally::Recent;

/// Its row stays, also where there never was a key, so that there never will be one.
const DESTROY_KEY: &str = "\
INSERT INTO customer_keys (owner, master_key_id, wrapped, destroy_time_ns)
VALUES ($1, '', $2, $3)
ON CONFLICT (owner) DO UPDATE SET
    master_key_id = EXCLUDED.master_key_id,
    wrapped = EXCLUDED.wrapped,
    destroy_time_ns = EXCLUDED.destroy_time_ns
WHERE customer_keys.destroy_time_ns IS NULL";

const KEYS: &str = "SELECT owner, wrapped FROM customer_keys";

/// Does nothing if the key was destroyed or wrapped anew meanwhile.
const REWRAP: &str = "\
UPDATE customer_keys SET master_key_id = $2, wrapped = $3 WHERE owner = $1 AND wrapped = $4";

/// Does nothing if somebody else was faster.
const SEAL_ROW: &str = "\
UPDATE archive SET payload = $4, salt = $5
WHERE stream = $1 AND incarnation = $2 AND sequence = $3 AND length(salt) > 0";

const COUNT_OLD_KEYS: &str = "\
SELECT COUNT(*) AS left_count FROM customer_keys
WHERE master_key_id <> $1 AND master_key_id <> ''";

const COUNT_LEFT: &str = "SELECT COUNT(*) AS left_count FROM archive WHERE length(salt) > 0";

/// What a conversation's row holds that is the customer's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) last_inbound_text: String,
    pub(super) profile_name: String,
    pub(super) recent: Vec<Recent>,
}

impl Said {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let said = conversation_proto::Conversation::decode(bytes)?;
        Ok(Self {
            last_inbound_text: said.last_inbound_text,
            profile_name: said.profile_name,
            recent: said.recent_messages.into_iter().map(recent).collect(),
        })
    }

    fn encode(of: &Conversation) -> Vec<u8> {
        let said = conversation_proto::Conversation {
            last_inbound_text: of.last_inbound_text.clone(),
            profile_name: of.profile_name.clone(),
            recent_messages: of.recent.iter().map(Recent::shown).collect(),
            ..conversation_proto::Conversation::default()
        };
        said.encode_to_vec()
    }
}

fn recent(stored: conversation_proto::RecentMessage) -> Recent {
    Recent {
        at: convert::instant("time", stored.time.as_ref())
            .ok()
            .flatten()
            .unwrap_or_default(),
        direction: stored.direction(),
        id: stored.event_id,
        kind: stored.kind,
        text: stored.text,
        message_id: stored.message_id,
    }
}

pub(super) fn archive_place(stream: &str, incarnation: &str, sequence: u64) -> String {
    place("archive", &[stream, incarnation, &sequence.to_string()])
}

pub(super) fn conversation_place(key: &ConversationKey) -> String {
    place("conversations", &[&key.number, &key.customer_id])
}

pub(super) fn message_place(message_id: &str) -> String {
    place("messages", &[message_id])
}

/// Returns salt and payload of a row, sealed; nothing of an erased owner's.
pub(super) fn row(keyring: &Keyring, owner: &str, row: &Row) -> Result<Vec<u8>, Error> {
    let stored = &row.stored;
    let place = archive_place(&stored.stream, &stored.incarnation, stored.sequence);
    let plain = [&row.salt[..], &stored.payload[..]].concat();
    Ok(keyring.seal(owner, &place, &plain)?.unwrap_or_default())
}

/// Returns what the customer is called and last wrote, sealed; nothing if there is nothing.
pub(super) fn conversation(keyring: &Keyring, row: &Conversation) -> Result<Vec<u8>, Error> {
    let plain = Said::encode(row);
    if plain.is_empty() {
        return Ok(plain);
    }
    let place = conversation_place(&row.key);
    let sealed = keyring.seal(&row.key.customer_id, &place, &plain)?;
    Ok(sealed.unwrap_or_default())
}

/// Returns what is kept of a message and looked up by nothing, sealed.
pub(super) fn message(keyring: &Keyring, row: &Message) -> Result<Vec<u8>, Error> {
    let plain = details(row);
    if plain.is_empty() {
        return Ok(plain);
    }
    let owner = owner_of(&row.key.customer_id, stream::MESSAGES);
    let sealed = keyring.seal(&owner, &message_place(&row.id), &plain)?;
    Ok(sealed.unwrap_or_default())
}

/// Returns whose keys the read models need.
pub(super) fn owners_of_models(models: &Models) -> BTreeSet<String> {
    let conversations = models
        .conversations()
        .map(|row| row.key.customer_id.clone());
    let messages = models.messages();
    let messages = messages.map(|row| owner_of(&row.key.customer_id, stream::MESSAGES));
    conversations.chain(messages).collect()
}

/// Returns the customer of each of a batch's rows. A report says which message it is about; whose
/// message that is, the read model knows.
pub(super) fn customers(batch: &Batch, models: &Models) -> Vec<String> {
    let customer = |row: &Row| {
        if !row.index.customer_id.is_empty() {
            return row.index.customer_id.clone();
        }
        let message = models.message(&row.index.message_id);
        message.map_or_else(String::new, |message| message.key.customer_id.clone())
    };
    batch
        .entries
        .iter()
        .map(|entry| customer(&entry.row))
        .collect()
}

/// Returns how a term of a message is written.
pub(super) fn term(keys: &CustomerKeys, term: &str) -> Result<String, Error> {
    let digest = keys.search()?.lookup("message term", term);
    Ok(format!("k:{digest}"))
}

/// Does what [`super::Store::destroy_keys`] promises.
#[cfg(test)]
pub(super) async fn destroy<B: Backend>(
    backend: &B,
    customers: &[String],
    at: Timestamp,
) -> Result<(), Error> {
    let statements = destroying(customers, at).collect();
    backend.change_all("destroy keys", statements).await?;
    backend.scrub().await
}

/// Returns what destroys the keys of customers.
pub(super) fn destroying(customers: &[String], at: Timestamp) -> impl Iterator<Item = Query> {
    customers.iter().map(move |customer| {
        let values = [
            Value::Text(customer.clone()),
            Value::Bytes(Vec::new()),
            Value::Integer(nanoseconds(at)),
        ];
        Query::whole(DESTROY_KEY, values)
    })
}

/// Counts keys that are wrapped under another master key than the first.
pub(super) async fn count_old_keys<B: Backend>(backend: &B) -> Result<u64, Error> {
    let first = backend.keys().master_key_id()?.to_owned();
    let query = Query::whole(COUNT_OLD_KEYS, [Value::Text(first)]);
    let counts = all(backend, "count old keys", query, read::left_count).await?;
    Ok(counts.into_iter().sum())
}

/// Wraps some keys anew that are wrapped under another master key than the first, and returns how
/// many.
pub(super) async fn rewrap<B: Backend>(backend: &B, keys_max: usize) -> Result<usize, Error> {
    let keys = backend.keys();
    let first = keys.master_key_id()?.to_owned();
    let old = |of_search: bool| {
        let mut query = Query::new(KEYS);
        query.and_text("master_key_id <> ?", Some(&first));
        query.and("master_key_id <> ''", []);
        let search = [Value::Text(SEARCH_OWNER.to_owned())];
        if of_search {
            query.and("owner = ?", search);
        } else {
            query.and("owner <> ?", search);
        }
        query.order("owner", keys_max);
        query
    };
    let operation = "list keys under an old master key";
    let mut found = all(backend, operation, old(false), read::wrapped).await?;
    if found.is_empty() {
        // Last, so that it tells of the others.
        found = all(backend, operation, old(true), read::wrapped).await?;
    }
    let mut statements = Vec::new();
    for (owner, wrapped) in &found {
        if let Some(new) = keys.rewrap(owner, wrapped)? {
            let values = [
                Value::Text(new.owner),
                Value::Text(new.master_key_id),
                Value::Bytes(new.wrapped),
                Value::Bytes(wrapped.clone()),
            ];
            statements.push(Query::whole(REWRAP, values));
        }
    }
    let count = statements.len();
    backend.change_all("wrap keys anew", statements).await?;
    Ok(count)
}

/// Counts what stands in the open.
pub(super) async fn count_left<B: Backend>(backend: &B) -> Result<u64, Error> {
    let query = Query::whole(COUNT_LEFT, []);
    let counts = all(backend, "count what is not sealed", query, read::left_count).await?;
    Ok(counts.into_iter().sum())
}

/// Seals some rows of the archive that stand in the open, in one transaction, and returns how many.
/// Their keys are stored before.
pub(super) async fn seal_next<B: Backend>(backend: &B, rows_max: usize) -> Result<usize, Error> {
    let mut query = Query::new(sql::ROW_COLUMNS);
    query.and("length(salt) > 0", []);
    query.order("stream, incarnation, sequence", rows_max);
    let keys = backend.keys();
    let read = |row: &B::Row| read::archived(row, keys);
    let rows = all(backend, "list rows that are not sealed", query, read).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let owner = |row: &Row| owner_of(&row.index.customer_id, &row.stored.stream);
    let keyring = backend.keyring(rows.iter().map(owner).collect()).await?;
    let seal = |one: &Row| {
        let [stream, incarnation, sequence] = event_key(&EventKey::of(one));
        let payload = Value::Bytes(row(&keyring, &owner(one), one)?);
        let salt = Value::Bytes(Vec::new());
        let values = [stream, incarnation, sequence, payload, salt];
        Ok(Query::whole(SEAL_ROW, values))
    };
    let statements = rows.iter().map(seal).collect::<Result<_, Error>>()?;
    backend.change_all("seal rows", statements).await?;
    Ok(rows.len())
}

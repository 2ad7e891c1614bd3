//! What a number's history from before its onboarding tells of one customer.

use casement_domain::inbound::Kind;
use casement_event::v1;
use casement_whatsapp::webhook::{HistoryChunk, HistoryMessage, HistoryThread, Item};
use jiff::SignedDuration;
use serde_json::Value;

use super::{Draft, addresses, id_of};
use crate::stored;

/// What a chunk of a shared history tells of one chat: one fact for each part of it that is not
/// too large to be stored.
pub(crate) fn history(item: &Item, chunk: &HistoryChunk, thread: &HistoryThread) -> Vec<Draft> {
    let event = stored::thread(chunk, thread);
    let mut drafts = Vec::new();
    for part in parts(&thread.messages) {
        let messages = &thread.messages[part.clone()];
        let Some(at) = messages.iter().map(|message| message.at).max() else {
            continue;
        };
        let raw = messages.iter().map(|message| message.raw.clone()).collect();
        let event = v1::HistoryImported {
            messages: event.messages[part].to_vec(),
            ..event.clone()
        };
        drafts.push(Draft {
            addresses: addresses(
                thread.phone.as_deref(),
                thread.user_id.as_deref(),
                thread.parent_user_id.as_deref(),
            ),
            repeats_within: HISTORY_REPEATS_WITHIN,
            ..Draft::new(id_of(item, &Value::Array(raw)), at, Kind::History, event)
        });
    }
    drafts
}

/// Cuts a chat into parts of bounded size.
fn parts(messages: &[HistoryMessage]) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, message) in messages.iter().enumerate() {
        let len = message.raw.to_string().len();
        if index > from && bytes + len > HISTORY_BYTES_MAX {
            parts.push(from..index);
            (from, bytes) = (index, 0);
        }
        bytes += len;
    }
    parts.push(from..messages.len());
    parts
}

/// How much of a chat's history stands in one fact, in bytes as received. It is stored twice, as
/// read and as received, and has to fit into one message of the log.
const HISTORY_BYTES_MAX: usize = 1 << 20;

/// History is older than the log reaches, and no less new for that. A repeat names the same time.
const HISTORY_REPEATS_WITHIN: SignedDuration = SignedDuration::from_secs(1);

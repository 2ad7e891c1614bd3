//! What was written before a number was onboarded.

use casement_event::{convert, v1};
use casement_whatsapp::webhook::{Content, HistoryChunk, HistoryMessage, HistoryThread};

use super::{content, context, errors, text};

/// Returns what a chunk tells of one chat, but for what only the log can tell.
pub(crate) fn thread(chunk: &HistoryChunk, thread: &HistoryThread) -> v1::HistoryImported {
    v1::HistoryImported {
        phase: chunk.phase.unwrap_or_default(),
        chunk_order: chunk.chunk_order.unwrap_or_default(),
        progress: chunk.progress.unwrap_or_default(),
        messages: thread.messages.iter().map(message).collect(),
        ..v1::HistoryImported::default()
    }
}

fn message(message: &HistoryMessage) -> v1::HistoryMessage {
    let said = message.content.as_ref().and_then(Content::text);
    v1::HistoryMessage {
        provider_message_id: message.wamid.clone(),
        time: Some(convert::timestamp(message.at)),
        outbound: message.outbound,
        kind: message.kind.as_str().to_owned(),
        text: said.unwrap_or_default().to_owned(),
        content: content(message.content.as_ref()),
        context: message.context.as_ref().map(context),
        status: text(&message.status),
        errors: errors(&message.errors),
        content_json: message.raw.to_string(),
    }
}

//! Reads of many messages of one subject at once.
//!
//! The broker sends a batch of them on one request, which any replica may answer, also one that
//! lags behind. So the caller names the newest message that it knows of, and an answer that does
//! not reach it is not believed: what is missing is read one by one, through the leader.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use casement_event::Stored;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;

use crate::connect::Inner;
use crate::link::Link;
use crate::{Log, ReadError, wire};

/// How many messages are asked for at once.
const BATCH_LEN: usize = 256;

/// How many bytes a batch may have: less than a client may fall behind before it is cut off.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Silence in the middle of a batch that means that the rest was lost.
const SILENCE_MAX: Duration = Duration::from_millis(500);

impl Log {
    /// Returns the messages of a subject from one sequence to another, both included, oldest
    /// first; at most `len_max` of them.
    ///
    /// `to` must have stood on the subject, so that the answer can be told to be whole.
    pub async fn read_range(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        to: u64,
        len_max: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let mut all: Vec<Stored> = Vec::new();
        let mut from = from;
        while from <= to && all.len() < len_max {
            let len = BATCH_LEN.min(len_max - all.len());
            let mut batch = if from == to {
                Vec::new()
            } else {
                self.batch(stream, subject, from, len).await
            };
            if batch.is_empty() {
                batch.extend(self.next(stream, subject, from).await?);
            }
            // Purged meanwhile, all of it.
            let Some(last) = batch.last() else { break };
            from = last.sequence + 1;
            all.extend(batch.into_iter().filter(|stored| stored.sequence <= to));
        }
        Ok(all)
    }

    /// Returns what came of a batch before it ended or broke off: messages that follow upon each
    /// other, or nothing.
    async fn batch(&self, stream: &str, subject: &str, from: u64, len: usize) -> Vec<Stored> {
        let Link::Nats(nats) = &self.inner.link else {
            return self.batch_in_memory(stream, subject, from, len).await;
        };
        let client = &nats.client;
        let inbox = client.new_inbox();
        let Ok(mut replies) = client.subscribe(inbox.clone()).await else {
            return Vec::new();
        };
        let request = json!({"seq": from.max(1), "next_by_subj": subject, "batch": len,
            "max_bytes": BATCH_BYTES_MAX});
        let asked = client
            .publish_with_reply(
                format!("$JS.API.DIRECT.GET.{stream}"),
                inbox,
                request.to_string().into(),
            )
            .await;
        let mut batch: Vec<Stored> = Vec::new();
        if asked.is_err() {
            return batch;
        }
        while let Ok(Some(reply)) = tokio::time::timeout(SILENCE_MAX, replies.next()).await {
            // The end of the batch, nothing found, or nobody there.
            if reply.status.is_some() {
                break;
            }
            // Each names the one before it, but for the first.
            let before = reply
                .headers
                .as_ref()
                .and_then(|headers| text(headers, "Nats-Last-Sequence")?.parse::<u64>().ok());
            let is_next = batch
                .last()
                .is_none_or(|last| before == Some(last.sequence));
            match direct(&self.inner, stream, reply) {
                Some(stored) if is_next => batch.push(stored),
                _ => break,
            }
            if batch.len() >= len {
                break;
            }
        }
        let _ = replies.unsubscribe().await;
        batch
    }

    /// The same of a log in memory, which does not lag behind.
    async fn batch_in_memory(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        len: usize,
    ) -> Vec<Stored> {
        let mut batch: Vec<Stored> = Vec::new();
        let mut from = from;
        while batch.len() < len
            && let Ok(Some(stored)) = self.next(stream, subject, from).await
        {
            from = stored.sequence + 1;
            batch.push(stored);
        }
        batch
    }
}

/// A message as the broker sends it when it is asked for directly; `None` if it does not say where it
/// stands.
pub(crate) fn direct(log: &Inner, stream: &str, reply: Message) -> Option<Stored> {
    let headers = reply.headers?;
    let sequence = text(&headers, "Nats-Sequence")?.parse().ok()?;
    let subject = text(&headers, "Nats-Subject")?.to_owned();
    let stored_at: Timestamp = text(&headers, "Nats-Time-Stamp")?.parse().ok()?;
    let mut kept = wire::headers(&headers);
    kept.retain(|(name, _)| !DIRECT_HEADERS.contains(&name.as_str()));
    Some(Stored {
        stream: stream.to_owned(),
        incarnation: log.incarnations.get(stream).cloned().unwrap_or_default(),
        sequence,
        subject,
        stored_at,
        headers: kept,
        payload: reply.payload,
    })
}

/// What a direct answer adds to the message's own headers.
const DIRECT_HEADERS: [&str; 7] = [
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Num-Pending",
    "Nats-Last-Sequence",
    "Nats-UpTo-Sequence",
];

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(async_nats::HeaderValue::as_str)
}

//! What stands last on several subjects at one moment, with proof of how new that is.
//!
//! Of three brokers, one that stood still or was cut off goes on telling what it has until it notices,
//! and each read may be answered by another one. So of several reads, one may lack what another has,
//! and nothing in an answer says so; what is put together of them is a present that never was. The
//! broker also tells the newest messages of many subjects in one answer, and how far it had heard of
//! the stream by then. Any replica may give that answer, also one that lags; so the caller says how far
//! it has to reach, and an answer that does not is asked for again.

use std::time::Duration;

use async_nats::Message;
use casement_event::Stored;
use futures::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::connect::Inner;
use crate::link::{Link, Nats};
use crate::{Log, ReadError, scan};

/// How long after an answer that did not reach far enough the broker is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// What one answer held.
struct Answer {
    /// The newest message of each subject, in the order of the stream.
    newest: Vec<Stored>,
    /// Up to where whoever answered had heard of the stream; `None` if it had nothing to tell.
    heard: Option<u64>,
}

impl Log {
    /// Returns whether the log has copies, so that an answer may come of one that is behind.
    pub(crate) fn has_copies(&self) -> bool {
        self.inner.has_copies()
    }

    /// Returns the newest message of each subject that one of `filters` matches, all as they stood at
    /// one moment, after everything up to `seen` was stored.
    ///
    /// One of the filters has to match something that stands there: of nothing, nobody tells how new it
    /// is. Answers `Unavailable` if nobody who has heard of `seen` is found in time.
    pub async fn newest_of_each(
        &self,
        stream: &str,
        filters: &[&str],
        seen: u64,
    ) -> Result<Vec<Stored>, ReadError> {
        self.inner.newest_of_each(stream, filters, seen).await
    }

    /// Returns whether what was handed out at a sequence has been erased since, as somebody has it who
    /// knows of later messages. Not so where whoever answers may not have heard of it.
    pub async fn is_gone(&self, stream: &str, sequence: u64) -> Result<bool, ReadError> {
        let first = self.first_from(stream, sequence).await?;
        Ok(first.is_some_and(|first| first > sequence))
    }
}

impl Inner {
    pub(crate) fn has_copies(&self) -> bool {
        match &self.link {
            Link::Nats(_) => self.config.replicas > 1,
            // It has none, and may act as if.
            Link::Memory(_) => true,
        }
    }

    pub(crate) async fn newest_of_each(
        &self,
        stream: &str,
        filters: &[&str],
        seen: u64,
    ) -> Result<Vec<Stored>, ReadError> {
        let what = filters.join(" ");
        let until = Instant::now() + self.config.read_timeout;
        loop {
            let answer = match &self.link {
                Link::Nats(nats) => {
                    let answer = self.ask_for_each(nats, stream, filters);
                    let answer = tokio::time::timeout_at(until, answer).await;
                    answer.map_err(|elapsed| ReadError::unavailable(&what, elapsed))??
                }
                Link::Memory(memory) => {
                    let newest = memory.newest_of_each(stream, filters);
                    let (kept, heard) = self.patiently(&what, newest).await?;
                    let incarnation = self.incarnations.get(stream).map_or("", String::as_str);
                    let stored = kept
                        .iter()
                        .map(|kept| crate::wire::from_memory(stream, incarnation, kept));
                    Answer {
                        newest: stored.collect(),
                        heard: Some(heard),
                    }
                }
            };
            if answer.heard.is_some_and(|heard| heard >= seen) {
                return Ok(answer.newest);
            }
            if Instant::now() + AGAIN_AFTER >= until {
                let problem = format!("nobody who answers has heard of {seen} of {stream}");
                return Err(ReadError::unavailable(&what, problem));
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn ask_for_each(
        &self,
        nats: &Nats,
        stream: &str,
        filters: &[&str],
    ) -> Result<Answer, ReadError> {
        let what = || filters.join(" ");
        let client = &nats.client;
        let inbox = client.new_inbox();
        let replies = client.subscribe(inbox.clone()).await;
        let mut replies = replies.map_err(|error| ReadError::unavailable(&what(), error))?;
        let request = json!({"multi_last": filters}).to_string();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        client
            .publish_with_reply(subject, inbox, request.into())
            .await
            .map_err(|error| ReadError::unavailable(&what(), error))?;
        let mut newest: Vec<Stored> = Vec::new();
        let heard = loop {
            let Some(reply) = replies.next().await else {
                return Err(ReadError::unavailable(&what(), "the connection ended"));
            };
            if reply.status.is_some() {
                break whole_up_to(&reply, newest.last());
            }
            let stored = scan::direct(self, stream, reply);
            newest.push(stored.ok_or_else(|| ReadError::Unreadable {
                what: what(),
                problem: "an answer does not say where it stands".to_owned(),
            })?);
        };
        // Nobody else listens there.
        let _ = replies.unsubscribe().await;
        Ok(Answer { newest, heard })
    }
}

/// How far whoever answered has heard of the stream, by the end of the answer; `None` if it had nothing
/// to tell, or if a part of the answer was lost on its way.
fn whole_up_to(end: &Message, last: Option<&Stored>) -> Option<u64> {
    let headers = end.headers.as_ref()?;
    let number = |name| scan::text(headers, name)?.parse::<u64>().ok();
    let is_whole = number("Nats-Last-Sequence") == last.map(|last| last.sequence)
        && number("Nats-Num-Pending") == Some(0);
    number("Nats-UpTo-Sequence").filter(|_| is_whole)
}

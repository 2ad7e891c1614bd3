//! Appends, and how one without an answer is settled.
//!
//! Every append has a random id of its own. One that gets no answer is repeated as it was, with
//! the same id and the same expectation, until the answer is definite. A conflict after a
//! repeat may be our own first try: then what stands after the expected sequence is read from
//! the leader and searched for our id. The event's id would not do: a loser that took the
//! winner's event for its own would act twice.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::Request;
use bytes::Bytes;
use casement_event::{Record, Uuid, header};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::connect::{Inner, Log};
use crate::group::Group;
use crate::wire::{code, nats_header};
use crate::{AppendError, Position};

/// Pause before an append is repeated, so that a broker that refuses at once is not hammered.
const REPEAT_DELAY: Duration = Duration::from_millis(50);

/// What must be true of the log for an append to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing. The broker still drops a repeat of the same append.
    Anything,
    /// The newest message that matches the filter has this sequence; 0 for none at all.
    Last {
        /// A subject, or a wildcard over subjects of the same stream.
        filter: String,
        /// The sequence.
        sequence: u64,
    },
}

impl Expect {
    /// Expects the newest message on a subject, or a wildcard over several, to be this one.
    pub fn last(filter: impl Into<String>, sequence: u64) -> Self {
        Self::Last {
            filter: filter.into(),
            sequence,
        }
    }

    /// Expects that nothing stands on a subject.
    pub fn empty(subject: impl Into<String>) -> Self {
        Self::last(subject, 0)
    }
}

/// An append on its way, made once so that each repeat is the same bytes.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) expect: Expect,
    pub(crate) append_id: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Prepared {
    fn new(stream: &str, record: &Record, expect: Expect) -> Self {
        let append_id = Uuid::new_v4().simple().to_string();
        let mut headers = HeaderMap::new();
        for (name, value) in record.headers() {
            headers.insert(name, value.as_str());
        }
        headers.insert(header::APPEND_ID, append_id.as_str());
        headers.insert(nats_header::MESSAGE_ID, append_id.as_str());
        if let Expect::Last { filter, sequence } = &expect {
            headers.insert(
                nats_header::EXPECTED_SEQUENCE,
                sequence.to_string().as_str(),
            );
            if *filter != record.subject {
                headers.insert(nats_header::EXPECTED_SUBJECT, filter.as_str());
            }
        }
        Self {
            stream: stream.to_owned(),
            subject: record.subject.clone(),
            expect,
            append_id,
            headers,
            payload: record.event.encode(),
        }
    }

    /// What may only once be in flight: the subjects whose order this append depends on.
    pub(crate) fn key(&self) -> &str {
        match &self.expect {
            Expect::Anything => &self.append_id,
            Expect::Last { filter, .. } => filter,
        }
    }
}

/// The broker's answer to a publish.
#[derive(Debug, Deserialize)]
pub(crate) struct Ack {
    #[serde(default)]
    pub(crate) seq: u64,
    pub(crate) error: Option<AckError>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AckError {
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// What one try of a publish came to.
pub(crate) enum Answer {
    Stored {
        sequence: u64,
    },
    Conflict {
        description: String,
    },
    Refused {
        code: u64,
        description: String,
    },
    TooLarge,
    /// No stream took it: certain that nothing was stored, worth another try.
    NotTaken,
    Unanswered,
}

impl Log {
    /// Appends one event. Returns where it stands, once it is on disk.
    ///
    /// Appends that arrive together are committed together. Waits at most the configured
    /// deadline.
    pub async fn append(&self, record: Record, expect: Expect) -> Result<Position, AppendError> {
        let subject = record.subject.clone();
        self.append_all(vec![(record, expect)])
            .await
            .pop()
            .unwrap_or(Err(AppendError::Unknown { subject }))
    }

    /// Appends many events, each with its own expectation and its own result, in their order.
    ///
    /// A stale one refuses itself alone. They are not one transaction.
    pub async fn append_all(
        &self,
        records: Vec<(Record, Expect)>,
    ) -> Vec<Result<Position, AppendError>> {
        let mut waiting = Vec::with_capacity(records.len());
        for (record, expect) in records {
            let Some(stream) = stream_of(&record.subject) else {
                let subject = record.subject.clone();
                let description = "no stream takes this subject".to_owned();
                waiting.push(Err(AppendError::Refused {
                    subject,
                    code: 0,
                    description,
                }));
                continue;
            };
            let prepared = Prepared::new(stream, &record, expect);
            let (answer, answered) = oneshot::channel();
            let subject = prepared.subject.clone();
            let sent = self.group(stream).send(prepared, answer).await;
            waiting.push(if sent {
                Ok((subject, answered))
            } else {
                Err(AppendError::Unknown { subject })
            });
        }
        let mut results = Vec::with_capacity(waiting.len());
        for one in waiting {
            results.push(match one {
                Err(error) => Err(error),
                Ok((subject, answered)) => answered
                    .await
                    .unwrap_or(Err(AppendError::Unknown { subject })),
            });
        }
        results
    }

    fn group(&self, stream: &str) -> Group {
        let mut groups = self
            .inner
            .groups
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        groups
            .entry(stream.to_owned())
            .or_insert_with(|| Group::start(std::sync::Arc::downgrade(&self.inner)))
            .clone()
    }
}

fn stream_of(subject: &str) -> Option<&'static str> {
    use casement_event::subject::stream;
    let mut tokens = subject.split('.');
    if tokens.next() != Some("casement") {
        return None;
    }
    match (tokens.next()?, tokens.next()?) {
        ("raw", _) => Some(stream::RAW),
        ("customers", _) => Some(stream::CUSTOMERS),
        ("events", "message" | "report") => Some(stream::MESSAGES),
        ("events", _) => Some(stream::EVENTS),
        ("accounts", _) => Some(stream::ACCOUNTS),
        ("dead", _) => Some(stream::DEAD),
        ("leases", _) => Some(stream::LEASES),
        _ => None,
    }
}

impl Inner {
    /// Publishes one append until its outcome is definite, or the deadline has passed.
    pub(crate) async fn settle(
        &self,
        append: &Prepared,
        deadline: Instant,
        mut unanswered: bool,
    ) -> Result<Position, AppendError> {
        let subject = || append.subject.clone();
        loop {
            match self.publish(append).await {
                Answer::Stored { sequence } => return Ok(self.position(&append.stream, sequence)),
                Answer::Refused { code, description } => {
                    return Err(AppendError::Refused {
                        subject: subject(),
                        code,
                        description,
                    });
                }
                Answer::TooLarge => return Err(AppendError::TooLarge { subject: subject() }),
                Answer::Conflict { .. } if !unanswered => {
                    return Err(AppendError::Conflict { subject: subject() });
                }
                Answer::Conflict { .. } => match self.find_own(append).await {
                    Ok(Some(sequence)) => return Ok(self.position(&append.stream, sequence)),
                    Ok(None) => return Err(AppendError::Conflict { subject: subject() }),
                    Err(error) => {
                        tracing::debug!(error = %error, "could not look for an own append yet");
                    }
                },
                Answer::NotTaken => {}
                Answer::Unanswered => {
                    metrics::counter!("casement_append_unanswered_total").increment(1);
                    unanswered = true;
                }
            }
            if Instant::now() + REPEAT_DELAY >= deadline {
                return Err(AppendError::Unknown { subject: subject() });
            }
            tokio::time::sleep(REPEAT_DELAY).await;
        }
    }

    pub(crate) fn position(&self, stream: &str, sequence: u64) -> Position {
        Position {
            stream: stream.to_owned(),
            incarnation: self.incarnations.get(stream).cloned().unwrap_or_default(),
            sequence,
        }
    }

    async fn publish(&self, append: &Prepared) -> Answer {
        self.request(
            &append.subject,
            append.headers.clone(),
            append.payload.clone(),
        )
        .await
    }

    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Answer {
        use async_nats::RequestErrorKind;
        let request = Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(Some(self.config.ack_timeout));
        let answer = match self.client.send_request(subject.to_owned(), request).await {
            Ok(answer) => answer,
            Err(error) => {
                return match error.kind() {
                    RequestErrorKind::MaxPayloadExceeded => Answer::TooLarge,
                    RequestErrorKind::NoResponders => Answer::NotTaken,
                    RequestErrorKind::InvalidSubject => Answer::Refused {
                        code: 0,
                        description: "subject is not valid".to_owned(),
                    },
                    RequestErrorKind::TimedOut | RequestErrorKind::Other => Answer::Unanswered,
                };
            }
        };
        let Ok(ack) = serde_json::from_slice::<Ack>(&answer.payload) else {
            return Answer::Unanswered;
        };
        match ack.error {
            None => Answer::Stored { sequence: ack.seq },
            Some(error) => match error.err_code {
                code::WRONG_LAST_SEQUENCE
                | code::WRONG_LAST_SEQUENCE_CONSTANT
                | code::BATCH_DUPLICATE => Answer::Conflict {
                    description: error.description,
                },
                transient if code::TRANSIENT.contains(&transient) => Answer::Unanswered,
                code => Answer::Refused {
                    code,
                    description: error.description,
                },
            },
        }
    }

    /// Looks for our own append among what stands after the expected sequence.
    pub(crate) async fn find_own(
        &self,
        append: &Prepared,
    ) -> Result<Option<u64>, crate::ReadError> {
        let (filter, mut after) = match &append.expect {
            Expect::Anything => return Ok(None),
            Expect::Last { filter, sequence } => (filter.clone(), *sequence),
        };
        while let Some(stored) = self.next_on(&append.stream, &filter, after + 1).await? {
            if stored.header(header::APPEND_ID) == Some(append.append_id.as_str()) {
                return Ok(Some(stored.sequence));
            }
            after = stored.sequence;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_of_the_house_has_a_stream() {
        let table = [
            ("casement.raw.whatsapp", Some("RAW")),
            ("casement.customers.link.p.t", Some("CUSTOMERS")),
            ("casement.events.inbound.03.1.c", Some("EVENTS")),
            ("casement.events.message.03.1.m", Some("MESSAGES")),
            ("casement.events.report.03.1.m", Some("MESSAGES")),
            ("casement.accounts.brand.x", Some("ACCOUNTS")),
            ("casement.dead.ingress", Some("DEAD")),
            ("elsewhere.raw.x", None),
            ("casement.raw", None),
        ];
        for (subject, stream) in table {
            assert_eq!(stream_of(subject), stream, "{subject}");
        }
    }
}

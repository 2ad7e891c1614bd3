//! Appends, and how one without an answer is settled.
//!
//! Every append has a random id of its own. One that gets no answer is repeated as it was, with
//! the same id and the same expectation, until the answer is definite. A conflict after a
//! repeat may be our own first try: then what stands after the expected sequence is read from
//! the leader and searched for our id. The event's id would not do: a loser that took the
//! winner's event for its own would act twice.

mod prepared;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::Request;
use bytes::Bytes;
use casement_event::{Record, header};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connect::{Inner, Log};
use crate::group::{Group, Waiting};
use crate::leave::Asked;
use crate::link::{Link, Nats};
use crate::wire::{append_subject, code};
use crate::{AppendError, Position, metrics, trace};

pub use prepared::Expect;
pub(crate) use prepared::{Prepared, Urgency};

/// Pause before an append is repeated, so that a broker that refuses at once is not hammered.
const REPEAT_DELAY: Duration = Duration::from_millis(50);

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
    /// Not sent, or no stream took it: certain that this try stored nothing; worth another.
    NotTaken,
    Unanswered,
}

/// Where our own append was found.
pub(crate) enum Own {
    At(u64),
    Nowhere,
    /// Nothing says where to look.
    CannotTell,
}

impl Log {
    /// Appends one event. Returns where it stands, once it is on disk.
    ///
    /// Appends that arrive together are committed together. Waits at most the configured
    /// deadline, whatever the broker does.
    pub async fn append(&self, record: Record, expect: Expect) -> Result<Position, AppendError> {
        let subject = record.subject.clone();
        self.append_all(vec![(record, expect)])
            .await
            .pop()
            .unwrap_or(Err(AppendError::Unknown { subject }))
    }

    /// Appends many events, each with its own expectation and its own result, those of one
    /// subject in their order.
    ///
    /// A stale one refuses itself alone. They are not one transaction.
    pub async fn append_all(
        &self,
        records: Vec<(Record, Expect)>,
    ) -> Vec<Result<Position, AppendError>> {
        let started = Instant::now();
        let deadline = started + self.inner.config.append_deadline;
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
            let span = trace::publishing(stream, &record);
            let prepared = Prepared::new(stream, &record, expect, &span);
            let (answer, answered) = oneshot::channel();
            let subject = prepared.subject.clone();
            let one = Waiting {
                append: prepared,
                answer,
                deadline,
            };
            let sent = timeout_at(deadline, self.group(stream).send(one)).await;
            waiting.push(match sent {
                Ok(true) => Ok((stream, subject, answered, span)),
                Ok(false) | Err(_) => Err(AppendError::Unknown { subject }),
            });
        }
        let mut results = Vec::with_capacity(waiting.len());
        for one in waiting {
            results.push(match one {
                Err(error) => Err(error),
                // The writer drops what nobody waits for any more and was not sent yet.
                Ok((stream, subject, answered, span)) => {
                    let result = match timeout_at(deadline, answered).await {
                        Ok(Ok(result)) => result,
                        Ok(Err(_)) | Err(_) => Err(AppendError::Unknown {
                            subject: subject.clone(),
                        }),
                    };
                    trace::tell(&span, &result);
                    metrics::appended(stream, &subject, started.elapsed(), &result);
                    result
                }
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
        ("keys", _) => Some(stream::SENSITIVE_KEYS),
        ("secrets", _) => Some(stream::SECRETS),
        _ => None,
    }
}

impl Inner {
    /// Publishes one append until its outcome is definite, or the deadline has passed.
    ///
    /// `unanswered` says whether it was published before without an answer.
    pub(crate) async fn settle(
        &self,
        append: &Prepared,
        deadline: Instant,
        unanswered: bool,
    ) -> Result<Position, AppendError> {
        let subject = append.subject.clone();
        timeout_at(deadline, self.settle_without_limit(append, unanswered))
            .await
            .unwrap_or(Err(AppendError::Unknown { subject }))
    }

    async fn settle_without_limit(
        &self,
        append: &Prepared,
        mut unanswered: bool,
    ) -> Result<Position, AppendError> {
        let subject = || append.subject.clone();
        loop {
            match self.publish(append).await {
                Answer::Stored { sequence } => return Ok(self.position(append.stream, sequence)),
                Answer::Refused { code, description } if !unanswered => {
                    return Err(AppendError::Refused {
                        subject: subject(),
                        code,
                        description,
                    });
                }
                // The repeat was refused, which says nothing about the first try.
                Answer::Refused { code, description } => match self.find_own(append).await {
                    Ok(Own::At(sequence)) => return Ok(self.position(append.stream, sequence)),
                    Ok(Own::Nowhere) => {
                        return Err(AppendError::Refused {
                            subject: subject(),
                            code,
                            description,
                        });
                    }
                    Ok(Own::CannotTell) | Err(_) => {
                        tracing::debug!(code, description, "repeat refused");
                    }
                },
                Answer::TooLarge => return Err(AppendError::TooLarge { subject: subject() }),
                Answer::Conflict { .. } if !unanswered => {
                    return Err(AppendError::Conflict { subject: subject() });
                }
                Answer::Conflict { .. } => match self.find_own(append).await {
                    Ok(Own::At(sequence)) => return Ok(self.position(append.stream, sequence)),
                    Ok(Own::Nowhere | Own::CannotTell) => {
                        return Err(AppendError::Conflict { subject: subject() });
                    }
                    Err(error) => {
                        tracing::debug!(error = %error, "could not look for an own append yet");
                    }
                },
                Answer::NotTaken => {}
                Answer::Unanswered => {
                    ::metrics::counter!("casement_append_unanswered_total").increment(1);
                    unanswered = true;
                }
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
            &append_subject(&append.subject),
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
        // The client would keep it for when the connection is back, long after its caller left.
        if !self.is_connected() {
            return Answer::NotTaken;
        }
        let nats = match &self.link {
            Link::Nats(nats) => nats,
            Link::Memory(memory) => {
                let published = memory.publish(vec![(subject.to_owned(), headers, payload)]);
                let answer = timeout(self.config.ack_timeout, published).await;
                return answer.unwrap_or(Answer::Unanswered);
            }
        };
        let begun = Instant::now();
        let answer = self.ask(nats, subject, headers, payload).await;
        match &answer {
            Answer::NotTaken | Answer::Unanswered => nats.unanswered(Asked::ToStore, begun),
            Answer::Stored { .. } => nats.leave.answered(Asked::ToStore),
            // A leader that is cut off refuses as well as any other.
            Answer::Conflict { .. } | Answer::Refused { .. } | Answer::TooLarge => {}
        }
        answer
    }

    async fn ask(&self, nats: &Nats, subject: &str, headers: HeaderMap, payload: Bytes) -> Answer {
        use async_nats::RequestErrorKind;
        let request = Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(None);
        // The client's own time-out does not cover the wait for room in its queue.
        let request = nats.client.send_request(subject.to_owned(), request);
        let answer = match timeout(self.config.ack_timeout, request).await {
            Ok(Ok(answer)) => answer,
            Err(_) => return Answer::Unanswered,
            Ok(Err(error)) => {
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
                code::WRONG_LAST_SEQUENCE | code::BATCH_DUPLICATE => Answer::Conflict {
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
    pub(crate) async fn find_own(&self, append: &Prepared) -> Result<Own, crate::ReadError> {
        let (filter, mut after) = match &append.expect {
            Expect::Anything => return Ok(Own::CannotTell),
            Expect::Last { filter, sequence } => (filter.clone(), *sequence),
        };
        while let Some(stored) = self.next_on(append.stream, &filter, after + 1).await? {
            if stored.header(header::APPEND_ID) == Some(append.append_id.as_str()) {
                return Ok(Own::At(stored.sequence));
            }
            after = stored.sequence;
        }
        Ok(Own::Nowhere)
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

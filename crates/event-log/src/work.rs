//! Work: messages handed out to whichever worker is free, each until it is done.
//!
//! A message is acknowledged after its effect is durable and not before. What cannot be done
//! now is handed out again, later and later, for ever; what can never be done is for its worker
//! to write down as a dead letter, item by item, and then call done.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use casement_event::Stored;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::append::Answer;
use crate::connect::Log;
use crate::error::chain;
use crate::link::{Link, Message, Messages, messages};
use crate::{AppendError, ReadError, metrics, trace, wire};

/// Longest pause before a message that could not be handled is handed out again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// First pause before a message that could not be handled is handed out again.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);

/// How often the broker is asked how much work there is.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A queue of work on the log.
#[derive(Debug, Clone)]
pub struct WorkSpec {
    /// Name of the durable consumer: workers with the same name share the work.
    pub name: &'static str,
    /// The stream.
    pub stream: &'static str,
    /// Which subjects of it.
    pub filters: Vec<String>,
    /// How many messages may be in hand at once.
    pub in_hand_max: usize,
    /// How long a worker may be silent about a message before another gets it.
    pub ack_wait: Duration,
}

/// A message in hand.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub stored: Stored,
    /// How often it was handed out, this time included.
    pub delivered: i64,
}

/// Why a message could not be handled now. It is handed out again.
///
/// Not an error type itself, so that any error turns into it with `?`.
#[derive(Debug)]
pub struct Failure(pub Box<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Log {
    /// Hands messages to `handle` until the token is cancelled; then finishes what is in hand.
    ///
    /// Never returns otherwise: a broker that is away is waited for.
    pub async fn work<F, Fut>(&self, spec: WorkSpec, stopping: CancellationToken, handle: F)
    where
        F: Fn(Delivery) -> Fut + Sync,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        metrics::work_exists(spec.name);
        let mut delay = Duration::ZERO;
        while !stopping.is_cancelled() {
            match self.open_work(&spec).await {
                Ok(messages) => {
                    delay = Duration::ZERO;
                    tokio::select! {
                        () = self.drain(&spec, messages, &stopping, &handle) => {}
                        never = self.look(&spec) => match never {},
                    }
                }
                Err(error) => {
                    tracing::warn!(work = spec.name, error = %error, "work is not to be had yet");
                }
            }
            delay = (delay * 2).clamp(RETRY_DELAY_MIN, RETRY_DELAY_MAX);
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
        // So that a process that ends now has said what it has done.
        if let Link::Nats(nats) = &self.inner.link {
            let _ = tokio::time::timeout(self.inner.config.read_timeout, nats.client.flush()).await;
        }
    }

    /// Answers a command where its sender listens. Nothing is kept of it: who has gone has gone.
    ///
    /// # Errors
    /// The broker is away, or the subject is none.
    pub async fn answer(
        &self,
        subject: &str,
        content_type: &str,
        payload: Vec<u8>,
    ) -> Result<(), ReadError> {
        // In memory nobody listens.
        let Link::Nats(nats) = &self.inner.link else {
            return Ok(());
        };
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(casement_event::header::CONTENT_TYPE, content_type);
        let what = "answer to a command";
        let published =
            nats.client
                .publish_with_headers(subject.to_owned(), headers, payload.into());
        published
            .await
            .map_err(|error| ReadError::unavailable(what, error))
    }

    /// Publishes a command as a service does. Of two with one `id` within the broker's window for
    /// duplicates, one is kept.
    ///
    /// # Errors
    /// The broker is away, or refuses it.
    pub async fn command(
        &self,
        subject: &str,
        id: &str,
        headers: &[(&str, &str)],
        payload: Vec<u8>,
    ) -> Result<(), AppendError> {
        let mut sent = async_nats::HeaderMap::new();
        sent.insert(wire::nats_header::MESSAGE_ID, id);
        for (name, value) in headers {
            sent.insert(*name, *value);
        }
        let subject = subject.to_owned();
        match self.inner.request(&subject, sent, payload.into()).await {
            Answer::Stored { .. } => Ok(()),
            Answer::TooLarge => Err(AppendError::TooLarge { subject }),
            Answer::Refused { code, description } => Err(AppendError::Refused {
                subject,
                code,
                description,
            }),
            Answer::Conflict { .. } | Answer::NotTaken | Answer::Unanswered => {
                Err(AppendError::Unknown { subject })
            }
        }
    }

    async fn drain<F, Fut>(
        &self,
        spec: &WorkSpec,
        mut messages: Messages,
        stopping: &CancellationToken,
        handle: &F,
    ) where
        F: Fn(Delivery) -> Fut + Sync,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        (&mut messages)
            .take_until(stopping.cancelled())
            .take_while(|message| {
                if let Err(error) = message {
                    tracing::warn!(work = spec.name, error = %error, "work was cut off");
                }
                futures::future::ready(message.is_ok())
            })
            .filter_map(|message| futures::future::ready(message.ok()))
            .for_each_concurrent(spec.in_hand_max, |message| self.one(spec, message, handle))
            .await;
        // What came and was not begun is for other workers, at once; not for this one, whose
        // request ends first. What the broker has sent already comes before its answer.
        if stopping.is_cancelled()
            && let Link::Nats(nats) = &self.inner.link
            && let Ok(stream) = nats.open(spec.stream)
        {
            let asked = stream.consumer_info(spec.name);
            let _ = self
                .inner
                .in_time(spec.stream, "consumer's state", asked)
                .await;
        }
        let mut left = Vec::new();
        while left.len() < spec.in_hand_max
            && let Some(Some(Ok(message))) = messages.next().now_or_never()
        {
            left.push(message);
        }
        drop(messages);
        for message in left {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }

    async fn one<F, Fut>(&self, spec: &WorkSpec, message: Message, handle: &F)
    where
        F: Fn(Delivery) -> Fut + Sync,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        let incarnation = self.incarnation(spec.stream);
        let (stored, pending) = match wire::from_consumer(&incarnation, &message) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(work = spec.name, error = %error, "delivery cannot be read");
                return;
            }
        };
        let delivered = pending.delivered;
        let sequence = stored.sequence;
        metrics::begun(spec.name, stored.stored_at);
        let span = trace::processing(spec.name, &stored);
        // Slow handling is told to the broker, so that nobody else gets the message meanwhile.
        let handled = {
            let handling = span.in_scope(|| handle(Delivery { stored, delivered }));
            let mut handling = std::pin::pin!(handling.instrument(span.clone()));
            loop {
                tokio::select! {
                    handled = &mut handling => break handled,
                    () = tokio::time::sleep(spec.ack_wait / 3) => {
                        let _ = message.ack_with(AckKind::Progress).await;
                    }
                }
            }
        };
        let answer = match handled {
            Ok(()) => AckKind::Ack,
            Err(error) => {
                let error = chain(error.0.as_ref());
                span.record("otel.status_code", "ERROR");
                metrics::repeated(spec.name);
                tracing::warn!(
                    work = spec.name,
                    sequence,
                    delivered,
                    error,
                    "will be tried again"
                );
                AckKind::Nak(Some(retry_delay(delivered)))
            }
        };
        // A lost acknowledgement means another delivery, which every handler tolerates.
        if let Err(error) = message.ack_with(answer).await {
            tracing::debug!(work = spec.name, sequence, error = %error, "acknowledgement not sent");
        }
    }

    /// Counts what waits, for as long as it is polled.
    async fn look(&self, spec: &WorkSpec) -> std::convert::Infallible {
        loop {
            let what = "consumer's state";
            match &self.inner.link {
                Link::Nats(nats) => {
                    if let Ok(stream) = nats.open(spec.stream)
                        && let Ok(info) = self
                            .inner
                            .in_time(spec.stream, what, stream.consumer_info(spec.name))
                            .await
                    {
                        metrics::waiting(spec.name, info.num_pending, info.num_ack_pending);
                    }
                }
                Link::Memory(memory) => {
                    if let Ok((waiting, in_hand)) = memory.waiting(spec.stream, spec.name) {
                        metrics::waiting(spec.name, waiting, in_hand);
                    }
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn open_work(&self, spec: &WorkSpec) -> Result<Messages, ReadError> {
        let what = format!("work {}", spec.name);
        let pending_max = spec.in_hand_max * 4;
        let nats = match &self.inner.link {
            Link::Nats(nats) => nats,
            Link::Memory(memory) => {
                let filters = spec.filters.clone();
                let open = memory.work(spec.stream, spec.name, filters, spec.ack_wait, pending_max);
                let open = tokio::time::timeout(self.inner.config.read_timeout, open).await;
                return open.map_err(|elapsed| ReadError::unavailable(&what, elapsed))?;
            }
        };
        let config = pull::Config {
            durable_name: Some(spec.name.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: spec.ack_wait,
            max_deliver: -1,
            max_ack_pending: i64::try_from(pending_max).unwrap_or(i64::MAX),
            filter_subjects: spec.filters.clone(),
            ..pull::Config::default()
        };
        let consumer = nats.open(spec.stream)?.create_consumer(config);
        let consumer = self.inner.in_time(spec.stream, &what, consumer).await?;
        consumer
            .stream()
            .max_messages_per_batch(spec.in_hand_max)
            .heartbeat(Duration::from_secs(2))
            .expires(Duration::from_secs(20))
            .messages()
            .await
            .map(messages)
            .map_err(|error| ReadError::unavailable(&what, error))
    }
}

fn retry_delay(delivered: i64) -> Duration {
    let doublings = u32::try_from(delivered.clamp(1, 16) - 1).unwrap_or_default();
    (RETRY_DELAY_MIN * 2_u32.saturating_pow(doublings)).min(RETRY_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_and_never_stop() {
        assert_eq!(retry_delay(1), Duration::from_millis(100));
        assert_eq!(retry_delay(2), Duration::from_millis(200));
        assert_eq!(retry_delay(1_000_000), RETRY_DELAY_MAX);
    }
}

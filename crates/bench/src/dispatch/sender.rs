//! Callers: requests as fast as they are answered, at a rate, or again until they are accepted.
//!
//! Each request has an id, so that it can be repeated; each is a text to a customer whose window is
//! open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_event::v1;
use casement_proto::message::v1::SendMessageRequest;
use casement_proto::message::v1::message_service_client::MessageServiceClient;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::{Clock as _, SystemClock};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::scene::Who;
use crate::roles::{Running, authorised};

/// Connections to the dispatcher.
const CONNECTIONS: usize = 4;

/// How long a caller waits who was not answered, before it asks again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How long a caller asks again before it gives up.
const INSIST_MAX: Duration = Duration::from_mins(5);

const TEXT: &str = "Yes, the blue one is here in size 42. Shall we keep it for you until Friday?";

/// Sends messages; each of its own running number. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender {
    clients: Vec<MessageServiceClient<Channel>>,
    who: Who,
    side: Side,
    /// How often an unanswered request was repeated.
    repeats: Arc<AtomicUsize>,
    /// Whether requests at a rate are repeated, too.
    insists: bool,
}

/// Whom a sender writes to, and how urgently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    /// Stands in the ids of its requests.
    pub(crate) name: &'static str,
    pub(crate) priority: v1::Priority,
    /// Every `step`th customer from here on.
    pub(crate) offset: usize,
    pub(crate) step: usize,
}

/// Everybody, as urgently as the purpose says.
const EVERYBODY: Side = Side {
    name: "bench",
    priority: v1::Priority::Unspecified,
    offset: 0,
    step: 1,
};

/// A request at a rate.
pub(crate) struct Asked {
    pub(crate) message_id: String,
    /// When it was due.
    pub(crate) due: Timestamp,
    /// How long after that it was answered.
    pub(crate) answered: Duration,
}

impl Sender {
    pub(crate) fn new(dispatcher: &Running, who: Who) -> anyhow::Result<Self> {
        let clients = (0..CONNECTIONS).map(|_| dispatcher.messages());
        Ok(Self {
            clients: clients.collect::<anyhow::Result<_>>()?,
            who,
            side: EVERYBODY,
            repeats: Arc::default(),
            insists: false,
        })
    }

    /// Repeats requests at a rate until they are answered, as callers do who want them to go.
    pub(crate) fn insisting(mut self) -> Self {
        self.insists = true;
        self
    }

    /// Writes to some customers only.
    pub(crate) fn of(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// How often an unanswered request was repeated.
    pub(crate) fn repeats(&self) -> usize {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Asks for a message, and returns its id.
    async fn send(&self, index: usize) -> Result<String, Status> {
        let side = self.side;
        let customer = self.who.customer(index * side.step + side.offset);
        let request = SendMessageRequest {
            number: format!("+{}", self.who.number(customer).0),
            customer: Some(Customer::To(format!("+{}", Who::phone(customer)))),
            content: Some(v1::Content {
                free_form: Some(v1::FreeForm {
                    text: TEXT.to_owned(),
                    ..v1::FreeForm::default()
                }),
                ..v1::Content::default()
            }),
            purpose: v1::Purpose::Service.into(),
            priority: side.priority.into(),
            request_id: format!("{}-{index}", side.name),
            ..SendMessageRequest::default()
        };
        let request = authorised(request).map_err(|error| Status::internal(error.to_string()))?;
        let mut client = self.clients[index % self.clients.len()].clone();
        let answer = client.send_message(request).await?.into_inner();
        let message = answer.message;
        message
            .map(|message| message.message_id)
            .ok_or_else(|| Status::internal("an answer holds a message"))
    }

    /// Asks again until the message is accepted: who hears nothing does not know whether it was.
    pub(crate) async fn insist(&self, index: usize) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            match self.send(index).await {
                Ok(message_id) => return Ok(message_id),
                Err(status) if is_silence(&status) && begun.elapsed() < INSIST_MAX => {
                    self.repeats.fetch_add(1, Ordering::Relaxed);
                    sleep(AGAIN_AFTER).await;
                }
                Err(status) => bail!("request {index} is refused: {status}"),
            }
        }
    }

    /// Asks for `count` messages, so many at once, and returns how long it took.
    pub(crate) async fn burst(
        &self,
        first: usize,
        count: usize,
        at_once: usize,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let next = Arc::new(AtomicUsize::new(first));
        let mut callers = JoinSet::new();
        for _ in 0..at_once {
            let (sender, next) = (self.clone(), Arc::clone(&next));
            callers.spawn(async move {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= first + count {
                        return anyhow::Ok(());
                    }
                    sender.send(index).await.context("request")?;
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        Ok(begun.elapsed())
    }

    /// Asks for messages when they are due, whatever becomes of those before.
    pub(crate) async fn paced(
        &self,
        first: usize,
        count: usize,
        rate: usize,
        clock: &SystemClock,
    ) -> anyhow::Result<Vec<Asked>> {
        let (started, started_at) = (Instant::now(), clock.now());
        let mut callers = JoinSet::new();
        for index in 0..count {
            let after = after(index, rate);
            sleep_until(started + after).await;
            let due = started_at.saturating_add(SignedDuration::try_from(after)?)?;
            let sender = self.clone();
            callers.spawn(async move {
                let message_id = if sender.insists {
                    sender.insist(first + index).await?
                } else {
                    sender.send(first + index).await.context("request")?
                };
                anyhow::Ok(Asked {
                    message_id,
                    due,
                    answered: (started + after).elapsed(),
                })
            });
        }
        let mut asked = Vec::with_capacity(count);
        while let Some(done) = callers.join_next().await {
            asked.push(done??);
        }
        asked.sort_by_key(|asked| asked.due);
        Ok(asked)
    }
}

/// How long after the start the request of an index is due.
pub(crate) fn after(index: usize, rate: usize) -> Duration {
    let index = f64::from(u32::try_from(index).unwrap_or(u32::MAX));
    let rate = f64::from(u32::try_from(rate.max(1)).unwrap_or(u32::MAX));
    Duration::from_secs_f64(index / rate)
}

/// Whether an error says that nobody knows what became of the request.
fn is_silence(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    )
}

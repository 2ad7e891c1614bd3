//! Many messages at once: each accepted or refused for itself, and answered in its order.
//!
//! Acceptance is the same as of one message; this only keeps several under way, keeps those to one
//! customer in their order, and turns a refusal into an answer. It holds nothing back: who sends
//! faster than messages become durable is made to wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;

use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse, said};
use casement_shell::telemetry;
use futures::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tonic::{Code, Status, Streaming};

use crate::grpc::Messages;
use crate::view;

/// What a stream of requests is answered with.
pub(crate) type Answers =
    Pin<Box<dyn Stream<Item = Result<api::SendMessagesResponse, Status>> + Send>>;

/// How many requests of one call are under way at once.
const IN_HAND_MAX: usize = 64;

/// How many requests a call that is no stream may hold.
pub(crate) const REQUESTS_MAX: usize = 500;

impl Messages {
    /// Accepts a stream of messages.
    pub(crate) fn accept_stream(
        &self,
        caller: Caller,
        requests: Streaming<api::SendMessagesRequest>,
    ) -> Answers {
        let (messages, mut turns) = (self.clone(), Turns::default());
        let traceparent = telemetry::current_traceparent();
        let answers = requests
            .take_until(self.closing.clone().cancelled_owned())
            .enumerate()
            .map(move |(index, request)| {
                let (messages, caller) = (messages.clone(), caller.clone());
                let traceparent = traceparent.clone();
                let taken = request.map(|request| {
                    let request = request.request.unwrap_or_default();
                    (turns.take(addressee(&request)), request)
                });
                async move {
                    // What breaks the stream itself ends it.
                    let (mut turn, request) = taken?;
                    turn.begins().await;
                    let accepted = messages.accept_one(&caller, &request, traceparent).await;
                    drop(turn);
                    Ok(api::SendMessagesResponse {
                        index: index as u64,
                        result: Some(result(accepted)),
                    })
                }
            })
            .buffered(IN_HAND_MAX);
        let closing = self.closing.clone();
        let stopped = futures::stream::once(async move { closing.is_cancelled() })
            .filter_map(async |is_closing| is_closing.then(|| Err(closing_down())));
        Box::pin(answers.chain(stopped))
    }

    /// Accepts some messages, and answers them all together.
    pub(crate) async fn accept_all(
        &self,
        caller: &Caller,
        requests: Vec<api::SendMessageRequest>,
    ) -> Result<Vec<api::SendResult>, Status> {
        if requests.len() > REQUESTS_MAX {
            let text = format!("are more than {REQUESTS_MAX}: send them as a stream, or in parts");
            return Err(bad_field("requests", text));
        }
        let mut turns = Turns::default();
        let traceparent = telemetry::current_traceparent();
        let accepted = futures::stream::iter(requests)
            .map(|request| {
                let mut turn = turns.take(addressee(&request));
                let traceparent = traceparent.clone();
                async move {
                    turn.begins().await;
                    result(self.accept_one(caller, &request, traceparent).await)
                }
            })
            .buffered(IN_HAND_MAX);
        Ok(accepted.collect().await)
    }

    /// Accepts one message of several.
    pub(crate) async fn accept_one(
        &self,
        caller: &Caller,
        request: &api::SendMessageRequest,
        traceparent: Option<String>,
    ) -> Result<api::SendMessageResponse, Status> {
        if !matches!(
            request.wait_for(),
            api::WaitFor::Unspecified | api::WaitFor::Durable
        ) {
            let text = "is for SendMessage alone: here each is answered once it is durable";
            return Err(bad_field("wait_for", text));
        }
        let loaded = Box::pin(self.accept(caller, request, traceparent)).await?;
        let position = self.position(&loaded);
        let message = Some(view::message(&loaded, position.clone()));
        Ok(api::SendMessageResponse { message, position })
    }
}

fn closing_down() -> Status {
    refuse(
        Code::Unavailable,
        "CLOSING",
        "this process stops: what was answered is done, send the rest elsewhere",
    )
}

/// Whom a request names, in its own words.
fn addressee(request: &api::SendMessageRequest) -> String {
    let customer = match &request.customer {
        None => "",
        Some(Customer::To(text) | Customer::Recipient(text) | Customer::CustomerId(text)) => text,
    };
    format!("{}/{customer}", request.number)
}

/// Returns a result as one among others is told.
pub(crate) fn result(of: Result<api::SendMessageResponse, Status>) -> api::SendResult {
    use api::send_result::Result as Told;
    let told = match of {
        Ok(accepted) => Told::Accepted(accepted),
        Err(status) => Told::Refused(refusal(&status)),
    };
    api::SendResult { result: Some(told) }
}

/// Returns what a status says, as a message.
pub(crate) fn refusal(status: &Status) -> api::Refusal {
    let said = said(status);
    let fields = said.fields.into_iter();
    api::Refusal {
        code: said.code.to_owned(),
        reason: said.reason,
        message: said.message,
        metadata: said.metadata,
        fields: fields
            .map(|(field, description)| api::FieldProblem { field, description })
            .collect(),
        retryable: is_passing(status.code()),
    }
}

/// Returns whether the same may be accepted later.
pub(crate) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
    )
}

/// Who comes after whom: what shares a key goes one after another, all else at once.
#[derive(Debug)]
struct Turns<K> {
    /// The last of each key; done when its sender is gone.
    last: HashMap<K, oneshot::Receiver<()>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        let last = HashMap::new();
        Self { last }
    }
}

/// A turn, over when dropped.
#[derive(Debug)]
struct Turn {
    after: Option<oneshot::Receiver<()>>,
    _ends: oneshot::Sender<()>,
}

impl<K: Eq + Hash> Turns<K> {
    fn take(&mut self, key: K) -> Turn {
        // No more than are under way have a turn before them.
        if self.last.len() > 2 * IN_HAND_MAX {
            self.last.retain(|_, last| {
                matches!(last.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            });
        }
        let (ends, ended) = oneshot::channel();
        Turn {
            after: self.last.insert(key, ended),
            _ends: ends,
        }
    }
}

impl Turn {
    /// Waits for the turn before this one.
    async fn begins(&mut self) {
        if let Some(before) = self.after.take() {
            // It ends by being dropped, which is no failure.
            let _ = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_waits_for_the_one_before_it_under_the_same_key_alone() {
        let mut turns = Turns::default();
        let first = turns.take("a");
        let mut second = turns.take("a");
        let mut other = turns.take("b");
        other.begins().await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), second.begins());
        assert!(waits.await.is_err(), "the first is not over");
        drop(first);
        second.begins().await;
    }

    #[tokio::test]
    async fn turns_that_are_over_are_forgotten() {
        let mut turns = Turns::default();
        for key in 0..10 * IN_HAND_MAX {
            drop(turns.take(key));
        }
        assert!(turns.last.len() <= 2 * IN_HAND_MAX + 1);
    }

    #[test]
    fn a_refusal_says_what_its_status_says() {
        let fields = refusal(&bad_field("content.sms.text", "is too long"));
        assert_eq!(
            (fields.code.as_str(), fields.fields[0].field.as_str()),
            ("INVALID_ARGUMENT", "content.sms.text")
        );
        assert!(!fields.retryable);
        let away = refusal(&refuse(Code::Unavailable, "LOG_UNAVAILABLE", "try again"));
        assert_eq!(
            (away.code.as_str(), away.reason.as_str(), away.retryable),
            ("UNAVAILABLE", "LOG_UNAVAILABLE", true)
        );
    }
}

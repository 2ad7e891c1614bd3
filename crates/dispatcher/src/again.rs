//! Failed messages, requested again: each a message of its own, with the same content.
//!
//! Its `request_id` follows from the message that failed, so that to ask twice makes one. An ended
//! message stays ended, and one that the customer may have is not sent again unless whoever asks
//! takes the risk.

use casement_domain::message::{AttemptState, Message, Outcome, Phase};
use casement_event::convert::instant;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refusal};
use casement_shell::telemetry;
use futures::StreamExt as _;
use tonic::{Code, Status};

use crate::aggregate::Loaded;
use crate::bulk;
use crate::grpc::Messages;

/// How many messages are requested again at once.
const IN_HAND_MAX: usize = 64;

/// Why a message is not requested again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Not {
    /// It may yet get through by itself.
    Ended,
    /// It did not fail.
    Failed,
    /// The customer may have it.
    Certain,
    /// What it said was destroyed with its end.
    Gone,
}

impl Messages {
    /// Requests messages again, and answers them in their order.
    pub(crate) async fn again_all(
        &self,
        caller: &Caller,
        asked: api::RetryMessagesRequest,
    ) -> Result<Vec<api::SendResult>, Status> {
        if asked.message_ids.len() > bulk::REQUESTS_MAX {
            let text = format!("are more than {}", bulk::REQUESTS_MAX);
            return Err(bad_field("message_ids", text));
        }
        let takes_risk = asked.accept_duplicate_risk;
        let results =
            futures::stream::iter(asked.message_ids)
                .map(|id| async move {
                    bulk::result(Box::pin(self.again(caller, &id, takes_risk)).await)
                })
                .buffered(IN_HAND_MAX);
        Ok(results.collect().await)
    }

    async fn again(
        &self,
        caller: &Caller,
        id: &str,
        takes_risk: bool,
    ) -> Result<api::SendMessageResponse, Status> {
        let failed = self.visible(caller, id).await?;
        check(&failed.message, takes_risk).map_err(|not| refused(not, &failed))?;
        if failed.request.sealed_content.is_some() {
            return Err(refused(Not::Gone, &failed));
        }
        // The same message whoever asks for it: its id follows from the brand.
        let caller = Caller {
            brand: failed.context.conversation.brand.clone(),
            ..caller.clone()
        };
        let mut request = request(&failed);
        let policies = &self.engine.rules.routing;
        if policies.named(&request.policy).is_none() {
            // It was there when the message was accepted: now it goes by its number's.
            request.policy.clear();
        }
        self.accept_one(&caller, &request, telemetry::current_traceparent())
            .await
    }
}

fn refused(not: Not, of: &Loaded) -> Status {
    let id = of.context.id.to_string();
    let (reason, text) = match not {
        Not::Ended => ("MESSAGE_NOT_ENDED", "this message is not over yet"),
        Not::Failed => ("MESSAGE_NOT_FAILED", "this message did not fail"),
        Not::Gone => (
            "CONTENT_DESTROYED",
            "this message was sensitive, and what it said is gone: send it anew",
        ),
        Not::Certain => (
            "DUPLICATE_RISK",
            "the customer may have this message, or get it yet: set accept_duplicate_risk to send \
             it all the same",
        ),
    };
    refusal(Code::FailedPrecondition, reason, text, [("message_id", id)])
}

/// Says whether a message may be requested again.
fn check(message: &Message, takes_risk: bool) -> Result<(), Not> {
    let Phase::Ended { outcome } = message.phase else {
        return Err(Not::Ended);
    };
    let is_uncertain = match outcome {
        Outcome::Delivered | Outcome::Cancelled => return Err(Not::Failed),
        Outcome::Unknown | Outcome::Unconfirmed => true,
        // Whatever it ended as: an attempt that nobody refused may have got through.
        Outcome::Failed | Outcome::Expired | Outcome::UnreachableBySms => message
            .attempts
            .iter()
            .any(|attempt| !matches!(attempt.state, AttemptState::Rejected)),
    };
    if is_uncertain && !takes_risk {
        return Err(Not::Certain);
    }
    Ok(())
}

/// Returns the request of a message, as it would be asked for now.
fn request(of: &Loaded) -> api::SendMessageRequest {
    let mut before = of.request.clone();
    let failover = before.failover.take().unwrap_or_default();
    // It is taken from the template again.
    if let Some(content) = before.content.as_mut().filter(|_| before.sms_from_template) {
        content.sms = content
            .sms
            .take()
            .filter(|sms| !sms.sender.is_empty())
            .map(|sms| v1::SmsContent {
                text: String::new(),
                ..sms
            });
    }
    api::SendMessageRequest {
        number: of.number().e164(),
        customer: Some(customer(of)),
        ttl: ttl(&before),
        request_id: format!("retry/{}", of.context.id),
        content: before.content,
        purpose: before.purpose,
        priority: before.priority,
        policy: before.policy,
        reply_to_message_id: before.reply_to_message_id,
        client_reference: before.client_reference,
        labels: before.labels,
        sensitive: before.sensitive,
        messaging_account_id: before.messaging_account_id,
        time_zone: before.time_zone,
        consent: before.consent,
        failover_after: failover.after,
        accept_duplicate_risk: failover.accept_duplicate_risk,
        ..api::SendMessageRequest::default()
    }
}

/// As the caller named them: an id of ours has no phone to be found by.
fn customer(of: &Loaded) -> Customer {
    let addresses = of.request.addresses.clone().unwrap_or_default();
    if !addresses.phone.is_empty() {
        return Customer::To(format!("+{}", addresses.phone));
    }
    let user_ids = [addresses.user_id, addresses.parent_user_id];
    match user_ids.into_iter().find(|id| !id.is_empty()) {
        Some(user_id) => Customer::Recipient(user_id),
        None => Customer::CustomerId(of.context.conversation.customer.to_string()),
    }
}

/// As long as it was worth sending, from now on.
fn ttl(of: &v1::MessageRequested) -> Option<prost_types::Duration> {
    let at = |stored| instant("time", stored).ok().flatten();
    let begun = at(of.send_time.as_ref()).max(at(of.request_time.as_ref()))?;
    let length = at(of.expire_time.as_ref())?.duration_since(begun);
    Some(prost_types::Duration {
        seconds: length.as_secs(),
        nanos: length.subsec_nanos(),
    })
}

//! What Meta proved about a window: refusals as closed, and deliveries of free-form.

use casement_domain::id::PortfolioId;
use casement_domain::message::{Attempt, DeliveryStatus};
use casement_domain::routing::Route;
use casement_domain::window::Evidence;
use casement_event::convert::{self, ConvertError, timestamp};
use casement_event::subject::{self, Family, stream};
use casement_event::{DecodeError, Event, Extension, Record, id, v1};
use casement_event_log::conversation::{self, Key, PresentError};
use casement_event_log::{AppendError, Expect, Log, ReadError};
use jiff::{SignedDuration, Timestamp};

use crate::aggregate::Loaded;

/// Meta: the message was sent outside the window.
pub(crate) const OUTSIDE_WINDOW: i64 = 131_047;

/// How much newer a proof must be to be worth an append, unless a refusal hangs on it.
const PROOF_GRANULARITY: SignedDuration = SignedDuration::from_secs(60);

/// Evidence could not be recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    #[error("evidence could not be read")]
    Read(#[from] ReadError),
    #[error("evidence could not be appended")]
    Append(#[from] AppendError),
    #[error("evidence could not be decoded")]
    Decode(#[from] DecodeError),
    #[error("evidence is not usable")]
    Convert(#[from] ConvertError),
    #[error("who carries the conversation on could not be found out")]
    Present(#[from] PresentError),
}

/// Something that Meta proved.
pub(crate) enum Proof<'a> {
    Refused { error: &'a v1::ProviderError },
    Delivered,
}

/// Returns what a delivery proves: a free-form message arrived, so the window was open when it
/// was sent.
pub(crate) fn of_delivery(attempt: &Attempt, status: DeliveryStatus) -> Option<Proof<'static>> {
    (attempt.route == Route::FreeForm && status.has_arrived()).then_some(Proof::Delivered)
}

/// Records a proof, joined with what was known. Safe to repeat.
pub(crate) async fn record(
    log: &Log,
    message: &Loaded,
    attempt: &Attempt,
    proof: &Proof<'_>,
    now: Timestamp,
) -> Result<(), EvidenceError> {
    let conversation = &message.context.conversation;
    let key = Key {
        number: conversation.number.clone(),
        customer: conversation.customer.clone(),
    };
    let portfolio = PortfolioId::parse(&conversation.portfolio).map_err(ConvertError::Id)?;
    let key = conversation::carried_on(log, &portfolio, &key).await?;
    let customer = key.customer;
    let stored_conversation = v1::Conversation {
        customer_id: customer.as_str().to_owned(),
        ..conversation.stored()
    };
    let subject = subject::conversation(Family::Evidence, &conversation.number, &customer);
    loop {
        let newest = log.last(stream::EVENTS, &subject).await?;
        let sequence = newest.as_ref().map_or(0, |stored| stored.sequence);
        let known = match newest {
            None => Evidence::default(),
            Some(stored) => convert::window::read_evidence(&stored.event()?)?.unwrap_or_default(),
        };
        let at = attempt.started_at;
        let added = match proof {
            Proof::Refused { .. } => Evidence {
                refused_at: Some(at),
                proven_at: None,
            },
            Proof::Delivered => Evidence {
                refused_at: None,
                proven_at: Some(at),
            },
        };
        let joined = known.join(added);
        if joined == known || !is_worth_it(known, added) {
            return Ok(());
        }
        let event: Event = match proof {
            Proof::Refused { error } => v1::WindowRefused {
                conversation: Some(stored_conversation.clone()),
                message_id: message.context.id.to_string(),
                attempt: attempt.number,
                refused_time: Some(timestamp(at)),
                error: Some((*error).clone()),
                summary: Some(convert::window::evidence(joined)),
            }
            .into(),
            Proof::Delivered => v1::WindowProven {
                conversation: Some(stored_conversation.clone()),
                message_id: message.context.id.to_string(),
                attempt: attempt.number,
                proven_time: Some(timestamp(at)),
                summary: Some(convert::window::evidence(joined)),
            }
            .into(),
        };
        let id = id::message_event(&message.context.id, event.event_type(), attempt.number, "");
        let record = Record::new(subject.clone(), id, "casement/dispatcher", now, event)
            .about(customer.as_str())
            .with(Extension::Number, conversation.number.digits())
            .with(Extension::Brand, &conversation.brand)
            .with(Extension::Customer, customer.as_str())
            .caused_by(message.traceparent.clone());
        match log
            .append(record, Expect::last(subject.clone(), sequence))
            .await
        {
            Err(AppendError::Conflict { .. }) => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
}

/// Refusals always count. Proofs count when a refusal stands, and otherwise once in a while.
fn is_worth_it(known: Evidence, added: Evidence) -> bool {
    let (None, Some(proven)) = (added.refused_at, added.proven_at) else {
        return true;
    };
    known.refused_at >= known.proven_at && known.refused_at.is_some()
        || known
            .proven_at
            .is_none_or(|before| proven.duration_since(before) > PROOF_GRANULARITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_recorded_when_a_refusal_stands_or_once_in_a_while() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let proof = |second| Evidence {
            refused_at: None,
            proven_at: at(second),
        };
        let refusal = |second| Evidence {
            refused_at: at(second),
            proven_at: None,
        };
        assert!(is_worth_it(Evidence::default(), proof(0)));
        assert!(!is_worth_it(proof(0), proof(60)));
        assert!(is_worth_it(proof(0), proof(61)));
        assert!(is_worth_it(refusal(10).join(proof(5)), proof(20)));
        assert!(is_worth_it(proof(0), refusal(1)));
    }
}

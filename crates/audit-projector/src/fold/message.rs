//! A message on its way from one state to the next.

use casement_domain::message::KeptBack;
use casement_event::convert::timestamp;
use casement_event::v1::{DeliveryStatus, MessageOutcome, Route};
use casement_event::{Extension, Stored};
use casement_proto::message::v1::{Attempt, MessageState};

use super::nowhere;
use crate::index;
use crate::model::{AttemptResult, ConversationKey, Message, MessageChange, RowPosition};

/// Returns a message after a change; `None` if it is none of ours.
pub(crate) fn follow(
    row: Option<Message>,
    message_id: &str,
    stored: &Stored,
    change: &MessageChange,
) -> Option<Message> {
    let mut row = match (row, change) {
        (None, MessageChange::Requested { .. }) => unasked(message_id),
        // Reports about messages that are not ours change nothing.
        (row, _) => row?,
    };
    change_message(&mut row, change);
    // Which state that is, its owner knows best: a word about an attempt that another has replaced
    // changes none.
    if let Some(state) = told_state(stored).filter(|_| row.end_time.is_none()) {
        row.state = state;
    }
    if row.state != MessageState::Deferred {
        row.deferral = None;
    }
    let position = RowPosition::of(stored);
    // What is projected again from the archive says nothing new of the log.
    let is_new = row.position.incarnation != position.incarnation
        || row.position.sequence < position.sequence;
    if is_new {
        // Whatever stands on the log anew has to be purged anew.
        row.is_purged = false;
        row.update_time = Some(index::event_time(stored));
        row.position = position;
    }
    Some(row)
}

/// Returns the state that a message is in after an event, as the event's header has it.
fn told_state(stored: &Stored) -> Option<MessageState> {
    let word = stored.extension(Extension::State)?;
    MessageState::from_str_name(&format!("MESSAGE_STATE_{word}"))
}

/// A message of which nothing is known yet.
fn unasked(message_id: &str) -> Message {
    Message {
        id: message_id.to_owned(),
        key: ConversationKey {
            number: String::new(),
            customer_id: String::new(),
        },
        brand_id: String::new(),
        state: MessageState::Pending,
        outcome: MessageOutcome::Unspecified,
        reason: String::new(),
        delivery_status: DeliveryStatus::Unspecified,
        attempt_count: 0,
        route: Route::Unspecified,
        client_reference: String::new(),
        request_time: None,
        expire_time: None,
        update_time: None,
        end_time: None,
        is_purged: false,
        labels: Vec::new(),
        is_sensitive: false,
        send_time: None,
        attempts: Vec::new(),
        deferral: None,
        double_exposure: Vec::new(),
        nudge_message_id: String::new(),
        held_message_id: String::new(),
        position: nowhere(),
    }
}

/// An ended message stays ended.
fn change_message(row: &mut Message, change: &MessageChange) {
    let is_open = row.end_time.is_none();
    let enter = |row: &mut Message, state, reason: &str| {
        if is_open {
            row.state = state;
            reason.clone_into(&mut row.reason);
        }
    };
    match change {
        MessageChange::Touched => {}
        MessageChange::Requested {
            key,
            brand_id,
            client_reference,
            labels,
            is_sensitive,
            send_time,
            held_message_id,
            request_time,
            expire_time,
        } => {
            row.key = key.clone();
            row.brand_id.clone_from(brand_id);
            row.client_reference.clone_from(client_reference);
            row.labels.clone_from(labels);
            row.is_sensitive = *is_sensitive;
            row.send_time = *send_time;
            row.held_message_id.clone_from(held_message_id);
            row.request_time = *request_time;
            row.expire_time = *expire_time;
        }
        MessageChange::State { state, reason } => enter(row, *state, reason),
        MessageChange::Held {
            reason,
            nudge_message_id,
        } => {
            enter(row, MessageState::Held, reason);
            if !nudge_message_id.is_empty() {
                row.nudge_message_id.clone_from(nudge_message_id);
            }
        }
        MessageChange::Deferred { deferral } => {
            enter(row, MessageState::Deferred, &deferral.cause);
            row.deferral = Some(deferral.clone());
        }
        MessageChange::DoubleExposure { attempts } => row.double_exposure.clone_from(attempts),
        MessageChange::Attempt {
            number,
            route,
            sms_gateway,
            start_time,
        } => {
            enter(row, MessageState::Attempting, "");
            row.attempt_count = row.attempt_count.max(*number);
            row.route = *route;
            let is_risky = row.attempts.iter().any(|earlier| {
                let may_come = earlier.state == ABANDONED || earlier.may_still_arrive;
                earlier.number < *number && may_come
            });
            let attempt = attempt(row, *number);
            attempt.set_route(*route);
            attempt.sms_gateway.clone_from(sms_gateway);
            attempt.start_time = start_time.map(timestamp);
            // Abandoned or overdue, and repeated: the customer may get it twice.
            attempt.duplicate_risk = is_risky;
        }
        MessageChange::Tried {
            number,
            result,
            state,
            reason,
        } => {
            enter(row, *state, reason);
            let attempt = attempt(row, *number);
            let word = match result {
                AttemptResult::Accepted {
                    provider_message_id,
                    state,
                } => {
                    attempt.provider_message_id.clone_from(provider_message_id);
                    *state
                }
                AttemptResult::Rejected { error } => {
                    attempt.error.clone_from(error);
                    REJECTED
                }
                AttemptResult::Unknown => UNKNOWN,
                AttemptResult::Abandoned => ABANDONED,
            };
            word.clone_into(&mut attempt.state);
        }
        MessageChange::Overdue {
            number,
            moves_on,
            is_risky,
            reason,
        } => {
            let state = if *moves_on {
                MessageState::Pending
            } else {
                MessageState::Accepted
            };
            enter(row, state, reason);
            attempt(row, *number).may_still_arrive |= *is_risky;
        }
        MessageChange::Delivery { number, status } => {
            row.delivery_status = *status;
            let is_kept_back = matches!(
                row.state,
                MessageState::HeldForQualityAssessment | MessageState::Paused
            );
            // The platform has let it go.
            if is_kept_back {
                row.state = MessageState::Accepted;
            }
            if let Some(known) = row
                .attempts
                .iter_mut()
                .find(|known| known.number == *number)
            {
                known.set_delivery_status(*status);
                if [KeptBack::QualityAssessment, KeptBack::Paused]
                    .iter()
                    .any(|kept_back| kept_back.as_str() == known.state)
                {
                    ACCEPTED.clone_into(&mut known.state);
                }
            }
        }
        MessageChange::Cost { number, cost } => {
            attempt(row, *number).cost = Some(cost.clone());
        }
        MessageChange::Ended {
            outcome,
            reason,
            at,
        } => {
            row.state = MessageState::Ended;
            row.outcome = *outcome;
            row.reason.clone_from(reason);
            row.end_time = Some(*at);
        }
    }
}

// As the API names the states of an attempt.
const STARTED: &str = "STARTED";
const ACCEPTED: &str = "ACCEPTED";
const REJECTED: &str = "REJECTED";
const UNKNOWN: &str = "UNKNOWN";
const ABANDONED: &str = "ABANDONED";

/// Returns the attempt of a number, which is added if need be.
fn attempt(row: &mut Message, number: u32) -> &mut Attempt {
    let place = row
        .attempts
        .binary_search_by_key(&number, |known| known.number)
        .unwrap_or_else(|place| {
            let new = Attempt {
                number,
                state: STARTED.to_owned(),
                ..Attempt::default()
            };
            row.attempts.insert(place, new);
            place
        });
    &mut row.attempts[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_the_one_that_its_owner_tells() {
        let event = casement_event::v1::AttemptRejected::default();
        let mut stored = crate::fixture::record("MESSAGES", 1, &event.into());
        let rejected = MessageChange::Tried {
            number: 1,
            result: AttemptResult::Rejected { error: None },
            state: MessageState::Pending,
            reason: "FAIL".to_owned(),
        };
        let after = |stored: &Stored| follow(Some(unasked("m")), "m", stored, &rejected).unwrap();
        assert_eq!(after(&stored).state, MessageState::Pending);
        // No other attempt will be made, which this event alone does not say.
        stored
            .headers
            .push(("ce-state".to_owned(), "ENDED".to_owned()));
        assert_eq!(after(&stored).state, MessageState::Ended);
        assert_eq!(after(&stored).attempts[0].state, REJECTED);
    }
}

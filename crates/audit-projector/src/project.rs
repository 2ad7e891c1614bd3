//! What an event changes in the read models.
//!
//! Pure, and total: what an event does not say changes nothing. Each stream's events come in its
//! order, but streams run beside each other, so no field is changed by two of them. A fact may
//! come twice, which counts once; and late, which never undoes what is newer: the store sees to
//! both.

use casement_domain::message::KeptBack;
use casement_event::convert::reason;
use casement_event::v1::{DeliveryStatus, MessageOutcome};
use casement_event::{Event, Stored, convert, v1};
use casement_proto::conversation::v1::CustomerConsent;
use casement_proto::message::v1::{Deferral, MessageState};
use jiff::Timestamp;

use crate::index;
use crate::model::{
    AttemptKey, AttemptResult, Change, ConversationChange, ConversationKey, KEY_LEN_MAX,
    MessageChange,
};

/// Returns what an event changes, in order.
pub(crate) fn project(stored: &Stored, event: &Event) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(conversation) = index::conversation(event) {
        conversation_changes(stored, event)
            .into_iter()
            .chain(told(event))
            .filter_map(|change| about(conversation, change))
            .for_each(|change| changes.push(change));
    }
    changes.extend(
        message_change(stored, event)
            .filter(|(message_id, _)| is_key(message_id))
            .map(|(message_id, change)| Change::Message { message_id, change }),
    );
    changes.extend(cost_change(event));
    changes.extend(consents(event));
    changes
}

/// What is told beside what happened: whether the business answered, and who owns the thread.
fn told(event: &Event) -> Option<ConversationChange> {
    let summary = match event {
        Event::InboundMessageReceived(event) => event.summary.as_ref(),
        Event::InboundCallReceived(event) => event.summary.as_ref(),
        Event::EchoReceived(event) => event.summary.as_ref(),
        Event::ThreadOwnerChanged(event) => event.summary.as_ref(),
        Event::CustomerAnswered(event) => {
            return Some(ConversationChange::Told {
                answered: instant(event.answered_time.as_ref()),
                owner: v1::ThreadOwner::Unspecified,
                owner_since: None,
            });
        }
        _ => None,
    }?;
    let answered = instant(summary.answered_time.as_ref());
    let owner = summary.thread_owner();
    let says_something = answered.is_some() || owner != v1::ThreadOwner::Unspecified;
    says_something.then(|| ConversationChange::Told {
        answered,
        owner,
        owner_since: instant(summary.thread_owner_time.as_ref()),
    })
}

/// What a customer allows from now on; no wording and no proof of it.
fn consents(event: &Event) -> Option<Change> {
    let Event::ConsentRecorded(event) = event else {
        return None;
    };
    let consents = event.consents.iter().map(|one| CustomerConsent {
        channel: one.channel,
        purpose: one.purpose.clone(),
        allowed: one.allowed,
        provenance: one.provenance.clone(),
        time: one.time,
    });
    is_key(&event.customer_id).then(|| Change::Consents {
        customer_id: event.customer_id.clone(),
        consents: consents.collect(),
    })
}

/// `None` if the event does not say which conversation it is about.
fn about(conversation: &v1::Conversation, change: ConversationChange) -> Option<Change> {
    Some(Change::Conversation {
        key: key(conversation)?,
        brand_id: conversation.brand_id.clone(),
        change,
    })
}

fn key(conversation: &v1::Conversation) -> Option<ConversationKey> {
    let v1::Conversation {
        number,
        customer_id,
        ..
    } = conversation;
    [number, customer_id]
        .iter()
        .all(|key| is_key(key))
        .then(|| ConversationKey {
            number: number.clone(),
            customer_id: customer_id.clone(),
        })
}

/// Whether something may be looked up by it.
fn is_key(text: &str) -> bool {
    (1..=KEY_LEN_MAX).contains(&text.len())
}

fn conversation_changes(stored: &Stored, event: &Event) -> Option<ConversationChange> {
    Some(match event {
        Event::LateFact(late) => match Event::decode(&late.fact_type, &late.fact) {
            Ok(fact) => inbound(stored, &fact, &late.fact_id).unwrap_or(ConversationChange::Seen),
            Err(_) => ConversationChange::Seen,
        },
        Event::InboundMessageReceived(_)
        | Event::InboundCallReceived(_)
        | Event::InboundSmsReceived(_)
        | Event::EchoReceived(_) => {
            inbound(stored, event, index::event_id(stored)).unwrap_or(ConversationChange::Seen)
        }
        // The end of a conversation that never began: nobody is to put anything there.
        Event::MovedTo(moved) if is_empty(moved) => return None,
        Event::CustomerIdentityChanged(_)
        | Event::CustomerPreferenceReported(_)
        | Event::ThreadOwnerChanged(_)
        | Event::HistoryImported(_)
        | Event::MovedTo(_)
        | Event::CustomerMerged(_)
        | Event::MessageRequested(_) => ConversationChange::Seen,
        Event::NoteAdded(event) => handled(event.handling.as_ref(), &event.mentions),
        Event::ConversationAssigned(event) => handled(event.handling.as_ref(), &[]),
        Event::ConversationMarkedRead(event) => handled(event.handling.as_ref(), &[]),
        Event::ConversationClosed(event) => handled(event.handling.as_ref(), &[]),
        Event::ConversationReopened(event) => handled(event.handling.as_ref(), &[]),
        Event::ConversationLabelled(event) => handled(event.handling.as_ref(), &[]),
        Event::WindowOpened(event) => window(event.window.as_ref()?),
        Event::WindowExtended(event) => window(event.window.as_ref()?),
        Event::WindowExpiring(event) => window(event.window.as_ref()?),
        Event::WindowExpired(event) => window(event.window.as_ref()?),
        Event::WindowCorrected(event) => window(event.window.as_ref()?),
        // However many attempts it took, a message got through once.
        Event::AttemptAccepted(event) => ConversationChange::Outbound {
            fact: format!("accepted/{}", event.message_id),
            at: instant(event.accept_time.as_ref()).unwrap_or_else(|| index::event_time(stored)),
            attempt: attempt(&event.message_id, event.attempt),
        },
        Event::AttemptRejected(event) => ConversationChange::Failed {
            attempt: attempt(&event.message_id, event.attempt)?,
        },
        Event::DeliveryAdvanced(event) if event.status() == DeliveryStatus::Failed => {
            ConversationChange::Failed {
                attempt: attempt(&event.message_id, event.attempt)?,
            }
        }
        _ => return None,
    })
}

fn attempt(message_id: &str, number: u32) -> Option<AttemptKey> {
    is_key(message_id).then(|| AttemptKey {
        message_id: message_id.to_owned(),
        number,
    })
}

/// What does not say how the conversation is handled, changes nothing of that.
fn handled(handling: Option<&v1::Handling>, mentions: &[String]) -> ConversationChange {
    let handling = handling.and_then(|stored| convert::colleague::read_handling(stored).ok());
    let mentions = mentions.iter().filter(|name| is_key(name)).cloned();
    handling.map_or(ConversationChange::Seen, |handling| {
        ConversationChange::Handled {
            handling,
            mentions: mentions.collect(),
        }
    })
}

fn is_empty(moved: &v1::MovedTo) -> bool {
    let summary = moved.summary.as_ref();
    summary.is_none_or(|summary| summary.last_event_time.is_none())
}

/// What the customer, or the business from its phone, did.
fn inbound(stored: &Stored, event: &Event, fact_id: &str) -> Option<ConversationChange> {
    let at = |times: Option<&v1::Times>| {
        instant(times.and_then(|times| times.event_time.as_ref()))
            .unwrap_or_else(|| index::event_time(stored))
    };
    let fact = fact_id.to_owned();
    Some(match event {
        Event::InboundMessageReceived(message) => ConversationChange::Inbound {
            fact,
            at: at(message.times.as_ref()),
            text: Some(match message.text.as_str() {
                "" => format!("[{}]", message.kind),
                text => text.to_owned(),
            }),
            profile_name: Some(message.profile_name.clone()).filter(|name| !name.is_empty()),
        },
        Event::InboundSmsReceived(sms) => ConversationChange::Inbound {
            fact,
            at: at(sms.times.as_ref()),
            text: Some(sms.text.clone()),
            profile_name: None,
        },
        // One call brings several events.
        Event::InboundCallReceived(call) if call.qualifies => ConversationChange::Inbound {
            fact: format!("call/{}", call.provider_call_id),
            at: at(call.times.as_ref()),
            text: None,
            profile_name: None,
        },
        Event::EchoReceived(echo) => ConversationChange::Outbound {
            fact,
            at: at(echo.times.as_ref()),
            attempt: None,
        },
        _ => return None,
    })
}

fn window(window: &v1::PublishedWindow) -> ConversationChange {
    ConversationChange::Window {
        window_id: window.window_id.clone(),
        state: window.state(),
        closed_reason: window.closed_reason(),
        open_time: instant(window.open_time.as_ref()),
        expire_time: instant(window.expire_time.as_ref()),
        lock_time: instant(window.close_time.as_ref())
            .or_else(|| instant(window.expire_time.as_ref())),
        is_end_announced: !window.announced_leads.is_empty(),
    }
}

/// What an event says of an attempt's cost, besides what it is about.
fn cost_change(event: &Event) -> Option<Change> {
    let (number, cost) = convert::message::money::cost_of(event)?;
    let message_id = match event {
        Event::AttemptStarted(event) => &event.message_id,
        Event::AttemptRejected(event) => &event.message_id,
        Event::DeliveryAdvanced(event) => &event.message_id,
        Event::MessageBilled(event) => &event.message_id,
        _ => return None,
    };
    is_key(message_id).then(|| Change::Message {
        message_id: message_id.clone(),
        change: MessageChange::Cost {
            number,
            cost: convert::message::money::shown(cost),
        },
    })
}

fn message_change(stored: &Stored, event: &Event) -> Option<(String, MessageChange)> {
    let why = || reason::of_state(event).unwrap_or_default();
    let state = |state| MessageChange::State {
        state,
        reason: why(),
    };
    let tried = |number, result, state| MessageChange::Tried {
        number,
        result,
        state,
        reason: why(),
    };
    let (message_id, change) = match event {
        Event::MessageRequested(event) => (&event.message_id, requested(stored, event)),
        Event::MessageHeld(event) => {
            let change = MessageChange::Held {
                reason: why(),
                nudge_message_id: event.nudge_message_id.clone(),
            };
            (&event.message_id, change)
        }
        Event::MessageReleased(event) => (&event.message_id, state(MessageState::Pending)),
        Event::MessageDeferred(event) => {
            let deferral = Deferral {
                cause: event.cause.clone(),
                halt_id: event.halt_id.clone(),
                until_time: event.until_time,
            };
            (&event.message_id, MessageChange::Deferred { deferral })
        }
        Event::AttemptStarted(event) => {
            let change = MessageChange::Attempt {
                number: event.attempt,
                route: event.route(),
                sms_gateway: event.sms_gateway.clone(),
                start_time: instant(event.start_time.as_ref()),
            };
            (&event.message_id, change)
        }
        Event::AttemptAccepted(event) => {
            let (state, word) = taken(event);
            let result = AttemptResult::Accepted {
                provider_message_id: event.provider_message_id.clone(),
                state: word,
            };
            (&event.message_id, tried(event.attempt, result, state))
        }
        Event::AttemptRejected(event) => {
            let error = event.error.clone();
            let result = AttemptResult::Rejected { error };
            let change = tried(event.attempt, result, MessageState::Pending);
            (&event.message_id, change)
        }
        Event::AttemptUnknown(event) => {
            let result = AttemptResult::Unknown;
            let change = tried(event.attempt, result, MessageState::Unknown);
            (&event.message_id, change)
        }
        Event::AttemptAbandoned(event) => {
            let result = AttemptResult::Abandoned;
            let change = tried(event.attempt, result, MessageState::Pending);
            (&event.message_id, change)
        }
        Event::DeliveryOverdue(event) => {
            let change = MessageChange::Overdue {
                number: event.attempt,
                moves_on: event.moves_on,
                is_risky: event.duplicate_risk,
                reason: why(),
            };
            (&event.message_id, change)
        }
        Event::DeliveryAdvanced(event) => (
            &event.message_id,
            MessageChange::Delivery {
                number: event.attempt,
                status: event.status(),
            },
        ),
        Event::MessageEnded(event) => {
            let at = instant(event.end_time.as_ref())?;
            (&event.message_id, ended(event.outcome(), why(), at))
        }
        // A MessageEnded may follow and say more.
        Event::MessageExpired(event) => {
            let at = instant(event.expire_time.as_ref())?;
            let outcome = MessageOutcome::Expired;
            (&event.message_id, ended(outcome, why(), at))
        }
        Event::MessageCancelled(event) => {
            let at = instant(event.cancel_time.as_ref())?;
            let outcome = MessageOutcome::Cancelled;
            (&event.message_id, ended(outcome, why(), at))
        }
        Event::DeliveryContradicted(event) => (&event.message_id, MessageChange::Touched),
        Event::MessageBilled(event) => (&event.message_id, MessageChange::Touched),
        Event::DoubleExposure(event) => {
            let attempts = event.attempts.clone();
            (
                &event.message_id,
                MessageChange::DoubleExposure { attempts },
            )
        }
        Event::StatusReported(event) => (&event.message_id, MessageChange::Touched),
        _ => return None,
    };
    Some((message_id.clone(), change))
}

fn requested(stored: &Stored, event: &v1::MessageRequested) -> MessageChange {
    let conversation = event.conversation.clone().unwrap_or_default();
    MessageChange::Requested {
        key: ConversationKey {
            number: conversation.number,
            customer_id: conversation.customer_id,
        },
        brand_id: conversation.brand_id,
        client_reference: event.client_reference.clone(),
        labels: event.labels.clone(),
        is_sensitive: event.sensitive,
        send_time: instant(event.send_time.as_ref()),
        held_message_id: event.held_message_id.clone(),
        // Every list is in this order, so every message has a place in it.
        request_time: instant(event.request_time.as_ref())
            .or_else(|| Some(index::event_time(stored))),
        expire_time: instant(event.expire_time.as_ref()),
    }
}

fn ended(outcome: MessageOutcome, reason: String, at: Timestamp) -> MessageChange {
    MessageChange::Ended {
        outcome,
        reason,
        at,
    }
}

/// What the platform took may be kept back by it: the state of the message, the word for that of
/// its attempt.
fn taken(event: &v1::AttemptAccepted) -> (MessageState, &'static str) {
    let kept_back = KeptBack::parse(&event.provider_status).filter(|_| !event.from_report);
    let state = match kept_back {
        None => MessageState::Accepted,
        Some(KeptBack::QualityAssessment) => MessageState::HeldForQualityAssessment,
        Some(KeptBack::Paused) => MessageState::Paused,
    };
    (state, kept_back.map_or("ACCEPTED", KeptBack::as_str))
}

fn instant(stored: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    convert::instant("time", stored).ok().flatten()
}

#[cfg(test)]
mod tests;

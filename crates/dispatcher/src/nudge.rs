//! Nudges: one template that asks a customer to write, so that what is held can go.
//!
//! A nudge is a message of its own, by the same rules and claims as any other. Its id follows from
//! the number, the customer and when they last wrote, and its request is appended only where
//! nothing stands: that append is the claim, so that there is one, however many messages are held,
//! dispatchers run, or break off in between. The message that is held names it, and it names the
//! first one that it was sent for.

use casement_domain::id::{CustomerId, MessageId};
use casement_domain::message::{Event as MessageEvent, Outcome, Phase};
use casement_domain::routing::{self, Route, hold};
use casement_event::convert::{self, ConvertError, instant, timestamp};
use casement_event::subject::{self, stream};
use casement_event::{Event, id, v1};
use casement_event_log::conversation::Key;
use casement_event_log::{AppendError, Expect};
use jiff::{SignedDuration, Timestamp};

use crate::aggregate::{self, LoadError, Loaded};
use crate::engine::{DriveError, Engine};
use crate::metrics;
use crate::routed::Routed;

/// How long after a message was held its nudge may still be requested, should that have broken off.
/// Far shorter than the log keeps a nudge that is over: who finds none has to know that there was
/// none.
const REQUEST_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Label of a nudge, by which it is found: the message that it was first sent for.
const LABEL: &str = "casement/nudge_for";

/// Name of the policy that nudges go by.
const POLICY: &str = "nudge";

/// A nudge goes as the template that it is, or not at all; in no quiet hours that the policy in
/// whose place this one is has for any template.
pub(crate) fn policy(instead_of: &routing::Policy) -> routing::Policy {
    let templates = instead_of.steps.iter();
    let mut templates = templates.filter(|step| step.route == Route::Template);
    let conditions = routing::Conditions {
        quiet_hours: templates.find_map(|step| step.conditions.quiet_hours),
        ..routing::Conditions::default()
    };
    routing::Policy {
        name: POLICY.to_owned(),
        steps: vec![routing::Step {
            route: Route::Template,
            conditions,
        }],
    }
}

/// Returns the nudge that a message named when it was last held; `None` if it has none.
pub(crate) fn of_hold(events: &[Event]) -> Option<&str> {
    let held = last_hold(events)?;
    (!held.nudge_message_id.is_empty()).then_some(held.nudge_message_id.as_str())
}

fn last_hold(events: &[Event]) -> Option<&v1::MessageHeld> {
    events.iter().rev().find_map(|event| match event {
        Event::MessageHeld(held) => Some(held),
        _ => None,
    })
}

impl Loaded {
    /// Returns whether this message is a nudge.
    pub(crate) fn is_nudge(&self) -> bool {
        !self.request.held_message_id.is_empty()
    }
}

impl Engine {
    /// Returns the queue that a message would be held in.
    pub(crate) fn queue(&self, of: &Loaded) -> hold::Queue {
        let max = self.rules.hold.max_at(of.number());
        self.queues.queue(of, max)
    }

    /// Returns what comes of holding a message.
    pub(crate) async fn hold_effect(
        &self,
        of: &Loaded,
        account: &v1::Number,
        routed: &Routed,
        now: Timestamp,
    ) -> Result<v1::HoldEffect, DriveError> {
        let queue = self.queue(of);
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let mut effect = v1::HoldEffect {
            held_message_count: count(queue.held),
            held_messages_max: count(queue.max.unwrap_or_default()),
            nudge: None,
        };
        let Some(template) = self.rules.hold.nudge_at(of.number()) else {
            return Ok(effect);
        };
        let last_inbound = routed.facts.last_qualifying.as_ref().map(|last| last.at);
        let unique = id::nudge(of.number(), &routed.customer, last_inbound);
        let id = MessageId::new(of.number(), unique.as_u128());
        let (name, language) = (template.name.clone(), template.language.clone());
        let own = if self.is_known(&id).await? {
            None
        } else {
            let asked = request(of, &routed.customer, template, id.clone(), now)?;
            Some(Box::pin(self.route(&asked, account, None, now)).await?)
        };
        let own = own.as_ref().map(|own| &own.decision);
        let nudge = hold::nudge(&routed.decision, own);
        let is_sent = !matches!(nudge, hold::Nudge::RuledOut { .. });
        effect.nudge = Some(v1::Nudge {
            is_sent,
            reason: nudge.reason().to_owned(),
            text: nudge.text().to_owned(),
            message_id: if is_sent {
                id.to_string()
            } else {
                String::new()
            },
            template_name: name,
            template_language: language,
        });
        Ok(effect)
    }

    /// Sees to it that the nudge stands on the log that a held message names.
    pub(crate) async fn nudge(
        &self,
        held: &Loaded,
        routed: &Routed,
        now: Timestamp,
    ) -> Result<(), DriveError> {
        let Some(hold) = last_hold(&held.events) else {
            return Ok(());
        };
        let held_at = instant("hold_time", hold.hold_time.as_ref())?;
        let is_late = held_at.is_none_or(|at| now.duration_since(at) > REQUEST_WITHIN);
        let template = self.rules.hold.nudge_at(held.number());
        let (Some(template), false) = (template, hold.nudge_message_id.is_empty() || is_late)
        else {
            return Ok(());
        };
        let id = MessageId::parse(&hold.nudge_message_id).map_err(ConvertError::Id)?;
        if self.is_known(&id).await? {
            return Ok(());
        }
        let asked = request(held, &routed.customer, template, id.clone(), now)?;
        let record =
            convert::message::requested(asked.request, &asked.message, &asked.context, now)
                .caused_by(held.traceparent.clone());
        let expect = Expect::empty(subject::message(&id));
        match self.log.append(record, expect).await {
            Ok(_) => {
                metrics::nudged();
                Ok(())
            }
            // Somebody else was faster, for this message or another.
            Err(AppendError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the end of a nudge that is of no use any more; `None` for any other message.
    pub(crate) async fn needless(
        &self,
        nudge: &Loaded,
        routed: &Routed,
        now: Timestamp,
    ) -> Result<Option<MessageEvent>, DriveError> {
        if !nudge.is_nudge() {
            return Ok(None);
        }
        let first = MessageId::parse(&nudge.request.held_message_id).map_err(ConvertError::Id)?;
        let first = aggregate::load(&self.log, &first).await?;
        let keys = first.iter().map(Loaded::key).chain([nudge.key()]);
        let is_first_held = |first: &Loaded| matches!(first.message.phase, Phase::Held { .. });
        let is_anything_held = first.as_ref().is_some_and(is_first_held)
            || keys.map(|key: Key| self.queues.len(&key)).sum::<usize>() > 0;
        let (facts, policy) = (&routed.facts, &self.rules.window);
        let reason = hold::needless(facts, policy, is_anything_held, now);
        Ok(reason.map(|reason| MessageEvent::Ended {
            outcome: Outcome::Cancelled,
            reason: reason.to_owned(),
            at: now,
        }))
    }

    async fn is_known(&self, id: &MessageId) -> Result<bool, DriveError> {
        let last = self.log.last(stream::MESSAGES, &subject::message(id)).await;
        Ok(last.map_err(LoadError::from)?.is_some())
    }
}

/// Makes the request of a nudge for a message that is held.
fn request(
    held: &Loaded,
    customer: &CustomerId,
    template: v1::TemplateContent,
    id: MessageId,
    now: Timestamp,
) -> Result<Loaded, ConvertError> {
    let mut conversation = held.context.conversation.clone();
    // Whoever carries on for the customer.
    conversation.customer = customer.clone();
    let held_id = held.context.id.to_string();
    // What stops or finds the held message by its labels does so with its nudge.
    let mut labels = held.request.labels.clone();
    labels.push(v1::Label {
        key: LABEL.to_owned(),
        value: held_id.clone(),
    });
    let request = v1::MessageRequested {
        message_id: id.to_string(),
        conversation: Some(conversation.stored()),
        addresses: held.request.addresses.clone(),
        content: Some(v1::Content {
            template: Some(template),
            ..v1::Content::default()
        }),
        purpose: v1::Purpose::Utility.into(),
        priority: held.request.priority,
        // Its quiet hours are the nudge's.
        policy: held.request.policy.clone(),
        time_zone: held.request.time_zone.clone(),
        request_time: Some(timestamp(now)),
        expire_time: Some(timestamp(held.message.expires_at)),
        labels,
        caller: held.request.caller.clone(),
        messaging_account_id: held.request.messaging_account_id.clone(),
        held_message_id: held_id,
        // What was vouched for is vouched for one purpose.
        consent: held
            .request
            .consent
            .clone()
            .filter(|_| held.request.purpose() == v1::Purpose::Utility),
        ..v1::MessageRequested::default()
    };
    Loaded::fresh(request, id)
}

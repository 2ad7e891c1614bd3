//! Drives one message: asks the rules what it needs, and carries that out.

use std::time::Duration;

use casement_domain::id::{MessageId, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_domain::message::{self, AttemptState, Event as MessageEvent, Message, Next, Phase};
use casement_domain::routing::{self, Decision, Input, Route, Sender};
use casement_event::convert::message::{Details, decision as stored_decision, read_purpose};
use casement_event::convert::{ConvertError, inbound::read_addresses};
use casement_event::{Uuid, v1};
use casement_event_log::consent::ConsentError;
use casement_event_log::conversation::{self, PresentError};
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Log};
use casement_shell::clock::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::aggregate::{self, LoadError, Loaded};
use crate::config::Rules;
use crate::evidence::EvidenceError;
use crate::provider::{Call, Caller};
use crate::rates::Rates;
use crate::settle::{Claimed, not_called};
use crate::{compose, consent, trace};

/// How long a message of a paused or unknown number waits before it is looked at again.
const PAUSED_RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// All that driving a message needs.
pub(crate) struct Engine {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) tokens: Tokens,
    pub(crate) clock: SharedClock,
    pub(crate) rules: Rules,
    pub(crate) rates: Rates,
    pub(crate) caller: Caller,
    /// Names this process in its claims, each of which has a name of its own besides.
    pub(crate) claimant: String,
}

/// Where a message stands after it was driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Driven {
    /// When it next needs attention, if nothing else happens.
    pub(crate) until: Option<Timestamp>,
    /// Later messages of the conversation must wait for it.
    pub(crate) blocks: bool,
    /// Sequence of its newest event.
    pub(crate) sequence: u64,
}

/// A message could not be driven on now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("window could not be read")]
    Present(#[from] PresentError),
    #[error("whose the phone is could not be looked up")]
    Holder(#[from] ResolveError),
    #[error(transparent)]
    Consent(#[from] ConsentError),
    #[error("event could not be appended")]
    Append(#[from] AppendError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error("request is not usable")]
    Convert(#[from] ConvertError),
}

/// A decision, and what carrying it out needs.
pub(crate) struct Routed {
    pub(crate) decision: Decision,
    pub(crate) addresses: Addresses,
}

/// What one step of driving came to.
enum Step {
    /// There may be more to do.
    On,
    /// Somebody else was faster: what was loaded is out of date.
    Overtaken,
    /// Nothing to do now.
    Rest(Driven),
}

impl DriveError {
    /// Returns whether trying again can never help.
    pub(crate) fn is_hopeless(&self) -> bool {
        match self {
            Self::Load(error) => error.is_hopeless(),
            Self::Present(error) => error.is_hopeless(),
            Self::Convert(_) => true,
            Self::Append(_) | Self::Evidence(_) | Self::Consent(_) | Self::Holder(_) => false,
        }
    }
}

impl Engine {
    /// Drives a message as far as it goes now; `None` if there is no such message.
    pub(crate) async fn drive(&self, id: &MessageId) -> Result<Option<Driven>, DriveError> {
        let Some(mut loaded) = aggregate::load(&self.log, id).await? else {
            return Ok(None);
        };
        loop {
            match self.step(&mut loaded).await? {
                Step::On => {}
                Step::Rest(driven) => return Ok(Some(driven)),
                Step::Overtaken => match aggregate::load(&self.log, id).await? {
                    Some(newer) => loaded = newer,
                    None => return Ok(None),
                },
            }
        }
    }

    async fn step(&self, loaded: &mut Loaded) -> Result<Step, DriveError> {
        let now = self.clock.now();
        match message::next(&loaded.message, &self.rules.message, now) {
            Next::Wait(until) => Ok(Step::Rest(rest(loaded, until, now))),
            Next::Route => self.go_on(loaded, now).await,
            Next::Record(event) | Next::Claim(event) => {
                self.append(loaded, &event, Details::default(), now).await
            }
        }
    }

    async fn append(
        &self,
        loaded: &mut Loaded,
        event: &MessageEvent,
        details: Details,
        now: Timestamp,
    ) -> Result<Step, DriveError> {
        match loaded.append(&self.log, event, details, now).await {
            Ok(_) => Ok(Step::On),
            Err(AppendError::Conflict { .. }) => Ok(Step::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Decides, and carries out what follows.
    async fn go_on(&self, loaded: &mut Loaded, now: Timestamp) -> Result<Step, DriveError> {
        // The time that the decision is made as of is the time that the claim counts from.
        let begun = Instant::now();
        let (id, key) = (loaded.context.id.clone(), loaded.key());
        let account = self.directory.number(loaded.number());
        let Some(account) = account.filter(|account| !account.paused) else {
            let until = add(now, PAUSED_RECHECK).min(loaded.message.expires_at);
            return Ok(Step::Rest(Driven {
                until: Some(until),
                blocks: true,
                sequence: loaded.sequence,
            }));
        };
        let routed = self.route(loaded, &account, now).await?;
        let decision = &routed.decision;
        let mut details = Details {
            decision: Some(stored_decision(decision)),
            ..Details::default()
        };
        let counts = decision
            .chosen
            .is_some_and(|route| Route::WHATSAPP.contains(&route));
        if !counts {
            self.rates.give_up(&id);
        }
        let next = message::on_decision(&loaded.message, decision, &self.rules.message, now);
        let event = match next {
            // `on_decision` is the answer to a request to route; it asks for none.
            Next::Route => return Ok(Step::On),
            Next::Record(event) => return self.append(loaded, &event, details, now).await,
            // Who waits for a rate gets a turn.
            Next::Wait(Some(_)) if counts => None,
            Next::Wait(until) => return Ok(Step::Rest(rest(loaded, until, now))),
            Next::Claim(event) => Some(event),
        };
        if counts {
            let turn = self.rates.turn(&id, &key, account.throughput, now);
            if turn > now {
                let until = turn.min(loaded.message.expires_at);
                return Ok(Step::Rest(rest(loaded, Some(until), now)));
            }
        }
        let Some(event) = event else {
            return Ok(Step::On);
        };
        details.claimant = format!("{}.{}", self.claimant, Uuid::new_v4().simple());
        let MessageEvent::AttemptStarted { attempt, route, .. } = event else {
            return Ok(Step::On);
        };
        let span = trace::attempt(loaded, attempt, route);
        let attempting = self.attempt(loaded, &event, details, &account, &routed.addresses, begun);
        Box::pin(attempting).instrument(span).await
    }

    /// Decides which way a message goes, on what stands on the log now.
    pub(crate) async fn route(
        &self,
        of: &Loaded,
        account: &v1::Number,
        now: Timestamp,
    ) -> Result<Routed, DriveError> {
        let (request, key) = (&of.request, of.key());
        let portfolio = PortfolioId::parse(&account.portfolio_id).map_err(ConvertError::Id)?;
        let (present, ids) = conversation::follow(&self.log, &portfolio, &key).await?;
        let allowed = Box::pin(consent::read(&self.log, &portfolio, &ids)).await?;
        let asked = read_addresses(&request.addresses.clone().unwrap_or_default())?;
        let mut addresses = asked.or(&present.addresses);
        if let Some(phone) = &addresses.phone {
            let holder = customers::holder(&self.log, &self.tokens, &portfolio, phone).await?;
            // It may be somebody else's since the customer showed it, or the message was accepted.
            if !holder.allows(&ids, asked.phone.is_some()) {
                addresses.phone = None;
            }
        }
        let content = request.content.clone().unwrap_or_default();
        let template = content.template.as_ref().map(|asked| {
            let known = self
                .directory
                .template(&account.waba_id, &asked.name, &asked.language);
            compose::template(asked, known)
        });
        let input = Input {
            policy: &self.rules.routing,
            window: &present.facts,
            window_policy: &self.rules.window,
            purpose: read_purpose(request.purpose()).unwrap_or(routing::Purpose::Service),
            has_free_form: content.free_form.is_some(),
            template: template.as_ref(),
            sms: compose::sms_text(&content).map(compose::sms_size),
            has_phone: addresses.phone.is_some(),
            has_whatsapp_address: compose::recipient(&addresses).is_some(),
            sender: Sender {
                has_whatsapp: !account.phone_number_id.is_empty() && account.token.is_some(),
                has_sms: compose::sms_sender(&content, account).is_some(),
            },
            consent: allowed.refusals(),
            exhausted: &of.message.exhausted,
            ready_at: self
                .rates
                .ready_at(&of.context.id, &key, account.throughput, now),
            expires_at: of.message.expires_at,
        };
        Ok(Routed {
            decision: routing::route(&input, now),
            addresses,
        })
    }

    /// Claims, and if the claim is ours, makes the call and records what it came to.
    async fn attempt(
        &self,
        loaded: &mut Loaded,
        claim: &MessageEvent,
        details: Details,
        account: &v1::Number,
        addresses: &Addresses,
        begun: Instant,
    ) -> Result<Step, DriveError> {
        let MessageEvent::AttemptStarted { attempt, route, .. } = *claim else {
            return Ok(Step::On);
        };
        let claimed = Claimed {
            attempt,
            claimant: details.claimant.clone(),
        };
        let (id, key) = (loaded.context.id.clone(), loaded.key());
        match loaded
            .append(&self.log, claim, details, self.clock.now())
            .await
        {
            Ok(_) => {}
            // Not ours: whoever was faster calls.
            Err(AppendError::Conflict { .. }) => {
                self.rates.give_up(&id);
                return Ok(Step::Overtaken);
            }
            // Perhaps ours. It is not called for, and if it stands there, that is what is said.
            Err(AppendError::Unknown { .. }) => {
                self.settle(loaded, &claimed, not_called(), false).await;
                return Ok(Step::Overtaken);
            }
            Err(error) => return Err(error.into()),
        }
        if Route::WHATSAPP.contains(&route) {
            self.rates.spend(&id, &key, self.clock.now());
        }
        let call_by = Duration::try_from(self.rules.message.call_by).unwrap_or_default();
        let answer = if begun.elapsed() > call_by {
            not_called()
        } else {
            let answers = Some(loaded.request.reply_to_message_id.clone());
            let call = Call {
                message: loaded,
                attempt,
                route,
                account,
                addresses,
                answers: answers.filter(|id| !id.is_empty()),
            };
            self.caller.call(&call).await
        };
        self.settle(loaded, &claimed, answer, true).await;
        Ok(Step::On)
    }
}

/// Where a message stands that needs nothing before `until`.
fn rest(loaded: &Loaded, until: Option<Timestamp>, now: Timestamp) -> Driven {
    Driven {
        until,
        blocks: blocks(&loaded.message, now),
        sequence: loaded.sequence,
    }
}

/// Whether later messages of the conversation must wait: while one is being called, backs off,
/// or waits for a rate. What waits for its time, its customer or a report does not hold up others.
fn blocks(message: &Message, now: Timestamp) -> bool {
    match &message.phase {
        Phase::Attempting { .. } => true,
        Phase::Pending { due_at, .. } => {
            let is_scheduled = message.attempts.is_empty() && *due_at > now;
            let is_abandoned = message
                .attempts
                .last()
                .is_some_and(|attempt| attempt.state == AttemptState::Abandoned);
            !is_scheduled && !is_abandoned
        }
        Phase::Held { .. }
        | Phase::Unknown { .. }
        | Phase::Accepted { .. }
        | Phase::Ending { .. }
        | Phase::Ended { .. } => false,
    }
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use casement_domain::message::evolve;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn requested(send_at: Option<Timestamp>) -> Message {
        let event = MessageEvent::Requested {
            requested_at: at(0),
            send_at,
            expires_at: at(900),
        };
        evolve(None, &event).unwrap()
    }

    #[test]
    fn only_what_is_about_to_go_holds_up_later_messages() {
        assert!(blocks(&requested(None), at(1)), "waits for a rate");
        assert!(!blocks(&requested(Some(at(500))), at(1)), "scheduled");
        let held = MessageEvent::Held {
            at: at(1),
            recheck_at: at(60),
            expires_at: at(900),
        };
        assert!(!blocks(
            &evolve(Some(requested(None)), &held).unwrap(),
            at(1)
        ));
        let started = MessageEvent::AttemptStarted {
            attempt: 1,
            route: Route::FreeForm,
            at: at(1),
            call_by: at(6),
            outcome_by: at(26),
        };
        assert!(blocks(
            &evolve(Some(requested(None)), &started).unwrap(),
            at(1)
        ));
    }
}

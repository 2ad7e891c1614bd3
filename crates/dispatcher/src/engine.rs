//! Drives one message: asks the rules what it needs, and carries that out.

use std::time::Duration;

use casement_domain::halt::Sending;
use casement_domain::id::{MessageId, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_domain::message::{self, AttemptState, Event as MessageEvent, Message, Next, Phase};
use casement_domain::routing::{self, Decision, Input, Route, Sender};
use casement_domain::sms::calling_code;
use casement_domain::window::Facts;
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
use crate::halts::{HaltError, Halts, Lifting, orders};
use crate::provider::{Answer, Call, Caller};
use crate::rates::Rates;
use crate::settle::{Claimed, halted, not_called};
use crate::{compose, consent, sms, stakes, trace};

/// How long a message of an unknown number waits before it is looked at again.
const UNKNOWN_RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// All that driving a message needs.
pub(crate) struct Engine {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) tokens: Tokens,
    pub(crate) clock: SharedClock,
    pub(crate) rules: Rules,
    pub(crate) rates: Rates,
    pub(crate) halts: Halts,
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
    #[error(transparent)]
    Halt(#[from] HaltError),
    #[error("request is not usable")]
    Convert(#[from] ConvertError),
}

/// A decision, and what carrying it out needs.
pub(crate) struct Routed {
    pub(crate) decision: Decision,
    pub(crate) addresses: Addresses,
    /// What was true about the conversation.
    pub(crate) facts: Facts,
}

/// What carrying a claim out needs.
struct Plan<'a> {
    account: &'a v1::Number,
    addresses: &'a Addresses,
    sending: &'a Sending,
    /// The halt that it is let through for.
    probe: Option<&'a str>,
    /// When the decision was made.
    begun: Instant,
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
            Self::Append(_)
            | Self::Evidence(_)
            | Self::Consent(_)
            | Self::Holder(_)
            | Self::Halt(_) => false,
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
        let Some(account) = account else {
            let until = add(now, UNKNOWN_RECHECK).min(loaded.message.expires_at);
            return Ok(Step::Rest(Driven {
                until: Some(until),
                blocks: true,
                sequence: loaded.sequence,
            }));
        };
        self.halts.prove().await.map_err(HaltError::from)?;
        let sending = orders::sending(loaded, &account);
        let mut routed = Box::pin(self.route(loaded, &account, None, now)).await?;
        let probe = self.probe(&routed.decision, now);
        if probe.is_some() {
            let without = probe.as_deref();
            routed = Box::pin(self.route(loaded, &account, without, now)).await?;
        }
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
            let turn = turn.max(self.halts.ready_at(&sending, now));
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
        let (facts, window) = (&routed.facts, &self.rules.window);
        details.stakes = stakes::of(&loaded.request, route, facts, window, now);
        let span = trace::attempt(loaded, attempt, route);
        let plan = Plan {
            account: &account,
            addresses: &routed.addresses,
            sending: &sending,
            probe: probe.as_deref(),
            begun,
        };
        let attempting = self.attempt(loaded, &event, details, &plan);
        Box::pin(attempting).instrument(span).await
    }

    /// Returns the halt that this message is let through for, to see whether it is over.
    fn probe(&self, decision: &Decision, now: Timestamp) -> Option<String> {
        let stop = decision.halted_by.as_ref()?;
        let is_due = stop.probe_at.is_some_and(|at| at <= now);
        (is_due && self.halts.take_probe(&stop.halt, now)).then(|| stop.halt.clone())
    }

    /// Decides which way a message goes, on what stands on the log now. One halt may be left out.
    pub(crate) async fn route(
        &self,
        of: &Loaded,
        account: &v1::Number,
        without_halt: Option<&str>,
        now: Timestamp,
    ) -> Result<Routed, DriveError> {
        let (request, key) = (&of.request, of.key());
        let portfolio = PortfolioId::parse(&account.portfolio_id).map_err(ConvertError::Id)?;
        let (present, ids) =
            conversation::follow(&self.log, &self.directory, &portfolio, &key).await?;
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
        let sending = orders::sending(of, account);
        let stops = self.halts.stops(&sending, account, without_halt, now);
        let input = Input {
            policy: &self.rules.routing,
            window: &present.facts,
            window_policy: &self.rules.window,
            purpose: read_purpose(request.purpose()).unwrap_or(routing::Purpose::Service),
            has_free_form: content.free_form.is_some(),
            template: template.as_ref(),
            sms: compose::sms_text(&content).map(compose::sms_size),
            has_phone: addresses.phone.is_some(),
            calling_code: addresses.phone.as_ref().map(calling_code),
            sms_offer: &sms::offer(
                self.caller.sms.senders(),
                &content,
                account,
                addresses.phone.as_ref(),
            ),
            exhausted_gateways: &of.message.exhausted_gateways,
            has_whatsapp_address: compose::recipient(&addresses).is_some(),
            sender: Sender {
                has_whatsapp: !account.phone_number_id.is_empty() && account.token.is_some(),
            },
            consent: allowed.refusals(),
            exhausted: &of.message.exhausted,
            stops: &stops,
            ready_at: self
                .rates
                .ready_at(&of.context.id, &key, account.throughput, now)
                .max(self.halts.ready_at(&sending, now)),
            expires_at: of.message.expires_at,
        };
        Ok(Routed {
            decision: routing::route(&input, now),
            addresses,
            facts: present.facts,
        })
    }

    /// Claims, and if the claim is ours, makes the call and records what it came to.
    async fn attempt(
        &self,
        loaded: &mut Loaded,
        claim: &MessageEvent,
        details: Details,
        plan: &Plan<'_>,
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
        let stopped = self.stopped(route, plan).await;
        let answer = if plan.begun.elapsed() > call_by {
            not_called()
        } else if let Some(why) = stopped {
            why
        } else {
            let answers = Some(loaded.request.reply_to_message_id.clone());
            let call = Call {
                message: loaded,
                attempt,
                route,
                account: plan.account,
                addresses: plan.addresses,
                answers: answers.filter(|id| !id.is_empty()),
            };
            self.caller.call(&call, self.clock.now()).await
        };
        let is_accepted = matches!(answer, Answer::Accepted { .. });
        self.settle(loaded, &claimed, answer, true).await;
        if let Some(halt) = plan.probe.filter(|_| is_accepted) {
            let lifting = Lifting::by(v1::HaltLift::CallAccepted);
            let lifted = self.halts.lift(halt, &lifting, self.clock.now()).await;
            // The next probe lifts it.
            if let Err(error) = lifted {
                tracing::warn!(halt, error = %error, "halt could not be lifted");
            }
        }
        Ok(Step::On)
    }

    /// The answer for a call that must not begin, since a halt came after the decision or nobody
    /// knows whether one did.
    async fn stopped(&self, route: Route, plan: &Plan<'_>) -> Option<Answer> {
        if let Err(error) = self.halts.prove_for_call().await {
            tracing::warn!(error = %error, "call not made: halts could not be read");
            return Some(not_called());
        }
        let now = self.clock.now();
        let stops = self
            .halts
            .stops(plan.sending, plan.account, plan.probe, now);
        stops.on(route).map(|stop| halted(&stop.text))
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
/// or waits for a rate. What waits for its time, its customer, a report or the end of a halt does
/// not hold up others: a halt that concerns them stops them, too.
fn blocks(message: &Message, now: Timestamp) -> bool {
    match &message.phase {
        Phase::Attempting { .. } => true,
        Phase::Pending {
            due_at,
            deferral: None,
        } => {
            let is_scheduled = message.attempts.is_empty() && *due_at > now;
            let is_abandoned = message
                .attempts
                .last()
                .is_some_and(|attempt| attempt.state == AttemptState::Abandoned);
            !is_scheduled && !is_abandoned
        }
        Phase::Pending {
            deferral: Some(_), ..
        }
        | Phase::Held { .. }
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
            gateway: String::new(),
            other_gateways: Vec::new(),
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

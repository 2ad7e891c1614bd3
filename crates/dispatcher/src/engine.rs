//! Drives one message: asks the rules what it needs, and carries that out.

use std::sync::Arc;

use casement_domain::id::MessageId;
use casement_domain::message::{self, AttemptState, Event as MessageEvent, Message, Next, Phase};
use casement_domain::routing::Route;
use casement_event::convert::ConvertError;
use casement_event::convert::message::{Details, decision as stored_decision};
use casement_event::subject::stream;
use casement_event::{Uuid, v1};
use casement_event_log::consent::ConsentError;
use casement_event_log::conversation::PresentError;
use casement_event_log::customers::{ResolveError, Tokens};
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Log};
use casement_shell::clock::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::admission::Admission;
use crate::aggregate::{LoadError, Loaded};
use crate::attempt::Plan;
use crate::brands::Quotas;
use crate::budgets::Budgets;
use crate::config::Rules;
use crate::evidence::EvidenceError;
use crate::halts::{HaltError, Halts};
use crate::hold::Queues;
use crate::lanes::Book;
use crate::money::{Money, MoneyError, Reserved};
use crate::provider::Caller;
use crate::rates::{Rates, Turn};
use crate::recent::Recent;
use crate::routed::Routed;
use crate::sensitive::{SensitiveError, Vault};
use crate::{stakes, trace};

/// How long a message of an unknown number waits before it is looked at again.
const UNKNOWN_RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// All that driving a message needs.
pub(crate) struct Engine {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) tokens: Tokens,
    pub(crate) clock: SharedClock,
    pub(crate) rules: Rules,
    pub(crate) admission: Admission,
    pub(crate) rates: Rates,
    /// What waits in each conversation.
    pub(crate) book: Arc<Book>,
    pub(crate) budgets: Budgets,
    pub(crate) queues: Queues,
    pub(crate) halts: Halts,
    pub(crate) money: Money,
    pub(crate) quotas: Quotas,
    pub(crate) caller: Caller,
    pub(crate) recent: Recent,
    pub(crate) vault: Vault,
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
    /// It waits for the customer.
    pub(crate) is_held: bool,
    /// It could go, but not before those that are held: they are to be looked at again.
    pub(crate) is_out_of_turn: bool,
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
    /// Whoever answered has not heard of what was handed out.
    #[error("the broker told of fewer messages than it had handed out")]
    Behind,
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Halt(#[from] HaltError),
    #[error("request is not usable")]
    Convert(#[from] ConvertError),
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error(transparent)]
    Sensitive(#[from] SensitiveError),
}

/// What one step of driving came to.
pub(crate) enum Step {
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
            | Self::Behind
            | Self::Evidence(_)
            | Self::Money(_)
            | Self::Sensitive(_)
            | Self::Consent(_)
            | Self::Holder(_)
            | Self::Halt(_) => false,
        }
    }
}

impl Engine {
    /// Drives a message as far as it goes now; `None` if there is no such message. `behind_held`
    /// says that one before it in its conversation was just found to wait for the customer.
    pub(crate) async fn drive(
        &self,
        id: &MessageId,
        behind_held: bool,
    ) -> Result<Option<Driven>, DriveError> {
        let Some(mut loaded) = self.recent.load(&self.log, id).await? else {
            return Ok(None);
        };
        // What is held is looked at seldom, and others are written to on its behalf.
        if matches!(loaded.message.phase, Phase::Held { .. }) {
            self.prove(&mut loaded).await?;
        }
        loop {
            match Box::pin(self.step(&mut loaded, behind_held)).await? {
                Step::On => {}
                Step::Rest(driven) => {
                    if !self.prove(&mut loaded).await? {
                        return Ok(Some(driven));
                    }
                }
                Step::Overtaken => {
                    loaded.is_proven = false;
                    self.prove(&mut loaded).await?;
                }
            }
        }
    }

    /// As [`Self::drive`], of a message that stood on the log up to `seen`: an answer that lacks it is
    /// no word on what comes after it.
    pub(crate) async fn drive_known(
        &self,
        id: &MessageId,
        seen: u64,
        behind_held: bool,
    ) -> Result<Option<Driven>, DriveError> {
        let driven = Box::pin(self.drive(id, behind_held)).await?;
        if driven.is_some() {
            return Ok(driven);
        }
        if self.is_behind(seen).await? {
            return Err(DriveError::Behind);
        }
        // Who answered before may have been somebody else.
        Box::pin(self.drive(id, behind_held)).await
    }

    /// Whether whoever answers now has not heard of what was handed out at a sequence, so that what
    /// it does not have may be there all the same.
    pub(crate) async fn is_behind(&self, sequence: u64) -> Result<bool, LoadError> {
        let first = self.log.first_from(stream::MESSAGES, sequence).await;
        Ok(first?.is_none())
    }

    /// Takes up what was stored about a message since it was last in hand. Returns whether that was
    /// anything.
    pub(crate) async fn prove(&self, loaded: &mut Loaded) -> Result<bool, LoadError> {
        if loaded.is_proven {
            return Ok(false);
        }
        let has_more = loaded.catch_up(&self.log).await?;
        self.recent.keep(loaded);
        Ok(has_more)
    }

    /// Records what follows from what has been recorded, without waiting until the message is due.
    /// What asks for more is left to whoever takes it in hand then.
    pub(crate) async fn conclude(&self, loaded: &mut Loaded) -> Result<(), DriveError> {
        loop {
            let now = self.clock.now();
            let next = message::next(&loaded.message, &self.rules.message, now);
            let (Next::Record(event), true) = (next, loaded.message.is_over()) else {
                return Ok(());
            };
            if let Step::Overtaken = self.append(loaded, &event, Details::default(), now).await? {
                return Ok(());
            }
        }
    }

    async fn step(&self, loaded: &mut Loaded, behind_held: bool) -> Result<Step, DriveError> {
        let now = self.clock.now();
        match message::next(&loaded.message, &self.rules.message, now) {
            // Its time will never come.
            Next::Wait(_) if self.is_for_nobody(loaded) => {
                Box::pin(self.go_on(loaded, behind_held, now)).await
            }
            Next::Wait(until) => Ok(Step::Rest(rest(loaded, until, now))),
            Next::Route => Box::pin(self.go_on(loaded, behind_held, now)).await,
            Next::Record(event) | Next::Claim(event) => {
                self.append(loaded, &event, Details::default(), now).await
            }
        }
    }

    /// Whether a message waits for its time at a number that is somebody else's by now.
    fn is_for_nobody(&self, of: &Loaded) -> bool {
        let is_pending = matches!(of.message.phase, Phase::Pending { .. });
        let is_away = |account: v1::Number| account.migrate_away_time.is_some();
        is_pending && self.directory.number(of.number()).is_some_and(is_away)
    }

    pub(crate) async fn append(
        &self,
        loaded: &mut Loaded,
        event: &MessageEvent,
        details: Details,
        now: Timestamp,
    ) -> Result<Step, DriveError> {
        match loaded.append(&self.log, event, details, now).await {
            Ok(_) => {
                self.recent.keep(loaded);
                Ok(Step::On)
            }
            Err(AppendError::Conflict { .. }) => Ok(Step::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Decides, and carries out what follows.
    async fn go_on(
        &self,
        loaded: &mut Loaded,
        behind_held: bool,
        now: Timestamp,
    ) -> Result<Step, DriveError> {
        // The time that the decision is made as of is the time that the claim counts from.
        let begun = Instant::now();
        let id = loaded.context.id.clone();
        let account = self.directory.number(loaded.number());
        let Some(account) = account else {
            let until = add(now, UNKNOWN_RECHECK).min(loaded.message.expires_at);
            return Ok(Step::Rest(Driven {
                until: Some(until),
                blocks: true,
                is_held: false,
                is_out_of_turn: false,
                sequence: loaded.sequence,
            }));
        };
        self.halts.prove().await.map_err(HaltError::from)?;
        let mut routed = Box::pin(self.route(loaded, &account, None, now)).await?;
        if routed.consent.is_erased {
            return Box::pin(self.end_erased(loaded, now)).await;
        }
        if let Some(end) = self.needless(loaded, &routed, now).await? {
            return self.append(loaded, &end, Details::default(), now).await;
        }
        let probe = self.probe(&routed, now);
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
            Next::Record(event @ MessageEvent::Held { .. }) => {
                return Box::pin(self.hold(loaded, &event, &account, &routed, now)).await;
            }
            Next::Record(event) => {
                self.budgets
                    .put_off(&account, &routed.customer, decision, &self.directory, now);
                return self.append(loaded, &event, details, now).await;
            }
            // Those before it were looked at before the customer wrote: now they can go first.
            Next::Wait(_) | Next::Claim(_)
                if behind_held && decision.chosen == Some(Route::FreeForm) =>
            {
                return Ok(Step::Rest(Driven {
                    is_out_of_turn: true,
                    ..rest(loaded, Some(now), now)
                }));
            }
            // Who waits for a rate gets a turn.
            Next::Wait(Some(_)) if counts => None,
            Next::Wait(until) => {
                if decision.chosen == Some(Route::Hold) {
                    self.nudge(loaded, &routed, now).await?;
                }
                return Ok(Step::Rest(rest(loaded, until, now)));
            }
            Next::Claim(event) => Some(event),
        };
        if counts {
            let turn = self.turn(loaded, &account, &routed.sending, now);
            if let Turn::Later(until) = turn {
                let until = until.min(loaded.message.expires_at);
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
        // Others took the last place since the decision: it is made anew.
        let is_first_word = route == Route::Template && !decision.window_open;
        let has_place = || {
            let customer = &routed.customer;
            self.budgets.take(&account, customer, &self.directory, now)
        };
        if is_first_word && !has_place() {
            return Ok(Step::On);
        }
        let (facts, window) = (&routed.facts, &self.rules.window);
        details.consent_sequence = routed.consent.sequence;
        details.stakes = stakes::of(&loaded.request, route, facts, window, now);
        match self
            .money
            .reserve(loaded, attempt, route, &decision.costs, now)
        {
            Reserved::Yes(cost) => details.cost = cost,
            // Others were claimed since the decision: it is made anew.
            Reserved::No => return Ok(Step::On),
        }
        let span = trace::attempt(loaded, attempt, route);
        let plan = Plan {
            account: &account,
            addresses: &routed.addresses,
            sending: &routed.sending,
            consent: &routed.consent,
            probe: probe.as_deref(),
            begun,
        };
        let claimant = details.claimant.clone();
        let attempting = self.attempt(loaded, &event, details, &plan);
        let step = Box::pin(attempting).instrument(span).await;
        if loaded.claimant(attempt) != Some(&claimant) {
            self.money.give_back(&id, attempt);
        }
        step
    }

    /// Returns the halt that this message is let through for, to see whether it is over.
    fn probe(&self, routed: &Routed, now: Timestamp) -> Option<String> {
        let stops = routed.decision.halted_by.iter().chain(&routed.passed_over);
        let mut due = stops.filter(|stop| stop.probe_at.is_some_and(|at| at <= now));
        let taken = due.find(|stop| self.halts.take_probe(&stop.halt, now))?;
        Some(taken.halt.clone())
    }
}

/// Where a message stands that needs nothing before `until`.
fn rest(loaded: &Loaded, until: Option<Timestamp>, now: Timestamp) -> Driven {
    let is_pending = matches!(loaded.message.phase, Phase::Pending { .. });
    Driven {
        until,
        // A nudge that waits is in nobody's way.
        blocks: blocks(&loaded.message, now) && !(loaded.is_nudge() && is_pending),
        is_held: matches!(loaded.message.phase, Phase::Held { .. }),
        is_out_of_turn: false,
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
    use casement_domain::failover::Failover;
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
            failover: Failover::default(),
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

//! One attempt: the claim, and the provider's call that follows it.
//!
//! Decides no route and waits for no turn but the pace of the call itself: when it begins, all that
//! could speak against the attempt has been asked, and is asked once more after the claim.

use std::time::Duration;

use casement_domain::halt::Sending;
use casement_domain::id::BusinessNumber;
use casement_domain::inbound::Addresses;
use casement_domain::message::Event as MessageEvent;
use casement_domain::routing::Route;
use casement_event::convert::message::Details;
use casement_event::v1;
use casement_event_log::AppendError;
use tokio::time::Instant;

use crate::aggregate::Loaded;
use crate::consent::{self, Rested};
use crate::engine::{DriveError, Engine, Step};
use crate::halts::Lifting;
use crate::provider::{Answer, Call};
use crate::sensitive;
use crate::settle::{Claimed, not_called, stopped};
use crate::templates;

/// What carrying a claim out needs.
pub(crate) struct Plan<'a> {
    pub(crate) account: &'a v1::Number,
    pub(crate) addresses: &'a Addresses,
    pub(crate) sending: &'a Sending,
    /// What the decision knew of what the customer allows.
    pub(crate) consent: &'a Rested,
    /// The halt that it is let through for.
    pub(crate) probe: Option<&'a str>,
    /// When the decision was made.
    pub(crate) begun: Instant,
}

impl Engine {
    /// Claims, and if the claim is ours, makes the call and records what it came to.
    pub(crate) async fn attempt(
        &self,
        loaded: &mut Loaded,
        claim: &MessageEvent,
        details: Details,
        plan: &Plan<'_>,
    ) -> Result<Step, DriveError> {
        let MessageEvent::AttemptStarted {
            attempt,
            route,
            ref gateway,
            ..
        } = *claim
        else {
            return Ok(Step::On);
        };
        let claimed = Claimed {
            attempt,
            claimant: details.claimant.clone(),
        };
        let id = loaded.context.id.clone();
        let opened = sensitive::open(&self.vault, &self.log, loaded).await?;
        match loaded
            .append(&self.log, claim, details, self.clock.now())
            .await
        {
            Ok(_) => self.recent.keep(loaded),
            // Not ours: whoever was faster calls.
            Err(AppendError::Conflict { .. }) => {
                self.rates.give_up(&id);
                return Ok(Step::Overtaken);
            }
            // Perhaps ours. It is not called for, and if it stands there, that is what is said.
            Err(AppendError::Unknown { .. }) => {
                Box::pin(self.settle(loaded, &claimed, not_called(), false)).await;
                return Ok(Step::Overtaken);
            }
            Err(error) => return Err(error.into()),
        }
        let call_by = Duration::try_from(self.rules.message.call_by).unwrap_or_default();
        let stopped = match self.stopped(route, gateway, plan).await {
            None => self.objected(loaded, route, plan).await,
            some => some,
        };
        let left = call_by.saturating_sub(plan.begun.elapsed());
        let answer = if left.is_zero() {
            not_called()
        } else if let Some(why) = stopped {
            why
        } else if !self.paced(loaded, route, plan.account, left).await {
            not_called()
        } else if let Some(opened) = opened.of(loaded) {
            let answers = Some(loaded.request.reply_to_message_id.clone());
            let call = Call {
                message: &opened,
                attempt,
                route,
                account: plan.account,
                addresses: plan.addresses,
                answers: answers.filter(|id| !id.is_empty()),
            };
            self.caller.call(&call, self.clock.now()).await
        } else {
            sensitive::never_opened()
        };
        self.rates.give_up(&id);
        let is_accepted = matches!(answer, Answer::Accepted { .. });
        if is_accepted {
            self.halts.accepted(plan.sending, self.clock.now());
        }
        let is_held = templates::is_held(&answer);
        Box::pin(self.settle(loaded, &claimed, answer, true)).await;
        if is_held {
            self.tell_held(loaded, plan.account).await;
        }
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

    /// The answer for a call that must not begin, since the customer said something after the
    /// decision or nobody knows whether they did.
    async fn objected(&self, of: &Loaded, route: Route, plan: &Plan<'_>) -> Option<Answer> {
        let purpose = consent::purpose(&of.request);
        match consent::has_changed(&self.log, plan.consent, route, purpose).await {
            Ok(false) => None,
            Ok(true) => Some(stopped("What the customer allows has changed.")),
            Err(error) => {
                tracing::warn!(error = %error, "call not made: consent could not be read");
                Some(not_called())
            }
        }
    }

    /// The answer for a call that must not begin, since a halt came after the decision or nobody
    /// knows whether one did.
    async fn stopped(&self, route: Route, gateway: &str, plan: &Plan<'_>) -> Option<Answer> {
        if let Err(error) = self.halts.prove_for_call().await {
            tracing::warn!(error = %error, "call not made: halts could not be read");
            return Some(not_called());
        }
        let now = self.clock.now();
        let number = BusinessNumber::parse(&plan.account.number).ok();
        let known = number.and_then(|number| self.directory.number(&number));
        let account = known.as_ref().unwrap_or(plan.account);
        if account.phone_number_id != plan.account.phone_number_id {
            return Some(stopped("The number has moved to another business account."));
        }
        let stops = self.halts.stops(plan.sending, account, plan.probe, now);
        let stop = stops.on_call(route, gateway);
        stop.map(|stop| stopped(&stop.text))
    }
}

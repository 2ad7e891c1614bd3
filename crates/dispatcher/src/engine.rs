//! Drives one message: asks the rules what it needs, and carries that out.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::MessageId;
use casement_domain::inbound::Addresses;
use casement_domain::message::{self, AttemptState, Event as MessageEvent, Message, Next, Phase};
use casement_domain::routing::{self, Decision, Input, Route, Sender};
use casement_event::convert::message::{Details, decision as stored_decision, read_purpose};
use casement_event::convert::{ConvertError, inbound::read_addresses};
use casement_event::v1;
use casement_event_log::conversation::{self, Key, Present, PresentError};
use casement_event_log::directory::Directory;
use casement_event_log::{AppendError, Log};
use casement_shell::backoff::Schedule;
use casement_shell::clock::SharedClock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::aggregate::{self, LoadError, Loaded};
use crate::compose;
use crate::config::Rules;
use crate::evidence::{self, EvidenceError, OUTSIDE_WINDOW, Proof};
use crate::provider::{Answer, Call, Caller};
use crate::rates::Rates;

/// How long a message of a paused or unknown number waits before it is looked at again.
const PAUSED_RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// How often a customer who moved is followed on; each move is a merge of two customers.
const MOVES_MAX: usize = 8;

/// How long the outcome of a call is tried to be recorded. After that, reports have to tell.
const SETTLE_WITHIN: Duration = Duration::from_mins(2);

/// All that driving a message needs.
pub(crate) struct Engine {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) clock: SharedClock,
    pub(crate) rules: Rules,
    pub(crate) rates: Rates,
    pub(crate) caller: Caller,
    /// Names this process in its claims.
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

impl Engine {
    /// Drives a message as far as it goes now; `None` if there is no such message.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        id: &MessageId,
    ) -> Result<Option<Driven>, DriveError> {
        loop {
            let Some(mut loaded) = aggregate::load(&self.log, id).await? else {
                return Ok(None);
            };
            let now = self.clock.now();
            let (event, details) = match message::next(&loaded.message, &self.rules.message, now) {
                Next::Wait(until) => return Ok(Some(rest(&loaded, until, now))),
                Next::Record(event) | Next::Claim(event) => (event, Details::default()),
                Next::Route => {
                    let account = self.directory.number(loaded.number());
                    let Some(account) = account.filter(|account| !account.paused) else {
                        let until = add(now, PAUSED_RECHECK).min(loaded.message.expires_at);
                        return Ok(Some(Driven {
                            until: Some(until),
                            blocks: true,
                            sequence: loaded.sequence,
                        }));
                    };
                    let routed = self
                        .route(
                            &loaded.request,
                            &loaded.message.exhausted,
                            &loaded.key(),
                            &account,
                            now,
                        )
                        .await?;
                    let details = Details {
                        decision: Some(stored_decision(&routed.decision)),
                        claimant: self.claimant.clone(),
                        ..Details::default()
                    };
                    let next = message::on_decision(
                        &loaded.message,
                        &routed.decision,
                        &self.rules.message,
                        now,
                    );
                    match next {
                        Next::Wait(until) => return Ok(Some(rest(&loaded, until, now))),
                        Next::Claim(event) => {
                            self.attempt(loaded, &event, details, &account, &routed.addresses)
                                .await?;
                            continue;
                        }
                        Next::Record(event) => (event, details),
                        // `on_decision` is the answer to a request to route; it asks for none.
                        Next::Route => continue,
                    }
                }
            };
            match loaded.append(&self.log, &event, details, now).await {
                // Somebody was faster: look again.
                Ok(_) | Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Decides which way a message goes, on what stands on the log now.
    pub(crate) async fn route(
        &self,
        request: &v1::MessageRequested,
        exhausted: &[Route],
        key: &Key,
        account: &v1::Number,
        now: Timestamp,
    ) -> Result<Routed, DriveError> {
        let present = self.present(key).await?;
        let asked = read_addresses(&request.addresses.clone().unwrap_or_default())?;
        let addresses = asked.or(&present.addresses);
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
                has_sms: account
                    .sms
                    .as_ref()
                    .is_some_and(|sms| !sms.account_sid.is_empty()),
            },
            consent: routing::Consent::default(),
            exhausted,
            ready_at: self.rates.ready_at(key, account.throughput, now),
            expires_at: casement_event::convert::required_instant(
                "expire_time",
                request.expire_time.as_ref(),
            )?,
        };
        Ok(Routed {
            decision: routing::route(&input, now),
            addresses,
        })
    }

    /// Reads what is true of a conversation, at the customer who carries it on.
    async fn present(&self, key: &Key) -> Result<Present, PresentError> {
        let mut key = key.clone();
        let mut present = conversation::read(&self.log, &key).await?;
        for _ in 0..MOVES_MAX {
            let Some(survivor) = present.survivor.clone() else {
                break;
            };
            key.customer = survivor;
            let carried_on = conversation::read(&self.log, &key).await?;
            present = present.carried_on_by(carried_on);
        }
        Ok(present)
    }

    /// Claims, and if the claim is ours, makes the call and records what it came to.
    async fn attempt(
        self: &Arc<Self>,
        mut loaded: Loaded,
        claim: &MessageEvent,
        details: Details,
        account: &v1::Number,
        addresses: &Addresses,
    ) -> Result<(), DriveError> {
        let MessageEvent::AttemptStarted { attempt, route, .. } = *claim else {
            return Ok(());
        };
        let claimed = Instant::now();
        match loaded
            .append(&self.log, claim, details, self.clock.now())
            .await
        {
            Ok(_) => {}
            // Not ours: whoever was faster calls.
            Err(AppendError::Conflict { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        metrics::counter!("casement_attempts_total", "route" => route.as_str()).increment(1);
        if Route::WHATSAPP.contains(&route) {
            self.rates
                .count(&loaded.key(), account.throughput, self.clock.now());
        }
        let call_by = Duration::try_from(self.rules.message.call_by).unwrap_or_default();
        let answer = if claimed.elapsed() > call_by {
            let error = v1::ProviderError {
                message: "The claim took too long to be stored; no call was made.".to_owned(),
                ..v1::ProviderError::default()
            };
            Answer::Refused {
                error,
                refusal: message::Refusal::Retry,
            }
        } else {
            let answers = Some(loaded.request.reply_to_message_id.clone());
            let call = Call {
                message: &loaded,
                attempt,
                route,
                account,
                addresses,
                answers: answers.filter(|id| !id.is_empty()),
            };
            self.caller.call(&call).await
        };
        self.settle(loaded, attempt, answer).await;
        Ok(())
    }

    /// Records what a call came to. A log that is away is waited for a while.
    async fn settle(&self, mut loaded: Loaded, attempt: u32, answer: Answer) {
        let started = Instant::now();
        let mut waits = Schedule::DEFAULT.waits();
        loop {
            match self.record_answer(&mut loaded, attempt, &answer).await {
                Ok(()) => return,
                Err(error) if started.elapsed() > SETTLE_WITHIN => {
                    tracing::error!(
                        message = %loaded.context.id, attempt, error = %error,
                        "outcome of a call could not be recorded; reports have to tell"
                    );
                    return;
                }
                Err(error) => {
                    tracing::warn!(message = %loaded.context.id, attempt, error = %error, "outcome not recorded yet");
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    async fn record_answer(
        &self,
        loaded: &mut Loaded,
        attempt: u32,
        answer: &Answer,
    ) -> Result<(), DriveError> {
        loop {
            let now = self.clock.now();
            let policy = &self.rules.message;
            let (event, details) = match answer {
                Answer::Accepted {
                    provider_id,
                    status,
                } => (
                    message::on_accepted(&loaded.message, attempt, provider_id, policy, now),
                    Details {
                        provider_status: status.clone(),
                        ..Details::default()
                    },
                ),
                Answer::Unknown { reason } => (
                    message::on_unknown(&loaded.message, attempt, reason, policy, now),
                    Details::default(),
                ),
                Answer::Refused { error, refusal } => (
                    message::on_rejected(
                        &loaded.message,
                        attempt,
                        error.code,
                        *refusal,
                        policy,
                        now,
                    ),
                    Details {
                        error: Some(error.clone()),
                        ..Details::default()
                    },
                ),
            };
            // A report was faster and has told already.
            let Some(event) = event else { return Ok(()) };
            if let Answer::Refused { error, .. } = answer
                && error.code == OUTSIDE_WINDOW
                && let Some(known) = loaded.message.attempt(attempt)
            {
                let proof = Proof::Refused { error };
                evidence::record(&self.log, loaded, known, &proof, now).await?;
            }
            match loaded.append(&self.log, &event, details, now).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Conflict { .. }) => {
                    match aggregate::load(&self.log, &loaded.context.id).await? {
                        Some(newer) => *loaded = newer,
                        None => return Ok(()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
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

//! After the claim: the outcome of the call is recorded, whatever stands in the way.

use std::time::Duration;

use casement_domain::halt::Scope;
use casement_domain::message::{self, Attempt, KeptBack};
use casement_domain::routing::Route;
use casement_event::convert::halt::Details as HaltDetails;
use casement_event::convert::message::Details;
use casement_event::v1;
use casement_event_log::AppendError;
use casement_shell::backoff::Schedule;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::aggregate::Loaded;
use crate::consent::{self, Refused};
use crate::engine::{DriveError, Engine};
use crate::evidence::{self, Finding, OUTSIDE_WINDOW};
use crate::halts::gateways;
use crate::halts::orders::{self, Told};
use crate::provider::Answer;
use crate::standing;

/// How long the outcome of a call is tried to be recorded. After that, reports have to tell.
const SETTLE_WITHIN: Duration = Duration::from_mins(2);

/// A claim that was appended, or may have been.
pub(crate) struct Claimed {
    pub(crate) attempt: u32,
    /// Names this claim alone.
    pub(crate) claimant: String,
}

impl Engine {
    /// Records what a call came to. A log that is away is waited for a while.
    ///
    /// `is_current` says whether `loaded` has the claim; otherwise it is loaded again.
    pub(crate) async fn settle(
        &self,
        loaded: &mut Loaded,
        claimed: &Claimed,
        answer: Answer,
        mut is_current: bool,
    ) {
        let started = Instant::now();
        let mut waits = Schedule::DEFAULT.waits();
        loop {
            let recording = self.record_answer(loaded, claimed, &answer, &mut is_current);
            let recorded = Box::pin(recording).await;
            let (id, attempt) = (&loaded.context.id, claimed.attempt);
            match recorded {
                Ok(()) => return,
                Err(error) if started.elapsed() > SETTLE_WITHIN => {
                    tracing::error!(
                        message = %id, attempt, error = %error,
                        "outcome of a call could not be recorded; reports have to tell"
                    );
                    return;
                }
                Err(error) => {
                    tracing::warn!(message = %id, attempt, error = %error, "outcome not recorded yet");
                    tokio::time::sleep(waits.next_wait()).await;
                }
            }
        }
    }

    /// Sets the halt that follows from what the provider said to an attempt, if any. Before the
    /// message goes on: it finds the halt and waits, too. Safe to repeat.
    pub(crate) async fn halt(
        &self,
        of: &Loaded,
        attempt: &Attempt,
        told: &Told,
        error: &v1::ProviderError,
        met_at: Timestamp,
    ) -> Result<(), DriveError> {
        let Some(account) = self.directory.number(of.number()) else {
            return Ok(());
        };
        let is_platforms = matches!(told, Told::Platform { .. });
        if is_platforms && standing::has_left(&account, attempt.started_at, self.clock.now()) {
            return Ok(());
        }
        let Some(order) = orders::order(told, of, &attempt.gateway, &account, met_at) else {
            return Ok(());
        };
        let fingerprint = match order.target.scope {
            Scope::Token => orders::fingerprint(&self.caller.secrets, &account),
            Scope::Gateway => gateways::credentials(self, &order.target.key).known(),
            _ => None,
        };
        let details = HaltDetails {
            brand: account.brand_id.clone(),
            error: Some(error.clone()),
            message_id: of.context.id.to_string(),
            attempt: attempt.number,
            token_fingerprint: fingerprint.unwrap_or_default(),
            caller: String::new(),
        };
        Ok(self.halts.set(&order, &details, self.clock.now()).await?)
    }

    async fn record_answer(
        &self,
        loaded: &mut Loaded,
        claimed: &Claimed,
        answer: &Answer,
        is_current: &mut bool,
    ) -> Result<(), DriveError> {
        let attempt = claimed.attempt;
        loop {
            if !*is_current {
                loaded.catch_up(&self.log).await?;
                *is_current = true;
            }
            // Of somebody else's claim we know nothing.
            if loaded.claimant(attempt) != Some(&claimed.claimant) {
                return Ok(());
            }
            let now = self.clock.now();
            let policy = &self.rules.message;
            let (event, details) = match answer {
                Answer::Accepted {
                    provider_id,
                    status,
                } => {
                    let kept_back = KeptBack::parse(status);
                    let details = Details {
                        provider_status: status.clone(),
                        ..Details::default()
                    };
                    let message = &loaded.message;
                    let event =
                        message::on_accepted(message, attempt, provider_id, kept_back, policy, now);
                    (event, details)
                }
                Answer::Unknown { reason } => (
                    message::on_unknown(&loaded.message, attempt, reason, policy, now),
                    Details::default(),
                ),
                Answer::Refused { error, refusal, .. } => {
                    let code = error.code;
                    let details = Details {
                        error: Some(error.clone()),
                        cost: self.money.on_refusal(loaded, attempt),
                        ..Details::default()
                    };
                    let event =
                        message::on_rejected(&loaded.message, attempt, code, *refusal, policy, now);
                    (event, details)
                }
            };
            // A report was faster and has told already.
            let Some(event) = event else { return Ok(()) };
            if let Answer::Refused { error, told, .. } = answer
                && let Some(known) = loaded.message.attempt(attempt)
            {
                if error.code == OUTSIDE_WINDOW {
                    let refused = [Finding::Refused(error)];
                    evidence::record(self, loaded, known, &refused).await?;
                }
                let refused = Refused {
                    gateway: (known.route == Route::Sms)
                        .then(|| self.caller.sms.provider(&known.gateway)),
                    code: error.code,
                    at: known.started_at,
                    provider_id: &loaded.callback_data(attempt),
                };
                Box::pin(consent::learn(self, loaded, &refused)).await?;
                if let Some(told) = told {
                    self.halt(loaded, known, told, error, known.started_at)
                        .await?;
                }
            }
            match loaded.append(&self.log, &event, details, now).await {
                Ok(_) => {
                    self.recent.keep(loaded);
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => *is_current = false,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The answer for a claim that met a halt before its call.
pub(crate) fn stopped(why: &str) -> Answer {
    let error = v1::ProviderError {
        message: format!("{why} No call was made."),
        ..v1::ProviderError::default()
    };
    Answer::Refused {
        error,
        refusal: message::Refusal::Stopped,
        told: None,
    }
}

/// The answer for a claim that was not called for.
pub(crate) fn not_called() -> Answer {
    let error = v1::ProviderError {
        message: "The claim took too long to be stored; no call was made.".to_owned(),
        ..v1::ProviderError::default()
    };
    Answer::Refused {
        error,
        refusal: message::Refusal::Retry,
        told: None,
    }
}

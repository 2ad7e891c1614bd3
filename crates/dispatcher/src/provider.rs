//! The one call that a claim stands for.

use std::sync::Arc;

use casement_domain::inbound::Addresses;
use casement_domain::message::Refusal;
use casement_domain::routing::Route;
use casement_event::v1;
use casement_secrets::Secrets;
use casement_sms::config::OWN;
use casement_sms::gateways::{Gateways, Sms};
use casement_whatsapp::send::{OutgoingMessage, SendOutcome, Target};
use casement_whatsapp::{errors, send};
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::aggregate::Loaded;
use crate::config::Providers;
use crate::halts::orders::Told;
use crate::{compose, metrics, outgoing, refusals, sensitive, trace};

/// What a call came to.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The provider took the message.
    Accepted {
        provider_id: String,
        /// The provider's own word for its state.
        status: String,
    },
    /// The provider refused it, or it certainly never left.
    Refused {
        error: v1::ProviderError,
        refusal: Refusal,
        /// What the provider's error table says, if it was the provider who refused.
        told: Option<Told>,
    },
    /// Nobody knows.
    Unknown { reason: String },
}

impl Answer {
    /// The answer in one word.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Makes the calls in place of the providers' clients: where a simulation stands between the
/// dispatcher and the providers.
pub trait Carrier: Send + Sync {
    /// Posts a message, as [`send::Client::send`] does.
    fn whatsapp<'a>(
        &'a self,
        target: Target<'a>,
        body: &'a serde_json::Value,
    ) -> BoxFuture<'a, SendOutcome>;

    /// Sends an SMS, as [`Gateways::send`] does.
    fn sms<'a>(&'a self, sms: &'a Sms) -> BoxFuture<'a, casement_sms::outcome::Outcome>;
}

/// Calls providers.
pub(crate) struct Caller {
    /// Unset everywhere but in a simulation.
    pub(crate) carrier: Option<Arc<dyn Carrier>>,
    pub(crate) providers: Providers,
    pub(crate) whatsapp: send::Client,
    /// For files, which take longer.
    pub(crate) uploads: send::Client,
    pub(crate) sms: Gateways,
    /// Where accounts say that their tokens are found.
    pub(crate) secrets: Secrets,
}

/// What one call needs.
pub(crate) struct Call<'a> {
    pub(crate) message: &'a Loaded,
    pub(crate) attempt: u32,
    pub(crate) route: Route,
    pub(crate) account: &'a v1::Number,
    pub(crate) addresses: &'a Addresses,
    /// Meta's id of the message that this one answers.
    pub(crate) answers: Option<String>,
}

impl Caller {
    /// Where calls for a number go: by its app's version of the Graph API.
    pub(crate) fn target<'a>(
        &'a self,
        account: &'a v1::Number,
        token: &'a SecretString,
    ) -> Target<'a> {
        Target {
            base_url: &self.providers.graph_url,
            graph_version: self.providers.graph_version_of(&account.app),
            phone_number_id: &account.phone_number_id,
            token,
        }
    }

    /// Makes the call. Never tries twice.
    pub(crate) async fn call(&self, call: &Call<'_>, now: Timestamp) -> Answer {
        let span = trace::call(call.attempt, call.route);
        let since = Instant::now();
        let mut answer = self.by_route(call, now).instrument(span.clone()).await;
        if call.message.request.sensitive {
            answer = sensitive::withheld(answer);
        }
        trace::tell(&span, &answer);
        metrics::called(call.route, &answer, since.elapsed());
        answer
    }

    async fn by_route(&self, call: &Call<'_>, now: Timestamp) -> Answer {
        match call.route {
            Route::FreeForm | Route::Template => self.whatsapp(call).await,
            Route::Sms => Box::pin(self.sms(call, now)).await,
            Route::Hold => never_left(0, "A held message is not sent.", Refusal::Fail),
        }
    }

    async fn whatsapp(&self, call: &Call<'_>) -> Answer {
        let content = call.message.request.content.clone().unwrap_or_default();
        let content = match (call.route, &content.free_form, &content.template) {
            (Route::FreeForm, Some(free_form), _) => outgoing::free_form(free_form),
            (_, _, Some(template)) => outgoing::template(template),
            _ => {
                return never_left(
                    0,
                    "The message has no content for this route.",
                    Refusal::Fail,
                );
            }
        };
        let Some(to) = compose::recipient(call.addresses) else {
            return never_left(
                0,
                "The customer has no WhatsApp address.",
                Refusal::NextChannel,
            );
        };
        let paying = [
            &call.message.request.messaging_account_id,
            &call.account.messaging_account_id,
        ];
        let outgoing = OutgoingMessage {
            to,
            content,
            context_wamid: call.answers.clone(),
            callback_data: call.message.callback_data(call.attempt),
            messaging_account_id: paying.into_iter().find(|id| !id.is_empty()).cloned(),
        };
        let body = match outgoing.to_json() {
            Ok(body) => body,
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                return never_left(0, &problems.join("; "), Refusal::Fail);
            }
        };
        let token = match self.secrets.resolve(call.account.token.as_ref()) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(error = %error, "access token of a number cannot be had");
                return never_left(
                    190,
                    "The number's access token cannot be read.",
                    Refusal::Retry,
                );
            }
        };
        let target = self.target(call.account, &token);
        let sent = match &self.carrier {
            None => self.whatsapp.send(target, &body).await,
            Some(carrier) => carrier.whatsapp(target, &body).await,
        };
        match sent {
            SendOutcome::Accepted(accepted) => Answer::Accepted {
                provider_id: accepted.wamid,
                status: accepted
                    .message_status
                    .unwrap_or_else(|| "accepted".to_owned()),
            },
            SendOutcome::NotSent { reason } => never_left(0, &reason, Refusal::Retry),
            SendOutcome::Unknown { reason } => Answer::Unknown { reason },
            SendOutcome::Rejected(error) => {
                let rule = error.rule();
                if matches!(
                    rule.action,
                    errors::Action::Retry {
                        ambiguous: true,
                        ..
                    }
                ) {
                    return Answer::Unknown {
                        reason: format!("error {} may hide a success", error.code),
                    };
                }
                let refusal = refusals::of_meta(&rule, call.tries(), error.retry_after);
                let told = Some(Told::Platform {
                    rule,
                    retry_after: error.retry_after,
                });
                let error = v1::ProviderError {
                    code: error.code,
                    title: rule.meaning.to_owned(),
                    message: without(&token, &error.message),
                    details: without(&token, &error.details.unwrap_or_default()),
                    ..v1::ProviderError::default()
                };
                Answer::Refused {
                    error,
                    refusal,
                    told,
                }
            }
        }
    }
}

impl Call<'_> {
    /// The SMS gateway that the claim names; of an old claim, the account in the number's record.
    pub(crate) fn gateway(&self) -> &str {
        let claimed = self.message.message.attempt(self.attempt);
        claimed
            .map(|claimed| claimed.gateway.as_str())
            .filter(|gateway| !gateway.is_empty())
            .unwrap_or(OWN)
    }

    /// Earlier attempts by the same route.
    pub(crate) fn tries(&self) -> usize {
        let same = |attempt: &&casement_domain::message::Attempt| {
            attempt.route == self.route && attempt.number != self.attempt && attempt.was_called
        };
        self.message.message.attempts.iter().filter(same).count()
    }
}

/// What Meta says, without the token: of one that it cannot read it says it whole.
fn without(token: &SecretString, said: &str) -> String {
    match token.expose_secret() {
        "" => said.to_owned(),
        token => said.replace(token, "…"),
    }
}

/// An answer for a call that certainly never reached the provider.
pub(crate) fn never_left(code: i64, reason: &str, refusal: Refusal) -> Answer {
    let error = v1::ProviderError {
        code,
        title: "not sent".to_owned(),
        message: reason.to_owned(),
        details: String::new(),
        ..v1::ProviderError::default()
    };
    Answer::Refused {
        error,
        refusal,
        told: None,
    }
}

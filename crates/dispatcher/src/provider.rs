//! The one call that a claim stands for.

use casement_domain::inbound::Addresses;
use casement_domain::message::Refusal;
use casement_domain::routing::Route;
use casement_event::v1;
use casement_sms::twilio;
use casement_whatsapp::send::{OutgoingMessage, SendOutcome, Target};
use casement_whatsapp::{errors, send};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::aggregate::Loaded;
use crate::config::Providers;
use crate::{compose, metrics, refusals, secrets, trace};

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

/// Makes a client of one Twilio account.
type MakeTwilio = Box<dyn Fn(twilio::Credentials) -> twilio::Client + Send + Sync>;

/// Calls providers.
pub(crate) struct Caller {
    pub(crate) providers: Providers,
    pub(crate) whatsapp: send::Client,
    pub(crate) twilio: MakeTwilio,
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
    /// Makes the call. Never tries twice.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Answer {
        let span = trace::call(call.attempt, call.route);
        let since = Instant::now();
        let answer = self.by_route(call).instrument(span.clone()).await;
        trace::tell(&span, &answer);
        metrics::called(call.route, &answer, since.elapsed());
        answer
    }

    async fn by_route(&self, call: &Call<'_>) -> Answer {
        match call.route {
            Route::FreeForm | Route::Template => self.whatsapp(call).await,
            Route::Sms => self.sms(call).await,
            Route::Hold => never_left(0, "A held message is not sent.", Refusal::Fail),
        }
    }

    async fn whatsapp(&self, call: &Call<'_>) -> Answer {
        let content = call.message.request.content.clone().unwrap_or_default();
        let content = match (call.route, &content.free_form, &content.template) {
            (Route::FreeForm, Some(free_form), _) => compose::free_form(free_form),
            (_, _, Some(template)) => compose::outgoing_template(template),
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
        let outgoing = OutgoingMessage {
            to,
            content,
            context_wamid: call.answers.clone(),
            callback_data: call.message.callback_data(call.attempt),
        };
        let body = match outgoing.to_json() {
            Ok(body) => body,
            Err(error) => return never_left(0, &error.to_string(), Refusal::Fail),
        };
        let token = match secrets::resolve(call.account.token.as_ref()) {
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
        let target = Target {
            base_url: &self.providers.graph_url,
            graph_version: &self.providers.graph_version,
            phone_number_id: &call.account.phone_number_id,
            token: &token,
        };
        match self.whatsapp.send(target, &body).await {
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
                let error = v1::ProviderError {
                    code: error.code,
                    title: rule.meaning.to_owned(),
                    message: error.message,
                    details: error.details.unwrap_or_default(),
                    ..v1::ProviderError::default()
                };
                Answer::Refused { error, refusal }
            }
        }
    }

    async fn sms(&self, call: &Call<'_>) -> Answer {
        let content = call.message.request.content.clone().unwrap_or_default();
        let account = call.account.sms.clone().unwrap_or_default();
        let (Some(text), Some(from), Some(phone)) = (
            compose::sms_text(&content),
            compose::sms_sender(&content, call.account),
            &call.addresses.phone,
        ) else {
            return never_left(
                0,
                "The message has no text or sender, or the customer no phone.",
                Refusal::NextChannel,
            );
        };
        let auth_token = match secrets::resolve(account.auth_token.as_ref()) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(error = %error, "auth token of an SMS account cannot be had");
                return never_left(
                    20_003,
                    "The SMS account's token cannot be read.",
                    Refusal::Retry,
                );
            }
        };
        let request = twilio::SmsRequest {
            to: phone.e164(),
            from: twilio::Sender::parse(from),
            body: text.to_owned(),
            status_callback: self.status_callback(call),
            validity_seconds: None,
        };
        if let Err(error) = request.check() {
            return never_left(0, &error.to_string(), Refusal::NextChannel);
        }
        let credentials = twilio::Credentials {
            base_url: self.providers.twilio_url.clone(),
            account_sid: account.account_sid,
            auth_token,
        };
        match (self.twilio)(credentials).send(&request).await {
            twilio::Outcome::Accepted(accepted) => Answer::Accepted {
                provider_id: accepted.sid,
                status: accepted.status.as_str().to_owned(),
            },
            twilio::Outcome::NotSent { reason } => never_left(0, &reason, Refusal::Retry),
            twilio::Outcome::Unknown { reason } => Answer::Unknown { reason },
            twilio::Outcome::Rejected(rejected) => {
                let rule = rejected.rule();
                if matches!(
                    rule.action,
                    twilio::errors::Action::Retry {
                        ambiguous: true,
                        ..
                    }
                ) {
                    return Answer::Unknown {
                        reason: format!("error {} may hide a success", rule.code),
                    };
                }
                let error = v1::ProviderError {
                    code: rule.code,
                    title: rule.meaning.to_owned(),
                    message: rejected.message,
                    details: String::new(),
                    ..v1::ProviderError::default()
                };
                Answer::Refused {
                    error,
                    refusal: refusals::of_sms(&rule, call.tries()),
                }
            }
        }
    }

    /// Where Twilio reports on this attempt; the ids stand in the query.
    fn status_callback(&self, call: &Call<'_>) -> Option<String> {
        let base = &self.providers.twilio_callback_url;
        let (message, attempt) = (&call.message.context.id, call.attempt);
        (!base.is_empty()).then(|| format!("{base}?m={message}&a={attempt}"))
    }
}

impl Call<'_> {
    /// Earlier attempts by the same route.
    fn tries(&self) -> usize {
        let same = |attempt: &&casement_domain::message::Attempt| {
            attempt.route == self.route && attempt.number != self.attempt
        };
        self.message.message.attempts.iter().filter(same).count()
    }
}

/// An answer for a call that certainly never reached the provider.
fn never_left(code: i64, reason: &str, refusal: Refusal) -> Answer {
    let error = v1::ProviderError {
        code,
        title: "not sent".to_owned(),
        message: reason.to_owned(),
        details: String::new(),
        ..v1::ProviderError::default()
    };
    Answer::Refused { error, refusal }
}

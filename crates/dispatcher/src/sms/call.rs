//! The one call that sends an SMS.

use casement_domain::message::Refusal;
use casement_domain::sms::Offer;
use casement_event::v1;
use casement_sms::config::OWN;
use casement_sms::errors::Action;
use casement_sms::gateways::{Sms, To};
use casement_sms::outcome::Outcome;
use jiff::Timestamp;

use super::{offer, refusal};
use crate::halts::orders::Told;
use crate::provider::{Answer, Call, Caller, never_left};
use crate::{compose, metrics};

impl Caller {
    /// Sends an SMS through the gateway that the claim names. Never tries twice.
    pub(crate) async fn sms(&self, call: &Call<'_>, now: Timestamp) -> Answer {
        let answer = self.by_gateway(call, now).await;
        metrics::called_gateway(call.gateway(), &answer);
        answer
    }

    async fn by_gateway(&self, call: &Call<'_>, now: Timestamp) -> Answer {
        let content = call.message.request.content.clone().unwrap_or_default();
        let gateway = call.gateway();
        let phone = call.addresses.phone.as_ref();
        let ways = match offer(self.sms.senders(), &content, call.account, phone) {
            Offer::Ways(ways) => ways,
            Offer::NoSender | Offer::NoSenderThere => Vec::new(),
        };
        let way = ways.into_iter().find(|way| way.gateway == gateway);
        let (Some(text), Some(way), Some(phone)) = (compose::sms_text(&content), way, phone) else {
            return never_left(
                0,
                "The message has no text or sender, or the customer no phone.",
                Refusal::NextGateway,
            );
        };
        let to = if gateway == OWN {
            let record = call.account.sms.clone().unwrap_or_default();
            match self.secrets.resolve(record.auth_token.as_ref()) {
                Ok(auth_token) => To::Account {
                    account_sid: record.account_sid,
                    auth_token,
                },
                Err(error) => {
                    tracing::error!(error = %error, "auth token of an SMS account cannot be had");
                    return no_credentials();
                }
            }
        } else {
            To::Named(gateway)
        };
        let sms = Sms {
            to: phone.e164(),
            sender: way.sender,
            text: text.to_owned(),
            message_id: call.message.context.id.to_string(),
            attempt: call.attempt,
        };
        let sent = match &self.carrier {
            None => self.sms.send(to, &sms, now).await,
            Some(carrier) => carrier.sms(&sms).await,
        };
        match sent {
            Outcome::Accepted(accepted) => Answer::Accepted {
                provider_id: accepted.id,
                status: accepted.status,
            },
            Outcome::NotSent { reason } => never_left(0, &reason, Refusal::Retry),
            Outcome::Unknown { reason } => Answer::Unknown { reason },
            Outcome::Rejected(rejected) => {
                let rule = rejected.rule;
                if matches!(rule.action, Action::Retry { ambiguous: true }) {
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
                    refusal: refusal(&rule, call.tries(), rejected.retry_after),
                    told: Some(Told::Gateway(rule)),
                }
            }
        }
    }
}

/// The answer where the account in the number's record cannot be used by anybody.
fn no_credentials() -> Answer {
    let rule = casement_sms::errors::lookup(casement_sms::twilio::NAME, 20_003);
    let error = v1::ProviderError {
        code: rule.code,
        title: "not sent".to_owned(),
        message: "The SMS account's token cannot be read.".to_owned(),
        ..v1::ProviderError::default()
    };
    Answer::Refused {
        error,
        refusal: Refusal::Halted,
        told: Some(Told::Gateway(rule)),
    }
}

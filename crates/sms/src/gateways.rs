//! The configured gateways, ready to be called by their names.
//!
//! Each call is one request to one gateway. Secrets are read at each, so that a changed file counts
//! at once. Which gateway is called, and what follows from its answer, is the caller's business.

use std::collections::BTreeMap;
use std::time::Duration;

use casement_domain::sms::Senders;
use casement_shell::config::SecretError;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::config::{Config, Gateway, GenericGateway, TwilioGateway, VonageGateway};
use crate::errors::ErrorRule;
use crate::outcome::Outcome;
use crate::{generic, twilio, vonage};

/// All gateways.
#[derive(Debug)]
pub struct Gateways {
    http: reqwest::Client,
    timeout: Duration,
    config: Config,
    senders: Senders,
    plans: BTreeMap<String, generic::Plan>,
    twilio: TwilioAddresses,
}

/// Where Twilio is, unless a gateway says otherwise.
#[derive(Debug, Clone, Default)]
pub struct TwilioAddresses {
    /// Base address of the API.
    pub url: String,
    /// Where statuses go; empty for nowhere.
    pub callback_url: String,
}

/// An SMS to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sms {
    /// The customer's phone, E.164 with `+`.
    pub to: String,
    /// From whom.
    pub sender: String,
    /// The text.
    pub text: String,
    /// The message, for its statuses.
    pub message_id: String,
    /// Its attempt, likewise.
    pub attempt: u32,
}

/// Whom to call.
#[derive(Debug)]
pub enum To<'a> {
    /// A gateway of the configuration.
    Named(&'a str),
    /// An account at Twilio that stands elsewhere.
    Account {
        /// The account (`AC…`).
        account_sid: String,
        /// Its auth token.
        auth_token: SecretString,
    },
}

impl Sms {
    /// Returns what gateways tell again: message and attempt.
    fn reference(&self) -> String {
        format!("{}.{}", self.message_id, self.attempt)
    }
}

impl Gateways {
    /// Returns the gateways of a configuration without problems; one whose settings make no request
    /// is as good as absent. `timeout` is how long a whole call may take.
    pub fn new(
        http: reqwest::Client,
        timeout: Duration,
        config: Config,
        twilio: TwilioAddresses,
    ) -> Self {
        let plans = config.gateways.iter().filter_map(|(name, gateway)| {
            let Gateway::Generic(gateway) = gateway else {
                return None;
            };
            Some((name.clone(), gateway.plan().ok()?))
        });
        let plans = plans.collect();
        Self {
            http,
            timeout,
            senders: config.senders(),
            config,
            plans,
            twilio,
        }
    }

    /// Returns who sends to which country.
    pub fn senders(&self) -> &Senders {
        &self.senders
    }

    /// Returns the name under which a gateway's error codes are known; any that is not in the
    /// configuration is the account of a number's record, which is at Twilio.
    pub fn provider<'a>(&self, gateway: &'a str) -> &'a str {
        let known = self.config.gateways.get(gateway);
        known.map_or(twilio::NAME, |known| known.provider(gateway))
    }

    /// Returns the rule for an error code of a provider. See [`Config::rule`].
    pub fn rule(&self, provider: &str, code: i64) -> ErrorRule {
        self.config.rule(provider, code)
    }

    /// Returns the secrets of a gateway of the configuration; `None` if there is none of this name.
    pub fn secrets(&self, name: &str) -> Option<Result<Vec<SecretString>, SecretError>> {
        let gateway = self.config.gateways.get(name)?;
        let secrets = gateway.secrets().into_iter();
        Some(secrets.map(|(_, secret)| secret.resolve()).collect())
    }

    /// Calls a gateway once and says what came of it.
    pub async fn send(&self, to: To<'_>, sms: &Sms, now: Timestamp) -> Outcome {
        match to {
            To::Account {
                account_sid,
                auth_token,
            } => {
                let credentials = twilio::Credentials {
                    base_url: self.twilio.url.clone(),
                    account_sid,
                    auth_token,
                };
                self.by_twilio(credentials, &self.twilio.callback_url, sms)
                    .await
            }
            To::Named(name) => match self.config.gateways.get(name) {
                Some(Gateway::Twilio(gateway)) => self.by_twilio_gateway(gateway, sms).await,
                Some(Gateway::Vonage(gateway)) => self.by_vonage(gateway, sms, now).await,
                Some(Gateway::Generic(gateway)) => self.by_plan(name, gateway, sms).await,
                None => Outcome::not_set_up("no gateway of this name is configured".to_owned()),
            },
        }
    }

    async fn by_twilio_gateway(&self, gateway: &TwilioGateway, sms: &Sms) -> Outcome {
        let Ok(auth_token) = gateway.auth_token.resolve() else {
            return Outcome::not_set_up("the gateway's auth token cannot be read".to_owned());
        };
        let url = gateway.url.as_ref().unwrap_or(&self.twilio.url);
        let callback = gateway.callback_url.as_ref();
        let credentials = twilio::Credentials {
            base_url: url.clone(),
            account_sid: gateway.account_sid.clone(),
            auth_token,
        };
        let callback = callback.unwrap_or(&self.twilio.callback_url);
        self.by_twilio(credentials, callback, sms).await
    }

    async fn by_twilio(
        &self,
        credentials: twilio::Credentials,
        callback: &str,
        sms: &Sms,
    ) -> Outcome {
        // Twilio tells nothing again but what stands in the URL.
        let status_callback = (!callback.is_empty())
            .then(|| format!("{callback}?m={}&a={}", sms.message_id, sms.attempt));
        let request = twilio::SmsRequest {
            to: sms.to.clone(),
            from: twilio::Sender::parse(&sms.sender),
            body: sms.text.clone(),
            status_callback,
            validity_seconds: None,
        };
        if let Err(error) = request.check() {
            return Outcome::unfit(&error);
        }
        let client = twilio::Client::new(self.http.clone(), credentials);
        client.with_timeout(self.timeout).send(&request).await
    }

    async fn by_vonage(&self, gateway: &VonageGateway, sms: &Sms, now: Timestamp) -> Outcome {
        let Ok(private_key) = gateway.private_key.resolve() else {
            return Outcome::not_set_up("the gateway's private key cannot be read".to_owned());
        };
        let request = vonage::SmsRequest {
            to: sms.to.clone(),
            from: sms.sender.clone(),
            text: sms.text.clone(),
            reference: sms.reference(),
            status_callback: Some(gateway.callback_url.clone()).filter(|url| !url.is_empty()),
        };
        if let Err(error) = request.check() {
            return Outcome::unfit(&error);
        }
        let credentials = vonage::Credentials {
            base_url: gateway.url.clone(),
            application_id: gateway.application_id.clone(),
            private_key,
        };
        let client = vonage::Client::new(self.http.clone(), credentials);
        client.with_timeout(self.timeout).send(&request, now).await
    }

    async fn by_plan(&self, name: &str, gateway: &GenericGateway, sms: &Sms) -> Outcome {
        let Some(plan) = self.plans.get(name) else {
            return Outcome::not_set_up("the gateway's settings make no request".to_owned());
        };
        let mut headers = Vec::with_capacity(gateway.headers.len());
        for (name, value) in &gateway.headers {
            let Ok(value) = value.resolve() else {
                return Outcome::not_set_up(format!("the gateway's header {name} cannot be read"));
            };
            headers.push((name.clone(), value));
        }
        let request = generic::SmsRequest {
            to: sms.to.clone(),
            from: sms.sender.clone(),
            text: sms.text.clone(),
            reference: sms.reference(),
            callback_url: gateway.callback_url.clone(),
        };
        if let Err(error) = request.check(plan) {
            return Outcome::unfit(&error);
        }
        let client = generic::Client::new(self.http.clone()).with_timeout(self.timeout);
        client.send(plan, &headers, &request).await
    }
}

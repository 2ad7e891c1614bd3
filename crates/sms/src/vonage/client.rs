//! The call to Vonage's Messages API, which posts once, classifies the answer and follows nothing
//! up.
//!
//! Vonage: Messages API, send a message; a JWT of the application authenticates. The client
//! reference returns in every status. There is no idempotency key, so a call that got no answer may
//! have sent its message.

use std::time::Duration;

use casement_shell::http::answer;
use jiff::Timestamp;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::callback::failure;
use super::{errors, jwt};
use crate::errors::NO_CODE;
use crate::exchange::exchange;
use crate::outcome::{
    Accepted, DEFAULT_TIMEOUT, Outcome, Rejected, RequestError, check_phone, check_text,
};
use crate::segment::{Encoding, segment};

/// Vonage: longest `text` of an SMS, in characters.
pub const TEXT_CHARS_MAX: usize = 1_000;
/// Vonage: longest `client_ref`, in characters.
const REFERENCE_CHARS_MAX: usize = 100;

/// Sends SMS for one of Vonage's applications.
///
/// It never retries. The injected HTTP client must not either: build it without a retry policy for
/// application answers and without redirects.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    credentials: Credentials,
    timeout: Duration,
}

/// Where and as whom to call.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Such as `https://api.nexmo.com`.
    pub base_url: String,
    /// The application's id.
    pub application_id: String,
    /// The application's private key: RSA, as PEM.
    pub private_key: SecretString,
}

/// An SMS to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsRequest {
    /// The customer's phone, E.164 with `+`.
    pub to: String,
    /// From whom: a number (E.164 with or without `+`), short code or alphanumeric sender.
    pub from: String,
    /// The text, at most [`TEXT_CHARS_MAX`] characters.
    pub text: String,
    /// Told again with every status.
    pub reference: String,
    /// Where Vonage posts the message's statuses, if not to the application's own address.
    pub status_callback: Option<String>,
}

impl SmsRequest {
    /// Returns the first field that breaks a limit, if one does.
    pub fn check(&self) -> Result<(), RequestError> {
        check_phone(&self.to)?;
        let error = |field, reason: String| Err(RequestError { field, reason });
        if self.from.trim().is_empty() {
            return error("from", "must not be empty".to_owned());
        }
        check_text("text", &self.text, TEXT_CHARS_MAX)?;
        if self.reference.chars().count() > REFERENCE_CHARS_MAX {
            return error(
                "reference",
                format!("at most {REFERENCE_CHARS_MAX} characters are allowed"),
            );
        }
        Ok(())
    }

    fn json(&self) -> Value {
        // Said rather than guessed, so that our count of segments is Vonage's.
        let encoding = match segment(&self.text).encoding {
            Encoding::Gsm7 => "text",
            Encoding::Ucs2 => "unicode",
        };
        let mut body = json!({
            "channel": "sms",
            "message_type": "text",
            "to": self.to.trim_start_matches('+'),
            "from": self.from.trim_start_matches('+'),
            "text": self.text,
            "client_ref": self.reference,
            "sms": { "encoding_type": encoding },
        });
        if let Some(url) = &self.status_callback {
            body["webhook_url"] = json!(url);
            body["webhook_version"] = json!("v1");
        }
        body
    }
}

impl Client {
    /// Returns a client over an HTTP client, with [`DEFAULT_TIMEOUT`].
    pub fn new(http: reqwest::Client, credentials: Credentials) -> Self {
        Self {
            http,
            credentials,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Returns the client with another time-out for a whole call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Posts an SMS once and says what came of it. What [`SmsRequest::check`] refuses is
    /// [`Outcome::NotSent`]; a key that cannot sign is a refusal, which waiting does not mend.
    pub async fn send(&self, sms: &SmsRequest, now: Timestamp) -> Outcome {
        if let Err(error) = sms.check() {
            return Outcome::NotSent {
                reason: error.to_string(),
            };
        }
        let (url, request) = match self.request(sms, now) {
            Ok(built) => built,
            Err(outcome) => return outcome,
        };
        match exchange(&self.http, &url, request, answer::refuses).await {
            Ok(answered) => interpret(answered.status, answered.retry_after, &answered.body),
            Err(outcome) => outcome,
        }
    }

    fn request(
        &self,
        sms: &SmsRequest,
        now: Timestamp,
    ) -> Result<(Url, reqwest::Request), Outcome> {
        let Credentials {
            base_url,
            application_id,
            private_key,
        } = &self.credentials;
        let not_sent = |reason| Outcome::NotSent { reason };
        let mut url =
            Url::parse(base_url).map_err(|error| not_sent(format!("base URL: {error}")))?;
        url.path_segments_mut()
            .map_err(|()| not_sent("base URL cannot have a path".to_owned()))?
            .pop_if_empty()
            .extend(["v1", "messages"]);
        let token = jwt::of_application(application_id, private_key, &sms.reference, now)
            .map_err(|error| Outcome::not_set_up(error.to_string()))?;
        let request = self
            .http
            .post(url.clone())
            .bearer_auth(token.expose_secret())
            .timeout(self.timeout)
            .json(&sms.json())
            .build()
            .map_err(|error| {
                not_sent(format!(
                    "request cannot be built: {}",
                    answer::describe(&error)
                ))
            })?;
        Ok((url, request))
    }
}

fn interpret(status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Outcome {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let http_status = status.as_u16();
    if status.is_success() {
        let id = body
            .as_ref()
            .and_then(|body| body.get("message_uuid")?.as_str())
            .filter(|id| !id.is_empty());
        return match id {
            Some(id) => Outcome::Accepted(Accepted {
                id: id.to_owned(),
                status: "submitted".to_owned(),
                segments: None,
            }),
            None => Outcome::Unknown {
                reason: format!("http {http_status} without a message id"),
            },
        };
    }
    // A refusal has a type and a title; only then it is Vonage's own.
    let told = body
        .as_ref()
        .filter(|body| body["title"].is_string() || body["type"].is_string());
    let failure = told.map(failure).unwrap_or_default();
    let code = told.map(|_| failure.code).filter(|code| *code != NO_CODE);
    // A 5xx in Vonage's own words is a refusal, of which the error table says how far to trust it.
    if answer::refuses(status) || (status.is_server_error() && code.is_some()) {
        let title = told.and_then(|body| body["title"].as_str());
        let message = match (title, failure.detail.as_str()) {
            (Some(title), "") => title.to_owned(),
            (Some(title), detail) => format!("{title}: {detail}"),
            (None, _) => format!("http {http_status} without a Vonage error"),
        };
        return Outcome::Rejected(Rejected {
            http_status,
            code,
            rule: errors::lookup_response(http_status, code),
            message,
            retry_after,
        });
    }
    Outcome::Unknown {
        reason: format!("http {http_status} without a Vonage error"),
    }
}

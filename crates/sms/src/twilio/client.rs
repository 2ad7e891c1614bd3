//! The call to Twilio's Messages resource, which posts once, classifies the answer and follows
//! nothing up; and the one that reads the account, to try credentials without sending.

use std::time::Duration;

use casement_shell::http::answer;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::errors;
use crate::exchange::exchange;
use crate::outcome::{
    Accepted, DEFAULT_TIMEOUT, Outcome, RESPONSE_BYTES_MAX, Rejected, RequestError, check_phone,
    check_text, integer,
};

/// Twilio: longest `Body`, in characters.
pub const BODY_CHARS_MAX: usize = 1600;
/// Twilio: `ValidityPeriod` in seconds.
const VALIDITY_SECONDS: std::ops::RangeInclusive<u32> = 1..=36_000;

/// Sends SMS for one Twilio account.
///
/// It never retries. The injected HTTP client must not either: build it without a retry policy
/// for application answers and without redirects.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    credentials: Credentials,
    timeout: Duration,
}

/// Where and as whom to call.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Such as `https://api.twilio.com`.
    pub base_url: String,
    /// The account (`AC…`).
    pub account_sid: String,
    /// The account's auth token; also signs Twilio's callbacks.
    pub auth_token: SecretString,
}

/// An SMS to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsRequest {
    /// The customer's phone, E.164 with `+`.
    pub to: String,
    /// From whom.
    pub from: Sender,
    /// The text, at most [`BODY_CHARS_MAX`] characters.
    pub body: String,
    /// Where Twilio posts the message's statuses. There is none for the first one, which is in
    /// the answer.
    pub status_callback: Option<String>,
    /// How long Twilio may try, in seconds, up to ten hours.
    pub validity_seconds: Option<u32>,
}

/// From whom an SMS goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A number (E.164 with `+`), short code or alphanumeric sender.
    Number(String),
    /// A messaging service (`MG…`) that chooses the number.
    MessagingService(String),
}

impl Sender {
    /// Returns the sender for a configured text: `MG` and 32 hex digits is a messaging service,
    /// anything else a number or name.
    pub fn parse(text: &str) -> Self {
        let is_service = text.len() == 34
            && text.starts_with("MG")
            && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_service {
            Self::MessagingService(text.to_owned())
        } else {
            Self::Number(text.to_owned())
        }
    }
}

/// What Twilio says of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// `active`, `suspended` or `closed`; may be empty.
    pub status: String,
    /// `Full`, or `Trial`, which sends to confirmed numbers only; may be empty.
    pub kind: String,
}

/// Why the account could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Twilio, or somebody on the way, refused.
    #[error("refused with http {}", _0.http_status)]
    Rejected(Rejected),
    /// There was no answer that can be read.
    #[error("{reason}")]
    NoAnswer {
        /// What happened, without content.
        reason: String,
    },
}

impl SmsRequest {
    /// Returns the first field that breaks a limit, if one does.
    pub fn check(&self) -> Result<(), RequestError> {
        let error = |field, reason: String| Err(RequestError { field, reason });
        check_phone(&self.to)?;
        let (Sender::Number(from) | Sender::MessagingService(from)) = &self.from;
        if from.is_empty() {
            return error("from", "must not be empty".to_owned());
        }
        check_text("body", &self.body, BODY_CHARS_MAX)?;
        if self
            .validity_seconds
            .is_some_and(|seconds| !VALIDITY_SECONDS.contains(&seconds))
        {
            return error("validity_seconds", "must be 1 to 36000".to_owned());
        }
        Ok(())
    }

    fn form(&self) -> Vec<(&'static str, String)> {
        let mut form = vec![("To", self.to.clone()), ("Body", self.body.clone())];
        form.push(match &self.from {
            Sender::Number(number) => ("From", number.clone()),
            Sender::MessagingService(sid) => ("MessagingServiceSid", sid.clone()),
        });
        if let Some(url) = &self.status_callback {
            form.push(("StatusCallback", url.clone()));
        }
        if let Some(seconds) = self.validity_seconds {
            form.push(("ValidityPeriod", seconds.to_string()));
        }
        form
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
    /// [`Outcome::NotSent`].
    pub async fn send(&self, sms: &SmsRequest) -> Outcome {
        if let Err(error) = sms.check() {
            return Outcome::NotSent {
                reason: error.to_string(),
            };
        }
        let (url, request) = match self.request(sms) {
            Ok(built) => built,
            Err(reason) => return Outcome::NotSent { reason },
        };
        match exchange(&self.http, &url, request, answer::refuses).await {
            Ok(answered) => interpret(answered.status, answered.retry_after, &answered.body),
            Err(outcome) => outcome,
        }
    }

    /// Reads the account once. Nothing is sent or changed.
    pub async fn account(&self) -> Result<Account, AccountError> {
        let no_answer = |reason| AccountError::NoAnswer { reason };
        let credentials = &self.credentials;
        let url = self
            .url(&[&format!("{}.json", credentials.account_sid)])
            .map_err(no_answer)?;
        let request = self
            .http
            .get(url)
            .basic_auth(
                &credentials.account_sid,
                Some(credentials.auth_token.expose_secret()),
            )
            .timeout(self.timeout);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(no_answer(answer::describe(&error))),
        };
        let status = response.status();
        match answer::read(response, RESPONSE_BYTES_MAX).await {
            Ok(bytes) => read_account(status, &bytes),
            Err(error) => Err(no_answer(error.to_string())),
        }
    }

    fn request(&self, sms: &SmsRequest) -> Result<(Url, reqwest::Request), String> {
        let Credentials {
            account_sid,
            auth_token,
            ..
        } = &self.credentials;
        let url = self.url(&[account_sid, "Messages.json"])?;
        let request = self
            .http
            .post(url.clone())
            .basic_auth(account_sid, Some(auth_token.expose_secret()))
            .timeout(self.timeout)
            .form(&sms.form())
            .build()
            .map_err(|error| format!("request cannot be built: {}", answer::describe(&error)))?;
        Ok((url, request))
    }

    /// Returns the URL of something below the accounts.
    fn url(&self, below: &[&str]) -> Result<Url, String> {
        let base_url = &self.credentials.base_url;
        let mut url = Url::parse(base_url).map_err(|error| format!("base URL: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "base URL cannot have a path".to_owned())?
            .pop_if_empty()
            .extend(["2010-04-01", "Accounts"])
            .extend(below);
        Ok(url)
    }
}

fn interpret(status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Outcome {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let http_status = status.as_u16();
    if status.is_success() {
        return match body.as_ref().and_then(accepted) {
            Some(accepted) => Outcome::Accepted(accepted),
            None => Outcome::Unknown {
                reason: format!("http {http_status} without a message sid"),
            },
        };
    }
    let code = body.as_ref().and_then(|body| integer(body.get("code")?));
    // A 5xx in Twilio's own words is a refusal, of which the error table says how far to trust it.
    if answer::refuses(status) || (status.is_server_error() && code.is_some()) {
        let message = body
            .as_ref()
            .and_then(|body| body.get("message")?.as_str())
            .map_or_else(
                || format!("http {http_status} without a Twilio error"),
                str::to_owned,
            );
        return Outcome::Rejected(Rejected {
            http_status,
            code,
            rule: errors::lookup_response(http_status, code),
            message,
            retry_after,
        });
    }
    Outcome::Unknown {
        reason: format!("http {http_status} without a Twilio error"),
    }
}

fn read_account(status: StatusCode, bytes: &[u8]) -> Result<Account, AccountError> {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let text = |key: &str| {
        let text = body.as_ref().and_then(|body| body.get(key)?.as_str());
        text.unwrap_or_default().to_owned()
    };
    let http_status = status.as_u16();
    if !status.is_success() {
        let code = body.as_ref().and_then(|body| integer(body.get("code")?));
        return Err(AccountError::Rejected(Rejected {
            http_status,
            code,
            rule: errors::lookup_response(http_status, code),
            message: text("message"),
            retry_after: None,
        }));
    }
    if text("sid").is_empty() {
        return Err(AccountError::NoAnswer {
            reason: format!("http {http_status} without an account"),
        });
    }
    Ok(Account {
        status: text("status"),
        kind: text("type"),
    })
}

fn accepted(body: &Value) -> Option<Accepted> {
    let id = body
        .get("sid")?
        .as_str()
        .filter(|id| !id.is_empty())?
        .to_owned();
    let status = body
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or("queued");
    let segments = body
        .get("num_segments")
        .and_then(integer)
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| *count > 0);
    Some(Accepted {
        id,
        status: status.to_owned(),
        segments,
    })
}

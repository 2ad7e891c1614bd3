//! The call to Meta's Graph API. Posts once and classifies the answer; follows nothing up.

use std::{error::Error as _, time::Duration};

use reqwest::{StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::errors::{self, ErrorRule, NO_CODE};

/// How long a whole call may take, unless set otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// No answer of the send endpoint comes near this; a larger one is not read to its end.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;
/// A longer wait than this is not believed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Posts messages to the Graph API.
///
/// It never retries. The injected HTTP client must not either: build it without a retry policy
/// for application answers and without redirects.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    timeout: Duration,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Such as `https://graph.facebook.com`, without the version.
    pub base_url: &'a str,
    /// Such as `v26.0`.
    pub graph_version: &'a str,
    /// Meta's id of the sending number.
    pub phone_number_id: &'a str,
    /// The access token.
    pub token: &'a SecretString,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum SendOutcome {
    /// Meta took the message on; it is not yet delivered.
    Accepted(Accepted),
    /// Meta refused it and says why; see [`GraphError::rule`].
    Rejected(GraphError),
    /// It is certain that no request reached Meta: no connection was made, or the request could
    /// not even be built. It may be tried again without risk.
    NotSent {
        /// What happened, without content.
        reason: String,
    },
    /// The message may or may not have been taken on: the answer timed out, broke off, or cannot
    /// be read. Wait for a status with the callback data before anything else.
    Unknown {
        /// What happened, without content.
        reason: String,
    },
}

/// A message that Meta took on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The message's id (`wamid.…`).
    pub wamid: String,
    /// The recipient's WhatsApp id as Meta knows it; may differ from the phone we gave.
    pub wa_id: Option<String>,
    /// The recipient's business-scoped user id; absent if we addressed a phone.
    pub user_id: Option<String>,
    /// `accepted`, `held_for_quality_assessment` or `paused`; on templates.
    pub message_status: Option<String>,
}

/// A refusal by the Graph API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphError {
    /// The HTTP status of the answer.
    pub http_status: u16,
    /// See [`crate::errors::lookup`]; [`NO_CODE`] if the answer had no Graph error in it.
    pub code: i64,
    /// `error_subcode`.
    pub subcode: Option<i64>,
    /// `message`, usually the code and its title. May quote the request: keep it out of logs.
    pub message: String,
    /// `error_data.details`. May quote the request: keep it out of logs.
    pub details: Option<String>,
    /// Meta's own hint that a repeat may succeed.
    pub is_transient: bool,
    /// Meta's trace id, to quote to their support.
    pub fbtrace_id: Option<String>,
    /// The `Retry-After` header, if it was given in seconds; at most a day.
    pub retry_after: Option<Duration>,
}

impl GraphError {
    /// Returns what a sender should do about it.
    pub fn rule(&self) -> ErrorRule {
        errors::lookup_response(self.http_status, self.code, self.is_transient)
    }
}

impl Client {
    /// Returns a client over an HTTP client, with [`DEFAULT_TIMEOUT`].
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Returns the client with another time-out for a whole call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Posts a body (of [`super::OutgoingMessage::to_json`]) once and says what came of it.
    pub async fn send(&self, target: Target<'_>, body: &Value) -> SendOutcome {
        let (url, request) = match self.request(target, body) {
            Ok(built) => built,
            Err(reason) => return SendOutcome::NotSent { reason },
        };
        let response = match self.http.execute(request).await {
            Ok(response) => response,
            Err(error) => return classify(&error, &url),
        };
        let status = response.status();
        let retry_after = retry_after(response.headers());
        match read_body(response).await {
            Ok(bytes) => interpret(status, retry_after, &bytes),
            // Headers that refuse are enough: what is missing of the text does not matter.
            Err(_) if refuses(status) => interpret(status, retry_after, b""),
            Err(reason) => SendOutcome::Unknown { reason },
        }
    }

    fn request(&self, target: Target<'_>, body: &Value) -> Result<(Url, reqwest::Request), String> {
        let mut url = Url::parse(target.base_url).map_err(|error| format!("base URL: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "base URL cannot have a path".to_owned())?
            .pop_if_empty()
            .extend([target.graph_version, target.phone_number_id, "messages"]);
        let request = self
            .http
            .post(url.clone())
            .bearer_auth(target.token.expose_secret())
            .timeout(self.timeout)
            .json(body)
            .build()
            .map_err(|error| format!("request cannot be built: {}", describe(&error)))?;
        Ok((url, request))
    }
}

/// Only a failed connection proves that nothing was sent, and only if it was the connection for
/// this very URL: after a redirect the request has been out once.
fn classify(error: &reqwest::Error, url: &Url) -> SendOutcome {
    let reason = describe(error);
    if error.is_connect() && error.url().is_none_or(|failed| failed == url) {
        SendOutcome::NotSent { reason }
    } else {
        SendOutcome::Unknown { reason }
    }
}

/// The chain of causes, without the URL (it names the number) and without content.
fn describe(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_builder() {
        "invalid"
    } else {
        "broke off"
    };
    let mut text = kind.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        if bytes.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(format!("answer is larger than {RESPONSE_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// A 4xx refuses, whoever on the way wrote it; but a 408 may be a proxy's guess about a request
/// that went on to Meta.
fn refuses(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT
}

fn interpret(status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> SendOutcome {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    if let Some(error) = body
        .as_ref()
        .and_then(|body| body.get("error"))
        .filter(|it| it.is_object())
    {
        return SendOutcome::Rejected(graph_error(status, retry_after, error));
    }
    if status.is_success() {
        return match body.as_ref().and_then(accepted) {
            Some(accepted) => SendOutcome::Accepted(accepted),
            None => SendOutcome::Unknown {
                reason: format!("http {} without a message id", status.as_u16()),
            },
        };
    }
    if refuses(status) {
        return SendOutcome::Rejected(GraphError {
            http_status: status.as_u16(),
            code: NO_CODE,
            message: format!("http {} without a Graph error", status.as_u16()),
            retry_after,
            ..GraphError::default()
        });
    }
    SendOutcome::Unknown {
        reason: format!("http {} without a Graph error", status.as_u16()),
    }
}

fn accepted(body: &Value) -> Option<Accepted> {
    let text = |pointer: &str| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
    };
    Some(Accepted {
        wamid: text("/messages/0/id")?,
        wa_id: text("/contacts/0/wa_id"),
        user_id: text("/contacts/0/user_id"),
        message_status: text("/messages/0/message_status"),
    })
}

fn graph_error(status: StatusCode, retry_after: Option<Duration>, error: &Value) -> GraphError {
    let text = |pointer: &str| {
        error
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let number = |pointer: &str| {
        let value = error.pointer(pointer)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    };
    GraphError {
        http_status: status.as_u16(),
        code: number("/code").unwrap_or(NO_CODE),
        subcode: number("/error_subcode"),
        message: text("/message").unwrap_or_default(),
        details: text("/error_data/details"),
        is_transient: error
            .get("is_transient")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        fbtrace_id: text("/fbtrace_id"),
        retry_after,
    }
}

//! The calls to Meta's Graph API. Each posts once and classifies the answer; nothing is followed
//! up. How a file becomes a body is `upload`'s.

use std::time::Duration;

use bytes::Bytes;
use casement_shell::http::answer;
use reqwest::{RequestBuilder, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::upload::{File, Form};
use crate::errors::{self, ErrorRule, NO_CODE};

/// How long a whole call may take, unless set otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// No answer of the send endpoint comes near this; a larger one is not read to its end.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

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
pub enum Outcome<T> {
    /// Meta took it on. A message is not yet delivered.
    Accepted(T),
    /// Meta refused it and says why; see [`GraphError::rule`].
    Rejected(GraphError),
    /// It is certain that no request reached Meta: no connection was made, or the request could
    /// not even be built. It may be tried again without risk.
    NotSent {
        /// What happened, without content.
        reason: String,
    },
    /// It may or may not have been taken on: the answer timed out, broke off, or cannot be read.
    /// Of a message, wait for a status with the callback data before anything else.
    Unknown {
        /// What happened, without content.
        reason: String,
    },
}

/// What the call for a message came to.
pub type SendOutcome = Outcome<Accepted>;

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

/// Which of a customer's messages were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkAsRead {
    /// The newest one (`wamid.…`).
    pub message_id: String,
    /// Whether an answer is shown to be on its way: for 25 seconds, or until it is there.
    pub typing: bool,
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
    /// Reads an `error` object, of an answer or of `debug_token`'s data.
    pub(crate) fn read(status: StatusCode, retry_after: Option<Duration>, error: &Value) -> Self {
        let text = |pointer: &str| {
            let text = error.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let number = |pointer: &str| {
            let value = error.pointer(pointer)?;
            value.as_i64().or_else(|| value.as_str()?.parse().ok())
        };
        Self {
            http_status: status.as_u16(),
            code: number("/code").unwrap_or(NO_CODE),
            subcode: number("/error_subcode").or_else(|| number("/subcode")),
            message: text("/message").unwrap_or_default(),
            details: text("/error_data/details").or_else(|| text("/error_user_msg")),
            is_transient: error
                .get("is_transient")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            fbtrace_id: text("/fbtrace_id"),
            retry_after,
        }
    }

    /// Returns what a sender should do about it.
    pub fn rule(&self) -> ErrorRule {
        // Graph's other way to say that there is nothing by an id, here the number's.
        let code = match (self.code, self.subcode) {
            (100, Some(33)) => 33,
            (code, _) => code,
        };
        errors::lookup_response(self.http_status, code, self.is_transient)
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
        self.post(target, "messages", |it| it.json(body), accepted)
            .await
    }

    /// Shows a customer that their message, and all before it, were read. Doing so again changes
    /// nothing.
    pub async fn mark_as_read(&self, target: Target<'_>, read: &MarkAsRead) -> Outcome<()> {
        let mut body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": read.message_id,
        });
        if read.typing {
            body["typing_indicator"] = json!({ "type": "text" });
        }
        let is_done = |body: &Value| body["success"].as_bool().filter(|done| *done).map(|_| ());
        self.post(target, "messages", |it| it.json(&body), is_done)
            .await
    }

    /// Uploads a file, and returns its id at the platform: good for 30 days, for the sending number
    /// only (WhatsApp Cloud API: media). Should the chunks end before they are as large as the file
    /// was said to be, the call breaks off.
    pub async fn upload(
        &self,
        target: Target<'_>,
        file: &File<'_>,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Outcome<String> {
        let form = match Form::new(file, chunks) {
            Ok(form) => form,
            Err(reason) => return Outcome::NotSent { reason },
        };
        let id = |body: &Value| {
            let id = body["id"].as_str().filter(|id| !id.is_empty());
            id.map(str::to_owned)
        };
        let content_type = Form::content_type();
        let with_form = |request: RequestBuilder| {
            request
                .header(header::CONTENT_TYPE, content_type)
                .body(reqwest::Body::wrap(form))
        };
        self.post(target, "media", with_form, id).await
    }

    async fn post<T>(
        &self,
        target: Target<'_>,
        edge: &str,
        with_body: impl FnOnce(RequestBuilder) -> RequestBuilder,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Outcome<T> {
        let (url, request) = match self.request(target, edge, with_body) {
            Ok(built) => built,
            Err(reason) => return Outcome::NotSent { reason },
        };
        let response = match self.http.execute(request).await {
            Ok(response) => response,
            Err(error) => return classify(&error, &url),
        };
        let status = response.status();
        let retry_after = answer::retry_after(response.headers());
        match answer::read(response, RESPONSE_BYTES_MAX).await {
            Ok(bytes) => interpret(status, retry_after, &bytes, read),
            // Headers that refuse are enough: what is missing of the text does not matter.
            Err(_) if answer::refuses(status) => interpret(status, retry_after, b"", read),
            Err(error) => Outcome::Unknown {
                reason: error.to_string(),
            },
        }
    }

    fn request(
        &self,
        target: Target<'_>,
        edge: &str,
        with_body: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(Url, reqwest::Request), String> {
        let mut url = Url::parse(target.base_url).map_err(|error| format!("base URL: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "base URL cannot have a path".to_owned())?
            .pop_if_empty()
            .extend([target.graph_version, target.phone_number_id, edge]);
        let request = self
            .http
            .post(url.clone())
            .bearer_auth(target.token.expose_secret())
            .timeout(self.timeout);
        let request = with_body(request)
            .build()
            .map_err(|error| format!("request cannot be built: {}", answer::describe(&error)))?;
        Ok((url, request))
    }
}

fn classify<T>(error: &reqwest::Error, url: &Url) -> Outcome<T> {
    let reason = answer::describe(error);
    if answer::never_left(error, url) {
        Outcome::NotSent { reason }
    } else {
        Outcome::Unknown { reason }
    }
}

fn interpret<T>(
    status: StatusCode,
    retry_after: Option<Duration>,
    bytes: &[u8],
    read: impl FnOnce(&Value) -> Option<T>,
) -> Outcome<T> {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    if let Some(error) = body
        .as_ref()
        .and_then(|body| body.get("error"))
        .filter(|it| it.is_object())
    {
        return Outcome::Rejected(GraphError::read(status, retry_after, error));
    }
    if status.is_success() {
        return match body.as_ref().and_then(read) {
            Some(read) => Outcome::Accepted(read),
            None => Outcome::Unknown {
                reason: format!("http {} without what was asked for", status.as_u16()),
            },
        };
    }
    if answer::refuses(status) {
        return Outcome::Rejected(GraphError {
            http_status: status.as_u16(),
            code: NO_CODE,
            message: format!("http {} without a Graph error", status.as_u16()),
            retry_after,
            ..GraphError::default()
        });
    }
    Outcome::Unknown {
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

//! What all calls share: one request each, pages followed by their cursors, refusals read.
//!
//! What is asked is beside it: [`super::token`], [`super::number`], [`super::account`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_shell::http::answer::{self, BodyError};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::DATE;
use reqwest::{Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::node::{self, Template};
use crate::errors::{self, Refused};
use crate::send::{DEFAULT_TIMEOUT, GraphError};

/// How many items one page is asked for.
pub const PAGE_ITEMS: usize = 100;
/// How many items are read from all pages of a list; a longer one is an error. An account has at
/// most 6,000 templates (Meta: message templates, limits).
pub const ITEMS_MAX: usize = 10_000;
/// No page comes near this; a larger one is not read to its end.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is read of a template.
const TEMPLATE_FIELDS: &str = "id,name,language,category,status,components";

/// Calls the Graph API's management side.
///
/// The injected HTTP client must follow no redirects: a token travels with every call.
#[derive(Debug, Clone)]
pub struct Manager {
    http: reqwest::Client,
    base: Url,
    graph_version: String,
    timeout: Duration,
    heard: Arc<Mutex<Option<Heard>>>,
}

/// What time it was at the platform, as its last answer said (HTTP: `Date`, whole seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its date.
    pub date: Timestamp,
    /// When the answer was there.
    pub at: Instant,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What a refusal shows in place of a secret that it quoted.
const HIDDEN: &str = "[hidden]";

/// Why a call gave nothing. No variant holds a secret of the call, or the URL, which may hold one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The request cannot be built.
    #[error("request cannot be built: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered, or the answer broke off.
    #[error("no answer: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// Meta refused; see [`CallError::refused`]. Where its texts quoted a secret of the call, they
    /// no longer do.
    #[error("refused with code {}", _0.code)]
    Refused(GraphError),
    /// Somebody answered, but not as the Graph API does.
    #[error("answer cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// Returns what Meta refused, for a caller to branch on; `None` if it did not answer as Meta.
    pub fn refused(&self) -> Option<Refused> {
        match self {
            Self::Refused(error) => Some(errors::refused(error.code, error.subcode)),
            Self::Invalid { .. } | Self::Unreachable { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Returns Meta's code, if it refused.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused(error) => Some(error.code),
            Self::Invalid { .. } | Self::Unreachable { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Returns true if the call may have had its effect all the same: look before it is repeated.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Invalid { .. } => false,
            Self::Unreachable { .. } | Self::Unreadable { .. } => true,
            Self::Refused(error) => {
                error.code == errors::NO_CODE
                    || matches!(self.refused(), Some(Refused::Unavailable))
            }
        }
    }

    /// Returns true if the same call may succeed later without anybody's help. What it may have
    /// done already is [`CallError::is_ambiguous`].
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Invalid { .. } => false,
            Self::Unreachable { .. } | Self::Unreadable { .. } => true,
            Self::Refused(error) => {
                error.is_transient
                    || matches!(
                        self.refused(),
                        Some(Refused::Unavailable | Refused::TooManyCalls)
                    )
            }
        }
    }
}

/// A call, before it has its address.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Value>,
    pub(super) token: Option<&'a SecretString>,
    /// What else must not come back in a refusal's text.
    pub(super) secrets: &'a [&'a SecretString],
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a [&'a str], token: &'a SecretString) -> Self {
        Self {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            token: Some(token),
            secrets: &[],
        }
    }

    pub(super) fn post(path: &'a [&'a str], token: &'a SecretString) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(path, token)
        }
    }
}

impl Manager {
    /// Returns what calls `base_url` (such as `https://graph.facebook.com`) at a version (such as
    /// `v26.0`), each call within [`DEFAULT_TIMEOUT`].
    pub fn new(
        http: reqwest::Client,
        base_url: &str,
        graph_version: &str,
    ) -> Result<Self, CallError> {
        let base = Url::parse(base_url).map_err(|error| CallError::Invalid {
            reason: format!("base URL: {error}"),
        })?;
        if base.cannot_be_a_base() {
            return Err(CallError::Invalid {
                reason: "base URL cannot have a path".to_owned(),
            });
        }
        Ok(Self {
            http,
            base,
            graph_version: graph_version.to_owned(),
            timeout: DEFAULT_TIMEOUT,
            heard: Arc::default(),
        })
    }

    /// Returns the manager with another time-out for a whole call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Returns every template of a business account, in each of its languages.
    pub async fn templates(
        &self,
        token: &SecretString,
        waba_id: &str,
    ) -> Result<Vec<Template>, CallError> {
        let path = [waba_id, "message_templates"];
        let items = self.list(&path, TEMPLATE_FIELDS, token).await?;
        Ok(items.iter().filter_map(node::template).collect())
    }

    /// Reads all pages. The cursor is followed, never `paging.next`: that is a URL of the
    /// answer's choice, and the token would travel there.
    pub(super) async fn list(
        &self,
        path: &[&str],
        fields: &str,
        token: &SecretString,
    ) -> Result<Vec<Value>, CallError> {
        self.list_with(path, fields, &[], token).await
    }

    /// Reads all pages of what fits a query.
    pub(super) async fn list_with(
        &self,
        path: &[&str],
        fields: &str,
        with: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Vec<Value>, CallError> {
        let limit = PAGE_ITEMS.to_string();
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("fields", fields), ("limit", limit.as_str())];
            query.extend_from_slice(with);
            query.extend(after.as_deref().map(|after| ("after", after)));
            let body = self.get(path, &query, token).await?;
            let page = data(&body)?;
            if items.len() + page.len() > ITEMS_MAX {
                return Err(unreadable(format!("more than {ITEMS_MAX} items")));
            }
            items.extend_from_slice(page);
            let next = body
                .pointer("/paging/cursors/after")
                .and_then(Value::as_str)
                .filter(|_| body.pointer("/paging/next").is_some());
            match next {
                Some(next) if !page.is_empty() && after.as_deref() != Some(next) => {
                    after = Some(next.to_owned());
                }
                _ => return Ok(items),
            }
        }
    }

    /// Reads a node's fields, the ones that older versions do not know too. One unknown field is
    /// a refusal of all (100): then the rest is read without them.
    pub(super) async fn node(
        &self,
        path: &[&str],
        (fields, newer): (&str, &str),
        token: &SecretString,
    ) -> Result<Value, CallError> {
        let all = format!("{fields},{newer}");
        match self.get(path, &[("fields", &all)], token).await {
            Err(error) if error.refused() == Some(Refused::Invalid) => {
                self.get(path, &[("fields", fields)], token).await
            }
            answer => answer,
        }
    }

    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Value, CallError> {
        let call = Call::get(path, token);
        self.call(Call { query, ..call }).await
    }

    /// Makes a call whose answer is only that it was done.
    pub(super) async fn done(&self, call: Call<'_>) -> Result<(), CallError> {
        let body = self.call(call).await?;
        if body.get("success").and_then(Value::as_bool) == Some(true) {
            Ok(())
        } else {
            Err(unreadable("no success"))
        }
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, CallError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .push(&self.graph_version)
                .extend(call.path);
        }
        let mut request = self
            .http
            .request(call.method, url)
            .query(call.query)
            .timeout(self.timeout);
        if let Some(token) = call.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let request = request.build().map_err(|error| CallError::Invalid {
            reason: answer::describe(&error),
        })?;
        let asked_at = Instant::now();
        let response = self.http.execute(request).await.map_err(unreachable)?;
        self.hear(&response, asked_at);
        let status = response.status();
        let bytes = read(response).await?;
        interpret(status, &bytes).map_err(|error| match error {
            CallError::Refused(error) => {
                let secrets = call.secrets.iter().copied().chain(call.token);
                CallError::Refused(hiding(error, secrets))
            }
            other => other,
        })
    }
}

impl Manager {
    /// Returns what time it was at the platform, as its last answer said.
    pub fn heard(&self) -> Option<Heard> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, response: &Response, asked_at: Instant) {
        let date = response.headers().get(DATE);
        let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        let Some(date) = date.map(|date| date.timestamp()) else {
            return;
        };
        let heard = Heard {
            date,
            at: Instant::now(),
            waited: asked_at.elapsed(),
        };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }
}

/// Takes secrets out of what Meta quoted.
fn hiding<'a>(
    mut error: GraphError,
    secrets: impl Iterator<Item = &'a SecretString>,
) -> GraphError {
    for secret in secrets.map(ExposeSecret::expose_secret) {
        if secret.is_empty() {
            continue;
        }
        error.message = error.message.replace(secret, HIDDEN);
        error.details = error.details.map(|text| text.replace(secret, HIDDEN));
    }
    error
}

fn interpret(status: StatusCode, bytes: &[u8]) -> Result<Value, CallError> {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    if let Some(error) = body.as_ref().and_then(|body| body.get("error")) {
        return Err(CallError::Refused(GraphError::read(status, None, error)));
    }
    match body {
        Some(body) if status.is_success() => Ok(body),
        _ => Err(unreadable(format!(
            "http {} without a Graph answer",
            status.as_u16()
        ))),
    }
}

pub(super) fn data(body: &Value) -> Result<&Vec<Value>, CallError> {
    body.get("data")
        .and_then(Value::as_array)
        .ok_or_else(|| unreadable("a list without data"))
}

async fn read(response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let read = answer::read(response, RESPONSE_BYTES_MAX).await;
    read.map_err(|error| match error {
        BodyError::Broken(reason) => CallError::Unreachable { reason },
        BodyError::TooLarge(_) => unreadable(error.to_string()),
    })
}

pub(super) fn unreadable(reason: impl Into<String>) -> CallError {
    CallError::Unreadable {
        reason: reason.into(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "for `map_err`, which hands the error over"
)]
fn unreachable(error: reqwest::Error) -> CallError {
    CallError::Unreachable {
        reason: answer::describe(&error),
    }
}

//! The calls themselves: one GET or POST each, pages followed by their cursors.

use std::time::Duration;

use casement_shell::http::answer::{self, BodyError};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::node::{self, Account, App, Number, Template, TokenInfo};
use crate::send::{DEFAULT_TIMEOUT, GraphError};

/// How many items one page is asked for.
pub const PAGE_ITEMS: usize = 100;
/// How many items are read from all pages of a list; a longer one is an error. An account has at
/// most 6,000 templates (Meta: message templates, limits).
pub const ITEMS_MAX: usize = 10_000;
/// No page comes near this; a larger one is not read to its end.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is read of a number.
const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,status,quality_rating,\
                             code_verification_status,name_status,platform_type,throughput,\
                             account_mode";
/// What is read of a business account.
const ACCOUNT_FIELDS: &str = "id,name,owner_business_info,on_behalf_of_business_info";
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
}

/// Why a call gave nothing. No variant holds a token or the URL, which may hold one.
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
    /// Meta refused. Its texts may quote the token: see [`GraphError::message`].
    #[error("refused with code {}", _0.code)]
    Refused(GraphError),
    /// Somebody answered, but not as the Graph API does.
    #[error("answer cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
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
        })
    }

    /// Returns the manager with another time-out for a whole call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Returns the app that a token was made for.
    pub async fn app(&self, token: &SecretString) -> Result<App, CallError> {
        let body = self.get(&["app"], &[("fields", "id,name")], token).await?;
        node::app(&body).ok_or_else(|| unreadable("an app without an id"))
    }

    /// Returns what Meta knows of a token, asked for by its app (Meta: debug token). An invalid
    /// token is an answer; [`CallError::Refused`] is about the app's id and secret, or says (100)
    /// that the token is another app's.
    pub async fn inspect_token(
        &self,
        token: &SecretString,
        app_id: &str,
        app_secret: &SecretString,
    ) -> Result<TokenInfo, CallError> {
        let asking = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let query = [("input_token", token.expose_secret())];
        let body = self.get(&["debug_token"], &query, &asking).await?;
        node::token(&body).ok_or_else(|| unreadable("no data about the token"))
    }

    /// Returns a business number.
    pub async fn number(
        &self,
        token: &SecretString,
        phone_number_id: &str,
    ) -> Result<Number, CallError> {
        let query = [("fields", NUMBER_FIELDS)];
        let body = self.get(&[phone_number_id], &query, token).await?;
        node::number(&body).ok_or_else(|| unreadable("a number without an id or a phone"))
    }

    /// Returns every number of a business account.
    pub async fn numbers(
        &self,
        token: &SecretString,
        waba_id: &str,
    ) -> Result<Vec<Number>, CallError> {
        let fields = "id,display_phone_number,verified_name,status";
        let path = [waba_id, "phone_numbers"];
        let items = self.list(&path, fields, token).await?;
        Ok(items.iter().filter_map(node::number).collect())
    }

    /// Returns a business account and the portfolio that owns it.
    pub async fn account(&self, token: &SecretString, waba_id: &str) -> Result<Account, CallError> {
        let query = [("fields", ACCOUNT_FIELDS)];
        let body = self.get(&[waba_id], &query, token).await?;
        node::account(&body).ok_or_else(|| unreadable("an account without an id"))
    }

    /// Subscribes the token's app to a business account's webhooks. Doing so again changes
    /// nothing.
    pub async fn subscribe(&self, token: &SecretString, waba_id: &str) -> Result<(), CallError> {
        let path = [waba_id, "subscribed_apps"];
        let body = self.call(Method::POST, &path, &[], token).await?;
        if body.get("success").and_then(Value::as_bool) == Some(true) {
            Ok(())
        } else {
            Err(unreadable("no success"))
        }
    }

    /// Returns the apps that get a business account's webhooks.
    pub async fn subscribed_apps(
        &self,
        token: &SecretString,
        waba_id: &str,
    ) -> Result<Vec<App>, CallError> {
        let path = [waba_id, "subscribed_apps"];
        let body = self.get(&path, &[], token).await?;
        let items = data(&body)?;
        let apps = items
            .iter()
            .filter_map(|item| node::app(item.get("whatsapp_business_api_data").unwrap_or(item)));
        Ok(apps.collect())
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
    async fn list(
        &self,
        path: &[&str],
        fields: &str,
        token: &SecretString,
    ) -> Result<Vec<Value>, CallError> {
        let limit = PAGE_ITEMS.to_string();
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("fields", fields), ("limit", limit.as_str())];
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

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Value, CallError> {
        self.call(Method::GET, path, query, token).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Value, CallError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .push(&self.graph_version)
                .extend(path);
        }
        let request = self
            .http
            .request(method, url)
            .query(query)
            .bearer_auth(token.expose_secret())
            .timeout(self.timeout)
            .build()
            .map_err(|error| CallError::Invalid {
                reason: answer::describe(&error),
            })?;
        let response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let bytes = read(response).await?;
        interpret(status, &bytes)
    }
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

fn data(body: &Value) -> Result<&Vec<Value>, CallError> {
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

fn unreadable(reason: impl Into<String>) -> CallError {
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

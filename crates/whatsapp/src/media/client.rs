//! The two calls: where a file is, and its bytes.

use std::time::Duration;

use bytes::Bytes;
use casement_shell::http::answer;
use reqwest::{Response, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;

use super::digest::Digest;
use super::hosts::Hosts;
use crate::errors::{self, Action, NO_CODE};

/// How often a link may lead to another.
const REDIRECTS_MAX: usize = 3;

/// No answer that is not a file comes near this; a larger one is not read to its end.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A longer wait than this is not believed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Graph's subcode of an object that does not exist, or that the token may not see.
const NO_SUCH_OBJECT: i64 = 33;

/// The code for a file that the platform itself could not get from the customer.
const DOWNLOAD_FAILED: i64 = 131_052;

/// Reads files.
///
/// The injected HTTP client must follow no redirects: each hop's host is checked here.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    timeouts: Timeouts,
}

/// How long the calls may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The question where a file is.
    pub link: Duration,
    /// A file, from the call to its last byte.
    pub transfer: Duration,
    /// The wait for the next bytes of a file.
    pub idle: Duration,
}

/// Whose file it is, and where to ask.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Such as `https://graph.facebook.com`, without the version.
    pub graph_url: &'a str,
    /// Such as `v26.0`.
    pub graph_version: &'a str,
    /// Meta's id of the number that the message came to.
    pub phone_number_id: &'a str,
    /// The access token.
    pub token: &'a SecretString,
    /// Where the token may travel.
    pub hosts: &'a Hosts,
}

/// Where a file is, and what the platform says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Good for [`super::LINK_LIFE`].
    pub url: String,
    /// Its hash, if one was said.
    pub sha256: Option<Digest>,
    /// Its size, if one was said.
    pub size_bytes: Option<u64>,
}

/// Why a file could not be had. No text of it quotes a token or a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The platform does not know the file or the link, or no longer.
    #[error("platform does not know it ({detail})")]
    NotFound {
        /// What it answered.
        detail: String,
    },
    /// The token is not good, or not for this.
    #[error("access token is refused ({detail})")]
    Forbidden {
        /// What it answered.
        detail: String,
    },
    /// It is larger than is taken.
    #[error("file is larger than {bytes_max} bytes")]
    TooLarge {
        /// How large it may be.
        bytes_max: u64,
    },
    /// The link leads where no token may travel.
    #[error("link leads to a host that is not the platform's")]
    ForeignHost,
    /// Nobody answered, too slowly, or with trouble that may pass.
    #[error("platform gave no file ({detail})")]
    Unavailable {
        /// What happened.
        detail: String,
        /// How long the platform asks to wait.
        retry_after: Option<Duration>,
    },
}

impl MediaError {
    fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable {
            detail: detail.into(),
            retry_after: None,
        }
    }
}

/// A file on its way.
#[derive(Debug)]
pub struct Download {
    response: Response,
    idle: Duration,
    bytes_max: u64,
    read: u64,
}

impl Client {
    /// Returns a client over an HTTP client.
    pub fn new(http: reqwest::Client, timeouts: Timeouts) -> Self {
        Self { http, timeouts }
    }

    /// Asks where a file is.
    pub async fn link(&self, source: Source<'_>, media_id: &str) -> Result<Link, MediaError> {
        let mut url = Url::parse(source.graph_url)
            .map_err(|error| MediaError::unavailable(format!("base URL: {error}")))?;
        url.path_segments_mut()
            .map_err(|()| MediaError::unavailable("base URL cannot have a path"))?
            .pop_if_empty()
            .extend([source.graph_version, media_id]);
        url.query_pairs_mut()
            .append_pair("phone_number_id", source.phone_number_id);
        let response = self
            .http
            .get(url)
            .bearer_auth(source.token.expose_secret())
            .timeout(self.timeouts.link)
            .send()
            .await
            .map_err(|error| MediaError::unavailable(answer::describe(&error)))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = read_answer(response).await?;
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        if !status.is_success() {
            return Err(refusal(status, body.as_ref(), retry_after));
        }
        let text = |key: &str| body.as_ref()?.get(key)?.as_str();
        let url = text("url")
            .filter(|url| !url.is_empty())
            .ok_or_else(|| MediaError::unavailable("answer has no link"))?;
        Ok(Link {
            url: url.to_owned(),
            sha256: text("sha256").and_then(Digest::parse),
            size_bytes: body.as_ref().and_then(|body| number(&body["file_size"])),
        })
    }

    /// Begins to read a file of at most so many bytes.
    pub async fn open(
        &self,
        source: Source<'_>,
        link: &str,
        bytes_max: u64,
    ) -> Result<Download, MediaError> {
        let mut url =
            Url::parse(link).map_err(|_| MediaError::unavailable("link is no address"))?;
        for _ in 0..=REDIRECTS_MAX {
            if !source.hosts.allow(&url) {
                return Err(MediaError::ForeignHost);
            }
            let request = self
                .http
                .get(url.clone())
                .bearer_auth(source.token.expose_secret())
                .timeout(self.timeouts.transfer);
            let response = timeout(self.timeouts.idle, request.send())
                .await
                .map_err(|_| MediaError::unavailable("timed out"))?
                .map_err(|error| MediaError::unavailable(answer::describe(&error)))?;
            if !response.status().is_redirection() {
                return self.begin(response, bytes_max).await;
            }
            let next = response.headers().get(header::LOCATION);
            url = next
                .and_then(|next| next.to_str().ok())
                .and_then(|next| url.join(next).ok())
                .ok_or_else(|| MediaError::unavailable("redirected to nowhere"))?;
        }
        Err(MediaError::unavailable("redirected too often"))
    }

    async fn begin(&self, response: Response, bytes_max: u64) -> Result<Download, MediaError> {
        let status = response.status();
        if status != StatusCode::OK {
            let retry_after = retry_after(response.headers());
            let body = read_answer(response).await.unwrap_or_default();
            let body: Option<Value> = serde_json::from_slice(&body).ok();
            return Err(refusal(status, body.as_ref(), retry_after));
        }
        if response
            .content_length()
            .is_some_and(|length| length > bytes_max)
        {
            return Err(MediaError::TooLarge { bytes_max });
        }
        Ok(Download {
            response,
            idle: self.timeouts.idle,
            bytes_max,
            read: 0,
        })
    }
}

impl Download {
    /// Returns the next bytes; `None` at the end of the file.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, MediaError> {
        let chunk = timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| MediaError::unavailable("timed out"))?
            .map_err(|error| MediaError::unavailable(answer::describe(&error)))?;
        if let Some(chunk) = &chunk {
            self.read = self
                .read
                .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if self.read > self.bytes_max {
                let bytes_max = self.bytes_max;
                return Err(MediaError::TooLarge { bytes_max });
            }
        }
        Ok(chunk)
    }
}

/// What a status and a Graph error mean for a file.
fn refusal(status: StatusCode, body: Option<&Value>, retry_after: Option<Duration>) -> MediaError {
    let error = body.map(|body| &body["error"]);
    let field = |key: &str| error.and_then(|error| signed(&error[key]));
    let code = field("code").unwrap_or(NO_CODE);
    let detail = if code == NO_CODE {
        format!("http {}", status.as_u16())
    } else {
        format!("http {}, code {code}", status.as_u16())
    };
    let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
        || field("error_subcode") == Some(NO_SUCH_OBJECT)
        || matches!(code, NO_SUCH_OBJECT | DOWNLOAD_FAILED);
    if is_gone {
        return MediaError::NotFound { detail };
    }
    let is_transient = error.is_some_and(|error| error["is_transient"] == true);
    let rule = errors::lookup_response(status.as_u16(), code, is_transient);
    let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || matches!(rule.action, Action::Halt { .. });
    if is_refused && !rule.action.is_retryable() {
        return MediaError::Forbidden { detail };
    }
    MediaError::Unavailable {
        detail,
        retry_after,
    }
}

/// Numbers come as such or as text.
fn signed(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

async fn read_answer(response: Response) -> Result<Vec<u8>, MediaError> {
    let read = answer::read(response, ANSWER_BYTES_MAX).await;
    read.map_err(|error| MediaError::unavailable(error.to_string()))
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    Some(answer::retry_after(headers)?.min(RETRY_AFTER_MAX))
}

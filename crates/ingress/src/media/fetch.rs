//! One try to get one file: where it is, its bytes, its hash, into the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use casement_event::v1::{self, MediaProblem};
use casement_secrets::{Missing, Secrets};
use casement_shell::SharedClock;
use casement_shell::http::{ClientOptions, client};
use casement_whatsapp::media::{Client, Digest, Hosts, MediaError, Source, Timeouts, bytes_max};
use jiff::SignedDuration;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::config::MediaConfig;
use super::policy::Failed;
use super::store::{Objects, StoreError, key_of};
use super::wanted::Wanted;

/// Gets files.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    hosts: Hosts,
    graph_url: String,
    graph_version: String,
    max_bytes: u64,
    objects: Arc<Objects>,
    clock: SharedClock,
    /// Where accounts say that their tokens are found.
    secrets: Secrets,
}

/// A file that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Digest,
    /// The platform had said which hash to expect, and it was this.
    pub(crate) hash_expected: bool,
}

/// Why one reading of a link gave no file.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("hash is {got:?} instead of {expected:?}")]
    Hash { expected: Digest, got: Digest },
}

impl Fetcher {
    pub(crate) fn new(
        config: &MediaConfig,
        objects: Arc<Objects>,
        clock: SharedClock,
    ) -> anyhow::Result<Self> {
        let timeouts = Timeouts {
            link: config.link_timeout.unsigned_abs(),
            transfer: config.transfer_timeout.unsigned_abs(),
            idle: config.idle_timeout.unsigned_abs(),
        };
        // Each call names its own time-out.
        let http = client(&ClientOptions {
            timeout: timeouts.transfer.max(timeouts.link),
            ..ClientOptions::default()
        })
        .context("build the HTTP client for media")?;
        Ok(Self {
            client: Client::new(http, timeouts),
            hosts: Hosts::new(&config.graph_url, config.link_domains.iter().cloned()),
            graph_url: config.graph_url.clone(),
            graph_version: config.graph_version.clone(),
            max_bytes: config.max_bytes,
            objects,
            clock,
            secrets: Secrets::default(),
        })
    }

    /// Lets accounts name secrets that are stored.
    pub(crate) fn know(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// Tries once. The link that the message said spares a call; if it fails, the id leads to a
    /// fresh one.
    pub(crate) async fn fetch(
        &self,
        wanted: &Wanted,
        account: &v1::Number,
    ) -> Result<Fetched, Failed> {
        let token = token(&self.secrets, account)?;
        let source = Source {
            graph_url: &self.graph_url,
            graph_version: &self.graph_version,
            phone_number_id: &account.phone_number_id,
            token: &token,
            hosts: &self.hosts,
        };
        if let Some((link, _)) = wanted
            .link
            .as_ref()
            .filter(|(_, until)| self.clock.now() < *until)
        {
            match self.copy(source, wanted, link, wanted.sha256).await {
                Ok(fetched) => return Ok(fetched),
                Err(error @ CopyError::Media(MediaError::TooLarge { .. })) => {
                    return Err(error.into());
                }
                Err(error) => tracing::debug!(%error, "link of a message gave no file"),
            }
        }
        let link = self
            .client
            .link(source, &wanted.media.provider_media_id)
            .await
            .map_err(CopyError::from)?;
        let bytes_max = self.bytes_max(wanted);
        if link.size_bytes.is_some_and(|size| size > bytes_max) {
            return Err(CopyError::from(MediaError::TooLarge { bytes_max }).into());
        }
        let expected = wanted.sha256.or(link.sha256);
        Ok(self.copy(source, wanted, &link.url, expected).await?)
    }

    fn bytes_max(&self, wanted: &Wanted) -> u64 {
        bytes_max(&wanted.media.kind).min(self.max_bytes)
    }

    async fn copy(
        &self,
        source: Source<'_>,
        wanted: &Wanted,
        link: &str,
        expected: Option<Digest>,
    ) -> Result<Fetched, CopyError> {
        let bytes_max = self.bytes_max(wanted);
        let mut download = self.client.open(source, link, bytes_max).await?;
        let key = key_of(&wanted.id);
        let mut incoming = self.objects.begin(&key)?;
        let (mut hasher, mut size_bytes) = (Sha256::new(), 0_u64);
        let copied = async {
            while let Some(chunk) = download.chunk().await? {
                hasher.update(&chunk);
                size_bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                incoming.put(chunk).await?;
            }
            let got = Digest::new(hasher.finalize().into());
            match expected {
                Some(expected) if expected != got => Err(CopyError::Hash { expected, got }),
                _ => Ok(got),
            }
        };
        match copied.await {
            Ok(sha256) => {
                incoming.finish().await?;
                Ok(Fetched {
                    key,
                    size_bytes,
                    sha256,
                    hash_expected: expected.is_some(),
                })
            }
            Err(error) => {
                incoming.discard().await;
                Err(error)
            }
        }
    }
}

/// The number's access token, read at each use, so that a rotated one counts at once.
fn token(secrets: &Secrets, account: &v1::Number) -> Result<SecretString, Failed> {
    secrets.resolve(account.token.as_ref()).map_err(|error| {
        tracing::error!(%error, "access token of a number cannot be had");
        let detail = match error {
            Missing::Unnamed => "the number's account names no access token",
            _ => "the number's access token cannot be read",
        };
        Failed {
            problem: MediaProblem::Forbidden,
            detail: detail.to_owned(),
            wait: None,
        }
    })
}

impl From<CopyError> for Failed {
    fn from(error: CopyError) -> Self {
        let mut wait = None;
        let problem = match &error {
            CopyError::Media(MediaError::NotFound { .. }) => MediaProblem::NotFound,
            CopyError::Media(MediaError::Forbidden { .. }) => MediaProblem::Forbidden,
            CopyError::Media(MediaError::TooLarge { .. }) => MediaProblem::TooLarge,
            CopyError::Media(MediaError::Unavailable { retry_after, .. }) => {
                wait = retry_after.and_then(|wait: Duration| SignedDuration::try_from(wait).ok());
                MediaProblem::GaveUp
            }
            CopyError::Media(MediaError::ForeignHost) | CopyError::Store(_) => MediaProblem::GaveUp,
            CopyError::Hash { .. } => MediaProblem::HashMismatch,
        };
        if let CopyError::Store(error) = &error {
            tracing::warn!(error = %chain(error), "media could not be stored");
        }
        Self {
            problem,
            detail: error.to_string(),
            wait,
        }
    }
}

/// An error with all that caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

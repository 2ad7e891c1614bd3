//! Where files are kept: a folder, or a bucket of an S3-compatible service.
//!
//! A file stands under a key that follows from its id, so that fetching it again overwrites it
//! with the same. Beside it stands what is known of it. Neither key tells anything about a person.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use casement_domain::id::MediaId;
use casement_event::v1;
use casement_shell::config::SecretError;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};
use prost::Message as _;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use url::Url;

use super::config::MediaConfig;

/// How much of a file is held in memory before it is written: the least that S3 takes for a part.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// How many parts of a file are written at once.
const PARTS_AT_ONCE_MAX: usize = 2;

/// How long the store may take for one step.
const STEP_MAX: Duration = Duration::from_mins(1);

/// How long a request to S3 may take; the store's own retries are left to us.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// How often a request to S3 is repeated at once.
const REPEATS_MAX: usize = 2;

/// What is known of a file is some hundred bytes.
const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// Why the object store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Neither a folder nor an address that is understood.
    #[error("it is neither a folder nor `s3://bucket/prefix`")]
    Place,
    /// The folder is not to be had.
    #[error("folder cannot be created")]
    Folder(#[source] std::io::Error),
    /// An option that the store has not.
    #[error("`{0}` is no option of the store")]
    Option(String),
    /// A secret that is not to be had.
    #[error("`{0}` cannot be read")]
    Secret(String, #[source] SecretError),
    /// What the store says.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// Why the object store could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It failed.
    #[error("object store failed")]
    Store(#[from] object_store::Error),
    /// It took too long.
    #[error("object store did not answer in time")]
    Slow,
    /// What stands there is not what was written.
    #[error("what the object store holds cannot be read")]
    Unreadable,
}

impl From<object_store::path::Error> for StoreError {
    fn from(error: object_store::path::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The object store.
#[derive(Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Before every key; empty or without slashes around it.
    prefix: String,
}

/// A file on its way into the store. Nobody sees it before it is finished.
pub(crate) struct Incoming(BufWriter);

/// A file on its way out of the store.
pub(crate) struct Outgoing {
    pub(crate) size_bytes: u64,
    pub(crate) chunks: BoxStream<'static, Result<Bytes, object_store::Error>>,
}

impl Objects {
    /// Opens a store by a folder or an address.
    pub(crate) fn open(place: &str, config: &MediaConfig) -> Result<Self, OpenError> {
        let folder = match place.split_once("://") {
            None => Some(std::path::PathBuf::from(place)),
            Some(("file", _)) => {
                let url = Url::parse(place).map_err(|_| OpenError::Place)?;
                Some(url.to_file_path().map_err(|()| OpenError::Place)?)
            }
            Some(_) => None,
        };
        let Some(folder) = folder else {
            return Self::open_s3(place, config);
        };
        std::fs::create_dir_all(&folder).map_err(OpenError::Folder)?;
        // Absolute, whatever becomes of the working directory.
        let folder = folder.canonicalize().map_err(OpenError::Folder)?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true)),
            prefix: String::new(),
        })
    }

    fn open_s3(place: &str, config: &MediaConfig) -> Result<Self, OpenError> {
        let url = Url::parse(place).map_err(|_| OpenError::Place)?;
        if url.scheme() != "s3" || url.host_str().is_none_or(str::is_empty) {
            return Err(OpenError::Place);
        }
        casement_shell::http::install_tls_provider();
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: REPEATS_MAX,
            retry_timeout: REQUEST_MAX,
        };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(ClientOptions::new().with_timeout(REQUEST_MAX))
            .with_retry(retry)
            .with_url(format!("s3://{}", url.host_str().unwrap_or_default()));
        let key = |name: &String| {
            AmazonS3ConfigKey::from_str(name).map_err(|_| OpenError::Option(name.clone()))
        };
        for (name, value) in &config.store_options {
            builder = builder.with_config(key(name)?, value);
        }
        for (name, secret) in &config.store_secrets {
            let value = secret
                .resolve()
                .map_err(|error| OpenError::Secret(name.clone(), error))?;
            builder = builder.with_config(key(name)?, value.expose_secret());
        }
        Ok(Self {
            store: Arc::new(builder.build()?),
            prefix: url.path().trim_matches('/').to_owned(),
        })
    }

    /// Begins to write a file.
    pub(crate) fn begin(&self, key: &str) -> Result<Incoming, StoreError> {
        let writer = BufWriter::with_capacity(Arc::clone(&self.store), self.path(key)?, PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE_MAX);
        Ok(Incoming(writer))
    }

    /// Reads a file.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Outgoing>, StoreError> {
        let path = self.path(key)?;
        match in_time(self.store.get(&path)).await {
            Ok(found) => Ok(Some(Outgoing {
                size_bytes: found.meta.size,
                chunks: found.into_stream().boxed(),
            })),
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes down what is known of a file that is stored.
    pub(crate) async fn note(
        &self,
        media: &MediaId,
        stored: &v1::MediaStored,
    ) -> Result<(), StoreError> {
        let path = self.path(&note_of(media))?;
        in_time(self.store.put(&path, stored.encode_to_vec().into())).await?;
        Ok(())
    }

    /// Returns what was written down of a file.
    pub(crate) async fn noted(
        &self,
        media: &MediaId,
    ) -> Result<Option<v1::MediaStored>, StoreError> {
        let Some(mut note) = self.read(&note_of(media)).await? else {
            return Ok(None);
        };
        if note.size_bytes > NOTE_BYTES_MAX {
            return Err(StoreError::Unreadable);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = in_time_or_end(note.chunks.next()).await? {
            bytes.extend_from_slice(&chunk);
        }
        v1::MediaStored::decode(bytes.as_slice())
            .map(Some)
            .map_err(|_| StoreError::Unreadable)
    }

    /// Removes a file and what is known of it, as far as they are there.
    pub(crate) async fn remove(&self, media: &MediaId) -> Result<(), StoreError> {
        // The file first: what is known of it tells that there may be one.
        for key in [key_of(media), note_of(media)] {
            let path = self.path(&key)?;
            match in_time(self.store.delete(&path)).await {
                Ok(()) | Err(StoreError::Store(object_store::Error::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        let whole = format!("{}/{key}", self.prefix);
        Ok(Path::parse(whole.trim_start_matches('/'))?)
    }
}

/// Returns the key of a file: the business number, and the rest of its id over 256 folders.
pub(crate) fn key_of(media: &MediaId) -> String {
    let unique = media.as_str().rsplit('-').next().unwrap_or_default();
    let (folder, rest) = unique.split_at(unique.len().min(2));
    format!("{}/{folder}/{rest}", media.number())
}

fn note_of(media: &MediaId) -> String {
    format!("{}.note", key_of(media))
}

impl Incoming {
    pub(crate) async fn put(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        in_time(self.0.put(bytes)).await
    }

    /// Makes the file visible, whole.
    pub(crate) async fn finish(mut self) -> Result<(), StoreError> {
        in_time(async { self.0.shutdown().await.map_err(of_io) }).await
    }

    /// Forgets what was written.
    pub(crate) async fn discard(mut self) {
        if let Err(error) = in_time(self.0.abort()).await {
            tracing::warn!(%error, "parts of a file were left in the object store");
        }
    }
}

/// The store speaks of its trouble through a writer's errors.
fn of_io(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "media",
        source: Box::new(error),
    }
}

async fn in_time<T>(
    step: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, StoreError> {
    match timeout(STEP_MAX, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Slow),
    }
}

/// Waits for the next chunk.
pub(crate) async fn in_time_or_end(
    next: impl Future<Output = Option<Result<Bytes, object_store::Error>>>,
) -> Result<Option<Bytes>, StoreError> {
    in_time(async { next.await.transpose() }).await
}

#[cfg(test)]
mod tests {
    use casement_domain::id::BusinessNumber;
    use casement_shell::config::Secret;

    use super::*;

    fn media(unique: u128) -> MediaId {
        MediaId::new(&BusinessNumber::parse("15550001111").unwrap(), unique)
    }

    async fn all(objects: &Objects, key: &str) -> Option<Vec<u8>> {
        let mut outgoing = objects.read(key).await.unwrap()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = in_time_or_end(outgoing.chunks.next()).await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(outgoing.size_bytes, bytes.len() as u64);
        Some(bytes)
    }

    #[test]
    fn a_key_tells_the_number_and_nothing_else() {
        assert_eq!(
            key_of(&media(0xab00_0000_0000_0000_0000_0000_0000_0001)),
            "15550001111/ab/000000000000000000000000000001"
        );
    }

    #[tokio::test]
    async fn a_file_is_seen_when_it_is_finished_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/media").display().to_string();
        let objects = Objects::open(&place, &MediaConfig::default()).unwrap();
        // One that fits into memory, one of several parts.
        for (unique, length) in [(1, 100), (2, 2 * PART_BYTES + 100)] {
            let key = key_of(&media(unique));
            let half = Bytes::from(vec![7; length / 2]);
            let mut incoming = objects.begin(&key).unwrap();
            incoming.put(half.clone()).await.unwrap();
            assert_eq!(all(&objects, &key).await, None);
            incoming.put(half.clone()).await.unwrap();
            incoming.finish().await.unwrap();
            assert_eq!(all(&objects, &key).await, Some(vec![7; length / 2 * 2]));

            let mut incoming = objects.begin(&key).unwrap();
            incoming.put(Bytes::from(vec![8; length])).await.unwrap();
            incoming.discard().await;
            assert_eq!(all(&objects, &key).await, Some(vec![7; length / 2 * 2]));
        }
    }

    #[tokio::test]
    async fn what_is_noted_of_a_file_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file://{}", folder.path().display());
        let objects = Objects::open(&place, &MediaConfig::default()).unwrap();
        assert_eq!(objects.noted(&media(1)).await.unwrap(), None);
        let stored = v1::MediaStored {
            size_bytes: 7,
            ..Default::default()
        };
        objects.note(&media(1), &stored).await.unwrap();
        assert_eq!(objects.noted(&media(1)).await.unwrap(), Some(stored));
    }

    #[test]
    fn an_address_is_a_folder_or_a_bucket_with_known_options() {
        let mut config = MediaConfig::default();
        config
            .store_options
            .insert("region".into(), "eu-central-1".into());
        config
            .store_secrets
            .insert("access_key_id".into(), Secret::from_value("id"));
        config
            .store_secrets
            .insert("secret_access_key".into(), Secret::from_value("key"));
        let objects = Objects::open("s3://bucket/some/prefix/", &config).unwrap();
        assert_eq!(objects.path("a/b").unwrap().as_ref(), "some/prefix/a/b");
        for place in ["s3://", "gs://bucket", "https://bucket", "file://host/x"] {
            let error = Objects::open(place, &config).unwrap_err();
            assert!(matches!(error, OpenError::Place), "{place}: {error:?}");
        }
        config.store_options.insert("nonsense".into(), "x".into());
        let error = Objects::open("s3://bucket", &config).unwrap_err();
        assert_eq!(error.to_string(), "`nonsense` is no option of the store");
    }
}

//! Files that came with customers' messages: fetched while the platform keeps them, checked,
//! stored, told, and handed out.
//!
//! A worker reads the customers' facts. Each file gets a subject of its own, found by the file's
//! id, and there either `MediaStored`, `MediaUnavailable`, or `MediaDeferred` with the time of the
//! next try: so a file that cannot be had waits on the log and holds up nobody. A file becomes
//! visible in the object store only once its hash was checked. Beside it stands the event that
//! tells of it, written before the event itself: a crash between the two ends in the same event,
//! and a file can be asked for when the log has long forgotten it.
//!
//! It does not look into files, and knows nothing of those that a business sends.

mod api;
mod config;
mod erase;
mod fetch;
mod policy;
mod store;
mod wanted;
mod work;

use std::sync::Arc;

use anyhow::Context as _;
use casement_event_log::Log;
use casement_event_log::directory::Directory;
use casement_proto::media::v1::media_service_server::MediaServiceServer;
use casement_secrets::Secrets;
use casement_shell::SharedClock;
use casement_shell::config::ConfigError;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use tokio_util::sync::CancellationToken;

pub use api::MediaApi;
pub use config::MediaConfig;

use fetch::Fetcher;
use store::Objects;
use work::Worker;

/// The media side of the role, not yet running.
#[derive(Debug)]
pub(crate) struct Media {
    worker: Option<Worker>,
    api: MediaApi,
    clock: SharedClock,
}

/// Opens the object store. Without one, nothing is fetched and nothing handed out.
pub(crate) fn start(
    config: MediaConfig,
    log: &Log,
    directory: &Directory,
    clock: &SharedClock,
) -> anyhow::Result<Media> {
    if let Some(problem) = config.problem() {
        return Err(ConfigError::check(problem).into());
    }
    let objects = match config.store.as_str() {
        "" => None,
        place => {
            let objects = Objects::open(place, &config)
                .with_context(|| format!("media cannot be stored at `{place}` (ingress.media)"))?;
            Some(Arc::new(objects))
        }
    };
    let worker = objects
        .as_ref()
        .map(|objects| {
            let fetcher = Fetcher::new(&config, Arc::clone(objects), clock.clone())?;
            anyhow::Ok(Worker {
                log: log.clone(),
                directory: directory.clone(),
                clock: clock.clone(),
                objects: Arc::clone(objects),
                fetcher: Arc::new(fetcher),
                config,
            })
        })
        .transpose()?;
    let api = MediaApi {
        log: log.clone(),
        directory: directory.clone(),
        objects,
        stopping: CancellationToken::new(),
    };
    Ok(Media {
        worker,
        api,
        clock: clock.clone(),
    })
}

impl Media {
    /// Lets accounts name secrets that are stored. To be told before it runs.
    pub(crate) fn know(&mut self, secrets: Secrets) {
        let fetcher = self.worker.as_mut().map(|worker| &mut worker.fetcher);
        if let Some(fetcher) = fetcher.and_then(Arc::get_mut) {
            fetcher.know(secrets);
        }
    }

    /// Returns the service, to be put behind authentication.
    pub(crate) fn service(&self) -> MediaServiceServer<MediaApi> {
        MediaServiceServer::new(self.api.clone())
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Fetches until the stop, which also ends what is being handed out.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let ending = self.api.stopping;
        let working = async {
            match self.worker {
                Some(worker) => work::run(worker, stopping.clone()).await,
                None => Ok(()),
            }
        };
        let (log, objects) = (self.api.log.clone(), self.api.objects.clone());
        let erasing = async {
            erase::run(log, objects, self.clock, stopping.clone()).await;
            Ok(())
        };
        let handing_out = async {
            stopping.cancelled().await;
            ending.cancel();
            Ok(())
        };
        tokio::try_join!(working, erasing, handing_out)?;
        Ok(())
    }
}

//! `MediaService`: who may ask, what is known of a file, and its bytes.
//!
//! What became of a file stands on the log, and beside the file once the log has forgotten it.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use casement_domain::id::MediaId;
use casement_event::Event;
use casement_event::subject::{self, stream};
use casement_event::v1::{self, MediaProblem};
use casement_event_log::Log;
use casement_event_log::directory::Directory;
use casement_proto::media::v1::download_media_response::Part;
use casement_proto::media::v1::media_service_server::MediaService;
use casement_proto::media::v1::{
    DownloadMediaRequest, DownloadMediaResponse, GetMediaRequest, GetMediaResponse, Media,
    MediaState,
};
use casement_shell::auth::{Caller, Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::fetch::chain;
use super::store::{Objects, Outgoing, in_time_or_end};

/// Largest part of a file in one message.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Serves `MediaService`.
#[derive(Debug, Clone)]
pub struct MediaApi {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) objects: Option<Arc<Objects>>,
    pub(crate) stopping: CancellationToken,
}

type Parts = Pin<Box<dyn Stream<Item = Result<DownloadMediaResponse, Status>> + Send>>;

#[tonic::async_trait]
impl MediaService for MediaApi {
    type DownloadMediaStream = Parts;

    async fn get_media(
        &self,
        request: Request<GetMediaRequest>,
    ) -> Result<Response<GetMediaResponse>, Status> {
        let caller = require(&request, Scope::Read)?;
        let (media, _) = self.find(&caller, &request.get_ref().media_id).await?;
        Ok(Response::new(GetMediaResponse { media: Some(media) }))
    }

    async fn download_media(
        &self,
        request: Request<DownloadMediaRequest>,
    ) -> Result<Response<Parts>, Status> {
        let caller = require(&request, Scope::Read)?;
        let (media, key) = self.find(&caller, &request.get_ref().media_id).await?;
        let (Some(objects), Some(key)) = (&self.objects, key) else {
            let message = "the file is not stored; GetMedia says why";
            return Err(refuse(
                Code::FailedPrecondition,
                "MEDIA_NOT_STORED",
                message,
            ));
        };
        let outgoing = objects
            .read(&key)
            .await
            .map_err(|error| unavailable(&error))?;
        let Some(outgoing) = outgoing.filter(|found| found.size_bytes == media.size_bytes) else {
            let message = "the file was removed from the object store";
            return Err(refuse(Code::NotFound, "MEDIA_REMOVED", message));
        };
        Ok(Response::new(parts(media, outgoing, self.stopping.clone())))
    }
}

impl MediaApi {
    /// Returns what is known of a file, and where it stands if it is stored. Another brand's file
    /// is as unknown as one that never was.
    async fn find(
        &self,
        caller: &Caller,
        media_id: &str,
    ) -> Result<(Media, Option<String>), Status> {
        let id =
            MediaId::parse(media_id).map_err(|error| bad_field("media_id", error.to_string()))?;
        let unknown = || refuse(Code::NotFound, "MEDIA_NOT_FOUND", "no such file is known");
        let last = self.log.last(stream::EVENTS, &subject::media(&id)).await;
        let last = last.map_err(|error| unavailable(&error))?;
        let event = match last {
            Some(stored) => Some(stored.event().map_err(|error| unavailable(&error))?),
            None => match &self.objects {
                None => None,
                Some(objects) => objects
                    .noted(&id)
                    .await
                    .map_err(|error| unavailable(&error))?
                    .map(Event::from),
            },
        };
        let event = event.ok_or_else(unknown)?;
        let (conversation, media, key) = shown(event).ok_or_else(unknown)?;
        // A number may have passed to another brand since.
        let account = self.directory.number(id.number());
        let brand = account.map_or(conversation.brand_id, |account| account.brand_id);
        if !caller.acts_for(&brand) {
            return Err(unknown());
        }
        Ok((media, key))
    }
}

/// Returns a file as it is told, with its conversation, and where it stands if it is stored.
fn shown(event: Event) -> Option<(v1::Conversation, Media, Option<String>)> {
    match event {
        Event::MediaStored(event) => {
            let shown = Media {
                size_bytes: event.size_bytes,
                sha256: event.sha256,
                store_time: event.store_time,
                ..known(
                    MediaState::Stored,
                    event.conversation.as_ref(),
                    event.times,
                    event.media,
                )
            };
            Some((event.conversation?, shown, Some(event.object_key)))
        }
        Event::MediaDeferred(event) => {
            let problem = event.problem();
            let shown = Media {
                problem: problem.into(),
                detail: event.detail,
                retry_time: event.retry_time,
                ..known(
                    MediaState::Pending,
                    event.conversation.as_ref(),
                    event.times,
                    event.media,
                )
            };
            Some((event.conversation?, shown, None))
        }
        Event::MediaUnavailable(event) => {
            let problem = event.problem();
            let shown = Media {
                problem: problem.into(),
                detail: event.detail,
                ..known(
                    MediaState::Unavailable,
                    event.conversation.as_ref(),
                    event.times,
                    event.media,
                )
            };
            Some((event.conversation?, shown, None))
        }
        _ => None,
    }
}

fn known(
    state: MediaState,
    conversation: Option<&v1::Conversation>,
    times: Option<v1::Times>,
    media: Option<v1::Media>,
) -> Media {
    let conversation = conversation.cloned().unwrap_or_default();
    let media = media.unwrap_or_default();
    Media {
        media_id: media.media_id,
        number: format!("+{}", conversation.number),
        customer_id: conversation.customer_id,
        state: state.into(),
        provider_message_id: media.provider_message_id,
        kind: media.kind,
        mime_type: media.mime_type,
        filename: media.filename,
        message_time: times.and_then(|times| times.event_time),
        problem: MediaProblem::Unspecified.into(),
        ..Media::default()
    }
}

/// A file on its way to a caller.
struct Way {
    outgoing: Outgoing,
    rest: Bytes,
    hasher: Sha256,
    sha256: String,
    stopping: CancellationToken,
}

/// The parts of an answer: what is known of the file, then its bytes. A file that is no longer
/// what was stored ends with an error.
fn parts(media: Media, outgoing: Outgoing, stopping: CancellationToken) -> Parts {
    let way = Way {
        outgoing,
        rest: Bytes::new(),
        hasher: Sha256::new(),
        sha256: media.sha256.clone(),
        stopping,
    };
    let first = futures::stream::once(async { Ok(part(Part::Media(media))) });
    let chunks = futures::stream::unfold(Some(way), |way| async {
        let mut way = way?;
        let stopping = way.stopping.clone();
        let next = tokio::select! {
            next = way.next() => next,
            () = stopping.cancelled() => Err(refuse(
                Code::Unavailable,
                "STOPPING",
                "the role stops; begin the download again",
            )),
        };
        match next {
            Ok(Some(chunk)) => Some((Ok(part(Part::Chunk(chunk))), Some(way))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    });
    first.chain(chunks).boxed()
}

fn part(part: Part) -> DownloadMediaResponse {
    DownloadMediaResponse { part: Some(part) }
}

impl Way {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while self.rest.is_empty() {
            let read = in_time_or_end(self.outgoing.chunks.next()).await;
            let Some(chunk) = read.map_err(|error| unavailable(&error))? else {
                return self.end();
            };
            self.hasher.update(&chunk);
            self.rest = chunk;
        }
        let length = self.rest.len().min(CHUNK_BYTES_MAX);
        Ok(Some(self.rest.split_to(length)))
    }

    /// Nothing follows; what came must be what was stored.
    fn end(&mut self) -> Result<Option<Bytes>, Status> {
        let hasher = std::mem::take(&mut self.hasher);
        if hex::encode(hasher.finalize()) == self.sha256 {
            return Ok(None);
        }
        tracing::error!("a file in the object store is not what was stored");
        let message = "the file is not what was stored";
        Err(refuse(Code::DataLoss, "MEDIA_DAMAGED", message))
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::warn!(error = %chain(error), "a question about media was not answered");
    let message = "log or object store did not answer; try again";
    refuse(Code::Unavailable, "MEDIA_UNREACHABLE", message)
}
